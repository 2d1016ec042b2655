"""Losses of spiking networks: on counts, on potentials, on the time of the first spike, and on activity."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from bitprop._checks import check_real
from bitprop.errors import ShapeError

__all__ = [
    "count_mse",
    "first_spike_cross_entropy",
    "max_membrane_cross_entropy",
    "rate_cross_entropy",
    "rate_penalty",
    "sum_membrane_cross_entropy",
]


def _trace(trace: Tensor, targets: Tensor) -> Tensor:
    if trace.dim() != 3 or targets.shape != trace.shape[1:2] or targets.is_floating_point():
        raise ShapeError(
            f"expected [T, B, classes] and integer targets [B], got {list(trace.shape)} and {targets.dtype} "
            f"{list(targets.shape)}"
        )
    return trace


def rate_cross_entropy(spikes: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of spike counts: ``CE(sum_t s_t, y)``, spikes ``[T, B, classes]``, targets ``[B]``.

    Raises:
        ShapeError: other shapes.
    """
    return functional.cross_entropy(_trace(spikes, targets).sum(0), targets)


def max_membrane_cross_entropy(trace: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of the largest potential over time: ``CE(max_t v_t, y)``.

    Raises:
        ShapeError: other shapes.
    """
    return functional.cross_entropy(_trace(trace, targets).amax(0), targets)


def sum_membrane_cross_entropy(trace: Tensor, targets: Tensor) -> Tensor:
    """Mean over time of the cross-entropy at every step: ``(1/T) sum_t CE(v_t, y)``.

    Raises:
        ShapeError: other shapes.
    """
    steps = _trace(trace, targets).shape[0]
    return functional.cross_entropy(trace.flatten(0, 1), targets.repeat(steps))


def first_spike_cross_entropy(times: Tensor, targets: Tensor, *, tau: float = 1.0) -> Tensor:
    """Cross-entropy of negative spike times: ``CE(-t / tau, y)``, times ``[B, classes]``; the first to spike wins.

    Args:
        times: spike times, finite; give those that never come the time of the end.
        targets: ``[B]``.
        tau: temperature in units of time, above 0.

    Raises:
        ShapeError: other shapes.
        RangeError: tau out of range.
    """
    check_real("tau", tau, 1e-9, 1e9)
    if times.dim() != 2 or targets.shape != times.shape[:1]:
        raise ShapeError(f"expected times [B, classes] and targets [B], got {list(times.shape)}, {list(targets.shape)}")
    return functional.cross_entropy(-times / tau, targets)


def count_mse(spikes: Tensor, targets: Tensor, *, right: float = 0.8, wrong: float = 0.2) -> Tensor:
    """Squared error of firing rates: ``mean((mean_t s_t - r)^2)``, r = right for the target class, wrong elsewhere.

    Raises:
        ShapeError: other shapes.
        RangeError: a rate outside 0 .. 1.
    """
    check_real("right", right, 0.0, 1.0)
    check_real("wrong", wrong, 0.0, 1.0)
    rates = _trace(spikes, targets).mean(0)
    wanted = torch.full_like(rates, wrong).scatter(1, targets[:, None], right)
    return functional.mse_loss(rates, wanted)


def rate_penalty(spikes: Tensor, *, low: float = 0.0, high: float = 0.1) -> Tensor:
    """Activity outside a band of rates: ``mean(relu(low - r)^2 + relu(r - high)^2)``, r the mean over time and batch.

    Args:
        spikes: ``[T, B, ...]``.
        low: rate below which a neuron is too quiet.
        high: rate above which it is too loud.

    Raises:
        ShapeError: fewer than three axes.
        RangeError: a rate outside 0 .. 1.
    """
    check_real("low", low, 0.0, 1.0)
    check_real("high", high, 0.0, 1.0)
    if spikes.dim() < 3:
        raise ShapeError(f"expected spikes [T, B, ...], got {list(spikes.shape)}")
    rates = spikes.mean((0, 1))
    return (functional.relu(low - rates).square() + functional.relu(rates - high).square()).mean()
