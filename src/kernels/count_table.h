// The tables of one pair of number sequences, and the packing of thresholds for them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "dispatch.h"
#include "table.h"

namespace bitprop {

inline std::size_t round_up(std::size_t value, std::size_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

// Bytes at a multiple of 64, left as they are found.
class Buffer {
  public:
    explicit Buffer(std::size_t bytes = 0) { reserve(bytes); }
    void reserve(std::size_t bytes);
    std::uint8_t* data() const { return start_; }
    template <class T>
    T* as() const {
        return reinterpret_cast<T*>(start_);
    }

  private:
    std::unique_ptr<std::uint8_t[]> memory_;
    std::uint8_t* start_ = nullptr;
    std::size_t size_ = 0;
};

// At most kMaxPoints points with the tables of one side.
class Piece {
  public:
    Scheme scheme;
    std::int64_t weight;
    Buffer table;
    std::size_t rows;                      // of one sign
    std::vector<std::uint16_t> lane_code;  // per lane threshold: index | mask << 8
    CodePlanes planes;                     // the same, where there are no more than 257 thresholds
    std::vector<std::uint16_t> lane_rank;
    std::vector<std::uint16_t> row_symbol;        // per row threshold; empty where the threshold itself is the row
    std::vector<std::uint16_t> row_numbers;       // in the order of the lanes' numbers
    std::vector<std::uint32_t> threshold_of_row;  // a point is marked where its row number is below

    PieceView view(bool plain) const { return {scheme, table.data(), plain ? counts() : nullptr, weight}; }

  private:
    // The portable level's table, made on first demand.
    const std::int16_t* counts() const;
    mutable std::vector<std::int16_t> counts_;
    std::unique_ptr<std::once_flag> counted_ = std::make_unique<std::once_flag>();
};

class CountTable {
  public:
    CountTable(const std::int64_t* activation, const std::int64_t* weight, std::size_t length, int precision_bits);

    std::size_t length() const { return length_; }
    int precision_bits() const { return precision_bits_; }
    // What a product takes, in the unit of kCost.
    int cost() const;
    // Pieces whose lanes are the activations, or the weights. Made on first demand.
    const std::vector<Piece>& side(bool lanes_are_activations) const;
    // Ones of the stream of each threshold.
    const std::vector<std::uint32_t>& ones(bool of_activations) const { return ones_[of_activations]; }
    // Rows are named by thresholds, so one packing serves every table of this precision.
    bool rows_are_thresholds() const { return precision_bits_ <= 8; }

  private:
    struct Set {
        std::vector<std::uint16_t> activation, weight;
        std::int64_t times;
    };
    Piece make_piece(const Set& set, bool lanes_are_activations) const;

    std::size_t length_;
    int precision_bits_;
    std::vector<Set> sets_;
    std::vector<std::uint32_t> ones_[2];
    mutable std::vector<Piece> sides_[2];
    mutable std::once_flag made_[2];
};

// Thresholds up to 256 in the order of lanes, as TableKernels::pack makes them: the same for every piece.
struct LaneBytes {
    Buffer memory;
    bool made = false;
};

// Signed thresholds, [count, inputs], as lanes for one piece: lane l has the positive ones of line l, and, if there are
// negative ones, lane count + l the magnitudes of those. Calls with the same thresholds share their bytes.
struct Lanes {
    Buffer memory;
    LanePack pack;
    void make(Level level, const Piece& piece, const std::int32_t* values, std::size_t count, std::size_t inputs,
              bool is_signed, int threads, LaneBytes& shared);
};

// Signed thresholds, [count, inputs], as rows; padded to a multiple of kRowsTogether.
struct Rows {
    Buffer memory;
    RowPack pack;
    std::vector<std::uint32_t> negative;
    void make(const Piece& piece, const std::int32_t* values, std::size_t count, std::size_t inputs, int threads);
};

std::size_t padded_lanes(std::size_t count, bool is_signed);

}  // namespace bitprop
