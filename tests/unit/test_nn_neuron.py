"""Neurons: equations against a plain recurrence, one step against many, state, resets, constants, bad arguments."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from bitprop.errors import RangeError, RegistryError, ShapeError
from bitprop.nn.neuron import (
    LIF,
    AbstractNeuron,
    AdaptiveLIF,
    LeakyIntegrator,
    RecurrentAdaptiveLIF,
    RecurrentLIF,
    RecurrentSynaptic,
    Synaptic,
)
from bitprop.surrogate import make_surrogate

OPTIONS = [
    {"reset": reset, "reset_attached": attached, "reset_delay": delay}
    for reset, attached, delay in itertools.product(("soft", "hard", "none"), (True, False), (0, 1))
]


def neurons(features: int, **options: Any) -> list[AbstractNeuron[Any]]:
    return [
        LIF(beta=0.8, **options),
        Synaptic(alpha=0.7, beta=0.8, **options),
        AdaptiveLIF(beta=0.8, rho=0.9, kappa=0.3, **options),
        RecurrentLIF(features, beta=0.8, **options),
        RecurrentSynaptic(features, **options),
        RecurrentAdaptiveLIF(features, **options),
    ]


def current(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 1.5


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: f"{o['reset']}-{o['reset_attached']}-{o['reset_delay']}")
def test_many_steps_equal_single_steps_bit_for_bit(options: dict[str, Any]) -> None:
    x = current(12, 3, 5)
    for neuron in [*neurons(5, **options), LeakyIntegrator(0.7)]:
        outputs, final = neuron(x)
        state = neuron.initial_state(x[0])
        for t in range(len(x)):
            output, state = neuron.step(x[t], state)
            assert torch.equal(output, outputs[t])
        assert all(torch.equal(a, b) for a, b in zip(state, final, strict=True))
        head, middle = neuron(x[:5])
        tail, last = neuron(x[5:], middle)
        assert torch.equal(torch.cat([head, tail]), outputs)
        assert all(torch.equal(a, b) for a, b in zip(last, final, strict=True))


@pytest.mark.parametrize("reset", ["soft", "hard", "none"])
@pytest.mark.parametrize("delay", [0, 1])
def test_lif_follows_its_equation(reset: str, delay: int) -> None:
    x = current(30, 1, 1).double().flatten()
    neuron = LIF(beta=0.75, threshold=0.9, reset=reset, reset_delay=delay, v_reset=0.1 if reset == "hard" else 0.0)
    neuron = neuron.double()
    spikes, state = neuron(x.reshape(-1, 1, 1))
    v, s = 0.0, 0.0
    beta, theta = float(neuron.beta()), float(neuron.threshold())

    def after(u: float, fired: float) -> float:
        return {"soft": u - theta * fired, "hard": u * (1 - fired) + 0.1 * fired, "none": u}[reset]

    for t, x_t in enumerate(x.tolist()):
        u = beta * (after(v, s) if delay else v) + x_t
        s = float(u - theta >= 0)
        v = u if delay else after(u, s)
        assert float(spikes[t]) == s
    assert float(state.v) == pytest.approx(v, abs=1e-12)
    assert 0 < float(spikes.sum()) < 30


def test_delayed_reset_leaves_the_potential_above_the_threshold() -> None:
    x = torch.full((1, 1, 1), 1.5)
    assert float(LIF(reset_delay=1)(x)[1].v) == 1.5
    assert float(LIF(reset_delay=0)(x)[1].v) == 0.5


def test_adaptation_raises_the_threshold() -> None:
    x = torch.full((40, 1, 1), 0.6)
    plain = LIF(beta=0.9)(x)[0].sum()
    adapted = AdaptiveLIF(beta=0.9, rho=0.95, kappa=0.5)(x)[0].sum()
    assert 0 < adapted < plain
    assert torch.equal(AdaptiveLIF(beta=0.9, kappa=0.0)(x)[0], LIF(beta=0.9)(x)[0])


def test_synapse_without_decay_is_a_plain_neuron() -> None:
    x = current(20, 2, 3)
    assert torch.equal(Synaptic(alpha=0.0, beta=0.8)(x)[0], LIF(beta=0.8)(x)[0])


def test_recurrent_weights_matter_and_come_from_the_seed() -> None:
    x = current(20, 2, 6)
    a, b, c = RecurrentLIF(6, seed=1), RecurrentLIF(6, seed=1), RecurrentLIF(6, seed=2)
    assert torch.equal(a.recurrence.weight, b.recurrence.weight)
    assert not torch.equal(a.recurrence.weight, c.recurrence.weight)
    with torch.no_grad():
        c.recurrence.weight.zero_()
    assert torch.equal(c(x)[0], LIF()(x)[0])
    with pytest.raises(ShapeError, match="expected 6 features"):
        a(current(2, 2, 5))


def test_no_global_random_number_is_drawn() -> None:
    before = torch.get_rng_state()
    neurons(4)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_kept(dtype: torch.dtype) -> None:
    x = current(5, 2, 4).to(dtype)
    for neuron in neurons(4):
        spikes, state = neuron.to(dtype)(x)
        assert spikes.dtype == dtype
        assert all(part.dtype == dtype for part in state)


def test_learnable_constants_start_at_their_values_and_stay_in_range() -> None:
    neuron = LIF(beta=0.9, threshold=1.3, learn_beta=True, learn_threshold=True)
    assert float(neuron.beta().detach()) == pytest.approx(0.9, abs=1e-6)
    assert float(neuron.threshold().detach()) == pytest.approx(1.3, abs=1e-6)
    spikes, state = neuron(current(20, 4, 3))
    (spikes.sum() + state.v.sum()).backward()
    grads = [p.grad for p in neuron.parameters()]
    assert len(grads) == 2
    assert all(g is not None and float(g) != 0 for g in grads)
    with torch.no_grad():
        for parameter in neuron.parameters():
            parameter.sub_(50.0)
    assert 0 <= float(neuron.beta().detach()) < 1e-6
    assert float(neuron.threshold().detach()) >= 0
    assert list(LIF().parameters()) == []


def test_constants_for_each_feature() -> None:
    beta = torch.tensor([0.0, 0.5, 0.99])
    spikes, state = LIF(beta=beta, threshold=100.0)(torch.ones(3, 1, 3))
    assert torch.allclose(state.v, 1 + beta + beta**2)
    assert spikes.sum() == 0


def test_state_dict_round_trip() -> None:
    first = RecurrentLIF(4, seed=3, beta=0.77, learn_beta=True)
    second = RecurrentLIF(4, seed=9, beta=0.5, learn_beta=True)
    second.load_state_dict(first.state_dict())
    x = current(9, 2, 4)
    assert torch.equal(first(x)[0], second(x)[0])


def test_nan_is_not_taken_for_silence() -> None:
    x = torch.zeros(2, 1, 1)
    x[0] = float("nan")
    assert bool(torch.isnan(LIF()(x)[0]).any())


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"beta": 1.5}, RangeError, "beta 0 .. 1"),
        ({"beta": float("nan")}, RangeError, "beta"),
        ({"beta": torch.zeros(2, 2)}, ShapeError, "number or vector"),
        ({"beta": 1.0, "learn_beta": True}, RangeError, "learnable beta"),
        ({"threshold": 0.0}, RangeError, "threshold above 0"),
        ({"reset": "maybe"}, RangeError, "soft, hard, none"),
        ({"reset_delay": 2}, RangeError, "reset_delay"),
        ({"v_reset": 0.5}, RangeError, "hard reset only"),
        ({"surrogate": "mine"}, RegistryError, "known surrogate"),
        ({"surrogate": make_surrogate("atan"), "scale": 2.0}, RangeError, "scale with a surrogate's name"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        LIF(**arguments)


@pytest.mark.parametrize("x", [torch.zeros(3), torch.zeros(0, 2, 2), torch.zeros(2, 2, dtype=torch.int64), None])
def test_bad_input(x: Any) -> None:
    with pytest.raises(ShapeError, match=r"\[T, B, ...\]"):
        LIF()(x)
