"""What a spiking layer did: rates, silent and saturated neurons, intervals, synaptic operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from bitprop._checks import check_integer
from bitprop.errors import ShapeError

__all__ = ["SpikeStatistics", "spike_statistics", "synaptic_operations"]


@dataclass(frozen=True, slots=True)
class SpikeStatistics:
    """Figures of one layer.

    Attributes:
        rate: spikes per neuron and step, 0 .. 1.
        silent: share of neurons that never fire.
        saturated: share of neurons that fire at every step of every sample.
        mean_interval: mean steps between consecutive spikes of a neuron, or ``None`` without two spikes.
        interval_variation: standard deviation of those intervals over their mean, or ``None``.
        spikes: mean spikes of the layer for one sample.
    """

    rate: float
    silent: float
    saturated: float
    mean_interval: float | None
    interval_variation: float | None
    spikes: float

    def to_dict(self) -> dict[str, Any]:
        """Plain fields."""
        return asdict(self)


def spike_statistics(spikes: Tensor) -> SpikeStatistics:
    """Figures of spikes ``[T, B, ...]`` of zeros and ones.

    Raises:
        ShapeError: fewer than three axes, or values other than 0 and 1.

    Example:
        >>> import torch
        >>> s = torch.tensor([1.0, 0.0, 1.0, 1.0]).reshape(4, 1, 1)
        >>> spike_statistics(s).rate, spike_statistics(s).mean_interval
        (0.75, 1.5)
    """
    if spikes.dim() < 3 or spikes.numel() == 0:
        raise ShapeError(f"expected spikes [T, B, ...], got {list(spikes.shape)}")
    fired = spikes.detach().flatten(2)
    if not bool(((fired == 0) | (fired == 1)).all()):
        raise ShapeError("expected zeros and ones, got other values; graded spikes have no intervals")
    active = fired != 0
    # time last, so that consecutive places of one neuron follow each other
    samples, neurons, times = active.permute(1, 2, 0).nonzero(as_tuple=True)
    same = (samples[1:] == samples[:-1]) & (neurons[1:] == neurons[:-1])
    gaps = (times[1:] - times[:-1])[same].double()
    mean = float(gaps.mean()) if gaps.numel() else None
    return SpikeStatistics(
        rate=float(active.double().mean()),
        silent=float((~active.any(0).any(0)).double().mean()),
        saturated=float(active.all(0).all(0).double().mean()),
        mean_interval=mean,
        interval_variation=float(gaps.std(correction=0)) / mean if mean is not None else None,
        spikes=float(active.double().sum()) / active.shape[1],
    )


def synaptic_operations(spikes: Sequence[Tensor], fan_out: Sequence[int]) -> float:
    """``sum over layers of spikes x fan-out`` for one sample: additions that an event-driven machine carries out.

    Args:
        spikes: of each spiking layer, ``[T, B, ...]``.
        fan_out: synapses of each neuron of that layer.

    Raises:
        ShapeError: not as many fan-outs as layers.
        RangeError: a negative fan-out.

    Example:
        >>> import torch
        >>> synaptic_operations([torch.ones(4, 2, 3)], [10])
        120.0
    """
    if len(spikes) != len(fan_out):
        raise ShapeError(f"expected one fan-out a layer, got {len(spikes)} layers and {len(fan_out)} fan-outs")
    total = 0.0
    for layer, fan in zip(spikes, fan_out, strict=True):
        check_integer("fan_out", fan, 0, 1 << 40)
        total += float(layer.detach().double().sum()) / layer.shape[1] * fan
    return total
