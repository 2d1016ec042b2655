// The bit-true dense layer by table from Python: checks, the choice of sides, threads, signs and encodings.
#include "table.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <vector>

#include "bindings.h"
#include "dense.h"
#include "levels.h"
#include "pool.h"

namespace nb = nanobind;

namespace bitprop {
namespace {

const TableKernels& kernels(Level level) { return BITPROP_CHOOSE(level, table_kernels); }

constexpr std::size_t kSquare = 16;

// Ones of all streams of each line.
std::vector<std::int64_t> line_ones(const std::vector<std::uint32_t>& ones, const Matrix& matrix) {
    std::vector<std::int64_t> sums(matrix.lines, 0);
    for (std::size_t line = 0; line < matrix.lines; ++line) {
        const std::int32_t* values = matrix.values + line * matrix.inputs;
        for (std::size_t i = 0; i < matrix.inputs; ++i) sums[line] += ones[static_cast<std::size_t>(values[i])];
    }
    return sums;
}

}  // namespace

Weights::Weights(const CountTable& table, std::vector<std::int32_t> values, std::size_t lines, std::size_t inputs)
    : table_(table), values_(std::move(values)), matrix_{values_.data(), lines, inputs, false} {
    matrix_.is_signed = std::any_of(values_.begin(), values_.end(), [](std::int32_t value) { return value < 0; });
}

const RowPack& Weights::rows(std::size_t piece, int threads) {
    std::lock_guard<std::mutex> lock(mutex_);
    const std::vector<Piece>& pieces = table_.side(true);
    const auto row_bytes = [&](std::size_t p) { return kRowBytes[static_cast<int>(pieces[p].scheme)]; };
    if (rows_.size() < pieces.size()) rows_.resize(pieces.size());
    // rows named by thresholds and as long are the same
    std::size_t first = piece;
    for (std::size_t p = piece; table_.rows_are_thresholds() && p-- > 0;) {
        if (row_bytes(p) == row_bytes(piece)) first = p;
    }
    std::unique_ptr<Rows>& found = rows_[first];
    if (!found) {
        found = std::make_unique<Rows>();
        found->make(pieces[piece], matrix_.values, matrix_.lines, matrix_.inputs, threads);
    }
    return found->pack;
}

const LanePack& Weights::lanes(Level level, std::size_t piece, int threads, LaneBytes& bytes) {
    std::lock_guard<std::mutex> lock(mutex_);
    const bool plain = level == Level::portable;
    const std::vector<Piece>& pieces = table_.side(false);
    if (lanes_[plain].size() < pieces.size()) lanes_[plain].resize(pieces.size());
    std::unique_ptr<Lanes>& found = lanes_[plain][piece];
    if (!found) {
        found = std::make_unique<Lanes>();
        found->make(level, pieces[piece], matrix_.values, matrix_.lines, matrix_.inputs, matrix_.is_signed, threads,
                    bytes);
    }
    return found->pack;
}

void dense(Level level, Weights& weights, const Matrix& x, bool xnor, std::int64_t* out, int threads, Shared* given,
           bool adds) {
    const CountTable& table = weights.table();
    const Matrix& w = weights.matrix();
    const std::size_t samples = x.lines, outputs = w.lines, inputs = x.inputs;
    const bool plain = level == Level::portable;
    const std::size_t cost_of_samples = padded_lanes(samples, x.is_signed) * outputs;
    const std::size_t cost_of_outputs = padded_lanes(outputs, weights.matrix().is_signed) * samples;
    const bool by_sample = cost_of_samples <= cost_of_outputs;

    const std::vector<Piece>& pieces = table.side(by_sample);
    const std::size_t count = by_sample ? samples : outputs;
    const bool is_signed = by_sample ? x.is_signed : weights.matrix().is_signed;
    const std::size_t rows = by_sample ? outputs : samples;
    const std::size_t lanes = padded_lanes(count, is_signed);
    // kept by the thread between calls: fresh memory would be paged in every time
    thread_local Buffer sums;
    thread_local Lanes lane_scratch;
    thread_local Rows row_scratch;
    thread_local Shared scratch;
    sums.reserve((rows + kRowsTogether - 1) * lanes * sizeof(std::int64_t));
    std::int64_t* const total = sums.as<std::int64_t>();
    if (given == nullptr) scratch.renew();
    LaneBytes& bytes = given != nullptr ? given->lanes : scratch.lanes;

    const bool shared_rows = table.rows_are_thresholds();
    Shared* const shared = shared_rows ? given : nullptr;
    std::size_t scratch_made = 0;  // bytes of a row
    for (std::size_t p = 0; p < pieces.size(); ++p) {
        LanePack lane_pack;
        RowPack row_pack;
        const std::size_t row_bytes = kRowBytes[static_cast<int>(pieces[p].scheme)];
        if (shared && shared->made != row_bytes) {
            const Matrix& side = by_sample ? w : x;
            shared->rows.make(pieces[p], side.values, side.lines, side.inputs, threads);
            shared->made = row_bytes;
        }
        if (by_sample) {
            lane_scratch.make(level, pieces[p], x.values, samples, inputs, x.is_signed, threads, bytes);
            lane_pack = lane_scratch.pack;
            row_pack = shared ? shared->rows.pack : weights.rows(p, threads);
        } else {
            lane_pack = weights.lanes(level, p, threads, bytes);
            if (!shared && !(shared_rows && scratch_made == row_bytes)) {
                row_scratch.make(pieces[p], x.values, samples, inputs, threads);
                scratch_made = row_bytes;
            }
            row_pack = shared ? shared->rows.pack : row_scratch.pack;
        }
        const PieceView view = pieces[p].view(plain);
        const TableKernels& chosen = kernels(level);
        auto body = [&](long task) {
            const std::size_t first = static_cast<std::size_t>(task) * kTile;
            const std::size_t here = std::min(kTile, round_up(rows, kRowsTogether) - first);
            chosen.tile(view, lane_pack, row_pack, first, here, p > 0, total + first * lanes);
        };
        parallel_for(threads, static_cast<long>((rows + kTile - 1) / kTile), body);
    }

    std::vector<std::int64_t> x_ones, w_ones;
    if (xnor) x_ones = line_ones(table.ones(true), x), w_ones = line_ones(table.ones(false), w);
    const std::int64_t cycles = static_cast<std::int64_t>(table.length() * inputs);
    // turned over where samples are lanes, in squares that stay in the first cache
    const std::uint8_t* const place = kernels(level).place;
    const auto lane_of = [&](std::size_t line) { return line / kBlock * kBlock + place[line % kBlock]; };
    auto take = [&](long task) {
        const std::size_t first = static_cast<std::size_t>(task) * kSquare, last = std::min(first + kSquare, samples);
        for (std::size_t begin = 0; begin < outputs; begin += kSquare) {
            const std::size_t end = std::min(begin + kSquare, outputs);
            for (std::size_t b = first; b < last; ++b) {
                std::int64_t* const to = out + b * outputs;
                const auto put = [&](std::size_t o, std::int64_t found) {
                    if (xnor) found = 4 * found - 2 * (x_ones[b] + w_ones[o]) + cycles;
                    to[o] = found + (adds ? to[o] : 0);
                };
                if (by_sample) {
                    const std::int64_t* const positive = total + lane_of(b);
                    const std::int64_t* const negative = is_signed ? total + lane_of(count + b) : nullptr;
                    for (std::size_t o = begin; o < end; ++o) {
                        put(o, positive[o * lanes] - (is_signed ? negative[o * lanes] : 0));
                    }
                    continue;
                }
                const std::int64_t* const found = total + b * lanes;
                for (std::size_t o = begin; o < end; ++o) {
                    put(o, found[lane_of(o)] - (is_signed ? found[lane_of(count + o)] : 0));
                }
            }
        }
    };
    parallel_for(threads, static_cast<long>((samples + kSquare - 1) / kSquare), take);
}

namespace {

std::uint64_t next_random(std::uint64_t& state) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return state >> 33;
}

// Every scheme, both sides, signs: a few thousand products.
bool check(Level level) {
    std::uint64_t state = 7;
    const struct {
        std::size_t length;
        int bits;
    } cases[] = {{16, 5}, {31, 5}, {64, 6}, {100, 7}, {256, 8}, {300, 10}};
    for (const auto& [length, bits] : cases) {
        const std::uint64_t one = std::uint64_t{1} << bits;
        std::vector<std::int64_t> numbers[2];
        for (auto& sequence : numbers) {
            for (std::size_t t = 0; t < length; ++t)
                sequence.push_back(static_cast<std::int64_t>(next_random(state) % one));
        }
        const CountTable table(numbers[0].data(), numbers[1].data(), length, bits);
        for (const std::size_t samples : {std::size_t{3}, std::size_t{66}}) {
            constexpr std::size_t outputs = 3, inputs = 37;
            std::vector<std::int32_t> x(samples * inputs), w(outputs * inputs);
            for (auto* values : {&x, &w}) {
                for (std::int32_t& value : *values) {
                    value =
                        static_cast<std::int32_t>(next_random(state) % (2 * one + 1)) - static_cast<std::int32_t>(one);
                }
            }
            Weights weights(table, w, outputs, inputs);
            const Matrix matrix{x.data(), samples, inputs, true};
            std::vector<std::int64_t> expected(samples * outputs), got(samples * outputs);
            dense(Level::portable, weights, matrix, false, expected.data(), 1);
            dense(level, weights, matrix, false, got.data(), 1);
            if (expected != got) return false;
        }
    }
    return true;
}

Family family("table", check);

}  // namespace

