// Products with numbers that are mostly zero, from Python: lists of a matrix, its product with a weight, and the
// weight's gradient.
#include "sparse.h"

#include <atomic>
#include <cstring>
#include <limits>

#include "levels.h"
#include "spiking_blocks.h"

namespace bitprop {
namespace {

using namespace sparse;
using spiking::Maybe;
using spiking::Scratch;
using spiking::Tensor;
namespace nb = nanobind;

const SparseKernels& kernels(Level level) { return BITPROP_CHOOSE(level, sparse_kernels); }

// --- every level gives the same bits ---------------------------------------------------------------------------------

// A product and a gradient of one chunk, smaller than a panel, in two segments of which one is no whole vector.
std::vector<float> everything(const SparseKernels& found) {
    constexpr Index rows = 7, inputs = 45, segment = 24, segments = 2, width = 37, room = rows * inputs + kSlack;
    std::vector<float> x(rows * inputs), weight(width * inputs), out(rows * width + width * inputs);
    std::uint32_t state = 12345;
    const auto number = [&state] {
        state = state * 1664525u + 1013904223u;
        return static_cast<float>(state >> 8) / static_cast<float>(1 << 23) - 0.9f;
    };
    for (float& v : x) v = number() > -0.3f ? 0.0f : number();
    for (float& v : weight) v = number();
    std::vector<std::uint16_t> input(room);
    std::vector<std::uint8_t> row(room);
    std::vector<float> value(room), turned(room), panel(inputs * kPanel), g(rows * kPanel), total(inputs * kPanel);
    std::vector<std::int32_t> ends(rows * segments);
    std::vector<std::uint32_t> begins(inputs + 1);
    const ByRow by_row{input.data(), value.data(), ends.data()};
    const ByInput by_input{row.data(), turned.data(), begins.data()};
    bool fine = found.list(x.data(), rows, inputs, segment, room - kSlack, by_row) >= 0;
    found.turn(by_row, rows, inputs, segments, by_input);
    fine = found.pack(weight.data(), width, inputs, panel.data()) && fine;
    found.multiply(by_row, rows, segments, panel.data(), weight.data(), out.data(), width, width);
    fine = found.gather(out.data(), rows, width, width, g.data()) && fine;
    found.collect(by_input, 0, inputs, g.data(), total.data());
    found.unpack(total.data(), inputs, width, out.data() + rows * width, inputs);
    weight[inputs] = std::numeric_limits<float>::infinity();
    fine = fine && !found.pack(weight.data(), width, inputs, panel.data()) &&
           !found.gather(weight.data() + inputs, 1, inputs, inputs, g.data());
    return fine ? out : std::vector<float>();
}

bool check(Level level) {
    const std::vector<float> one = everything(kernels(level)), other = everything(kernels(Level::portable));
    return !one.empty() && one.size() == other.size() &&
           std::memcmp(one.data(), other.data(), one.size() * sizeof(float)) == 0;
}

Family family("sparse", check);

// --- lists -----------------------------------------------------------------------------------------------------------

// The numbers of a matrix that are not zero, chunk after chunk.  Not complete where a chunk has more than `most`.
class SparseRows {
  public:
    SparseRows(Tensor<const float> x, Index segment, Index most, int threads)
        : rows(x.ndim() == 2 ? static_cast<Index>(x.shape(0)) : 0),
          inputs(x.ndim() == 2 ? static_cast<Index>(x.shape(1)) : 0),
          segments(segment > 0 ? ceiling(inputs, segment) : 0),
          chunks(ceiling(rows, kRows)),
          room_(most + kSlack) {
        require(rows > 0 && 0 < inputs && inputs <= kInputs, "x: [rows, inputs], at most 65536 inputs");
        require(segments > 0 && most > 0 && most <= kRows * inputs, "segment and most: numbers of a chunk");
        input_ = Room<std::uint16_t>(chunks * room_, Use::in_part);
        value_ = Room<float>(chunks * room_, Use::in_part);
        ends_ = Room<std::int32_t>(rows * segments);
        const float* const from = x.data();
        const SparseKernels& found = kernels(family.level());
        std::atomic<bool> full{false};
        std::atomic<Index> numbers{0};
        nb::gil_scoped_release released;
        auto task = [&](long chunk) {
            if (full.load(std::memory_order_relaxed)) return;
            const Index some =
                found.list(from + chunk * kRows * inputs, height(chunk), inputs, segment, most, by_row(chunk));
            some < 0 ? full.store(true, std::memory_order_relaxed) : void(numbers += some);
        };
        parallel_for(threads, static_cast<long>(chunks), task);
        complete = !full;
        count = numbers;
    }
    SparseRows(const SparseRows&) = delete;
    SparseRows& operator=(const SparseRows&) = delete;

    Index height(Index chunk) const { return std::min(kRows, rows - chunk * kRows); }
    Index room() const { return room_; }
    ByRow by_row(Index chunk) const {
        return {input_.start() + chunk * room_, value_.start() + chunk * room_,
                ends_.start() + chunk * kRows * segments};
    }

    const Index rows, inputs, segments, chunks;
    Index count = 0;
    bool complete = false;

