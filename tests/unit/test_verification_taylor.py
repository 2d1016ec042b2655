"""Taylor remainders and finite differences: right gradients pass at every loss scale, wrong ones are placed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bitprop.errors import RangeError, ShapeError
from bitprop.verification.taylor import check_finite_difference, check_parameter_gradients, check_taylor
from bitprop.verification.taylor_problem import estimate_noise, loss_of_model, numeric_derivative

SCALES = (1e-4, 1.0, 1e4)


class _Scaled(torch.autograd.Function):
    """tanh, its backward multiplied by a factor: the planted error."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        y = torch.tanh(x)
        ctx.save_for_backward(y)
        ctx.factor = factor
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (y,) = ctx.saved_tensors
        return gradients[0] * (1.0 - y * y) * ctx.factor, None


class _Net(nn.Module):
    def __init__(self, factor: float = 1.0, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.first = nn.Parameter(torch.randn(5, 8, generator=generator) * 0.5)
        self.bias = nn.Parameter(torch.zeros(8))
        self.second = nn.Parameter(torch.randn(8, 3, generator=generator) * 0.5)
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = _Scaled.apply(x @ self.first + self.bias, self.factor) @ self.second  # type: ignore[no-untyped-call]
        return out


def _data(seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(6, 5, generator=generator), torch.randn(6, 3, generator=generator)


def _loss(scale: float) -> Any:
    return lambda output, target: scale * (output - target).square().mean()


@pytest.mark.parametrize("scale", SCALES)
def test_a_right_gradient_passes_and_one_wrong_by_a_millionth_fails(scale: float) -> None:
    x, y = _data()
    good = check_finite_difference(_Net(), x, y, _loss(scale))
    assert good.status == "PASS", good.to_text()
    assert good.statistic is not None
    assert good.statistic < 1e-9
    assert good.coverage["parameters"] == 1.0
    bad = check_finite_difference(_Net(1.0 + 1e-6), x, y, _loss(scale))
    assert bad.status == "FAIL", bad.to_text()
    assert bad.where.tensor in ("first", "bias")
    assert bad.where.ratio == pytest.approx(1.0 + 1e-6, abs=2e-7)


@pytest.mark.parametrize("scale", SCALES)
def test_taylor_slope_is_two_or_one(scale: float) -> None:
    x, y = _data()
    loss, parameters = loss_of_model(_Net(), x, y, _loss(scale))
    good = check_taylor(loss, parameters)
    assert good.status == "PASS", good.to_text()
    assert good.data["slope"] == pytest.approx(2.0, abs=0.02)
    assert good.smallest_detectable is not None
    assert good.smallest_detectable < 1e-6
    loss, parameters = loss_of_model(_Net(1.0 + 1e-6), x, y, _loss(scale))
    bad = check_taylor(loss, parameters)
    assert bad.status == "FAIL", bad.to_text()


def test_gross_errors_have_slope_one() -> None:
    x, y = _data()
    loss, parameters = loss_of_model(_Net(-1.0), x, y, _loss(1.0))
    assert check_taylor(loss, parameters).data["slope"] == pytest.approx(1.0, abs=0.02)


def test_no_false_alarm_over_many_networks() -> None:
    for seed in range(12):
        x, y = _data(100 + seed)
        model = _Net(seed=seed).to(torch.float32 if seed % 2 else torch.float64)
        result = check_finite_difference(model, x, y, _loss(10.0 ** (seed % 9 - 4)), seed=seed, directions=2)
        assert result.status == "PASS", result.to_text()
        loss, parameters = loss_of_model(model, x, y, _loss(1.0))
        assert check_taylor(loss, parameters, seed=seed, directions=1).status == "PASS"


def test_one_dead_weight_is_placed() -> None:
    class OneDead(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, w: Tensor) -> Tensor:
            return w.clone()

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Tensor:
            out = gradients[0].clone()
            out[3, 2] = 0.0
            return out

    def loss(p: Any) -> Tensor:
        return torch.tanh(OneDead.apply(p["w"]) @ torch.linspace(0.2, 1.0, 4, dtype=torch.float64)).sum()  # type: ignore[no-untyped-call]

    parameters = {"w": torch.full((40, 4), 0.1)}
    result = check_parameter_gradients(loss, parameters)
    assert (result.status, result.where.tensor, result.where.index) == ("FAIL", "w", (3, 2))
    assert result.where.computed == 0.0
    assert result.where.claimed is not None
    assert abs(result.where.claimed) > 0.1


def test_linear_loss_is_compared_by_first_differences() -> None:
    slope = torch.tensor([1.5, -0.25], dtype=torch.float64)
    good = check_taylor(lambda p: (p["w"] * slope).sum(), {"w": torch.tensor([0.5, 0.75])})
    assert good.status == "PASS"
    assert "linear" in good.detail
    wrong = check_taylor(
        lambda p: (p["w"] * slope).sum() + 1e-6 * (p["w"] - p["w"].detach()).sum(), {"w": torch.ones(2)}
    )
    assert wrong.status == "FAIL"


def test_zero_gradient_is_vacuous_and_a_missing_one_fails() -> None:
    zero = {"w": torch.ones(3)}
    assert check_parameter_gradients(lambda p: (p["w"] * 0.0).sum() + 2.0, zero).status == "VACUOUS"
    assert check_taylor(lambda p: (p["w"] * 0.0).sum() + 2.0, zero).status == "VACUOUS"
    assert check_parameter_gradients(lambda p: p["w"].detach().square().sum(), zero).status == "FAIL"
    assert check_taylor(lambda p: p["w"].detach().square().sum(), zero).status == "FAIL"
    assert check_parameter_gradients(lambda p: torch.zeros(()), {}).status == "VACUOUS"


def test_a_hard_threshold_is_ill_posed_not_wrong() -> None:
    class Step(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return (x >= 0).to(x.dtype)

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Tensor:
            return gradients[0]

    def loss(p: Any) -> Tensor:
        return Step.apply(p["w"] - 0.5).sum()  # type: ignore[no-untyped-call,no-any-return]

    parameters = {"w": torch.tensor([1.3, -0.7, 2.9])}
    assert check_parameter_gradients(loss, parameters).status == "ILL_POSED"
    assert check_taylor(loss, parameters).status == "ILL_POSED"


def test_a_hidden_float32_step_is_not_a_pass() -> None:
    def loss(p: Any) -> Tensor:
        return torch.tanh(p["w"]).float().square().sum()

    result = check_parameter_gradients(loss, {"w": torch.linspace(0.1, 2.0, 50)})
    assert result.status == "VACUOUS", result.to_text()
    assert "float32" in result.detail


def test_state_and_dropout_do_not_move_between_evaluations() -> None:
    class Stateful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.tensor([0.4, -0.2]))
            self.calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return self.calls * torch.tanh(nn.functional.dropout(x * self.w, 0.5))

    model = Stateful()
    before = torch.random.get_rng_state()
    result = check_finite_difference(model, torch.ones(8, 2), torch.zeros(8, 2), nn.functional.mse_loss)
    assert result.status == "PASS", result.to_text()
    assert model.calls == 0
    assert torch.equal(before, torch.random.get_rng_state())


def test_bad_losses_are_refused() -> None:
    w = {"w": torch.ones(2)}
    with pytest.raises(ShapeError, match="scalar loss"):
        check_taylor(lambda p: p["w"], w)
    assert check_parameter_gradients(lambda p: (p["w"] / 0.0).sum(), w).status == "ILL_POSED"
    with pytest.raises(RangeError):
        check_taylor(lambda p: p["w"].sum(), w, directions=0)


def test_noise_is_measured() -> None:
    single = estimate_noise(lambda h: float(torch.tensor(0.3 + h).float().sin()), 1.0)
    double = estimate_noise(lambda h: float(torch.tensor(0.3 + h, dtype=torch.float64).sin()), 1.0)
    assert 1e-9 < single < 1e-6
    assert 1e-17 < double < 1e-15


def test_numeric_derivative_avoids_a_kink() -> None:
    found = numeric_derivative(lambda h: abs(h + 1e-3) + h**2, 1.0, noise=1e-17)
    assert found.value == pytest.approx(1.0, abs=1e-10)
