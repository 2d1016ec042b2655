"""The leaky integrate-and-fire neuron with an adaptive threshold."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from bitprop._checks import check_real
from bitprop.nn.neuron._neuron import AbstractSpikingNeuron, Constant, zeros

__all__ = ["AdaptiveLIF", "AdaptiveLIFState"]


class AdaptiveLIFState(NamedTuple):
    """Membrane potential after the step, adaptation, and spikes."""

    v: Tensor
    a: Tensor
    s: Tensor


class AdaptiveLIF(AbstractSpikingNeuron[AdaptiveLIFState]):
    """Adaptive threshold: ``a_t = rho a_{t-1} + s_{t-1}``, ``u_t = beta v_{t-1} + x_t``, spike where
    ``u_t >= theta + kappa a_t``.

    Gradients pass through the adaptation whether or not the reset is attached.  The soft reset subtracts theta, not the
    adapted threshold.

    Args:
        beta: decay of the membrane potential, 0 .. 1.
        rho: decay of the adaptation, 0 .. 1.
        kappa: strength of the adaptation, 0 .. 1e6.
        learn_beta: whether beta is trained.
        learn_rho: whether rho is trained.
        options: of :class:`AbstractSpikingNeuron`.

    Reference: Bellec et al., *Long short-term memory and learning-to-learn in networks of spiking neurons*, NeurIPS
    2018.

    Example:
        >>> import torch
        >>> spikes, _ = AdaptiveLIF(beta=0.5, rho=0.9, kappa=0.5)(torch.full((5, 1, 1), 1.2))
        >>> spikes.flatten().tolist()
        [1.0, 0.0, 1.0, 0.0, 1.0]
    """

    def __init__(
        self,
        beta: float | Tensor = 0.9,
        rho: float | Tensor = 0.97,
        kappa: float = 0.2,
        *,
        learn_beta: bool = False,
        learn_rho: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.beta = Constant("beta", beta, learnable=learn_beta, kind="decay")
        self.rho = Constant("rho", rho, learnable=learn_rho, kind="decay")
        self.kappa = check_real("kappa", kappa, 0.0, 1e6)

    def initial_state(self, x: Tensor) -> AdaptiveLIFState:
        """At rest."""
        return AdaptiveLIFState(*zeros(x, 3))

    def step(self, x: Tensor, state: AdaptiveLIFState) -> tuple[Tensor, AdaptiveLIFState]:
        """One time step."""
        a = self.rho() * state.a + state.s
        u = self.beta() * self.carried(state.v, state.s) + x
        s = self.fire(u - self.kappa * a)
        v = u if self.reset_delay else self.after_spike(u, s)
        return s, AdaptiveLIFState(v, a, s)
