#include "count_table.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <numeric>
#include <utility>

#include "levels.h"
#include "pool.h"

namespace bitprop {
namespace {

Scheme scheme_for(std::size_t points) {
    if (points <= 16) return Scheme::direct16;
    if (points <= 32) return Scheme::direct32;
    return points <= 128 ? Scheme::rank128 : Scheme::rank256;
}

// How many of the sorted numbers are below each threshold 0 .. 2**n.
std::vector<std::uint16_t> ranks(const std::vector<std::uint16_t>& numbers, int precision_bits) {
    std::vector<std::uint16_t> found((std::size_t{1} << precision_bits) + 1, 0);
    for (std::uint16_t number : numbers) ++found[number + std::size_t{1}];
    for (std::size_t k = 1; k < found.size(); ++k) found[k] = static_cast<std::uint16_t>(found[k] + found[k - 1]);
    return found;
}

}  // namespace

void Buffer::reserve(std::size_t bytes) {
    if (bytes <= size_) return;
    memory_.reset(new std::uint8_t[bytes + 64]);
    start_ = memory_.get() + (64 - reinterpret_cast<std::uintptr_t>(memory_.get()) % 64) % 64;
    size_ = bytes;
}

CountTable::CountTable(const std::int64_t* activation, const std::int64_t* weight, std::size_t length,
                       int precision_bits)
    : length_(length), precision_bits_(precision_bits) {
    const std::size_t levels = (std::size_t{1} << precision_bits) + 1;
    std::map<std::pair<std::uint16_t, std::uint16_t>, std::int64_t> times;
    for (std::vector<std::uint32_t>& ones : ones_) ones.assign(levels, 0);
    for (std::size_t t = 0; t < length; ++t) {
        ++times[{static_cast<std::uint16_t>(activation[t]), static_cast<std::uint16_t>(weight[t])}];
        ++ones_[true][static_cast<std::size_t>(activation[t]) + 1];
        ++ones_[false][static_cast<std::size_t>(weight[t]) + 1];
    }
    for (std::vector<std::uint32_t>& ones : ones_) std::partial_sum(ones.begin(), ones.end(), ones.begin());
    // the points that occur at least so often, for every number of times that comes up
    std::vector<std::int64_t> steps;
    for (const auto& point : times) steps.push_back(point.second);
    std::sort(steps.begin(), steps.end());
    steps.erase(std::unique(steps.begin(), steps.end()), steps.end());
    const auto fill = [&](std::int64_t at_least, std::int64_t counts_for) {
        const std::size_t first = sets_.size();
        for (const auto& point : times) {
            if (point.second < at_least) continue;
            if (sets_.size() == first || sets_.back().activation.size() == kMaxPoints) {
                sets_.push_back({{}, {}, counts_for});
            }
            sets_.back().activation.push_back(point.first.first);
            sets_.back().weight.push_back(point.first.second);
        }
    };
    for (std::size_t step = 0; step < steps.size(); ++step) {
        fill(steps[step], steps[step] - (step ? steps[step - 1] : 0));
    }
    if (sets_.size() > (length + kMaxPoints - 1) / kMaxPoints) {  // cheaper cycle by cycle
        sets_.clear();
        for (std::size_t t = 0; t < length; ++t) {
            if (t % kMaxPoints == 0) sets_.push_back({{}, {}, 1});
            sets_.back().activation.push_back(static_cast<std::uint16_t>(activation[t]));
            sets_.back().weight.push_back(static_cast<std::uint16_t>(weight[t]));
        }
    }
}

int CountTable::cost() const {
    int found = 0;
    for (const Set& set : sets_) found += kCost[static_cast<int>(scheme_for(set.activation.size()))];
    return found;
}

const std::vector<Piece>& CountTable::side(bool lanes_are_activations) const {
    std::call_once(made_[lanes_are_activations], [&] {
        for (const Set& set : sets_) sides_[lanes_are_activations].push_back(make_piece(set, lanes_are_activations));
    });
    return sides_[lanes_are_activations];
}

Piece CountTable::make_piece(const Set& set, bool lanes_are_activations) const {
    const std::vector<std::uint16_t>& lane_numbers = lanes_are_activations ? set.activation : set.weight;
    const std::vector<std::uint16_t>& row_numbers = lanes_are_activations ? set.weight : set.activation;
    const std::size_t points = lane_numbers.size();
    Piece piece;
    piece.scheme = scheme_for(points);
    piece.weight = set.times;
    piece.lane_rank = ranks(lane_numbers, precision_bits_);

    // the row numbers in the order of the lane numbers
    std::vector<std::size_t> order(points);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return lane_numbers[a] < lane_numbers[b]; });
    for (std::size_t point : order) piece.row_numbers.push_back(row_numbers[point]);
    std::vector<std::uint32_t>& threshold_of_row = piece.threshold_of_row;
    const std::size_t levels = (std::size_t{1} << precision_bits_) + 1;
    if (rows_are_thresholds()) {
        threshold_of_row.resize(levels);
        std::iota(threshold_of_row.begin(), threshold_of_row.end(), 0u);
    } else {
        piece.row_symbol = ranks(row_numbers, precision_bits_);
        threshold_of_row.assign(points + 1, 0);
        for (std::size_t k = 0; k < levels; ++k) threshold_of_row[piece.row_symbol[k]] = static_cast<std::uint32_t>(k);
    }

    const bool direct = piece.scheme == Scheme::direct16 || piece.scheme == Scheme::direct32;
    const std::size_t entries = piece.scheme == Scheme::direct32 || piece.scheme == Scheme::rank256 ? 32 : 16;
    const int cap = kCap[static_cast<int>(piece.scheme)];
    piece.rows = threshold_of_row.size();
    const std::size_t row_bytes = kRowBytes[static_cast<int>(piece.scheme)];
    const bool twice = piece.scheme != Scheme::rank256;
    const std::size_t size = (twice ? kSubtracts : 0) + piece.rows * row_bytes;
    piece.table.reserve(size);
    std::memset(piece.table.data(), 0, size);
    std::uint8_t counts[kMaxPoints + 1];  // the last of 256 does not fit, and no table needs it
    counts[0] = 0;
    for (std::size_t row = 0; row < piece.rows; ++row) {
        std::uint8_t* const adds = piece.table.data() + row * row_bytes;
        for (std::size_t point = 0; point < points; ++point) {
            const bool marked = piece.row_numbers[point] < threshold_of_row[row];
            counts[point + 1] = static_cast<std::uint8_t>(counts[point] + marked);
            if (direct) {
                adds[point] = counts[point + 1];
            } else if (marked) {
                adds[entries + point / 8] |= static_cast<std::uint8_t>(1u << point % 8);
            }
        }
        for (std::size_t group = 0; !direct && group < entries; ++group)
            adds[group] = counts[std::min(8 * group, points)];
        if (!twice) continue;
        // counts turned round, marks as they are
        std::uint8_t* const subtracts = adds + kSubtracts;
        std::copy_n(adds, row_bytes, subtracts);
        for (std::size_t entry = 0; entry < entries; ++entry) {
            subtracts[entry] = static_cast<std::uint8_t>(cap - adds[entry]);
        }
    }

    piece.lane_code.resize(levels);
    for (std::size_t k = 0; k < levels; ++k) {
        const std::size_t rank = piece.lane_rank[k];
        if (direct) {
            piece.lane_code[k] = static_cast<std::uint16_t>(rank == 0 ? 0x80 : rank - 1);
        } else {
            const std::size_t entry = std::min(rank / 8, entries - 1);
            piece.lane_code[k] = static_cast<std::uint16_t>(entry | ((1u << (rank - 8 * entry)) - 1) << 8);
        }
    }
    for (std::size_t k = 0; k < std::min(levels, sizeof piece.planes.index); ++k) {
        piece.planes.index[k] = static_cast<std::uint8_t>(piece.lane_code[k]);
        piece.planes.mask[k] = static_cast<std::uint8_t>(piece.lane_code[k] >> 8);
    }
    return piece;
}

