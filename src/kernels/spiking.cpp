// Spiking neurons from Python: checks, the choice of a level, blocks of neurons on threads.
#include "spiking.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "bindings.h"
#include "levels.h"
#include "pool.h"

namespace nb = nanobind;

namespace bitprop {
namespace {

using namespace spiking;

const SpikingKernels& kernels(Level level) { return BITPROP_CHOOSE(level, spiking_kernels); }

template <class R>
const Passes<R>& passes_of(const SpikingKernels& found) {
    if constexpr (sizeof(R) == sizeof(float)) {
        return found.narrow;
    } else {
        return found.wide;
    }
}

// --- blocks ----------------------------------------------------------------------------------------------------------

// Rows that stay in the first cache going forward, planes that stay in the second going back.
constexpr Index kForwardBytes = 24 << 10, kBackwardBytes = 512 << 10;
constexpr Index kSmallestBlock = 128, kLargestBlock = 1024;
constexpr Index kSerial = 1 << 14;  // neurons times steps; less does not pay for waking a thread
constexpr std::size_t kScratchKept = std::size_t{4} << 20;

Index padded(Index width) { return (width + kPad - 1) / kPad * kPad; }

template <class R>
Index block_width(Index count, Index rows, Index bytes, int threads) {
    const Index fit = bytes / (rows * static_cast<Index>(sizeof(R)));
    const Index share = (count + threads - 1) / threads;
    return padded(std::min(std::clamp(fit, kSmallestBlock, kLargestBlock), std::max<Index>(share, 1)));
}

// Memory of one thread, kept between calls unless it is large.
template <class R>
class Scratch {
  public:
    explicit Scratch(Index numbers) {
        const std::size_t wanted = static_cast<std::size_t>(numbers) + 64 / sizeof(R);
        if (memory().size() < wanted) memory().resize(wanted);
    }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    ~Scratch() {
        if (memory().size() * sizeof(R) > kScratchKept) std::vector<R>().swap(memory());
    }
    R* start() const {
        const auto address = reinterpret_cast<std::uintptr_t>(memory().data());
        return memory().data() + ((64 - address % 64) % 64) / sizeof(R);
    }

