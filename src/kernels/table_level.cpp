// One row of the bit-true dense layer by table, once per level; table.h says how.
#include "table.h"

#if BITPROP_LEVEL_NUMBER > 0
#include "vectors.h"
#endif

namespace bitprop {
namespace BITPROP_LEVEL {
namespace {

#if BITPROP_LEVEL_NUMBER == 0
constexpr std::size_t place(std::size_t lane) { return lane; }
#endif

struct Places {
    std::uint8_t at[kBlock] = {};
    constexpr Places() {
        for (std::size_t lane = 0; lane < kBlock; ++lane) at[lane] = static_cast<std::uint8_t>(place(lane));
    }
};
constexpr Places places;

bool within(const std::int32_t* values, std::size_t size, std::int32_t one, bool* negative) {
    // the sign bits of values and of their distances to both ends, gathered without a branch
    const std::uint32_t end = static_cast<std::uint32_t>(one);
    std::uint32_t below = 0, outside = 0;
    for (std::size_t i = 0; i < size; ++i) {
        const std::uint32_t value = static_cast<std::uint32_t>(values[i]);
        below |= value;
        outside |= (end - value) | (end + value);
    }
    *negative = below >> 31;
    return outside >> 31 == 0;
}

#if BITPROP_LEVEL_NUMBER == 0

void tile(const PieceView& piece, const LanePack& lanes, const RowPack& rows, std::size_t first, std::size_t count,
          bool adds, std::int64_t* out) {
    const std::size_t row_bytes = kRowBytes[static_cast<int>(piece.scheme)];
    for (std::size_t row = first; row < first + count; ++row, out += lanes.lanes) {
        const std::uint16_t* entries = rows.entries + row * rows.stride;
        for (std::size_t block = 0; block < lanes.lanes; block += kBlock) {
            std::int32_t total[2][kBlock] = {};  // of what adds and what subtracts: 2**16 inputs of at most 2**8
            for (std::size_t i = 0; i < rows.stride; ++i) {
                const std::uint16_t* rank = lanes.rank + block * lanes.inputs + i * kBlock;
                const std::int16_t* counts = piece.counts + entries[i] % kSubtracts / row_bytes * (kMaxPoints + 1);
                std::int32_t* const to = total[entries[i] / kSubtracts];
                for (std::size_t lane = 0; lane < kBlock; ++lane) to[lane] += counts[rank[lane]];
            }
            for (std::size_t lane = 0; lane < kBlock; ++lane) {
                const std::int64_t before = adds ? out[block + lane] : 0;
                out[block + lane] = before + piece.weight * (total[0][lane] - total[1][lane]);
            }
        }
    }
}

// Lanes of this level are ranks, and are not packed in bytes.
constexpr decltype(TableKernels::pack) pack = nullptr;
constexpr decltype(TableKernels::code) code = nullptr;
std::size_t spread_bytes(Scheme) { return 0; }
constexpr decltype(TableKernels::spread) spread = nullptr;

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

void pack(const std::int32_t* lines, std::size_t stride, std::int32_t sign, std::uint8_t* bytes, std::uint8_t* full) {
    __m128i part[kPack], turned[kPack];
    unsigned filled[kPack], any = 0;
    for (std::size_t lane = 0; lane < kPack; ++lane) {
        part[lane] = bytes_of(lines + lane * stride, sign, filled[lane]);
        any |= filled[lane];
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
    for (std::size_t i = 0; i < kPack; ++i) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(bytes + i * kBlock), part[i]);
        full[i * kFullBytes] = full[i * kFullBytes + 1] = 0;
    }
    for (std::size_t lane = 0; any != 0 && lane < kPack; ++lane) {
        for (unsigned left = filled[lane]; left != 0; left &= left - 1) {
            std::uint8_t& bits = full[static_cast<std::size_t>(__builtin_ctz(left)) * kFullBytes + lane / 8];
            bits = static_cast<std::uint8_t>(bits | 1u << lane % 8);
        }
    }
}

// values[k] for every byte k, a shuffle for each upper half of k; last where it is 256.
void look_up_257(const std::uint8_t* bytes, const std::uint8_t* full, std::size_t count, const std::uint8_t* values,
                 std::uint8_t* out) {
    Bytes table[16];
#pragma GCC unroll 16
    for (int upper = 0; upper < 16; ++upper) table[upper] = load16(values + 16 * upper);
    const Bytes last = all(values[256]);
    for (std::size_t at = 0; at < count * kBlock; at += kWidth) {
        const Bytes k = load(bytes + at), low = both(k, all(15));
        // of two neighbours one, by each of the upper bits in turn
        const Upper bit4 = lanes_with<4>(k), bit5 = lanes_with<5>(k), bit6 = lanes_with<6>(k), bit7 = lanes_with<7>(k);
        Bytes found[8];
#pragma GCC unroll 8
        for (int i = 0; i < 8; ++i) found[i] = look_up_two(table[2 * i], table[2 * i + 1], low, bit4);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) found[i] = choose(bit5, found[2 * i], found[2 * i + 1]);
        found[0] = choose(bit6, found[0], found[1]);
        found[1] = choose(bit6, found[2], found[3]);
        found[0] = choose(bit7, found[0], found[1]);
        store(out + at, with_bits(found[0], full + at / 8, last));
    }
}

void code(const std::uint8_t* bytes, const std::uint8_t* full, std::size_t count, const CodePlanes& codes,
          std::uint8_t* index, std::uint8_t* mask) {
    look_up_257(bytes, full, count, codes.index, index);
    if (mask != nullptr) look_up_257(bytes, full, count, codes.mask, mask);
}

// Several rows at once share what is loaded for the lanes, and the kVectors of a block what is loaded for a row, as
// many as there are registers for; inputs in chunks, whose lanes stay in the first cache.
constexpr int kVectors = static_cast<int>(kBlock / kWidth);
#if BITPROP_LEVEL_NUMBER >= 2
constexpr int kRowsDirect = 4, kRowsRank = 2;
#else
constexpr int kRowsDirect = 2, kRowsRank = 1;
#endif
static_assert(kRowsTogether % kRowsDirect == 0 && kRowsTogether % kRowsRank == 0, "rows are padded to it");
constexpr std::size_t kChunk = 208;
static_assert(kChunk % kGroup == 0 && kChunk * (kCap[static_cast<int>(Scheme::rank256)] + 8) < 65536,
              "sums of 16 bits");
constexpr std::size_t kUpperBytes = kBlock / 8;
// What turns the marks over, and counts of up to kCap = 255, of a row that adds and of one that subtracts.
alignas(16) constexpr std::uint64_t kFlips[] = {0, ~std::uint64_t{0}};

// Sums of 16 bits: of the bytes of both lanes of a word, the odd one's 256 times, and of the odd one's.
struct Sums {
    Bytes words = zero(), odd_ones = zero();

