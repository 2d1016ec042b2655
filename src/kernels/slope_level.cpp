// Local slopes, compiled once for each level: additions over columns, which the compiler makes vectors of. Every sum
// has one order, so that all levels give the same bits.
#include "slope.h"

namespace bitprop {
namespace BITPROP_LEVEL {
namespace {

template <class R>
__attribute__((noinline)) void add_row(R* __restrict bin, const R* __restrict row, std::size_t width) {
    for (std::size_t j = 0; j < width; ++j) bin[j] += row[j];
}

template <class R>
__attribute__((noinline)) void subtract_row(R* __restrict bin, const R* __restrict row, std::size_t width) {
    for (std::size_t j = 0; j < width; ++j) bin[j] -= row[j];
}

template <class R>
R interpolate(const SlopeView<R>& view, const R* bins, R value) {
    const R low = view.code == SlopeCode::unipolar ? R(0) : R(-1);
    if (!(value >= low && value <= R(1))) return R(0);
    const bool bipolar = view.code == SlopeCode::bipolar;
    const R probability = bipolar ? (value + R(1)) / R(2) : (value < R(0) ? -value : value);
    const std::int32_t length = static_cast<std::int32_t>(view.length);
    // levels lie half a unit above their numbers, so those of smaller numbers are below the probability
    std::int32_t above = view.value_rank[static_cast<std::int64_t>(probability * static_cast<R>(view.one))];
    while (above < length && view.levels[above] < probability) ++above;
    const std::int32_t below = above > 0 ? above - 1 : 0;
    if (above == length) above = length - 1;
    // the bins above a point hold the rows whose bit is one in its cycle
    R under = bins[static_cast<std::size_t>(view.point[below] + 1) * kSlopeLanes];
    R over = bins[static_cast<std::size_t>(view.point[above] + 1) * kSlopeLanes];
    if (bipolar) {
        const R total = bins[0] + bins[kSlopeLanes];
        under = R(2) * under - total;
        over = R(2) * over - total;
    }
    const R gap = view.levels[above] - view.levels[below];
    const R place = gap > R(0) ? (probability - view.levels[below]) / gap : R(0);
    return under + (over - under) * place;
}

template <class R>
void run(const SlopeView<R>& view, std::size_t first, std::size_t last, R* bins) {
    for (std::size_t begin = 0; begin < view.columns; begin += kSlopeLanes) {
        const std::size_t left = view.columns - begin, width = left < kSlopeLanes ? left : kSlopeLanes;
        for (std::size_t i = first; i < last; ++i) {
            for (std::size_t at = 0; at < (view.length + 1) * kSlopeLanes; ++at) bins[at] = R(0);
            for (std::size_t row = 0; row < view.rows; ++row) {
                const std::size_t at = row * view.inputs + i;
                const std::size_t rank = static_cast<std::size_t>(view.row_rank[view.threshold[at]]);
                const R* const from = view.grad + row * view.columns + begin;
                if (view.negative != nullptr && view.negative[at] != 0) {
                    subtract_row(bins + rank * kSlopeLanes, from, width);
                } else {
                    add_row(bins + rank * kSlopeLanes, from, width);
                }
            }
            for (std::size_t rank = view.length - 1; rank > 0; --rank) {
                add_row(bins + rank * kSlopeLanes, bins + (rank + 1) * kSlopeLanes, width);
            }
            for (std::size_t j = 0; j < width; ++j) {
                const std::size_t at = (begin + j) * view.inputs + i;
                view.out[at] = interpolate(view, bins + j, view.value[at]);
            }
        }
    }
}

}  // namespace

extern const SlopeKernels slope_kernels;
const SlopeKernels slope_kernels = {run<float>, run<double>};

}  // namespace BITPROP_LEVEL
}  // namespace bitprop
