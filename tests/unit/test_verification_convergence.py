"""Convergence: known laws are recovered, wrong ones refused, patience stops, seeds give intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from bitprop.errors import RangeError
from bitprop.verification.convergence import ConvergenceAnalyzer

EPOCHS = range(1, 41)


def noisy(values: list[float], size: float, seed: int = 0) -> list[float]:
    noise = np.random.default_rng(seed).normal(0.0, size, len(values))
    return [float(v + n) for v, n in zip(values, noise, strict=True)]


@pytest.mark.parametrize("seed", range(5))
def test_laws_are_recovered(seed: int) -> None:
    analyzer = ConvergenceAnalyzer()
    power = analyzer.analyze_history(noisy([0.2 + 2.0 * e**-0.8 for e in EPOCHS], 1e-3, seed))
    assert power.best is not None
    assert power.best.law == "power"
    assert power.best.asymptote == pytest.approx(0.2, abs=0.02)
    assert power.best.rate == pytest.approx(0.8, abs=0.05)
    exponential = analyzer.analyze_history(noisy([0.5 + 1.5 * math.exp(-0.2 * (e - 1)) for e in EPOCHS], 1e-3, seed))
    assert exponential.best is not None
    assert exponential.best.law == "exponential"
    assert exponential.best.asymptote == pytest.approx(0.5, abs=0.01)
    assert exponential.verdict == "converged"
    assert [fit.law for fit in exponential.fits] != [fit.law for fit in power.fits]


def test_verdicts() -> None:
    analyzer = ConvergenceAnalyzer()
    assert analyzer.analyze_history(noisy([1.0] * 40, 0.01)).verdict == "plateau"
    falling = analyzer.analyze_history([10.0 - 0.1 * e for e in EPOCHS])
    assert falling.verdict == "improving"
    assert falling.slope == pytest.approx(-0.1)
    assert falling.slope_interval is not None
    assert falling.slope_interval[1] < 0
    assert analyzer.analyze_history([1.0, 0.9, float("nan")]).verdict == "diverged"
    assert analyzer.analyze_history([1.0, 1.2, 1.6]).verdict == "diverged"
    assert analyzer.analyze_history([1.0]).best_epoch == 1
    assert analyzer.analyze_history([3.0, 1.0, 2.0]).best_epoch == 2
    with pytest.raises(RangeError, match="at least one loss"):
        analyzer.analyze_history([])


def test_a_flat_history_is_a_plateau_nineteen_times_in_twenty() -> None:
    analyzer = ConvergenceAnalyzer()
    plateaus = sum(analyzer.analyze_history(noisy([1.0] * 40, 0.05, seed)).verdict == "plateau" for seed in range(60))
    # an interval of 95 %, from twenty points: 45 of 60 are exceeded with probability above 0.999
    assert plateaus >= 45


def problem() -> tuple[nn.Module, list[tuple[torch.Tensor, torch.Tensor]]]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 3, generator=generator)
    return nn.Linear(3, 1), [(x, x.sum(1, keepdim=True))]


def test_training_converges_and_stops_with_patience() -> None:
    model, batches = problem()
    analyzer = ConvergenceAnalyzer(patience=3, min_delta=1e-6)
    result = analyzer.analyze_convergence(
        model, batches, nn.functional.mse_loss, torch.optim.SGD(model.parameters(), lr=0.3), epochs=200
    )
    assert result.stopped_early == (True,)
    assert len(result.losses[0]) < 200
    assert len(result.gradient_norms[0]) == len(result.losses[0])
    assert result.final_mean < 1e-4
    assert result.final_interval is None
    assert result.to_dict()["verdict"] == result.verdict


def test_divergence_is_said() -> None:
    model, batches = problem()
    result = ConvergenceAnalyzer().analyze_convergence(
        model, batches, nn.functional.mse_loss, torch.optim.SGD(model.parameters(), lr=100.0), epochs=50
    )
    assert result.verdict == "diverged"
    assert len(result.losses[0]) < 50


def test_seeds_give_an_interval() -> None:
    _, batches = problem()

    def factory(seed: int) -> nn.Module:
        layer = nn.Linear(3, 1)
        with torch.no_grad():
            layer.weight.fill_(0.1 * seed)
            layer.bias.zero_()
        return layer

    result = ConvergenceAnalyzer(patience=50).analyze_seeds(
        factory, batches, nn.functional.mse_loss, lambda p: torch.optim.SGD(p, lr=0.02), epochs=6
    )
    assert len(result.losses) == 5
    assert result.final_interval is not None
    assert result.final_interval[0] < result.final_mean < result.final_interval[1]
    with pytest.raises(RangeError, match="at least five"):
        ConvergenceAnalyzer().analyze_seeds(
            factory, batches, nn.functional.mse_loss, lambda p: torch.optim.SGD(p, lr=0.1), seeds=(1, 1, 2, 3, 4)
        )


def test_an_empty_loader_is_an_error() -> None:
    model, _ = problem()
    with pytest.raises(RangeError, match="expected batches"):
        ConvergenceAnalyzer().analyze_convergence(
            model, [], nn.functional.mse_loss, torch.optim.SGD(model.parameters(), lr=0.1)
        )