    void add(Bytes bytes) {
        words = add16(words, bytes);
        odd_ones = add16(odd_ones, high_of_16(bytes));
    }
    Bytes odd() const { return odd_ones; }
    Bytes even() const { return sub16(words, times_power<8>(odd_ones)); }
};

#if BITPROP_LEVEL_NUMBER >= 2
// Bytes added carry-save, as on paper but for each bit of a byte: of three numbers of one weight come one of that and
// one of twice that weight. The number of the next one, modulo 4, is known where it is added. What weighs 4 is summed.
struct Carried {
    Bytes ones = zero(), twos = zero(), kept, waiting;
    Sums fours;

    void add(int number, Bytes bytes) {
        Bytes carry;
        if (number % 2 == 0) {
            kept = bytes;
            return;
        }
        full_add(ones, carry, kept, bytes);
        if (number % 4 == 1) {
            waiting = carry;
            return;
        }
        full_add(twos, carry, waiting, carry);
        fours.add(carry);
    }
};
#else
// A carry-save addition takes five operations here, the sums of two bytes six.
struct Carried {
    Sums all;

    void add(int, Bytes bytes) { all.add(bytes); }
};
#endif

// 16-bit sums of both lanes of a word, of bytes or of their sums that weigh more.
struct Total {
    Bytes even = zero(), odd = zero();