  private:
    static std::vector<R>& memory() {
        thread_local std::vector<R> held;
        return held;
    }
};

// Asks for large pages where a result is about to be written for the first time: with small ones, entering them in the
// page table takes longer than computing what they hold.  A hint; nothing depends on it.
template <class R>
void expect_pages(R* start, Index numbers) {
#if defined(MADV_HUGEPAGE)
    constexpr std::uintptr_t large = std::uintptr_t{2} << 20;
    const auto first = (reinterpret_cast<std::uintptr_t>(start) + large - 1) / large * large;
    const auto last = reinterpret_cast<std::uintptr_t>(start + numbers) / large * large;
    if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#else
    (void)start, (void)numbers;
#endif
}

template <class Body>
void over_blocks(Index count, Index steps, Index width, int threads, Body body) {
    const long tasks = static_cast<long>((count + width - 1) / width);
    auto task = [&](long number) {
        const Index begin = number * width;
        body(begin, std::min(width, count - begin));
    };
    parallel_for(count * steps < kSerial ? 1 : threads, tasks, task);
}

template <class R>
void run_forward(const Passes<R>& passes, const Forward<R>& call, int threads) {
    const Index width = block_width<R>(call.count, kScratchRows / 2, kForwardBytes, threads);
    over_blocks(call.count, call.steps, width, threads, [&](Index begin, Index size) {
        const Scratch<R> scratch(kScratchRows * padded(size));
        passes.forward(call, begin, size, scratch.start());
    });
}

// Whether the way back needs more of a step than its slope.
template <class R>
bool needs_all(const Model<R>& model, bool constants) {
    return constants || model.reset == kHard || sizeof(R) != sizeof(float);
}

template <class R>
void run_backward(const Passes<R>& passes, const Forward<R>& forward, const Backward<R>& call, int threads) {
    const Index planes = call.all ? 5 : 1;
    const Index width = block_width<R>(call.count, kScratchRows + planes * call.steps, kBackwardBytes, threads);
    over_blocks(call.count, call.steps, width, threads, [&](Index begin, Index size) {
        const Index row = padded(size), plane = row * call.steps;
        const Scratch<R> scratch(kScratchRows * row + planes * plane);
        R* next = scratch.start() + kScratchRows * row;
        const auto take = [&] { return (next += plane) - plane; };
        Kept<R> kept{take(), nullptr, nullptr, nullptr, nullptr, row};
        if (call.all) {
            kept.p = take();
            kept.q = take();
            kept.c = take();
            kept.w = take();
        }
        passes.keep(forward, call.all, begin, size, kept, scratch.start());
        passes.reverse(call, begin, size, kept, scratch.start());
    });
}

// --- every level gives the same bits ---------------------------------------------------------------------------------

template <class R>
std::vector<R> everything(const Passes<R>& passes, const Model<R>& model) {
    constexpr Index steps = 7, count = 37;
    std::vector<R> numbers(static_cast<std::size_t>(13 * count + 4 * steps * count));
    std::uint32_t state = 12345;
    for (R& number : numbers) {
        state = state * 1664525u + 1013904223u;
        number = static_cast<R>(state >> 8) / R(1 << 23) - R(0.25);
    }
    R* next = numbers.data();
    const auto take = [&](Index size) { return (next += size) - size; };
    const auto state_rows = [&] { return State<R>{take(count), take(count), take(count)}; };
    const auto fixed = [](const State<R>& s) { return State<const R>{s.v, s.s, s.w}; };
    const State<R> before = state_rows(), after = state_rows(), g_before = state_rows();
    R *x = take(steps * count), *out = take(steps * count), *g_out = take(steps * count), *g_x = take(steps * count);
    const Forward<R> forward{steps, count, model, {x, count}, fixed(before), {out, count}, after};
    run_forward(passes, forward, 1);
    R *g_beta = take(count), *g_second = take(count), *g_theta = take(count);
    const Backward<R> call{steps,        count,    model,  true,     {g_out, count}, fixed(after),
                           {g_x, count}, g_before, g_beta, g_second, g_theta};
    run_backward(passes, forward, call, 1);
    return numbers;
}

template <class R>
bool same_bits(const Passes<R>& passes, const Passes<R>& expected) {
    const R decay[3] = {R(0.9), R(0.7), R(0.8)}, threshold[1] = {R(0.6)};
    for (int neuron = 0; neuron < kNeurons; ++neuron) {
        for (int reset = 0; reset < kResets; ++reset) {
            for (int surrogate = 0; surrogate < kSurrogates; ++surrogate) {
                const Model<R> model{static_cast<Neuron>(neuron),
                                     static_cast<Reset>(reset),
                                     static_cast<Surrogate>(surrogate),
                                     surrogate % 2 == 1,
                                     surrogate % 3 != 1,
                                     {decay, 3},
                                     {decay, 1},
                                     {threshold, 1},
                                     R(0.2),
                                     R(0.1),
                                     R(3)};
                const std::vector<R> a = everything(passes, model), b = everything(expected, model);
                if (std::memcmp(a.data(), b.data(), a.size() * sizeof(R)) != 0) return false;
            }
        }
    }
    return true;
}

bool check(Level level) {
    const SpikingKernels &found = kernels(level), &plain = kernels(Level::portable);
    return same_bits(found.narrow, plain.narrow) && same_bits(found.wide, plain.wide);
}

Family family("spiking", check);

// --- memory for results ----------------------------------------------------------------------------------------------

// A training step asks for the same sizes again and again.  The C library gives such memory back to the system in
// between, and entering its pages anew takes longer than computing what they hold; so some of it is kept.
class Store {
  public:
    static constexpr std::size_t kKept = std::size_t{64} << 20;

    void* take(std::size_t bytes) {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            for (auto block = free_.rbegin(); block != free_.rend(); ++block) {
                if (block->bytes != bytes) continue;
                void* found = block->start;
                free_.erase(std::next(block).base());
                held_ -= bytes;
                return found;
            }
        }
        void* made = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
        if (made == nullptr) throw std::bad_alloc();
        return made;
    }
    void give(void* start, std::size_t bytes) {
        std::vector<Piece> surplus;
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            free_.push_back({start, bytes});
            held_ += bytes;
            while (held_ > kKept) {  // the oldest go
                surplus.push_back(free_.front());
                held_ -= free_.front().bytes;
                free_.erase(free_.begin());
            }
        }
        for (const Piece& piece : surplus) std::free(piece.start);
    }

  private:
    struct Piece {
        void* start;
        std::size_t bytes;
    };
    std::mutex mutex_;
    std::vector<Piece> free_;
    std::size_t held_ = 0;
};

