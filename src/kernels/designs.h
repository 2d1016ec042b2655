// What a mixture's two directions are given of its designs, and what the way forward keeps for the way back.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "bindings.h"
#include "count_table.h"
#include "dispatch.h"
#include "mixture.h"

namespace bitprop {

using Integers = std::vector<std::int64_t>;

// So many samples at a time bound what a large batch takes beside its sums.
constexpr std::size_t kSamples = 512;

// body(first, samples) for each such part of the batch.
template <class Body>
void in_parts(std::size_t samples, const Body& body) {
    for (std::size_t first = 0; first < samples; first += kSamples) body(first, std::min(kSamples, samples - first));
}

// The multiplier and the shift of a layer's scale, as bitprop.nn.bit_true.scale_constants has them.
struct Scale {
    std::int64_t multiplier = 0;
    int shift = 0;  // 0: a layer of logits, which has none
    static Scale of(double gain, std::int64_t length, int precision_bits, int scale_bits);
};

// What does not change from step to step. By encoding: codes. By length: the rest, of which `tables`, for each length:
// at the correlation; then, where its slope is asked for, of the sources' own numbers, and one for each of `signs` with
// the weights' numbers those of the activations or their mirror image. Where a length `goes_on`, its tables are of the
// cycles since the length before it, whose sums it begins with. `local`: whether the slope is the stream's own;
// `numbers`: of the activations and of the weights, for each length in one line.
struct Designs {
    Integers codes, lengths;
    int scale_bits;   // 0: a layer of logits
    Integers limits;  // smallest and largest output integer
    int precision_bits;
    std::vector<const CountTable*> tables;
    Integers goes_on, signs, local, numbers;

    std::size_t encodings() const { return codes.size(); }
    std::size_t count() const { return codes.size() * lengths.size(); }
    std::size_t tables_each() const { return signs.empty() ? 1 : 2 + signs.size(); }
    void check() const;
    void check_inputs(std::size_t inputs) const;
};

// The sums of all designs, [designs, B, O], for the way back: each part of the batch in 16 bits where all of its sums
// fit, which those of short streams do.
class KeptSums {
  public:
    KeptSums(std::size_t designs, std::size_t samples, std::size_t outputs)
        : samples_(samples), outputs_(outputs), parts_(designs * of_design()) {}

    bool holds(std::size_t designs, std::size_t samples, std::size_t outputs) const {
        return samples == samples_ && outputs == outputs_ && parts_.size() == designs * of_design();
    }
    // Sums of 32 bits at most.
    void put(Level level, std::size_t design, std::size_t first, const std::int64_t* sums, std::size_t size);
    // In 32 bits: in `room`, or where they are.
    const std::int32_t* get(Level level, std::size_t design, std::size_t first, std::size_t size,
                            std::int32_t* room) const;
    std::size_t bytes() const { return bytes_; }

  private:
    struct Part {
        std::unique_ptr<std::int16_t[]> narrow;
        std::unique_ptr<std::int32_t[]> wide;
    };
    std::size_t of_design() const { return (samples_ + kSamples - 1) / kSamples; }
    std::size_t at(std::size_t design, std::size_t first) const { return design * of_design() + first / kSamples; }

    std::size_t samples_, outputs_, bytes_ = 0;
    std::vector<Part> parts_;
};

// The biases of one design as its accumulators are preloaded, as integers and as reals.
struct Preloads {
    Integers raw;
    std::vector<double> real;
};

// One step's shares, by encoding and length, its gain, and what is kept of it.
struct Pass {
    std::vector<double> shares;
    double gain;
    std::vector<Scale> scales;  // by length
    KeptSums sums;
    std::vector<std::pair<bool, bool>> inside;  // for each encoding, whether x and whether w are within its range
    Buffer by_correlation;                      // slopes of the sums, [designs, B, O], where they are asked for
    std::size_t real_bytes;                     // of a number in it

    // The view of one design; the preloads are filled for it.
    template <class R>
    DesignView<R> view(const Designs& designs, std::size_t e, std::size_t l, std::size_t samples, std::size_t outputs,
                       const R* bias, Preloads& preloads) const {
        const double length = static_cast<double>(designs.lengths[l]);
        // 2**46 and a multiplier of 16 bits stay in 64; what is not a number counts as nothing here, and is seen in
        // the real value
        constexpr double most = 70368744177664.0;
        preloads.raw.resize(outputs);
        preloads.real.resize(outputs);
        double largest = 0.0;
        for (std::size_t o = 0; o < outputs; ++o) {
            const double found = std::nearbyint(static_cast<double>(bias[o]) * length / gain);
            const double held = found == found ? std::min(std::max(found, -most), most) : 0.0;
            preloads.real[o] = held;
            preloads.raw[o] = static_cast<std::int64_t>(held);
            largest = std::max(largest, std::abs(held));
        }
        const Scale& scale = scales[l];
        // with a sum of 32 bits, times a multiplier of 16, and half of a divisor of 2**40: at most 2**53
        const bool is_exact = largest <= 34359738368.0 && scale.multiplier <= 65536 && scale.shift <= 40;
        // as torch divides: the numbers of this type
        const R unit = scale.shift > 0 ? static_cast<R>(1.0 / (1 << designs.precision_bits))
                                       : static_cast<R>(gain) / static_cast<R>(designs.lengths[l]);
        return {samples,
                outputs,
                bias,
                preloads.raw.data(),
                preloads.real.data(),
                is_exact,
                static_cast<R>(gain),
                static_cast<R>(designs.lengths[l]),
                static_cast<R>(shares[e * designs.lengths.size() + l]),
                unit,
                scale.multiplier,
                designs.limits[0],
                designs.limits[1],
                scale.shift,
                designs.limits[0] < 0 ? R(-1) : R(0),
                R(1)};
    }
};

void bind_designs(nanobind::module_& module);

}  // namespace bitprop