    template <int Bits>
    void add(const Sums& sums) {
        even = add16(even, times_power<Bits>(sums.even()));
        odd = add16(odd, times_power<Bits>(sums.odd()));
    }
    template <int Bits>
    void add(Bytes bytes) {
        even = add16(even, times_power<Bits>(low_of_16(bytes)));
        odd = add16(odd, times_power<Bits>(high_of_16(bytes)));
    }
    void add(const Carried& carried) {
#if BITPROP_LEVEL_NUMBER >= 2
        add<2>(carried.fours);
        add<1>(carried.twos);
        add<0>(carried.ones);
#else
        add<0>(carried.all);
#endif
    }
};

// Up to 32 points. Sums of so many counts fit a signed byte; adding 128 makes them the same bits
// unsigned, one bias for each such sum. Of each group, the inputs after which a sum is taken away:
constexpr bool is_full(bool two, int input) {
    return two ? input % 3 == 2 || input == 15 : input == 5 || input == 10 || input == 15;
}
constexpr int sums_of_group(bool two) {
    int found = 0;
    for (int input = 0; input < static_cast<int>(kGroup); ++input) found += is_full(two, input);
    return found;
}

template <bool Two>
void direct(const PieceView& piece, const LanePack& lanes, std::size_t at, const std::uint16_t* const* entries,
            std::size_t begin, std::size_t end, std::int32_t* const* total) {
    Sums sums[kRowsDirect][kVectors];
    for (std::size_t i = begin; i < end; i += kGroup) {
        Bytes sum[kRowsDirect][kVectors];
        for (auto& row : sum) {
            for (Bytes& lane : row) lane = all(128);
        }
#pragma GCC unroll 16
        for (int j = 0; j < static_cast<int>(kGroup); ++j) {
            const std::uint8_t* const place = lanes.index + at + (i + j) * kBlock;
            const std::uint8_t* const spread = lanes.spread + (at / kBlock + i + j) * kUpperBytes;
            Bytes index[kVectors];
            Upper upper[kVectors];
            for (int v = 0; v < kVectors; ++v) {
                index[v] = load(place + v * kWidth);
                upper[v] = Two ? upper_half(spread, index[v]) : Upper{};
            }
#pragma GCC unroll 4
            for (int r = 0; r < kRowsDirect; ++r) {
                const std::uint8_t* table = piece.table + entries[r][i + j];
                const Bytes low = load16(table), high = Two ? load16(table + 16) : Bytes{};
                for (int v = 0; v < kVectors; ++v) {
                    sum[r][v] =
                        add8(sum[r][v], Two ? look_up_two(low, high, index[v], upper[v]) : look_up(low, index[v]));
                    if (!is_full(Two, j)) continue;
                    sums[r][v].add(sum[r][v]);
                    sum[r][v] = all(128);
                }
            }
        }
    }
    const std::int32_t bias = 128 * sums_of_group(Two) * static_cast<std::int32_t>((end - begin) / kGroup);
    for (int r = 0; r < kRowsDirect; ++r) {
        for (int v = 0; v < kVectors; ++v) {
            add_wide(total[r] + v * kWidth, sums[r][v].even(), sums[r][v].odd(), bias);
        }
    }
}

// Counters of the ones of byte lanes, carry-save: the bits of `ones` weigh 1, of `twos` 2, and so on.
struct Marks {
    Bytes ones = zero(), twos = zero(), fours = zero(), eights = zero(), sixteens = zero();

