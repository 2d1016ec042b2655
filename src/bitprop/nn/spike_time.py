"""First spike times with exact gradients: no surrogate, the derivative of a root.

Constant current, ``tau dV/dt = -V + I`` from ``V = 0``, threshold theta::

    t* = tau log(I / (I - theta)),      dt*/dI = -tau theta / (I (I - theta))      for I > theta

Current-based neuron, ``tau_m dV/dt = -V + i``, ``tau_s di/dt = -i``, i jumps by ``w_j`` at ``t_j``::

    V(t)       = sum_j w_j kappa(t - t_j),
    kappa(s)   = tau_s / (tau_m - tau_s) (exp(-s / tau_m) - exp(-s / tau_s)),   (s / tau) exp(-s / tau) if equal
    dt*/dw_j   = -kappa(t* - t_j) / V'(t*)
    dt*/dt_j   = w_j kappa'(t* - t_j) / V'(t*)

Between two input spikes the membrane potential has at most one maximum, whose place is closed-form; so the first
crossing is bracketed exactly, and bisection then Newton finds it.  A neuron that never crosses is silent: its time is
the horizon (infinity by default), with a gradient of zero.  Where V only just touches the threshold, ``V'(t*)`` goes
to zero and the gradient grows without bound: that is the truth, and it is not clipped.

Reference: Göltz et al., *Fast and energy-efficient neuromorphic deep learning with first-spike times*, Nature Machine
Intelligence 3, 2021; Wunderlich and Pehle, *Event-based backpropagation can compute exact gradients for spiking neural
networks*, Scientific Reports 11, 2021.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn

from bitprop._checks import check_integer, check_real
from bitprop.errors import RangeError, ShapeError

__all__ = ["FirstSpikeTime", "constant_current_spike_time", "first_spike_time", "synaptic_kernel"]

_BISECTIONS = 24
_NEWTON = 6


def constant_current_spike_time(current: Tensor, *, tau: float = 10.0, threshold: float = 1.0) -> Tensor:
    """First spike time for a constant current from rest, ``tau log(I / (I - theta))``, any shape.

    Args:
        current: I, floating-point; at or below the threshold the neuron is silent: infinity, gradient zero.
        tau: membrane time constant, positive, in the unit of the result.
        threshold: theta, positive.

    Raises:
        RangeError: a constant out of range.

    Example:
        >>> constant_current_spike_time(torch.tensor([2.0, 0.5]), tau=1.0)
        tensor([0.6931,    inf])
    """
    check_real("tau", tau, 1e-6, 1e6)
    check_real("threshold", threshold, 1e-6, 1e6)
    spikes = current > threshold
    safe = torch.where(spikes, current, 2.0 * threshold)  # keeps the unused branch's gradient finite
    return torch.where(spikes, -tau * torch.log1p(-threshold / safe), math.inf)


def _rates(tau_m: float, tau_s: float) -> tuple[float, float]:
    """The longer time constant and the difference of the rates, not negative."""
    return max(tau_m, tau_s), abs(1.0 / tau_s - 1.0 / tau_m)


def synaptic_kernel(time: Tensor, tau_m: float, tau_s: float) -> Tensor:
    """kappa(s): the potential that a unit input spike causes s later; 0 for negative s.

    Written as ``(s / tau_m) exp(-s / tau_max) (1 - exp(-z)) / z`` with ``z = s |1/tau_s - 1/tau_m|``, which loses no
    digits where the time constants are nearly equal, and is the alpha function where they are.
    """
    longest, rate = _rates(tau_m, tau_s)
    s = time.clamp_min(0.0)
    s = torch.where(torch.isfinite(s), s, 0.0)
    z = s * rate
    ratio = torch.where(z > 0.0, -torch.expm1(-z) / z.clamp_min(torch.finfo(z.dtype).tiny), 1.0)
    return s / tau_m * torch.exp(-s / longest) * ratio


def _kernel_slope(time: Tensor, tau_m: float, tau_s: float) -> Tensor:
    """d kappa / ds, from the differential equation: ``(exp(-s / tau_s) - kappa) / tau_m``; 0 before the spike."""
    slope = (torch.exp(-time.clamp_min(0.0) / tau_s) - synaptic_kernel(time, tau_m, tau_s)) / tau_m
    return torch.where((time > 0.0) & torch.isfinite(time), slope, 0.0)


def _time_of_maximum(v: Tensor, i: Tensor, tau_m: float, tau_s: float) -> Tensor:
    """Time from a state ``(V, i)`` with ``i > V`` to the potential's maximum; infinite if it only rises."""
    x = tau_m / tau_s - 1.0
    ratio = v / i
    inside = 1.0 + x * ratio
    peak = tau_m * (1.0 - ratio) if x == 0.0 else tau_m / x * (math.log1p(x) - torch.log1p(x * ratio))
    return torch.where((i > 0.0) & (inside > 0.0), peak, math.inf)


