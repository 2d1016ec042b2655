#include "count_table.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <numeric>
#include <utility>

#include "pool.h"

namespace bitprop {
namespace {

std::size_t round_up(std::size_t value, std::size_t multiple) { return (value + multiple - 1) / multiple * multiple; }

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
    Piece piece{scheme_for(points), set.times, Buffer(), {}, 0, {}, ranks(lane_numbers, precision_bits_), {}};

    // the row numbers in the order of the lane numbers
    std::vector<std::size_t> order(points);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return lane_numbers[a] < lane_numbers[b]; });
    std::vector<std::uint32_t> threshold_of_row;  // a point is marked where its row number is below
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
    piece.table.reserve(2 * piece.rows * kRowBytes);
    std::memset(piece.table.data(), 0, 2 * piece.rows * kRowBytes);
    piece.counts.assign(2 * piece.rows * (kMaxPoints + 1), 0);
    for (std::size_t row = 0; row < piece.rows; ++row) {
        std::int16_t* counts = piece.counts.data() + row * (kMaxPoints + 1);
        std::uint8_t* adds = piece.table.data() + row * kRowBytes;
        std::uint8_t* subtracts = adds + piece.rows * kRowBytes;
        for (std::size_t point = 0; point < points; ++point) {
            const bool marked = row_numbers[order[point]] < threshold_of_row[row];
            counts[point + 1] = static_cast<std::int16_t>(counts[point] + marked);
            if (direct) {
                adds[point] = static_cast<std::uint8_t>(counts[point + 1]);
                subtracts[point] = static_cast<std::uint8_t>(-counts[point + 1]);
            } else if (marked) {
                adds[entries + point / 8] |= static_cast<std::uint8_t>(1u << point % 8);
                subtracts[entries + point / 8] = adds[entries + point / 8];
            }
        }
        std::int16_t* down = counts + piece.rows * (kMaxPoints + 1);
        for (std::size_t rank = 0; rank <= points; ++rank) down[rank] = static_cast<std::int16_t>(-counts[rank]);
        if (!direct) std::memset(subtracts + kFlipAt, 255, 16);
        for (std::size_t group = 0; !direct && group < entries; ++group) {
            const int count = counts[std::min(8 * group, points)];
            adds[group] = static_cast<std::uint8_t>(count);
            subtracts[group] = static_cast<std::uint8_t>(cap - count);
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
    return piece;
}

std::size_t padded_lanes(std::size_t count, bool is_signed) { return round_up(is_signed ? 2 * count : count, kBlock); }

void Lanes::make(const Piece& piece, const std::int32_t* values, std::size_t count, std::size_t inputs, bool is_signed,
                 bool plain, int threads) {
    const std::size_t lanes = padded_lanes(count, is_signed);
    const std::size_t size = round_up(inputs, kGroup) * lanes;
    memory.reserve(2 * size + size / 8);
    std::uint8_t* index = memory.data();
    std::uint8_t* mask = index + size;
    std::uint64_t* upper = reinterpret_cast<std::uint64_t*>(mask + size);
    std::uint16_t* rank = memory.as<std::uint16_t>();
    pack = {index, mask, upper, rank, lanes, size / lanes};
    const bool masked = piece.scheme == Scheme::rank128 || piece.scheme == Scheme::rank256;
    const bool halves = piece.scheme == Scheme::direct32 || piece.scheme == Scheme::rank256;
    const std::size_t padded = size / lanes;
    constexpr std::size_t step = 16;  // inputs of a line read together: one line of the cache
    const std::uint16_t* const codes = plain ? piece.lane_rank.data() : piece.lane_code.data();
    auto body = [=](long task) {
        const std::size_t first = static_cast<std::size_t>(task) * step, width = std::min(step, inputs - first);
        const auto put = [&](std::size_t lane, const std::int32_t* line, std::int32_t sign) {
            std::size_t at = lane / kBlock * kBlock * padded + first * kBlock + lane % kBlock;
            // beyond the last input row 0 waits, which is nothing to any lane
            const auto threshold = [&](std::size_t i) { return line && i < width ? std::max(sign * line[i], 0) : 0; };
            if (plain) {
                for (std::size_t i = 0; i < step; ++i, at += kBlock) rank[at] = codes[threshold(i)];
            } else if (masked) {
                for (std::size_t i = 0; i < step; ++i, at += kBlock) {
                    const std::uint16_t code = codes[threshold(i)];
                    index[at] = static_cast<std::uint8_t>(code);
                    mask[at] = static_cast<std::uint8_t>(code >> 8);
                }
            } else {
                for (std::size_t i = 0; i < step; ++i, at += kBlock) {
                    index[at] = static_cast<std::uint8_t>(codes[threshold(i)]);
                }
            }
        };
        for (std::size_t lane = 0; lane < count; ++lane) {
            const std::int32_t* const line = values + lane * inputs + first;
            put(lane, line, 1);
            if (is_signed) put(count + lane, line, -1);
        }
        for (std::size_t lane = is_signed ? 2 * count : count; lane < lanes; ++lane) put(lane, nullptr, 1);
        if (plain || !halves) return;
        for (std::size_t block = 0; block < lanes / kBlock; ++block) {
            for (std::size_t word = block * padded + first; word < block * padded + first + step; ++word) {
                std::uint64_t bits = 0;
                for (std::size_t byte = 0; byte < 8; ++byte) {
                    std::uint64_t eight;
                    std::memcpy(&eight, index + kBlock * word + 8 * byte, 8);
                    // bit 4 of each byte, gathered in the topmost byte
                    bits |= ((((eight >> 4) & 0x0101010101010101u) * 0x0102040810204080u) >> 56) << (8 * byte);
                }
                upper[word] = bits;
            }
        }
    };
    parallel_for(threads, static_cast<long>(padded / step), body);
}

void Rows::make(const Piece& piece, const std::int32_t* values, std::size_t count, std::size_t inputs, int threads) {
    const std::size_t stride = round_up(inputs, kGroup), padded = round_up(count, 2);
    memory.reserve(padded * stride * sizeof(std::uint16_t));
    negative.assign(padded, 0);
    std::uint16_t* const entries = memory.as<std::uint16_t>();
    std::uint32_t* const negatives = negative.data();
    pack = {entries, negatives, stride};
    std::fill(entries + count * stride, entries + padded * stride, std::uint16_t{0});
    const std::uint16_t* const symbols = piece.row_symbol.empty() ? nullptr : piece.row_symbol.data();
    const unsigned below = static_cast<unsigned>(piece.rows * kRowBytes);
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
                    out[i] = static_cast<std::uint16_t>(symbols[std::abs(line[i])] * kRowBytes + sign * below);
                    subtracting += sign;
                }
            } else {
                for (std::size_t i = 0; i < inputs; ++i) {
                    const unsigned sign = line[i] < 0;
                    out[i] =
                        static_cast<std::uint16_t>(static_cast<unsigned>(std::abs(line[i])) * kRowBytes + sign * below);
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
