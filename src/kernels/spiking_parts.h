// Spiking neurons in parts: resets, neurons and surrogates, each described once.  For level files only.
//
// A neuron is a recurrence of a potential v, the last spikes s and, for two of them, a second variable w:
//
//     c = v, or v after a delayed reset;   (w, u) from x, c, s, w;   s = [drive(u) >= theta];   v = u, or u after a
//     reset
//
// Spikes have to equal the reference's bit for bit: the operations are the reference's, in its order, and no product is
// fused with a sum (-ffp-contract=off).  Slopes agree with the reference's to rounding.

#pragma once

#include "spiking.h"

namespace bitprop {
namespace BITPROP_LEVEL {

// --- resets: what becomes of the potential, and how gradients come back -------------------------------------------

template <bool Value>
struct Flag {
    static constexpr bool value = Value;
};

// light: the gradients of potential and spike need neither of them
struct Soft {
    static constexpr bool light = true;
    template <class R>
    static R after(R u, R s, R theta, R) {
        return u - theta * s;
    }
    template <class R>
    static R to_potential(R g, R) {
        return g;
    }
    template <class R>
    static R to_spike(R g, R, R theta, R) {
        return -(theta * g);
    }
    template <class R>
    static R to_threshold(R g, R s) {
        return -(s * g);
    }
};

struct Hard {
    static constexpr bool light = false;
    template <class R>
    static R after(R u, R s, R, R v_reset) {
        return u * (R(1) - s) + v_reset * s;
    }
    template <class R>
    static R to_potential(R g, R s) {
        return g * (R(1) - s);
    }
    template <class R>
    static R to_spike(R g, R u, R, R v_reset) {
        return g * (v_reset - u);
    }
    template <class R>
    static R to_threshold(R, R) {
        return R(0);
    }
};

struct NoReset {
    static constexpr bool light = true;
    template <class R>
    static R after(R u, R, R, R) {
        return u;
    }
    template <class R>
    static R to_potential(R g, R) {
        return g;
    }
    template <class R>
    static R to_spike(R, R, R, R) {
        return R(0);
    }
    template <class R>
    static R to_threshold(R, R) {
        return R(0);
    }
};

// --- neurons -------------------------------------------------------------------------------------------------------

// What a neuron's gradients at one step become, besides that of u.
template <class R>
struct Pulled {
    R x, c, w, s, beta, second;
};

struct Lif {
    static constexpr bool fires = true, second = false, hears = false;
    template <class R>
    static R integrate(R x, R c, R, R&, R beta, R) {
        return beta * c + x;
    }
    template <class R>
    static R drive(R u, R, R) {
        return u;
    }
    // g: of u; d: of what is compared with the threshold; gw: of w, from the steps after
    template <class R>
    static Pulled<R> pull(R g, R, R, R c, R, R beta, R, R) {
        return {g, beta * g, R(0), R(0), c * g, R(0)};
    }
};

struct Synaptic {
    static constexpr bool fires = true, second = true, hears = false;
    template <class R>
    static R integrate(R x, R c, R, R& w, R beta, R alpha) {
        w = alpha * w + x;
        return beta * c + w;
    }
    template <class R>
    static R drive(R u, R, R) {
        return u;
    }
    template <class R>
    static Pulled<R> pull(R g, R, R gw, R c, R w, R beta, R alpha, R) {
        const R gi = gw + g;
        return {gi, beta * g, alpha * gi, R(0), c * g, w * gi};
    }
};

struct Adaptive {
    static constexpr bool fires = true, second = true, hears = true;
    template <class R>
    static R integrate(R x, R c, R s, R& w, R beta, R rho) {
        w = rho * w + s;
        return beta * c + x;
    }
    template <class R>
    static R drive(R u, R w, R kappa) {
        return u - kappa * w;
    }
    template <class R>
    static Pulled<R> pull(R g, R d, R gw, R c, R w, R beta, R rho, R kappa) {
        const R ga = gw - kappa * d;
        return {g, beta * g, rho * ga, ga, c * g, w * ga};
    }
};

struct Integrator {
    static constexpr bool fires = false, second = false, hears = false;
    template <class R>
    static R integrate(R x, R c, R, R&, R beta, R) {
        return beta * c + x;
    }
    template <class R>
    static R drive(R u, R, R) {
        return u;
    }
    template <class R>
    static Pulled<R> pull(R g, R, R, R c, R, R beta, R, R) {
        return {g, beta * g, R(0), R(0), c * g, R(0)};
    }
};

// --- surrogates: slope at x = potential less threshold --------------------------------------------------------------

inline float magnitude(float x) { return __builtin_fabsf(x); }
inline double magnitude(double x) { return __builtin_fabs(x); }

// exp(x) for x <= 0, to about one unit in the last place; zero below the normal range
inline float exp_negative(float given) {
    const float x = given < -87.0f ? -87.0f : given;
    const float shifted = x * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: rounds to a whole number
    const float n = shifted - 12582912.0f;
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    std::int32_t bits;
    __builtin_memcpy(&bits, &shifted, sizeof bits);
    const std::uint32_t power = (static_cast<std::uint32_t>(bits) - 0x4B400000u + 127u) << 23;
    float factor;
    __builtin_memcpy(&factor, &power, sizeof factor);
    return given < -87.0f ? 0.0f : p * factor;
}

inline double exp_negative(double given) {
    const double x = given < -708.0 ? -708.0 : given;
    const double shifted = x * 1.4426950408889634 + 6755399441055744.0;  // 1.5 * 2^52
    const double n = shifted - 6755399441055744.0;
    const double r = (x - n * 6.93145751953125e-1) - n * 1.42860682030941723212e-6;
    double p = 1.0 / 6227020800.0;
    p = p * r + 1.0 / 479001600.0;
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * (r * r) + r + 1.0;
    std::int64_t bits;
    __builtin_memcpy(&bits, &shifted, sizeof bits);
    const std::uint64_t power = (static_cast<std::uint64_t>(bits) - 0x4338000000000000u + 1023u) << 52;
    double factor;
    __builtin_memcpy(&factor, &power, sizeof factor);
    return given < -708.0 ? 0.0 : p * factor;
}

struct FastSigmoid {
    template <class R>
    static R slope(R x, R k) {
        const R d = R(1) + magnitude(x * k);
        const R q = R(1) / d;
        return q * q;
    }
};

struct Triangular {
    template <class R>
    static R slope(R x, R k) {
        const R y = R(1) - magnitude(x * k);
        return y < R(0) ? R(0) : y;
    }
};

struct PiecewiseQuadratic {
    template <class R>
    static R slope(R x, R k) {
        return k * Triangular::slope(x, k);
    }
};

struct Rectangular {
    template <class R>
    static R slope(R x, R k) {
        return magnitude(x * k) < R(0.5) ? k : R(0);
    }
};

struct Exponential {
    template <class R>
    static R slope(R x, R k) {
        return R(0.5) * k * exp_negative(-magnitude(x * k));
    }
};

struct Sigmoid {
    template <class R>
    static R slope(R x, R k) {
        const R e = exp_negative(-magnitude(x * k));
        const R d = R(1) + e;
        return k * e / (d * d);
    }
};

// a product held inside a quarter of the range, so that its square stays a number or becomes infinite, never NaN
template <class R>
inline R bounded(R y) {
    constexpr R limit = R(sizeof(R) == 4 ? 0x1.fffffep+125 : 0x1.fffffffffffffp+1021);
    y = y > limit ? limit : y;
    return y < -limit ? -limit : y;
}

struct Atan {
    template <class R>
    static R slope(R x, R k) {
        const R y = bounded(x * (R(1.5707963267948966) * k));
        return R(0.5) * k / (R(1) + y * y);
    }
};

struct Erf {
    template <class R>
    static R slope(R x, R k) {
        const R y = bounded(x * k);
        return (k * R(0.56418958354775628695)) * exp_negative(-(y * y));
    }
};

struct StraightThrough {
    template <class R>
    static R slope(R, R k) {
        return k;
    }
};

}  // namespace BITPROP_LEVEL
}  // namespace bitprop