const std::int16_t* Piece::counts() const {
    std::call_once(*counted_, [&] {
        counts_.assign(rows * (kMaxPoints + 1), 0);
        for (std::size_t row = 0; row < rows; ++row) {
            std::int16_t* const up = counts_.data() + row * (kMaxPoints + 1);
            for (std::size_t point = 0; point < row_numbers.size(); ++point) {
                up[point + 1] = static_cast<std::int16_t>(up[point] + (row_numbers[point] < threshold_of_row[row]));
            }
        }
    });
    return counts_.data();
}

std::size_t padded_lanes(std::size_t count, bool is_signed) { return round_up(is_signed ? 2 * count : count, kBlock); }

void Lanes::make(Level level, const Piece& piece, const std::int32_t* values, std::size_t count, std::size_t inputs,
                 bool is_signed, int threads, LaneBytes& shared) {
    const std::size_t lanes = padded_lanes(count, is_signed);
    const std::size_t size = round_up(inputs, kGroup) * lanes;
    const TableKernels& kernels = BITPROP_CHOOSE(level, table_kernels);
    const Scheme scheme = piece.scheme;
    const std::size_t spread_bytes = kernels.spread_bytes(scheme);
    memory.reserve(2 * size + size / kBlock * spread_bytes);
    std::uint8_t* index = memory.data();
    std::uint8_t* mask = index + size;
    std::uint8_t* spread = mask + size;
    std::uint16_t* rank = memory.as<std::uint16_t>();
    pack = {index, mask, spread, rank, lanes, size / lanes};
    const bool plain = level == Level::portable;
    const bool masked = scheme == Scheme::rank128 || scheme == Scheme::rank256;
    const std::size_t padded = size / lanes;
    constexpr std::size_t step = kPack;  // inputs of a line read together: one line of the cache
    const std::uint16_t* const ranks = piece.lane_rank.data();
    const std::uint16_t* const codes = piece.lane_code.data();
    const CodePlanes* const planes = &piece.planes;
    const bool by_bytes = !plain && piece.lane_code.size() <= sizeof planes->index;
    if (by_bytes) shared.memory.reserve(size + size / 8);
    std::uint8_t* const bytes = shared.memory.data();
    std::uint8_t* const full = bytes + size;
    const bool bytes_made = by_bytes && shared.made;
    shared.made = by_bytes;
    const TableKernels* const chosen = &kernels;
    auto body = [=](long task) {
        const std::size_t first = static_cast<std::size_t>(task) * step, width = std::min(step, inputs - first);
        // among the blocks of kBlock lanes, the one of a lane and the first input
        const auto block_of = [&](std::size_t lane) { return lane / kBlock * padded + first; };
        const auto put = [&](std::size_t lane, std::size_t input, std::int32_t threshold) {
            const std::size_t block = block_of(lane) + input, at = block * kBlock + lane % kBlock;
            if (plain) {
                rank[at] = ranks[threshold];
            } else if (by_bytes) {
                bytes[at] = static_cast<std::uint8_t>(std::min(threshold, 255));
                std::uint8_t& bits = full[block * kFullBytes + lane % kBlock / 8];
                const unsigned bit = 1u << lane % 8;
                bits = static_cast<std::uint8_t>(threshold == 256 ? bits | bit : bits & ~bit);
            } else {
                index[at] = static_cast<std::uint8_t>(codes[threshold]);
                if (masked) mask[at] = static_cast<std::uint8_t>(codes[threshold] >> 8);
            }
        };
        for (std::size_t begin = 0; begin < lanes && !bytes_made; begin += kPack) {
            const std::size_t end = begin + kPack;
            const bool positive = end <= count, negative = is_signed && begin >= count && end <= 2 * count;
            if (by_bytes && width == step && (positive || negative)) {
                const std::int32_t* const lines = values + (positive ? begin : begin - count) * inputs + first;
                const std::size_t block = block_of(begin), within = begin % kBlock;
                chosen->pack(lines, inputs, positive ? 1 : -1, bytes + block * kBlock + within,
                             full + block * kFullBytes + within / 8);
                continue;
            }
            for (std::size_t lane = begin; lane < end; ++lane) {
                const bool there = lane < (is_signed ? 2 * count : count), first_sign = lane < count;
                const std::int32_t* const line = values + (first_sign ? lane : lane - count) * inputs + first;
                // beyond the last input row 0 waits, which is nothing to any lane
                for (std::size_t i = 0; i < step; ++i) {
                    put(lane, i, there && i < width ? std::max(first_sign ? line[i] : -line[i], 0) : 0);
                }
            }
        }
        for (std::size_t lane = 0; lane < lanes; lane += kBlock) {
            const std::size_t block = block_of(lane), at = block * kBlock;
            if (by_bytes) {
                chosen->code(bytes + at, full + block * kFullBytes, step, *planes, index + at,
                             masked ? mask + at : nullptr);
            }
            if (spread_bytes != 0) chosen->spread(index + at, step, spread + block * spread_bytes);
        }
    };
    parallel_for(threads, static_cast<long>(padded / step), body);
}

