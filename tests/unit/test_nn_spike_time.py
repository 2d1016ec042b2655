"""First spike times: closed forms, silence, causality, nearly equal constants."""

from __future__ import annotations

import math

import pytest
import torch

from bitprop.errors import RangeError, ShapeError
from bitprop.nn.spike_time import FirstSpikeTime, constant_current_spike_time, first_spike_time, synaptic_kernel
from bitprop.verification.jvp_vjp import check_jvp_vjp

INF = math.inf


def test_one_input_with_twice_the_time_constant_has_a_closed_form() -> None:
    # tau_m = 2 tau_s: with u = exp(-t / tau_m), V = w (u - u^2) = threshold is a quadratic equation
    w, threshold = torch.tensor([[5.0], [9.0]], dtype=torch.float64), 1.0
    got = first_spike_time(torch.zeros(1, 1, dtype=torch.float64), w, tau_m=10.0, tau_s=5.0, threshold=threshold)
    u = (1.0 + (1.0 - 4.0 * threshold / w[:, 0]).sqrt()) / 2.0
    assert torch.allclose(got[0], -10.0 * u.log(), rtol=1e-14)


@pytest.mark.parametrize(("tau_m", "tau_s"), [(20.0, 5.0), (5.0, 20.0), (10.0, 10.0), (10.0, 10.0 * (1 + 1e-12))])
def test_the_potential_at_the_spike_time_is_the_threshold(tau_m: float, tau_s: float) -> None:
    generator = torch.Generator().manual_seed(0)
    times = torch.rand(20, 12, generator=generator, dtype=torch.float64) * 15.0
    weight = torch.randn(7, 12, generator=generator, dtype=torch.float64) * 3.0 + 0.5
    got = first_spike_time(times, weight, tau_m=tau_m, tau_s=tau_s)
    grid = torch.linspace(0.0, 1.0, 400, dtype=torch.float64)
    spiked = torch.isfinite(got)
    assert 0.2 < float(spiked.double().mean()) < 1.0
    until = torch.where(spiked, got, 100.0)[..., None] * grid  # [B, O, K]
    kappa = synaptic_kernel(until[..., None] - times[:, None, None, :], tau_m, tau_s)
    v = (kappa * weight[None, :, None, :]).sum(-1)
    assert torch.allclose(v[..., -1][spiked], torch.ones(1, dtype=torch.float64), atol=1e-12)
    assert bool((v[..., :-1] < 1.0).all())  # and not before


def test_nearly_equal_time_constants_join_smoothly() -> None:
    times, weight = torch.tensor([[0.0, 3.0]], dtype=torch.float64), torch.tensor([[5.0, 4.0]], dtype=torch.float64)
    equal = first_spike_time(times, weight, tau_m=10.0, tau_s=10.0)
    for relative in (1e-14, 1e-9, -1e-9, 1e-6):
        near = first_spike_time(times, weight, tau_m=10.0, tau_s=10.0 * (1.0 + relative))
        assert torch.allclose(near, equal, rtol=1e-14 + abs(relative))


def test_late_inputs_cannot_matter_and_silence_has_no_gradient() -> None:
    times = torch.tensor([[0.0, 1.0, 50.0, INF]], requires_grad=True)
    weight = torch.tensor([[8.0, 8.0, 3.0, 9.0], [0.1, 0.1, 0.1, 0.1], [-5.0, -5.0, -5.0, -5.0]], requires_grad=True)
    got = first_spike_time(times, weight)
    assert torch.isinf(got[0, 1:]).all()
    by_time, by_weight = torch.autograd.grad(torch.exp(-got).sum(), (times, weight), retain_graph=True)
    assert by_weight[0, :2].abs().min() > 0.0
    assert not by_weight[0, 2:].any()
    assert not by_weight[1:].any()
    assert not by_time[0, 2:].any()
    # an infinite upstream gradient of a silent neuron stays with it
    upstream = torch.tensor([[1.0, INF, INF]])
    assert torch.isfinite(torch.autograd.grad(got, weight, upstream)[0]).all()


def test_horizon_silences_later_spikes() -> None:
    times, weight = torch.zeros(1, 1), torch.tensor([[10.0]])
    free = float(first_spike_time(times, weight))
    assert float(first_spike_time(times, weight, horizon=free * 0.99)) == pytest.approx(free * 0.99)
    assert float(first_spike_time(times, weight, horizon=free * 1.01)) == free


def test_forward_mode_is_the_transpose_of_reverse_mode() -> None:
    times, weight = torch.tensor([[0.0, 1.0]], dtype=torch.float64), torch.tensor([[8.0, 6.0]], dtype=torch.float64)
    result = check_jvp_vjp(first_spike_time, (times, weight))
    assert result.status == "PASS", result.to_text()


def test_a_layer_learns_target_times() -> None:
    layer = FirstSpikeTime(4, 2, tau_m=10.0, tau_s=5.0)
    times, target = torch.tensor([[0.0, 1.0, 2.0, 3.0]]), torch.tensor([[4.0, 6.0]])
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.1)
    for _ in range(150):
        optimiser.zero_grad()
        loss = (layer(times) - target).square().mean()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 1e-3
    assert "tau_m=10" in repr(layer)


def test_constant_current() -> None:
    current = torch.tensor([1.0, 0.3, 2.0], requires_grad=True)
    got = constant_current_spike_time(current, tau=3.0)
    assert torch.isinf(got[:2]).all()
    assert got[2].item() == pytest.approx(3.0 * math.log(2.0))
    (slope,) = torch.autograd.grad(torch.exp(-got).sum(), current)
    assert slope[:2].tolist() == [0.0, 0.0]
    assert slope[2].item() > 0.0


@pytest.mark.parametrize(
    ("times", "weight", "error"),
    [
        (torch.zeros(2), torch.zeros(1, 2), ShapeError),
        (torch.zeros(1, 2), torch.zeros(1, 3), ShapeError),
        (torch.zeros(1, 2, dtype=torch.int64), torch.zeros(1, 2), ShapeError),
        (torch.tensor([[-1.0]]), torch.ones(1, 1), RangeError),
        (torch.tensor([[math.nan]]), torch.ones(1, 1), RangeError),
        (torch.ones(1, 1), torch.tensor([[INF]]), RangeError),
    ],
)
def test_bad_input_is_refused(times: torch.Tensor, weight: torch.Tensor, error: type[Exception]) -> None:
    with pytest.raises(error):
        first_spike_time(times, weight)


def test_bad_constants_are_refused() -> None:
    with pytest.raises(RangeError):
        first_spike_time(torch.zeros(1, 1), torch.ones(1, 1), horizon=0.0)
    with pytest.raises(RangeError):
        FirstSpikeTime(0, 1)