def _solve(v: Tensor, i: Tensor, high: Tensor, tau_m: float, tau_s: float, threshold: float) -> Tensor:
    """Root of ``V(s) = threshold`` in ``(0, high]``, where V rises through it: bisection, then Newton inside."""

    def potential(s: Tensor) -> Tensor:
        return v * torch.exp(-s / tau_m) + i * synaptic_kernel(s, tau_m, tau_s)

    low, high = torch.zeros_like(high), high.clone()
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        above = potential(middle) >= threshold
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    s = (low + high) / 2.0
    for _ in range(_NEWTON):
        value = potential(s)
        slope = (i * torch.exp(-s / tau_s) - value) / tau_m
        above = value >= threshold
        low, high = torch.where(above, low, s), torch.where(above, s, high)
        step = s - (value - threshold) / slope
        # NaN or outside the bracket (a touching maximum): bisect instead
        s = torch.where((step >= low) & (step <= high), step, (low + high) / 2.0)
    return s


def _spike_times(
    times: Tensor, weight: Tensor, tau_m: float, tau_s: float, threshold: float, horizon: float
) -> tuple[Tensor, Tensor]:
    """First crossings ``[B, O]`` and which neurons have one, in float64."""
    order = times.argsort(dim=1)
    sorted_times = times.gather(1, order)
    shape = (times.shape[0], weight.shape[0])
    v, i, start, reach = (torch.zeros(shape, dtype=torch.float64) for _ in range(4))
    state_v, state_i = torch.zeros_like(v), torch.zeros_like(i)
    found = torch.zeros(shape, dtype=torch.bool)
    for k in range(times.shape[1]):
        now = sorted_times[:, k : k + 1]
        live = torch.isfinite(now)
        after = sorted_times[:, k + 1 : k + 2] if k + 1 < times.shape[1] else torch.full_like(now, math.inf)
        span = torch.where(live, after - now, 0.0)
        i_now = i + torch.where(live, weight[:, order[:, k]].t(), 0.0)
        rising = i_now > v
        end = torch.minimum(torch.where(rising, _time_of_maximum(v, i_now, tau_m, tau_s), 0.0), span)
        decay = torch.exp(-end / tau_m)
        top = v * decay + i_now * synaptic_kernel(end, tau_m, tau_s)
        hit = live & rising & torch.isfinite(end) & (top >= threshold) & ~found
        state_v, state_i = torch.where(hit, v, state_v), torch.where(hit, i_now, state_i)
        start, reach = torch.where(hit, now, start), torch.where(hit, end, reach)
        found |= hit
        last = torch.isfinite(span)
        v = torch.where(last, v * torch.exp(-span / tau_m) + i_now * synaptic_kernel(span, tau_m, tau_s), v)
        i = torch.where(last, i_now * torch.exp(-span / tau_s), i_now)
    crossing = start + _solve(state_v, state_i, reach, tau_m, tau_s, threshold)
    found &= crossing <= horizon
    return torch.where(found, crossing, horizon), found