Level table_level() { return family.level(); }

namespace {

using Numbers = nb::ndarray<const std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Values = nb::ndarray<const std::int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Sums = nb::ndarray<std::int64_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

// Checks that thresholds are within +-2**precision_bits; whether some are negative.
bool check_values(Level level, const std::int32_t* values, std::size_t size, int precision_bits) {
    bool negative = false;
    require(kernels(level).within(values, size, std::int32_t{1} << precision_bits, &negative),
            "thresholds: within +-2**precision_bits");
    return negative;
}

void make_table(CountTable* self, Numbers activation, Numbers weight, int precision_bits) {
    require(precision_bits >= 1 && precision_bits <= 16, "precision_bits: 1 .. 16");
    require(activation.size() == weight.size() && weight.size() >= 1, "numbers: two sequences of one length");
    for (const Numbers& numbers : {activation, weight}) {
        for (std::size_t t = 0; t < numbers.size(); ++t) {
            require(numbers.data()[t] >= 0 && numbers.data()[t] < std::int64_t{1} << precision_bits,
                    "numbers: 0 .. 2**precision_bits - 1");
        }
    }
    new (self) CountTable(activation.data(), weight.data(), weight.size(), precision_bits);
}

void make_weights(Weights* self, const CountTable& table, Values values) {
    require(values.shape(1) >= 1 && values.shape(1) <= 65536, "weights: 1 .. 65536 inputs");
    check_values(family.level(), values.data(), values.size(), table.precision_bits());
    new (self) Weights(table, {values.data(), values.data() + values.size()}, values.shape(0), values.shape(1));
}

void run_dense(Weights& weights, Values x, bool xnor, Sums out, int threads) {
    const Matrix& w = weights.matrix();
    require(x.shape(1) == w.inputs, "x: as many inputs as the weights");
    require(out.shape(0) == x.shape(0) && out.shape(1) == w.lines, "out: [samples, outputs]");
    const Level level = family.level();
    const bool is_signed = check_values(level, x.data(), x.size(), weights.table().precision_bits());
    if (out.size() == 0) return;
    nb::gil_scoped_release released;
    const Matrix matrix{x.data(), x.shape(0), x.shape(1), is_signed};
    require(!xnor || !(is_signed || w.is_signed), "thresholds of XNOR: not negative");
    dense(level, weights, matrix, xnor, out.data(), threads);
}

}  // namespace

void bind_table(nb::module_& module) {
    nb::class_<CountTable>(module, "CountTable", "Counts of products for one pair of number sequences.")
        .def("__init__", make_table, nb::arg("activation"), nb::arg("weight"), nb::arg("precision_bits"))
        .def_prop_ro("cost", &CountTable::cost);
    nb::class_<Weights>(module, "PackedWeights", "Signed thresholds of a layer's weights, int32 [O, I], for one table.")
        .def("__init__", make_weights, nb::arg("table"), nb::arg("values"), nb::keep_alive<1, 2>());
    module.def("dense", run_dense, nb::arg("weights"), nb::arg("x"), nb::arg("xnor"), nb::arg("out"),
               nb::arg("threads"),
               "Sums of products of signed thresholds x, int32 [B, I], with the weights, into int64 [B, O].");
}

}  // namespace bitprop
