"""What SpikingJelly documents about its surrogates: ``spikingjelly.activation_based.surrogate``.

The formulas are transcribed from the docstrings, which say everything twice, in Chinese and in English; where the two
differ, both are here.  ``g'`` is the derivative used by backward, ``g`` the primal that ``spiking=False`` computes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bitprop.verification.peers import _spikingjelly_formulas as f
from bitprop.verification.peers._probes import Probe, worst_pair

__all__ = ["surrogate_probes"]

Formula = Callable[..., Tensor]

# kinks of every parameter set below are among the points, and so are both zeros
_POINTS = (
    *(-100.0, -10.0, -3.0, -2.0, -1.7, -1.0, -0.5, -0.3, -0.25, -0.125, -0.01, -0.0),
    *(0.0, 0.01, 0.125, 0.25, 0.3, 0.5, 1.0, 1.7, 2.0, 3.0, 10.0, 100.0),
)
_SMOOTH_POINTS = (-9.1, -2.9, -1.9, -0.83, -0.47, -0.21, -0.07, 0.07, 0.21, 0.47, 0.83, 1.9, 2.9, 9.1)


@dataclass(frozen=True, slots=True)
class _Documented:
    """What the docstring of one surrogate says."""

    name: str
    derivative: Formula
    primal: Formula | None
    parameters: tuple[dict[str, Any], ...]
    spikes: Formula = f.heaviside
    helper: str | None = None
    helper_formula: Formula | None = None
    notes: dict[str, str] = field(default_factory=dict)


_ALPHAS = ({"alpha": 1.0}, {"alpha": 0.5}, {"alpha": 4.0})

_DOCUMENTED = (
    _Documented(
        "PiecewiseQuadratic",
        f.piecewise_quadratic,
        f.piecewise_quadratic_primal,
        _ALPHAS,
        helper="piecewise_quadratic",
        notes={
            "finite-primal": "with spiking=False the inner branch -alpha^2 x^2 / 2 is computed everywhere and "
            "multiplied by a mask: it overflows in float16 from |x| = 363 on, and inf * 0 is NaN"
        },
    ),
    _Documented("PiecewiseExp", f.piecewise_exp, f.piecewise_exp_primal, _ALPHAS, helper="piecewise_exp"),
    _Documented("Sigmoid", f.sigmoid, f.sigmoid_primal, _ALPHAS, helper="sigmoid"),
    _Documented(
        "SoftSign",
        f.soft_sign,
        f.soft_sign_primal,
        _ALPHAS,
        helper="soft_sign",
        helper_formula=f.soft_sign_as_helper_says,
        notes={
            "helper": "the formula in the docstring of soft_sign_backward, 1 / (2 alpha (1 + |x / alpha|)^2), has "
            "alpha upside down; the code and the docstring of SoftSign agree on alpha / (2 (1 + |alpha x|)^2)"
        },
    ),
    _Documented(
        "SuperSpike",
        f.super_spike,
        None,
        _ALPHAS,
        helper="super_spike",
    ),
    _Documented("ATan", f.atan, f.atan_primal, _ALPHAS, helper="atan"),
    _Documented(
        "NonzeroSignLogAbs",
        f.nonzero_sign_log_abs,
        f.nonzero_sign_log_abs_primal,
        _ALPHAS,
        helper="nonzero_sign_log_abs",
    ),
    _Documented("Erf", f.erf, f.erf_primal, _ALPHAS, helper="erf"),
    _Documented(
        "PiecewiseLeakyReLU",
        f.piecewise_leaky_relu,
        f.piecewise_leaky_relu_primal,
        ({"w": 1.0, "c": 0.01}, {"w": 0.5, "c": 0.1}, {"w": 2.0, "c": 0.0}),
        helper="piecewise_leaky_relu",
        notes={
            "derivative": "backward tests |x| < w, so the two edges get c instead of 1 / (2 w); x = -w is where a "
            "neuron rests that was just reset (v = 0, threshold 1, w = 1), and the primal of spiking=False has slope "
            "1 / (2 w) there"
        },
    ),
    _Documented(
        "SquarewaveFourierSeries",
        f.squarewave_fourier_series,
        f.squarewave_fourier_series_primal,
        ({"n": 2, "T_period": 8.0}, {"n": 5, "T_period": 6.0}),
    ),
    _Documented(
        "S2NN",
        f.s2nn,
        f.s2nn_primal,
        ({"alpha": 4.0, "beta": 1.0}, {"alpha": 2.0, "beta": 0.5}),
        notes={"primal": "the primal of spiking=False is beta ln(x + 1 + 1e-5) + 0.5 for x >= 0: 0.5 lower"},
    ),
    _Documented("QPseudoSpike", f.q_pseudo_spike, f.q_pseudo_spike_primal, ({"alpha": 2.0}, {"alpha": 3.5})),
    _Documented(
        "LeakyKReLU",
        f.leaky_k_relu,
        f.leaky_k_relu_primal,
        ({"leak": 0.0, "k": 1.0}, {"leak": 0.2, "k": 0.7}),
        helper="leaky_k_relu",
    ),
    _Documented(
        "FakeNumericalGradient",
        f.fake_numerical_gradient,
        None,
        ({"alpha": 0.3}, {"alpha": 2.0}),
        helper="fake_numerical_gradient",
        helper_formula=f.fake_numerical_gradient_as_helper_says,
        notes={
            "derivative": "at x = -0.0 the quotient is -inf, and only its upper side is clipped: one negative zero "
            "makes the gradient of everything before it infinite",
            "helper": "the formula in the docstring of fake_numerical_gradient_backward is (2 - sign(x)) / x clipped "
            "on both sides; the code and the docstring of FakeNumericalGradient agree on sign(x) / x",
        },
    ),
    _Documented(
        "LogTailedReLU",
        f.log_tailed_relu,
        f.log_tailed_relu_primal,
        ({"alpha": 0.0}, {"alpha": 0.2}),
        helper="log_tailed_relu",
    ),
    _Documented("DeterministicPass", f.straight_through, f.identity, ({},)),
    _Documented(
        "MultiLevelSpikeCount",
        f.multi_level,
        f.multi_level_primal,
        ({"max_spike_count": 4}, {"max_spike_count": 1}),
        spikes=f.multi_level_spikes,
    ),
    _Documented("Rect", f.rect, f.rect_primal, _ALPHAS, helper="rect"),
)


# g' and g, as the docstring of the class has them
_QUOTES = {
    "PiecewiseQuadratic": (
        "0, |x| > 1/alpha; -alpha^2 |x| + alpha, |x| <= 1/alpha",
        "0, x < -1/alpha; -alpha^2 |x| x / 2 + alpha x + 1/2, |x| <= 1/alpha; 1, x > 1/alpha",
    ),
    "PiecewiseExp": (
        "alpha / 2 exp(-alpha |x|)",
        "exp(alpha x) / 2, x < 0; 1 - exp(-alpha x) / 2, x >= 0",
    ),
    "Sigmoid": (
        "alpha (1 - sigmoid(alpha x)) sigmoid(alpha x)",
        "sigmoid(alpha x)",
    ),
    "SoftSign": (
        "alpha / (2 (1 + |alpha x|)^2)",
        "(alpha x / (1 + |alpha x|) + 1) / 2",
    ),
    "SuperSpike": (
        "alpha / (1 + |x|)^2",
        "",
    ),
    "ATan": (
        "alpha / (2 (1 + (pi/2 alpha x)^2))",
        "arctan(pi/2 alpha x) / pi + 1/2",
    ),
    "NonzeroSignLogAbs": (
        "alpha / (1 + |alpha x|)",
        "NonzeroSign(x) log(|alpha x| + 1)",
    ),
    "Erf": (
        "alpha / sqrt(pi) exp(-alpha^2 x^2)",
        "(1 - erf(-alpha x)) / 2",
    ),
    "PiecewiseLeakyReLU": (
        "1/(2w), -w <= x <= w; c, x < -w or x > w",
        "cx + cw, x < -w; x/(2w) + 1/2, -w <= x <= w; cx - cw + 1, x > w",
    ),
    "SquarewaveFourierSeries": (
        "of the series in g",
        "1/2 + 2/pi sum_{i=1}^{n-1} sin((2i - 1) omega x) / (2i - 1)",
    ),
    "S2NN": (
        "alpha (1 - sigmoid(alpha x)) sigmoid(alpha x), x < 0; beta / (x + 1), x >= 0",
        "sigmoid(alpha x), x < 0; beta ln(x + 1) + 1, x >= 0",
    ),
    "QPseudoSpike": (
        "(1 + 2 |x| / (alpha - 1))^-alpha",
        "(1 - 2x/(alpha - 1))^(1 - alpha) / 2, x < 0; 1 - (1 + 2x/(alpha - 1))^(1 - alpha) / 2, x >= 0",
    ),
    "LeakyKReLU": (
        "k, x >= 0; leak, x < 0",
        "k x, x >= 0; leak x, x < 0",
    ),
    "FakeNumericalGradient": (
        "clip(sign(x) / x, alpha)",
        "",
    ),
    "LogTailedReLU": (
        "alpha, x <= 0; 1, 0 < x <= 1; 1/x, x > 1",
        "alpha x, x <= 0; x, 0 < x <= 1; log(x) + 1, x > 1",
    ),
    "DeterministicPass": (
        "'directly passes the gradient through'",
        "'if False, returns the input directly'",
    ),
    "MultiLevelSpikeCount": (
        "'rectangular straight-through estimator', window [0, max_spike_count]",
        "clamp(x, 0, max_spike_count)",
    ),
    "Rect": (
        "alpha, |x| < 0.5/alpha; 0, |x| >= 0.5/alpha",
        "clip(alpha x + 0.5, 0, 1)",
    ),
}


def backward_of(
    sj: Any, name: str, parameters: dict[str, Any], formula: Callable[..., Tensor], points: tuple[float, ...]
) -> tuple[float, float]:
    """The documented derivative and what backward sends to x, where they differ most."""
    x = torch.tensor(points, dtype=torch.float64, requires_grad=True)
    upstream = torch.linspace(0.5, 2.0, len(points), dtype=torch.float64)
    getattr(sj.surrogate, name)(**parameters)(x).backward(upstream)
    return worst_pair(formula(x.detach(), **parameters), x.grad / upstream)  # type: ignore[arg-type, operator]


def helper_of(
    sj: Any, helper: str, parameters: dict[str, Any], formula: Callable[..., Tensor], points: tuple[float, ...]
) -> tuple[float, float]:
    """The derivative in the docstring of a ``*_backward`` function and what it returns, where they differ most."""
    x = torch.tensor(points, dtype=torch.float64)
    computed = getattr(sj.surrogate, helper + "_backward")(torch.ones_like(x), x, **parameters)[0]
    return worst_pair(formula(x, **parameters), computed)


def method_of(
    sj: Any, name: str, parameters: dict[str, Any], formula: Callable[..., Tensor], points: tuple[float, ...]
) -> tuple[float, float]:
    """The documented derivative and what the class's own static backward returns, where they differ most."""
    x = torch.tensor(points, dtype=torch.float64)
    computed = getattr(sj.surrogate, name).backward(torch.ones_like(x), x, *parameters.values())
    return worst_pair(formula(x, **parameters), computed)


