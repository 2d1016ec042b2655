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

// Probabilities and signs of one side, [lines, inputs].
template <class R>
struct Side {
    const R *p, *s;
    std::size_t lines;
};

// The gradient of a line of one side; `given` has that of its overlap with each line of the other, `step` apart.
template <class R, bool Positive>
void back_as(const Side<R>& own, std::size_t line, const Side<R>& other, std::size_t inputs, const R* given,
             std::size_t step, R* __restrict out) {
    const R* __restrict p = own.p + line * inputs;
    const R* __restrict s = own.s + line * inputs;
    for (std::size_t i = 0; i < inputs; ++i) out[i] = R(0);
    for (std::size_t l = 0; l < other.lines; ++l) {
        const R* __restrict q = other.p + l * inputs;
        const R* __restrict t = other.s + l * inputs;
        const R through = given[l * step];
        for (std::size_t i = 0; i < inputs; ++i) out[i] += through * s[i] * t[i] * slope<R, Positive>(p[i], q[i]);
    }
}

template <class R>
void sums(const OverlapView<R>& view, std::size_t sample, R* out) {
    view.positive ? sums_as<R, true>(view, sample, out) : sums_as<R, false>(view, sample, out);
}
template <class R>
void back_line(bool positive, const Side<R>& own, std::size_t line, const Side<R>& other, std::size_t inputs,
               const R* given, std::size_t step, R* out) {
    positive ? back_as<R, true>(own, line, other, inputs, given, step, out)
             : back_as<R, false>(own, line, other, inputs, given, step, out);
}
template <class R>
void back_x(const OverlapView<R>& view, const R* grad, std::size_t sample, R* out) {
    back_line<R>(view.positive, {view.p_x, view.s_x, view.samples}, sample, {view.p_w, view.s_w, view.outputs},
                 view.inputs, grad + sample * view.outputs, 1, out);
}
template <class R>
void back_w(const OverlapView<R>& view, const R* grad, std::size_t output, R* out) {
    back_line<R>(view.positive, {view.p_w, view.s_w, view.outputs}, output, {view.p_x, view.s_x, view.samples},
                 view.inputs, grad + output, view.outputs, out);
}

}  // namespace

extern const OverlapKernelsOfLevel overlap_kernels;
const OverlapKernelsOfLevel overlap_kernels = {{sums<float>, back_x<float>, back_w<float>},
                                               {sums<double>, back_x<double>, back_w<double>}};

}  // namespace BITPROP_LEVEL
}  // namespace bitprop
