"""Neurons that hear each other: the spikes of the last step, through a weight matrix, are part of the input."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from bitprop._checks import check_integer
from bitprop.errors import ShapeError
from bitprop.nn.neuron._neuron import AbstractNeuron
from bitprop.nn.neuron.adaptive_lif import AdaptiveLIF, AdaptiveLIFState
from bitprop.nn.neuron.lif import LIF, LIFState
from bitprop.nn.neuron.synaptic import Synaptic, SynapticState
from bitprop.seeds import derive_seed

__all__ = ["RecurrentAdaptiveLIF", "RecurrentLIF", "RecurrentSynaptic"]


class _Recurrence(nn.Module):
    """``s_{t-1} V^T``."""

    def __init__(self, features: int, seed: int) -> None:
        super().__init__()
        check_integer("features", features, 1, 1 << 20)
        generator = torch.Generator().manual_seed(derive_seed(seed, "recurrent"))
        bound = 1.0 / math.sqrt(features)
        self.weight = nn.Parameter((2.0 * torch.rand(features, features, generator=generator) - 1.0) * bound)

    def forward(self, s: Tensor) -> Tensor:
        """Input current from the last spikes, ``[B, features]``."""
        if s.shape[-1] != self.weight.shape[0]:
            raise ShapeError(f"expected {self.weight.shape[0]} features, got {list(s.shape)}")
        return s @ self.weight.t()


class RecurrentLIF(AbstractNeuron[LIFState]):
    """:class:`LIF` with ``x_t + V s_{t-1}`` in the place of x.

    Args:
        features: number of neurons; the input is ``[T, B, features]``.
        seed: of the initial V, uniform in +-1 / sqrt(features).
        options: of :class:`LIF`.

    Raises:
        RangeError: an argument out of range.

    Example:
        >>> spikes, state = RecurrentLIF(3)(torch.ones(4, 2, 3))
        >>> spikes.shape
        torch.Size([4, 2, 3])
    """

    def __init__(self, features: int, *, seed: int = 0, **options: Any) -> None:
        super().__init__()
        self.neuron = LIF(**options)
        self.recurrence = _Recurrence(features, seed)

    def initial_state(self, x: Tensor) -> LIFState:
        """At rest."""
        return self.neuron.initial_state(x)

    def step(self, x: Tensor, state: LIFState) -> tuple[Tensor, LIFState]:
        """One time step."""
        return self.neuron.step(x + self.recurrence(state.s), state)


class RecurrentSynaptic(AbstractNeuron[SynapticState]):
    """:class:`Synaptic` with ``x_t + V s_{t-1}`` in the place of x; arguments as of :class:`RecurrentLIF`."""

    def __init__(self, features: int, *, seed: int = 0, **options: Any) -> None:
        super().__init__()
        self.neuron = Synaptic(**options)
        self.recurrence = _Recurrence(features, seed)

    def initial_state(self, x: Tensor) -> SynapticState:
        """At rest."""
        return self.neuron.initial_state(x)

    def step(self, x: Tensor, state: SynapticState) -> tuple[Tensor, SynapticState]:
        """One time step."""
        return self.neuron.step(x + self.recurrence(state.s), state)


class RecurrentAdaptiveLIF(AbstractNeuron[AdaptiveLIFState]):
    """:class:`AdaptiveLIF` with ``x_t + V s_{t-1}`` in the place of x; arguments as of :class:`RecurrentLIF`."""

    def __init__(self, features: int, *, seed: int = 0, **options: Any) -> None:
        super().__init__()
        self.neuron = AdaptiveLIF(**options)
        self.recurrence = _Recurrence(features, seed)

    def initial_state(self, x: Tensor) -> AdaptiveLIFState:
        """At rest."""
        return self.neuron.initial_state(x)

    def step(self, x: Tensor, state: AdaptiveLIFState) -> tuple[Tensor, AdaptiveLIFState]:
        """One time step."""
        return self.neuron.step(x + self.recurrence(state.s), state)
