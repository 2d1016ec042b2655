"""Products of bit streams: closed forms against every pattern of bits, and counts against plain counting.

With two streams of L cycles, ideal independent bits and the decoded product Z::

    AND    E[(Z - y)^2] = (p1 p2 - y)^2 + p1 p2 (1 - p1 p2) / L
    XNOR   E[(Z - y)^2] = (x1 x2 - y)^2 + (1 - x1^2 x2^2) / L

A pathwise relaxation differentiates ``(E[Z] - y)^2`` and drops the 1/L term; the error of its gradient is reported.
Deterministic streams (LFSR, Sobol, Halton, counter) are piecewise constant in their values: nothing to differentiate,
so their counts are compared, exactly.

Reference: Gaines, *Stochastic computing systems*, 1969.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from bitprop._checks import check_integer
from bitprop.errors import RangeError
from bitprop.nn.bit_true import encode, mix_numbers
from bitprop.nn.native import stream_sum
from bitprop.nn.sources import layer_sources
from bitprop.training.sc_estimators import StreamProductLoss
from bitprop.verification.result import GradientVerificationResult, Status, Where
from bitprop.verification.stochastic_replay import plain_bits

__all__ = ["check_stream_closed_form", "check_stream_counts", "pathwise_gap"]

_MAX_PATTERN_BITS = 16


def _enumerated(loss: StreamProductLoss, first: float, second: float) -> tuple[float, float, float]:
    """``E[(Z - y)^2]`` and its derivatives in both values, over every pattern, in plain integers and probabilities."""
    length = loss.length
    bipolar = loss.encoding == "bipolar"
    p, q = ((v + 1.0) / 2.0 if bipolar else abs(v) for v in (first, second))
    slopes = [
        0.5 if bipolar else math.copysign(1.0, v) if loss.encoding == "sign_magnitude" else 1.0 for v in (first, second)
    ]
    value, by_first, by_second = 0.0, 0.0, 0.0
    for a in itertools.product((0, 1), repeat=length):
        ones_a = sum(a)
        chance_a = p**ones_a * (1.0 - p) ** (length - ones_a)
        score_a = ones_a / p - (length - ones_a) / (1.0 - p)
        for b in itertools.product((0, 1), repeat=length):
            ones_b = sum(b)
            chance = chance_a * q**ones_b * (1.0 - q) ** (length - ones_b)
            if bipolar:
                z = 2.0 * sum(i == j for i, j in zip(a, b, strict=True)) / length - 1.0
            else:
                z = (-1.0 if loss.negative else 1.0) * sum(i & j for i, j in zip(a, b, strict=True)) / length
            error = (z - loss.target) ** 2 * chance
            value += error
            by_first += error * score_a * slopes[0]
            by_second += error * (ones_b / q - (length - ones_b) / (1.0 - q)) * slopes[1]
    return value, by_first, by_second


def _gradient(function: Callable[[Tensor, Tensor], Tensor], first: float, second: float) -> tuple[float, Tensor]:
    values = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (first, second)]
    result = function(*values)
    return float(result.detach()), torch.stack(torch.autograd.grad(result, values))


def pathwise_gap(loss: StreamProductLoss, first: float, second: float) -> float:
    """Relative error of the relaxed gradient: ``|grad (E[Z] - y)^2 - grad E[(Z - y)^2]| / |grad E[(Z - y)^2]|``.

    Raises:
        RangeError: a value out of range.

    Example:
        >>> [round(pathwise_gap(StreamProductLoss(length, "unipolar", 0.5), 0.4, 0.5), 3) for length in (6, 60)]
        [0.2, 0.017]
    """
    _, exact = _gradient(loss.expected, first, second)
    _, relaxed = _gradient(loss.relaxed, first, second)
    return float((relaxed - exact).norm() / exact.norm())


def check_stream_closed_form(
    loss: StreamProductLoss, first: float, second: float, *, tolerance: float = 1e-12
) -> GradientVerificationResult:
    """Compare a closed form, its value and its gradient, with the sum over every pattern of bits.

    Args:
        loss: of two streams of at most 8 cycles.
        first: value of the first stream, strictly inside its range.
        second: of the second.
        tolerance: largest relative difference.

    Returns:
        PASS or FAIL; VACUOUS for a zero gradient.  ``data`` holds ``pathwise_gap``.

    Raises:
        RangeError: too many bits, or a value out of range.

    Example:
        >>> check_stream_closed_form(StreamProductLoss(3, "bipolar", 0.2), 0.4, -0.6).status
        'PASS'
    """
    start = time.perf_counter()
    check_integer("bits of a pattern", loss.bits, 2, _MAX_PATTERN_BITS)
    value, by_first, by_second = _enumerated(loss, first, second)
    closed, computed = _gradient(loss.expected, first, second)
    claimed = torch.tensor([by_first, by_second], dtype=torch.float64)
    size = max(float(claimed.abs().max()), 1e-300)
    error = (computed - claimed).abs()
    worst = int(error.argmax())
    statistic = max(abs(closed - value) / max(abs(value), 1e-300), float(error[worst]) / size)
    status: Status = "PASS" if statistic <= tolerance else "FAIL"
    gap = 0.0
    detail = f"value {closed:.9g} against {value:.9g} over {1 << loss.bits} patterns"
    if size < 1e-13 * abs(value):
        status, detail = "VACUOUS", "the gradient is zero: choose other values or another target"
    else:
        gap = pathwise_gap(loss, first, second)
        detail += f"; a relaxation without the 1/L term would err by {gap:.1%}"
    return GradientVerificationResult(
        name="stream_closed_form",
        claim=f"closed form of E[(Z - y)^2], {loss.encoding}, L = {loss.length}",
        status=status,
        detail=detail,
        statistic=statistic,
        tolerance=tolerance,
        tolerance_reason="a sum of up to 65536 terms in float64",
        null_error=torch.finfo(torch.float64).eps * math.sqrt(1 << loss.bits),
        smallest_detectable=tolerance,
        where=Where(("first", "second")[worst], claimed=float(claimed[worst]), computed=float(computed[worst])),
        maximum_error=float(error.max()),
        relative_error=float(error.norm() / claimed.norm()) if bool(claimed.any()) else None,
        evaluations=1 << loss.bits,
        dtype="float64",
        data={"pathwise_gap": gap, **loss.to_dict()},
        seconds=time.perf_counter() - start,
    )


CountFunction: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor, str, int], Tensor]


def _library_counts(x_raw: Tensor, w_raw: Tensor, r: Tensor, q: Tensor, encoding: str, precision_bits: int) -> Tensor:
    return stream_sum(encode(x_raw, encoding, precision_bits), encode(w_raw, encoding, precision_bits), r, q, encoding)


def check_stream_counts(
    generator: str,
    encoding: str,
    length: int,
    *,
    precision_bits: int = 6,
    correlation_raw: int = 0,
    counts: CountFunction | None = None,
) -> GradientVerificationResult:
    """Compare the counts of deterministic streams with plain counting, for every value against up to 129 weights.

    They are piecewise constant in the values, so there is no derivative to compare: the counts must be equal.

    Args:
        generator: number source: ``lfsr``, ``sobol``, ``halton`` or ``counter``.
        encoding: encoding name.
        length: L, cycles.
        precision_bits: n, 3 .. 10; all ``2**(n+1) + 1`` value integers are tried.
        correlation_raw: correlation times ``2**n``.
        counts: ``(x_raw [B, 1], w_raw [O, 1], R, Q, encoding, n)`` to counts ``[B, O]``; the library's if ``None``.

    Raises:
        RangeError: an argument out of range.

    Example:
        >>> check_stream_counts("sobol", "bipolar", 16).status
        'PASS'
    """
    start = time.perf_counter()
    n = check_integer("precision_bits", precision_bits, 3, 10)
    one = 1 << n
    sources = layer_sources(generator, length, n, 0, "independent")
    if not sources.activation.exportable:
        raise RangeError(
            f"expected a deterministic number source, got {generator!r}; use lfsr, sobol, halton or counter"
        )
    r, s, t = (source.sequence(length) for source in (sources.activation, sources.weight, sources.correlation))
    numbers = [torch.from_numpy(part) for part in (r, s, t)]
    q = mix_numbers(numbers[0], numbers[1], numbers[2], correlation_raw, n).numpy()
    x = np.arange(-one, one + 1)[:, None]
    w = np.unique(np.linspace(-one, one, 129).round().astype(np.int64))[:, None]
    bits = plain_bits(x, r, encoding, n)[:, :, 0]
    expected = (bits[:, None, :] * plain_bits(w, q, encoding, n)[None, :, :, 0]).sum(-1)
    counted = counts if counts is not None else _library_counts
    values = [torch.from_numpy(part) for part in (x, w, r, q)]
    got = counted(values[0], values[1], values[2], values[3], encoding, n).numpy()
    wrong = np.argwhere(got != expected)
    where = Where()
    status: Status = "PASS"
    detail = f"{expected.size} counts equal; as functions of the value they are steps and have no derivative"
    if len(wrong):
        status = "FAIL"
        b, o = (int(i) for i in wrong[0])
        where = Where("count", (b, o), claimed=float(expected[b, o]), computed=float(got[b, o]))
        detail = f"{len(wrong)} of {expected.size} counts differ, first for value {x[b, 0]} and weight {w[o, 0]}"
    elif len(np.unique(expected)) < 2:
        status, detail = "VACUOUS", "every count is the same"
    return GradientVerificationResult(
        name="stream_counts",
        claim=f"{generator} streams of {length} cycles, {encoding}: counts equal plain counting",
        status=status,
        detail=detail,
        statistic=float(len(wrong)),
        tolerance=0.0,
        tolerance_reason="integers",
        null_error=0.0,
        where=where,
        evaluations=int(expected.size),
        dtype="int64",
        seconds=time.perf_counter() - start,
    )
