// Spiking neurons over all time steps: what the level files offer and spiking.cpp puts to work.
//
// Tensors are contiguous, [steps, count]; a neuron's feature is its index modulo the features.  Plain structures,
// no function but static ones: both kinds of files include this.

#pragma once

#include <cstddef>
#include <cstdint>

namespace bitprop {
namespace spiking {

using Index = std::int64_t;

enum Neuron { kLif, kSynaptic, kAdaptive, kIntegrator, kNeurons };
enum Reset { kSoft, kHard, kNoReset, kResets };
enum Surrogate {
    kFastSigmoid,  // SuperSpike has the same slope
    kTriangular,
    kPiecewiseQuadratic,
    kRectangular,
    kExponential,
    kSigmoid,
    kAtan,
    kErf,
    kStraightThrough,
    kSurrogates
};

template <class R>
struct Constant {
    const R* values;
    Index size;  // 1, or one for each feature
};

template <class R>
struct Model {
    Neuron neuron;
    Reset reset;
    Surrogate surrogate;
    bool delayed, attached;
    Constant<R> beta, second, theta;  // second: decay of w
    R kappa, v_reset, scale;
};

// Potential, last spikes, and the second variable: synaptic current or adaptation.  [count] each, or null.
template <class R>
struct State {
    R *v, *s, *w;
};

// One row of neurons in a step, and how far it is to the next step's.
template <class R>
struct Rows {
    R* start;
    Index stride;  // 0: the same row in every step
};

// What the way back needs of every step.  Without `all` only the slope.
template <class R>
struct Kept {
    R *slope, *p, *q, *c, *w;  // p, q: potential and spike at the reset; c: potential carried in; w: before the step
    Index stride;
};

template <class R>
struct Forward {
    Index steps, count;
    Model<R> model;
    Rows<const R> x;
    State<const R> before;  // missing ones are zero
    Rows<R> out;
    State<R> after;        // missing ones are not wanted
    bool streams = false;  // out is too large to be found in cache again: it is written past it
};

template <class R>
struct Backward {
    Index steps, count;
    Model<R> model;
    bool all;  // gradients of constants, or a reset whose gradient needs the potential
    Rows<const R> g_out;
    State<const R> g_after;          // missing ones are zero
    Rows<R> g_x;                     // stride 0: the sum over the steps, added to what is there
    State<R> g_before;               // missing ones are not wanted
    R *g_beta, *g_second, *g_theta;  // [count], added to; missing ones are not wanted
    R* g_sum;                        // [count], of g_x over the steps; missing: not wanted
};

// Every function works on the neurons begin .. begin + width, with scratch for kScratchRows rows of stride(width).
template <class R>
struct Passes {
    void (*forward)(const Forward<R>&, Index begin, Index width, R* scratch);
    // the forward pass again, keeping; `kept` begins at the block's first neuron
    void (*keep)(const Forward<R>&, bool all, Index begin, Index width, const Kept<R>& kept, R* scratch);
    void (*reverse)(const Backward<R>&, Index begin, Index width, const Kept<R>& kept, R* scratch);
};

constexpr Index kScratchRows = 12;
constexpr Index kPad = 16;  // numbers; a cache line of floats
constexpr Index kSkew = 5;  // lines between rows of scratch: rows a whole page apart would share few sets of the cache

// Whole lines, static: level files must not share it.
static inline Index padded(Index width) { return (width + kPad - 1) / kPad * kPad; }
static inline Index stride(Index width) { return padded(width) + kSkew * kPad; }

}  // namespace spiking

struct SpikingKernels {
    spiking::Passes<float> narrow;
    spiking::Passes<double> wide;
    // forward, with the surrogate's slopes of every step, which may take the place of x; of neurons that fire, and of
    // resets whose gradient needs nothing else
    void (*fire)(const spiking::Forward<float>&, const spiking::Rows<float>& slope, spiking::Index begin,
                 spiking::Index width, float* scratch);
};

namespace portable {
extern const SpikingKernels spiking_kernels;
}
namespace avx2 {
extern const SpikingKernels spiking_kernels;
}
namespace avx512 {
extern const SpikingKernels spiking_kernels;
}
namespace avx512vbmi {
using avx512::spiking_kernels;  // nothing in them gains by that level
}

}  // namespace bitprop
