// The passes of spiking neurons over a block: time outside, neurons inside, no branch and no call in the inner loops,
// so that the compiler makes vectors of them.  Compiled once for each level.

#include "spiking_parts.h"

#if BITPROP_LEVEL_NUMBER >= 1
#include "vectors.h"
#endif

namespace bitprop {
namespace BITPROP_LEVEL {
namespace {

using namespace spiking;

// --- rows ----------------------------------------------------------------------------------------------------------

template <class R>
__attribute__((noinline)) void fill_row(R* __restrict row, const Constant<R>& constant, Index begin, Index width) {
    if (constant.values == nullptr) {
        for (Index j = 0; j < width; ++j) row[j] = R(0);
    } else if (constant.size == 1) {
        const R value = constant.values[0];
        for (Index j = 0; j < width; ++j) row[j] = value;
    } else {
        Index feature = begin % constant.size;
        for (Index j = 0; j < width; ++j) {
            row[j] = constant.values[feature];
            if (++feature == constant.size) feature = 0;
        }
    }
}

template <class R>
__attribute__((noinline)) void load_row(R* __restrict row, const R* __restrict from, Index begin, Index width) {
    if (from == nullptr) {
        for (Index j = 0; j < width; ++j) row[j] = R(0);
    } else {
        for (Index j = 0; j < width; ++j) row[j] = from[begin + j];
    }
}

template <class R>
__attribute__((noinline)) void store_row(R* __restrict to, const R* __restrict row, Index begin, Index width) {
    if (to == nullptr) return;
    for (Index j = 0; j < width; ++j) to[begin + j] = row[j];
}

template <class R>
__attribute__((noinline)) void add_row(R* __restrict to, const R* __restrict row, Index begin, Index width) {
    if (to == nullptr) return;
    for (Index j = 0; j < width; ++j) to[begin + j] += row[j];
}

// To memory past the caches: what is written is not fetched first.  Seen by other threads after `fence`.
template <class R>
__attribute__((noinline)) void stream_row(R* __restrict to, const R* __restrict row, Index width) {
    Index j = 0;
#if BITPROP_LEVEL_NUMBER >= 1
    constexpr Index lanes = static_cast<Index>(kWidth / sizeof(R));
    while (j < width && reinterpret_cast<std::uintptr_t>(to + j) % kWidth != 0) to[j] = row[j], ++j;
    for (; j + lanes <= width; j += lanes) stream(to + j, load(row + j));
#endif
    for (; j < width; ++j) to[j] = row[j];
}

void fence() {
#if BITPROP_LEVEL_NUMBER >= 1
    _mm_sfence();
#endif
}

// Short rows of a step lie far apart, where the processor does not see the next one coming; along long ones it does.
enum Purpose { kToRead, kToWrite };
constexpr Index kLongRow = 2048;

template <class R, Purpose For>
__attribute__((noinline)) void expect_row(const R* row, Index width) {
    if (row == nullptr || width > kLongRow) return;
    for (Index j = 0; j < width; j += static_cast<Index>(64 / sizeof(R))) __builtin_prefetch(row + j, For, 2);
}

// The constants of a block, one for each neuron, so that one for each feature costs nothing more.
template <class R>
struct Block {
    R *beta, *second, *theta;
    R kappa, v_reset, attached;  // attached: 1 or 0
};

template <class R>
__attribute__((noinline)) Block<R> make_block(const Model<R>& model, Index begin, Index width, R* scratch) {
    const Index row = stride(width);
    const Block<R> block{scratch, scratch + row, scratch + 2 * row, model.kappa, model.v_reset, R(model.attached)};
    fill_row(block.beta, model.beta, begin, width);
    fill_row(block.second, model.second, begin, width);
    fill_row(block.theta, model.theta, begin, width);
    return block;
}

// --- forward ---------------------------------------------------------------------------------------------------------

enum Keeping { kNothing, kBoth, kSlope, kAll };

// One step.  `out` takes spikes (potentials of an integrator); when keeping, how far the drive is above the threshold.
// kBoth: that goes to kept.slope, and spikes to `out`.
template <class R, class N, class Z, bool Delayed, Keeping Keep>
void step_row(const Block<R>& block, Index width, const R* __restrict x, R* __restrict v, R* __restrict s,
              R* __restrict w, R* __restrict out, const Kept<R>& kept) {
    const R* __restrict beta = block.beta, * __restrict second = block.second, * __restrict theta = block.theta;
    R* __restrict kp = kept.p, * __restrict kq = kept.q, * __restrict kc = kept.c, * __restrict kw = kept.w;
    R* __restrict k_above = kept.slope;
    const R kappa = block.kappa, v_reset = block.v_reset;
    constexpr bool hears = Delayed || N::hears;
#pragma GCC ivdep
    for (Index j = 0; j < width; ++j) {
        const R s_j = hears ? s[j] : R(0);
        R w_j = N::second ? w[j] : R(0);
        const R v_j = v[j];
        const R c = Delayed ? Z::template after<R>(v_j, s_j, theta[j], v_reset) : v_j;
        if constexpr (Keep == kAll) {
            kc[j] = c;
            if constexpr (N::second) kw[j] = w_j;
            if constexpr (N::fires && Delayed) kp[j] = v_j, kq[j] = s_j;
        }
        const R u = N::template integrate<R>(x[j], c, s_j, w_j, beta[j], second[j]);
        if constexpr (N::second) w[j] = w_j;
        if constexpr (N::fires) {
            const R above = N::template drive<R>(u, w_j, kappa) - theta[j];
            const R hit = above >= R(0) ? R(1) : R(0);
            const R spike = above != above ? above : hit;  // NaN is not taken for silence
            v[j] = Delayed ? u : Z::template after<R>(u, spike, theta[j], v_reset);
            if constexpr (hears) s[j] = spike;
            out[j] = Keep == kNothing || Keep == kBoth ? spike : above;
            if constexpr (Keep == kBoth) k_above[j] = above;
            if constexpr (Keep == kAll && !Delayed) kp[j] = u, kq[j] = spike;
        } else {
            v[j] = u;
            if constexpr (Keep == kNothing) out[j] = u;
        }
    }
}

template <class R>
__attribute__((noinline)) Kept<R> at_step(const Kept<R>& kept, Index t) {
    const Index shift = t * kept.stride;
    const auto moved = [shift](R* plane) { return plane == nullptr ? nullptr : plane + shift; };
    return {moved(kept.slope), moved(kept.p), moved(kept.q), moved(kept.c), moved(kept.w), kept.stride};
}

template <class R, class G>
void slope_row(const R* __restrict above, R* __restrict slope, Index width, R scale) {
#pragma GCC ivdep
    for (Index j = 0; j < width; ++j) slope[j] = G::template slope<R>(above[j], scale);
}

template <class R>
using SlopeRow = void (*)(const R* __restrict, R* __restrict, Index, R);

template <class R>
SlopeRow<R> slope_of(Surrogate surrogate) {
    constexpr SlopeRow<R> rows[kSurrogates] = {
        slope_row<R, FastSigmoid>, slope_row<R, Triangular>,  slope_row<R, PiecewiseQuadratic>,
        slope_row<R, Rectangular>, slope_row<R, Exponential>, slope_row<R, Sigmoid>,
        slope_row<R, Atan>,        slope_row<R, Erf>,         slope_row<R, StraightThrough>,
    };
    return rows[surrogate];
}

// A block's constants and state, in rows of scratch, as it begins.
template <class R>
struct Begun {
    const Block<R> block;
    R *v, *s, *w, *above, *fresh;  // fresh: outputs on their way past the caches
    SlopeRow<R> slopes;

