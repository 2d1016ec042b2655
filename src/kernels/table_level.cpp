// One row of the bit-true dense layer by table, once per level; table.h says how.
#include "table.h"

#if BITPROP_LEVEL_NUMBER > 0
#include "vectors.h"
#endif

namespace bitprop {
namespace BITPROP_LEVEL {
namespace {

#if BITPROP_LEVEL_NUMBER == 0

void tile(const PieceView& piece, const LanePack& lanes, const RowPack& rows, std::size_t first, std::size_t count,
          std::int64_t* out) {
    for (std::size_t row = first; row < first + count; ++row, out += lanes.lanes) {
        const std::uint16_t* entries = rows.entries + row * rows.stride;
        for (std::size_t block = 0; block < lanes.lanes; block += kBlock) {
            std::int32_t total[kBlock] = {};  // 2**16 inputs of at most 2**8
            for (std::size_t i = 0; i < rows.stride; ++i) {
                const std::uint16_t* rank = lanes.rank + block * lanes.inputs + i * kBlock;
                const std::int16_t* counts = piece.counts + entries[i] / kRowBytes * (kMaxPoints + 1);
                for (std::size_t lane = 0; lane < kBlock; ++lane) total[lane] += counts[rank[lane]];
            }
            for (std::size_t lane = 0; lane < kBlock; ++lane) out[block + lane] += piece.weight * total[lane];
        }
    }
}

// Lanes of this level are ranks, and are not packed in bytes.
constexpr decltype(TableKernels::pack) pack = nullptr;

#else

// A line's kPack thresholds as bytes, 256 as 255; and where 256 is.
inline __m128i bytes_of(const std::int32_t* line, std::int32_t sign, unsigned& full) {
#if BITPROP_LEVEL_NUMBER >= 2
    const __m512i value = _mm512_mullo_epi32(_mm512_loadu_si512(line), _mm512_set1_epi32(sign));
    full = _mm512_cmpeq_epi32_mask(value, _mm512_set1_epi32(256));
    return _mm512_cvtusepi32_epi8(_mm512_max_epi32(value, _mm512_setzero_si512()));
#else
    const __m256i signs = _mm256_set1_epi32(sign), most = _mm256_set1_epi32(256);
    __m256i value[2];
    full = 0;
    for (int half = 0; half < 2; ++half) {
        value[half] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(line + 8 * half));
        value[half] = _mm256_mullo_epi32(value[half], signs);
        const __m256 equal = _mm256_castsi256_ps(_mm256_cmpeq_epi32(value[half], most));
        full |= static_cast<unsigned>(_mm256_movemask_ps(equal)) << 8 * half;
    }
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(value[0], value[1]), 0xD8);
    return _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
#endif
}

// values[k] for every byte k: a shuffle for each upper half of k.
inline Bytes look_up_256(const std::uint8_t* values, Bytes low, Bytes high) {
    Bytes found = zero();
#pragma GCC unroll 16
    for (int upper = 0; upper < 16; ++upper) {
        const Bytes table = load16(values + 16 * upper);
        const Bytes wanted = all(static_cast<std::uint8_t>(upper));
#if BITPROP_LEVEL_NUMBER >= 2
        found = _mm512_mask_shuffle_epi8(found, _mm512_cmpeq_epi8_mask(high, wanted), table, low);
#else
        found = _mm256_or_si256(found, both(look_up(table, low), _mm256_cmpeq_epi8(high, wanted)));
#endif
    }
    return found;
}

void pack(const std::int32_t* lines, std::size_t stride, std::int32_t sign, const CodePlanes& codes,
          std::uint8_t* index, std::uint8_t* mask) {
    __m128i part[kPack], turned[kPack];
    unsigned full[kPack], any = 0;
    for (std::size_t lane = 0; lane < kPack; ++lane) {
        part[lane] = bytes_of(lines + lane * stride, sign, full[lane]);
        any |= full[lane];
    }
    // four perfect shuffles of 16 lines of 16 bytes turn them over
#pragma GCC unroll 4
    for (int round = 0; round < 4; ++round) {
#pragma GCC unroll 8
        for (std::size_t i = 0; i < kPack / 2; ++i) {
            turned[2 * i] = _mm_unpacklo_epi8(part[i], part[i + kPack / 2]);
            turned[2 * i + 1] = _mm_unpackhi_epi8(part[i], part[i + kPack / 2]);
        }
#pragma GCC unroll 16
        for (std::size_t i = 0; i < kPack; ++i) part[i] = turned[i];
    }
    alignas(64) std::uint8_t bytes[kPack * kPack], found[kPack * kPack];
    for (std::size_t i = 0; i < kPack; ++i) _mm_store_si128(reinterpret_cast<__m128i*>(bytes + kPack * i), part[i]);
    for (int second = 0; second < (mask != nullptr ? 2 : 1); ++second) {
        std::uint8_t* const plane = second ? mask : index;
        const std::uint8_t* const values = second ? codes.mask : codes.index;
        for (std::size_t at = 0; at < sizeof bytes; at += kWidth) {
            const Bytes k = load(bytes + at);
            store(found + at, look_up_256(values, both(k, all(15)), high_nibbles(k)));
        }
        for (std::size_t i = 0; i < kPack; ++i) {
            const __m128i line = _mm_load_si128(reinterpret_cast<const __m128i*>(found + kPack * i));
            _mm_storeu_si128(reinterpret_cast<__m128i*>(plane + i * kBlock), line);
        }
        if (any == 0) continue;
        for (std::size_t lane = 0; lane < kPack; ++lane) {
            for (unsigned left = full[lane]; left != 0; left &= left - 1) {
                plane[static_cast<std::size_t>(__builtin_ctz(left)) * kBlock + lane] = values[256];
            }
        }
    }
}

// Two rows at once share what is loaded for the lanes; inputs in chunks, whose lanes stay in the first cache.
constexpr int kRows = 2;
constexpr std::size_t kChunk = 112;

// Sums of 16 bits for the even and the odd lanes.
struct Sums {
    Bytes even = zero(), odd = zero();

