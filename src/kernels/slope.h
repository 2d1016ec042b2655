// Local slopes of a bit-true layer: what slope.cpp checks and shares out and slope_level.cpp computes.
//
// For each input the gradients of the rows are added into one bin per rank of the row's threshold among the sorted
// numbers of its side; the sum of all bins above a point is what a bit of that point's cycle is worth. So the cost is
// one addition for each product, whatever the length, and no stream is held.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bitprop {

constexpr std::size_t kSlopeLanes = 256;  // columns at a time: their bins stay in the cache
constexpr std::size_t kSlopeInputs = 16;  // inputs of a task

enum class SlopeCode : int { unipolar, sign_magnitude, bipolar };

template <class R>
struct SlopeView {
    const R* grad;                  // [rows, columns]
    const std::int64_t* threshold;  // [rows, inputs], 0 .. one
    const std::int64_t* negative;   // [rows, inputs], or null
    const R* value;                 // [columns, inputs]
    R* out;                         // [columns, inputs]
    std::size_t rows, columns, inputs, length;
    std::int64_t one;                // 2**precision_bits
    const std::int32_t* row_rank;    // [one + 1]: of a threshold among the rows' numbers
    const std::int32_t* value_rank;  // [one + 1]: of a threshold among the values' numbers
    const R* levels;                 // [length]: of the values, ascending
    const std::int32_t* point;       // [length]: a level's cycle, as a place among the rows' sorted numbers
    SlopeCode code;
};

struct SlopeKernels {
    // Inputs first .. last - 1; `bins` has room for (length + 1) * kSlopeLanes numbers.
    void (*single)(const SlopeView<float>& view, std::size_t first, std::size_t last, float* bins);
    void (*twice)(const SlopeView<double>& view, std::size_t first, std::size_t last, double* bins);
};

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
