// Local slopes of a bit-true layer: what slope.cpp prepares and shares out and slope_level.cpp computes.
//
// For each input the rows are put in the order of their thresholds, the highest first; as their gradients are added in
// that order, the sum so far is, at each number of the rows' side, what a bit of its cycle is worth. So the cost is one
// addition for each product and length, whatever the length is, and no stream is held. One order serves all lengths.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dispatch.h"

namespace bitprop {

constexpr std::size_t kSlopeLanes = 64;   // columns at a time: their sums stay in registers
constexpr std::size_t kSlopeInputs = 16;  // inputs of a task: a line of the cache
constexpr std::size_t kSlopeLongest = 32767;

enum class SlopeCode : int { unipolar, sign_magnitude, bipolar };

// One stream length. A value is looked up by the least number that is not below its probability, 0 .. one.
template <class R>
struct SlopeLength {
    const R* grad;  // gradients of the sums, slope_blocks: [blocks, rows, kSlopeLanes], zero beyond the columns
    std::size_t length;
    const std::int32_t* rank;   // [length]: from which rank on a row's bit is one in the q-th cycle by number
    const std::int32_t* place;  // [ranks + 1]: in how many cycles the bit of a row of a rank is one
    // [one + 1]: the cycles next below and next above a value, as places by the rows' numbers, in 16 bits each; the
    // level below and the distance of the two
    const std::int32_t* pair;
    const R* level;
    const R* gap;
};

template <class R>
struct SlopeView {
    const std::int32_t* threshold;  // [rows, inputs], -one .. one: negative ones subtract
    const R* value;                 // [columns, inputs]
    R* out;                         // [columns, inputs], added to
    std::size_t rows, columns, inputs;
    std::int32_t one;  // 2**precision_bits
    SlopeCode code;
    const std::int32_t* row_rank;  // [one + 1]: of a threshold among the different numbers of all lengths
    std::size_t ranks;             // of those numbers, and one more
    const SlopeLength<R>* lengths;
    std::size_t count;
    std::size_t longest;
};

// Memory of one task.
template <class R>
struct SlopeScratch {
    std::uint32_t* order;  // [kSlopeInputs, rows]: rows that add, the highest rank first, then rows that subtract
    std::uint32_t* rank;   // [kSlopeInputs, rows]: the ranks of rows that add, in that order
    std::uint32_t* until;  // [kSlopeInputs, 2, ranks + 1]: where in `order` the rows of at least a rank end
    R* sums;               // [longest + 2, kSlopeLanes]
};

struct SlopeKernels {
    // Inputs first .. last - 1, at most kSlopeInputs.
    void (*single)(const SlopeView<float>& view, std::size_t first, std::size_t last, SlopeScratch<float> scratch);
    void (*twice)(const SlopeView<double>& view, std::size_t first, std::size_t last, SlopeScratch<double> scratch);
};

// What a caller gives for one length: gradients as in SlopeLength, and numbers 0 .. one - 1 of both sides, [length].
template <class R>
struct SlopeGiven {
    const R* grad;
    std::size_t length;
    const std::int64_t* row_numbers;
    const std::int64_t* value_numbers;
};

// Adds the slopes of all lengths to view.out; of the view its first two lines are set.
template <class R>
void add_slopes(Level level, SlopeView<R> view, const SlopeGiven<R>* given, std::size_t count, int threads);

// The level that the family of these kernels uses.
Level slope_level();

inline std::size_t slope_blocks(std::size_t columns) { return (columns + kSlopeLanes - 1) / kSlopeLanes; }

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
using avx512::slope_kernels;  // nothing in them gains by that level
}

}  // namespace bitprop
