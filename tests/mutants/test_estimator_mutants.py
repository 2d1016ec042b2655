"""Wrong estimators: the unbiasedness test must object to every one, whatever the scale of the loss."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from bitprop.training.sc_estimators import (
    Arm,
    Disarm,
    LeaveOneOut,
    Loss,
    PathwiseRelaxation,
    Rebar,
    ScoreFunction,
    StraightThrough,
    StreamProductLoss,
    make_estimator,
)
from bitprop.training.sc_estimators._estimator import AbstractEstimator, loss_gradient, uniform
from bitprop.verification.estimators import check_unbiased

SAMPLES = 200_000
Draw = Callable[[Any, Loss, Tensor, int, torch.Generator], Tensor]


def mutant(base: type[AbstractEstimator], draw: Draw) -> AbstractEstimator:
    """``base`` with its formula replaced, its claims kept."""
    made = dataclasses.dataclass(frozen=True, slots=True)(
        type(f"Mutant{base.__name__}", (base,), {"_draw": draw, "__annotations__": {}})
    )
    return made()


def score_wrong_sign(self: Any, loss: Loss, logits: Tensor, samples: int, generator: torch.Generator) -> Tensor:
    return -ScoreFunction._draw(self, loss, logits, samples, generator)


def score_without_the_loss(self: Any, loss: Loss, logits: Tensor, samples: int, generator: torch.Generator) -> Tensor:
    p = torch.sigmoid(logits)
    return (uniform(logits, samples, generator) < p).double() - p


def score_of_the_probability(self: Any, loss: Loss, logits: Tensor, samples: int, generator: torch.Generator) -> Tensor:
    """d/dp where d/dlogit is claimed: the factor p (1 - p) is missing."""
    p = torch.sigmoid(logits)
    return ScoreFunction._draw(self, loss, logits, samples, generator) / (p * (1 - p))


def score_uncentred(self: Any, loss: Loss, logits: Tensor, samples: int, generator: torch.Generator) -> Tensor:
    bits = (uniform(logits, samples, generator) < torch.sigmoid(logits)).double()
    return loss(bits).unsqueeze(-1) * bits


def score_scaled(factor: float) -> Draw:
    def draw(self: Any, loss: Loss, logits: Tensor, samples: int, generator: torch.Generator) -> Tensor:
        return factor * ScoreFunction._draw(self, loss, logits, samples, generator)

    return draw


def score_one_dead_coordinate(
    self: Any, loss: Loss, logits: Tensor, samples: int, generator: torch.Generator
) -> Tensor:
    rows = ScoreFunction._draw(self, loss, logits, samples, generator)
    rows[:, 2] = 0.0
    return rows


def score_stale_probability(self: Any, loss: Loss, logits: Tensor, samples: int, generator: torch.Generator) -> Tensor:
    """Draws at slightly old logits, scored at the new ones: importance weights forgotten."""
    old = torch.sigmoid(logits - 0.1)
    bits = (uniform(logits, samples, generator) < old).double()
    return loss(bits).unsqueeze(-1) * (bits - torch.sigmoid(logits))


def leave_one_out_own_baseline(
    self: Any, loss: Loss, logits: Tensor, samples: int, generator: torch.Generator
) -> Tensor:
    """The baseline includes the draw it serves: too small by (K - 1) / K."""
    return LeaveOneOut._draw(self, loss, logits, samples, generator) * 0.5


def arm_one_pattern(self: Any, loss: Loss, logits: Tensor, samples: int, generator: torch.Generator) -> Tensor:
    """The two patterns compare with the same side: no antithetic pair."""
    u = uniform(logits, samples, generator)
    above = (u > torch.sigmoid(logits)).double()
    below = (u < torch.sigmoid(logits)).double()
    return (loss(above) - loss(below)).unsqueeze(-1) * (u - 0.5)


def arm_uncentred(self: Any, loss: Loss, logits: Tensor, samples: int, generator: torch.Generator) -> Tensor:
    u = uniform(logits, samples, generator)
    above, below = (u > torch.sigmoid(-logits)).double(), (u < torch.sigmoid(logits)).double()
    return (loss(above) - loss(below)).unsqueeze(-1) * u


def disarm_wrong_indicator(self: Any, loss: Loss, logits: Tensor, samples: int, generator: torch.Generator) -> Tensor:
    """Credits the bits that agree."""
    u = uniform(logits, samples, generator)
    bits, other = (u > torch.sigmoid(-logits)).double(), (u < torch.sigmoid(logits)).double()
    agree = (bits == other).double() * (2 * bits - 1)
    return 0.5 * (loss(bits) - loss(other)).unsqueeze(-1) * agree * torch.sigmoid(logits.abs())


def disarm_no_indicator(self: Any, loss: Loss, logits: Tensor, samples: int, generator: torch.Generator) -> Tensor:
    u = uniform(logits, samples, generator)
    bits, other = (u > torch.sigmoid(-logits)).double(), (u < torch.sigmoid(logits)).double()
    return 0.5 * (loss(bits) - loss(other)).unsqueeze(-1) * (1 - 2 * other) * torch.sigmoid(logits.abs())


def disarm_signed_logit(self: Any, loss: Loss, logits: Tensor, samples: int, generator: torch.Generator) -> Tensor:
    """sigmoid(logit) where sigmoid(|logit|) belongs."""
    u = uniform(logits, samples, generator)
    bits, other = (u > torch.sigmoid(-logits)).double(), (u < torch.sigmoid(logits)).double()
    return 0.5 * (loss(bits) - loss(other)).unsqueeze(-1) * (bits - other) * torch.sigmoid(logits)


def _rebar_parts(
    self: Any, loss: Loss, logits: Tensor, samples: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    p = torch.sigmoid(logits)
    u = uniform(logits, samples, generator)
    bits = (u > 1 - p).double()
    soft = torch.sigmoid((logits + torch.logit(u)) / self.temperature)
    value, slope = loss_gradient(loss, soft)
    return u, bits, p, value, slope * soft * (1 - soft) / self.temperature


def rebar_without_correction(self: Any, loss: Loss, logits: Tensor, samples: int, generator: torch.Generator) -> Tensor:
    _, bits, p, value, _ = _rebar_parts(self, loss, logits, samples, generator)
    return (loss(bits) - value).unsqueeze(-1) * (bits - p)


def rebar_without_the_conditional_path(
    self: Any, loss: Loss, logits: Tensor, samples: int, generator: torch.Generator
) -> Tensor:
    """Adds the gradient of the relaxed sample, forgets to take off that of the conditional one."""
    _, bits, p, value, path = _rebar_parts(self, loss, logits, samples, generator)
    return (loss(bits) - value).unsqueeze(-1) * (bits - p) + path


def rebar_swapped_branches(self: Any, loss: Loss, logits: Tensor, samples: int, generator: torch.Generator) -> Tensor:
    u, bits, p, value, path = _rebar_parts(self, loss, logits, samples, generator)
    paths = torch.where(bits > 0, p / u, (1 - p) / (1 - u))
    return (loss(bits) - value).unsqueeze(-1) * (bits - p) + path * paths


MUTANTS: dict[str, tuple[type[AbstractEstimator], Draw]] = {
    "score_wrong_sign": (ScoreFunction, score_wrong_sign),
    "score_without_the_loss": (ScoreFunction, score_without_the_loss),
    "score_of_the_probability": (ScoreFunction, score_of_the_probability),
    "score_uncentred": (ScoreFunction, score_uncentred),
    "score_scaled_1.05": (ScoreFunction, score_scaled(1.05)),
    "score_scaled_0.95": (ScoreFunction, score_scaled(0.95)),
    "score_one_dead_coordinate": (ScoreFunction, score_one_dead_coordinate),
    "score_stale_probability": (ScoreFunction, score_stale_probability),
    "leave_one_out_own_baseline": (LeaveOneOut, leave_one_out_own_baseline),
    "arm_one_pattern": (Arm, arm_one_pattern),
    "arm_uncentred": (Arm, arm_uncentred),
    "disarm_wrong_indicator": (Disarm, disarm_wrong_indicator),
    "disarm_no_indicator": (Disarm, disarm_no_indicator),
    "disarm_signed_logit": (Disarm, disarm_signed_logit),
    "rebar_without_correction": (Rebar, rebar_without_correction),
    "rebar_without_the_conditional_path": (Rebar, rebar_without_the_conditional_path),
    "rebar_swapped_branches": (Rebar, rebar_swapped_branches),
}
# Right in the mean, only noisier: the two antithetic patterns are exchangeable, so E[f(z) - f(z')] = 0, and given that
# bit i agrees so is E[(f(z) - f(z')) (-1)^{z'_i}].
HARMLESS = ("arm_uncentred", "disarm_no_indicator")
# Noise that does not shrink with the loss: at a small loss it hides everything, and the verdict must say so.
NOISE_ONLY = "score_without_the_loss"

WEIGHT = torch.tensor([0.8, -0.6, 0.5, 0.4, -0.7, 0.9], dtype=torch.float64)
LOGITS = torch.tensor([0.3, -0.5, 0.8, -1.2, 0.1, 0.6], dtype=torch.float64)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Small tensors: threads cost more than they give."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def problem(name: str, scale: float) -> tuple[Loss, Tensor]:
    if name == "six_bits":
        return (lambda z: scale * torch.exp(z @ WEIGHT)), LOGITS
    product = StreamProductLoss(3, "unipolar", 0.9)
    values = (torch.tensor(0.3, dtype=torch.float64), torch.tensor(0.8, dtype=torch.float64))
    return (lambda z: scale * product(z)), product.logits(*values)


@pytest.mark.parametrize("scale", [1.0, 1e-4])
@pytest.mark.parametrize("name", [m for m in MUTANTS if m not in HARMLESS])
def test_every_mutant_is_refuted(name: str, scale: float, seed: int) -> None:
    loss, logits = problem("six_bits", scale)
    result = check_unbiased(mutant(*MUTANTS[name]), loss, logits, samples=SAMPLES, seed=seed)
    assert result.status == ("VACUOUS" if name == NOISE_ONLY and scale < 1.0 else "FAIL"), result


@pytest.mark.parametrize("name", ["score_wrong_sign", "disarm_wrong_indicator", "rebar_without_correction"])
def test_also_on_a_stream_product(name: str, seed: int) -> None:
    loss, logits = problem("and", 1.0)
    result = check_unbiased(mutant(*MUTANTS[name]), loss, logits, samples=SAMPLES, seed=seed)
    assert result.status == "FAIL", result


@pytest.mark.parametrize("scale", [1.0, 1e-4])
@pytest.mark.parametrize("name", ["score_function", "leave_one_out", "arm", "disarm", "rebar"])
def test_the_right_ones_pass_the_same_test(name: str, scale: float, seed: int) -> None:
    loss, logits = problem("six_bits", scale)
    result = check_unbiased(make_estimator(name), loss, logits, samples=SAMPLES, seed=seed)
    assert result.status == "PASS", result


@pytest.mark.parametrize("name", HARMLESS)
def test_a_change_that_keeps_the_mean_is_not_blamed(name: str, seed: int) -> None:
    loss, logits = problem("six_bits", 1.0)
    assert check_unbiased(mutant(*MUTANTS[name]), loss, logits, samples=SAMPLES, seed=seed).status == "PASS"


def test_biased_estimators_with_a_slip_miss_their_declared_target(seed: int) -> None:
    """The declared target is a claim too: a wrong factor in a biased estimator is found by it."""

    def doubled_slope(self: Any, loss: Loss, logits: Tensor, samples: int, generator: torch.Generator) -> Tensor:
        return 1.02 * StraightThrough._draw(self, loss, logits, samples, generator)

    def no_sigmoid(self: Any, loss: Loss, logits: Tensor, samples: int, generator: torch.Generator) -> Tensor:
        p = torch.sigmoid(logits)
        return PathwiseRelaxation._draw(self, loss, logits, samples, generator) / (p * (1 - p))

    loss, logits = problem("six_bits", 1.0)
    for estimator in (mutant(StraightThrough, doubled_slope), mutant(PathwiseRelaxation, no_sigmoid)):
        result = check_unbiased(estimator, loss, logits, samples=SAMPLES, seed=seed, against="declared")
        assert result.status == "FAIL", result
