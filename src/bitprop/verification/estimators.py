"""Bias and variance of gradient estimators: a statistical test with a stated false-alarm budget.

The question: is the mean of independent gradient estimates ``g^1 .. g^n`` (``[n, N]``) the exact gradient ``mu``?
Hotelling's statistic answers for all N coordinates and their correlations at once::

    T^2 = n (mean - mu)' S^-1 (mean - mu),    (n - r) / (r (n - 1)) T^2 ~ F(r, n - r)    if the claim holds

with the sample covariance S and its rank r.  One rejection, p <= alpha = 1e-3, is retested once on fresh draws;
only a second one is a FAIL, so a true claim fails with probability ``alpha^2 = 1e-6`` (exactly for normal
estimates, approximately for the bounded ones here: the mean of thousands is nearly normal).

What it cannot show: a bias smaller than the noise resolves.  Every result therefore carries the smallest bias it
would have found, and a test that would have missed a gross error is VACUOUS, not a PASS.

Reference: Hotelling, *The generalization of Student's ratio*, Annals of Mathematical Statistics 2(3), 1931.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import torch
from scipy import special
from torch import Tensor

from bitprop._checks import check_choice, check_integer, check_real
from bitprop.errors import RangeError, ShapeError
from bitprop.seeds import derive_seed
from bitprop.training.sc_estimators import (
    ESTIMATORS,
    AbstractEstimator,
    Loss,
    exact_expectation,
    exact_gradient,
    make_estimator,
)

__all__ = [
    "ALPHA",
    "EstimatorProfile",
    "HotellingResult",
    "UnbiasednessResult",
    "check_unbiased",
    "hotelling",
    "profile_estimators",
    "unbiasedness",
]

ALPHA = 1e-3
"""A p-value at or below this is retested; twice is a failure."""

_POWER = 0.95  # per test: a bias this likely to be rejected counts as detectable
_RESOLUTION = 0.5  # a test that would miss a 50% scale error tests nothing
_MIN_RARE = 25.0  # expected draws of a bit's rarer value, below which means are not near normal
_ZERO = 1e-13  # of the loss: below it a gradient is rounding
_MAX_SAMPLES = 1 << 22

Status = Literal["PASS", "FAIL", "VACUOUS"]


@dataclass(frozen=True, slots=True)
class HotellingResult:
    """One Hotelling test.

    Attributes:
        t_squared: the statistic over the directions that vary, 0 if none does.
        p_value: probability of a larger one under the claim; 0 if a direction without variance is off.
        rank: r, directions that vary.
        samples: n.
        mean: of the estimates, ``[N]``.
        standard_errors: of that mean, ``[N]``.
        fixed_off: a direction without any variance differs from the exact gradient by more than rounding.
        detectable_bias: Euclidean length of the smallest bias found with 95% probability whatever its direction;
            ``None`` if nothing varies (then any is).
        detectable_scale: smallest relative scale error of the gradient found with 95% probability; ``None`` if the
            gradient is zero or nothing varies.
    """

    t_squared: float
    p_value: float
    rank: int
    samples: int
    mean: Tensor
    standard_errors: Tensor
    fixed_off: bool
    detectable_bias: float | None
    detectable_scale: float | None


def hotelling(rows: Tensor, exact: Tensor, *, alpha: float = ALPHA, unit: float = 0.0) -> HotellingResult:
    """Test whether independent ``rows`` ``[n, N]`` have the mean ``exact`` ``[N]``.

    Coordinates and combinations of coordinates that do not vary at all are compared to rounding (1e-10 in float64,
    1e-5 in float32, relative to the largest coordinate or to ``unit * 1e-3``) and leave the statistic.

    Args:
        rows: independent, identically distributed estimates, finite; n > N + 1.
        exact: the claimed mean.
        alpha: level at which the detectable bias is stated, 1e-12 .. 0.5.
        unit: size of the loss, so that a gradient of nothing but rounding counts as zero; 0 if unknown.

    Raises:
        ShapeError: the shapes do not fit, or there are too few rows.
        RangeError: not finite, or alpha out of range.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> rows = torch.randn(1000, 2, generator=generator, dtype=torch.float64)
        >>> hotelling(rows, torch.zeros(2)).p_value > 1e-3, hotelling(rows + 0.5, torch.zeros(2)).p_value < 1e-12
        (True, True)
    """
    check_real("alpha", alpha, 1e-12, 0.5)
    if rows.ndim != 2 or exact.shape != rows.shape[1:] or rows.shape[1] == 0:
        raise ShapeError(f"expected rows [n, N] and exact [N], got {list(rows.shape)} and {list(exact.shape)}")
    n, width = rows.shape
    if n <= width + 1:
        raise ShapeError(f"expected more than {width + 1} rows for {width} coordinates, got {n}; draw more")
    if not bool(torch.isfinite(rows).all() and torch.isfinite(exact).all()):
        raise RangeError("expected finite estimates and gradient, got NaN or infinity")
    rounding = 1e-10 if rows.dtype == torch.float64 else 1e-5
    x, mu = rows.detach().double(), exact.detach().double()
    mean = x[0] + (x - x[0]).mean(dim=0)  # identical rows: exactly their value
    deviations = x - mean
    spread = deviations.square().sum(dim=0).div(n - 1).sqrt()
    size = max(float(torch.maximum(mean.abs(), mu.abs()).max()), 1e-3 * unit)
    moving = spread > rounding * 1e-2 * max(size, torch.finfo(torch.float64).tiny)
    off = mean - mu
    fixed_off = bool((off[~moving].abs() > rounding * size).any())
    errors = torch.where(moving, spread, 0.0) / math.sqrt(n)
    if not bool(moving.any()):
        return HotellingResult(0.0, 0.0 if fixed_off else 1.0, 0, n, mean, errors, fixed_off, None, None)
    scaled = deviations[:, moving] / spread[moving]
    values, vectors = torch.linalg.eigh(scaled.T @ scaled / (n - 1))
    varying = values > 1e-12 * width
    projection = (off[moving] / spread[moving]) @ vectors
    fixed_off = fixed_off or bool((projection[~varying].abs() > 1e-5).any())
    rank = int(varying.sum())
    t_squared = n * float((projection[varying] ** 2 / values[varying]).sum())
    statistic = (n - rank) / (rank * (n - 1)) * t_squared
    p_value = 0.0 if fixed_off else float(special.fdtrc(rank, n - rank, statistic))
    # noncentrality that the test rejects with the wanted probability
    critical = special.fdtri(rank, n - rank, 1.0 - alpha)
    noncentral = float(special.ncfdtrinc(rank, n - rank, 1.0 - _POWER, critical))
    covariance = deviations[:, moving].T @ deviations[:, moving] / (n - 1)
    widest = float(torch.linalg.eigvalsh(covariance)[-1])
    along = (mu[moving] / spread[moving]) @ vectors
    information = n * float((along[varying] ** 2 / values[varying]).sum())
    return HotellingResult(
        t_squared=t_squared,
        p_value=p_value,
        rank=rank,
        samples=n,
        mean=mean,
        standard_errors=errors,
        fixed_off=fixed_off,
        detectable_bias=math.sqrt(noncentral * widest / n),
        detectable_scale=math.sqrt(noncentral / information) if information > 0.0 else None,
    )


@dataclass(frozen=True, slots=True)
class UnbiasednessResult:
    """The verdict on one claim of unbiasedness.

    Attributes:
        name: of the estimator.
        claim: the gradient its mean was compared with.
        status: ``PASS``; ``FAIL``; ``VACUOUS``: nothing was tested (zero gradient, or too noisy to see a 50% scale
            error, or a bit too rare for the normal approximation).
        statistic: Hotelling's T^2 of the deciding test.
        p_value: of the deciding test.
        first_p_value: of the first test, where it was retested; else ``None``.
        alpha: level of each test.
        false_alarm_probability: chance that a true claim ends as FAIL: ``alpha^2``.
        samples: rows of each test.
        rank: directions that varied.
        bias: mean less exact gradient.
        exact: the exact gradient.
        standard_errors: of the mean.
        relative_bias: ``|bias| / |exact|``, ``None`` for a zero gradient.
        smallest_detectable_bias: relative to ``|exact|``, in the noisiest direction, with 95% probability a test;
            ``None`` where nothing varied or the gradient is zero.
        smallest_detectable_scale_error: relative, along the gradient, likewise.
        worst_index: coordinate with the largest bias in standard errors (in size, where nothing varied).
        evaluations: loss evaluations spent.
        seed: the seed given.
        dtype: of the estimates.
        detail: one sentence.
        seconds: wall time; not compared.
    """

    name: str
    claim: str
    status: Status
    statistic: float
    p_value: float
    first_p_value: float | None
    alpha: float
    false_alarm_probability: float
    samples: int
    rank: int
    bias: tuple[float, ...]
    exact: tuple[float, ...]
    standard_errors: tuple[float, ...]
    relative_bias: float | None
    smallest_detectable_bias: float | None
    smallest_detectable_scale_error: float | None
    worst_index: int
    evaluations: int
    seed: int
    dtype: str
    detail: str
    seconds: float = field(default=0.0, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain fields, tuples as lists."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def _verdict(test: HotellingResult, exact: Tensor, alpha: float, unit: float, retested: bool) -> tuple[Status, str]:
    if test.p_value <= alpha:
        if test.fixed_off:
            return "FAIL", "a direction in which the estimates never vary differs from the exact gradient"
        return "FAIL", f"two tests on fresh draws rejected the claim, the second with p = {test.p_value:.2e}"
    if float(exact.norm()) <= _ZERO * unit:
        return "VACUOUS", "the exact gradient is zero: neither sign nor scale can be tested; choose other logits"
    if test.rank == 0:
        return "PASS", "deterministic, equal to the exact gradient to rounding"
    scale = test.detectable_scale
    if scale is None or scale > _RESOLUTION:
        found = "no scale error" if scale is None else f"only scale errors from {scale:.0%}"
        return "VACUOUS", f"the noise lets {found} be seen; draw more samples"
    again = " on the retest" if retested else ""
    return "PASS", f"no bias found{again}; a scale error of {scale:.1%} would have been, with 95% probability"


def unbiasedness(
    draw: Callable[[int, torch.Generator], Tensor],
    exact: Tensor,
    *,
    samples: int,
    seed: int,
    name: str,
    claim: str = "d/dlogits E[f(z)]",
    alpha: float = ALPHA,
    evaluations: int = 1,
    unit: float = 0.0,
) -> UnbiasednessResult:
    """Test that independent rows from ``draw`` have the mean ``exact``; retest once before calling it a failure.

    Args:
        draw: ``(samples, generator)`` to estimates ``[samples, N]`` with independent rows.
        exact: ``[N]``.
        samples: rows of each test, at least ``50 + 10 N``, at most 2**22.
        seed: 0 .. 2**63 - 1; the two tests draw from two streams derived from it.
        name: of the estimator.
        claim: what the mean is claimed to be.
        alpha: level of each test, 1e-12 .. 0.5.
        evaluations: loss evaluations of one row.
        unit: size of the loss, below 1e-13 of which a gradient counts as zero; 0 if unknown.

    Raises:
        RangeError: an argument out of range, or too few samples.
        ShapeError: ``draw`` did not return ``[samples, N]``.
    """
    check_integer("seed", seed, 0, 2**63 - 1)
    check_real("alpha", alpha, 1e-12, 0.5)
    if exact.ndim != 1 or exact.numel() == 0:
        raise ShapeError(f"expected the exact gradient as a vector [N], got {list(exact.shape)}")
    count = check_integer("samples", samples, 50 + 10 * exact.numel(), _MAX_SAMPLES)
    mu = exact.detach().double()
    start = time.perf_counter()
    p_values: list[float] = []
    while True:
        generator = torch.Generator().manual_seed(derive_seed(seed, "unbiasedness", name, len(p_values)))
        rows = draw(count, generator)
        if rows.shape != (count, exact.numel()):
            raise ShapeError(f"expected {count} x {exact.numel()} estimates from {name}, got {list(rows.shape)}")
        if not bool(torch.isfinite(rows).all()):
            bad = int((~torch.isfinite(rows)).any(dim=0).nonzero()[0, 0])
            test = HotellingResult(0.0, 0.0, 0, count, torch.zeros_like(mu), torch.zeros_like(mu), True, None, None)
            status: Status = "FAIL"
            detail = f"the estimates of coordinate {bad} are not finite"
            worst = bad
            p_values.append(0.0)
            break
        test = hotelling(rows, mu, alpha=alpha, unit=unit)
        p_values.append(test.p_value)
        if test.p_value <= alpha and len(p_values) == 1:
            continue
        status, detail = _verdict(test, mu, alpha, unit, len(p_values) == 2)
        off = (test.mean - mu).abs()
        worst = int(torch.argmax(off / test.standard_errors if bool((test.standard_errors > 0).all()) else off))
        break
    size = float(mu.norm())
    norm = size if size > _ZERO * unit else 0.0
    bias = test.mean - mu
    detectable = test.detectable_bias
    return UnbiasednessResult(
        name=name,
        claim=claim,
        status=status,
        statistic=test.t_squared,
        p_value=p_values[-1],
        first_p_value=p_values[0] if len(p_values) == 2 else None,
        alpha=alpha,
        false_alarm_probability=alpha**2,
        samples=count,
        rank=test.rank,
        bias=tuple(bias.tolist()),
        exact=tuple(mu.tolist()),
        standard_errors=tuple(test.standard_errors.tolist()),
        relative_bias=float(bias.norm()) / norm if norm > 0.0 else None,
        smallest_detectable_bias=detectable / norm if detectable is not None and norm > 0.0 else None,
        smallest_detectable_scale_error=test.detectable_scale,
        worst_index=worst,
        evaluations=count * evaluations * len(p_values),
        seed=seed,
        dtype=str(rows.dtype).removeprefix("torch."),
        detail=detail,
        seconds=time.perf_counter() - start,
    )


def _loss_size(loss: Loss, logits: Tensor) -> float:
    with torch.no_grad():
        return float(exact_expectation(lambda z: loss(z).abs(), logits))


def check_unbiased(
    estimator: AbstractEstimator,
    loss: Loss,
    logits: Tensor,
    *,
    samples: int = 20_000,
    seed: int = 0,
    against: str = "expectation",
    alpha: float = ALPHA,
) -> UnbiasednessResult:
    """Test an estimator's mean on one problem against the enumerated gradient.

    Args:
        estimator: what to test.
        loss: patterns ``[..., N]`` to values ``[...]``.
        logits: log-odds ``[N]``, N at most 16.
        samples: rows of each test, at least ``50 + 10 N``.
        seed: 0 .. 2**63 - 1.
        against: ``expectation``: the gradient of ``E[f(z)]``, whatever the estimator claims; ``declared``: its own
            target, which a biased estimator must meet too.
        alpha: level of each test.

    Returns:
        The verdict.  VACUOUS also if some bit takes its rarer value fewer than 25 times in expectation.

    Raises:
        RangeError: an argument out of range, more than 16 bits, or a target without an exact value.
        ShapeError: logits or the loss's values have the wrong shape.
    """
    check_choice("against", against, ("expectation", "declared"))
    declared = against == "declared"
    exact = estimator.target_gradient(loss, logits) if declared else exact_gradient(loss, logits)
    claim = estimator.target if declared else "d/dlogits E[f(z)]"
    result = unbiasedness(
        lambda count, generator: estimator.estimate(loss, logits, samples=count, generator=generator),
        exact,
        samples=samples,
        seed=seed,
        name=estimator.name,
        claim=claim,
        alpha=alpha,
        evaluations=estimator.evaluations,
        unit=_loss_size(loss, logits),
    )
    rare = samples * torch.sigmoid(-logits.detach().double().abs())
    if float(rare.min()) < _MIN_RARE and result.rank > 0:
        detail = (
            f"bit {int(rare.argmin())} takes its rarer value about {float(rare.min()):.1f} times in {samples} samples, "
            f"too few for a normal mean (the test itself said {result.status}); draw more"
        )
        values = {item.name: getattr(result, item.name) for item in fields(result)}
        return UnbiasednessResult(**{**values, "status": "VACUOUS", "detail": detail})
    return result


@dataclass(frozen=True, slots=True)
class EstimatorProfile:
    """Bias and variance of one estimator on one problem.

    Attributes:
        name: of the estimator.
        unbiased: what it claims.
        samples: rows drawn.
        relative_bias: ``|mean - exact| / |exact|`` as sampled.
        relative_standard_error: the noise of that, ``sqrt(total_variance / samples) / |exact|``.
        target_bias: ``|target - exact| / |exact|`` without noise, ``None`` where the target has no exact value.
        total_variance: sum over coordinates of the variance of one row.
        variance_times_evaluations: the same for the price of one loss evaluation: what a budget buys.
    """

    name: str
    unbiased: bool
    samples: int
    relative_bias: float
    relative_standard_error: float
    target_bias: float | None
    total_variance: float
    variance_times_evaluations: float

    def to_dict(self) -> dict[str, Any]:
        """Plain fields."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


