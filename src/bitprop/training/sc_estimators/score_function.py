"""``score_function``: the likelihood ratio, without a baseline.

Equation: ``g = f(z) * d/dlogits log P(z) = f(z) (z - p)``.  Unbiased for every loss, differentiable or not.  Nothing
is subtracted from f, so a constant added to it is pure noise; against a stream of L bits with a shared probability
the score is a sum of L terms and the variance grows like L.

Reference: Glynn, *Likelihood ratio gradient estimation*, CACM 33(10), 1990; Williams, *REINFORCE*, Machine
Learning 8, 1992.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bitprop.training.sc_estimators._estimator import ESTIMATORS, AbstractEstimator, Loss, evaluate_loss, uniform

__all__ = ["ScoreFunction"]


@ESTIMATORS.register("score_function")
@dataclass(frozen=True, slots=True)
class ScoreFunction(AbstractEstimator):
    """The loss times the score: ``f(z) (z - p)``.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> loss = lambda z: 1.0 + 2.0 * z[..., 0]
        >>> ScoreFunction().estimate(loss, torch.zeros(1), samples=3, generator=generator).tolist()
        [[1.5], [-0.5], [1.5]]
    """

    name: ClassVar[str] = "score_function"
    target: ClassVar[str] = "d/dlogits E[f(z)]"
    unbiased: ClassVar[bool] = True
    unbiased_if_multilinear: ClassVar[bool] = True
    needs_relaxed_loss: ClassVar[bool] = False
    variance_law: ClassVar[str] = "L: the score sums L independent terms, the loss does not shrink"
    variance_exponent: ClassVar[float | None] = 1.0
    reference: ClassVar[str] = "Glynn 1990; Williams 1992"

    @property
    def evaluations(self) -> int:
        return 1

    def _draw(self, loss: Loss, logits: Tensor, samples: int, generator: torch.Generator) -> Tensor:
        p = torch.sigmoid(logits)
        bits = (uniform(logits, samples, generator) < p).to(logits.dtype)
        return evaluate_loss(loss, bits).unsqueeze(-1) * (bits - p)
