"""Escape noise: stochastic spiking networks whose expected loss, and its gradient, are exact by enumeration.

A neuron with membrane potential u spikes with probability ``F(u - theta)``, F the cumulative function of its threshold
noise.  With all spikes of all neurons and steps as one pattern b of at most 16 bits::

    E[loss] = sum_b P(b) loss(b),      P(b) = prod_k F(x_k)^b_k (1 - F(x_k))^(1 - b_k),      x = u - theta

is a smooth function of the weights.  Three gradients meet here: the exact one; the score function
``(loss - c) d log P(b)``, which is unbiased; and the surrogate gradient, which puts ``F'`` in the place of the step's
derivative.  For a single spike, and a loss linear in it, the surrogate *is* the derivative, to rounding.  In a network
it is not: the difference is the surrogate's bias, a property and not a bug, and it differs with the reset attached or
detached.

What it cannot show: anything about networks with more than 16 spikes to enumerate, or that less bias trains better.

Reference: Gygax and Zenke, *Elucidating the theoretical underpinnings of surrogate gradient learning in spiking neural
networks*, Neural Computation 37(5), 2025; Gerstner et al., *Neuronal dynamics*, Cambridge, 2014, chapter 9.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from bitprop._checks import check_integer, check_real
from bitprop.errors import RangeError
from bitprop.surrogate import AbstractSurrogate
from bitprop.verification.escape_noise_network import NOISES, EscapeNetwork, Noise, escape_noise_of
from bitprop.verification.estimators import unbiasedness
from bitprop.verification.result import GradientVerificationResult, Status, Where
from bitprop.verification.stochastic import unbiasedness_to_result
from bitprop.verification.surrogate_audit import spike_backward
from bitprop.verification.taylor import check_parameter_gradients

__all__ = [
    "NOISES",
    "EscapeNetwork",
    "Noise",
    "SurrogateBias",
    "check_enumeration",
    "check_enumeration_gradient",
    "check_escape_neuron",
    "check_score_function",
    "surrogate_bias",
]


def check_escape_neuron(
    surrogate: AbstractSurrogate,
    *,
    spike_fn: Callable[[Tensor], Tensor] | None = None,
    points: int = 401,
    tolerance: float = 1e-12,
) -> GradientVerificationResult:
    """A single neuron with escape noise: the surrogate is the derivative of its expected loss, exactly.

    With one spike of probability F(x), ``d E[loss] / dx = (loss(1) - loss(0)) F'(x)``.  F' is the density of the
    noise that the surrogate names, written independently of it; so is F, and the primal over its area must equal it.

    Args:
        surrogate: with a declared escape noise.
        spike_fn: whose backward pass is tested; the surrogate's own if ``None``.
        points: of x, over ten widths of the noise to either side, 11 .. 100001.
        tolerance: largest difference, relative to the peak.

    Returns:
        PASS or FAIL; ILL_POSED for a surrogate that belongs to no noise.

    Raises:
        RangeError: an argument out of range.

    Example:
        >>> from bitprop.surrogate import make_surrogate
        >>> check_escape_neuron(make_surrogate("erf")).status
        'PASS'
    """
    check_integer("points", points, 11, 100_001)
    check_real("tolerance", tolerance, 1e-15, 1.0)
    start = time.perf_counter()
    claim = (
        f"{surrogate.name} (scale {surrogate.scale:g}): the derivative of a neuron with {surrogate.escape_noise} noise"
    )
    if surrogate.escape_noise is None:
        return GradientVerificationResult(
            "escape_neuron", claim, "ILL_POSED", "the surrogate belongs to no noise: there is no expectation"
        )
    noise, f0 = escape_noise_of(surrogate)
    # an irrational span: no point falls on the edge of a uniform or triangular density
    x = torch.linspace(-1.0, 1.0, points | 1, dtype=torch.float64) * (math.pi**2 / f0)
    loss = (0.7, -0.4)  # of no spike and of one
    upstream = torch.full_like(x, loss[1] - loss[0])
    spikes, computed = spike_backward(surrogate if spike_fn is None else spike_fn, x, upstream)
    computed = computed / surrogate.area
    claimed = torch.tensor([(loss[1] - loss[0]) * noise.density(v, f0) for v in x.tolist()], dtype=torch.float64)
    cumulative = torch.tensor([noise.cumulative(v, f0) for v in x.tolist()], dtype=torch.float64)
    off = (surrogate.cdf(x) - cumulative).abs()
    error = (computed - claimed).abs() / (abs(loss[1] - loss[0]) * f0)
    error = torch.where(torch.isfinite(error), error, math.inf)
    worst = int(error.argmax())
    statistic = max(float(error[worst]), float(off.max()))
    status: Status = "PASS" if statistic <= tolerance else "FAIL"
    detail = f"equal at {len(x)} points; the primal over its area is the noise's cumulative function"
    if not float(error[worst]) <= tolerance:
        detail = f"at x = {float(x[worst]):.6g} the surrogate gives {float(computed[worst]):.12g}"
        detail += f", the expected loss has slope {float(claimed[worst]):.12g}"
    elif status == "FAIL":
        detail = f"the primal over its area is off by {float(off.max()):.3g} from the noise's cumulative function"
    return GradientVerificationResult(
        name="escape_neuron",
        claim=claim,
        status=status,
        detail=detail,
        statistic=statistic,
        tolerance=tolerance,
        tolerance_reason="a few roundings in float64, relative to the peak",
        null_error=torch.finfo(torch.float64).eps,
        smallest_detectable=tolerance,
        where=Where("input", (worst,), claimed=float(claimed[worst]), computed=float(computed[worst])),
        maximum_error=float((computed - claimed).abs().max()),
        relative_error=float((computed - claimed).norm() / claimed.norm()),
        coverage={"spikes": float(spikes.mean())},
        evaluations=1,
        dtype="float64",
        seconds=time.perf_counter() - start,
    )


def _flat(parts: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([part.flatten() for part in parts.values()])


def check_enumeration(
    network: EscapeNetwork,
    weights: Mapping[str, Tensor],
    *,
    expected_loss: Callable[[Mapping[str, Tensor]], Tensor] | None = None,
    tolerance: float = 1e-12,
) -> GradientVerificationResult:
    """Compare the enumerated expected loss with an independent recursion over conditional probabilities.

    Args:
        network: what to enumerate.
        weights: by name, ``[out, in]``.
        expected_loss: what is tested; the network's own enumeration if ``None``.
        tolerance: largest relative difference.

    Example:
        >>> from bitprop.surrogate import make_surrogate
        >>> network = EscapeNetwork(make_surrogate("sigmoid"), (1, 1, 1), ((1.0,), (0.5,), (1.0,)))
        >>> check_enumeration(network, network.weights()).status
        'PASS'
    """
    start = time.perf_counter()
    tested = network.expected_loss if expected_loss is None else expected_loss
    value = float(tested({name: w.detach().double() for name, w in weights.items()}))
    truth = network.recursion(weights)
    statistic = abs(value - truth) / max(abs(truth), 1e-300)
    return GradientVerificationResult(
        name="enumeration",
        claim="the enumerated expected loss is the expectation",
        status="PASS" if statistic <= tolerance else "FAIL",
        detail=f"{value:.15g} by enumeration of {1 << network.bits} patterns, {truth:.15g} by recursion",
        statistic=statistic,
        tolerance=tolerance,
        tolerance_reason="a sum of up to 65536 terms in float64",
        null_error=torch.finfo(torch.float64).eps,
        smallest_detectable=tolerance,
        maximum_error=abs(value - truth),
        evaluations=1 << network.bits,
        dtype="float64",
        seconds=time.perf_counter() - start,
    )


def check_enumeration_gradient(
    network: EscapeNetwork,
    weights: Mapping[str, Tensor],
    *,
    gradient: Mapping[str, Tensor] | None = None,
    tolerance: float = 1e-8,
    seed: int = 0,
) -> GradientVerificationResult:
    """Compare the gradient of the enumerated loss with finite differences of the independent recursion.

    Args:
        network: of few spikes; every evaluation walks the whole tree.
        weights: by name, ``[out, in]``.
        gradient: what is tested; :meth:`EscapeNetwork.exact_gradient` if ``None``.
        tolerance: largest r.
        seed: of the directions.
    """
    return check_parameter_gradients(
        lambda moved: torch.tensor(network.recursion(moved), dtype=torch.float64),
        weights,
        gradient=network.exact_gradient(weights) if gradient is None else gradient,
        directions=2,
        tolerance=tolerance,
        seed=seed,
        name="enumeration_gradient",
        claim="the gradient of the enumerated loss is that of the expectation",
    )


def check_score_function(
    network: EscapeNetwork,
    weights: Mapping[str, Tensor],
    *,
    rows: Callable[[int, torch.Generator], Tensor] | None = None,
    samples: int = 20_000,
    seed: int = 0,
    name: str = "score function",
) -> GradientVerificationResult:
    """Test that a sampled estimator has the exact gradient as its mean (Hotelling, retested once).

    Args:
        network: what to enumerate.
        weights: by name, ``[out, in]``.
        rows: ``(samples, generator)`` to estimates ``[samples, weights]``; the score function with the expected loss
            as its baseline if ``None``.
        samples: rows of each test.
        seed: 0 .. 2**63 - 1.
        name: of the estimator.

    Raises:
        RangeError: an argument out of range, or too few samples.
    """
    with torch.no_grad():
        unit = float(network.expected_loss(weights))
    draw = rows if rows is not None else lambda n, generator: network.score_rows(weights, n, generator, unit)
    exact = _flat(network.exact_gradient(weights))
    found = unbiasedness(draw, exact, samples=samples, seed=seed, name=name, claim="d/dw E[loss]", unit=unit)
    return unbiasedness_to_result(found, name="escape_unbiasedness", tensor="weights")


@dataclass(frozen=True, slots=True)
class SurrogateBias:
    """How far the expected surrogate gradient is from the exact one: a property of surrogate and network.

    Attributes:
        attached: ``|surrogate - exact| / |exact|`` with gradients through the reset.
        detached: the same without.
        attached_cosine: of the angle to the exact gradient.
        detached_cosine: likewise.
        exact_norm: length of the exact gradient.
        bits: spikes enumerated.
    """

    attached: float
    detached: float
    attached_cosine: float
    detached_cosine: float
    exact_norm: float
    bits: int

    def to_dict(self) -> dict[str, Any]:
        """Plain fields."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


