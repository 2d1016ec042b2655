"""Variance: the declared law against the stream length, the field's ordering, exact values where they exist."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bitprop.training.sc_estimators import (
    ESTIMATORS,
    StreamProductLoss,
    bit_patterns,
    exact_gradient,
    make_estimator,
    pattern_probabilities,
)
from bitprop.verification.estimators import profile_estimators

LENGTHS = (8, 32, 128)
SAMPLES = 3000
RANDOM = [name for name in ESTIMATORS if ESTIMATORS[name].variance_exponent is not None]


def scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def stream_variances(name: str, seed: int, encoding: str, temperature: float | None = None) -> list[float]:
    """Variance of the gradient with respect to the first value of ``E[(D - y)^2]``, for each length."""
    parameters = {} if temperature is None else {"temperature": temperature}
    first, second = scalar(0.6), scalar(0.7)
    found = []
    for length in LENGTHS:
        loss = StreamProductLoss(length, encoding, -0.5)
        rows = make_estimator(name, **parameters).estimate(
            loss, loss.logits(first, second), samples=SAMPLES, generator=torch.Generator().manual_seed(seed + length)
        )
        gradient = loss.stream_gradient(rows, first, second)[:, 0]
        found.append(float((gradient - gradient[0]).var()))
    return found


def slope(variances: list[float]) -> float:
    return math.log(variances[-1] / variances[0]) / math.log(LENGTHS[-1] / LENGTHS[0])


@pytest.mark.parametrize("encoding", ["unipolar", "bipolar"])
@pytest.mark.parametrize("name", [n for n in RANDOM if n != "rebar"])
def test_declared_growth_with_the_stream_length(name: str, encoding: str, seed: int) -> None:
    declared = ESTIMATORS[name].variance_exponent
    assert declared is not None
    assert abs(slope(stream_variances(name, seed, encoding)) - declared) < 0.2


def test_rebar_grows_more_slowly_than_the_score_and_its_gap_closes_when_cold(seed: int) -> None:
    """The term in L carries the gap between bits and relaxed bits: it shows late, and shrinks with temperature."""
    score = stream_variances("score_function", seed, "bipolar")
    warm = stream_variances("rebar", seed, "bipolar", temperature=2.0)
    cold = stream_variances("rebar", seed, "bipolar", temperature=0.1)
    assert slope(cold) < slope(warm) < slope(score) + 0.1
    assert max(cold[-1], warm[-1]) < score[-1]


def test_the_relaxation_is_deterministic(seed: int) -> None:
    assert stream_variances("pathwise_relaxation", seed, "bipolar") == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("name", ["score_function", "leave_one_out"])
def test_sampled_variance_equals_the_enumerated_one(name: str, seed: int) -> None:
    """Score function: ``E[f^2 (z - p)^2] - g^2``; leave-one-out of two: the same over pairs of patterns."""
    weight = torch.tensor([0.8, -0.6, 0.5, 0.4], dtype=torch.float64)
    logits = torch.tensor([0.3, -0.5, 0.8, -1.2], dtype=torch.float64)

    def loss(z: Tensor) -> Tensor:
        return torch.exp(z @ weight)

    patterns, probability = bit_patterns(4), pattern_probabilities(logits)
    if name == "score_function":
        second = probability @ (loss(patterns).unsqueeze(-1) * (patterns - torch.sigmoid(logits))) ** 2
    else:
        pairs = (loss(patterns)[:, None] - loss(patterns))[..., None] * (patterns[:, None] - patterns) / 2
        second = torch.einsum("a,b,abn->n", probability, probability, pairs**2)
    exact = second - exact_gradient(loss, logits) ** 2
    rows = make_estimator(name).estimate(loss, logits, samples=100_000, generator=torch.Generator().manual_seed(seed))
    # the variance of a variance from the fourth moment; six standard errors
    centred = rows - rows.mean(dim=0)
    error = ((centred**4).mean(dim=0) - (centred**2).mean(dim=0) ** 2).sqrt() / math.sqrt(100_000)
    assert bool(((rows.var(dim=0) - exact).abs() < 6 * error).all())


def test_the_fields_ordering_on_six_bits() -> None:
    """REBAR < DisARM < ARM, leave-one-out < score function; DisARM never above ARM (it is its conditional mean)."""
    weight = torch.tensor([0.8, -0.6, 0.5, 0.4, -0.7, 0.9], dtype=torch.float64)
    logits = torch.tensor([0.3, -0.5, 0.8, -1.2, 0.1, 0.6], dtype=torch.float64)
    profiles = profile_estimators(lambda z: torch.exp(z @ weight), logits, samples=50_000)
    variance = {p.name: p.total_variance for p in profiles}
    assert variance["rebar"] < variance["disarm"] < variance["arm"] < variance["score_function"]
    assert variance["disarm"] < variance["leave_one_out"] < variance["score_function"]
    assert variance["straight_through"] < variance["rebar"]
    assert variance["pathwise_relaxation"] == 0.0
    assert 18.0 < variance["score_function"] < 22.0
    for p in profiles:
        if p.unbiased:
            assert p.target_bias is not None
            assert p.target_bias < 1e-12
            assert p.relative_bias < 6 * p.relative_standard_error
        else:
            assert p.relative_bias > 0.1


def test_a_larger_group_divides_the_variance() -> None:
    """Leave-one-out over K draws: the variance of a row falls at least like 1/K."""
    weight = torch.tensor([0.8, -0.6, 0.5, 0.4], dtype=torch.float64)
    logits = torch.tensor([0.3, -0.5, 0.8, -1.2], dtype=torch.float64)
    groups = [make_estimator("leave_one_out", group=k) for k in (2, 4, 16)]
    two, four, sixteen = profile_estimators(lambda z: torch.exp(z @ weight), logits, samples=20_000, estimators=groups)
    assert four.total_variance < two.total_variance / 2 * 1.05
    assert sixteen.total_variance < two.total_variance / 8 * 1.05