void Rows::make(const Piece& piece, const std::int32_t* values, std::size_t count, std::size_t inputs, int threads) {
    const std::size_t stride = round_up(inputs, kGroup), padded = round_up(count, kRowsTogether);
    memory.reserve(padded * stride * sizeof(std::uint16_t));
    negative.assign(padded, 0);
    std::uint16_t* const entries = memory.as<std::uint16_t>();
    std::uint32_t* const negatives = negative.data();
    pack = {entries, negatives, stride};
    std::fill(entries + count * stride, entries + padded * stride, std::uint16_t{0});
    const std::uint16_t* const symbols = piece.row_symbol.empty() ? nullptr : piece.row_symbol.data();
    const unsigned row_bytes = static_cast<unsigned>(kRowBytes[static_cast<int>(piece.scheme)]);
    constexpr std::size_t step = 8;
    auto body = [=](long task) {
        const std::size_t first = static_cast<std::size_t>(task) * step;
        for (std::size_t row = first; row < std::min(first + step, count); ++row) {
            const std::int32_t* const line = values + row * inputs;
            std::uint16_t* const out = entries + row * stride;
            std::uint32_t subtracting = 0;
            if (symbols) {
                for (std::size_t i = 0; i < inputs; ++i) {
                    const unsigned sign = line[i] < 0;
                    out[i] = static_cast<std::uint16_t>(symbols[std::abs(line[i])] * row_bytes + sign * kSubtracts);
                    subtracting += sign;
                }
            } else {
                for (std::size_t i = 0; i < inputs; ++i) {
                    const unsigned sign = line[i] < 0;
                    out[i] = static_cast<std::uint16_t>(static_cast<unsigned>(std::abs(line[i])) * row_bytes +
                                                        sign * kSubtracts);
                    subtracting += sign;
                }
            }
            std::fill(out + inputs, out + stride, std::uint16_t{0});
            negatives[row] = subtracting;
        }
    };
    parallel_for(threads, static_cast<long>((count + step - 1) / step), body);
}

}  // namespace bitprop
