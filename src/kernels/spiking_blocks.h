// Blocks of neurons on threads, and tensors from Python: what spiking.cpp and spiking_layer.cpp share.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "bindings.h"
#include "dispatch.h"
#include "pool.h"
#include "spiking.h"
#include "store.h"

namespace bitprop {
namespace spiking {

namespace nb = nanobind;

// The kernels of the level that the family uses.
const SpikingKernels& chosen_kernels();

template <class R>
const Passes<R>& passes_of(const SpikingKernels& found) {
    if constexpr (sizeof(R) == sizeof(float)) {
        return found.narrow;
    } else {
        return found.wide;
    }
}

// --- blocks ----------------------------------------------------------------------------------------------------------

// Rows that stay in the first cache going forward, planes that stay in the second going back.
constexpr Index kForwardBytes = 24 << 10, kBackwardBytes = 512 << 10;
constexpr Index kSmallestBlock = 128, kLargestBlock = 1024;
constexpr Index kSerial = 1 << 14;    // neurons times steps; less does not pay for waking a thread
constexpr Index kStreamed = 1 << 20;  // neurons times steps; of more, results are written past the caches
constexpr std::size_t kScratchKept = std::size_t{4} << 20;

template <class R>
Index block_width(Index count, Index rows, Index bytes, int threads) {
    const Index fit = bytes / (rows * static_cast<Index>(sizeof(R)));
    const Index share = (count + threads - 1) / threads;
    return padded(std::min(std::clamp(fit, kSmallestBlock, kLargestBlock), std::max<Index>(share, 1)));
}

// Memory of one thread, kept between calls unless it is large.
template <class R>
class Scratch {
  public:
    explicit Scratch(Index numbers) {
        const std::size_t wanted = static_cast<std::size_t>(numbers) + 64 / sizeof(R);
        if (memory().size() < wanted) memory().resize(wanted);
    }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    ~Scratch() {
        if (memory().size() * sizeof(R) > kScratchKept) std::vector<R>().swap(memory());
    }
    R* start() const {
        const auto address = reinterpret_cast<std::uintptr_t>(memory().data());
        return memory().data() + ((64 - address % 64) % 64) / sizeof(R);
    }

  private:
    static std::vector<R>& memory() {
        thread_local std::vector<R> held;
        return held;
    }
};

template <class Body>
void over_blocks(Index count, Index steps, Index width, int threads, Body body) {
    const long tasks = static_cast<long>((count + width - 1) / width);
    auto task = [&](long number) {
        const Index begin = number * width;
        body(begin, std::min(width, count - begin));
    };
    parallel_for(count * steps < kSerial ? 1 : threads, tasks, task);
}

template <class R>
void run_forward(const Passes<R>& passes, const Forward<R>& call, int threads) {
    const Index width = block_width<R>(call.count, kScratchRows / 2, kForwardBytes, threads);
    over_blocks(call.count, call.steps, width, threads, [&](Index begin, Index size) {
        const Scratch<R> scratch(kScratchRows * stride(size));
        passes.forward(call, begin, size, scratch.start());
    });
}

// Whether the way back needs more of a step than its slope.
template <class R>
bool needs_all(const Model<R>& model, bool constants) {
    return constants || model.reset == kHard || sizeof(R) != sizeof(float);
}

template <class R>
void run_backward(const Passes<R>& passes, const Forward<R>& forward, const Backward<R>& call, int threads) {
    const Index planes = call.all ? 5 : 1;
    const Index width = block_width<R>(call.count, kScratchRows + planes * call.steps, kBackwardBytes, threads);
    over_blocks(call.count, call.steps, width, threads, [&](Index begin, Index size) {
        const Index row = stride(size), plane = row * call.steps;
        const Scratch<R> scratch(kScratchRows * row + planes * plane);
        R* next = scratch.start() + kScratchRows * row;
        const auto take = [&] { return (next += plane) - plane; };
        Kept<R> kept{take(), nullptr, nullptr, nullptr, nullptr, row};
        if (call.all) {
            kept.p = take();
            kept.q = take();
            kept.c = take();
            kept.w = take();
        }
        passes.keep(forward, call.all, begin, size, kept, scratch.start());
        passes.reverse(call, begin, size, kept, scratch.start());
    });
}

// --- from Python -----------------------------------------------------------------------------------------------------

template <class R>
using Tensor = nb::ndarray<R, nb::c_contig, nb::device::cpu>;
template <class R>
using Maybe = std::optional<Tensor<R>>;

template <class R>
R* data_of(const Maybe<R>& tensor, Index size, const char* expected) {
    if (!tensor) return nullptr;
    require(static_cast<Index>(tensor->size()) == size, expected);
    return tensor->data();
}

template <class R>
State<R> state_of(const Maybe<R>& v, const Maybe<R>& s, const Maybe<R>& w, Index count) {
    constexpr const char* expected = "state: one number for each neuron";
    return {data_of(v, count, expected), data_of(s, count, expected), data_of(w, count, expected)};
}

// What does not change from call to call, with the constants held for the duration of one.
template <class R>
Model<R> model_of(nb::tuple codes, const Maybe<const R>& beta, const Maybe<const R>& second,
                  const Maybe<const R>& theta, Index count) {
    require(codes.size() == 8, "model: neuron, reset, surrogate, delayed, attached, kappa, v_reset, scale");
    const auto choice = [&](std::size_t at, int end) {
        const int number = nb::cast<int>(codes[at]);
        require(0 <= number && number < end, "model: a known neuron, reset and surrogate");
        return number;
    };
    const auto constant = [&](const Maybe<const R>& given) -> Constant<R> {
        if (!given) return {nullptr, 1};
        const Index size = static_cast<Index>(given->size());
        require(size > 0 && count % size == 0, "constants: one number, or one for each feature");
        return {given->data(), size};
    };
    return {static_cast<Neuron>(choice(0, kNeurons)),
            static_cast<Reset>(choice(1, kResets)),
            static_cast<Surrogate>(choice(2, kSurrogates)),
            nb::cast<bool>(codes[3]),
            nb::cast<bool>(codes[4]),
            constant(beta),
            constant(second),
            constant(theta),
            static_cast<R>(nb::cast<double>(codes[5])),
            static_cast<R>(nb::cast<double>(codes[6])),
            static_cast<R>(nb::cast<double>(codes[7]))};
}

inline Index count_of(std::size_t size, Index steps) {
    require(steps > 0 && size > 0 && size % static_cast<std::size_t>(steps) == 0, "a tensor [steps, neurons]");
    return static_cast<Index>(size) / steps;
}

// [steps, count], or [count] for one that is constant or summed over the steps.
template <class R>
Rows<R> rows_of(const Tensor<R>& tensor, Index steps, Index count) {
    const Index size = static_cast<Index>(tensor.size());
    require(size == steps * count || size == count, "a tensor [steps, neurons] or [neurons]");
    return {tensor.data(), size == count && steps > 1 ? 0 : count};
}

}  // namespace spiking
}  // namespace bitprop
