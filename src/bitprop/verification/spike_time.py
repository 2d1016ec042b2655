"""Exact-gradient neurons against root-found finite differences.

The truth is found without the neuron's code and without its formula for the gradient: the textbook membrane potential
``V(t) = sum_j w_j kappa(t - t_j)`` is scanned for its first crossing, the crossing is refined by Brent's method, and
the time is differentiated by eight-point differences in every weight and every input time::

    r = |dt*_function - dt*_differences| / max |dt*_differences| over the neuron

What it cannot show: anything about neurons that are silent, or about the gradient where a step of the difference
makes another crossing the first one (the spike time jumps there: it has no derivative).

Reference: Wunderlich and Pehle, *Event-based backpropagation can compute exact gradients for spiking neural networks*,
Scientific Reports 11, 2021.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bitprop._checks import check_integer, check_real
from bitprop.errors import ShapeError
from bitprop.nn.spike_time import constant_current_spike_time, first_spike_time
from bitprop.verification.result import GradientVerificationResult, Status, Where
from bitprop.verification.taylor_problem import numeric_derivative

__all__ = ["check_constant_current", "check_spike_time", "reference_spike_time"]

FloatArray: TypeAlias = npt.NDArray[np.float64]

_NEARLY_EQUAL = 0.05  # the textbook kernel loses digits closer to equality
_TERMS = 24
_REASON = "root finding to 1e-13 and eight-point differences leave about 1e-9"


def reference_spike_time(
    times: FloatArray, weight: FloatArray, tau_m: float, tau_s: float, threshold: float, points: int = 200
) -> float:
    """First crossing of one neuron, by scanning and Brent's method; infinity if there is none.

    Args:
        times: input spike times ``[I]``, infinity for none.
        weight: ``[I]``.
        tau_m: membrane time constant.
        tau_s: synaptic time constant.
        threshold: theta.
        points: of the scan between two input spikes; a crossing and a fall within one of its steps are overlooked.

    Example:
        >>> round(reference_spike_time(np.array([0.0]), np.array([6.0]), 20.0, 20.0, 1.0), 6)
        4.089629
    """
    from scipy import optimize

    finite = np.isfinite(times)
    times, weight = times[finite], weight[finite]
    if not len(times):
        return math.inf

    def potential(t: FloatArray | float) -> FloatArray:
        s = np.maximum(np.asarray(t)[..., None] - times, 0.0)
        if abs(tau_m - tau_s) > _NEARLY_EQUAL * tau_m:
            kappa = tau_s / (tau_m - tau_s) * (np.exp(-s / tau_m) - np.exp(-s / tau_s))
        else:  # the same as a series in the difference of the rates, which does not cancel
            z = s * (1.0 / tau_s - 1.0 / tau_m)
            series = np.ones_like(z)  # (1 - exp(-z)) / z = 1 - z/2 (1 - z/3 (1 - ...))
            for k in range(_TERMS, 1, -1):
                series = 1.0 - z / k * series
            kappa = s / tau_m * np.exp(-s / tau_m) * series
        above: FloatArray = kappa @ weight - threshold
        return above

    edges = np.append(np.unique(times), times.max() + 10.0 * max(tau_m, tau_s))
    for low, high in itertools.pairwise(edges):
        grid = np.linspace(low, high, points + 1)
        above = np.flatnonzero(potential(grid) >= 0.0)
        if len(above):
            before = max(int(above[0]) - 1, 0)
            return float(optimize.brentq(potential, grid[before], grid[above[0]], xtol=1e-14, rtol=1e-15))
    return math.inf


class _Reference:
    """Root-found spike times of a batch and their derivatives, one input or weight at a time."""

    def __init__(self, times: FloatArray, weight: FloatArray, tau_m: float, tau_s: float, threshold: float) -> None:
        self.times, self.weight = times, weight
        self.constants = (tau_m, tau_s, threshold)
        self.evaluations = 0

    def _spike(self, row: FloatArray, incoming: FloatArray) -> float:
        self.evaluations += 1
        return reference_spike_time(row, incoming, *self.constants)

    def time(self, b: int, o: int) -> float:
        return self._spike(self.times[b], self.weight[o])

    def derivative(self, b: int, o: int, i: int, kind: str) -> float:
        if not self.times[b, i] < self.time(b, o):
            return 0.0  # an input after the spike cannot move it

        def line(h: float) -> float:
            row, incoming = self.times[b].copy(), self.weight[o].copy()
            (row if kind == "times" else incoming)[i] += h
            return self._spike(row, incoming)

        base = (self.times[b] if kind == "times" else self.weight[o])[i]
        size = 0.02 * max(abs(float(base)), 0.1)
        return numeric_derivative(line, size, noise=1e-14, wanted=1e-10).value


@dataclass(frozen=True, slots=True)
class _Row:
    """One derivative: as the function gave it, as it should be, where, and the size to compare with."""

    computed: float
    claimed: float
    where: Where
    size: float


def _result(
    claim: str, rows: list[_Row], problem: str | None, tolerance: float, spiking: float, evaluations: int, start: float
) -> GradientVerificationResult:
    computed, claimed, sizes = (
        torch.tensor([getattr(row, name) for row in rows], dtype=torch.float64)
        for name in ("computed", "claimed", "size")
    )
    error = (computed - claimed).abs()
    error = torch.where(torch.isnan(error), math.inf, error)
    r = error / sizes
    status: Status = "PASS"
    detail = f"{len(computed)} derivatives of spike times"
    where, statistic = Where(), 0.0
    if len(computed):
        worst = int(r.argmax())
        where, statistic = rows[worst].where, float(r[worst])
        where = Where(where.tensor, where.index, claimed=float(claimed[worst]), computed=float(computed[worst]))
    if problem is not None or not statistic <= tolerance:
        status = "FAIL"
        detail = problem or f"the derivative in {where.tensor} is off by {statistic:.3g} of the neuron's largest"
    elif not len(computed) or not bool(claimed.any()):
        status, detail = "VACUOUS", "no neuron spikes: there is no spike time to differentiate"
    norms = float(computed.norm()) * float(claimed.norm())
    return GradientVerificationResult(
        name="spike_time",
        claim=claim,
        status=status,
        detail=detail,
        statistic=statistic,
        tolerance=tolerance,
        tolerance_reason=_REASON,
        smallest_detectable=tolerance,
        where=where,
        maximum_error=float(error.max()) if len(error) else None,
        mean_error=float(error.mean()) if len(error) else None,
        relative_error=float(error.norm() / claimed.norm()) if bool(claimed.any()) else None,
        cosine=float((computed * claimed).sum()) / norms if norms > 0.0 and math.isfinite(norms) else None,
        coverage={"neurons": spiking},
        evaluations=evaluations,
        dtype="float64",
        data={"computed": computed.tolist(), "claimed": claimed.tolist()},
        seconds=time.perf_counter() - start,
    )


def check_constant_current(
    function: Callable[[Tensor], Tensor] | None = None,
    *,
    tau: float = 10.0,
    threshold: float = 1.0,
    points: int = 50,
    tolerance: float = 1e-12,
) -> GradientVerificationResult:
    """Compare first spike times under constant currents, and their derivatives, with the closed form.

    Args:
        function: currents ``[N]`` to spike times ``[N]``; bitprop's own if ``None``.
        tau: membrane time constant.
        threshold: theta.
        points: currents, from just above to 20 times the threshold, 2 .. 10000.
        tolerance: largest r, 1e-15 .. 1.

    Raises:
        RangeError: an argument out of range.

    Example:
        >>> check_constant_current().status
        'PASS'
    """
    check_integer("points", points, 2, 10_000)
    check_real("tolerance", tolerance, 1e-15, 1.0)
    start = time.perf_counter()
    if function is None:

        def function(current: Tensor) -> Tensor:
            return constant_current_spike_time(current, tau=tau, threshold=threshold)

    current = threshold * (1.0 + torch.logspace(-2.0, math.log10(19.0), points, dtype=torch.float64))
    current.requires_grad_(True)
    found = function(current)
    (computed,) = torch.autograd.grad(found.sum(), current)
    i = current.detach()
    expected = tau * (torch.log(i) - torch.log(i - threshold))
    claimed = -tau * threshold / (i * (i - threshold))
    off = (found.detach() - expected).abs()
    problem = None
    if not bool((off <= 1e-10 * expected).all()):
        worst = int(off.argmax())
        got = float(found.detach()[worst])
        problem = f"the spike time at I = {float(i[worst]):.6g} is {got:.9g}, not {float(expected[worst]):.9g}"
    rows = [
        _Row(got, wanted, Where("current", (k,)), abs(wanted))
        for k, (got, wanted) in enumerate(zip(computed.tolist(), claimed.tolist(), strict=True))
    ]
    claim = "the first spike time under a constant current, and its derivative, are the closed form"
    return _result(claim, rows, problem, tolerance, 1.0, points, start)


def check_spike_time(
    times: Tensor,
    weight: Tensor,
    *,
    function: Callable[[Tensor, Tensor], Tensor] | None = None,
    tau_m: float = 20.0,
    tau_s: float = 5.0,
    threshold: float = 1.0,
    tolerance: float = 1e-7,
) -> GradientVerificationResult:
    """Compare spike times and their gradients with root-found finite differences.

    Args:
        times: input spike times ``[B, I]``, infinity for none; those at 0 are not moved below it.
        weight: ``[O, I]``.
        function: ``(times, weight)`` to first spike times ``[B, O]``, silent neurons not finite; bitprop's own if
            ``None``.
        tau_m: membrane time constant.
        tau_s: synaptic time constant.
        threshold: theta.
        tolerance: largest r, 1e-12 .. 1.

    Returns:
        PASS; FAIL (``where.index`` is ``(b, o, i)``); VACUOUS where no neuron spikes.

    Raises:
        ShapeError: times and weight do not fit.
        RangeError: an argument out of range.

    Example:
        >>> times = torch.tensor([[1.0, 2.0, 4.0]])
        >>> check_spike_time(times, torch.tensor([[8.0, 6.0, -1.0]])).status
        'PASS'
    """
    check_real("tolerance", tolerance, 1e-12, 1.0)
    start = time.perf_counter()
    if times.dim() != 2 or weight.dim() != 2 or times.shape[1] != weight.shape[1]:
        raise ShapeError(f"expected times [B, I] and weight [O, I], got {list(times.shape)} and {list(weight.shape)}")
    if function is None:

        def function(times: Tensor, weight: Tensor) -> Tensor:
            return first_spike_time(times, weight, tau_m=tau_m, tau_s=tau_s, threshold=threshold)

    t = times.detach().double().requires_grad_(True)
    w = weight.detach().double().requires_grad_(True)
    found = function(t, w)
    truth = _Reference(t.detach().numpy(), w.detach().numpy(), tau_m, tau_s, threshold)
    spiking, problem = 0, None
    rows: list[_Row] = []
    for b, o in itertools.product(range(len(times)), range(len(weight))):
        exact, got = truth.time(b, o), float(found[b, o].detach())
        silent = not math.isfinite(exact)
        if silent != (not math.isfinite(got)) or not (silent or abs(got - exact) <= 1e-9 * max(1.0, exact)):
            problem = problem or f"neuron {o} of sample {b} spikes at {got:.12g}, the root is {exact:.12g}"
        gradients = torch.autograd.grad(found[b, o], (t, w), retain_graph=True, allow_unused=True)
        by_time, by_weight = (torch.zeros_like(x) if g is None else g for g, x in zip(gradients, (t, w), strict=True))
        if silent:
            if bool(by_time.any()) or bool(by_weight.any()):
                problem = problem or f"silent neuron {o} of sample {b} has a gradient"
            continue
        spiking += 1
        claimed = [truth.derivative(b, o, i, kind) for kind in ("times", "weight") for i in range(times.shape[1])]
        size = max(map(abs, claimed)) or 1.0
        places = [Where(kind, (b, o, i)) for kind in ("times", "weight") for i in range(times.shape[1])]
        computed = [*by_time[b].tolist(), *by_weight[o].tolist()]
        rows += [_Row(*row, size) for row in zip(computed, claimed, places, strict=True)]
    share = spiking / max(len(times) * len(weight), 1)
    claim = "the gradient of the first spike time is that of the root of V(t) = threshold"
    return _result(claim, rows, problem, tolerance, share, truth.evaluations, start)
