"""Smooth truth: Taylor remainders and high-order finite differences of a loss that has a derivative.

With a unit direction d and the gradient g that backward gives, a smooth loss L has::

    R_0(h) = |L(p + h d) - L(p)|             falls like h
    R_1(h) = |L(p + h d) - L(p) - h g.d|     falls like h^2 exactly if g.d is the derivative, else like h

and the derivative itself follows from an eight-point difference, compared without a unit::

    D(h) = sum_k c_k (L(p + k h d) - L(p - k h d)) / h,      c = 4/5, -1/5, 4/105, -1/280      (error of order h^8)
    r = |D - g.d| / (|g| / sqrt(N)),      |g| / sqrt(N) the typical size of g.d

Neither is blind to small losses: multiplying L by a constant changes no status and no slope.

The rounding of L is measured, not assumed: over eight points so close together that L is a low polynomial, fourth
differences are rounding alone (Moré and Wild, *Estimating computational noise*, SIAM J. Sci. Comput. 33(3), 2011).

What it cannot show: anything about a hard threshold, whose loss is piecewise constant.  That is recognised (equal
losses at small steps next to a gradient that is not zero) and is ILL_POSED, not a failure.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bitprop._checks import check_integer, check_real
from bitprop.seeds import derive_seed
from bitprop.verification.result import GradientVerificationResult, Status, Where
from bitprop.verification.taylor_problem import (
    ZERO,
    ParameterLoss,
    SmoothProblem,
    estimate_noise,
    loss_of_model,
    numeric_derivative,
    random_direction,
    unit_direction,
)

__all__ = ["check_finite_difference", "check_parameter_gradients", "check_taylor"]

_ABOVE = 100.0  # remainders below this many roundings are left out of the fit
_FITTED = 5  # smallest usable steps that the slope is fitted over


def _nothing(
    name: str, claim: str, problem: SmoothProblem, seed: int, start: float
) -> GradientVerificationResult | None:
    """The result where there is nothing to differentiate, or ``None``."""
    status: Status
    if not problem.count:
        status, detail = "VACUOUS", "there are no trainable parameters"
    elif not problem.finite:
        status, detail = "ILL_POSED", f"the loss ({problem.value}) or its gradient is not finite; clean the data"
    else:
        return None
    return GradientVerificationResult(
        name=name,
        claim=claim,
        status=status,
        detail=detail,
        evaluations=problem.evaluations,
        seed=seed,
        dtype="float64",
        seconds=time.perf_counter() - start,
    )


@dataclass(frozen=True, slots=True)
class _Remainders:
    steps: list[float]
    zeroth: list[float]
    first: list[float]
    slope: float | None  # None: everything is rounding
    detectable: float | None
    off: float  # first-order difference less g.d, over the typical size of g.d; for a linear loss
    floor: float
    stuck: bool  # the loss is equal at small steps that g.d says should move it


def _remainders(problem: SmoothProblem, direction: dict[str, Tensor], count: int) -> _Remainders:
    size = problem.size(list(problem.point))
    line, expected = problem.line(direction), problem.slope(direction)
    noise = estimate_noise(line, size)
    steps = [size * 2.0 ** -(4 + index) for index in range(count)]
    values = [line(h) for h in steps]
    zeroth = [abs(v - problem.value) for v in values]
    first = [abs(v - problem.value - h * expected) for h, v in zip(steps, values, strict=True)]
    usable = [(h, r) for h, r in zip(steps, first, strict=True) if r > _ABOVE * noise]
    typical = max(problem.norm / math.sqrt(problem.count), 1e-300)
    wide = steps[0]
    off = abs((line(wide) - line(-wide)) / (2.0 * wide) - expected) / typical
    small = count // 3
    stuck = not any(zeroth[-small:]) and steps[-small] * abs(expected) > _ABOVE * noise
    if len(usable) < 3:
        return _Remainders(steps, zeroth, first, None, noise / wide / typical, off, noise, stuck)
    fitted = usable[-_FITTED:]
    logs = torch.tensor([[math.log(h), math.log(r)] for h, r in fitted], dtype=torch.float64)
    centred = logs - logs.mean(0)
    slope = float((centred[:, 0] * centred[:, 1]).sum() / centred[:, 0].square().sum())
    h, remainder = fitted[len(fitted) // 2]
    # an error e of g.d adds e h to c h^2: the slope drops by 0.1 when the first is a ninth of the second
    detectable = remainder / (9.0 * h * max(abs(expected), typical))
    return _Remainders(steps, zeroth, first, slope, detectable, off, noise, stuck)


def check_taylor(
    loss_of_parameters: ParameterLoss,
    parameters: Mapping[str, Tensor],
    *,
    directions: int = 2,
    steps: int = 20,
    tolerance: float = 0.1,
    seed: int = 0,
    name: str = "smooth_taylor",
) -> GradientVerificationResult:
    """Taylor remainders of a smooth loss: ``|L(p + h d) - L(p) - h g.d|`` must fall like ``h^2``.

    The slope is fitted over the smallest steps whose remainder is more than 100 times the measured rounding of the
    loss.  Where no remainder is (the loss is linear along d to rounding), the first-order difference itself is
    compared with g.d, and the result says so.  A slope above 2 (no curvature along d) is no error.

    Args:
        loss_of_parameters: mapping of named tensors to a scalar loss, differentiable by autograd.
        parameters: the point p; taken to float64.
        directions: random unit directions over all parameters at once, 1 .. 100, each taken forwards and backwards; the
            worst one counts.
        steps: from a sixteenth of the parameters' size downwards, each half of the one before, 6 .. 40.
        tolerance: how far below 2 the slope may fall, 0.001 .. 0.5.
        seed: of the directions.
        name: of the check.

    Returns:
        PASS, FAIL; VACUOUS for a zero gradient or no parameters; ILL_POSED for a loss that is not finite or that
        does not move at small steps while its gradient is not zero (a hard threshold).  ``data``: ``steps``,
        ``remainders``, ``first_order``, ``slope``, ``floor``.

    Raises:
        ShapeError: the loss is not a scalar.
        RangeError: an argument out of range.

    Example:
        >>> p = {"w": torch.tensor([0.3, -0.7])}
        >>> result = check_taylor(lambda q: torch.sin(q["w"]).prod(), p)
        >>> result.status, round(result.data["slope"], 2)
        ('PASS', 2.0)
    """
    check_integer("directions", directions, 1, 100)
    check_integer("steps", steps, 6, 40)
    check_real("tolerance", tolerance, 1e-3, 0.5)
    start = time.perf_counter()
    claim = "the gradient is the loss's derivative: Taylor remainders fall like h^2"
    problem = SmoothProblem(loss_of_parameters, parameters)
    nothing = _nothing(name, claim, problem, seed, start)
    if nothing is not None:
        return nothing
    generator = torch.Generator().manual_seed(derive_seed(seed, "taylor"))
    drawn = [random_direction(problem, list(problem.point), generator) for _ in range(directions)]
    # an error e h and a curvature c h^2 of opposite signs cancel somewhere, and look steeper than 2; not so along -d
    runs = [
        _remainders(problem, {name: sign * d for name, d in direction.items()}, steps)
        for direction in drawn
        for sign in (1.0, -1.0)
    ]
    linear_tolerance = 1e-8

    def shortfall(run: _Remainders) -> float:
        if run.slope is not None:
            return 2.0 - run.slope
        return tolerance * run.off / max(linear_tolerance, _ABOVE * (run.detectable or 0.0))

    worst = max(runs, key=shortfall)
    statistic = max(shortfall(worst), 0.0)
    moves = max(max(run.zeroth) for run in runs)
    status: Status = "PASS" if statistic <= tolerance else "FAIL"
    if problem.is_zero and moves <= _ABOVE * worst.floor:
        status, detail = "VACUOUS", "the gradient is zero, and so is every difference of the loss"
    elif worst.stuck:
        status = "ILL_POSED"
        detail = "the loss is constant at small steps, yet its gradient is not zero: a hard threshold; use the replay"
    elif worst.slope is None:
        detail = (
            f"the loss is linear along the direction to rounding; its first-order difference "
            f"{'equals' if status == 'PASS' else 'differs from'} g.d (r = {worst.off:.2g})"
        )
    else:
        detail = f"slope {worst.slope:.3f}, fitted above {_ABOVE:g} times the measured rounding {worst.floor:.2g}"
    return GradientVerificationResult(
        name=name,
        claim=claim,
        status=status,
        detail=detail,
        statistic=statistic,
        tolerance=tolerance,
        tolerance_reason="the slope is 2 for the derivative and 1 for anything else; 0.1 covers the next order's share",
        null_error=abs(2.0 - worst.slope) if worst.slope is not None and status == "PASS" else worst.off,
        smallest_detectable=worst.detectable,
        coverage={"parameters": 1.0},
        evaluations=problem.evaluations,
        seed=seed,
        dtype="float64",
        data={
            "steps": worst.steps,
            "remainders": worst.first,
            "first_order": worst.zeroth,
            "slope": worst.slope,
            "floor": worst.floor,
        },
        seconds=time.perf_counter() - start,
    )


@dataclass(frozen=True, slots=True)
class _TensorCheck:
    """One tensor's worst direction."""

    name: str
    r: float
    null: float  # the part of r that rounding and truncation explain
    difference: float
    flat: bool
    zero: bool


