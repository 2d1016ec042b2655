// A bit-true layer's mixture of designs, elementwise: what mixture.cpp puts together and mixture_level.cpp computes.
//
// A design is an encoding and a length. Its sums come from tables; here are the thresholds before and, after it, bias,
// scale, clamp and the share of the mixture, and what the backward pass needs of them again.
#pragma once

#include <cstddef>
#include <cstdint>

#include "slope.h"

namespace bitprop {

template <class R>
struct DesignView {
    std::size_t samples, outputs;
    const R* bias;                 // [outputs]
    const std::int64_t* bias_raw;  // [outputs], as the accumulator is preloaded
    const double* bias_real;       // the same numbers
    bool is_exact;                 // whether doubles hold every number between a sum and an output integer
    R gain, length, share, unit;   // share: the design's probability; unit: what one of its output integers is worth
    std::int64_t multiplier, low, high;
    int shift;  // 0: a layer of logits, neither scaled nor clamped
    R least, most;
};

// Sums over the samples for each output, in one order.
struct DesignSums {
    double* bias;         // of the gradients of the bias
    double* share;        // of the gradients of the share
    double* gain;         // of the gain
    double* correlation;  // of the correlation
};

struct Encoded {
    bool is_signed;  // some thresholds are negative
    bool inside;     // all values are in the encoding's range, so that its clamp changes none
};

template <class R>
struct MixtureKernels {
    // Thresholds, and what is seen on the way.
    Encoded (*encode)(const R* values, std::size_t size, SlopeCode code, int precision_bits, std::int32_t* out);
    // Adds the design to `out`, [samples, outputs].
    void (*finish)(const DesignView<R>& view, const std::int64_t* total, R* out);
    // Gradients of the mean products, [samples, outputs]; adds to the sums. `by_correlation` may be null.
    void (*back)(const DesignView<R>& view, const R* grad, const std::int32_t* total, const R* by_correlation,
                 R* grad_mean, DesignSums sums);
};

struct MixtureKernelsOfLevel {
    MixtureKernels<float> single;
    MixtureKernels<double> twice;
    // Sums in 16 bits; whether all of them fit.
    bool (*narrow)(const std::int64_t* total, std::size_t size, std::int16_t* out);
    void (*widen)(const std::int16_t* kept, std::size_t size, std::int32_t* out);
};

namespace portable {
extern const MixtureKernelsOfLevel mixture_kernels;
}
namespace avx2 {
extern const MixtureKernelsOfLevel mixture_kernels;
}
namespace avx512 {
extern const MixtureKernelsOfLevel mixture_kernels;
}
namespace avx512vbmi {
using avx512::mixture_kernels;  // nothing in them gains by that level
}

}  // namespace bitprop
