"""A fast kernel against its reference."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bitprop.errors import ShapeError
from bitprop.verification.kernel_parity import check_kernel_parity


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.scale = scale
        return (x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return gradients[0] / (1.0 + ctx.scale * x.abs()) ** 2, None


class _Neurons(nn.Module):
    """Leaky integrate and fire over [T, B, I]; ``late`` checks the threshold one step late."""

    def __init__(self, scale: float = 10.0, leak: float = 0.9, late: bool = False) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(6, 4, generator=generator))
        self.scale, self.leak, self.late = scale, leak, late

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        current = x @ self.weight
        v = torch.zeros_like(current[0])
        spikes = []
        for step in current:
            before = v
            v = self.leak * v + step
            s: Tensor = _Step.apply((before if self.late else v) - 1.0, self.scale)  # type: ignore[no-untyped-call]
            v = v - s
            spikes.append(s)
        return torch.stack(spikes), v


def _input(dtype: torch.dtype) -> Tensor:
    return torch.rand(8, 3, 6, generator=torch.Generator().manual_seed(1)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_same_kernel_passes_and_each_planted_difference_fails(dtype: torch.dtype) -> None:
    x = _input(dtype)
    reference = _Neurons().to(dtype)
    same = check_kernel_parity(reference, _Neurons().to(dtype), x)
    assert same.status == "PASS", same.to_text()
    assert same.dtype == str(dtype).removeprefix("torch.")
    late = check_kernel_parity(reference, _Neurons(late=True).to(dtype), x)
    assert late.status == "FAIL"
    assert late.where.tensor == "output 0"
    scale = check_kernel_parity(reference, _Neurons(scale=10.001).to(dtype), x)
    assert scale.status == "FAIL", scale.to_text()
    assert "gradient of" in scale.detail
    assert check_kernel_parity(reference, _Neurons(leak=0.8999).to(dtype), x).status == "FAIL"


def test_the_order_of_sums_is_no_difference_but_one_spike_is() -> None:
    x = torch.rand(200, 5, generator=torch.Generator().manual_seed(2))
    assert check_kernel_parity(lambda x: x.sum(0), lambda x: x.flip(0).sum(0), x).status == "PASS"

    def spikes(x: Tensor) -> Tensor:
        return _Step.apply(x - 0.5, 1.0)  # type: ignore[no-untyped-call,no-any-return]

    def one_off(x: Tensor) -> Tensor:
        change = torch.zeros_like(x)
        change[7, 3] = 1.0
        return spikes(x) + change

    result = check_kernel_parity(spikes, one_off, x)
    assert (result.status, result.where.index) == ("FAIL", (7, 3))


def test_zero_gradients_are_vacuous_and_broken_kernels_fail() -> None:
    x = torch.linspace(-1.0, 1.0, 5)
    assert check_kernel_parity(torch.sign, torch.sign, x).status == "VACUOUS"
    assert check_kernel_parity(lambda x: x * x, lambda x: (x * x)[:3], x).status == "FAIL"
    assert check_kernel_parity(lambda x: x * x, lambda x: (x * x).double(), x).status == "FAIL"
    assert check_kernel_parity(lambda x: x * x, lambda x: x * x / 0.0 * 0.0, x).status == "FAIL"
    assert check_kernel_parity(lambda x: x * x, lambda x: (x * x).detach(), x).status == "FAIL"
    named = check_kernel_parity(nn.Linear(5, 1, bias=False), nn.Linear(5, 1), x)
    assert named.status == "FAIL"
    with pytest.raises(ShapeError, match="among the reference's outputs"):
        check_kernel_parity(lambda x: None, lambda x: None, x)
