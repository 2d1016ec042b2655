// Expected overlaps, once per level: loops over inputs, which the compiler makes vectors of. Every sum has one order,
// so that all levels give the same bits.
#include "overlap.h"

namespace bitprop {
namespace BITPROP_LEVEL {
namespace {

constexpr std::size_t kPartial = 16;  // sums side by side

template <class R, bool Positive>
R overlap(R p, R q) {
    if (Positive) return p < q ? p : q;
    const R both = p + q - R(1);
    return both > R(0) ? both : R(0);
}

// Of the overlap in p: half at a tie, where both one-sided slopes are right.
template <class R, bool Positive>
R slope(R p, R q) {
    if (Positive) return (p < q ? R(1) : R(0)) + (p == q ? R(0.5) : R(0));
    return p + q > R(1) ? R(1) : R(0);
}

template <class R, bool Positive>
void sums_as(const OverlapView<R>& view, std::size_t sample, R* out) {
    const R* __restrict p = view.p_x + sample * view.inputs;
    const R* __restrict s = view.s_x + sample * view.inputs;
    const std::size_t whole = view.inputs / kPartial * kPartial;
    for (std::size_t o = 0; o < view.outputs; ++o) {
        const R* __restrict q = view.p_w + o * view.inputs;
        const R* __restrict t = view.s_w + o * view.inputs;
        R partial[kPartial] = {};
        for (std::size_t i = 0; i < whole; i += kPartial) {
            for (std::size_t j = 0; j < kPartial; ++j) {
                partial[j] += overlap<R, Positive>(p[i + j], q[i + j]) * s[i + j] * t[i + j];
            }
        }
        for (std::size_t i = whole; i < view.inputs; ++i) {
            partial[i - whole] += overlap<R, Positive>(p[i], q[i]) * s[i] * t[i];
        }
        for (std::size_t step = kPartial / 2; step > 0; step /= 2) {
            for (std::size_t j = 0; j < step; ++j) partial[j] += partial[j + step];
        }
        out[o] = partial[0];
    }
}

template <class R, bool Positive>
void back_x_as(const OverlapView<R>& view, const R* grad, std::size_t sample, R* __restrict grad_x) {
    const R* __restrict p = view.p_x + sample * view.inputs;
    const R* __restrict s = view.s_x + sample * view.inputs;
    for (std::size_t i = 0; i < view.inputs; ++i) grad_x[i] = R(0);
    for (std::size_t o = 0; o < view.outputs; ++o) {
        const R* __restrict q = view.p_w + o * view.inputs;
        const R* __restrict t = view.s_w + o * view.inputs;
        const R given = grad[sample * view.outputs + o];
        for (std::size_t i = 0; i < view.inputs; ++i) {
            grad_x[i] += given * s[i] * t[i] * slope<R, Positive>(p[i], q[i]);
        }
    }
}

template <class R, bool Positive>
void back_w_as(const OverlapView<R>& view, const R* grad, std::size_t output, R* __restrict grad_w) {
    const R* __restrict q = view.p_w + output * view.inputs;
    const R* __restrict t = view.s_w + output * view.inputs;
    for (std::size_t i = 0; i < view.inputs; ++i) grad_w[i] = R(0);
    for (std::size_t b = 0; b < view.samples; ++b) {
        const R* __restrict p = view.p_x + b * view.inputs;
        const R* __restrict s = view.s_x + b * view.inputs;
        const R given = grad[b * view.outputs + output];
        for (std::size_t i = 0; i < view.inputs; ++i) {
            grad_w[i] += given * s[i] * t[i] * slope<R, Positive>(q[i], p[i]);
        }
    }
}

template <class R>
void sums(const OverlapView<R>& view, std::size_t sample, R* out) {
    view.positive ? sums_as<R, true>(view, sample, out) : sums_as<R, false>(view, sample, out);
}
template <class R>
void back_x(const OverlapView<R>& view, const R* grad, std::size_t sample, R* out) {
    view.positive ? back_x_as<R, true>(view, grad, sample, out) : back_x_as<R, false>(view, grad, sample, out);
}
template <class R>
void back_w(const OverlapView<R>& view, const R* grad, std::size_t output, R* out) {
    view.positive ? back_w_as<R, true>(view, grad, output, out) : back_w_as<R, false>(view, grad, output, out);
}

}  // namespace

extern const OverlapKernelsOfLevel overlap_kernels;
const OverlapKernelsOfLevel overlap_kernels = {{sums<float>, back_x<float>, back_w<float>},
                                               {sums<double>, back_x<double>, back_w<double>}};

}  // namespace BITPROP_LEVEL
}  // namespace bitprop
