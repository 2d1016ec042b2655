"""The leaky integrator: a readout without spikes."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from bitprop.nn.neuron._neuron import AbstractNeuron, Constant, zeros

__all__ = ["LeakyIntegrator", "LeakyIntegratorState"]


class LeakyIntegratorState(NamedTuple):
    """Membrane potential after the step."""

    v: Tensor


class LeakyIntegrator(AbstractNeuron[LeakyIntegratorState]):
    """``v_t = beta v_{t-1} + x_t``; the output is the potential itself.

    Args:
        beta: decay, 0 .. 1; 1 sums the input.
        learn_beta: whether it is trained.

    Example:
        >>> import torch
        >>> trace, _ = LeakyIntegrator(beta=0.5)(torch.ones(3, 1, 1))
        >>> trace.flatten().tolist()
        [1.0, 1.5, 1.75]
    """

    def __init__(self, beta: float | Tensor = 0.9, *, learn_beta: bool = False) -> None:
        super().__init__()
        self.beta = Constant("beta", beta, learnable=learn_beta, kind="decay")

    def initial_state(self, x: Tensor) -> LeakyIntegratorState:
        """At rest."""
        return LeakyIntegratorState(*zeros(x, 1))

    def step(self, x: Tensor, state: LeakyIntegratorState) -> tuple[Tensor, LeakyIntegratorState]:
        """One time step."""
        v = self.beta() * state.v + x
        return v, LeakyIntegratorState(v)
