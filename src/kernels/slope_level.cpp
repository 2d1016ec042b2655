// Local slopes, compiled once for each level. Every sum has one order, so that all levels give the same bits.
#include "slope.h"

namespace bitprop {
namespace BITPROP_LEVEL {
namespace {

// 64 bytes of numbers, whatever registers the level has for them.
template <class R>
struct Vector {
    typedef R aligned __attribute__((vector_size(64)));
    typedef R loose __attribute__((vector_size(64), aligned(sizeof(R)), may_alias));
    static constexpr std::size_t lanes = 64 / sizeof(R);
    static constexpr int parts = static_cast<int>(kSlopeLanes / lanes);
};

// A place for each rank and each sign in it: from the highest rank down, and in a rank what adds before what subtracts.
template <class R>
void sort_rows(const SlopeView<R>& view, std::size_t input, std::uint32_t* order, std::uint32_t* first) {
    const std::size_t places = 2 * (view.length + 1);
    for (std::size_t place = 0; place <= places; ++place) first[place] = 0;
    const auto place_of = [&](std::size_t row) {
        const std::int32_t threshold = view.threshold[row * view.inputs + input];
        const bool negative = threshold < 0;
        const std::int32_t rank = view.row_rank[negative ? -threshold : threshold];
        return 2 * (view.length - static_cast<std::size_t>(rank)) + (negative ? 1 : 0);
    };
    for (std::size_t row = 0; row < view.rows; ++row) ++first[place_of(row)];
    std::uint32_t before = 0;
    for (std::size_t place = 0; place <= places; ++place) {
        const std::uint32_t here = first[place];
        first[place] = before;
        before += here;
    }
    for (std::size_t row = 0; row < view.rows; ++row) order[first[place_of(row)]++] = static_cast<std::uint32_t>(row);
    // each place ends now where the next began
    for (std::size_t place = places; place > 0; --place) first[place] = first[place - 1];
    first[0] = 0;
}

// sums[rank]: of the gradients of the rows at that rank and above, for kSlopeLanes columns from `begin` on.
template <class R>
void sum_rows(const SlopeView<R>& view, std::size_t begin, const std::uint32_t* order, const std::uint32_t* first,
              R* sums) {
    using V = Vector<R>;
    constexpr int parts = V::parts;
    const R* const grad = view.grad + begin;
    typename V::aligned sum[parts];
#pragma GCC unroll 8
    for (int part = 0; part < parts; ++part) sum[part] = typename V::aligned{};
    // a bit of rank 0 is never one, which only +-1 for bits tells from nothing
    const std::size_t last = view.code == SlopeCode::bipolar ? 0 : 1;
    for (std::size_t rank = view.length + 1; rank-- > last;) {
        const std::uint32_t* const at = first + 2 * (view.length - rank);
        for (std::uint32_t row = at[0]; row < at[1]; ++row) {
            const R* const from = grad + order[row] * view.stride;
#pragma GCC unroll 8
            for (int part = 0; part < parts; ++part) {
                sum[part] += *reinterpret_cast<const typename V::loose*>(from + V::lanes * part);
            }
        }
        for (std::uint32_t row = at[1]; row < at[2]; ++row) {
            const R* const from = grad + order[row] * view.stride;
#pragma GCC unroll 8
            for (int part = 0; part < parts; ++part) {
                sum[part] -= *reinterpret_cast<const typename V::loose*>(from + V::lanes * part);
            }
        }
#pragma GCC unroll 8
        for (int part = 0; part < parts; ++part) {
            *reinterpret_cast<typename V::loose*>(sums + rank * kSlopeLanes + V::lanes * part) = sum[part];
        }
    }
}

// Between the worth of the cycles next below and above each value; added to `out`.
template <class R>
void interpolate(const SlopeView<R>& view, const R* __restrict sums, const R* __restrict value, R* __restrict out) {
    const bool bipolar = view.code == SlopeCode::bipolar;
    const R low = view.code == SlopeCode::unipolar ? R(0) : R(-1), one = static_cast<R>(view.one);
    const R factor = bipolar ? R(2) : R(1), share = bipolar ? R(1) : R(0), shift = bipolar ? R(1) : R(0);
    const std::int32_t* __restrict under_at = view.under;
    const std::int32_t* __restrict over_at = view.over;
    const R* __restrict level = view.level;
    const R* __restrict gaps = view.gap;
    for (std::int32_t j = 0; j < static_cast<std::int32_t>(kSlopeLanes); ++j) {
        const bool inside = (value[j] >= low) & (value[j] <= R(1));
        const R size = value[j] < R(0) ? -value[j] : value[j];
        const R probability = inside ? (bipolar ? (value[j] + shift) / factor : size) : R(0);
        // levels lie half a unit above their numbers: the least number that is not below the probability
        const R scaled = probability * one - R(0.5);
        const std::int32_t whole = static_cast<std::int32_t>(scaled);
        const std::int32_t number = whole + (static_cast<R>(whole) < scaled ? 1 : 0);
        const R total = share * sums[j];
        const R under = factor * sums[under_at[number] * static_cast<std::int32_t>(kSlopeLanes) + j] - total;
        const R over = factor * sums[over_at[number] * static_cast<std::int32_t>(kSlopeLanes) + j] - total;
        const R gap = gaps[number];
        const R place = gap > R(0) ? (probability - level[number]) / gap : R(0);
        const R slope = under + (over - under) * place;
        out[j] += inside ? slope : R(0);
    }
}

template <class R>
void run(const SlopeView<R>& view, std::size_t first, std::size_t last, SlopeScratch<R> scratch) {
    const std::size_t places = 2 * view.length + 3;
    for (std::size_t i = first; i < last; ++i) {
        sort_rows(view, i, scratch.order + (i - first) * view.rows, scratch.first + (i - first) * places);
    }
    alignas(64) R value[kSlopeInputs][kSlopeLanes] = {}, out[kSlopeInputs][kSlopeLanes];
    for (std::size_t j = 0; j < kSlopeLanes; ++j) scratch.sums[j] = R(0);
    for (std::size_t begin = 0; begin < view.columns; begin += kSlopeLanes) {
        const std::size_t left = view.columns - begin, width = left < kSlopeLanes ? left : kSlopeLanes;
        for (std::size_t j = 0; j < width; ++j) {
            const R* const from = view.value + (begin + j) * view.inputs;
            for (std::size_t i = first; i < last; ++i) value[i - first][j] = from[i];
        }
        for (std::size_t i = first; i < last; ++i) {
            R* const to = out[i - first];
            for (std::size_t j = 0; j < kSlopeLanes; ++j) to[j] = R(0);
            sum_rows(view, begin, scratch.order + (i - first) * view.rows, scratch.first + (i - first) * places,
                     scratch.sums);
            interpolate(view, scratch.sums, value[i - first], to);
        }
        for (std::size_t j = 0; j < width; ++j) {
            R* const to = view.out + (begin + j) * view.inputs;
            for (std::size_t i = first; i < last; ++i) to[i] += out[i - first][j];
        }
    }
}

}  // namespace

extern const SlopeKernels slope_kernels;
const SlopeKernels slope_kernels = {run<float>, run<double>};

}  // namespace BITPROP_LEVEL
}  // namespace bitprop
