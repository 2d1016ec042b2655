// The sums of one layer by table, for the parts of the extension that need them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "count_table.h"
#include "dispatch.h"

namespace bitprop {

// Signed thresholds, [lines, inputs].
struct Matrix {
    const std::int32_t* values;
    std::size_t lines, inputs;
    bool is_signed;
};

// One layer's weights, packed for a table and a level as far as the calls so far needed it.
class Weights {
  public:
    // Of values that stay where they are.
    Weights(const CountTable& table, const Matrix& matrix) : table_(table), matrix_(matrix) {}
    Weights(const CountTable& table, std::vector<std::int32_t> values, std::size_t lines, std::size_t inputs);

    const CountTable& table() const { return table_; }
    const Matrix& matrix() const { return matrix_; }
    const RowPack& rows(std::size_t piece, int threads);
    const LanePack& lanes(Level level, std::size_t piece, int threads, LaneBytes& bytes);

  private:
    const CountTable& table_;
    std::vector<std::int32_t> values_;
    Matrix matrix_;
    std::mutex mutex_;
    std::vector<std::unique_ptr<Rows>> rows_;
    std::vector<std::unique_ptr<Lanes>> lanes_[2];
};

// What several tables share, made by the first one that needs it: the bytes of lanes, and rows, where they are named by
// thresholds and as long.
struct Shared {
    LaneBytes lanes;
    Rows rows;
    std::size_t made = 0;  // bytes of a row

    // For other thresholds.
    void renew() { lanes.made = false, made = 0; }
};

// Sums of products, [x.lines, outputs]: of signed counts, or, for XNOR, of agreements less disagreements.
// Calls with the same thresholds and precision may share what they make of them. `adds`: to what `out` holds.
void dense(Level level, Weights& weights, const Matrix& x, bool xnor, std::int64_t* out, int threads,
           Shared* shared = nullptr, bool adds = false);

// The level that the family of these kernels uses.
Level table_level();

}  // namespace bitprop
