// Expected overlaps of fully correlated streams in a dense layer: sums of min(p, q), or of max(0, p + q - 1), with
// signs; what overlap.cpp checks and shares out and overlap_level.cpp computes.
#pragma once

#include <cstddef>

namespace bitprop {

template <class R>
struct OverlapView {
    const R* p_x;  // [samples, inputs]: probabilities, and signs
    const R* s_x;
    const R* p_w;  // [outputs, inputs]
    const R* s_w;
    std::size_t samples, outputs, inputs;
    bool positive;  // min(p, q)
};

template <class R>
struct OverlapKernels {
    // out[b, o] = sum over i of s_x s_w m(p_x, p_w), of one sample.
    void (*sums)(const OverlapView<R>& view, std::size_t sample, R* out);
    // Gradients in p_x of one sample, and in p_w of one output; grad is [samples, outputs].
    void (*back_x)(const OverlapView<R>& view, const R* grad, std::size_t sample, R* grad_x);
    void (*back_w)(const OverlapView<R>& view, const R* grad, std::size_t output, R* grad_w);
};

struct OverlapKernelsOfLevel {
    OverlapKernels<float> single;
    OverlapKernels<double> twice;
};

namespace portable {
extern const OverlapKernelsOfLevel overlap_kernels;
}
namespace avx2 {
extern const OverlapKernelsOfLevel overlap_kernels;
}
namespace avx512 {
extern const OverlapKernelsOfLevel overlap_kernels;
}
namespace avx512vbmi {
using avx512::overlap_kernels;  // nothing in them gains by that level
}

}  // namespace bitprop
