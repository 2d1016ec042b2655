"""The audit of spike functions: registered ones pass, every planted error fails, frameworks' ones are recognised."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from bitprop.errors import RangeError, ShapeError
from bitprop.surrogate import SURROGATES, AbstractSurrogate, make_surrogate
from bitprop.verification.surrogate_audit import check_surrogate, identify_surrogate, spike_backward


def _fast_sigmoid(x: Tensor, scale: float = 10.0) -> Tensor:
    return 1.0 / (1.0 + scale * x.abs()) ** 2


def _spike(
    derivative: Callable[[Tensor], Tensor] = _fast_sigmoid,
    *,
    forward: Callable[[Tensor], Tensor] = lambda x: (x >= 0).to(x.dtype),
    chain: Callable[[Tensor, Tensor], Tensor] = lambda upstream, slope: upstream * slope,
) -> Callable[[Tensor], Tensor]:
    class Spike(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x.clone())
            return forward(x)

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            return chain(gradients[0], derivative(x))

    def call(x: Tensor) -> Tensor:
        out: Tensor = Spike.apply(x)  # type: ignore[no-untyped-call]
        return out

    return call


@pytest.mark.parametrize("name", SURROGATES.names())
@pytest.mark.parametrize("factor", [0.5, 1.0, 4.0])
def test_every_registered_surrogate_passes_and_is_recognised(name: str, factor: float) -> None:
    surrogate = make_surrogate(name, make_surrogate(name).scale * factor)
    result = check_surrogate(surrogate, surrogate, name=name)
    assert result.status == "PASS", result.to_text()
    matches = identify_surrogate(surrogate)
    assert any(
        match.name == name and match.amplitude == 1.0 and match.scale == pytest.approx(surrogate.scale, rel=1e-9)
        for match in matches
    ), matches


@pytest.mark.parametrize("scale", [1.001, 1.1])
def test_another_scale_fails(scale: float) -> None:
    result = check_surrogate(_spike(lambda x: _fast_sigmoid(x, 10.0 * scale)), _fast_sigmoid)
    assert result.status == "FAIL"
    assert result.where.claimed is not None
    assert result.where.computed is not None
    assert result.where.computed < result.where.claimed


def _in_place(x: Tensor) -> Tensor:
    x.data.clamp_(-1.0, 1.0)
    return (x >= 0).to(x.dtype)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        pytest.param(_spike(chain=lambda u, g: -u * g), "backward is -1", id="sign"),
        pytest.param(_spike(chain=lambda u, g: u.abs() * g), "upstream", id="upstream's sign lost"),
        pytest.param(_spike(chain=lambda u, g: u.clamp(-1.0, 1.0) * g), "upstream", id="upstream clipped"),
        pytest.param(_spike(chain=lambda u, g: g), "upstream", id="upstream ignored"),
        pytest.param(_spike(chain=lambda u, g: (u * g).float().double()), "backward is", id="hidden float32"),
        pytest.param(_spike(forward=torch.sigmoid), "not a step", id="smooth forward"),
        pytest.param(_spike(forward=lambda x: (x < 0).to(x.dtype)), "falls", id="inverted forward"),
        pytest.param(_spike(forward=torch.zeros_like), "everywhere", id="never spikes"),
        pytest.param(_spike(forward=lambda x: (x >= 0).float()), "float64 input gives float32", id="dtype"),
        pytest.param(_spike(forward=_in_place), "in place", id="input modified"),
        pytest.param(_spike(lambda x: torch.exp(-x) / (1.0 + torch.exp(-x)) ** 2), "gradient nan", id="overflow"),
        pytest.param(_spike(lambda x: torch.where(x.abs() > 99.0, math.nan, _fast_sigmoid(x))), "nan", id="nan far"),
    ],
)
def test_planted_errors_fail(function: Callable[[Tensor], Tensor], reason: str) -> None:
    derivative = (lambda x: torch.sigmoid(x) * torch.sigmoid(-x)) if reason == "gradient nan" else _fast_sigmoid
    result = check_surrogate(function, derivative)
    assert result.status == "FAIL"
    assert reason in result.detail, result.detail


def test_random_forward_fails() -> None:
    generator = torch.Generator().manual_seed(0)
    noisy = _spike(forward=lambda x: (x > torch.rand(x.shape, generator=generator)).to(x.dtype))
    assert "random" in check_surrogate(noisy, _fast_sigmoid).detail


def test_primal_peak_and_area_are_checked() -> None:
    surrogate = make_surrogate("atan", 2.0)
    assert check_surrogate(surrogate, surrogate.derivative, primal=surrogate.primal).status == "PASS"
    wrong = check_surrogate(surrogate, surrogate.derivative, primal=lambda x: surrogate.primal(1.001 * x))
    assert "primal" in wrong.detail
    shifted = check_surrogate(surrogate, surrogate.derivative, primal=lambda x: surrogate.primal(x) + 5.0)
    assert shifted.status == "PASS"  # a constant has no slope
    assert "peak" in check_surrogate(surrogate, surrogate.derivative, peak=surrogate.peak * 1.01).detail
    assert "area" in check_surrogate(surrogate, surrogate.derivative, area=surrogate.area * 1.01).detail


def test_options_and_data() -> None:
    result = check_surrogate(_spike(), _fast_sigmoid, points=101)
    assert result.status == "PASS", result.to_text()
    assert set(result.data) >= {"x", "computed", "claimed", "primal"}
    assert result.data["area"] == pytest.approx(0.2, rel=1e-6)
    assert result.data["peak"] == 1.0
    kept = check_surrogate(_spike(forward=lambda x: (x >= 0).float()), _fast_sigmoid, keep_dtype=False)
    assert kept.status == "PASS", kept.to_text()
    assert check_surrogate(_spike(forward=torch.sigmoid), _fast_sigmoid, step=False).status == "PASS"
    counts = _spike(forward=lambda x: (x + 1.0).clamp(0.0, 9.0).floor())
    assert check_surrogate(counts, _fast_sigmoid).status == "PASS"  # several spikes in a step are whole numbers too


def test_zero_is_vacuous_and_bad_functions_are_refused() -> None:
    assert check_surrogate(_spike(torch.zeros_like), torch.zeros_like).status == "VACUOUS"
    assert check_surrogate(_spike(), torch.zeros_like).status == "FAIL"
    with pytest.raises(RangeError, match="gradient"):
        check_surrogate(lambda x: (x >= 0).to(x.dtype), _fast_sigmoid)
    with pytest.raises(ShapeError, match="shape"):
        spike_backward(lambda x: x.sum(), torch.ones(3))
    with pytest.raises(RangeError):
        check_surrogate(_spike(), _fast_sigmoid, points=3)


def test_identify_tells_scale_and_amplitude() -> None:
    halved = identify_surrogate(_spike(lambda x: 0.5 * _fast_sigmoid(x, 7.0)))
    found = [m for m in halved if m.amplitude != 1.0]
    assert any(m.scale == pytest.approx(7.0) and m.error < 1e-12 for m in halved)
    assert found or halved[0].amplitude == 1.0
    assert identify_surrogate(_spike(lambda x: 1.0 / (1.0 + x.abs() ** 3))) == ()
    assert identify_surrogate(_spike(torch.zeros_like)) == ()


def _snntorch() -> list[tuple[Callable[[Tensor], Tensor], str, float]]:
    surrogate = pytest.importorskip("snntorch.surrogate")
    return [(surrogate.atan(alpha=2.0), "atan", 2.0), (surrogate.fast_sigmoid(slope=25), "fast_sigmoid", 25.0)]


def _spikingjelly() -> list[tuple[Callable[[Tensor], Tensor], str, float]]:
    surrogate = pytest.importorskip("spikingjelly.activation_based.surrogate")
    return [(surrogate.Sigmoid(alpha=4.0), "sigmoid", 4.0), (surrogate.ATan(alpha=2.0), "atan", 2.0)]


def _norse() -> list[tuple[Callable[[Tensor], Tensor], str, float]]:
    threshold = pytest.importorskip("norse.torch.functional.threshold").threshold
    # as released, this one divides by (1 + |x|)^2 whatever alpha is
    return [(lambda x: threshold(x, "super", 100.0), "fast_sigmoid", 1.0)]


def _sinabs() -> list[tuple[Callable[[Tensor], Tensor], str, float]]:
    activation = pytest.importorskip("sinabs.activation")
    exponential = activation.SingleExponential(grad_width=0.5)
    return [(lambda x: activation.SingleSpike.apply(x + 1.0, 1.0, exponential), "exponential", 2.0)]


@pytest.mark.parametrize("framework", [_snntorch, _spikingjelly, _norse, _sinabs])
def test_spike_functions_of_frameworks_are_recognised(
    framework: Callable[[], list[tuple[Callable[[Tensor], Tensor], str, float]]],
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from importing them
        functions = framework()
    for function, name, scale in functions:
        x = torch.linspace(-2.0, 2.0, 41, dtype=torch.float64)
        _, computed = spike_backward(function, x)
        matches = identify_surrogate(function)
        assert matches, (name, computed)
        for match in matches:
            again = match.amplitude * make_surrogate(match.name, match.scale).derivative(x)
            assert torch.allclose(again, computed, rtol=0.0, atol=1e-9 * float(computed.max()))
        assert any(m.name == name and m.scale == pytest.approx(scale, rel=1e-9) for m in matches), matches
        best, amplitude = make_surrogate(matches[0].name, matches[0].scale), matches[0].amplitude

        def derivative(x: Tensor, factor: float = amplitude, best: AbstractSurrogate = best) -> Tensor:
            return factor * best.derivative(x)

        audit = check_surrogate(function, derivative, keep_dtype=False)
        assert audit.status == "PASS", audit.to_text()
        wrong = functools.partial(derivative, factor=1.001 * amplitude)
        assert check_surrogate(function, wrong, keep_dtype=False).status == "FAIL"
