"""Numbers that leave PyTorch and come back, and losses near the ends of the number range."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bitprop.surrogate import make_surrogate
from bitprop.testing import PLANTED_BUGS, build_planted
from bitprop.verification.claim import Claim
from bitprop.verification.result import GradientVerificationResult
from bitprop.verification.suite import verify

SPIKE = make_surrogate("atan", 2.0)
CLAIM = Claim(surrogate="atan", scale=2.0)


class Net(nn.Module):
    """A layer of neurons; ``spikes`` and ``outputs`` are what a test does with them."""

    def __init__(self, spikes: Callable[[Tensor], Tensor] = lambda s: s, outputs: Any = lambda y: y) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.enter, self.leave = nn.Linear(3, 4), nn.Linear(4, 2)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        self._spikes, self._outputs = spikes, outputs
        self.logged: list[float] = []

    def forward(self, x: Tensor) -> Any:
        u, total = torch.zeros(x.shape[1], 4, dtype=x.dtype), torch.zeros(x.shape[1], 4, dtype=x.dtype)
        for x_t in x:
            u = 0.9 * u + self.enter(x_t)
            s = self._spikes(SPIKE(u - 0.5))
            u, total = u - 0.5 * s, total + s
            self.logged.append(s.mean().item())
        return self._outputs(self.leave(total))


def audited(model: nn.Module, claim: Claim = CLAIM, scale: float = 1.0) -> dict[str, GradientVerificationResult]:
    dtype = next(model.parameters()).dtype
    x = torch.rand(5, 6, 3, generator=torch.Generator().manual_seed(1)).to(dtype) * 2

    def loss(y: Tensor, target: Tensor) -> Tensor:
        return scale * nn.functional.mse_loss(y, target)

    report = verify(model, x, torch.ones(6, 2, dtype=dtype), loss, claim=claim)
    return {result.name: result for result in report.results}


def by_item(y: Tensor) -> Tensor:
    return y * y.mean().item()  # the line that is named


def by_list(y: Tensor) -> Tensor:
    return y + torch.tensor(y.tolist(), dtype=y.dtype)  # the line that is named


def by_array(y: Tensor) -> Tensor:
    return y + torch.from_numpy(y.detach().numpy().copy())  # the line that is named


def spikes_by_array(s: Tensor) -> Tensor:
    return torch.from_numpy(s.detach().numpy().copy()).to(s)  # the line that is named


def line_of(function: Callable[..., Any]) -> str:
    return f"test_verification_values.py:{function.__code__.co_firstlineno + 1}"


def test_numbers_that_are_only_logged_are_not_blamed() -> None:
    assert {result.status for result in audited(Net()).values()} == {"PASS"}


@pytest.mark.parametrize("outputs", [by_item, by_list, by_array])
def test_numbers_that_come_back_stop_a_gradient(outputs: Callable[[Tensor], Tensor]) -> None:
    found = audited(Net(outputs=outputs))["detach_audit"]
    assert found.status == "FAIL"
    assert "becomes a number" in found.detail
    assert found.where.line is not None
    assert found.where.line.endswith(line_of(outputs))
    claim = Claim(surrogate="atan", scale=2.0, cuts=(line_of(outputs),))
    allowed = audited(Net(outputs=outputs), claim)["detach_audit"]
    assert allowed.status == "PASS"
    assert f"{line_of(outputs)} (value)" in allowed.detail


def test_spikes_through_numpy_leave_nothing_to_test_and_the_place_is_named() -> None:
    results = audited(Net(spikes=spikes_by_array))
    assert results["tangent_replay"].status == "VACUOUS"
    assert "tensors become numbers at" in results["tangent_replay"].detail
    assert line_of(spikes_by_array) in results["tangent_replay"].detail
    claim = Claim(surrogate="atan", scale=2.0, reset="attached")
    assert audited(Net(spikes=spikes_by_array), claim)["detach_audit"].status == "FAIL"


@pytest.mark.parametrize("exponent", [-310, -300, -290, -280, -200, -100, -30, 30, 100, 200, 290])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_right_network_is_not_blamed_whatever_the_size_of_its_loss(exponent: int, dtype: torch.dtype) -> None:
    status = audited(Net().to(dtype), scale=10.0**exponent)["tangent_replay"].status
    # numbers near the end of the range lose digits: then nothing may be said
    assert status in (("PASS",) if exponent > -270 else ("PASS", "VACUOUS"))


@pytest.mark.parametrize("exponent", [-200, 200])
@pytest.mark.parametrize("bug", PLANTED_BUGS)
def test_bugs_are_caught_whatever_the_size_of_the_loss(bug: str, exponent: int) -> None:
    case = build_planted(bug)

    def loss(outputs: Any, targets: Any) -> Tensor:
        return case.loss_fn(outputs, targets) * 10.0**exponent

    report = verify(case.model, case.inputs, case.targets, loss, claim=case.claim)
    assert report.status == "FAIL"
    assert all(result.statistic is None or not math.isnan(result.statistic) for result in report.results)