  private:
    Index room_;
    Room<std::uint16_t> input_;
    Room<float> value_;
    Room<std::int32_t> ends_;
};

// --- products --------------------------------------------------------------------------------------------------------

// Tasks of a thread, so that one that is late holds up little; of gradients, where each gathers what all share, fewer.
constexpr int kShares = 4, kGradientShares = 2;

// out = x W' + bias. False, and out is not to be used, where a weight is not finite: its product with zero counts.
bool sparse_multiply(const SparseRows& x, Tensor<const float> weight, Maybe<const float> bias, Tensor<float> out,
                     int threads) {
    const Index width = static_cast<Index>(weight.size()) / x.inputs, panels = ceiling(width, kPanel);
    require(x.complete && width > 0 && static_cast<Index>(weight.size()) == width * x.inputs,
            "weight: [outputs, inputs] for lists that are complete");
    require(static_cast<Index>(out.size()) == x.rows * width, "out: [rows, outputs]");
    const float* const added = spiking::data_of(bias, width, "bias: one number for each output");
    const float* const from = weight.data();
    float* const to = out.data();
    const SparseKernels& found = kernels(family.level());
    nb::gil_scoped_release released;
    const Room<float> packed(panels * kPanel * x.inputs);
    const auto panel_of = [&](Index panel) { return packed.start() + panel * kPanel * x.inputs; };
    const auto width_of = [&](Index panel) { return std::min(kPanel, width - panel * kPanel); };
    std::atomic<bool> finite{true};
    auto pack = [&](long panel) {
        if (!found.pack(from + panel * kPanel * x.inputs, width_of(panel), x.inputs, panel_of(panel))) finite = false;
    };
    parallel_for(threads, static_cast<long>(panels), pack);
    if (!finite) return false;
    expect_pages(to, x.rows * width);
    const Index share = ceiling(x.chunks, threads > 1 ? kShares * threads : 1), shares = ceiling(x.chunks, share);
    auto task = [&](long number) {
        const Index panel = number / shares, first = number % shares * share;
        for (Index chunk = first; chunk < std::min(x.chunks, first + share); ++chunk) {
            found.multiply(x.by_row(chunk), x.height(chunk), x.segments, panel_of(panel),
                           added == nullptr ? nullptr : added + panel * kPanel,
                           to + chunk * kRows * width + panel * kPanel, width, width_of(panel));
        }
    };
    parallel_for(threads, static_cast<long>(panels * shares), task);
    return true;
}

// out = g' x. False, and out is not to be used, where a gradient is not finite: its product with zero counts.
bool sparse_gradient(const SparseRows& x, Tensor<const float> g, Tensor<float> out, int threads) {
    const Index width = static_cast<Index>(g.size()) / x.rows, panels = ceiling(width, kPanel);
    require(x.complete && width > 0 && static_cast<Index>(g.size()) == width * x.rows,
            "g: [rows, outputs] for lists that are complete");
    require(static_cast<Index>(out.size()) == width * x.inputs, "out: [outputs, inputs]");
    const float* const from = g.data();
    float* const to = out.data();
    const SparseKernels& found = kernels(family.level());
    nb::gil_scoped_release released;
    const Index each = x.inputs + 1;
    const Room<std::uint8_t> row(x.chunks * x.room(), Use::in_part);
    const Room<float> value(x.chunks * x.room(), Use::in_part);
    const Room<std::uint32_t> begins(x.chunks * each);
    const auto by_input = [&](Index chunk) {
        return ByInput{row.start() + chunk * x.room(), value.start() + chunk * x.room(), begins.start() + chunk * each};
    };
    auto turn = [&](long chunk) {
        found.turn(x.by_row(chunk), x.height(chunk), x.inputs, x.segments, by_input(chunk));
    };
    parallel_for(threads, static_cast<long>(x.chunks), turn);
    std::atomic<bool> finite{true};
    const Index shares = threads > 1 ? std::clamp<Index>(ceiling(kGradientShares * threads, panels), 1, x.inputs) : 1;
    const Index share = ceiling(x.inputs, shares);
    auto task = [&](long number) {
        const Index panel = number / shares * kPanel, first = number % shares * share;
        const Index last = std::min(x.inputs, first + share), some = std::min(kPanel, width - panel);
        if (first >= last || !finite.load(std::memory_order_relaxed)) return;
        const Scratch<float> scratch((last - first + kRows) * kPanel);
        float *const gathered = scratch.start(), *const total = gathered + kRows * kPanel;
        std::fill_n(total, (last - first) * kPanel, 0.0f);
        for (Index chunk = 0; chunk < x.chunks; ++chunk) {
            if (!found.gather(from + chunk * kRows * width + panel, x.height(chunk), width, some, gathered)) {
                finite = false;
            }
            found.collect(by_input(chunk), first, last, gathered, total);
        }
        found.unpack(total, last - first, some, to + panel * x.inputs + first, x.inputs);
    };
    parallel_for(threads, static_cast<long>(panels * shares), task);
    return finite;
}

}  // namespace

void bind_sparse(nb::module_& module) {
    const nb::arg rows("rows"), threads("threads"), out("out");
    nb::class_<SparseRows>(module, "SparseRows", "The numbers of x [rows, inputs] that are not zero.")
        .def(nb::init<Tensor<const float>, Index, Index, int>(), nb::arg("x"), nb::arg("segment"), nb::arg("most"),
             threads)
        .def_ro("complete", &SparseRows::complete, "Whether no chunk of rows has more than `most` of them.")
        .def_ro("count", &SparseRows::count, "How many they are.");
    module.def("sparse_is_fast", [] { return family.level() != Level::portable; }, "Whether there are fused sums.");
    module.attr("SPARSE_ROWS") = kRows;
    module.attr("SPARSE_INPUTS") = kInputs;
    module.def("sparse_multiply", sparse_multiply, rows, nb::arg("weight"), nb::arg("bias").none(), out, threads,
               "x W' + bias; false where a weight is not finite.");
    module.def("sparse_gradient", sparse_gradient, rows, nb::arg("g"), out, threads,
               "g' x; false where a gradient is not finite.");
}

}  // namespace bitprop
