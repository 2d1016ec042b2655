"""Exact-gradient neurons against root-found finite differences, and planted errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from bitprop.errors import ShapeError
from bitprop.nn.spike_time import constant_current_spike_time, first_spike_time, synaptic_kernel
from bitprop.verification.spike_time import check_constant_current, check_spike_time

TAU_M, TAU_S = 20.0, 5.0


def _problem(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    times = torch.rand(2, 4, generator=generator, dtype=torch.float64) * 8.0
    return times, torch.randn(3, 4, generator=generator, dtype=torch.float64) * 3.0 + 4.0


def _planted(change: Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]) -> Any:
    """First spike times with a wrong backward: ``change(upstream, kappa, weight * slope, rise)`` to both partials."""

    class Planted(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, times: Tensor, weight: Tensor) -> Tensor:
            got = first_spike_time(times, weight)
            ctx.save_for_backward(times, weight, got)
            return got

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
            times, weight, got = ctx.saved_tensors
            lag = torch.where(torch.isfinite(got), got, 0.0)[:, :, None] - times[:, None, :]
            kappa = synaptic_kernel(lag, TAU_M, TAU_S)
            slope = torch.where(lag > 0.0, (torch.exp(-lag.clamp_min(0.0) / TAU_S) - kappa) / TAU_M, 0.0)
            rise = (weight * slope).sum(-1, keepdim=True)
            by_weight, by_time = change(gradients[0], kappa, weight * slope, rise)
            live = torch.isfinite(got)[:, :, None] * gradients[0][:, :, None]
            return (live * by_time).nan_to_num().sum(1), (live * by_weight).nan_to_num().sum(0)

    return Planted.apply


@pytest.mark.parametrize(("tau_m", "tau_s"), [(20.0, 5.0), (8.0, 8.0), (10.0, 9.999), (5.0, 12.0)])
def test_exact_gradients_pass(tau_m: float, tau_s: float) -> None:
    times, weight = _problem()
    result = check_spike_time(times, weight, tau_m=tau_m, tau_s=tau_s)
    assert result.status == "PASS", result.to_text()
    assert result.coverage["neurons"] > 0.5
    assert result.statistic is not None
    assert result.statistic < 1e-8


def test_the_planted_formula_itself_is_right_when_nothing_is_changed() -> None:
    right = _planted(lambda _, kappa, pull, rise: (-kappa / rise, pull / rise))
    assert check_spike_time(*_problem(), function=right).status == "PASS"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda _, kappa, pull, rise: (kappa / rise, pull / rise), id="wrong sign"),
        pytest.param(lambda _, kappa, pull, rise: (-kappa, pull), id="no denominator"),
        pytest.param(lambda _, kappa, pull, rise: (-kappa / rise, pull / rise * 1.000001), id="one part in a million"),
        pytest.param(lambda _, kappa, pull, rise: (-kappa / rise, torch.zeros_like(pull)), id="no input times"),
        pytest.param(lambda _, kappa, pull, rise: (-kappa / pull.sum(0, keepdim=True), pull / rise), id="mixed sum"),
    ],
)
def test_planted_errors_fail(change: Any) -> None:
    result = check_spike_time(*_problem(), function=_planted(change))
    assert result.status == "FAIL", result.to_text()
    assert result.where.index is not None


def test_wrong_spike_times_fail_and_silence_is_vacuous() -> None:
    times, weight = _problem()
    late = check_spike_time(times, weight, function=lambda t, w: first_spike_time(t, w) + 1e-6)
    assert late.status == "FAIL"
    assert "the root is" in late.detail
    assert check_spike_time(times, weight * 0.01).status == "VACUOUS"
    leaky = check_spike_time(times, weight * 0.01, function=lambda t, w: math.inf + (t @ w.t()))
    assert leaky.status == "FAIL"
    with pytest.raises(ShapeError):
        check_spike_time(times, weight[:, :3])


def test_constant_current_against_the_closed_form() -> None:
    good = check_constant_current(tau=7.0, threshold=0.5)
    assert good.status == "PASS", good.to_text()

    def detached(current: Tensor) -> Tensor:
        return constant_current_spike_time(current) * (1.0 + 0.0 * current) - 0.001 * (current - current.detach())

    assert check_constant_current(detached).status == "FAIL"
    late = check_constant_current(lambda current: constant_current_spike_time(current, tau=10.1))
    assert late.status == "FAIL"
    assert "spike time at" in late.detail