def spikes_of(
    sj: Any, name: str, parameters: dict[str, Any], formula: Callable[..., Tensor], points: tuple[float, ...]
) -> tuple[float, float]:
    """The documented spikes and those of the forward pass, where they differ most."""
    x = torch.tensor(points, dtype=torch.float64)
    return worst_pair(formula(x, **parameters), getattr(sj.surrogate, name)(**parameters)(x))


def primal_of(
    sj: Any, name: str, parameters: dict[str, Any], formula: Callable[..., Tensor], points: tuple[float, ...]
) -> tuple[float, float]:
    """The documented primal and the output with spiking=False, where they differ most."""
    x = torch.tensor(points, dtype=torch.float64)
    return worst_pair(formula(x, **parameters), getattr(sj.surrogate, name)(**parameters, spiking=False)(x))


def primal_slope_of(
    sj: Any, name: str, parameters: dict[str, Any], formula: Callable[..., Tensor], points: tuple[float, ...]
) -> tuple[float, float]:
    """The documented derivative and the numeric slope of the output with spiking=False, where they differ most."""
    x, step = torch.tensor(points, dtype=torch.float64), 1e-6
    primal = getattr(sj.surrogate, name)(**parameters, spiking=False)
    return worst_pair(formula(x, **parameters), (primal(x + step) - primal(x - step)) / (2 * step))


