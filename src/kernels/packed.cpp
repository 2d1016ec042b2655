// Packed streams from Python: checks, the choice of a level, threads.
#include "packed.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "bindings.h"
#include "levels.h"
#include "pool.h"

namespace nb = nanobind;

namespace bitprop {
namespace {

const PackedKernels& kernels(Level level) { return BITPROP_CHOOSE(level, packed_kernels); }

bool check(Level level) {
    constexpr std::size_t rows = 4, words = 83;  // enough for every way of counting
    std::uint64_t data[rows * words], state = 0x9E3779B97F4A7C15u;
    for (std::uint64_t& word : data) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        word = state ^ (state >> 29);
    }
    data[5] = ~std::uint64_t{0};
    for (std::size_t width = 0; width <= words; ++width) {
        std::int64_t expected[rows], got[rows];
        kernels(Level::portable).ones(data, rows, width, expected);
        kernels(level).ones(data, rows, width, got);
        if (!std::equal(expected, expected + rows, got)) return false;
    }
    const PackedRow a{data, data + words}, b{data + 2 * words, data + 3 * words};
    for (const PackedProduct product : {PackedProduct::both, PackedProduct::different, PackedProduct::both_signed}) {
        for (std::size_t width = 0; width <= words; ++width) {
            const std::int64_t expected = kernels(Level::portable).product(product, a, b, width);
            if (kernels(level).product(product, a, b, width) != expected) return false;
        }
    }
    return true;
}

Family family("packed", check);

using Words = nb::ndarray<const std::uint64_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Counts = nb::ndarray<std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

void count_ones(Words data, Counts counts, int threads) {
    const std::size_t rows = data.shape(0), words = data.shape(1);
    require(counts.shape(0) == rows, "counts: one for each row of words");
    const PackedKernels& chosen = kernels(family.level());
    // about 64 KiB a task: less would not pay for handing it to a thread
    const std::size_t block = std::max<std::size_t>(1, 8192 / std::max<std::size_t>(1, words));
    const long tasks = static_cast<long>((rows + block - 1) / block);
    auto body = [&](long task) {
        const std::size_t first = static_cast<std::size_t>(task) * block;
        chosen.ones(data.data() + first * words, std::min(block, rows - first), words, counts.data() + first);
    };
    nb::gil_scoped_release released;
    parallel_for(threads, tasks, body);
}

using Streams = nb::ndarray<const std::uint64_t, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Signs = nb::ndarray<const std::uint8_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Sums = nb::ndarray<std::int64_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

// Words of ones for each negative stream.
std::vector<std::uint64_t> sign_words(const Streams& streams, const std::optional<Signs>& negative) {
    std::vector<std::uint64_t> found;
    if (!negative) return found;
    found.reserve(streams.size());
    for (std::size_t at = 0; at < negative->size(); ++at) {
        found.insert(found.end(), streams.shape(2), negative->data()[at] ? ~std::uint64_t{0} : 0);
    }
    return found;
}

// Tiles of so many samples and outputs take turns over so many words, which stay in the second cache.
constexpr std::size_t kTileRows = 16, kTileWords = 512;

void stream_products(Streams x, Streams w, std::optional<Signs> x_negative, std::optional<Signs> w_negative,
                     std::int64_t length, bool xnor, Sums out, int threads) {
    const std::size_t samples = x.shape(0), outputs = w.shape(0), inputs = x.shape(1), words = x.shape(2);
    require(w.shape(1) == inputs && w.shape(2) == words, "x, w: [B, I, words], [O, I, words]");
    require(out.shape(0) == samples && out.shape(1) == outputs, "out: [B, O]");
    require(x_negative.has_value() == w_negative.has_value() && !(xnor && x_negative), "signs: of both sides, or none");
    require(!x_negative || (x_negative->shape(0) == samples && x_negative->shape(1) == inputs), "x_negative: [B, I]");
    require(!w_negative || (w_negative->shape(0) == outputs && w_negative->shape(1) == inputs), "w_negative: [O, I]");
    require(length >= 0 && static_cast<std::size_t>(length) <= 64 * words, "length: no longer than the words");
    const PackedProduct product = xnor         ? PackedProduct::different
                                  : x_negative ? PackedProduct::both_signed
                                               : PackedProduct::both;
    const PackedKernels& chosen = kernels(family.level());
    nb::gil_scoped_release released;
    const std::vector<std::uint64_t> x_signs = sign_words(x, x_negative), w_signs = sign_words(w, w_negative);
    const std::size_t row_words = inputs * words, across = (outputs + kTileRows - 1) / kTileRows;
    const auto row_of = [&](const Streams& streams, const std::vector<std::uint64_t>& signs, std::size_t at) {
        return PackedRow{streams.data() + at, signs.empty() ? nullptr : signs.data() + at};
    };
    const std::int64_t cycles = length * static_cast<std::int64_t>(inputs);
    auto body = [&](long task) {
        const std::size_t first_b = static_cast<std::size_t>(task) / across * kTileRows;
        const std::size_t first_o = static_cast<std::size_t>(task) % across * kTileRows;
        const std::size_t last_b = std::min(first_b + kTileRows, samples);
        const std::size_t last_o = std::min(first_o + kTileRows, outputs);
        std::int64_t sums[kTileRows][kTileRows] = {};
        for (std::size_t at = 0; at < row_words; at += kTileWords) {
            const std::size_t here = std::min(kTileWords, row_words - at);
            for (std::size_t b = first_b; b < last_b; ++b) {
                const PackedRow row = row_of(x, x_signs, b * row_words + at);
                for (std::size_t o = first_o; o < last_o; ++o) {
                    sums[b - first_b][o - first_o] +=
                        chosen.product(product, row, row_of(w, w_signs, o * row_words + at), here);
                }
            }
        }
        for (std::size_t b = first_b; b < last_b; ++b) {
            for (std::size_t o = first_o; o < last_o; ++o) {
                const std::int64_t found = sums[b - first_b][o - first_o];
                // agreements less disagreements
                out.data()[b * outputs + o] = xnor ? cycles - 2 * found : found;
            }
        }
    };
    parallel_for(threads, static_cast<long>((samples + kTileRows - 1) / kTileRows * across), body);
}

}  // namespace

void bind_packed(nb::module_& module) {
    module.def("count_ones", count_ones, nb::arg("words"), nb::arg("counts"), nb::arg("threads"),
               "Ones of each row of packed words, uint64 [rows, words], into int64 [rows].");
    module.def(
        "shuffle_bytes", [](std::int64_t vectors) { return kernels(family.level()).shuffle(vectors); },
        nb::arg("vectors"), "Looks that many vectors of bytes up in tables of 16; returns how many bytes.");
    module.def("stream_products", stream_products, nb::arg("x"), nb::arg("w"), nb::arg("x_negative").none(),
               nb::arg("w_negative").none(), nb::arg("length"), nb::arg("xnor"), nb::arg("out"), nb::arg("threads"),
               "Sums of products of packed streams, uint64 [B, I, words] and [O, I, words], into int64 [B, O].");
}

}  // namespace bitprop
