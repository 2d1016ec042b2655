// The elementwise parts of a mixture of designs, once per level: loops over outputs, which the compiler makes vectors
// of. Every sum has one order, so that all levels give the same bits.
#include "mixture.h"

namespace bitprop {
namespace BITPROP_LEVEL {
namespace {

// Adding and subtracting it rounds to whole numbers, ties to even.
constexpr float rounder(float) { return 12582912.0f; }
constexpr double rounder(double) { return 6755399441055744.0; }

template <class R, SlopeCode Code>
Encoded encode_as(const R* __restrict values, std::size_t size, std::int32_t one, std::int32_t* __restrict out) {
    constexpr R low = Code == SlopeCode::unipolar ? R(0) : R(-1);
    std::int32_t signs = 0, outside = 0;
    const R scale = static_cast<R>(one), round = rounder(R());
    for (std::size_t at = 0; at < size; ++at) {
        // what is not a number is outside, and the least one, as its conversion is in the reference
        outside |= !(values[at] >= low) | !(values[at] <= R(1));
        const R above = values[at] >= R(-1) ? values[at] : R(-1);
        const R clamped = above <= R(1) ? above : R(1);
        const std::int32_t value = static_cast<std::int32_t>((clamped * scale + round) - round);
        if (Code == SlopeCode::unipolar) {
            out[at] = value > 0 ? value : 0;
        } else if (Code == SlopeCode::sign_magnitude) {
            out[at] = value;
            signs |= value;
        } else {
            const std::int32_t doubled = value + one;
            out[at] = (doubled + ((doubled >> 1) & 1)) >> 1;
        }
    }
    return {signs < 0, outside == 0};
}

template <class R>
Encoded encode(const R* values, std::size_t size, SlopeCode code, int precision_bits, std::int32_t* out) {
    const std::int32_t one = std::int32_t{1} << precision_bits;
    if (code == SlopeCode::unipolar) return encode_as<R, SlopeCode::unipolar>(values, size, one, out);
    if (code == SlopeCode::sign_magnitude) return encode_as<R, SlopeCode::sign_magnitude>(values, size, one, out);
    return encode_as<R, SlopeCode::bipolar>(values, size, one, out);
}

#if BITPROP_LEVEL_NUMBER > 0
using Fast = double;  // vectors have few operations for integers of 64 bits
#else
using Fast = std::int64_t;
#endif

template <class R>
const std::int64_t* preloads(const DesignView<R>& view, std::int64_t) {
    return view.bias_raw;
}
template <class R>
const double* preloads(const DesignView<R>& view, double) {
    return view.bias_real;
}

// What the integer of an output is worth; the same in doubles where they are exact.
template <class R, bool Scaled>
R output(const DesignView<R>& view, std::int64_t value) {
    if (Scaled) {
        value = (value * view.multiplier + (std::int64_t{1} << (view.shift - 1))) >> view.shift;
        value = value < view.low ? view.low : value;
        value = value > view.high ? view.high : value;
    }
    return static_cast<R>(value) * view.unit;
}
template <class R, bool Scaled>
R output(const DesignView<R>& view, double value) {
    if (Scaled) {
        const double divisor = static_cast<double>(std::int64_t{1} << view.shift);
        const double low = static_cast<double>(view.low), high = static_cast<double>(view.high);
        value = __builtin_floor((value * static_cast<double>(view.multiplier) + divisor / 2) * (1 / divisor));
        value = value < low ? low : value;
        value = value > high ? high : value;
    }
    return static_cast<R>(value) * view.unit;
}

template <class R, bool Scaled, class Whole>
void finish_as(const DesignView<R>& view, const std::int64_t* __restrict total, R* __restrict out) {
    const Whole* __restrict preload = preloads(view, Whole());
    for (std::size_t b = 0; b < view.samples; ++b) {
        const std::int64_t* __restrict line = total + b * view.outputs;
        R* __restrict to = out + b * view.outputs;
        for (std::size_t o = 0; o < view.outputs; ++o) {
            const std::int32_t sum = static_cast<std::int32_t>(line[o]);
            const R hard = output<R, Scaled>(view, static_cast<Whole>(sum) + preload[o]);
            // the real value is in it too, so that what is not a number is seen
            R soft = view.gain * (static_cast<R>(sum) / view.length) + view.bias[o];
            if (Scaled) {
                soft = soft < view.least ? view.least : soft;
                soft = soft > view.most ? view.most : soft;
            }
            to[o] += view.share * (soft + (hard - soft));
        }
    }
}

template <class R>
void finish(const DesignView<R>& view, const std::int64_t* total, R* out) {
    const bool scaled = view.shift > 0;
    auto* chosen = scaled ? finish_as<R, true, std::int64_t> : finish_as<R, false, std::int64_t>;
    if (view.is_exact) chosen = scaled ? finish_as<R, true, Fast> : finish_as<R, false, Fast>;
    chosen(view, total, out);
}

bool narrow(const std::int64_t* __restrict total, std::size_t size, std::int16_t* __restrict out) {
    std::uint64_t outside = 0;
    for (std::size_t at = 0; at < size; ++at) {
        outside |= (static_cast<std::uint64_t>(total[at]) + 32768u) >> 16;
        out[at] = static_cast<std::int16_t>(total[at]);
    }
    return outside == 0;
}

void widen(const std::int16_t* __restrict kept, std::size_t size, std::int32_t* __restrict out) {
    for (std::size_t at = 0; at < size; ++at) out[at] = kept[at];
}

template <class R, bool Scaled, class Whole>
void back_as(const DesignView<R>& view, const R* __restrict grad, const std::int32_t* __restrict sum,
             const R* __restrict by_correlation, R* __restrict grad_mean, DesignSums sums) {
    const Whole* __restrict preload = preloads(view, Whole());
    double* __restrict to_bias = sums.bias;
    double* __restrict to_share = sums.share;
    double* __restrict to_gain = sums.gain;
    double* __restrict to_correlation = sums.correlation;
    for (std::size_t b = 0; b < view.samples; ++b) {
        const std::size_t line = b * view.outputs;
        for (std::size_t o = 0; o < view.outputs; ++o) {
            const std::int32_t total = sum[line + o];
            const R mean = static_cast<R>(total) / view.length, given = grad[line + o];
            const R soft = view.gain * mean + view.bias[o];
            R through = view.share * given;
            if (Scaled) through = (soft >= view.least) & (soft <= view.most) ? through : R(0);
            const R found = through * view.gain;
            grad_mean[line + o] = found;
            to_bias[o] += static_cast<double>(through);
            to_share[o] += static_cast<double>(given) *
                           static_cast<double>(output<R, Scaled>(view, static_cast<Whole>(total) + preload[o]));
            to_gain[o] += static_cast<double>(through) * static_cast<double>(mean);
        }
        if (by_correlation == nullptr) continue;
        for (std::size_t o = 0; o < view.outputs; ++o) {
            to_correlation[o] +=
                static_cast<double>(grad_mean[line + o]) * static_cast<double>(by_correlation[line + o] / view.length);
        }
    }
}

template <class R>
void back(const DesignView<R>& view, const R* grad, const std::int32_t* total, const R* by_correlation, R* grad_mean,
          DesignSums sums) {
    const bool scaled = view.shift > 0;
    auto* chosen = scaled ? back_as<R, true, std::int64_t> : back_as<R, false, std::int64_t>;
    if (view.is_exact) chosen = scaled ? back_as<R, true, Fast> : back_as<R, false, Fast>;
    chosen(view, grad, total, by_correlation, grad_mean, sums);
}

}  // namespace

extern const MixtureKernelsOfLevel mixture_kernels;
const MixtureKernelsOfLevel mixture_kernels = {
    {encode<float>, finish<float>, back<float>}, {encode<double>, finish<double>, back<double>}, narrow, widen};

}  // namespace BITPROP_LEVEL
}  // namespace bitprop
