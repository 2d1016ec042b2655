"""The current-based (second-order) neuron."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from bitprop.nn.neuron._neuron import AbstractSpikingNeuron, Constant, zeros

__all__ = ["Synaptic", "SynapticState"]


class SynapticState(NamedTuple):
    """Synaptic current, membrane potential after the step, and its spikes."""

    i: Tensor
    v: Tensor
    s: Tensor


class Synaptic(AbstractSpikingNeuron[SynapticState]):
    """Current-based leaky integrate-and-fire: ``i_t = alpha i_{t-1} + x_t``, ``u_t = beta v_{t-1} + i_t``.

    Args:
        alpha: decay of the synaptic current, 0 .. 1.
        beta: decay of the membrane potential, 0 .. 1.
        learn_alpha: whether alpha is trained.
        learn_beta: whether beta is trained.
        options: of :class:`AbstractSpikingNeuron`.

    Reference: Neftci, Mostafa and Zenke, IEEE Signal Processing Magazine 36(6), 2019, equations 4 and 5.

    Example:
        >>> import torch
        >>> spikes, _ = Synaptic(alpha=0.5, beta=0.5)(torch.full((4, 1, 1), 0.6))
        >>> spikes.flatten().tolist()
        [0.0, 1.0, 1.0, 1.0]
    """

    def __init__(
        self,
        alpha: float | Tensor = 0.8,
        beta: float | Tensor = 0.9,
        *,
        learn_alpha: bool = False,
        learn_beta: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.alpha = Constant("alpha", alpha, learnable=learn_alpha, kind="decay")
        self.beta = Constant("beta", beta, learnable=learn_beta, kind="decay")

    def initial_state(self, x: Tensor) -> SynapticState:
        """At rest."""
        return SynapticState(*zeros(x, 3))

    def step(self, x: Tensor, state: SynapticState) -> tuple[Tensor, SynapticState]:
        """One time step."""
        i = self.alpha() * state.i + x
        u = self.beta() * self.carried(state.v, state.s) + i
        s, v = self.fired(u)
        return s, SynapticState(i, v, s)
