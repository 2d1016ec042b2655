"""Spiking networks: shapes, constant input, determinism, save and load; encoders, losses, statistics."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from bitprop.errors import RangeError, ShapeError
from bitprop.nn import SpikingConvNetwork, SpikingNetwork
from bitprop.nn.encode import direct_encode, latency_encode, rate_encode
from bitprop.nn.spike_loss import (
    count_mse,
    first_spike_cross_entropy,
    max_membrane_cross_entropy,
    rate_cross_entropy,
    rate_penalty,
    sum_membrane_cross_entropy,
)
from bitprop.nn.spike_statistics import spike_statistics, synaptic_operations
from bitprop.nn.spiking import NEURONS, READOUTS


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("neuron", NEURONS)
@pytest.mark.parametrize("readout", READOUTS)
def test_dense_networks(neuron: str, readout: str) -> None:
    net = SpikingNetwork((4, 8, 6, 3), neuron=neuron, readout=readout, seed=1)
    out = net(3 * uniform(7, 5, 4))
    assert out.logits.shape == (5, 3)
    assert out.trace.shape == (7, 5, 3)
    assert [tuple(s.shape) for s in out.spikes] == [(7, 5, 8), (7, 5, 6)]
    expected = {"mean": out.trace.mean(0), "last": out.trace[-1], "max": out.trace.amax(0)}[readout]
    assert torch.equal(out.logits, expected)
    functional.cross_entropy(out.logits, torch.zeros(5, dtype=torch.int64)).backward()
    assert all(p.grad is not None for p in net.parameters())


def test_a_constant_input_is_the_input_repeated() -> None:
    x = 2 * uniform(5, 4)
    held = SpikingNetwork((4, 8, 3), steps=9, seed=2).double()
    moving = SpikingNetwork((4, 8, 3), seed=2).double()
    a, b = held(x.double()), moving(x.double().expand(9, 5, 4))
    assert torch.equal(a.spikes[0], b.spikes[0])
    assert torch.allclose(a.logits, b.logits, atol=1e-12)
    pictures = uniform(2, 1, 8, 8)
    conv = SpikingConvNetwork((1, 8, 8), (3, 4), 5, steps=6, seed=3, surrogate="atan")
    again = SpikingConvNetwork((1, 8, 8), (3, 4), 5, seed=3, surrogate="atan")
    assert torch.allclose(conv(pictures).logits, again(pictures.expand(6, *pictures.shape)).logits, atol=1e-6)


def test_weights_come_from_the_seed_and_not_from_the_global_generator() -> None:
    state = torch.get_rng_state()
    a, b, c = (SpikingNetwork((4, 8, 3), seed=s) for s in (1, 1, 2))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(a.layers[0].weight, c.layers[0].weight)
    bound = 1 / math.sqrt(4)
    assert float(a.layers[0].weight.detach().abs().max()) <= bound
    c.load_state_dict(a.state_dict())
    x = uniform(5, 2, 4)
    assert torch.equal(a(x).logits, c(x).logits)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: SpikingNetwork((4,)), RangeError),
        (lambda: SpikingNetwork((4, 0, 3)), RangeError),
        (lambda: SpikingNetwork((4, 3), neuron="mine"), RangeError),
        (lambda: SpikingNetwork((4, 3), readout="sum"), RangeError),
        (lambda: SpikingNetwork((4, 3), steps=0), RangeError),
        (lambda: SpikingConvNetwork((1, 2, 2), (3, 3), 2), RangeError),
        (lambda: SpikingConvNetwork((1, 8, 8), (), 2), RangeError),
        (lambda: SpikingConvNetwork((1, 8, 8), (2,), 2, neuron="recurrent_lif"), RangeError),
        (lambda: SpikingNetwork((4, 3))(uniform(2, 4)), ShapeError),
        (lambda: SpikingNetwork((4, 3))(uniform(2, 2, 5)), ShapeError),
        (lambda: SpikingNetwork((4, 3), steps=3)(uniform(1, 2, 2, 4)), ShapeError),
        (lambda: SpikingConvNetwork((1, 8, 8), (2,), 2)(uniform(3, 2, 1, 8, 7)), ShapeError),
    ],
)
def test_bad_arguments(make: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="expected"):
        make()


def test_rate_encoding_has_the_rate() -> None:
    p = torch.tensor([0.0, 0.2, 0.7, 1.0])
    spikes = rate_encode(p, 20_000, generator=torch.Generator().manual_seed(1))
    # five standard deviations of a mean of 20,000 draws
    assert bool(((spikes.mean(0) - p).abs() <= 5 * (p * (1 - p) / 20_000).sqrt()).all())
    again = rate_encode(p, 20_000, generator=torch.Generator().manual_seed(1))
    assert torch.equal(spikes, again)


def test_latency_encoding() -> None:
    x = torch.linspace(0, 1, 21)
    for law in ("linear", "logarithmic"):
        spikes = latency_encode(x, 50, law=law)
        assert bool((spikes.sum(0) == (x > 0.01)).all())
        times = spikes.argmax(0)[x > 0.01]
        assert bool((times.diff() <= 0).all())
    assert int(latency_encode(torch.tensor([0.5]), 50, law="logarithmic").argmax()) == round(5 * math.log(0.5 / 0.49))
    assert direct_encode(x, 3).shape == (3, 21)


@pytest.mark.parametrize(
    "call",
    [
        lambda: rate_encode(torch.tensor([1.5]), 3, generator=torch.Generator()),
        lambda: rate_encode(torch.tensor([float("nan")]), 3, generator=torch.Generator()),
        lambda: rate_encode(torch.tensor([0.5]), 0, generator=torch.Generator()),
        lambda: latency_encode(torch.tensor([0.5]), 3, law="square"),
        lambda: latency_encode(torch.tensor([-0.5]), 3),
        lambda: direct_encode(torch.tensor([float("inf")]), 3),
        lambda: direct_encode(torch.tensor([1]), 3),
    ],
)
def test_features_that_cannot_be_encoded(call: Any) -> None:
    with pytest.raises((RangeError, ShapeError), match="expected"):
        call()


def test_losses_are_their_formulas() -> None:
    trace, y = uniform(6, 4, 3), torch.tensor([0, 2, 1, 1])
    assert torch.equal(rate_cross_entropy(trace, y), functional.cross_entropy(trace.sum(0), y))
    assert torch.equal(max_membrane_cross_entropy(trace, y), functional.cross_entropy(trace.max(0).values, y))
    mean = sum(functional.cross_entropy(trace[t], y) for t in range(6)) / 6
    assert torch.allclose(sum_membrane_cross_entropy(trace, y), torch.as_tensor(mean))
    wanted = torch.full((4, 3), 0.2)
    wanted[torch.arange(4), y] = 0.8
    assert torch.allclose(count_mse(trace, y), ((trace.mean(0) - wanted) ** 2).mean())
    times = torch.tensor([[1.0, 2.0], [3.0, 1.0]])
    early = first_spike_cross_entropy(times, torch.tensor([0, 1]))
    assert early < first_spike_cross_entropy(times, torch.tensor([1, 0]))
    quiet = torch.zeros(5, 2, 3)
    assert float(rate_penalty(quiet)) == 0.0
    assert float(rate_penalty(quiet, low=0.1)) == pytest.approx(0.01)
    assert float(rate_penalty(torch.ones(5, 2, 3), high=0.5)) == pytest.approx(0.25)
    for bad in (lambda: rate_cross_entropy(trace[0], y), lambda: rate_cross_entropy(trace, y.double())):
        with pytest.raises(ShapeError, match="classes"):
            bad()


def test_statistics_are_counted_exactly() -> None:
    spikes = torch.zeros(6, 2, 3)
    spikes[:, 0, 0] = 1.0
    spikes[:, 1, 0] = 1.0
    spikes[[1, 4], 0, 1] = 1.0
    found = spike_statistics(spikes)
    assert found.rate == pytest.approx(14 / 36)
    assert found.silent == pytest.approx(1 / 3)
    assert found.saturated == pytest.approx(1 / 3)
    assert found.mean_interval == pytest.approx((10 * 1 + 3) / 11)
    assert found.spikes == 7.0
    assert spike_statistics(torch.zeros(3, 1, 2)).mean_interval is None
    assert synaptic_operations([spikes], [5]) == 35.0
    with pytest.raises(ShapeError, match="zeros and ones"):
        spike_statistics(0.5 * torch.ones(2, 2, 2))
    with pytest.raises(ShapeError, match="one fan-out a layer"):
        synaptic_operations([spikes], [1, 2])
