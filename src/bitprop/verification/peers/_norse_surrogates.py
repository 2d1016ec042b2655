"""Measurements of Norse's threshold functions: slopes, steps, and the decoder with a gradient of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bitprop.verification.peers._probes import worst_pair

__all__ = [
    "circ",
    "erf",
    "finite_slope",
    "fired",
    "heavi_erfc_limit",
    "spike_at_zero",
    "spike_times",
    "spike_times_gradient",
    "super_spike",
    "surrogate_slope",
    "tanh",
    "threshold_of",
    "triangle",
    "upstream_slope",
]


def super_spike(x: Tensor, alpha: float) -> Tensor:
    """1 / (1 + alpha |x|)^2, Zenke and Ganguli 2018, section 3.3.2."""
    return 1.0 / (1.0 + alpha * x.abs()) ** 2


def triangle(x: Tensor, alpha: float) -> Tensor:
    """alpha max(0, 1 - |x|), Bellec et al. 2020."""
    return alpha * torch.relu(1.0 - x.abs())


def tanh(x: Tensor, alpha: float) -> Tensor:
    """The slope of 1/2 + 1/2 tanh(k x): k / 2 (1 - tanh(k x)^2)."""
    return alpha / 2.0 * (1.0 - torch.tanh(alpha * x) ** 2)


def circ(x: Tensor, alpha: float) -> Tensor:
    """The slope of 1/2 + 1/2 x / (x^2 + alpha^2)^(1/2): alpha^2 / (2 (x^2 + alpha^2)^(3/2))."""
    return alpha**2 / (2.0 * (x**2 + alpha**2) ** 1.5)


def erf(x: Tensor, alpha: float) -> Tensor:
    """The slope of 1/2 + 1/2 erf(k x): k / sqrt(pi) exp(-(k x)^2); with erfc it would be negative."""
    return alpha / math.sqrt(math.pi) * torch.exp(-((alpha * x) ** 2))


def threshold_of(nt: Any, name: str, x: Tensor, alpha: float) -> Any:
    """The threshold function of that name."""
    module = nt.functional.threshold
    if name in ("logistic_fn", "circ_dist_fn"):  # they draw
        with torch.random.fork_rng(devices=[]):
            return getattr(module, name)(x, alpha)
    return module.threshold(x, name, alpha)


def surrogate_slope(
    nt: Any, name: str, alpha: float, formula: Callable[[Tensor, float], Tensor], points: tuple[float, ...]
) -> tuple[float, float]:
    """Backward against the documented slope."""
    x = torch.tensor(points, dtype=torch.float64, requires_grad=True)
    threshold_of(nt, name, x, alpha).sum().backward()
    return worst_pair(formula(x.detach(), alpha), x.grad)  # type: ignore[arg-type]


def upstream_slope(nt: Any, name: str, alpha: float, points: tuple[float, ...]) -> tuple[float, float]:
    """Backward is the upstream gradient times the slope."""
    slopes = []
    upstream = torch.linspace(-2.0, 3.0, len(points), dtype=torch.float64)
    for weights in (torch.ones_like(upstream), upstream):
        x = torch.tensor(points, dtype=torch.float64, requires_grad=True)
        threshold_of(nt, name, x, alpha).backward(weights)
        slopes.append(x.grad)
    return worst_pair(upstream * slopes[0], slopes[1])  # type: ignore[operator, arg-type]


def finite_slope(nt: Any, name: str, dtype: torch.dtype) -> tuple[float, float]:
    """How many slopes at -100 to 100 are not finite, with alpha = 100."""
    x = torch.tensor([-100.0, -1.0, -0.0, 0.0, 1.0, 100.0], dtype=dtype, requires_grad=True)
    threshold_of(nt, name, x, 100.0).sum().backward()
    return 0.0, float((~x.grad.isfinite()).sum())  # type: ignore[union-attr]


def spike_at_zero(nt: Any, name: str) -> tuple[float, float]:
    """H[n] = 0 for n <= 0."""
    return 0.0, float(threshold_of(nt, name, torch.zeros(1), 1.0))


def fired(nt: Any, name: str, dtype: torch.dtype) -> tuple[float, float]:
    """H[n] = 1 for n > 0, in the dtype of the input: bits and value, together."""
    out = threshold_of(nt, name, torch.full((1,), 0.5, dtype=dtype), 100.0)
    return float(torch.finfo(dtype).bits) + 1.0, float(torch.finfo(out.dtype).bits) + float(out)


def heavi_erfc_limit(nt: Any) -> tuple[float, float]:
    """1/2 + 1/2 erfc(k x) at x = 2, k = 10, documented as an approximation of the step, and the step."""
    return 0.5 + 0.5 * math.erfc(20.0), float(threshold_of(nt, "heavi_erfc", torch.full((1,), 2.0), 10.0))


def spike_times(nt: Any) -> tuple[float, float]:
    """First spike times of two neurons that spike at steps 0 and 2, and at step 1 only: 0, 1; then 2, inf."""
    spikes = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]).view(3, 1, 2)
    times = nt.functional.spikes_to_times_decoder.ToSpikeTimes.apply(spikes, torch.tensor(2))
    return worst_pair(torch.tensor([0.0, 1.0, 2.0, 9.0]), times.flatten().nan_to_num(posinf=9.0))


def spike_times_gradient(nt: Any, count: int) -> tuple[float, float]:
    """Sum of the local gradients, -1 for each spike whose time is returned; NaN where backward raises."""
    spikes = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]).view(3, 1, 2).requires_grad_()
    times = nt.functional.spikes_to_times_decoder.ToSpikeTimes.apply(spikes, torch.tensor(count))
    documented = -float(times.isfinite().sum())
    try:
        (gradient,) = torch.autograd.grad(torch.where(times.isfinite(), times, 0.0).sum(), spikes)
    except RuntimeError:
        return documented, math.nan
    return documented, float(gradient.sum())