def _check_tensor(
    problem: SmoothProblem, tensor: str, directions: int, noise: float, tolerance: float, generator: torch.Generator
) -> _TensorCheck:
    """Compare derivatives along the gradient itself, which shows a wrong scale best, and along random directions."""
    gradient = problem.gradient[tensor]
    norm, count, size = float(gradient.norm()), gradient.numel(), problem.size([tensor])
    zero = norm * size <= ZERO * abs(problem.value)
    whole = problem.norm / math.sqrt(problem.count)
    typical = (0.0 if zero else norm / math.sqrt(count)) or whole or abs(problem.value) or 1.0
    chosen = [unit_direction({tensor: gradient})] if not zero else []
    chosen += [random_direction(problem, [tensor], generator) for _ in range(directions - len(chosen))]
    found = []
    for direction in chosen:
        numeric = numeric_derivative(problem.line(direction), size, noise=noise, wanted=0.01 * tolerance * typical)
        difference = abs(numeric.value - problem.slope(direction))
        found.append(
            _TensorCheck(tensor, difference / typical, numeric.error / typical, difference, numeric.flat, zero)
        )
    wrong = [item for item in found if _is_wrong(item, tolerance)]
    # a kink close by may spoil one direction; another one decides
    resolved = [item for item in found if item.null <= tolerance]
    return max(wrong or resolved or found, key=lambda item: item.r)