def primal_gradient_of(
    sj: Any, name: str, parameters: dict[str, Any], formula: Callable[..., Tensor], points: tuple[float, ...]
) -> tuple[float, float]:
    """The documented derivative and the gradient with spiking=False, where they differ most."""
    x = torch.tensor(points, dtype=torch.float64, requires_grad=True)
    getattr(sj.surrogate, name)(**parameters, spiking=False)(x).sum().backward()
    return worst_pair(formula(x.detach(), **parameters), x.grad)  # type: ignore[arg-type]


def not_finite_of(sj: Any, name: str, parameters: dict[str, Any], dtype: torch.dtype) -> tuple[float, float]:
    """How many outputs and gradients are not finite, at inputs up to the largest of the dtype: none should be."""
    x = torch.tensor([-1.0, -1e-2, -1.0, 0.0, 1.0, 1e2, 1.0], dtype=dtype)
    x[0], x[-1] = torch.finfo(dtype).min, torch.finfo(dtype).max
    x[1] = -100.0
    x.requires_grad_()
    spikes = getattr(sj.surrogate, name)(**parameters)(x)
    spikes.sum().backward()
    return 0.0, float((~spikes.isfinite()).sum() + (~x.grad.isfinite()).sum())  # type: ignore[union-attr]


def primal_not_finite_of(sj: Any, name: str, parameters: dict[str, Any], dtype: torch.dtype) -> tuple[float, float]:
    """How many outputs with spiking=False are not finite at x from -1000 to 1000: none should be."""
    x = torch.tensor([-1000.0, -100.0, -1.0, 0.0, 1.0, 100.0, 1000.0], dtype=dtype)
    return 0.0, float((~getattr(sj.surrogate, name)(**parameters, spiking=False)(x).isfinite()).sum())


