"""The estimator regression: seeded bias and variance of every estimator over several stream lengths.

Two quantities are measured, because they behave differently.

*Stream readout* (``readout``, the acceptance fields).  A stream's decoded product is a mean over its L cycles,
``D = 1/L sum_t d(x_t, w_t)``, and cycle t's product depends on cycle t's two bits only.  So the gradient of ``E[D]``
with respect to the first stream's value is estimated cycle by cycle (each cycle's product is credited with its own
bits) and averaged over the L cycles of one stream.  The cycles are independent: the variance is the single-cycle
variance divided by L, for every estimator, and falls from the shortest length to the longest.  In closed form the
score function's is ``(E[(d s)^2] - (dE[D]/dv)^2) / L``, ``s`` the single-bit score.

*Whole-stream loss* (``stream_loss``, reported beside it).  The squared error of the decoded product,
``E[(D - y)^2]``, is no mean over cycles: every bit is credited with the whole loss.  The score is then a sum of L
terms against a loss that does not shrink, and without a baseline the variance does *not* fall: it approaches
``L (E[D] - y)^4 / (p (1 - p)) * (dp/dv)^2``.  Differences of losses (leave-one-out, ARM, DisARM) make it constant
in L, relaxed slopes make it fall like ``1/L`` at the price of a bias.  The bias is measured against the exact gradient:
by enumeration while 2 L is at most 16 bits, by the closed form (equal to it to rounding) beyond.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from bitprop._checks import check_integer, check_real
from bitprop.artifacts import evidence
from bitprop.errors import RangeError
from bitprop.seeds import derive_seed
from bitprop.training.sc_estimators._estimator import ESTIMATORS, AbstractEstimator, make_estimator
from bitprop.training.sc_estimators.enumeration import MAX_BITS, exact_gradient
from bitprop.training.sc_estimators.stream_loss import StreamProductLoss

__all__ = ["SCHEMA", "estimator_regression"]

SCHEMA = "bitprop.estimator_regression/1"
_REQUIRED = ("pathwise_relaxation", "straight_through", "score_function")
_MAX_LENGTH = 1 << 14
_CHUNK = 1 << 21  # numbers drawn at a time
_MAX_STANDARD_ERRORS = 6.0


def _checked_lengths(lengths: Sequence[int]) -> list[int]:
    checked = [check_integer(f"lengths[{i}]", length, 1, _MAX_LENGTH) for i, length in enumerate(lengths)]
    if len(checked) < 2 or any(a >= b for a, b in pairwise(checked)):
        raise RangeError(f"expected at least two lengths in strictly increasing order, got {list(lengths)!r}")
    return checked


def _checked_names(estimators: Sequence[str] | None) -> tuple[str, ...]:
    names = ESTIMATORS.names() if estimators is None else tuple(estimators)
    missing = [name for name in _REQUIRED if name not in names]
    unknown = [name for name in names if name not in ESTIMATORS]
    if missing or unknown or len(set(names)) != len(names):
        raise RangeError(
            f"expected distinct estimators among {', '.join(ESTIMATORS.names())}, with {', '.join(_REQUIRED)} "
            f"included, got {list(names)!r}"
        )
    return names


def _sample_rows(draw: Callable[[int], Tensor], samples: int, cost: int) -> Tensor:
    """``draw`` called in pieces, so that at most ``_CHUNK`` numbers are drawn at once."""
    step = max(1, _CHUNK // cost)
    return torch.cat([draw(min(step, samples - start)) for start in range(0, samples, step)])


def _rounded(value: float) -> float:
    """Twelve significant digits: the last bits depend on the processor's vector width and the thread count."""
    return float(f"{value:.12g}")


def _moments(rows: Tensor, exact: Tensor, *, unbiased: bool) -> dict[str, Any]:
    """Mean, unbiased variance and distance from the exact gradient of estimates ``[samples]``."""
    values: list[float] = rows.tolist()
    count = len(values)
    # identical rows: a variance of exactly zero; fsum: the same sum in whatever order
    centre = values[0] + math.fsum(value - values[0] for value in values) / count
    mean, truth = _rounded(centre), _rounded(float(exact))
    variance = _rounded(math.fsum((value - centre) ** 2 for value in values) / (count - 1))
    error = _rounded(math.sqrt(variance / count))
    bias = _rounded(mean - truth)
    return {
        "mean": mean,
        "exact_gradient": truth,
        "bias": bias,
        "relative_bias": _rounded(bias / abs(truth)) if truth != 0.0 else None,
        "standard_error": error,
        "standard_errors_from_exact": _rounded(bias / error) if error > 0.0 else None,
        "variance": variance,
        "claimed_unbiased": unbiased,
    }


def _readout(
    estimator: AbstractEstimator, loss: StreamProductLoss, values: tuple[Tensor, Tensor], samples: int, seed: int
) -> dict[str, Any]:
    cycle = StreamProductLoss(1, loss.encoding, 0.0, loss.negative)
    generator = torch.Generator().manual_seed(seed)
    logits = cycle.logits(*values)

    def draw(count: int) -> Tensor:
        rows = estimator.estimate(cycle.product, logits, samples=count * loss.length, generator=generator)
        return cycle.stream_gradient(rows, *values)[..., 0].view(count, loss.length).mean(dim=-1)

    rows = _sample_rows(draw, samples, 2 * loss.length * estimator.evaluations)
    # a cycle's product is of degree one in each bit, and E[D] = first * second
    return _moments(rows, values[1], unbiased=estimator.unbiased_if_multilinear)


