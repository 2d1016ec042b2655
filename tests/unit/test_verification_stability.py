"""Stability against known answers: spectra, Lanczos, Lyapunov; planted explosions, NaN and dead layers are found."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bitprop.errors import RangeError, ShapeError
from bitprop.nn import SpikingNetwork
from bitprop.verification.spectrum import (
    effective_rank,
    hessian_extremes,
    lanczos_extremes,
    lyapunov_exponent,
    output_jacobian_rank,
    weight_spectra,
)
from bitprop.verification.stability import NumericalStabilityTester


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("size", [1, 2, 7, 40])
def test_lanczos_finds_the_extremes(size: int) -> None:
    a = torch.randn(size, size, generator=generator(size), dtype=torch.float64)
    a = a + a.t()
    exact = torch.linalg.eigvalsh(a)
    found = lanczos_extremes(lambda v: a @ v, size, steps=size)
    assert found.smallest == pytest.approx(float(exact[0]), abs=1e-9)
    assert found.largest == pytest.approx(float(exact[-1]), abs=1e-9)
    assert found.residual < 1e-7
    assert abs(lanczos_extremes(lambda v: 1.01 * (a @ v), size, steps=size).largest - float(exact[-1])) > 1e-9


def test_lanczos_refuses_what_is_not_finite() -> None:
    with pytest.raises(RangeError, match="finite products"):
        lanczos_extremes(lambda v: v * float("nan"), 3)


def test_hessian_of_a_quadratic() -> None:
    a = torch.diag(torch.tensor([-1.0, 2.0, 5.0], dtype=torch.float64))
    p = torch.ones(3, dtype=torch.float64, requires_grad=True)
    found = hessian_extremes(0.5 * p @ a @ p, [p])
    assert (round(found.smallest, 9), round(found.largest, 9)) == (-1.0, 5.0)
    with pytest.raises(ShapeError, match="differentiated again"):
        hessian_extremes(p.sum(), [p])


def test_effective_rank_and_spectra() -> None:
    assert effective_rank(torch.ones(4)) == pytest.approx(4.0)
    assert effective_rank(torch.tensor([1.0, 0.0])) == 1.0
    layer = nn.Linear(3, 3, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.diag(torch.tensor([4.0, 2.0, 0.0])))
    (found,) = weight_spectra(layer)
    assert (found.largest, found.smallest, found.condition) == (4.0, 0.0, math.inf)
    with torch.no_grad():
        layer.weight.copy_(torch.diag(torch.tensor([4.0, 2.0, 1.0])))
    assert weight_spectra(layer)[0].condition == pytest.approx(4.0)


def test_output_rank_of_a_linear_layer() -> None:
    layer = nn.Linear(3, 2, bias=False).double()
    x = torch.ones(5, 3, dtype=torch.float64)  # five equal samples: two outputs to move
    rank = output_jacobian_rank(layer(x), list(layer.parameters()), probes=8)
    assert 1.0 < rank <= 2.0 + 1e-6


@pytest.mark.parametrize("factor", [0.3, 1.0, 2.5])
def test_lyapunov_exponent_of_linear_maps(factor: float) -> None:
    a = torch.diag(torch.tensor([factor, 0.1 * factor, -0.2 * factor], dtype=torch.float64))
    found = lyapunov_exponent(lambda v: a @ v, torch.ones(3, dtype=torch.float64), steps=200, discard=100)
    assert found.exponent == pytest.approx(math.log(factor), abs=1e-6)


def test_lyapunov_exponent_of_the_logistic_map() -> None:
    # r = 4: log 2, Ott, Chaos in Dynamical Systems, section 2.1
    state = torch.tensor([0.3], dtype=torch.float64)
    found = lyapunov_exponent(lambda v: 4 * v * (1 - v), state, steps=5_000)
    assert found.exponent == pytest.approx(math.log(2), abs=0.02)
    assert lyapunov_exponent(lambda v: 0 * v, state).exponent == -math.inf
    with pytest.raises(ShapeError, match="to itself"):
        lyapunov_exponent(lambda v: v.repeat(2), state, steps=2)


class Recurrence(nn.Module):
    """A loop over time with a factor; what a test plants in one of its steps."""

    def __init__(self, factor: float = 0.9, plant: Any = None) -> None:
        super().__init__()
        self.enter, self.again = nn.Linear(3, 5), nn.Identity()
        self.factor, self.plant = factor, plant

    def forward(self, x: Tensor) -> Tensor:
        u = torch.zeros(x.shape[1], 5)
        for t, x_t in enumerate(x):
            u = self.factor * u + self.enter(x_t)
            if self.plant is not None:
                u = self.plant(t, u)
            u = self.again(u)
        return u


def check(model: nn.Module, **options: Any) -> Any:
    x = torch.rand(10, 4, 3, generator=generator())
    return NumericalStabilityTester(**options).check_gradient_stability(model, x, None, lambda out: out.square().mean())


def test_norms_by_layer_and_step() -> None:
    result = check(Recurrence(0.5))
    assert result.status == "PASS", result.to_text()
    data = result.data
    assert data["layers"] == ["enter", "again"]
    assert [len(row) for row in data["norms"]] == [10, 10]
    row = data["norms"][1]
    assert all(a == pytest.approx(0.5 * b) for a, b in pairwise(row))
    assert data["growth"]["again"] == pytest.approx(0.5)
    assert len(data["quantiles"]["again"]) == 5
    assert data["output_rank"] > 1
    assert data["hessian"]["largest"] > 0


def test_multi_step_modules_have_steps_too() -> None:
    net = SpikingNetwork((3, 6, 2))
    x = 3 * torch.rand(7, 4, 3, generator=generator())
    result = NumericalStabilityTester().check_gradient_stability(
        net, x, torch.tensor([0, 1, 0, 1]), lambda out, y: nn.functional.cross_entropy(out.logits, y)
    )
    assert result.status == "PASS", result.to_text()
    assert result.data["layers"]


def test_an_exploding_recurrence_fails() -> None:
    result = check(Recurrence(2.5))
    assert result.status == "FAIL"
    assert result.statistic == pytest.approx(2.5, rel=1e-3)
    assert check(Recurrence(2.5), growth_limit=3.0).status == "PASS"
    assert check(Recurrence(1.6)).status == "PASS"  # a factor of 69 over ten steps


@pytest.mark.parametrize("step", [0, 4, 9])
def test_a_value_that_is_not_finite_is_located(step: int) -> None:
    result = check(Recurrence(plant=lambda t, u: u / 0 if t == step else u))
    assert result.status == "FAIL"
    assert (result.where.module, result.where.step) == ("again", step)
    assert "the output of again" in result.detail


def test_a_gradient_that_is_not_finite_is_located() -> None:
    def plant(t: int, u: Tensor) -> Tensor:
        return u + (u.abs() * 0).sqrt() if t == 3 else u

    result = check(Recurrence(plant=plant))
    assert result.status == "FAIL"
    assert "the gradient that arrives" in result.detail
    assert result.where.module in ("again", "enter")
    assert result.where.step in (2, 3)


def test_zero_gradient_is_vacuous_and_dead_layers_are_counted() -> None:
    result = check(Recurrence(plant=lambda t, u: (u > 100).to(u.dtype)))
    assert result.status == "VACUOUS"
    assert result.data["activity"]["again"]["dead"] == 1.0
    assert check(nn.Flatten()).status == "VACUOUS"


def test_the_model_is_left_as_it_was() -> None:
    model = Recurrence()
    model.enter.weight.grad = torch.ones_like(model.enter.weight)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    tester = NumericalStabilityTester()
    x = torch.rand(10, 4, 3, generator=generator())
    tester.check_gradient_stability(model, x, None, lambda out: out.mean())
    tester.check_weight_stability(model, x, None, lambda out: out.square().mean())
    assert torch.equal(model.enter.weight.grad, torch.ones_like(model.enter.weight))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert not model.enter._forward_hooks


def test_weight_stability() -> None:
    x = torch.rand(10, 4, 3, generator=generator())
    tester = NumericalStabilityTester(drift_limit=0.5)

    def run(rate: float) -> Any:
        return tester.check_weight_stability(
            Recurrence(), x, None, lambda out: out.square().mean(),
            optimizer_factory=lambda p: torch.optim.SGD(p, lr=rate), steps=15,
        )  # fmt: skip

    right = run(1e-3)
    assert right.status == "PASS", right.to_text()
    assert len(right.data["losses"]) == 15
    assert run(0.05).status == "FAIL"
    exploded = run(1e30)
    assert exploded.status == "FAIL"
    assert "not finite after step" in exploded.detail
    assert run(0.0).status == "VACUOUS"


def test_bad_arguments() -> None:
    with pytest.raises(RangeError, match="growth_limit"):
        NumericalStabilityTester(growth_limit=0.5)
    with pytest.raises(RangeError, match="steps"):
        NumericalStabilityTester().check_weight_stability(nn.Linear(1, 1), torch.ones(1, 1), None, torch.sum, steps=0)
