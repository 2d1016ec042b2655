"""``pathwise_relaxation``: differentiate the loss at the probabilities, as if ``E[f(z)]`` were ``f(E[z])``.

Equation: ``g = f'(p) * p (1 - p)``, ``p = sigmoid(logits)``.  Deterministic: no bit is drawn, every row is the same
and the variance is exactly zero.  Exact when f is multilinear (one product, a sum of products); otherwise the
curvature of f is lost: for a squared error of an L-cycle stream, the ``1/L`` variance term.

Reference: Alaghi, Qian, Hayes, *The promise and challenge of stochastic computing*, TCAD 2018 (the expectation of
independent streams as arithmetic); Bengio, Léonard, Courville, arXiv:1308.3432, section 2 (mean-field bits).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bitprop.training.sc_estimators._estimator import (
    ESTIMATORS,
    AbstractEstimator,
    Loss,
    check_logits,
    loss_gradient,
)

__all__ = ["PathwiseRelaxation"]


@ESTIMATORS.register("pathwise_relaxation")
@dataclass(frozen=True, slots=True)
class PathwiseRelaxation(AbstractEstimator):
    """The gradient of the loss at the expected bits: ``f'(p) * p (1 - p)``.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> product = lambda z: z[..., 0] * z[..., 1]
        >>> PathwiseRelaxation().estimate(product, torch.zeros(2), samples=1, generator=generator)
        tensor([[0.1250, 0.1250]])
    """

    name: ClassVar[str] = "pathwise_relaxation"
    target: ClassVar[str] = "d/dlogits f(sigmoid(logits))"
    unbiased: ClassVar[bool] = False
    unbiased_if_multilinear: ClassVar[bool] = True
    needs_relaxed_loss: ClassVar[bool] = True
    variance_law: ClassVar[str] = "0: deterministic"
    variance_exponent: ClassVar[float | None] = None
    reference: ClassVar[str] = "Alaghi, Qian and Hayes 2018; Bengio, Léonard and Courville 2013"

    @property
    def evaluations(self) -> int:
        return 1

    def _draw(self, loss: Loss, logits: Tensor, samples: int, generator: torch.Generator) -> Tensor:
        return self._gradient(loss, logits).expand(samples, -1).clone()

    def target_gradient(self, loss: Loss, logits: Tensor) -> Tensor:
        return self._gradient(loss, check_logits(logits).double())

    @staticmethod
    def _gradient(loss: Loss, logits: Tensor) -> Tensor:
        p = torch.sigmoid(logits)
        _, slope = loss_gradient(loss, p.unsqueeze(0))  # a batch of one, as losses expect
        return slope[0] * p * (1.0 - p)