def _is_wrong(item: _TensorCheck, tolerance: float) -> bool:
    return item.r > max(tolerance, 10.0 * item.null)


def _locate(problem: SmoothProblem, worst: _TensorCheck, noise: float, generator: torch.Generator) -> Where:
    """The coordinate with the largest error, by halving: along random signs each half shows its share."""
    tensor = worst.name
    shape, size = problem.point[tensor].shape, problem.size([tensor])
    wanted = 1e-2 * worst.difference / math.sqrt(problem.point[tensor].numel())
    places = torch.arange(problem.point[tensor].numel())

    def derivative(direction: dict[str, Tensor]) -> float:
        return numeric_derivative(problem.line(direction), size, noise=noise, wanted=wanted).value

    def error(part: Tensor) -> float:
        largest = 0.0
        for _ in range(2):
            signs = torch.zeros(problem.point[tensor].numel(), dtype=torch.float64)
            signs[part] = torch.randint(0, 2, (len(part),), generator=generator).double() * 2.0 - 1.0
            direction = {tensor: signs.view(shape) / math.sqrt(len(part))}
            largest = max(largest, abs(derivative(direction) - problem.slope(direction)) * math.sqrt(len(part)))
        return largest

    while len(places) > 1:
        first, second = places[: len(places) // 2], places[len(places) // 2 :]
        places = first if error(first) >= error(second) else second
    flat = int(places[0])
    index = tuple(int(i) for i in torch.unravel_index(torch.tensor(flat), shape)) if shape else ()
    single = torch.zeros(problem.point[tensor].numel(), dtype=torch.float64)
    single[flat] = 1.0
    direction = {tensor: single.view(shape)}
    wanted = 0.0  # the figure that is reported is as good as it can be
    return Where(tensor=tensor, index=index, claimed=derivative(direction), computed=problem.slope(direction))


def check_parameter_gradients(
    loss_of_parameters: ParameterLoss,
    parameters: Mapping[str, Tensor],
    *,
    gradient: Mapping[str, Tensor | None] | None = None,
    directions: int = 3,
    tolerance: float = 1e-8,
    seed: int = 0,
    name: str = "finite_difference",
    claim: str = "backward is the derivative of the loss, tensor by tensor",
) -> GradientVerificationResult:
    """Compare backward with eight-point differences, tensor by tensor: ``r = |D - g.d| / (|g| / sqrt(N))``.

    Every tensor is tested along its own gradient and along random directions.  A tensor counts as resolved if the
    estimated error of the numeric derivative is below the tolerance along one direction at least.

    Args:
        loss_of_parameters: mapping of named tensors to a scalar loss, differentiable by autograd.
        parameters: the point; taken to float64.
        gradient: the gradient under test by name (``None``: zero); that of the loss itself by autograd if not given.
        directions: per tensor, 1 .. 100.
        tolerance: largest r, 1e-13 .. 0.1.
        seed: of the directions.
        name: of the check.
        claim: what is tested, in words.

    Returns:
        PASS; FAIL with tensor and coordinate; VACUOUS for a zero gradient or where rounding hides an error of the
        tolerance (a float32 step inside, for example); ILL_POSED where the loss is constant at small steps while the
        gradient is not zero (a hard threshold).

    Raises:
        ShapeError: the loss is not a scalar.
        RangeError: an argument out of range.

    Example:
        >>> p = {"w": torch.tensor([0.3, -0.7])}
        >>> check_parameter_gradients(lambda q: 1e-6 * torch.sin(q["w"]).prod(), p).status
        'PASS'
    """
    check_integer("directions", directions, 1, 100)
    check_real("tolerance", tolerance, 1e-13, 0.1)
    start = time.perf_counter()
    problem = SmoothProblem(loss_of_parameters, parameters, gradient)
    nothing = _nothing(name, claim, problem, seed, start)
    if nothing is not None:
        return nothing
    generator = torch.Generator().manual_seed(derive_seed(seed, "finite_difference"))
    everything = random_direction(problem, list(problem.point), generator)
    noise = estimate_noise(problem.line(everything), problem.size(list(problem.point)))
    checks = [
        _check_tensor(problem, tensor, directions, noise, tolerance, generator)
        for tensor in problem.point
        if problem.point[tensor].numel()
    ]

    wrong = [item for item in checks if _is_wrong(item, tolerance)]
    flat = [item for item in wrong if item.flat and not item.zero]
    unresolved = [item for item in checks if item.null > tolerance and item not in wrong]
    exercised = [item for item in checks if not item.zero and item not in unresolved and item not in flat]
    worst = max(wrong or checks, key=lambda item: item.r)
    resolved = [item.null for item in checks if item not in unresolved]
    where = Where(tensor=worst.name)
    status: Status = "PASS"
    detail = f"{len(checks)} tensors, {directions} directions each, worst {worst.name}"
    if flat:
        status = "ILL_POSED"
        detail = (
            f"the loss is constant for small steps of {flat[0].name} while its gradient is not zero: a hard "
            "threshold has no finite differences; use the tangent replay"
        )
    elif wrong:
        status = "FAIL"
        where = _locate(problem, worst, noise, generator)
        detail = f"{worst.name} is off by {worst.r:.3g} of its typical derivative"
    elif problem.is_zero:
        status, detail = "VACUOUS", "the gradient is zero, and so is the numeric derivative"
    elif unresolved:
        status = "VACUOUS"
        detail = (
            f"rounding of the loss ({noise:.2g}) hides errors below {unresolved[0].null:.2g} in {unresolved[0].name}: "
            "is something computed in float32?"
        )
    return GradientVerificationResult(
        name=name,
        claim=claim,
        status=status,
        detail=f"{detail}; numeric derivatives in float64",
        statistic=worst.r,
        tolerance=tolerance,
        tolerance_reason="far above the error of an eight-point difference in float64, far below 1e-6",
        null_error=max(resolved, default=None),
        smallest_detectable=max([tolerance, *(10.0 * item.null for item in checks)]),
        where=where,
        maximum_error=max(item.difference for item in checks),
        mean_error=sum(item.difference for item in checks) / len(checks),
        coverage={"parameters": sum(problem.point[item.name].numel() for item in exercised) / problem.count},
        evaluations=problem.evaluations,
        seed=seed,
        dtype="float64",
        data={"tensors": [{"name": item.name, "r": item.r, "null": item.null} for item in checks], "noise": noise},
        seconds=time.perf_counter() - start,
    )


def check_finite_difference(
    model: nn.Module,
    inputs: Any,
    targets: Any,
    loss_fn: Callable[[Any, Any], Tensor],
    *,
    directions: int = 3,
    tolerance: float = 1e-8,
    seed: int = 0,
) -> GradientVerificationResult:
    """Finite differences of a smooth model's loss against its backward pass.

    The model is not touched: everything runs on deep copies in float64, whatever the dtype of the model, since in
    float32 a finite difference resolves hardly better than 1e-3.  What is proved is therefore the code of the
    backward pass, not its rounding in float32.

    Args:
        model: smooth in its parameters; for hard thresholds use the tangent replay.
        inputs: of the model; a tuple is several arguments.
        targets: handed to ``loss_fn``.
        loss_fn: ``(output, targets)`` to a scalar.
        directions: per tensor, 1 .. 100.
        tolerance: largest r, 1e-13 .. 0.1.
        seed: of the directions, and of random draws inside the model.

    Returns:
        As :func:`check_parameter_gradients`.

    Raises:
        ShapeError: the loss is not a scalar.
        RangeError: an argument out of range, or a model that cannot be copied.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
        >>> x, y = torch.ones(2, 3), torch.zeros(2, 1)
        >>> check_finite_difference(model, x, y, nn.functional.mse_loss).status
        'PASS'
    """
    loss, parameters = loss_of_model(model, inputs, targets, loss_fn, seed=seed)
    return check_parameter_gradients(loss, parameters, directions=directions, tolerance=tolerance, seed=seed)