    void add(Bytes bytes) {
        even = add16(even, low_of_16(bytes));
        odd = add16(odd, high_of_16(bytes));
    }
    template <int Bits>
    void add_times(Bytes bytes) {
        even = add16(even, times_power<Bits>(low_of_16(bytes)));
        odd = add16(odd, times_power<Bits>(high_of_16(bytes)));
    }
};

// Up to 32 points. Sums of bytes are signed; adding 128 makes them the same bits unsigned, one bias for each such sum.
template <bool Two>
void direct(const PieceView& piece, const LanePack& lanes, std::size_t at, const std::uint16_t* const* entries,
            std::size_t begin, std::size_t end, std::int32_t* const* total) {
    constexpr std::size_t together = Two ? 2 : 4;  // counts whose sum fits a byte
    Sums sums[kRows];
    for (std::size_t i = begin; i < end; i += together) {
        Bytes sum[kRows];
        for (Bytes& one : sum) one = all(128);
#pragma GCC unroll 4
        for (std::size_t j = i; j < i + together; ++j) {
            const Bytes index = load(lanes.index + at + j * kBlock);
            for (int r = 0; r < kRows; ++r) {
                const std::uint8_t* table = piece.table + entries[r][j];
                if constexpr (Two) {
                    const Upper upper = upper_half(lanes.upper, at + j * kBlock, index);
                    sum[r] = add8(sum[r], look_up_two(load16(table), load16(table + 16), index, upper));
                } else {
                    sum[r] = add8(sum[r], look_up(load16(table), index));
                }
            }
        }
        for (int r = 0; r < kRows; ++r) sums[r].add(sum[r]);
    }
    const std::int32_t bias = static_cast<std::int32_t>(128 * ((end - begin) / together));
    for (int r = 0; r < kRows; ++r) add_wide(total[r], sums[r].even, sums[r].odd, bias);
}

// Counters of the ones of byte lanes, carry-save: the bits of `ones` weigh 1, of `twos` 2, and so on.
struct Marks {
    Bytes ones = zero(), twos = zero(), fours = zero(), eights = zero(), sixteens = zero();
};

// Up to 256 points. `Together` of the counts before a group fit a byte.
template <bool Two, int Together>
void rank(const PieceView& piece, const LanePack& lanes, std::size_t at, const std::uint16_t* const* entries,
          std::size_t begin, std::size_t end, std::int32_t* const* total) {
    Sums sums[kRows];
    Marks marks[kRows];
    for (std::size_t i = begin; i < end; i += kGroup) {
        Bytes before[kRows], kept[kRows], waiting[kRows][3];
#pragma GCC unroll 16
        for (int j = 0; j < static_cast<int>(kGroup); ++j) {
            const std::size_t here = at + (i + j) * kBlock;
            const Bytes index = load(lanes.index + here), mask = load(lanes.mask + here);
            for (int r = 0; r < kRows; ++r) {
                const std::uint8_t* table = piece.table + entries[r][i + j];
                Bytes p, m;
                if constexpr (Two) {
                    const Upper upper = upper_half(lanes.upper, here, index);
                    p = look_up_two(load16(table), load16(table + 16), index, upper);
                    m = look_up_two(load16(table + 32), load16(table + 48), index, upper);
                } else {
                    p = look_up(load16(table), index);
                    m = look_up(load16(table + 16), index);
                }
                m = masked_and_flipped(m, mask, load16(table + kFlipAt));
                before[r] = j % Together ? add8(before[r], p) : p;
                if (j % Together == Together - 1) sums[r].add(before[r]);
                // a counter of bits, as in addition on paper: two of one weight and what is there make a carry
                Bytes carry;
                if (j % 2 == 0) {
                    kept[r] = m;
                    continue;
                }
                full_add(marks[r].ones, carry, kept[r], m);
                if (j % 4 == 1) {
                    waiting[r][0] = carry;
                    continue;
                }
                full_add(marks[r].twos, carry, waiting[r][0], carry);
                if (j % 8 == 3) {
                    waiting[r][1] = carry;
                    continue;
                }
                full_add(marks[r].fours, carry, waiting[r][1], carry);
                if (j == 7) {
                    waiting[r][2] = carry;
                    continue;
                }
                full_add(marks[r].eights, carry, waiting[r][2], carry);
                marks[r].sixteens = add8(marks[r].sixteens, ones_of(carry));
            }
        }
    }
    for (int r = 0; r < kRows; ++r) {
        sums[r].template add_times<4>(marks[r].sixteens);
        sums[r].template add_times<3>(ones_of(marks[r].eights));
        sums[r].template add_times<2>(ones_of(marks[r].fours));
        sums[r].template add_times<1>(ones_of(marks[r].twos));
        sums[r].add(ones_of(marks[r].ones));
        add_wide(total[r], sums[r].even, sums[r].odd, 0);
    }
}

void tile(const PieceView& piece, const LanePack& lanes, const RowPack& rows, std::size_t first, std::size_t count,
          std::int64_t* out) {
    auto* chosen = rank<true, 1>;
    if (piece.scheme == Scheme::direct16) chosen = direct<false>;
    if (piece.scheme == Scheme::direct32) chosen = direct<true>;
    if (piece.scheme == Scheme::rank128) chosen = rank<false, 2>;
    const bool counts_down = piece.scheme == Scheme::rank128 || piece.scheme == Scheme::rank256;
    const std::int64_t extra = counts_down ? kCap[static_cast<int>(piece.scheme)] + 8 : 0;
    for (std::size_t lane = 0; lane < lanes.lanes; lane += kWidth) {
        const std::size_t at = lane / kBlock * kBlock * lanes.inputs + lane % kBlock;
        alignas(64) std::int32_t totals[kTile][kWidth] = {};
        for (std::size_t begin = 0; begin < rows.stride; begin += kChunk) {
            const std::size_t end = begin + kChunk < rows.stride ? begin + kChunk : rows.stride;
            for (std::size_t row = 0; row < count; row += kRows) {
                const std::uint16_t* const start = rows.entries + (first + row) * rows.stride;
                const std::uint16_t* const entries[kRows] = {start, start + rows.stride};
                std::int32_t* const total[kRows] = {totals[row], totals[row + 1]};
                chosen(piece, lanes, at, entries, begin, end, total);
            }
        }
        for (std::size_t row = 0; row < count; ++row) {
            std::int64_t* const line = out + row * lanes.lanes + lane;
            const std::int64_t surplus = extra * rows.negative[first + row];
            for (std::size_t l = 0; l < kWidth; ++l) line[l] += piece.weight * (totals[row][place(l)] - surplus);
        }
    }
}

#endif

}  // namespace

extern const TableKernels table_kernels;
const TableKernels table_kernels = {tile, pack};

}  // namespace BITPROP_LEVEL
}  // namespace bitprop
