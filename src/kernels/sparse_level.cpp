// Products with numbers that are mostly zero.  Compiled once for each level; every level gives the same bits: each
// sum is a chain of fused multiply-adds of its own, in the order of the list.

#include "sparse.h"

#if BITPROP_LEVEL_NUMBER >= 1
#include <immintrin.h>
#endif

namespace bitprop {
namespace BITPROP_LEVEL {
namespace {

using namespace sparse;

// --- vectors of sums -------------------------------------------------------------------------------------------------

#if BITPROP_LEVEL_NUMBER >= 2
constexpr Index kLanes = 16;
#elif BITPROP_LEVEL_NUMBER == 1
constexpr Index kLanes = 8;
#else
constexpr Index kLanes = 1;
#endif
typedef float Floats __attribute__((vector_size(kLanes * sizeof(float))));
typedef float Loose __attribute__((vector_size(kLanes * sizeof(float)), aligned(alignof(float)), may_alias));

inline Floats read(const float* at) { return *reinterpret_cast<const Loose*>(at); }
inline void write(float* at, Floats v) { *reinterpret_cast<Loose*>(at) = v; }
inline Floats fused(float a, Floats b, Floats c) {
#if BITPROP_LEVEL_NUMBER >= 2
    return _mm512_fmadd_ps(_mm512_set1_ps(a), b, c);
#elif BITPROP_LEVEL_NUMBER == 1
    return _mm256_fmadd_ps(_mm256_set1_ps(a), b, c);
#else
    return Floats{__builtin_fmaf(a, b[0], c[0])};
#endif
}

constexpr Index kSums = 8;  // in registers: as many as two units of four cycles each work on at once
constexpr Index kStrip = kSums * kLanes;

// sums += value[n] * rows[place[n]] for n in begin .. end, rows kPanel apart
template <class Place>
inline void run(const Place* __restrict place, const float* __restrict value, Index begin, Index end,
                const float* __restrict rows, Floats (&sums)[kSums]) {
    for (Index n = begin; n < end; ++n) {
        const float* const row = rows + static_cast<Index>(place[n]) * kPanel;
        for (Index i = 0; i < kSums; ++i) sums[i] = fused(value[n], read(row + i * kLanes), sums[i]);
    }
}

// --- lists -----------------------------------------------------------------------------------------------------------

Index list(const float* x, Index rows, Index inputs, Index segment, Index room, const ByRow& to) {
    Index count = 0;
    float* const value = to.value;
    std::uint16_t* const input = to.input;
    std::int32_t* ends = to.ends;
    for (Index r = 0; r < rows; ++r, x += inputs) {
        if (count + inputs > room) {  // only then it is worth knowing exactly
            Index more = 0;
            for (Index k = 0; k < inputs; ++k) more += x[k] != 0.0f;
            if (count + more > room) return -1;
        }
        for (Index first = 0; first < inputs; first += segment) {
            const Index last = first + segment < inputs ? first + segment : inputs;
            Index k = first;
#if BITPROP_LEVEL_NUMBER >= 2
            const __m512i each = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
            for (; k + kLanes <= last; k += kLanes) {
                const __m512 v = _mm512_loadu_ps(x + k);
                const __mmask16 there = _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_NEQ_UQ);
                const __m512i places = _mm512_add_epi32(each, _mm512_set1_epi32(static_cast<int>(k)));
                _mm512_storeu_ps(value + count, _mm512_maskz_compress_ps(there, v));
                _mm256_storeu_si256(reinterpret_cast<__m256i*>(input + count),
                                    _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(there, places)));
                count += __builtin_popcount(there);
            }
#elif BITPROP_LEVEL_NUMBER == 1
            for (; k + kLanes <= last; k += kLanes) {
                const __m256 zeros = _mm256_cmp_ps(_mm256_loadu_ps(x + k), _mm256_setzero_ps(), _CMP_EQ_OQ);
                for (int there = ~_mm256_movemask_ps(zeros) & 255; there != 0; there &= there - 1, ++count) {
                    const Index at = k + __builtin_ctz(static_cast<unsigned>(there));
                    value[count] = x[at];
                    input[count] = static_cast<std::uint16_t>(at);
                }
            }
#endif
            for (; k < last; ++k) {
                value[count] = x[k];
                input[count] = static_cast<std::uint16_t>(k);
                count += x[k] != 0.0f;
            }
            *ends++ = static_cast<std::int32_t>(count);
        }
    }
    return count;
}

void turn(const ByRow& from, Index rows, Index inputs, Index segments, const ByInput& to) {
    std::uint32_t* const next = to.begins + 1;  // of each input: how many, then where, then where the next begins
    const Index count = from.ends[rows * segments - 1];
    for (Index k = -1; k < inputs; ++k) next[k] = 0;
    for (Index n = 0; n < count; ++n) ++next[from.input[n]];
    std::uint32_t before = 0;
    for (Index k = 0; k < inputs; ++k) {
        const std::uint32_t here = next[k];
        next[k] = before;
        before += here;
    }
    Index n = 0;
    for (Index r = 0; r < rows; ++r) {
        for (const Index end = from.ends[(r + 1) * segments - 1]; n < end; ++n) {
            const std::uint32_t place = next[from.input[n]]++;
            to.row[place] = static_cast<std::uint8_t>(r);
            to.value[place] = from.value[n];
        }
    }
}

// --- the product -----------------------------------------------------------------------------------------------------

// Zero, unless a number was not finite.
struct Doubt {
    Floats worst = {};
    void look(const float* at) { worst += read(at) - read(at); }
    bool is_none() const {
        float lanes[kLanes], sum = 0.0f;
        write(lanes, worst);
        for (const float lane : lanes) sum += lane;
        return sum == 0.0f;
    }
};

// Tiles that touch few pages and lines at a time, for matrices in one order to be written in the other.
constexpr Index kTile = 16;

template <class Move>
inline void over_tiles(Index rows, Index columns, const Move& move) {
    for (Index row = 0; row < rows; row += kTile) {
        const Index height = row + kTile < rows ? kTile : rows - row;
        for (Index column = 0; column < columns; column += kTile) {
            move(row, height, column, column + kTile < columns ? kTile : columns - column);
        }
    }
}

bool pack(const float* weight, Index width, Index inputs, float* panel) {
    if (width < kPanel) {
        for (Index n = 0; n < inputs * kPanel; ++n) panel[n] = 0.0f;
    }
    Doubt doubt;
    over_tiles(width, inputs, [&](Index row, Index height, Index column, Index breadth) {
        alignas(64) float tile[kTile][kTile] = {};
        for (Index j = 0; j < height; ++j) {
            const float* const from = weight + (row + j) * inputs + column;
            if (breadth == kTile) {
                for (Index k = 0; k < kTile; k += kLanes) write(tile[j] + k, read(from + k));
            } else {
                for (Index k = 0; k < breadth; ++k) tile[j][k] = from[k];
            }
            for (Index k = 0; k < kTile; k += kLanes) doubt.look(tile[j] + k);
        }
        float* to = panel + column * kPanel + row;
        for (Index k = 0; k < breadth; ++k, to += kPanel) {
            for (Index j = 0; j < height; ++j) to[j] = tile[j][k];
        }
    });
    return doubt.is_none();
}

void multiply(const ByRow& x, Index rows, Index segments, const float* panel, const float* bias, float* out,
              Index stride, Index width) {
    alignas(64) float begun[kPanel] = {}, whole[kPanel];
    if (bias != nullptr) {
        for (Index j = 0; j < width; ++j) begun[j] = bias[j];
    }
    Index begin = 0;
    for (Index r = 0; r < rows; ++r, out += stride) {
        const std::int32_t* const ends = x.ends + r * segments;
        float* const to = width == kPanel ? out : whole;
        for (Index strip = 0; strip < kPanel; strip += kStrip) {
            const float* before = begun;  // without a bias the first sum is not added to anything: to a zero
            Index n = begin;
            for (Index s = 0; s < segments; ++s) {
                Floats sums[kSums] = {};
                run(x.input, x.value, n, ends[s], panel + strip, sums);
                n = ends[s];
                for (Index i = 0; i < kSums; ++i) {
                    const Index at = strip + i * kLanes;
                    write(to + at, read(before + at) + sums[i]);
                }
                before = to;
            }
        }
        if (to == whole) {
            for (Index j = 0; j < width; ++j) out[j] = whole[j];
        }
        begin = ends[segments - 1];
    }
}

// --- the weight's gradient -------------------------------------------------------------------------------------------

bool gather(const float* g, Index rows, Index stride, Index width, float* to) {
    Doubt doubt;
    for (Index r = 0; r < rows; ++r, g += stride, to += kPanel) {
        if (width == kPanel) {
            for (Index j = 0; j < kPanel; j += kLanes) write(to + j, read(g + j));
        } else {
            for (Index j = 0; j < kPanel; ++j) to[j] = j < width ? g[j] : 0.0f;
        }
        for (Index j = 0; j < kPanel; j += kLanes) doubt.look(to + j);
    }
    return doubt.is_none();
}

void collect(const ByInput& x, Index first, Index last, const float* g, float* total) {
    for (Index k = first; k < last; ++k, total += kPanel) {
        const Index begin = x.begins[k], end = x.begins[k + 1];
        if (begin == end) continue;
        for (Index strip = 0; strip < kPanel; strip += kStrip) {
            Floats sums[kSums] = {};
            run(x.row, x.value, begin, end, g + strip, sums);
            for (Index i = 0; i < kSums; ++i) {
                float* const at = total + strip + i * kLanes;
                write(at, read(at) + sums[i]);
            }
        }
    }
}

void unpack(const float* total, Index inputs, Index width, float* out, Index stride) {
    over_tiles(width, inputs, [&](Index row, Index height, Index column, Index breadth) {
        const float* const from = total + column * kPanel + row;
        for (Index j = 0; j < height; ++j) {
            float* const to = out + (row + j) * stride + column;
            for (Index k = 0; k < breadth; ++k) to[k] = from[k * kPanel + j];
        }
    });
}

}  // namespace

extern const SparseKernels sparse_kernels;
const SparseKernels sparse_kernels = {list, turn, pack, multiply, gather, collect, unpack};

}  // namespace BITPROP_LEVEL
}  // namespace bitprop