def bits_of(sj: Any, name: str, parameters: dict[str, Any], dtype: torch.dtype) -> tuple[float, float]:
    """Bits of the input's dtype and of the output's: every other surrogate keeps it."""
    spikes = getattr(sj.surrogate, name)(**parameters)(torch.tensor([0.25, 0.75], dtype=dtype))
    return float(torch.finfo(dtype).bits), float(torch.finfo(spikes.dtype).bits)


def changed_input_of(sj: Any, name: str, parameters: dict[str, Any]) -> tuple[float, float]:
    """How many entries of the input and of the upstream gradient are modified in place: none should be."""
    x = torch.tensor([-1.5, -0.25, 0.0, 0.25, 1.5])
    leaf, upstream = x.clone().requires_grad_(), torch.full_like(x, 3.0)
    getattr(sj.surrogate, name)(**parameters)(leaf).backward(upstream)
    return 0.0, float((leaf.detach() != x).sum() + (upstream != 3.0).sum())


def super_spike_primal(sj: Any) -> tuple[float, float]:
    """The primal of SuperSpike at 1 less that at 0: the integral of 1 / (1 + |x|)^2, which is 0.5."""
    f = sj.surrogate.SuperSpike(alpha=1.0, spiking=False)
    try:
        return 0.5, float(f(torch.tensor(1.0)) - f(torch.tensor(0.0)))
    except NotImplementedError:
        return 0.5, math.nan


def super_spike_width(sj: Any) -> tuple[float, float]:
    """Derivative at 0.1 relative to that at 0, for alpha = 10: 1 / (1 + 10 |x|)^2 in the paper that is cited."""
    x = torch.tensor([0.0, 0.1], dtype=torch.float64, requires_grad=True)
    sj.surrogate.SuperSpike(alpha=10.0)(x).sum().backward()
    return 1 / (1 + 10 * 0.1) ** 2, float(x.grad[1] / x.grad[0])  # type: ignore[index]


def squarewave_terms(sj: Any) -> tuple[float, float]:
    """Terms of the series for n = 3: every one adds 4 / T to the derivative at 0."""
    x = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    sj.surrogate.SquarewaveFourierSeries(n=3, T_period=8.0)(x).sum().backward()
    return 3.0, float(x.grad) / (4 / 8.0)  # type: ignore[arg-type]


def poisson_backward(sj: Any) -> tuple[float, float]:
    """Gradient of PoissonPass at any rate, and the upstream gradient."""
    x = torch.full((8,), 0.5, requires_grad=True)
    upstream = torch.linspace(1.0, 2.0, 8)
    sj.surrogate.PoissonPass()(x).backward(upstream)
    return worst_pair(upstream, x.grad)  # type: ignore[arg-type]