// Never destroyed: tensors may outlive the module.
Store& store() {
    static Store* const made = new Store;
    return *made;
}

struct Lent {
    void* start;
    std::size_t bytes;
};

// --- from Python -----------------------------------------------------------------------------------------------------

template <class R>
using Tensor = nb::ndarray<R, nb::c_contig, nb::device::cpu>;
template <class R>
using Maybe = std::optional<Tensor<R>>;

template <class R>
R* data_of(const Maybe<R>& tensor, Index size, const char* expected) {
    if (!tensor) return nullptr;
    require(static_cast<Index>(tensor->size()) == size, expected);
    return tensor->data();
}

template <class R>
State<R> state_of(const Maybe<R>& v, const Maybe<R>& s, const Maybe<R>& w, Index count) {
    constexpr const char* expected = "state: one number for each neuron";
    return {data_of(v, count, expected), data_of(s, count, expected), data_of(w, count, expected)};
}

// What does not change from call to call, with the constants held for the duration of one.
template <class R>
Model<R> model_of(nb::tuple codes, const Maybe<const R>& beta, const Maybe<const R>& second,
                  const Maybe<const R>& theta, Index count) {
    require(codes.size() == 8, "model: neuron, reset, surrogate, delayed, attached, kappa, v_reset, scale");
    const auto choice = [&](std::size_t at, int end) {
        const int number = nb::cast<int>(codes[at]);
        require(0 <= number && number < end, "model: a known neuron, reset and surrogate");
        return number;
    };
    const auto constant = [&](const Maybe<const R>& given) -> Constant<R> {
        if (!given) return {nullptr, 1};
        const Index size = static_cast<Index>(given->size());
        require(size > 0 && count % size == 0, "constants: one number, or one for each feature");
        return {given->data(), size};
    };
    return {static_cast<Neuron>(choice(0, kNeurons)),
            static_cast<Reset>(choice(1, kResets)),
            static_cast<Surrogate>(choice(2, kSurrogates)),
            nb::cast<bool>(codes[3]),
            nb::cast<bool>(codes[4]),
            constant(beta),
            constant(second),
            constant(theta),
            static_cast<R>(nb::cast<double>(codes[5])),
            static_cast<R>(nb::cast<double>(codes[6])),
            static_cast<R>(nb::cast<double>(codes[7]))};
}

Index count_of(std::size_t size, Index steps) {
    require(steps > 0 && size > 0 && size % static_cast<std::size_t>(steps) == 0, "a tensor [steps, neurons]");
    return static_cast<Index>(size) / steps;
}

// [steps, count], or [count] for one that is constant or summed over the steps.
template <class R>
Rows<R> rows_of(const Tensor<R>& tensor, Index steps, Index count) {
    const Index size = static_cast<Index>(tensor.size());
    require(size == steps * count || size == count, "a tensor [steps, neurons] or [neurons]");
    return {tensor.data(), size == count && steps > 1 ? 0 : count};
}

// A tensor whose memory comes from the store and goes back to it.
template <class R>
nb::ndarray<nb::pytorch, R> spiking_room(std::vector<std::size_t> shape) {
    std::size_t bytes = sizeof(R);
    for (const std::size_t side : shape) bytes *= side;
    require(bytes > 0, "a shape without zeros");
    Lent* lent = new Lent{store().take(bytes), bytes};
    const nb::capsule owner(lent, [](void* given) noexcept {
        Lent* back = static_cast<Lent*>(given);
        store().give(back->start, back->bytes);
        delete back;
    });
    return nb::ndarray<nb::pytorch, R>(static_cast<R*>(lent->start), shape.size(), shape.data(), owner);
}

template <class R>
void spiking_forward(Tensor<const R> x, Tensor<R> out, Index steps, nb::tuple codes, Maybe<const R> beta,
                     Maybe<const R> second, Maybe<const R> theta, Maybe<const R> v0, Maybe<const R> s0,
                     Maybe<const R> w0, Maybe<R> v1, Maybe<R> s1, Maybe<R> w1, int threads) {
    const Index count = count_of(out.size(), steps);
    const Forward<R> call{steps,
                          count,
                          model_of(codes, beta, second, theta, count),
                          rows_of(x, steps, count),
                          state_of(v0, s0, w0, count),
                          {out.data(), count},
                          state_of(v1, s1, w1, count)};
    const Passes<R>& passes = passes_of<R>(kernels(family.level()));
    nb::gil_scoped_release released;
    expect_pages(out.data(), steps * count);
    run_forward(passes, call, threads);
}

