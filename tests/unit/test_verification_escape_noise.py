"""Escape noise: enumeration is exact, one neuron has no bias, networks do, and planted errors are found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from bitprop.errors import RangeError, ShapeError
from bitprop.surrogate import SURROGATES, make_surrogate
from bitprop.verification.escape_noise import (
    NOISES,
    EscapeNetwork,
    check_enumeration,
    check_enumeration_gradient,
    check_escape_neuron,
    check_score_function,
    surrogate_bias,
)

NOISY = [name for name in SURROGATES if make_surrogate(name).escape_noise is not None]


def _chain(name: str = "sigmoid", scale: float = 2.0, steps: int = 3) -> EscapeNetwork:
    return EscapeNetwork(make_surrogate(name, scale), (1, 1, 1), ((1.0,),) * steps)


@pytest.mark.parametrize("name", NOISY)
@pytest.mark.parametrize("factor", [0.3, 1.0, 5.0])
def test_a_single_neuron_has_no_bias(name: str, factor: float) -> None:
    surrogate = make_surrogate(name, make_surrogate(name).scale * factor)
    result = check_escape_neuron(surrogate)
    assert result.status == "PASS", result.to_text()
    other = make_surrogate(name, surrogate.scale * 1.001)
    assert check_escape_neuron(surrogate, spike_fn=other).status == "FAIL"
    assert check_escape_neuron(surrogate, spike_fn=lambda x: -surrogate(x)).status == "FAIL"


def test_a_wrong_primal_fails_and_no_noise_is_ill_posed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_escape_neuron(make_surrogate("straight_through")).status == "ILL_POSED"
    surrogate = make_surrogate("erf")
    monkeypatch.setattr(type(surrogate), "primal", lambda self, x: torch.sigmoid(4.0 * x))
    result = check_escape_neuron(surrogate)
    assert result.status == "FAIL"
    assert "cumulative" in result.detail


@pytest.mark.parametrize("noise", list(NOISES))
def test_the_noises_are_distributions(noise: str) -> None:
    item, f0, h = NOISES[noise], 0.7, 1e-5
    assert item.cumulative(0.0, f0) == 0.5
    assert item.density(0.0, f0) == f0
    for x in (-1.13, -0.31, 0.17, 0.59, 2.3):
        slope = (item.cumulative(x + h, f0) - item.cumulative(x - h, f0)) / (2.0 * h)
        assert item.density(x, f0) == pytest.approx(slope, abs=1e-8)
        assert item.cumulative(x, f0) + item.cumulative(-x, f0) == pytest.approx(1.0, abs=1e-15)


@pytest.mark.parametrize("name", NOISY)
def test_enumeration_equals_the_recursion(name: str) -> None:
    surrogate = make_surrogate(name)
    network = EscapeNetwork(surrogate, (2, 2, 1), ((1.0, 0.3), (0.2, 0.9)), beta=0.8)
    weights = network.weights(seed=1, size=0.7)
    result = check_enumeration(network, weights)
    assert result.status == "PASS", result.to_text()
    assert check_enumeration_gradient(network, weights).status in ("PASS", "VACUOUS")


def test_sixteen_bits() -> None:
    network = _chain(steps=8)
    assert network.bits == 16
    assert check_enumeration(network, network.weights()).status == "PASS"


def test_planted_enumerations_fail() -> None:
    network = _chain()
    weights = network.weights()

    def missing_pattern(w: Any) -> Tensor:
        losses, chances = network._replay(w, network.patterns()[1:], surrogate=False)
        return (torch.stack(chances).prod(0) * losses).sum()

    assert check_enumeration(network, weights, expected_loss=missing_pattern).status == "FAIL"
    late = EscapeNetwork(network.surrogate, network.widths, network.inputs, beta=0.9001)
    assert check_enumeration(network, weights, expected_loss=late.expected_loss).status == "FAIL"
    assert check_enumeration_gradient(network, weights).status == "PASS"
    for wrong in (network.surrogate_gradient(weights), network.surrogate_gradient(weights, detach_reset=True)):
        assert check_enumeration_gradient(network, weights, gradient=wrong).status == "FAIL"
    slightly = {name: 1.000001 * g for name, g in network.exact_gradient(weights).items()}
    assert check_enumeration_gradient(network, weights, gradient=slightly).status == "FAIL"


def test_the_score_function_is_unbiased_and_surrogates_are_not() -> None:
    network = _chain()
    weights = network.weights()
    good = check_score_function(network, weights)
    assert good.status == "PASS", good.to_text()
    for detach in (False, True):

        def rows(n: int, generator: torch.Generator, detach: bool = detach) -> Tensor:
            return network.surrogate_rows(weights, n, generator, detach_reset=detach)

        assert check_score_function(network, weights, rows=rows, name="surrogate").status == "FAIL"


def test_bias_is_reported_and_sampled_surrogates_have_that_mean() -> None:
    network = _chain()
    weights = network.weights()
    bias = surrogate_bias(network, weights)
    assert 0.01 < bias.attached < bias.detached
    assert bias.to_dict()["bits"] == 6
    exact = torch.cat([g.flatten() for g in network.exact_gradient(weights).values()])
    rows = network.surrogate_rows(weights, 100_000, torch.Generator().manual_seed(0))
    sampled = float((rows.mean(0) - exact).norm() / exact.norm())
    assert sampled == pytest.approx(bias.attached, abs=0.03)


def test_without_a_reset_at_work_attached_and_detached_are_one() -> None:
    network = EscapeNetwork(make_surrogate("sigmoid", 2.0), (1, 2, 2), ((1.0,),), target=0.2)
    bias = surrogate_bias(network, network.weights())
    assert bias.attached == pytest.approx(bias.detached, abs=1e-15)


@pytest.mark.parametrize(
    ("build", "error"),
    [
        (lambda: EscapeNetwork(make_surrogate("straight_through"), (1, 1), ((1.0,),)), RangeError),
        (lambda: _chain(steps=9), RangeError),
        (lambda: EscapeNetwork(make_surrogate("erf"), (1,), ((1.0,),)), RangeError),
        (lambda: EscapeNetwork(make_surrogate("erf"), (2, 1), ((1.0,),)), ShapeError),
        (lambda: EscapeNetwork(make_surrogate("erf"), (1, 1), ((1.0,),), beta=2.0), RangeError),
    ],
)
def test_bad_networks_are_refused(build: Callable[[], EscapeNetwork], error: type[Exception]) -> None:
    with pytest.raises(error):
        build()


def test_a_zero_gradient_has_no_relative_bias() -> None:
    # one spike, target one half: both outcomes cost the same
    network = EscapeNetwork(make_surrogate("sigmoid"), (1, 1), ((1.0,),), target=0.5)
    with pytest.raises(RangeError, match="non-zero gradient"):
        surrogate_bias(network, network.weights())
