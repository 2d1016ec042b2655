// Local slopes of a bit-true layer: what slope.cpp prepares and shares out and slope_level.cpp computes.
//
// For each input the rows are put in the order of their thresholds' ranks among the sorted numbers of their side, the
// highest first; as their gradients are added in that order, the sum so far is, at each rank, what a bit of the cycle
// below it is worth. So the cost is one addition for each product, whatever the length, and no stream is held.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dispatch.h"

namespace bitprop {

constexpr std::size_t kSlopeLanes = 64;   // columns at a time: their sums stay in registers
constexpr std::size_t kSlopeInputs = 16;  // inputs of a task: a line of the cache

enum class SlopeCode : int { unipolar, sign_magnitude, bipolar };

template <class R>
struct SlopeView {
    const R* grad;                  // [rows, stride], zero from `columns` on
    const std::int32_t* threshold;  // [rows, inputs], -one .. one: negative ones subtract
    const R* value;                 // [columns, inputs]
    R* out;                         // [columns, inputs], added to
    std::size_t rows, columns, inputs, length;
    std::size_t stride;  // a multiple of kSlopeLanes
    std::int32_t one;    // 2**precision_bits
    SlopeCode code;
    const std::int32_t* row_rank;  // [one + 1]: of a threshold among the rows' numbers
    // [one + 1] each, by the number of levels' numbers that lie below a value: the ranks whose sums are the worth of
    // the cycles next below and next above it, the level below, and the distance of the two
    const std::int32_t* under;
    const std::int32_t* over;
    const R* level;
    const R* gap;
};

// Memory of one task.
template <class R>
struct SlopeScratch {
    std::uint32_t* order;  // [kSlopeInputs, rows]: rows, the highest rank first
    std::uint32_t*
        first;  // [kSlopeInputs, 2 * length + 3]: where each rank begins in `order`, and what subtracts there
    R* sums;    // [length + 1, kSlopeLanes], at a multiple of 64 bytes
};

struct SlopeKernels {
    // Inputs first .. last - 1, at most kSlopeInputs.
    void (*single)(const SlopeView<float>& view, std::size_t first, std::size_t last, SlopeScratch<float> scratch);
    void (*twice)(const SlopeView<double>& view, std::size_t first, std::size_t last, SlopeScratch<double> scratch);
};

// Adds the slopes; the view's tables are made here.
//
// row_numbers, value_numbers: [length], 0 .. one - 1, of the two sides.
template <class R>
void add_slopes(Level level, SlopeView<R> view, const std::int64_t* row_numbers, const std::int64_t* value_numbers,
                int threads);

inline std::size_t slope_stride(std::size_t columns) { return (columns + kSlopeLanes - 1) / kSlopeLanes * kSlopeLanes; }

namespace portable {
extern const SlopeKernels slope_kernels;
}
namespace avx2 {
extern const SlopeKernels slope_kernels;
}
namespace avx512 {
extern const SlopeKernels slope_kernels;
}
namespace avx512vbmi {
extern const SlopeKernels slope_kernels;
}

}  // namespace bitprop