template <class R>
void spiking_backward(Tensor<const R> x, Tensor<const R> g_out, Index steps, nb::tuple codes, Maybe<const R> beta,
                      Maybe<const R> second, Maybe<const R> theta, Maybe<const R> v0, Maybe<const R> s0,
                      Maybe<const R> w0, Maybe<const R> g_v1, Maybe<const R> g_s1, Maybe<const R> g_w1, Tensor<R> g_x,
                      Maybe<R> g_v0, Maybe<R> g_s0, Maybe<R> g_w0, Maybe<R> g_beta, Maybe<R> g_second, Maybe<R> g_theta,
                      int threads) {
    const Index count = count_of(g_out.size(), steps);
    const Model<R> model = model_of(codes, beta, second, theta, count);
    const Forward<R> forward{steps,        count, model, rows_of(x, steps, count), state_of(v0, s0, w0, count),
                             {nullptr, 0}, {}};
    require(g_x.size() == x.size(), "g_x: the size of x");
    constexpr const char* each = "gradients of constants: one number for each neuron";
    const Backward<R> call{steps,
                           count,
                           model,
                           needs_all(model, g_beta || g_second || g_theta),
                           {g_out.data(), count},
                           state_of(g_v1, g_s1, g_w1, count),
                           rows_of(g_x, steps, count),
                           state_of(g_v0, g_s0, g_w0, count),
                           data_of(g_beta, count, each),
                           data_of(g_second, count, each),
                           data_of(g_theta, count, each)};
    const Passes<R>& passes = passes_of<R>(kernels(family.level()));
    nb::gil_scoped_release released;
    expect_pages(g_x.data(), static_cast<Index>(g_x.size()));
    run_backward(passes, forward, call, threads);
}

// Planes [steps, count] of what the way back needs, for neurons that hear each other: there it goes step by step.
template <class R>
void spiking_keep(Tensor<const R> x, Index steps, nb::tuple codes, Maybe<const R> beta, Maybe<const R> second,
                  Maybe<const R> theta, Maybe<const R> v0, Maybe<const R> s0, Maybe<const R> w0, Tensor<R> slope,
                  Maybe<R> p, Maybe<R> q, Maybe<R> c, Maybe<R> w, int threads) {
    const Index count = count_of(x.size(), steps), all = steps * count;
    const Forward<R> call{steps,
                          count,
                          model_of(codes, beta, second, theta, count),
                          {x.data(), count},
                          state_of(v0, s0, w0, count),
                          {nullptr, 0},
                          {}};
    require(static_cast<Index>(slope.size()) == all, "slope: the size of x");
    constexpr const char* expected = "planes: the size of x";
    const Kept<R> kept{slope.data(),
                       data_of(p, all, expected),
                       data_of(q, all, expected),
                       data_of(c, all, expected),
                       data_of(w, all, expected),
                       count};
    const bool more = kept.p != nullptr;
    require(more == (kept.q && kept.c && kept.w) && (more || !needs_all(call.model, false)),
            "planes: all that is needed");
    const Passes<R>& passes = passes_of<R>(kernels(family.level()));
    nb::gil_scoped_release released;
    over_blocks(count, steps, block_width<R>(count, kScratchRows, kForwardBytes, threads), threads,
                [&](Index begin, Index size) {
                    const Scratch<R> scratch(kScratchRows * padded(size));
                    const auto moved = [begin](R* plane) { return plane == nullptr ? nullptr : plane + begin; };
                    const Kept<R> here{moved(kept.slope), moved(kept.p), moved(kept.q),
                                       moved(kept.c),     moved(kept.w), count};
                    passes.keep(call, more, begin, size, here, scratch.start());
                });
}

