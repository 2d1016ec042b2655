// Products with a matrix most of whose numbers are zero, such as spikes over time: what the level files offer and
// sparse.cpp puts to work.
//
// Numbers that are not zero are listed by rows, for the product with a weight, and from that by inputs, a chunk of
// rows at a time, for the weight's gradient.  A row's sum begins anew, from zero, after every `segment` inputs, as a
// library's product does that works on so many of them at a time: with its segment every bit is that of the library.
//
// Plain structures, no function but static ones: both kinds of files include this.

#pragma once

#include <cstddef>
#include <cstdint>

namespace bitprop {
namespace sparse {

using Index = std::int64_t;

constexpr Index kRows = 48;         // of a chunk: kPanel gradients of each stay in the first cache
constexpr Index kPanel = 128;       // outputs side by side: all inputs' weights to them stay in the second cache
constexpr Index kSlack = 16;        // numbers that may be written past the last one
constexpr Index kInputs = 1 << 16;  // at most: they are listed in 16 bits

// The numbers of one chunk by rows: input and value of each.  ends: [rows, segments], where each segment's end.
struct ByRow {
    std::uint16_t* input;
    float* value;
    std::int32_t* ends;
};

// The same by inputs: row within the chunk and value of each.  begins: [inputs + 1].
struct ByInput {
    std::uint8_t* row;
    float* value;
    std::uint32_t* begins;
};

static inline Index ceiling(Index a, Index b) { return (a + b - 1) / b; }

}  // namespace sparse

struct SparseKernels {
    // Lists rows of x [rows, inputs]; how many numbers there are, or -1: more than `room`.
    sparse::Index (*list)(const float* x, sparse::Index rows, sparse::Index inputs, sparse::Index segment,
                          sparse::Index room, const sparse::ByRow& to);
    // Lists them by inputs instead.
    void (*turn)(const sparse::ByRow& from, sparse::Index rows, sparse::Index inputs, sparse::Index segments,
                 const sparse::ByInput& to);
    // kPanel rows of a weight [outputs, inputs], or fewer, as [inputs, kPanel]; whether all are finite.
    bool (*pack)(const float* weight, sparse::Index width, sparse::Index inputs, float* panel);
    // out [rows, stride] = x W' + bias for the `width` outputs of a panel; bias may be missing.
    void (*multiply)(const sparse::ByRow& x, sparse::Index rows, sparse::Index segments, const float* panel,
                     const float* bias, float* out, sparse::Index stride, sparse::Index width);
    // Rows of g [rows, stride] as [rows, kPanel]; whether all are finite.
    bool (*gather)(const float* g, sparse::Index rows, sparse::Index stride, sparse::Index width, float* to);
    // total [last - first, kPanel] += x' g for the inputs first .. last.
    void (*collect)(const sparse::ByInput& x, sparse::Index first, sparse::Index last, const float* g, float* total);
    // total [inputs, kPanel] to `width` rows of out, `stride` apart.
    void (*unpack)(const float* total, sparse::Index inputs, sparse::Index width, float* out, sparse::Index stride);
};

namespace portable {
extern const SparseKernels sparse_kernels;
}
namespace avx2 {
extern const SparseKernels sparse_kernels;
}
namespace avx512 {
extern const SparseKernels sparse_kernels;
}
namespace avx512vbmi {
using avx512::sparse_kernels;  // nothing in them gains by that level
}

}  // namespace bitprop
