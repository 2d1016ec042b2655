// Local slopes, compiled once for each level. Every sum has one order, so that all levels give the same bits.
#include "gather.h"
#include "slope.h"

namespace bitprop {
namespace BITPROP_LEVEL {
namespace {

static_assert(kGathered == kSlopeLanes, "one gather a block of columns");

// One register of numbers: of wider vectors, which GCC takes apart, the sums would wait in memory.
#if BITPROP_LEVEL_NUMBER >= 2
constexpr std::size_t kVectorBytes = 64;
#elif BITPROP_LEVEL_NUMBER == 1
constexpr std::size_t kVectorBytes = 32;
#else
constexpr std::size_t kVectorBytes = 16;
#endif

template <class R>
struct Vector {
    typedef R aligned __attribute__((vector_size(kVectorBytes)));
    typedef R loose __attribute__((vector_size(kVectorBytes), aligned(sizeof(R)), may_alias));
    static constexpr std::size_t lanes = kVectorBytes / sizeof(R);
    static constexpr int parts = static_cast<int>(kSlopeLanes / lanes);
};

// The order of the rows for one input.
template <class R>
void sort_rows(const SlopeView<R>& view, std::size_t input, std::uint32_t* order, std::uint32_t* rank_of,
               std::uint32_t* until) {
    const std::size_t signs = view.ranks + 1;
    for (std::size_t place = 0; place < 2 * signs; ++place) until[place] = 0;
    const auto place_of = [&](std::size_t row) {
        const std::int32_t threshold = view.threshold[row * view.inputs + input];
        const std::size_t sign = threshold < 0 ? signs : 0;
        return sign + static_cast<std::size_t>(view.row_rank[threshold < 0 ? -threshold : threshold]);
    };
    for (std::size_t row = 0; row < view.rows; ++row) ++until[place_of(row)];
    std::uint32_t before = 0;
    for (std::size_t sign = 0; sign < 2; ++sign) {
        for (std::size_t rank = signs; rank-- > 0;) {
            std::uint32_t& place = until[sign * signs + rank];
            const std::uint32_t here = place;
            place = before;
            before += here;
        }
    }
    // where each place begins, moved on to where it ends
    for (std::size_t row = 0; row < view.rows; ++row) {
        const std::size_t place = place_of(row);
        const std::uint32_t at = until[place]++;
        order[at] = static_cast<std::uint32_t>(row);
        rank_of[at] = static_cast<std::uint32_t>(place);
    }
}

// sums[q]: of the gradients of the rows whose bit is one in the q-th cycle, from 1 on, for kSlopeLanes columns; sums[0]
// of all rows, for bits of +-1.
template <class R>
void sum_rows(const SlopeView<R>& view, const SlopeLength<R>& length, const R* grad, const std::uint32_t* order,
              const std::uint32_t* until, R* sums) {
    using V = Vector<R>;
    constexpr int parts = V::parts;
    typename V::aligned sum[parts];
#pragma GCC unroll 32
    for (int part = 0; part < parts; ++part) sum[part] = typename V::aligned{};
    const std::uint32_t* const until_subtracted = until + view.ranks + 1;
    std::uint32_t added = 0, subtracted = until[0];
    for (std::size_t q = length.length; q > 0 || view.code == SlopeCode::bipolar; --q) {
        const std::int32_t rank = q > 0 ? length.rank[q - 1] : 0;
        for (; added < until[rank]; ++added) {
            const R* const from = grad + order[added] * kSlopeLanes;
#pragma GCC unroll 32
            for (int part = 0; part < parts; ++part) {
                sum[part] += *reinterpret_cast<const typename V::loose*>(from + V::lanes * part);
            }
        }
        for (; subtracted < until_subtracted[rank]; ++subtracted) {
            const R* const from = grad + order[subtracted] * kSlopeLanes;
#pragma GCC unroll 32
            for (int part = 0; part < parts; ++part) {
                sum[part] -= *reinterpret_cast<const typename V::loose*>(from + V::lanes * part);
            }
        }
#pragma GCC unroll 32
        for (int part = 0; part < parts; ++part) {
            *reinterpret_cast<typename V::loose*>(sums + q * kSlopeLanes + V::lanes * part) = sum[part];
        }
        if (q == 0) break;
    }
}

// The same sums in the same order where no row subtracts: each row's sum is kept at its place, whether or not the next
// row has the same one, and places without a row take the next higher one's. Nothing here depends on how many rows
// share a place, which the processor could not foresee.
template <class R>
void sum_adding_rows(const SlopeView<R>& view, const SlopeLength<R>& length, const R* grad, const std::uint32_t* order,
                     const std::uint32_t* rank_of, const std::uint32_t* until, R* sums) {
    using V = Vector<R>;
    constexpr int parts = V::parts;
    typename V::aligned sum[parts];
    const auto put = [&](std::size_t q) {
#pragma GCC unroll 32
        for (int part = 0; part < parts; ++part) {
            *reinterpret_cast<typename V::loose*>(sums + q * kSlopeLanes + V::lanes * part) = sum[part];
        }
    };
#pragma GCC unroll 32
    for (int part = 0; part < parts; ++part) sum[part] = typename V::aligned{};
    std::size_t last = length.length + 1;
    put(last);
    // what the loops read is in variables: for all the compiler knows, it could change with each sum that is kept
    const bool all = view.code == SlopeCode::bipolar;
    const std::int32_t* const rank = length.rank;
    const std::int32_t* const place = length.place;
    const std::uint32_t count = until[all ? 0 : rank[0]];
    for (std::uint32_t at = 0; at < count; ++at) {
        const R* const from = grad + order[at] * kSlopeLanes;
#pragma GCC unroll 32
        for (int part = 0; part < parts; ++part) {
            sum[part] += *reinterpret_cast<const typename V::loose*>(from + V::lanes * part);
        }
        put(static_cast<std::size_t>(place[rank_of[at]]));
    }
    std::uint32_t above = 0;  // rows of higher places
    for (std::size_t q = length.length; q > 0 || all; --q) {
        const std::uint32_t here = until[q > 0 ? rank[q - 1] : 0];
        last = here > above ? q : last;
        above = here;
#pragma GCC unroll 32
        for (int part = 0; part < parts; ++part) {
            *reinterpret_cast<typename V::loose*>(sums + q * kSlopeLanes + V::lanes * part) =
                *reinterpret_cast<const typename V::loose*>(sums + last * kSlopeLanes + V::lanes * part);
        }
        if (q == 0) break;
    }
}

// kSlopeLanes values of one input: their probabilities, 0 beyond the encoding's range, and where to look them up.
template <class R>
struct Values {
    alignas(64) R probability[kSlopeLanes];
    alignas(64) R inside[kSlopeLanes];
    alignas(64) std::int32_t number[kSlopeLanes];

