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

#else

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
const TableKernels table_kernels = {tile};

}  // namespace BITPROP_LEVEL
}  // namespace bitprop