def _of_one(entry: _Documented) -> Iterator[Probe]:
    slope, primal = _QUOTES[entry.name]

    def probe(aspect: str, kind: str, says: str, measure: Any, *arguments: Any, tolerance: float = 1e-10) -> Probe:
        uses = () if measure in (not_finite_of, primal_not_finite_of, bits_of, changed_input_of) else (worst_pair,)
        found = entry.notes.get(aspect, f"the release differs ({aspect})")
        return Probe(
            f"spikingjelly.{entry.name}.{aspect}",
            f"surrogate.{entry.helper}_backward" if aspect == "helper" else f"surrogate.{entry.name}",
            kind,
            says,
            found,
            measure,
            arguments,
            uses,
            tolerance,
        )

    derivative, says = f"g'(x) = {slope}", f"spiking=False: g(x) = {primal}"
    for parameters in entry.parameters:
        yield probe(
            "derivative", "gradient", derivative, backward_of, entry.name, parameters, entry.derivative, _POINTS
        )
        yield probe(
            "spikes",
            "forward",
            "forward is the step (x >= 0)",
            spikes_of,
            entry.name,
            parameters,
            entry.spikes,
            _POINTS,
        )
        if entry.helper is not None:
            yield probe(
                "helper",
                "documentation",
                f"the formula for g'(x) in the (Chinese) docstring of {entry.helper}_backward",
                helper_of,
                entry.helper,
                parameters,
                entry.helper_formula or entry.derivative,
                _SMOOTH_POINTS,
            )
            yield probe(
                "method", "gradient", derivative, method_of, entry.name, parameters, entry.derivative, _SMOOTH_POINTS
            )
        if entry.primal is not None:
            yield probe("primal", "forward", says, primal_of, entry.name, parameters, entry.primal, _POINTS)
            for measure, tolerance in ((primal_slope_of, 1e-4), (primal_gradient_of, 1e-4)):
                # S2NN keeps its logarithm from 0 by 1e-5, a guard and not an error: hence 1e-4
                yield probe(
                    "primal-slope",
                    "gradient",
                    f"{derivative} is the slope of the primal",
                    measure,
                    entry.name,
                    parameters,
                    entry.derivative,
                    _SMOOTH_POINTS,
                    tolerance=tolerance,
                )
    first = entry.parameters[0]
    yield probe("in-place", "forward", "nothing is said of in-place changes", changed_input_of, entry.name, first)
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        yield probe("finite", "gradient", "the derivative is finite", not_finite_of, entry.name, first, dtype)
        yield probe("dtype", "dtype", "the spikes have the dtype of x", bits_of, entry.name, first, dtype)
        if entry.primal is not None:
            yield probe("finite-primal", "forward", says, primal_not_finite_of, entry.name, first, dtype)


_SINGLE = (
    Probe(
        "spikingjelly.SuperSpike.primal",
        "surrogate.SuperSpike",
        "forward",
        "spiking=False: 'in forward propagation, using the primitive function of the surrogate gradient function'",
        "primitive_function raises NotImplementedError",
        super_spike_primal,
    ),
    Probe(
        "spikingjelly.SuperSpike.alpha",
        "surrogate.SuperSpike",
        "documentation",
        "alpha is the 'parameter to control smoothness of gradient', of the surrogate proposed in SuperSpike",
        "alpha only multiplies: the width of alpha / (1 + |x|)^2 is the same for every alpha (the paper's slope is "
        "1 / (1 + beta |x|)^2); the gradient is that of the formula in the docstring",
        super_spike_width,
    ),
    Probe(
        "spikingjelly.SquarewaveFourierSeries.n",
        "surrogate.SquarewaveFourierSeries",
        "documentation",
        "n: 'number of terms in Fourier series'",
        "the sum has n - 1 terms, as in the formula of the same docstring; n = 1 leaves a gradient of zero",
        squarewave_terms,
    ),
    Probe(
        "spikingjelly.PoissonPass.derivative",
        "surrogate.PoissonPass",
        "gradient",
        "'backward directly passes the gradient through'",
        "it does not",
        poisson_backward,
        (),
        (worst_pair,),
    ),
    *(
        Probe(
            "spikingjelly.PoissonPass.dtype",
            "surrogate.PoissonPass",
            "dtype",
            "a spike tensor in place of the input, as every surrogate returns it: in the dtype of x",
            "forward ends in .float(): spikes are float32 in a network of any other dtype",
            bits_of,
            ("PoissonPass", {}, dtype),
        )
        for dtype in (torch.float16, torch.bfloat16, torch.float64)
    ),
)


def surrogate_probes() -> Iterator[Probe]:
    """Every statement about every surrogate."""
    for entry in _DOCUMENTED:
        yield from _of_one(entry)
    yield from _SINGLE
