// The bit-true dense layer by table: what table.cpp prepares and the levels of table_level.cpp carry out.
//
// A product's count depends on its two thresholds only. One side of the product (the samples of a batch, or the
// outputs) lies in the lanes of vectors, the other side makes the rows. A lane's threshold k selects the first rho
// points, rho = #{t : S_t < k}, of the points sorted by the lane side's numbers S; a row's threshold marks those of
// its points that are one. So a count is a rank query: how many marked points are among the first rho.
//
//   direct   up to 32 points: the counts themselves, by byte shuffles of 16 entries.
//   rank     up to 256 points, in groups of 8: the count before the group (P) and the group's 8 marks (M), both by byte
//            shuffles; the marks beyond rho are masked, and the ones of many inputs are counted together, by carry-save
//            addition.
//
// Longer streams are taken apart into sets of at most 256 points; points that occur several times count so often.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bitprop {

constexpr std::size_t kBlock = 64;       // lanes are padded to a multiple
constexpr std::size_t kGroup = 16;       // inputs are padded to a multiple, with row 0
constexpr std::size_t kMaxPoints = 256;  // of one piece
enum class Scheme : int { direct16, direct32, rank128, rank256 };

// Bytes of a table's row by scheme: counts (direct), or P and M (rank). Short, and within a line of the cache, so that
// a table stays in the first one; the same for short streams, so that they can share what names the rows.
constexpr std::size_t kRowBytes[] = {32, 32, 32, 64};
// A table has every row twice, for what adds and, kSubtracts bytes further on, for what subtracts: there the counts are
// negative (direct), and P is kCap - P and the marks count as 8 less their ones (rank), which is kCap + 8 too much for
// every such input. With rank256, whose table would fill the first cache, kCap - P is P turned over, and rows are there
// once.
constexpr std::size_t kSubtracts = 1 << 15;
constexpr int kCap[] = {0, 0, 127, 255};
// What a product takes by scheme, in the time of a shuffle, as measured with AVX-512.
constexpr int kCost[] = {2, 3, 6, 9};

// Lanes packed for one piece: blocks of kBlock lanes, each with all inputs. Vector levels: per input and lane a byte
// `index` (entry in bits 0-3, the upper 16 entries have bit 4; 0x80 gives the count 0) and a byte `mask`; `spread` is
// what a level makes of them beside. Portable: `rank`.
struct LanePack {
    const std::uint8_t* index;
    const std::uint8_t* mask;
    const std::uint8_t* spread;
    const std::uint16_t* rank;
    std::size_t lanes;   // a multiple of kBlock
    std::size_t inputs;  // a multiple of kGroup
};

// Rows, an entry for each input: where its row begins in the table, in bytes.
struct RowPack {
    const std::uint16_t* entries;
    const std::uint32_t* negative;  // how many inputs subtract, per row
    std::size_t stride;             // inputs, padded to a multiple of kGroup
};

struct PieceView {
    Scheme scheme;
    const std::uint8_t* table;   // aligned
    const std::int16_t* counts;  // portable: kMaxPoints + 1 counts for each row that adds
    std::int64_t weight;         // how often each point occurs
};

constexpr std::size_t kPack = 16;  // a part of kBlock; kGroup
constexpr std::size_t kFullBytes = kBlock / 8;
constexpr std::size_t kRowsTogether = 4;  // rows are padded to a multiple
constexpr std::size_t kTile = 16;         // rows of a task; a multiple of it

// What a lane's threshold, 0 .. 256, is in `index` and in `mask`.
struct CodePlanes {
    std::uint8_t index[257], mask[257];
};

struct TableKernels {
    // out[row, lane] = weight * (sum of counts that add - sum of counts that subtract), or += where `adds`, for kTile
    // rows or fewer (a multiple of kRowsTogether) from `first` on and all lanes; out has a line of lanes for each of
    // them, in each kBlock of them lane l at place[l].
    const std::uint8_t* place;
    void (*tile)(const PieceView& piece, const LanePack& lanes, const RowPack& rows, std::size_t first,
                 std::size_t count, bool adds, std::int64_t* out);
    // Thresholds of kPack lanes for kPack inputs as bytes, inputs kBlock apart: sign * lines[lane * stride + input], 0
    // if that is negative, and at most 256. Which are 256 is said by a bit of each lane in `full`, inputs kBlock bits
    // apart.
    void (*pack)(const std::int32_t* lines, std::size_t stride, std::int32_t sign, std::uint8_t* bytes,
                 std::uint8_t* full);
    // The codes of such bytes, `count` times kBlock, to index and, if there is one, mask.
    void (*code)(const std::uint8_t* bytes, const std::uint8_t* full, std::size_t count, const CodePlanes& codes,
                 std::uint8_t* index, std::uint8_t* mask);
    // Whether thresholds are within +-one, and whether some are negative.
    bool (*within)(const std::int32_t* values, std::size_t size, std::int32_t one, bool* negative);
    // Bytes of `spread` for each kBlock lanes of an input, and how it is made for `count` times as many.
    std::size_t (*spread_bytes)(Scheme scheme);
    void (*spread)(const std::uint8_t* index, std::size_t count, std::uint8_t* to);
};

namespace portable {
extern const TableKernels table_kernels;
}
namespace avx2 {
extern const TableKernels table_kernels;
}
namespace avx512 {
extern const TableKernels table_kernels;
}
namespace avx512vbmi {
extern const TableKernels table_kernels;
}

}  // namespace bitprop
