"""Each estimator's claim, against enumeration.

False-alarm budget: every check fails a true claim with probability 1e-6 (two tests at 1e-3), and there are fewer
than a hundred: below 1e-4 for the file, under whatever seed.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bitprop.training.sc_estimators import (
    ESTIMATORS,
    StreamProductLoss,
    exact_gradient,
    make_estimator,
)
from bitprop.verification.estimators import check_unbiased, profile_estimators

SAMPLES = 40_000
UNBIASED = [name for name in ESTIMATORS if ESTIMATORS[name].unbiased]
BIASED = [name for name in ESTIMATORS if not ESTIMATORS[name].unbiased]
HARD = [name for name in UNBIASED if not ESTIMATORS[name].needs_relaxed_loss]

Problem = tuple[Callable[[Tensor], Tensor], Tensor]


def stream(encoding: str, length: int, x: float, w: float, y: float) -> Problem:
    loss = StreamProductLoss(length, encoding, y, negative=encoding == "sign_magnitude" and x * w < 0)
    return loss, loss.logits(torch.tensor(x, dtype=torch.float64), torch.tensor(w, dtype=torch.float64))


def six_bits() -> Problem:
    """``exp(w . z)``: every order of interaction, smooth, no symmetry."""
    weight = torch.tensor([0.8, -0.6, 0.5, 0.4, -0.7, 0.9], dtype=torch.float64)
    logits = torch.tensor([0.3, -0.5, 0.8, -1.2, 0.1, 0.6], dtype=torch.float64)
    return lambda z: torch.exp(z @ weight.to(z.dtype)), logits


def random_polynomial() -> Problem:
    """A random function of six bits, squared so that it is not multilinear."""
    generator = torch.Generator().manual_seed(11)
    weight = torch.randn(6, generator=generator, dtype=torch.float64)
    pair = torch.randn(6, 6, generator=generator, dtype=torch.float64) / 3

    def loss(z: Tensor) -> Tensor:
        return (z @ weight + ((z @ pair) * z).sum(dim=-1) + 0.5) ** 2

    return loss, torch.randn(6, generator=generator, dtype=torch.float64)


def table() -> Problem:
    """A random table over six bits: no structure at all, and no value between the bits."""
    values = torch.randn(64, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    place = 2 ** torch.arange(6)

    def loss(z: Tensor) -> Tensor:
        return values[((z > 0.5).long() * place).sum(dim=-1)]

    return loss, torch.linspace(-1.0, 1.0, 6, dtype=torch.float64)


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "and": lambda: stream("unipolar", 3, 0.3, 0.8, 0.9),
    "xnor": lambda: stream("bipolar", 3, 0.4, -0.6, 0.9),
    "signed_and": lambda: stream("sign_magnitude", 3, -0.7, 0.6, 0.8),
    "six_bits": six_bits,
    "random_polynomial": random_polynomial,
}


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", UNBIASED)
def test_unbiased_claims_hold(name: str, problem: str, seed: int) -> None:
    loss, logits = PROBLEMS[problem]()
    result = check_unbiased(make_estimator(name), loss, logits, samples=SAMPLES, seed=seed)
    assert result.status == "PASS", result


@pytest.mark.parametrize("name", HARD)
def test_losses_without_a_slope(name: str, seed: int) -> None:
    loss, logits = table()
    result = check_unbiased(make_estimator(name), loss, logits, samples=SAMPLES, seed=seed)
    assert result.status == "PASS", result


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("leave_one_out", {"group": 7}),
        ("rebar", {"temperature": 0.1}),
        ("rebar", {"temperature": 3.0}),
        ("rebar", {"scale": 0.4}),
        ("rebar", {"scale": -2.0}),
    ],
)
def test_unbiased_whatever_the_parameters(name: str, parameters: dict[str, float], seed: int) -> None:
    loss, logits = six_bits()
    result = check_unbiased(make_estimator(name, **parameters), loss, logits, samples=SAMPLES, seed=seed)
    assert result.status == "PASS", result


@pytest.mark.parametrize(
    ("name", "problem", "least", "most"),
    [
        # relative bias against enumeration: what the relaxation costs, not a defect of the code
        ("pathwise_relaxation", "and", 0.15, 0.153),
        ("pathwise_relaxation", "six_bits", 0.18, 0.20),
        ("straight_through", "and", 0.10, 0.14),
        ("straight_through", "xnor", 0.25, 0.32),
        ("straight_through", "six_bits", 0.11, 0.14),
        ("gumbel", "and", 0.06, 0.11),
        ("gumbel", "six_bits", 0.20, 0.23),
    ],
)
def test_biased_estimators_are_found_biased(name: str, problem: str, least: float, most: float, seed: int) -> None:
    loss, logits = PROBLEMS[problem]()
    result = check_unbiased(make_estimator(name), loss, logits, samples=SAMPLES, seed=seed)
    assert result.status == "FAIL", result
    assert result.relative_bias is not None
    assert least < result.relative_bias < most


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", ["pathwise_relaxation", "straight_through"])
def test_biased_estimators_meet_their_declared_target(name: str, problem: str, seed: int) -> None:
    loss, logits = PROBLEMS[problem]()
    result = check_unbiased(make_estimator(name), loss, logits, samples=SAMPLES, seed=seed, against="declared")
    assert result.status == "PASS", result


@pytest.mark.parametrize("temperature", [0.3, 0.5, 1.0])
@pytest.mark.parametrize("length", [1, 2])
def test_gumbel_meets_its_declared_target(length: int, temperature: float, seed: int) -> None:
    """By quadrature over the uniforms, for up to four bits."""
    loss, logits = stream("unipolar", length, 0.4, 0.7, 0.9)
    estimator = make_estimator("gumbel", temperature=temperature)
    result = check_unbiased(estimator, loss, logits, samples=SAMPLES, seed=seed, against="declared")
    assert result.status == "PASS", result


def test_gumbel_quadrature_has_converged() -> None:
    """One bit and f(s) = s: the mean slope is dE[s]/dlogit, here by a plain midpoint rule."""
    logit = torch.tensor([0.4], dtype=torch.float64)
    u = (torch.arange(1 << 20, dtype=torch.float64) + 0.5) / (1 << 20)
    for temperature in (0.3, 0.5, 1.0):
        soft = torch.sigmoid((0.4 + torch.logit(u)) / temperature)
        midpoint = float((soft * (1 - soft) / temperature).mean())
        target = make_estimator("gumbel", temperature=temperature).target_gradient(lambda z: z[..., 0], logit)
        assert abs(float(target) - midpoint) < 1e-6


def test_gumbel_bias_falls_and_variance_rises_as_it_cools() -> None:
    loss, logits = six_bits()
    cooling = [make_estimator("gumbel", temperature=t) for t in (1.0, 0.5, 0.25, 0.1)]
    profiles = profile_estimators(loss, logits, samples=SAMPLES, estimators=cooling)
    bias = [p.relative_bias for p in profiles]
    variance = [p.total_variance for p in profiles]
    assert bias == sorted(bias, reverse=True)
    assert variance == sorted(variance)


@pytest.mark.parametrize("name", [n for n in ESTIMATORS if ESTIMATORS[n].unbiased_if_multilinear])
def test_exact_on_multilinear_losses(name: str, seed: int) -> None:
    """A weighted sum of products of distinct bits: relaxation and straight-through are right here."""
    logits = torch.tensor([0.3, -0.5, 0.8], dtype=torch.float64)

    def multilinear(z: Tensor) -> Tensor:
        return 2.0 * z[..., 0] * z[..., 1] - z[..., 1] * z[..., 2] + 0.5 * z.prod(dim=-1) + z[..., 0]

    result = check_unbiased(make_estimator(name), multilinear, logits, samples=SAMPLES, seed=seed)
    assert result.status == "PASS", result


def test_gumbel_is_biased_even_there() -> None:
    logits = torch.tensor([0.3, -0.5], dtype=torch.float64)
    result = check_unbiased(make_estimator("gumbel"), lambda z: z.prod(dim=-1), logits, samples=SAMPLES)
    assert result.status == "FAIL"


@pytest.mark.parametrize("name", BIASED)
def test_target_gradient_differs_from_the_exact_one(name: str) -> None:
    loss, logits = stream("unipolar", 2, 0.4, 0.7, 0.9)
    target = make_estimator(name).target_gradient(loss, logits)
    exact = exact_gradient(loss, logits)
    assert target.dtype == torch.float64
    assert float((target - exact).norm()) > 0.01 * float(exact.norm())
