"""Statements about snnTorch's surrogates: derivative, spike, dtype, and that nothing overflows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from bitprop.verification.peers import _snntorch_measures as m
from bitprop.verification.peers._probes import Probe, worst_pair

__all__ = ["surrogate_probes"]

_POINTS = (-9.1, -2.9, -1.9, -0.83, -0.47, -0.21, -0.07, 0.07, 0.21, 0.47, 0.83, 1.9, 2.9, 9.1)
_SPEED = (m.slope_of, worst_pair)


def straight_through(x: Tensor) -> Tensor:
    """dS/dU = 1."""
    return torch.ones_like(x)


def triangular(x: Tensor, threshold: float = 1.0) -> Tensor:
    """dS/dU = U_thr below the threshold, -U_thr from it on."""
    return torch.where(x < 0, threshold, -threshold).to(x)


def fast_sigmoid(x: Tensor, slope: float = 25.0) -> Tensor:
    """dS/dU = 1 / (1 + k |U|)^2."""
    return 1 / (1 + slope * x.abs()) ** 2


def atan(x: Tensor, alpha: float = 2.0) -> Tensor:
    """dS/dU = 1 / pi / (1 + (pi U alpha / 2)^2)."""
    return 1 / math.pi / (1 + (math.pi * x * alpha / 2) ** 2)


def atan_primal_slope(x: Tensor, alpha: float = 2.0) -> Tensor:
    """The slope of S = arctan(pi U alpha / 2) / pi."""
    return alpha / 2 / (1 + (math.pi * x * alpha / 2) ** 2)


def heaviside(x: Tensor) -> Tensor:
    """dS/dU = S."""
    return (x >= 0).to(x)


def sigmoid(x: Tensor, slope: float = 25.0) -> Tensor:
    """dS/dU = k exp(-kU) / (exp(-kU) + 1)^2."""
    return slope * torch.sigmoid(slope * x) * torch.sigmoid(-slope * x)


def spike_rate_escape(x: Tensor, beta: float = 1.0, slope: float = 25.0) -> Tensor:
    """dS/dU = k exp(-beta |U - 1|)."""
    return slope * torch.exp(-beta * (x - 1).abs())


def leaky_spike_operator(x: Tensor, slope: float = 0.1) -> Tensor:
    """dS/dU = 1 from the threshold on, k below."""
    return torch.where(x >= 0, 1.0, slope).to(x)


def sparse_fast_sigmoid(x: Tensor, slope: float = 25.0, B: float = 1.0) -> Tensor:
    """dS/dU = 1 / (1 + k |U|)^2 if U > B, else 0."""
    return torch.where(x > B, 1 / (1 + slope * x.abs()) ** 2, 0.0)


def _stochastic_above(x: Tensor, mean: float = 0.0, variance: float = 0.2) -> Tensor:
    """dS/dU = 1 from the threshold on; below, uniform noise of that variance factor, here none."""
    return torch.where(x >= 0, 1.0, mean * variance).to(x)


_SURROGATES: tuple[tuple[str, str, Callable[..., Tensor], tuple[dict[str, Any], ...]], ...] = (
    ("straight_through_estimator", "StraightThroughEstimator", straight_through, ({},)),
    ("triangular", "Triangular", triangular, ({}, {"threshold": 0.5})),
    ("fast_sigmoid", "FastSigmoid", fast_sigmoid, ({}, {"slope": 10.0})),
    ("atan", "ATan", atan, ({}, {"alpha": 1.0})),
    ("heaviside", "Heaviside", heaviside, ({},)),
    ("sigmoid", "Sigmoid", sigmoid, ({}, {"slope": 3.0})),
    ("spike_rate_escape", "SpikeRateEscape", spike_rate_escape, ({}, {"beta": 2.0, "slope": 5.0})),
    ("SSO", "StochasticSpikeOperator", _stochastic_above, ({"mean": 0.0, "variance": 0.0},)),
    ("LSO", "LeakySpikeOperator", leaky_spike_operator, ({}, {"slope": 0.3})),
    ("SFS", "SparseFastSigmoid", sparse_fast_sigmoid, ({}, {"slope": 5.0, "B": 0.5})),
)
_FOUND = {
    "atan": "the factor pi alpha / 2 of the chain rule is missing in the documented derivative; backward is the "
    "slope of "
    "the documented primal",
    "sigmoid": "exp(-kU) overflows: inf / inf is NaN, in float32 from kU = -89 on, that is U = -3.6 at the "
    "default k = 25",
    "LSO": "LSO() calls StochasticSpikeOperator with one argument too few and raises TypeError; "
    "LeakySpikeOperator itself "
    "returns one gradient for two inputs",
}


def surrogate_probes() -> Iterator[Probe]:
    for name, title, formula, sets in _SURROGATES:
        subject, says = f"surrogate.{name}", str(formula.__doc__).rstrip(".")
        for parameters in sets:
            yield Probe(
                f"snntorch.{title}.derivative",
                subject,
                "documentation" if name == "atan" else "gradient",
                says,
                _FOUND.get(name, "backward computes something else"),
                m.derivative_of,
                (name, parameters, formula, _POINTS),
                _SPEED,
            )
        first = sets[0]
        if name == "atan":
            yield Probe(
                f"snntorch.{title}.primal",
                subject,
                "gradient",
                "backward is the slope of S = arctan(pi U alpha / 2) / pi",
                "it is not",
                m.derivative_of,
                (name, first, atan_primal_slope, _POINTS),
                _SPEED,
            )
        if name == "LSO":
            continue  # cannot be called
        yield Probe(
            f"snntorch.{title}.upstream",
            subject,
            "gradient",
            "the gradient is multiplied by dS/dU",
            "it is not",
            m.upstream_of,
            (name, first, _POINTS),
            _SPEED,
        )
        yield Probe(
            "snntorch.surrogate.threshold",
            subject,
            "documentation",
            "S = 1 if U >= U_thr",
            "the spike functions test U > U_thr: a potential equal to the threshold does not fire",
            m.spike_at_threshold,
            (name, first),
        )
        for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            yield Probe(
                f"snntorch.{title}.finite",
                subject,
                "gradient",
                f"{says}, which is finite everywhere",
                _FOUND.get(name, "it is not"),
                m.not_finite_of,
                (name, first, dtype),
                _SPEED,
            )
            if dtype is not torch.float32:
                yield Probe(
                    "snntorch.surrogate.dtype",
                    subject,
                    "dtype",
                    "a spike tensor in the place of the membrane potential, to be passed to the next layer",
                    "forward ends in .float(): spikes are float32 in a network of any other dtype, whose next "
                    "layer refuses "
                    "them",
                    m.bits_of,
                    (name, first, dtype),
                )
    yield Probe(
        "snntorch.CustomSurrogate.derivative",
        "surrogate.custom_surrogate",
        "gradient",
        "backward is the user's function of input_, grad_input and spikes",
        "it is not",
        m.custom_surrogate,
        (_POINTS,),
        (worst_pair,),
    )
