"""Surrogates: one table, every member inherits every check; planted wrong ones are refused by the same helpers."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from scipy import integrate
from torch import Tensor

import bitprop.surrogate
from bitprop.errors import RangeError, RegistryError, ShapeError
from bitprop.surrogate import SURROGATES, AbstractSurrogate, FastSigmoid, SurrogateGradient, make_surrogate
from bitprop.verification.surrogate_audit import check_surrogate

SCALES = (0.7, 3.0, 25.0)
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def points(surrogate: AbstractSurrogate) -> Tensor:
    """Places away from the kinks."""
    x = torch.linspace(-3.0, 3.0, 601, dtype=torch.float64) / surrogate.scale + 1.3e-3 / surrogate.scale
    kinks = torch.tensor([k / surrogate.scale for k in surrogate.kinks], dtype=torch.float64)
    return x[((x[:, None] - kinks).abs() > 1e-3 / surrogate.scale).all(1)] if len(kinks) else x


def slope_error(
    primal: Callable[[Tensor], Tensor], derivative: Callable[[Tensor], Tensor], x: Tensor, h: float
) -> float:
    """Largest difference of an eight-point central difference from the derivative, of its peak."""
    weights = ((4 / 5, 1), (-1 / 5, 2), (4 / 105, 3), (-1 / 280, 4))
    numeric = sum(w * (primal(x + k * h) - primal(x - k * h)) for w, k in weights) / h
    return float((numeric - derivative(x)).abs().max() / derivative(torch.zeros_like(x)).abs().max())


@pytest.fixture(params=[(name, scale) for name in SURROGATES for scale in SCALES], ids=lambda p: f"{p[0]}-{p[1]:g}")
def surrogate(request: pytest.FixtureRequest) -> AbstractSurrogate:
    return make_surrogate(*request.param)


def test_derivative_is_the_slope_of_the_primal(surrogate: AbstractSurrogate) -> None:
    x, h = points(surrogate), 1e-4 / surrogate.scale
    assert slope_error(surrogate.primal, surrogate.derivative, x, h) < 1e-9
    # the helper refuses a slope that is off by a thousandth, and one of the wrong sign
    assert slope_error(surrogate.primal, lambda v: 1.001 * surrogate.derivative(v), x, h) > 1e-4
    assert slope_error(surrogate.primal, lambda v: -surrogate.derivative(v), x, h) > 1.0


def test_area_peak_and_symmetry(surrogate: AbstractSurrogate) -> None:
    assert float(surrogate.derivative(torch.zeros((), dtype=torch.float64))) == pytest.approx(surrogate.peak)
    x = points(surrogate)
    assert torch.allclose(surrogate.derivative(x), surrogate.derivative(-x), rtol=1e-12)
    assert bool((surrogate.derivative(x) >= 0).all())
    assert bool((surrogate.derivative(x) <= surrogate.peak * (1 + 1e-12)).all())
    if not math.isfinite(surrogate.area):
        with pytest.raises(RangeError, match="finite area"):
            surrogate.cdf(x)
        return

    def g(v: float) -> float:
        return float(surrogate.derivative(torch.tensor(v, dtype=torch.float64)))

    edges = [k / surrogate.scale for k in surrogate.kinks if k > 0] or [1.0 / surrogate.scale]
    area = 2 * (integrate.quad(g, 0, edges[0])[0] + integrate.quad(g, edges[0], math.inf, limit=200)[0])
    assert area == pytest.approx(surrogate.area, rel=1e-6)
    rise = surrogate.cdf(torch.tensor([-1e9, 0.0, 1e9], dtype=torch.float64))
    assert rise.tolist() == pytest.approx([0.0, 0.5, 1.0], abs=1e-6)
    assert bool((surrogate.cdf(x).diff() >= 0).all())


def test_second_derivative(surrogate: AbstractSurrogate) -> None:
    x = points(surrogate).requires_grad_(True)
    (first,) = torch.autograd.grad(surrogate(x).sum(), x, create_graph=True)
    assert torch.allclose(first, surrogate.derivative(x.detach()), rtol=1e-13)
    second = surrogate.second_derivative(x.detach())
    if first.requires_grad:
        (computed,) = torch.autograd.grad(first.sum(), x)
        assert torch.allclose(computed, second, rtol=1e-10, atol=1e-12 * surrogate.peak * surrogate.scale)
    else:
        assert not bool(second.any())
    h = 1e-6 / surrogate.scale
    y = points(surrogate)
    numeric = (surrogate.derivative(y + h) - surrogate.derivative(y - h)) / (2 * h)
    assert torch.allclose(numeric, second, rtol=1e-5, atol=1e-5 * surrogate.peak * surrogate.scale)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_finite_input_of_every_dtype(surrogate: AbstractSurrogate, dtype: torch.dtype) -> None:
    info = torch.finfo(dtype)
    edge = [info.max, info.max / 3, 1e4, 100.0, 1.0, 1e-3, info.tiny, 0.0]
    x = torch.tensor([*edge, *(-v for v in edge)], dtype=dtype, requires_grad=True)
    spikes = surrogate(x)
    assert spikes.dtype == dtype
    assert torch.equal(spikes.detach(), (x.detach() >= 0).to(dtype))
    (first,) = torch.autograd.grad(spikes.sum(), x, create_graph=True)
    assert first.dtype == dtype
    for values in (first, surrogate.primal(x), surrogate.second_derivative(x), surrogate.derivative(x)):
        assert bool(torch.isfinite(values).all())
    if first.requires_grad:
        (second,) = torch.autograd.grad(first.sum(), x)
        assert bool(torch.isfinite(second).all())


def test_audit(surrogate: AbstractSurrogate) -> None:
    result = check_surrogate(surrogate, surrogate)
    assert result.status == "PASS", result.to_text()
    if surrogate.name != "straight_through":
        other = make_surrogate(surrogate.name, surrogate.scale * 1.001)
        assert check_surrogate(other, surrogate).status == "FAIL"


@pytest.mark.parametrize("name", SURROGATES)
def test_function_transforms(name: str) -> None:
    surrogate = make_surrogate(name)
    x = torch.linspace(-1.0, 1.0, 7, dtype=torch.float64) + 0.01
    g = surrogate.derivative(x)
    assert torch.equal(torch.func.vmap(surrogate)(x), surrogate(x))
    assert torch.allclose(torch.func.vmap(torch.func.grad(surrogate))(x), g)
    assert torch.allclose(torch.func.jvp(surrogate, (x,), (torch.ones_like(x),))[1], g)
    assert torch.allclose(torch.func.vjp(surrogate, x)[1](torch.ones_like(x))[0], g)
    assert torch.allclose(torch.func.jacrev(surrogate)(x).diagonal(), g)
    assert torch.allclose(torch.func.jacfwd(surrogate)(x).diagonal(), g)
    hessian = torch.func.hessian(lambda v: surrogate(v).sum())(x)
    assert torch.allclose(hessian.diagonal(), surrogate.second_derivative(x))


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # the compiler's own doing
@pytest.mark.parametrize("name", SURROGATES)
def test_compiled(name: str) -> None:
    surrogate = make_surrogate(name)
    torch.compiler.reset()

    def loss(x: Tensor) -> Tensor:
        return (surrogate(x) * x).sum()

    x = torch.linspace(-1.0, 1.0, 9).requires_grad_(True)
    torch.compile(loss, fullgraph=True, backend="aot_eager")(x).backward()
    assert x.grad is not None
    expected = surrogate.derivative(x.detach()) * x.detach() + (x.detach() >= 0)
    assert torch.allclose(x.grad, expected)


def test_seed_names() -> None:
    x = torch.linspace(-1.0, 1.0, 11, requires_grad=True)
    (g,) = torch.autograd.grad(FastSigmoid.apply(x).sum(), x)
    assert torch.allclose(g, 1 / (1 + 25 * x.abs()) ** 2)
    (g,) = torch.autograd.grad(FastSigmoid.apply(x, 10.0).sum(), x)
    assert torch.allclose(g, SurrogateGradient.fast_sigmoid(x, 10.0))
    for name in SURROGATES:
        assert torch.equal(getattr(SurrogateGradient, name)(x), make_surrogate(name).derivative(x))
        assert torch.equal(getattr(SurrogateGradient, name)(x, 3.0), make_surrogate(name, 3.0).derivative(x))


def test_not_a_number_is_not_silence() -> None:
    assert bool(torch.isnan(FastSigmoid.apply(torch.tensor([float("nan")]))).all())


def test_bad_arguments() -> None:
    with pytest.raises(RegistryError, match="known surrogate, got 'mine'"):
        make_surrogate("mine")
    for scale in (0.0, -1.0, float("nan"), 1e9):
        with pytest.raises(RangeError, match="scale"):
            make_surrogate("atan", scale)
    with pytest.raises(ShapeError, match="floating-point"):
        make_surrogate("atan")(torch.tensor([1]))


def test_every_file_is_registered_under_its_stem_and_declares_everything() -> None:
    stems = {p.stem for p in Path(str(bitprop.surrogate.__file__)).parent.glob("*.py")} - {"__init__", "_surrogate"}
    assert stems == set(SURROGATES)
    for name in SURROGATES:
        declared = make_surrogate(name).to_dict()
        assert declared["name"] == name
        assert declared["reference"]
        assert declared["formula"].startswith("g(x) = ")
