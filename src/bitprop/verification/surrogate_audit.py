"""Audit of a spike function: is its backward the derivative that is declared, and which surrogate is it?

A spike function S is a step forward; backward multiplies the upstream gradient u by a declared derivative g::

    S(x) in {0, 1, 2, ...},        dL/dx = u * g(x)

Finite differences of S say nothing about g (they are zero), so the backward pass is compared with g itself, on a
grid in float64.  What that cannot show: whether g is a good choice, or whether a network calls S at the right place.

Reference: Neftci, Mostafa, Zenke, *Surrogate gradient learning in spiking neural networks*, IEEE Signal Processing
Magazine 36(6), 2019.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from bitprop._checks import check_integer, check_real
from bitprop.errors import RangeError, ShapeError
from bitprop.seeds import derive_seed
from bitprop.surrogate import SURROGATES, AbstractSurrogate, make_surrogate
from bitprop.verification.replay._world import with_gradients
from bitprop.verification.result import GradientVerificationResult, Where

__all__ = ["SurrogateMatch", "check_surrogate", "identify_surrogate", "spike_backward"]

TensorFunction: TypeAlias = Callable[[Tensor], Tensor]

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_TOLERANCE = 1e-12
_AREA_TOLERANCE = 1e-3  # of a trapezoidal rule across jumps
_PANEL_TOLERANCE = 1e-10
_MAX_HARD_PANELS = 64  # a surrogate has a handful of kinks; more panels that disagree are a wrong primal
_SCALES = (1e-6, 9999.0)  # that are searched
_GAUSS = np.polynomial.legendre.leggauss(10)


def spike_backward(spike_fn: TensorFunction, x: Tensor, upstream: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Spikes and the gradient that the backward pass sends to ``x``, both detached, shape of ``x``.

    Args:
        spike_fn: elementwise spike function.
        x: where to evaluate it; not changed.
        upstream: gradient with respect to the spikes; ones if ``None``.

    Raises:
        ShapeError: the spikes are no tensor of the shape of ``x``.
        RangeError: the spikes carry no gradient: the function is not differentiable by autograd.
    """
    leaf = x.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        spikes = spike_fn(leaf)
        if not isinstance(spikes, Tensor) or spikes.shape != leaf.shape:
            got = list(spikes.shape) if isinstance(spikes, Tensor) else repr(spikes)
            raise ShapeError(f"expected spikes of shape {list(leaf.shape)}, got {got}; wrap the function in a lambda")
        if not spikes.requires_grad:
            raise RangeError("expected spikes with a gradient, got none; give the surrogate's autograd function")
        seed = torch.ones_like(spikes) if upstream is None else upstream.to(spikes.dtype)
        (gradient,) = torch.autograd.grad(spikes, leaf, seed, allow_unused=True)
    return spikes.detach(), torch.zeros_like(leaf) if gradient is None else gradient.detach()


