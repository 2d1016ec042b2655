"""``arm``: augment, REINFORCE, merge: one uniform vector drives two antithetic patterns.

Equation, with ``u ~ U(0, 1)^N``::

    g = (f(1[u > 1 - p]) - f(1[u < p])) (u - 1/2)

Unbiased for every loss; two evaluations.

Reference: Yin and Zhou, *ARM: Augment-REINFORCE-merge gradient for stochastic binary networks*, ICLR 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bitprop.training.sc_estimators._estimator import ESTIMATORS, AbstractEstimator, Loss, evaluate_loss, uniform

__all__ = ["Arm"]


@ESTIMATORS.register("arm")
@dataclass(frozen=True, slots=True)
class Arm(AbstractEstimator):
    """Antithetic difference times the centred uniform: ``(f(1[u > 1 - p]) - f(1[u < p])) (u - 1/2)``."""

    name: ClassVar[str] = "arm"
    target: ClassVar[str] = "d/dlogits E[f(z)]"
    unbiased: ClassVar[bool] = True
    unbiased_if_multilinear: ClassVar[bool] = True
    needs_relaxed_loss: ClassVar[bool] = False
    variance_law: ClassVar[str] = "1: the score's L meets differences of the loss that shrink like 1/L"
    variance_exponent: ClassVar[float | None] = 0.0
    reference: ClassVar[str] = "Yin and Zhou 2019"

    @property
    def evaluations(self) -> int:
        return 2

    def _draw(self, loss: Loss, logits: Tensor, samples: int, generator: torch.Generator) -> Tensor:
        u = uniform(logits, samples, generator)
        above = (u > torch.sigmoid(-logits)).to(logits.dtype)
        below = (u < torch.sigmoid(logits)).to(logits.dtype)
        difference = evaluate_loss(loss, above) - evaluate_loss(loss, below)
        return difference.unsqueeze(-1) * (u - 0.5)