def _stream_loss(
    estimator: AbstractEstimator, loss: StreamProductLoss, values: tuple[Tensor, Tensor], samples: int, seed: int
) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    logits = loss.logits(*values)

    def draw(count: int) -> Tensor:
        rows = estimator.estimate(loss, logits, samples=count, generator=generator)
        return loss.stream_gradient(rows, *values)[..., 0]

    rows = _sample_rows(draw, samples, loss.bits * estimator.evaluations)
    if loss.bits <= MAX_BITS:
        exact, source = loss.stream_gradient(exact_gradient(loss, logits), *values)[0], "enumeration"
    else:
        first = values[0].clone().requires_grad_(True)
        (exact,) = torch.autograd.grad(loss.expected(first, values[1]), first)
        source = "closed_form"
    return {**_moments(rows, exact, unbiased=estimator.unbiased), "exact_gradient_source": source}


def _agrees(entry: dict[str, Any]) -> bool:
    """Whether a claim of no bias survives: within six standard errors, or to rounding where nothing is random."""
    if not entry["claimed_unbiased"]:
        return True
    errors = entry["standard_errors_from_exact"]
    if errors is None:
        return bool(abs(entry["bias"]) <= 1e-10 * max(1.0, abs(entry["exact_gradient"])))
    return bool(abs(errors) <= _MAX_STANDARD_ERRORS)


def estimator_regression(
    lengths: Sequence[int],
    seed: int,
    samples: int = 2000,
    *,
    encoding: str = "bipolar",
    first: float = 0.6,
    second: float = 0.7,
    target: float = -0.25,
    estimators: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Measure every estimator at every length; the estimator-regression manifest, as plain JSON values.

    Args:
        lengths: stream lengths, strictly increasing, at least two, each 1 .. 16384.
        seed: 0 .. 2**63 - 1; every (estimator, length, quantity) draws from its own derived stream, so adding one
            changes no other number.
        samples: streams per estimator and length, 100 .. 2**20.
        encoding: of both streams.
        first: value of the stream whose gradient is taken; its probability lies strictly between 0 and 1.
        second: value of the other stream, likewise.
        target: y of the squared error.
        estimators: names to measure, the seed three among them; ``None`` measures all that are registered.

    Returns:
        ``status`` (``pass`` or ``fail``), ``acceptance`` (one boolean each: variances finite and nonnegative;
        pathwise variance zero in both quantities; longest score-function readout variance below the shortest;
        every estimator that claims no bias within six standard errors of the exact gradient), and for each estimator
        what it declares and its moments at each length.

    Raises:
        RangeError: an argument out of range.

    Example:
        >>> manifest = estimator_regression((4, 16), seed=0, samples=200)
        >>> manifest["status"], manifest["estimators"]["pathwise_relaxation"]["readout"]["16"]["variance"]
        ('pass', 0.0)
    """
    steps = _checked_lengths(lengths)
    names = _checked_names(estimators)
    check_integer("seed", seed, 0, 2**63 - 1)
    count = check_integer("samples", samples, 100, 1 << 20)
    check_real("first", first, -1.0, 1.0)
    check_real("second", second, -1.0, 1.0)
    values = (torch.tensor(first, dtype=torch.float64), torch.tensor(second, dtype=torch.float64))
    negative = encoding == "sign_magnitude" and first * second < 0.0
    table: dict[str, Any] = {}
    for name in names:
        estimator = make_estimator(name)
        entry: dict[str, Any] = {**estimator.to_dict(), "readout": {}, "stream_loss": {}}
        for length in steps:
            loss = StreamProductLoss(length, encoding, target, negative)
            for quantity, measure in (("readout", _readout), ("stream_loss", _stream_loss)):
                stream = derive_seed(seed, "estimator_regression", name, length, quantity)
                entry[quantity][str(length)] = measure(estimator, loss, values, count, stream)
        table[name] = entry
    cells = [cell for e in table.values() for q in ("readout", "stream_loss") for cell in e[q].values()]
    pathwise = table["pathwise_relaxation"]
    score = table["score_function"]["readout"]
    acceptance = {
        "all_variances_finite_nonnegative": all(
            math.isfinite(cell["variance"]) and cell["variance"] >= 0.0 for cell in cells
        ),
        "pathwise_variance_zero": all(
            cell["variance"] == 0.0 for q in ("readout", "stream_loss") for cell in pathwise[q].values()
        ),
        "score_function_longest_below_shortest": score[str(steps[-1])]["variance"] < score[str(steps[0])]["variance"],
        "unbiased_claims_within_six_standard_errors": all(_agrees(cell) for cell in cells),
    }
    return {
        **evidence(),
        "schema": SCHEMA,
        "status": "pass" if all(acceptance.values()) else "fail",
        "acceptance": acceptance,
        "bitstream_lengths": steps,
        "seed": seed,
        "samples": count,
        "problem": {
            "encoding": encoding,
            "first": float(first),
            "second": float(second),
            "target": float(target),
            "bits": "ideal independent Bernoulli",
            "readout": "d/d first E[D], D the decoded product of one stream; each cycle credited with its own bits, "
            "averaged over the stream's cycles",
            "stream_loss": "d/d first E[(D - target)^2], every bit credited with the whole stream's loss",
        },
        "interpretation": "regression signal for estimator stability on one problem; not a certification of "
        "convergence for any network or data set",
        "estimators": table,
    }
