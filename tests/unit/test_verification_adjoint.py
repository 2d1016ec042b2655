"""Hand-derived recursion against autograd: every neuron, reset, delay; planted errors are found."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bitprop.errors import ShapeError
from bitprop.nn.neuron import (
    LIF,
    AdaptiveLIF,
    LIFState,
    RecurrentAdaptiveLIF,
    RecurrentLIF,
    RecurrentSynaptic,
    Synaptic,
)
from bitprop.surrogate import SURROGATES, Atan
from bitprop.verification.adjoint import check_adjoint

FACTORIES = {
    "lif": lambda **k: LIF(beta=0.85, **k),
    "synaptic": lambda **k: Synaptic(alpha=0.7, beta=0.85, **k),
    "adaptive": lambda **k: AdaptiveLIF(beta=0.85, rho=0.9, kappa=0.3, **k),
    "recurrent_lif": lambda **k: RecurrentLIF(4, beta=0.85, **k),
    "recurrent_synaptic": lambda **k: RecurrentSynaptic(4, **k),
    "recurrent_adaptive": lambda **k: RecurrentAdaptiveLIF(4, **k),
}


def current(seed: int = 0) -> Tensor:
    return torch.rand(15, 3, 4, generator=torch.Generator().manual_seed(seed)) * 1.5


@pytest.mark.parametrize("name", FACTORIES)
@pytest.mark.parametrize("reset", ["soft", "hard", "none"])
def test_every_neuron_and_reset(name: str, reset: str) -> None:
    for attached, delay in itertools.product((True, False), (0, 1)):
        more: dict[str, Any] = {"v_reset": 0.2} if reset == "hard" else {}
        neuron = FACTORIES[name](reset=reset, reset_attached=attached, reset_delay=delay, surrogate="atan", **more)
        result = check_adjoint(neuron, current())
        assert result.status == "PASS", result.to_text()
        assert result.statistic is not None
        assert result.statistic < 1e-12


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_every_surrogate(surrogate: str) -> None:
    assert check_adjoint(LIF(beta=0.9, surrogate=surrogate), current()).status == "PASS"


def test_learnable_constants_and_vectors() -> None:
    neuron = Synaptic(
        alpha=torch.tensor([0.5, 0.6, 0.7, 0.8]), beta=0.9, learn_alpha=True, learn_beta=True, learn_threshold=True
    )
    assert check_adjoint(neuron, current()).status == "PASS"


class _Scaled(Atan):
    def __call__(self, x: Tensor) -> Tensor:
        return Atan(2.002)(x)


class _Negative(Atan):
    def __call__(self, x: Tensor) -> Tensor:
        return -Atan(2.0)(x) + 2 * Atan(2.0)(x).detach()


class _LeakWithoutGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, v: Tensor, beta: Tensor) -> Tensor:
        return beta * v

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def plant(neuron: LIF, bug: str) -> LIF:
    if bug == "scale":
        neuron.surrogate = _Scaled(2.0)
    elif bug == "sign":
        neuron.surrogate = _Negative(2.0)
    elif bug == "leak":

        def step(x: Tensor, state: LIFState) -> tuple[Tensor, LIFState]:
            u = _LeakWithoutGradient.apply(neuron.carried(state.v, state.s), neuron.beta()) + x
            s, v = neuron.fired(u)
            return s, LIFState(v, s)

        neuron.step = step  # type: ignore[method-assign]
    else:
        assert bug == "detached"
        right = neuron.after_spike
        neuron.after_spike = lambda u, s: right(u, s.detach())  # type: ignore[method-assign]
    return neuron


@pytest.mark.parametrize("bug", ["scale", "sign", "leak", "detached"])
@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_planted_errors_are_found(bug: str, reset: str) -> None:
    neuron = plant(LIF(beta=0.85, surrogate=Atan(2.0), reset=reset), bug)
    result = check_adjoint(neuron, current())
    assert result.status == "FAIL", result.to_text()
    assert result.where.tensor is not None
    assert result.where.claimed != result.where.computed


def test_silence_is_vacuous() -> None:
    assert check_adjoint(LIF(), torch.zeros(5, 2, 3)).status == "VACUOUS"


def test_other_modules_are_refused() -> None:
    with pytest.raises((ShapeError, AttributeError)):
        check_adjoint(nn.Linear(2, 2), torch.zeros(3, 1, 2))  # type: ignore[arg-type]