    Begun(const Forward<R>& call, Index begin, Index width, R* scratch)
        : block(make_block(call.model, begin, width, scratch)), slopes(slope_of<R>(call.model.surrogate)) {
        R** const rows[] = {&v, &s, &w, &above, &fresh};
        for (Index row = 0; row < 5; ++row) *rows[row] = scratch + (3 + row) * stride(width);
        load_row(v, call.before.v, begin, width);
        load_row(s, call.before.s, begin, width);
        load_row(w, call.before.w, begin, width);
    }
};

// With kBoth a row of slopes goes to where `slope` says; that may be the row of x, which nobody needs any more.
template <class R, class N, class Z, bool Delayed, Keeping Keep>
void forward_block(const Forward<R>& call, const Rows<R>& slope, Index begin, Index width, R* scratch) {
    const Begun<R> at(call, begin, width, scratch);
    for (Index t = 0; t < call.steps; ++t) {
        if (t + 1 < call.steps) {
            expect_row<R, kToRead>(call.x.start + (t + 1) * call.x.stride + begin, width);
            if (!call.streams) expect_row<R, kToWrite>(call.out.start + (t + 1) * call.out.stride + begin, width);
        }
        R* const out = call.out.start + t * call.out.stride + begin;
        step_row<R, N, Z, Delayed, Keep>(at.block, width, call.x.start + t * call.x.stride + begin, at.v, at.s, at.w,
                                         call.streams ? at.fresh : out,
                                         Kept<R>{at.above, nullptr, nullptr, nullptr, nullptr, 0});
        if (call.streams) stream_row(out, at.fresh, width);
        if constexpr (Keep == kBoth) {
            at.slopes(at.above, slope.start + t * slope.stride + begin, width, call.model.scale);
        }
    }
    if (call.streams) fence();
    store_row(call.after.v, at.v, begin, width);
    store_row(call.after.w, at.w, begin, width);
    if (call.after.s != nullptr && call.steps > 0) {
        store_row(call.after.s + begin, call.out.start + (call.steps - 1) * call.out.stride + begin, 0, width);
    }
}

template <class R, class N, class Z, bool Delayed, Keeping Keep>
void keep_block(const Forward<R>& call, Index begin, Index width, const Kept<R>& kept, R* scratch) {
    const Begun<R> at(call, begin, width, scratch);
    for (Index t = 0; t < call.steps; ++t) {
        const Kept<R> here = at_step(kept, t);
        if (t + 1 < call.steps) expect_row<R, kToRead>(call.x.start + (t + 1) * call.x.stride + begin, width);
        step_row<R, N, Z, Delayed, Keep>(at.block, width, call.x.start + t * call.x.stride + begin, at.v, at.s, at.w,
                                         at.above, here);
        if constexpr (N::fires) at.slopes(at.above, here.slope, width, call.model.scale);
    }
}

// --- backward --------------------------------------------------------------------------------------------------------

template <class R>
struct Carried {
    R *v, *s, *w;              // gradients of the state after the step, then of the state before it
    R *beta, *second, *theta;  // of the constants, added to
};

// The gradients by x may replace the slopes.
template <class R, class N, class Z, bool Delayed, bool All>
void reverse_row(const Block<R>& block, Index width, const R* __restrict g_out, const Kept<R>& kept,
                 const Carried<R>& carried, R* g_x) {
    const R* __restrict beta = block.beta, * __restrict second = block.second, * __restrict theta = block.theta;
    const R* slope = kept.slope;
    const R* __restrict kp = kept.p, * __restrict kq = kept.q, * __restrict kc = kept.c, * __restrict kw = kept.w;
    R* __restrict gv = carried.v, * __restrict gs = carried.s, * __restrict gw = carried.w;
    R* __restrict g_beta = carried.beta, * __restrict g_second = carried.second, * __restrict g_theta = carried.theta;
    const R kappa = block.kappa, v_reset = block.v_reset, attached = block.attached;
#pragma GCC ivdep
    for (Index j = 0; j < width; ++j) {
        const R p = All && N::fires ? kp[j] : R(0), q = All && N::fires ? kq[j] : R(0);
        const R c = All ? kc[j] : R(0), w = All && N::second ? kw[j] : R(0);
        R g_u = gv[j], g_drive = R(0), g_threshold = R(0);
        if constexpr (N::fires) {
            R g_s = g_out[j] + gs[j];
            if constexpr (!Delayed) {
                g_s += attached * Z::template to_spike<R>(g_u, p, theta[j], v_reset);
                if constexpr (All) g_threshold += Z::template to_threshold<R>(g_u, q);
                g_u = Z::template to_potential<R>(g_u, q);
            }
            g_drive = g_s * slope[j];
            g_u += g_drive;
            g_threshold -= g_drive;
        } else {
            g_u += g_out[j];
        }
        const Pulled<R> back =
            N::template pull<R>(g_u, g_drive, N::second ? gw[j] : R(0), c, w, beta[j], second[j], kappa);
        g_x[j] = back.x;
        R g_last = back.s;
        if constexpr (N::fires && Delayed) {
            g_last += attached * Z::template to_spike<R>(back.c, p, theta[j], v_reset);
            if constexpr (All) g_threshold += Z::template to_threshold<R>(back.c, q);
            gv[j] = Z::template to_potential<R>(back.c, q);
        } else {
            gv[j] = back.c;
        }
        if constexpr (N::fires) gs[j] = g_last;
        if constexpr (N::second) gw[j] = back.w;
        if constexpr (All) {
            g_beta[j] += back.beta;
            if constexpr (N::second) g_second[j] += back.second;
            if constexpr (N::fires) g_theta[j] += g_threshold;
        }
    }
}

template <class R, class N, class Z, bool Delayed, bool All>
void reverse_block(const Backward<R>& call, Index begin, Index width, const Kept<R>& kept, R* scratch) {
    const Block<R> block = make_block(call.model, begin, width, scratch);
    const Index row = stride(width);
    R* next = scratch + 3 * row;
    const auto take = [&next, row] { return (next += row) - row; };
    const Carried<R> carried{take(), take(), take(), take(), take(), take()};
    load_row(carried.v, call.g_after.v, begin, width);
    load_row(carried.s, call.g_after.s, begin, width);
    load_row(carried.w, call.g_after.w, begin, width);
    load_row<R>(carried.beta, nullptr, 0, width);
    load_row<R>(carried.second, nullptr, 0, width);
    load_row<R>(carried.theta, nullptr, 0, width);
    const bool summed = call.g_x.stride == 0;
    R *sum = take(), *part = take();
    load_row<R>(sum, nullptr, 0, width);
    for (Index t = call.steps - 1; t >= 0; --t) {
        const R* g_out = call.g_out.start + t * call.g_out.stride + begin;
        const Kept<R> here = at_step(kept, t);
        if (t > 0) {
            expect_row<R, kToRead>(call.g_out.start + (t - 1) * call.g_out.stride + begin, width);
            if (!summed) expect_row<R, kToWrite>(call.g_x.start + (t - 1) * call.g_x.stride + begin, width);
        }
        R* g_x = summed ? part : call.g_x.start + t * call.g_x.stride + begin;
        reverse_row<R, N, Z, Delayed, All>(block, width, g_out, here, carried, g_x);
        if (summed || call.g_sum != nullptr) add_row(sum, g_x, 0, width);
    }
    if (summed) store_row(call.g_x.start, sum, begin, width);
    store_row(call.g_sum, sum, begin, width);
    store_row(call.g_before.v, carried.v, begin, width);
    store_row(call.g_before.s, carried.s, begin, width);
    store_row(call.g_before.w, carried.w, begin, width);
    add_row(call.g_beta, carried.beta, begin, width);
    add_row(call.g_second, carried.second, begin, width);
    add_row(call.g_theta, carried.theta, begin, width);
}

// --- which of them a model needs -------------------------------------------------------------------------------------

// Gradients through this reset need less when those of constants are not wanted.  Double precision is for checks, and
// does without a variant of its own for that.
template <class R, class Z>
constexpr bool is_light = Z::light && sizeof(R) == sizeof(float);

// Calls `use(neuron, reset, delayed)` with the types that a model names; an integrator has no reset.
template <class R, class Use>
void choose(const Model<R>& model, const Use& use) {
    const auto with_reset = [&](auto neuron) {
        const auto with_delay = [&](auto reset) {
            if (model.delayed) {
                use(neuron, reset, Flag<true>{});
            } else {
                use(neuron, reset, Flag<false>{});
            }
        };
        switch (model.reset) {
            case kSoft:
                return with_delay(Soft{});
            case kHard:
                return with_delay(Hard{});
            default:
                return use(neuron, NoReset{}, Flag<false>{});
        }
    };
    switch (model.neuron) {
        case kLif:
            return with_reset(Lif{});
        case kSynaptic:
            return with_reset(Synaptic{});
        case kAdaptive:
            return with_reset(Adaptive{});
        default:
            return use(Integrator{}, NoReset{}, Flag<false>{});
    }
}

template <class R>
void forward(const Forward<R>& call, Index begin, Index width, R* scratch) {
    choose(call.model, [&](auto neuron, auto reset, auto delayed) {
        forward_block<R, decltype(neuron), decltype(reset), delayed.value, kNothing>(call, {}, begin, width, scratch);
    });
}

void fire(const Forward<float>& call, const Rows<float>& slope, Index begin, Index width, float* scratch) {
    choose(call.model, [&](auto neuron, auto reset, auto delayed) {
        using N = decltype(neuron);
        using Z = decltype(reset);
        if constexpr (N::fires && is_light<float, Z>) {
            forward_block<float, N, Z, delayed.value, kBoth>(call, slope, begin, width, scratch);
        }
    });
}

template <class R>
void keep(const Forward<R>& call, bool all, Index begin, Index width, const Kept<R>& kept, R* scratch) {
    choose(call.model, [&](auto neuron, auto reset, auto delayed) {
        using N = decltype(neuron);
        using Z = decltype(reset);
        if constexpr (is_light<R, Z>) {
            if (!all) return keep_block<R, N, Z, delayed.value, kSlope>(call, begin, width, kept, scratch);
        }
        keep_block<R, N, Z, delayed.value, kAll>(call, begin, width, kept, scratch);
    });
}

template <class R>
void reverse(const Backward<R>& call, Index begin, Index width, const Kept<R>& kept, R* scratch) {
    choose(call.model, [&](auto neuron, auto reset, auto delayed) {
        using N = decltype(neuron);
        using Z = decltype(reset);
        if constexpr (is_light<R, Z>) {
            if (!call.all) return reverse_block<R, N, Z, delayed.value, false>(call, begin, width, kept, scratch);
        }
        reverse_block<R, N, Z, delayed.value, true>(call, begin, width, kept, scratch);
    });
}

}  // namespace

extern const SpikingKernels spiking_kernels;
const SpikingKernels spiking_kernels = {
    {forward<float>, keep<float>, reverse<float>}, {forward<double>, keep<double>, reverse<double>}, fire};

}  // namespace BITPROP_LEVEL
}  // namespace bitprop