    // The marks of inputs j and j + 1 of kGroup; carries wait for the next ones of their weight.
    void add(int j, Bytes first, Bytes second, Bytes* waiting) {
        Bytes carry;
        full_add(ones, carry, first, second);
        if (j % 4 == 0) {
            waiting[0] = carry;
            return;
        }
        full_add(twos, carry, waiting[0], carry);
        if (j % 8 == 2) {
            waiting[1] = carry;
            return;
        }
        full_add(fours, carry, waiting[1], carry);
        if (j == 6) {
            waiting[2] = carry;
            return;
        }
        full_add(eights, carry, waiting[2], carry);
        sixteens = add8(sixteens, ones_of(carry));
    }
};

// Up to 256 points. `Together` of the counts before a group fit a byte.
template <bool Two, int Together>
void rank(const PieceView& piece, const LanePack& lanes, std::size_t at, const std::uint16_t* const* entries,
          std::size_t begin, std::size_t end, std::int32_t* const* total) {
    Carried carried[kRowsRank][kVectors];
    Marks marks[kRowsRank][kVectors];
    for (std::size_t i = begin; i < end; i += kGroup) {
        Bytes waiting[kRowsRank][kVectors][3];
#pragma GCC unroll 8
        for (int j = 0; j < static_cast<int>(kGroup); j += 2) {
            // two inputs for one row after the other, so that little is held
            Bytes index[2][kVectors], mask[2][kVectors];
            Upper upper[2][kVectors];
            for (int k = 0; k < 2; ++k) {
                const std::size_t here = at + (i + j + k) * kBlock;
                const std::uint8_t* const spread = lanes.spread + (at / kBlock + i + j + k) * kUpperBytes;
                for (int v = 0; v < kVectors; ++v) {
                    index[k][v] = load(lanes.index + here + v * kWidth);
                    mask[k][v] = load(lanes.mask + here + v * kWidth);
                    upper[k][v] = Two ? upper_half(spread, index[k][v]) : Upper{};
                }
            }
            for (int r = 0; r < kRowsRank; ++r) {
                Bytes p[2][kVectors], m[2][kVectors];
                for (int k = 0; k < 2; ++k) {
                    const std::size_t entry = entries[r][i + j + k];
                    const Bytes flip = load8(kFlips + entry / kSubtracts);
                    const std::uint8_t* table = piece.table + (Two ? entry % kSubtracts : entry);
                    Bytes row[Two ? 4 : 2];
                    for (int part = 0; part < (Two ? 4 : 2); ++part) row[part] = load16(table + 16 * part);
                    for (int v = 0; v < kVectors; ++v) {
                        if constexpr (Two) {
                            p[k][v] = differing(look_up_two(row[0], row[1], index[k][v], upper[k][v]), flip);
                            m[k][v] = look_up_two(row[2], row[3], index[k][v], upper[k][v]);
                        } else {
                            p[k][v] = look_up(row[0], index[k][v]);
                            m[k][v] = look_up(row[1], index[k][v]);
                        }
                        m[k][v] = masked_and_flipped(m[k][v], mask[k][v], flip);
                    }
                }
                for (int v = 0; v < kVectors; ++v) {
                    if constexpr (Together == 2) {
                        carried[r][v].add(j / 2, add8(p[0][v], p[1][v]));
                    } else {
                        carried[r][v].add(j, p[0][v]);
                        carried[r][v].add(j + 1, p[1][v]);
                    }
                    marks[r][v].add(j, m[0][v], m[1][v], waiting[r][v]);
                }
            }
        }
    }
    for (int r = 0; r < kRowsRank; ++r) {
        for (int v = 0; v < kVectors; ++v) {
            Total found;
            found.add(carried[r][v]);
            found.add<4>(marks[r][v].sixteens);
            found.add<3>(ones_of(marks[r][v].eights));
            found.add<2>(ones_of(marks[r][v].fours));
            found.add<1>(ones_of(marks[r][v].twos));
            found.add<0>(ones_of(marks[r][v].ones));
            add_wide(total[r] + v * kWidth, found.even, found.odd, 0);
        }
    }
}

// AVX2 has what it needs in the bytes themselves.
#if BITPROP_LEVEL_NUMBER >= 2
std::size_t spread_bytes(Scheme scheme) {
    return scheme == Scheme::direct32 || scheme == Scheme::rank256 ? kUpperBytes : 0;
}
void spread(const std::uint8_t* index, std::size_t count, std::uint8_t* to) {
    for (std::size_t at = 0; at < count; ++at) store_upper_half(to + at * kUpperBytes, load(index + at * kBlock));
}
#else
std::size_t spread_bytes(Scheme) { return 0; }
constexpr decltype(TableKernels::spread) spread = nullptr;
#endif

void tile(const PieceView& piece, const LanePack& lanes, const RowPack& rows, std::size_t first, std::size_t count,
          bool adds, std::int64_t* out) {
    const bool is_direct = piece.scheme == Scheme::direct16 || piece.scheme == Scheme::direct32;
    auto* chosen = rank<true, 1>;
    if (piece.scheme == Scheme::direct16) chosen = direct<false>;
    if (piece.scheme == Scheme::direct32) chosen = direct<true>;
    if (piece.scheme == Scheme::rank128) chosen = rank<false, 2>;
    const std::size_t together = is_direct ? kRowsDirect : kRowsRank;
    const std::int64_t extra = is_direct ? 0 : kCap[static_cast<int>(piece.scheme)] + 8;
    for (std::size_t lane = 0; lane < lanes.lanes; lane += kBlock) {
        const std::size_t at = lane * lanes.inputs;
        alignas(64) std::int32_t totals[kTile][kBlock] = {};
        for (std::size_t begin = 0; begin < rows.stride; begin += kChunk) {
            const std::size_t end = begin + kChunk < rows.stride ? begin + kChunk : rows.stride;
            for (std::size_t row = 0; row < count; row += together) {
                const std::uint16_t* entries[kRowsTogether];
                std::int32_t* total[kRowsTogether];
                for (std::size_t r = 0; r < together; ++r) {
                    entries[r] = rows.entries + (first + row + r) * rows.stride;
                    total[r] = totals[row + r];
                }
                chosen(piece, lanes, at, entries, begin, end, total);
            }
        }
        for (std::size_t row = 0; row < count; ++row) {
            std::int64_t* const line = out + row * lanes.lanes + lane;
            const std::int64_t surplus = extra * rows.negative[first + row];
            for (std::size_t l = 0; l < kBlock; ++l) {
                line[l] = (adds ? line[l] : 0) + piece.weight * (totals[row][l] - surplus);
            }
        }
    }
}

#endif

}  // namespace

extern const TableKernels table_kernels;
const TableKernels table_kernels = {places.at, tile, pack, code, within, spread_bytes, spread};

}  // namespace BITPROP_LEVEL
}  // namespace bitprop
