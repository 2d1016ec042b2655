// Packed streams from Python: checks, the choice of a level, threads.
#include "packed.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>

#include "bindings.h"
#include "levels.h"
#include "pool.h"

namespace nb = nanobind;

namespace bitprop {
namespace {

const PackedKernels& kernels(Level level) { return BITPROP_CHOOSE(level, packed_kernels); }

bool check(Level level) {
    constexpr std::size_t rows = 4, words = 19;
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

}  // namespace

void bind_packed(nb::module_& module) {
    module.def("count_ones", count_ones, nb::arg("words"), nb::arg("counts"), nb::arg("threads"),
               "Ones of each row of packed words, uint64 [rows, words], into int64 [rows].");
}

}  // namespace bitprop
