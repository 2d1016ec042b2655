"""``disarm``: ARM with the uniform integrated out given the antithetic pair of patterns.

Equation, with ``u ~ U(0, 1)^N``, ``z = 1[u > 1 - p]``, ``z' = 1[u < p]``::

    g_i = 1/2 (f(z) - f(z')) (-1)^{z'_i} 1[z_i != z'_i] sigmoid(|logit_i|)

The conditional expectation of ARM's estimate given both patterns: unbiased, and never of larger variance.

Reference: Dong, Mnih, Tucker, *DisARM: an antithetic gradient estimator for binary latent variables*, NeurIPS 2020
(found independently as U2G: Yin, Ho, Yan, Qian, Zhou, arXiv:2007.11102).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bitprop.training.sc_estimators._estimator import ESTIMATORS, AbstractEstimator, Loss, evaluate_loss, uniform

__all__ = ["Disarm"]


@ESTIMATORS.register("disarm")
@dataclass(frozen=True, slots=True)
class Disarm(AbstractEstimator):
    """Antithetic difference, credited to the bits that differ: ``1/2 (f(z) - f(z')) (z - z') sigmoid(|logit|)``."""

    name: ClassVar[str] = "disarm"
    target: ClassVar[str] = "d/dlogits E[f(z)]"
    unbiased: ClassVar[bool] = True
    unbiased_if_multilinear: ClassVar[bool] = True
    needs_relaxed_loss: ClassVar[bool] = False
    variance_law: ClassVar[str] = "1: the score's L meets differences of the loss that shrink like 1/L"
    variance_exponent: ClassVar[float | None] = 0.0
    reference: ClassVar[str] = "Dong, Mnih and Tucker 2020"

    @property
    def evaluations(self) -> int:
        return 2

    def _draw(self, loss: Loss, logits: Tensor, samples: int, generator: torch.Generator) -> Tensor:
        u = uniform(logits, samples, generator)
        bits = (u > torch.sigmoid(-logits)).to(logits.dtype)
        antithetic = (u < torch.sigmoid(logits)).to(logits.dtype)
        difference = 0.5 * (evaluate_loss(loss, bits) - evaluate_loss(loss, antithetic))
        # z - z' is (-1)^{z'} where they differ and 0 where they agree
        return difference.unsqueeze(-1) * (bits - antithetic) * torch.sigmoid(logits.abs())