// One step back: gradients of the state after it are replaced by those of the state before it.
template <class R>
void spiking_reverse(Tensor<const R> g_out, Index step, Index steps, nb::tuple codes, Maybe<const R> beta,
                     Maybe<const R> second, Maybe<const R> theta, Tensor<R> slope, Maybe<R> p, Maybe<R> q, Maybe<R> c,
                     Maybe<R> w, Tensor<R> g_v, Tensor<R> g_s, Tensor<R> g_w, Tensor<R> g_x, Maybe<R> g_beta,
                     Maybe<R> g_second, Maybe<R> g_theta, int threads) {
    const Index count = static_cast<Index>(g_out.size()), all = steps * count;
    require(0 <= step && step < steps, "a step of the planes");
    require(static_cast<Index>(slope.size()) == all && static_cast<Index>(g_x.size()) == all,
            "slope and g_x: [steps, neurons]");
    const State<R> state = state_of<R>(g_v, g_s, g_w, count);
    constexpr const char *expected = "planes: [steps, neurons]", *each = "gradients of constants: one for each neuron";
    const Model<R> model = model_of(codes, beta, second, theta, count);
    const bool constants = g_beta || g_second || g_theta;
    const Backward<R> call{1,
                           count,
                           model,
                           needs_all(model, constants),
                           {g_out.data(), count},
                           {state.v, state.s, state.w},
                           {g_x.data() + step * count, count},
                           state,
                           data_of(g_beta, count, each),
                           data_of(g_second, count, each),
                           data_of(g_theta, count, each)};
    const Kept<R> kept{slope.data(),
                       data_of(p, all, expected),
                       data_of(q, all, expected),
                       data_of(c, all, expected),
                       data_of(w, all, expected),
                       count};
    require(!call.all || (kept.p && kept.q && kept.c && kept.w), "planes: all that is needed");
    const Passes<R>& passes = passes_of<R>(kernels(family.level()));
    nb::gil_scoped_release released;
    over_blocks(
        count, 1, block_width<R>(count, kScratchRows, kForwardBytes, threads), threads, [&](Index begin, Index size) {
            const Scratch<R> scratch(kScratchRows * padded(size));
            const Index shift = step * count + begin;
            const auto moved = [shift](R* plane) { return plane == nullptr ? nullptr : plane + shift; };
            const Kept<R> here{moved(kept.slope), moved(kept.p), moved(kept.q), moved(kept.c), moved(kept.w), count};
            passes.reverse(call, begin, size, here, scratch.start());
        });
}

template <class R>
void bind(nb::module_& module, const char* suffix) {
    const auto named = [suffix](const char* stem) { return std::string(stem) + suffix; };
    const nb::arg x("x"), steps("steps"), codes("codes"), threads("threads"), out("out"), g_out("g_out"), g_x("g_x");
    const auto maybe = [](const char* name) { return nb::arg(name).none(); };
    module.def(named("spiking_room").c_str(), spiking_room<R>, nb::arg("shape"), "Memory for a result.");
    module.def(named("spiking_forward").c_str(), spiking_forward<R>, x, out, steps, codes, maybe("beta"),
               maybe("second"), maybe("theta"), maybe("v0"), maybe("s0"), maybe("w0"), maybe("v1"), maybe("s1"),
               maybe("w1"), threads, "All steps: x [steps, n] or [n] to out [steps, n] and the last state.");
    module.def(named("spiking_backward").c_str(), spiking_backward<R>, x, g_out, steps, codes, maybe("beta"),
               maybe("second"), maybe("theta"), maybe("v0"), maybe("s0"), maybe("w0"), maybe("g_v1"), maybe("g_s1"),
               maybe("g_w1"), g_x, maybe("g_v0"), maybe("g_s0"), maybe("g_w0"), maybe("g_beta"), maybe("g_second"),
               maybe("g_theta"), threads, "Gradients of spiking_forward; those of constants are added to.");
    module.def(named("spiking_keep").c_str(), spiking_keep<R>, x, steps, codes, maybe("beta"), maybe("second"),
               maybe("theta"), maybe("v0"), maybe("s0"), maybe("w0"), nb::arg("slope"), maybe("p"), maybe("q"),
               maybe("c"), maybe("w"), threads, "What spiking_reverse needs of every step, [steps, n] each.");
    module.def(named("spiking_reverse").c_str(), spiking_reverse<R>, g_out, nb::arg("step"), steps, codes,
               maybe("beta"), maybe("second"), maybe("theta"), nb::arg("slope"), maybe("p"), maybe("q"), maybe("c"),
               maybe("w"), nb::arg("g_v"), nb::arg("g_s"), nb::arg("g_w"), g_x, maybe("g_beta"), maybe("g_second"),
               maybe("g_theta"), threads, "One step back through what spiking_keep kept.");
}

}  // namespace

void bind_spiking(nb::module_& module) {
    bind<float>(module, "_f32");
    bind<double>(module, "_f64");
}

}  // namespace bitprop
