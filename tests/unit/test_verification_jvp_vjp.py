"""Forward mode against reverse mode."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from bitprop.errors import ShapeError
from bitprop.surrogate import SURROGATES, make_surrogate
from bitprop.verification.jvp_vjp import check_jvp_vjp


def _operation(forward_factor: float, backward_factor: float) -> Any:
    class Custom(torch.autograd.Function):
        @staticmethod
        def forward(x: Tensor, y: Tensor) -> Tensor:
            return x * y

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.save_for_backward(*inputs)
            ctx.save_for_forward(*inputs)

        @staticmethod
        def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
            x, y = ctx.saved_tensors
            out: Tensor = forward_factor * (tangents[0] * y + x * tangents[1])
            return out

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
            x, y = ctx.saved_tensors
            return backward_factor * gradients[0] * y, backward_factor * gradients[0] * x

    return Custom.apply


INPUTS = (torch.linspace(-1.0, 2.0, 12).view(3, 4), torch.linspace(0.5, 1.0, 12).view(3, 4))


@pytest.mark.parametrize("scale", [1e-4, 1.0])
def test_consistent_modes_pass_and_a_small_difference_fails(scale: float) -> None:
    good = check_jvp_vjp(lambda x, y: scale * _operation(1.0, 1.0)(x, y), INPUTS)
    assert good.status == "PASS", good.to_text()
    bad = check_jvp_vjp(lambda x, y: scale * _operation(1.0, 1.0 + 1e-8)(x, y), INPUTS)
    assert bad.status == "FAIL", bad.to_text()
    assert bad.where.ratio == pytest.approx(1.0 + 1e-8, abs=1e-10)
    assert check_jvp_vjp(_operation(1.0, -1.0), INPUTS).status == "FAIL"


def test_several_outputs_and_ordinary_operations() -> None:
    result = check_jvp_vjp(lambda x, y: (x.sin() @ y.t(), (x * y).sum(), x > 0), INPUTS)
    assert result.status == "PASS", result.to_text()


def test_no_forward_mode_is_skipped_with_the_reason() -> None:
    class ReverseOnly(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * 2.0

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Tensor:
            return gradients[0] * 2.0

    result = check_jvp_vjp(ReverseOnly.apply, torch.ones(3))
    assert result.status == "SKIPPED", result.to_text()
    assert "forward mode" in result.detail


@pytest.mark.parametrize("name", SURROGATES.names())
def test_registered_surrogates_have_consistent_modes(name: str) -> None:
    x = torch.linspace(-0.37, 0.41, 20)
    result = check_jvp_vjp(make_surrogate(name), x, name=name)
    assert result.status == "PASS", result.to_text()


def test_zero_is_vacuous_nan_fails_and_errors_of_the_function_are_raised() -> None:
    assert check_jvp_vjp(torch.sign, torch.ones(3)).status == "VACUOUS"
    assert check_jvp_vjp(lambda x: (x - 1.0).sqrt(), torch.ones(3)).status == "FAIL"
    with pytest.raises(RuntimeError, match="shapes"):
        check_jvp_vjp(lambda x: x @ torch.ones(5, 5, dtype=torch.float64), torch.ones(3, 3))
    with pytest.raises(ShapeError, match="floating-point"):
        check_jvp_vjp(torch.sin, torch.ones(3, dtype=torch.int64))
    with pytest.raises(ShapeError, match="from the function"):
        check_jvp_vjp(lambda x: x > 0, torch.ones(3))
