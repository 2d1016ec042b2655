"""The leaky integrate-and-fire neuron."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from bitprop.nn.neuron._neuron import AbstractSpikingNeuron, Constant, zeros

__all__ = ["LIF", "LIFState"]


class LIFState(NamedTuple):
    """Membrane potential after the step, and its spikes."""

    v: Tensor
    s: Tensor


class LIF(AbstractSpikingNeuron[LIFState]):
    """Leaky integrate-and-fire: ``u_t = beta v_{t-1} + x_t``, spike where ``u_t >= theta``, then the reset.

    With ``reset_delay = 1`` the reset of the last spikes is applied to ``v_{t-1}`` first, and ``v_t = u_t``.

    Args:
        beta: decay of the membrane potential, 0 .. 1; a number, or one for each feature.
        learn_beta: whether it is trained.
        options: of :class:`AbstractSpikingNeuron`.

    Reference: Gerstner, Kistler, Naud and Paninski, *Neuronal Dynamics*, 2014, section 1.3; discretised as by
    Eshraghian et al., Proceedings of the IEEE 111(9), 2023.

    Example:
        >>> import torch
        >>> spikes, state = LIF(beta=0.5)(torch.full((4, 1, 1), 0.8))
        >>> spikes.flatten().tolist(), round(float(state.v.detach()), 3)
        ([0.0, 1.0, 0.0, 1.0], 0.25)
    """

    def __init__(self, beta: float | Tensor = 0.9, *, learn_beta: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.beta = Constant("beta", beta, learnable=learn_beta, kind="decay")

    def initial_state(self, x: Tensor) -> LIFState:
        """At rest."""
        return LIFState(*zeros(x, 2))

    def step(self, x: Tensor, state: LIFState) -> tuple[Tensor, LIFState]:
        """One time step."""
        u = self.beta() * self.carried(state.v, state.s) + x
        s, v = self.fired(u)
        return s, LIFState(v, s)