def audit_grid(points: int, span: float) -> Tensor:
    """Odd grid over -span .. span in float64: zero, dense near it, and +-100.

    The spacing is irrational, so no point falls on a kink or jump at a round number, where both sides are right.
    """
    half = torch.linspace(0.0, 1.0, points // 2 + 2, dtype=torch.float64)[1:-1]
    positive = torch.cat([half**3 * span * (math.pi / math.sqrt(10.0)), torch.tensor([100.0], dtype=torch.float64)])
    return torch.cat([-positive.flip(0), torch.zeros(1, dtype=torch.float64), positive])


def _evaluate(function: TensorFunction, x: Tensor, what: str) -> Tensor:
    with torch.no_grad():
        value = torch.as_tensor(function(x.clone()))
    if value.shape != x.shape:
        raise ShapeError(f"expected {what} to keep the shape {list(x.shape)}, got {list(value.shape)}")
    return value.detach().double()


def _extremes(
    spike_fn: TensorFunction, dtypes: Sequence[torch.dtype], keep_dtype: bool
) -> tuple[list[str], list[str], list[str]]:
    """Problems, dtypes tested, dtypes not implemented: finite and of the same dtype at 0, +-100 and the extremes."""
    problems, tested, missing = [], [], []
    for dtype in dtypes:
        name, info = str(dtype).removeprefix("torch."), torch.finfo(dtype)
        sizes = [info.smallest_normal, info.eps, 1.0, 100.0, info.max]
        x = torch.tensor([-size for size in sizes] + [0.0] + sizes, dtype=dtype)
        try:
            spikes, gradient = spike_backward(spike_fn, x)
        except (RuntimeError, NotImplementedError, TypeError):
            missing.append(name)
            continue
        tested.append(name)
        if keep_dtype and (spikes.dtype != dtype or gradient.dtype != dtype):
            got = f"{spikes.dtype} forward, {gradient.dtype} backward"
            problems.append(f"{name} input gives {got.replace('torch.', '')}")
        for value, kind in ((spikes, "spikes"), (gradient, "gradient")):
            bad = (~torch.isfinite(value)).nonzero().flatten().tolist()
            if bad:
                problems.append(f"{kind} {value[bad[0]].item()} at x = {x[bad[0]].item():.3g} in {name}")
    return problems, tested, missing


def _forward_problems(spike_fn: TensorFunction, x: Tensor) -> list[str]:
    """Whether the forward pass is a step: whole numbers, none below the threshold, never falling."""
    spikes, _ = spike_backward(spike_fn, x)
    problems = []
    if not torch.equal(spikes, spikes.round()):
        place = int((spikes != spikes.round()).nonzero()[0])
        problems.append(f"forward is not a step: {spikes[place].item():.6g} at x = {x[place].item():.6g}")
    elif not torch.equal(spikes, spike_backward(spike_fn, x)[0]):
        problems.append("forward draws random numbers: two calls differ")
    elif bool((spikes.diff() < 0).any()):
        problems.append(f"forward falls between x = {x[int(spikes.diff().argmin())].item():.6g} and the next point")
    elif bool((spikes == spikes[0]).all()):
        problems.append(f"forward is {spikes[0].item():g} everywhere on the grid")
    return problems


def _input_kept(spike_fn: TensorFunction, x: Tensor) -> bool:
    before = x.clone()
    with torch.no_grad():
        spike_fn(before)
    untracked = torch.equal(before, x)
    leaf = x.clone().requires_grad_(True)
    torch.autograd.grad(spike_fn(leaf).sum(), leaf, allow_unused=True)
    return untracked and torch.equal(leaf.detach(), x)


def _upstream_error(spike_fn: TensorFunction, x: Tensor, computed: Tensor, peak: float, seed: int) -> float:
    """Largest ``|vjp(u) - u vjp(1)| / peak`` over a random upstream gradient of both signs, its negative and zero."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "surrogate_audit"))
    random = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    worst = 0.0
    for upstream in (random, -random, torch.zeros_like(x)):
        spikes, gradient = spike_backward(spike_fn, x, upstream)
        arriving = upstream.to(spikes.dtype).double()  # a changed dtype is found, and reported, by itself
        worst = max(worst, float((gradient.double() - arriving * computed).abs().max()) / peak)
    return worst


def _primal_problem(primal: TensorFunction, derivative: TensorFunction, span: float, peak: float) -> str | None:
    """``None`` if the integral of g over every panel is the step of F; panels with a kink are halved until it shows.

    A jump of g costs at most its panel's width, so halving leaves less than the tolerance unless F is wrong.
    """
    nodes, weights = (torch.from_numpy(part) for part in _GAUSS)
    edges = torch.linspace(-span, span, 129, dtype=torch.float64)
    low, high = edges[:-1], edges[1:]
    for _ in range(48):
        middle, half = (low + high) / 2, (high - low) / 2
        panel = _evaluate(derivative, (middle[:, None] + half[:, None] * nodes).flatten(), "the derivative")
        integral = (panel.view(-1, len(nodes)) * weights).sum(1) * half
        off = (integral - (_evaluate(primal, high, "the primal") - _evaluate(primal, low, "the primal"))).abs()
        hard = ~(off <= _PANEL_TOLERANCE * peak)  # NaN is hard too
        if not bool(hard.any()):
            return None
        if int(hard.sum()) > _MAX_HARD_PANELS:
            break
        low, middle, high = low[hard], middle[hard], high[hard]
        low, high = torch.cat([low, middle]), torch.cat([middle, high])
    place = float(low[0])
    return (
        f"the primal's slope is not the derivative, for one near x = {place:.6g} (integral off by {float(off[0]):.3g})"
    )


def _area(derivative: TensorFunction) -> float:
    """Integral of g over the real line, by the substitution ``x = +-exp(t)``; infinite if it does not converge."""
    t = torch.linspace(-40.0, 40.0, 400_001, dtype=torch.float64)
    x = t.exp()
    integrand = (_evaluate(derivative, x, "the derivative") + _evaluate(derivative, -x, "the derivative")) * x
    if not float(integrand[-1].abs()) < 1e-6 * float(integrand.abs().max()):
        return math.inf
    return float(torch.trapezoid(integrand, t))


@with_gradients
def check_surrogate(
    spike_fn: TensorFunction,
    derivative: TensorFunction | AbstractSurrogate,
    *,
    primal: TensorFunction | None = None,
    name: str = "spike function",
    peak: float | None = None,
    area: float | None = None,
    dtypes: Sequence[torch.dtype] = DTYPES,
    points: int = 2001,
    span: float = 10.0,
    tolerance: float = _TOLERANCE,
    step: bool = True,
    keep_dtype: bool = True,
    seed: int = 0,
) -> GradientVerificationResult:
    """Compare the backward pass of a spike function with its declared derivative: ``dL/dx = u g(x)``.

    It fails if, in float64, the two differ by more than ``tolerance`` of the peak of g; if the upstream gradient is
    not simply multiplied; if anything is not finite at +-100 or at the extremes of a dtype; if a dtype is not kept; if
    the forward pass is not a step of whole numbers; if the input is changed; or if a declared primal, peak or area
    does not belong to g.

    Args:
        spike_fn: elementwise, ``x`` to spikes: an autograd function's ``apply``, a module, or any callable.
        derivative: g, elementwise on float64; a registered surrogate brings its primal, peak and area along.
        primal: F with ``F' = g``, if one is declared.
        name: of the spike function, for the report.
        peak: largest value of g, if declared.
        area: integral of g over the real line, if declared.
        dtypes: to test; one that the function does not implement is reported, not failed.
        points: of the grid, 101 .. 100001.
        span: the grid reaches from ``-span`` to ``span`` and has +-100 besides; 0.1 .. 100.
        tolerance: largest difference, relative to the peak of g; 1e-15 .. 1.
        step: whether the forward pass must be a step; ``False`` for a smooth stand-in.
        keep_dtype: whether spikes must have the dtype of ``x``.
        seed: of the random upstream gradient.

    Returns:
        PASS or FAIL; VACUOUS where both derivatives are zero on the whole grid.  ``data`` holds ``x``, ``computed``,
        ``claimed`` and ``primal`` (empty if none), ``area``, ``peak`` and ``minimum`` of the computed derivative, and
        ``problems``, one line each.

    Raises:
        RangeError: an argument out of range, or spikes without a gradient.
        ShapeError: a function does not keep the shape.

    Example:
        >>> from bitprop.surrogate import make_surrogate
        >>> surrogate = make_surrogate("fast_sigmoid", 10.0)
        >>> check_surrogate(surrogate, surrogate).status
        'PASS'
        >>> check_surrogate(surrogate, make_surrogate("fast_sigmoid", 10.01)).status
        'FAIL'
    """
    count = check_integer("points", points, 101, 100_001)
    check_real("span", span, 0.1, 100.0)
    check_real("tolerance", tolerance, 1e-15, 1.0)
    start = time.perf_counter()
    if isinstance(derivative, AbstractSurrogate):
        primal = derivative.primal if primal is None else primal
        peak = derivative.peak if peak is None else peak
        area = derivative.area if area is None else area
        derivative = derivative.derivative
    x = audit_grid(count, span)
    _, computed = spike_backward(spike_fn, x)
    gradient_dtype = str(computed.dtype).removeprefix("torch.")
    computed, claimed = computed.double(), _evaluate(derivative, x, "the derivative")
    claim = f"{name}: backward multiplies by the declared derivative"
    values = {"x": x.tolist(), "computed": computed.tolist(), "claimed": claimed.tolist()}
    top = float(claimed.abs().nan_to_num().max())
    if top == 0.0 and not bool(computed.any()):
        return GradientVerificationResult(
            name="surrogate_audit",
            claim=claim,
            status="VACUOUS",
            detail="the declared derivative and the backward pass are zero on the whole grid",
            dtype=gradient_dtype,
            seed=seed,
            data={**values, "primal": []},
            seconds=time.perf_counter() - start,
        )
    scale = top if top > 0.0 else 1.0
    difference = (computed - claimed).abs()
    difference[~torch.isfinite(difference)] = math.inf
    worst = int(difference.argmax())
    statistic = float(difference[worst]) / scale

    problems: list[str] = []
    if not statistic <= tolerance:
        got, declared = float(computed[worst]), float(claimed[worst])
        problems.append(f"backward is {got:.12g} at x = {float(x[worst]):.6g}, declared {declared:.12g}")
    upstream_error = _upstream_error(spike_fn, x, computed, scale, seed)
    if not upstream_error <= tolerance * 10.0:  # a random upstream gradient reaches a few units
        problems.append(f"the upstream gradient is not multiplied: off by {upstream_error:.3g} of the peak")
    extremes, tested, missing = _extremes(spike_fn, dtypes, keep_dtype)
    problems += extremes
    if not tested:
        problems.append("no dtype is implemented")
    if step:
        problems += _forward_problems(spike_fn, x)
    if not _input_kept(spike_fn, x):
        problems.append("the input is modified in place")
    primal_values: list[float] = []
    if primal is not None:
        primal_values = _evaluate(primal, x, "the primal").tolist()
        wrong = _primal_problem(primal, derivative, span, scale)
        problems += [wrong] if wrong is not None else []
    found_peak, found_area = float(computed.max()), _area(derivative)
    if peak is not None and not abs(found_peak - peak) <= 1e-9 * abs(peak):
        problems.append(f"the declared peak is {peak:.9g}, the backward pass reaches {found_peak:.9g}")
    if area is not None and not (area == found_area or abs(found_area - area) <= _AREA_TOLERANCE * abs(area)):
        problems.append(f"the declared area is {area:.9g}, the derivative's is {found_area:.9g}")

    skipped = f"; {', '.join(missing)} not implemented" if missing else ""
    lowest = float(computed.min())
    sign = "never negative" if lowest >= 0.0 else f"negative somewhere (to {lowest:.3g})"
    good = f"equal at {len(x)} points, {sign}; finite in {', '.join(tested)}{skipped}"
    norms = float(computed.norm()) * float(claimed.norm())
    return GradientVerificationResult(
        name="surrogate_audit",
        claim=claim,
        status="FAIL" if problems else "PASS",
        detail="; ".join(problems) if problems else good,
        statistic=max(statistic, upstream_error / 10.0),
        tolerance=tolerance,
        tolerance_reason="a few roundings in float64, relative to the peak of the declared derivative",
        null_error=torch.finfo(torch.float64).eps,
        smallest_detectable=tolerance,
        where=Where(tensor="input", index=(worst,), claimed=float(claimed[worst]), computed=float(computed[worst])),
        maximum_error=float(difference[worst]),
        mean_error=float(difference.mean()),
        relative_error=float(difference.norm() / claimed.norm()) if top > 0.0 else None,
        cosine=float((computed * claimed).sum()) / norms if norms > 0.0 else None,
        coverage={"dtypes": len(tested) / max(len(tuple(dtypes)), 1)},
        evaluations=10 + len(tested),
        seed=seed,
        dtype=gradient_dtype,
        data={
            **values,
            "primal": primal_values,
            "area": found_area,
            "peak": found_peak,
            "minimum": lowest,
            "problems": problems,
        },
        seconds=time.perf_counter() - start,
    )


@dataclass(frozen=True, slots=True)
class SurrogateMatch:
    """A registered surrogate that a backward pass is, to rounding: ``amplitude * g(x; scale)``.

    Attributes:
        name: registry key.
        scale: fitted.
        amplitude: fitted factor; 1 where the surrogate is used as it is.
        error: largest difference, relative to the peak.
    """

    name: str
    scale: float
    amplitude: float
    error: float


def _half_width(derivative: TensorFunction) -> float | None:
    """Where a derivative falls to half its value at zero, to rounding; ``None`` if it stays above up to 1e6."""
    half = float(_evaluate(derivative, torch.zeros(1, dtype=torch.float64), "the derivative")) / 2.0
    low, high = 0.0, 1e6
    for _ in range(16):  # each round narrows the bracket by a factor of about 60, at first in powers
        inner = torch.linspace(0.0, 1.0, 64, dtype=torch.float64)
        places = low + (high - low) * (inner**4 if low == 0.0 else inner)
        below = (_evaluate(derivative, places, "the derivative") < half).nonzero().flatten()
        if not len(below):
            return None
        index = int(below[0])
        if index == 0 or high - low <= 4e-16 * high:
            return low
        low, high = float(places[index - 1]), float(places[index])
    return (low + high) / 2.0


def _candidate(name: str, scale: float) -> Callable[[Tensor], Tensor]:
    return make_surrogate(name, scale).derivative


def _fit_scale(name: str, width: float) -> float | None:
    """The scale at which a registered surrogate has this half width: a bisection, on the logarithm."""

    def wide(scale: float) -> bool:
        place = torch.tensor([0.0, width], dtype=torch.float64)
        at_zero, at_width = _evaluate(_candidate(name, scale), place, "the derivative").tolist()
        return bool(at_width >= at_zero / 2.0)

    low, high = (math.log(bound) for bound in _SCALES)
    rising = wide(math.exp(high))
    if wide(math.exp(low)) == rising:
        return None  # the width does not depend on the scale
    for _ in range(80):
        middle = (low + high) / 2.0
        low, high = (low, middle) if wide(math.exp(middle)) == rising else (middle, high)
    return math.exp((low + high) / 2.0)


def _polish(name: str, scale: float, x: Tensor, target: Tensor) -> tuple[float, float, float]:
    """Gauss-Newton least squares of ``amplitude * g(x; scale)`` from a scale that is nearly right."""
    best = (math.inf, scale, 1.0)
    for _ in range(4):
        value = _evaluate(_candidate(name, scale), x, "the derivative")
        amplitude = float((value * target).sum() / (value * value).sum())
        if abs(amplitude - 1.0) < 1e-10:
            amplitude = 1.0
        error = float((amplitude * value - target).abs().max())
        if error < best[0]:
            best = (error, scale, amplitude)
        step = 1e-5
        ahead, behind = (
            _evaluate(_candidate(name, scale * math.exp(sign * step)), x, "the derivative") for sign in (1, -1)
        )
        columns = torch.stack([value, amplitude * (ahead - behind) / (2.0 * step)], dim=1)
        move = float(torch.linalg.lstsq(columns, target[:, None] - amplitude * value[:, None]).solution[1, 0])
        if not abs(move) < 1e-3:
            break  # a jump, or far from any fit
        scale *= math.exp(move)
    return best[1], best[2], best[0]


def identify_surrogate(
    spike_fn: TensorFunction, *, span: float = 10.0, tolerance: float = 1e-9
) -> tuple[SurrogateMatch, ...]:
    """Tell which registered surrogates, at which scale and amplitude, the backward pass of a spike function is.

    For each one the scale follows from the half width of the backward pass, the amplitude and a correction of the
    scale by least squares; what then differs by at most ``tolerance`` of the peak is a match.

    Args:
        spike_fn: elementwise spike function, its threshold at ``x = 0``.
        span: the grid reaches from ``-span`` to ``span`` times the half width; 1 .. 100.
        tolerance: largest difference relative to the peak, 1e-15 .. 1.

    Returns:
        Matches, those of amplitude 1 first; empty if the registry holds none.

    Raises:
        RangeError: an argument out of range, or spikes without a gradient.
        ShapeError: the function does not keep the shape.

    Example:
        >>> from bitprop.surrogate import make_surrogate
        >>> match = identify_surrogate(make_surrogate("atan", 2.0))[0]
        >>> match.name, round(match.scale, 9), match.amplitude
        ('atan', 2.0, 1.0)
    """
    check_real("span", span, 1.0, 100.0)
    check_real("tolerance", tolerance, 1e-15, 1.0)

    def backward(x: Tensor) -> Tensor:
        return spike_backward(spike_fn, x)[1]

    at_zero = float(_evaluate_backward(backward, torch.zeros(1, dtype=torch.float64)))
    if not math.isfinite(at_zero) or at_zero == 0.0:
        return ()
    width = _half_width(lambda x: _evaluate_backward(backward, x))
    x = audit_grid(501, span * (1.0 if width is None else width))
    target = _evaluate_backward(backward, x)
    finite = torch.isfinite(target)
    if float(finite.double().mean()) < 0.9:
        return ()
    x, target = x[finite], target[finite]  # an overflow far out hides nothing about the shape
    peak = float(target.abs().max())
    matches = []
    for name in SURROGATES:
        scale: float | None
        if width is None:  # flat: the scale can only be a factor
            default = make_surrogate(name)
            scale = default.scale * abs(at_zero) / default.peak
        else:
            scale = _fit_scale(name, width)
        if scale is None or not _SCALES[0] <= scale <= _SCALES[1]:
            continue
        scale, amplitude, error = _polish(name, scale, x, target)
        if error <= tolerance * peak:
            matches.append(SurrogateMatch(name, scale, amplitude, error / peak))
    return tuple(sorted(matches, key=lambda match: (match.amplitude != 1.0, match.error)))


def _evaluate_backward(backward: TensorFunction, x: Tensor) -> Tensor:
    return backward(x).double()
