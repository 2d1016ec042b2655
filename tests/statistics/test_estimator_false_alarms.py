"""How often the unbiasedness test blames a correct estimator: measured, against what it states."""

from __future__ import annotations

from functools import lru_cache

import pytest
import torch
from scipy import stats
from torch import Tensor

from bitprop.training.sc_estimators import ESTIMATORS, StreamProductLoss, exact_gradient, make_estimator
from bitprop.verification.estimators import UnbiasednessResult, check_unbiased, hotelling

SEEDS = 200
UNBIASED = [name for name in ESTIMATORS if ESTIMATORS[name].unbiased]
WEIGHT = torch.tensor([0.8, -0.6, 0.5, 0.4, -0.7, 0.9], dtype=torch.float64)
LOGITS = torch.tensor([0.3, -0.5, 0.8, -1.2, 0.1, 0.6], dtype=torch.float64)


def smooth(z: Tensor) -> Tensor:
    return torch.exp(z @ WEIGHT)


@lru_cache(maxsize=8)
def verdicts(name: str) -> tuple[UnbiasednessResult, ...]:
    return tuple(check_unbiased(make_estimator(name), smooth, LOGITS, samples=3000, seed=seed) for seed in range(SEEDS))


@pytest.mark.parametrize("name", UNBIASED)
def test_no_failure_over_two_hundred_seeds(name: str) -> None:
    """Expected: 200 * 1e-6 failures, 200 * 1e-3 retests."""
    assert [r.seed for r in verdicts(name) if r.status == "FAIL"] == []
    retests = sum(r.first_p_value is not None for r in verdicts(name))
    assert retests <= int(stats.binom.ppf(1 - 1e-6, SEEDS, 1e-3))


@pytest.mark.parametrize("name", UNBIASED)
def test_p_values_are_uniform(name: str) -> None:
    """Kolmogorov-Smirnov over 200 seeds, and the rate at the 5% level inside its binomial range (both at 1e-6)."""
    p_values = [r.p_value if r.first_p_value is None else r.first_p_value for r in verdicts(name)]
    assert stats.kstest(p_values, "uniform").pvalue > 1e-6
    low, high = stats.binom.ppf([1e-6, 1 - 1e-6], SEEDS, 0.05)
    assert low <= sum(p <= 0.05 for p in p_values) <= high


@pytest.mark.parametrize("samples", [500, 4000])
def test_few_samples_of_a_skewed_problem(samples: int) -> None:
    """An AND of rare bits, the least normal estimates here: the rate at 5% stays near 5% whatever the sample count."""
    loss = StreamProductLoss(2, "unipolar", 0.9)
    logits = loss.logits(torch.tensor(0.15, dtype=torch.float64), torch.tensor(0.3, dtype=torch.float64))
    exact = exact_gradient(loss, logits)
    alarms = 0
    for seed in range(SEEDS):
        generator = torch.Generator().manual_seed(seed)
        rows = make_estimator("score_function").estimate(loss, logits, samples=samples, generator=generator)
        alarms += hotelling(rows, exact).p_value <= 0.05
    assert alarms <= int(stats.binom.ppf(1 - 1e-6, SEEDS, 0.06))