    template <bool Bipolar>
    void place(const SlopeView<R>& view, const R* value) {
        const R low = view.code == SlopeCode::unipolar ? R(0) : R(-1), one = static_cast<R>(view.one);
        for (std::size_t j = 0; j < kSlopeLanes; ++j) {
            inside[j] = (value[j] >= low ? R(1) : R(0)) * (value[j] <= R(1) ? R(1) : R(0));
            const R held = inside[j] > R(0) ? value[j] : R(0);
            probability[j] = Bipolar ? (held + R(1)) / R(2) : (held < R(0) ? -held : held);
            // levels lie half a unit above their numbers
            const R scaled = probability[j] * one - R(0.5);
            const std::int32_t whole = static_cast<std::int32_t>(scaled);
            number[j] = whole + (static_cast<R>(whole) < scaled ? 1 : 0);
        }
    }

    // Between the worth of the cycles next below and next above; added to `out`.
    template <bool Bipolar>
    void interpolate(const SlopeLength<R>& length, const R* sums, R* out) const {
        alignas(64) std::int32_t pair[kSlopeLanes], at[kSlopeLanes];
        alignas(64) R under[kSlopeLanes], over[kSlopeLanes], level[kSlopeLanes], gap[kSlopeLanes];
        gather(length.pair, number, pair);
        gather(length.level, number, level);
        gather(length.gap, number, gap);
        constexpr std::int32_t lanes = static_cast<std::int32_t>(kSlopeLanes);
        for (std::int32_t j = 0; j < lanes; ++j) at[j] = (pair[j] & 0xFFFF) * lanes + j;
        gather(sums, at, under);
        for (std::int32_t j = 0; j < lanes; ++j) at[j] = (pair[j] >> 16) * lanes + j;
        gather(sums, at, over);
        for (std::size_t j = 0; j < kSlopeLanes; ++j) {
            const R low = Bipolar ? R(2) * under[j] - sums[j] : under[j];
            const R high = Bipolar ? R(2) * over[j] - sums[j] : over[j];
            out[j] += (low + (high - low) * ((probability[j] - level[j]) / gap[j])) * inside[j];
        }
    }
};

template <class R, bool Bipolar>
void run_coded(const SlopeView<R>& view, std::size_t first, std::size_t last, SlopeScratch<R> scratch) {
    const std::size_t ends = 2 * (view.ranks + 1), inputs = last - first;
    for (std::size_t i = 0; i < inputs; ++i) {
        sort_rows(view, first + i, scratch.order + i * view.rows, scratch.rank + i * view.rows,
                  scratch.until + i * ends);
    }
    alignas(64) R value[kSlopeInputs][kSlopeLanes] = {}, out[kSlopeInputs][kSlopeLanes];
    Values<R> values[kSlopeInputs];
    for (std::size_t begin = 0; begin < view.columns; begin += kSlopeLanes) {
        const std::size_t left = view.columns - begin, width = left < kSlopeLanes ? left : kSlopeLanes;
        for (std::size_t j = 0; j < width; ++j) {
            const R* const from = view.value + (begin + j) * view.inputs + first;
            for (std::size_t i = 0; i < inputs; ++i) value[i][j] = from[i];
        }
        for (std::size_t i = 0; i < inputs; ++i) {
            values[i].template place<Bipolar>(view, value[i]);
            for (std::size_t j = 0; j < kSlopeLanes; ++j) out[i][j] = R(0);
        }
        // one length for all inputs: its gradients stay in the cache
        for (std::size_t l = 0; l < view.count; ++l) {
            const SlopeLength<R>& length = view.lengths[l];
            const R* const grad = length.grad + begin * view.rows;
            for (std::size_t i = 0; i < inputs; ++i) {
                const std::uint32_t* const order = scratch.order + i * view.rows;
                const std::uint32_t* const until = scratch.until + i * ends;
                if (until[0] == view.rows) {
                    sum_adding_rows(view, length, grad, order, scratch.rank + i * view.rows, until, scratch.sums);
                } else {
                    sum_rows(view, length, grad, order, until, scratch.sums);
                }
                values[i].template interpolate<Bipolar>(length, scratch.sums, out[i]);
            }
        }
        for (std::size_t j = 0; j < width; ++j) {
            R* const to = view.out + (begin + j) * view.inputs;
            for (std::size_t i = first; i < last; ++i) to[i] += out[i - first][j];
        }
    }
}

template <class R>
void run(const SlopeView<R>& view, std::size_t first, std::size_t last, SlopeScratch<R> scratch) {
    if (view.code == SlopeCode::bipolar) {
        run_coded<R, true>(view, first, last, scratch);
    } else {
        run_coded<R, false>(view, first, last, scratch);
    }
}

}  // namespace

extern const SlopeKernels slope_kernels;
const SlopeKernels slope_kernels = {run<float>, run<double>};

}  // namespace BITPROP_LEVEL
}  // namespace bitprop