def surrogate_bias(network: EscapeNetwork, weights: Mapping[str, Tensor]) -> SurrogateBias:
    """Measure the bias of the surrogate gradient, reset attached and detached, exactly.

    Raises:
        RangeError: the exact gradient is zero: there is nothing to be relative to.

    Example:
        >>> from bitprop.surrogate import make_surrogate
        >>> chain = EscapeNetwork(make_surrogate("sigmoid", 2.0), (1, 1, 1), ((1.0,),) * 3)
        >>> bias = surrogate_bias(chain, chain.weights())
        >>> round(bias.attached, 3), round(bias.detached, 3)
        (0.088, 0.569)
    """
    exact = _flat(network.exact_gradient(weights))
    norm = float(exact.norm())
    if norm <= 1e-13 * float(network.expected_loss(weights).detach()):
        raise RangeError("expected a network with a non-zero gradient, got zero; choose other weights or inputs")
    both = [_flat(network.surrogate_gradient(weights, detach_reset=detach)) for detach in (False, True)]
    biases = [float((g - exact).norm()) / norm for g in both]
    cosines = [float(g @ exact) / max(float(g.norm()) * norm, 1e-300) for g in both]
    return SurrogateBias(biases[0], biases[1], cosines[0], cosines[1], norm, network.bits)