class _FirstSpikeTime(torch.autograd.Function):
    @staticmethod
    def forward(
        times: Tensor, weight: Tensor, tau_m: float, tau_s: float, threshold: float, horizon: float
    ) -> tuple[Tensor, Tensor]:
        exact, found = _spike_times(times.double(), weight.double(), tau_m, tau_s, threshold, horizon)
        return exact.to(torch.promote_types(times.dtype, weight.dtype)), found

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        times, weight, ctx.tau_m, ctx.tau_s, _, _ = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(times, weight, *output)
        ctx.save_for_forward(times, weight, *output)

    @staticmethod
    def _partials(ctx: Any) -> tuple[Tensor, Tensor]:
        """``dt*/dw`` and ``dt*/dt_in``, both ``[B, O, I]``; zero for silent neurons."""
        times, weight, crossing, found = ctx.saved_tensors
        lag = torch.where(found, crossing, 0.0).double()[:, :, None] - times.double()[:, None, :]
        wide = weight.double()
        kappa = synaptic_kernel(lag, ctx.tau_m, ctx.tau_s)
        slope = _kernel_slope(lag, ctx.tau_m, ctx.tau_s)
        rise = (wide * slope).sum(-1, keepdim=True)
        live = found[:, :, None]
        return torch.where(live, -kappa / rise, 0.0), torch.where(live, wide * slope / rise, 0.0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        times, weight, _, found = ctx.saved_tensors
        upstream = torch.where(found, gradients[0], 0.0).double()  # infinity times zero must not reach the weights
        by_weight, by_time = _FirstSpikeTime._partials(ctx)
        grad_times = torch.einsum("bo,boi->bi", upstream, by_time).to(times.dtype)
        grad_weight = torch.einsum("bo,boi->oi", upstream, by_weight).to(weight.dtype)
        return grad_times, grad_weight, None, None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> tuple[Tensor, None]:
        crossing = ctx.saved_tensors[2]
        by_weight, by_time = _FirstSpikeTime._partials(ctx)
        moved = torch.zeros_like(crossing, dtype=torch.float64)
        if tangents[0] is not None:
            moved = moved + (by_time * tangents[0].double()[:, None, :]).sum(-1)
        if tangents[1] is not None:
            moved = moved + (by_weight * tangents[1].double()).sum(-1)
        return moved.to(crossing.dtype), None


def first_spike_time(
    times: Tensor,
    weight: Tensor,
    *,
    tau_m: float = 20.0,
    tau_s: float = 5.0,
    threshold: float = 1.0,
    horizon: float = math.inf,
) -> Tensor:
    """First spike times of current-based neurons, with the exact gradient in weights and input times.

    Args:
        times: input spike times, one per input, ``[B, I]``, not negative; infinity: no spike.
        weight: ``[O, I]``; the jump of the synaptic current.
        tau_m: membrane time constant, positive, in the unit of the times.
        tau_s: synaptic time constant, positive; may equal ``tau_m``.
        threshold: theta, positive.
        horizon: a neuron that has not crossed by then is silent; positive, may be infinite.

    Returns:
        ``[B, O]``: first crossings; the horizon, with zero gradient, for silent neurons.  Computed in float64.

    Raises:
        ShapeError: not floating-point ``[B, I]`` and ``[O, I]``.
        RangeError: a constant out of range, negative or NaN times, or weights that are not finite.

    Example:
        >>> times = torch.tensor([[0.0, 1.0]])
        >>> weight = torch.tensor([[6.0, 6.0], [0.1, 0.1]])
        >>> first_spike_time(times, weight)
        tensor([[2.7136,    inf]])
    """
    for name, tensor in (("times", times), ("weight", weight)):
        if not isinstance(tensor, Tensor) or tensor.dim() != 2 or not tensor.is_floating_point():
            got = f"{tensor.dtype} {list(tensor.shape)}" if isinstance(tensor, Tensor) else repr(tensor)
            raise ShapeError(f"expected {name} as a floating-point matrix, got {got}; reshape it")
    if times.shape[1] != weight.shape[1] or times.shape[1] == 0:
        raise ShapeError(f"expected times [B, I] and weight [O, I], got {list(times.shape)} and {list(weight.shape)}")
    for name, value in (("tau_m", tau_m), ("tau_s", tau_s), ("threshold", threshold)):
        check_real(name, value, 1e-6, 1e6)
    if isinstance(horizon, bool) or not isinstance(horizon, int | float) or not horizon > 0.0:
        raise RangeError(f"expected horizon to be a positive number or infinity, got {horizon!r}")
    if not bool((times.detach() >= 0.0).all()):
        raise RangeError("expected input times of at least 0, or infinity for no spike; got negative ones or NaN")
    if not bool(torch.isfinite(weight.detach()).all()):
        raise RangeError("expected finite weights, got NaN or infinity; lower the learning rate")
    found = _FirstSpikeTime.apply(times, weight, tau_m, tau_s, threshold, float(horizon))  # type: ignore[no-untyped-call]
    return cast(Tensor, found[0])


class FirstSpikeTime(nn.Module):
    """A dense layer from input spike times ``[B, I]`` to first output spike times ``[B, O]``.

    Args:
        in_features: I, at least 1.
        out_features: O, at least 1.
        tau_m: membrane time constant.
        tau_s: synaptic time constant.
        threshold: theta.
        horizon: time of silent neurons.
        init: generator of the initial weights, uniform in ``(0, 8 theta tau_m / (tau_s I))``; seeded 0 if ``None``.

    Raises:
        RangeError: an argument out of range.

    Example:
        >>> layer = FirstSpikeTime(5, 3)
        >>> layer(torch.rand(2, 5, generator=torch.Generator().manual_seed(0))).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        tau_m: float = 20.0,
        tau_s: float = 5.0,
        threshold: float = 1.0,
        horizon: float = math.inf,
        init: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        inputs = check_integer("in_features", in_features, 1, 1 << 16)
        outputs = check_integer("out_features", out_features, 1, 1 << 16)
        self.tau_m = check_real("tau_m", tau_m, 1e-6, 1e6)
        self.tau_s = check_real("tau_s", tau_s, 1e-6, 1e6)
        self.threshold = check_real("threshold", threshold, 1e-6, 1e6)
        self.horizon = horizon
        init = init if init is not None else torch.Generator().manual_seed(0)
        size = 8.0 * threshold * tau_m / (tau_s * inputs)
        self.weight = nn.Parameter(torch.rand(outputs, inputs, generator=init) * size)

    def forward(self, times: Tensor) -> Tensor:
        """First spike times; see :func:`first_spike_time`."""
        return first_spike_time(
            times,
            self.weight,
            tau_m=self.tau_m,
            tau_s=self.tau_s,
            threshold=self.threshold,
            horizon=self.horizon,
        )

    def extra_repr(self) -> str:
        return (
            f"{self.weight.shape[1]}, {self.weight.shape[0]}, tau_m={self.tau_m:g}, tau_s={self.tau_s:g}, "
            f"threshold={self.threshold:g}, horizon={self.horizon:g}"
        )