def profile_estimators(
    loss: Loss,
    logits: Tensor,
    *,
    samples: int = 20_000,
    seed: int = 0,
    estimators: Sequence[AbstractEstimator] | None = None,
) -> tuple[EstimatorProfile, ...]:
    """Bias and variance of several estimators (all registered ones by default) on one enumerable problem.

    Raises:
        RangeError: an argument out of range, more than 16 bits, or a zero gradient (nothing to be relative to).
        ShapeError: logits or the loss's values have the wrong shape.
    """
    check_integer("seed", seed, 0, 2**63 - 1)
    count = check_integer("samples", samples, 2, _MAX_SAMPLES)
    exact = exact_gradient(loss, logits)
    norm = float(exact.norm())
    if norm <= _ZERO * _loss_size(loss, logits):
        raise RangeError("expected a problem with a non-zero gradient, got zero; choose other logits or another loss")
    chosen = [make_estimator(name) for name in ESTIMATORS] if estimators is None else estimators
    profiles = []
    for estimator in chosen:
        generator = torch.Generator().manual_seed(derive_seed(seed, "profile", estimator.name))
        rows = estimator.estimate(loss, logits, samples=count, generator=generator).double()
        centred = rows - rows[0]
        total = float(centred.var(dim=0).sum())
        try:
            target_bias = float((estimator.target_gradient(loss, logits) - exact).norm()) / norm
        except RangeError:
            target_bias = None  # for example: no quadrature in six dimensions
        profiles.append(
            EstimatorProfile(
                name=estimator.name,
                unbiased=estimator.unbiased,
                samples=count,
                relative_bias=float((rows[0] + centred.mean(dim=0) - exact).norm()) / norm,
                relative_standard_error=math.sqrt(total / count) / norm,
                target_bias=target_bias,
                total_variance=total,
                variance_times_evaluations=total * estimator.evaluations,
            )
        )
    return tuple(profiles)
