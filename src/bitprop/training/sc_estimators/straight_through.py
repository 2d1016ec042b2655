"""``straight_through``: draw the bits, differentiate the loss at them, and pretend that ``dz/dp = 1``.

Equation: ``g = f'(z) * p (1 - p)``, ``z_i = 1[u_i < p_i]``: a sampled forward pass, the relaxed (identity) backward
pass for each bit, then the true derivative of the sigmoid.  Its mean is ``E[f'(z)] p (1 - p)``: the slope at the
corners of the cube instead of the difference between corners; equal when f is multilinear.

Reference: Hinton, *Neural networks for machine learning*, Coursera lecture 9c, 2012; Bengio, Léonard, Courville,
*Estimating or propagating gradients through stochastic neurons*, arXiv:1308.3432.
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
    uniform,
)
from bitprop.training.sc_estimators.enumeration import bit_patterns, pattern_probabilities

__all__ = ["StraightThrough"]


@ESTIMATORS.register("straight_through")
@dataclass(frozen=True, slots=True)
class StraightThrough(AbstractEstimator):
    """The slope of the loss at sampled bits: ``f'(z) * p (1 - p)``.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> square = lambda z: z[..., 0] ** 2
        >>> StraightThrough().estimate(square, torch.zeros(1), samples=3, generator=generator).tolist()
        [[0.5], [0.0], [0.5]]
    """

    name: ClassVar[str] = "straight_through"
    target: ClassVar[str] = "E[f'(z)] * p (1 - p)"
    unbiased: ClassVar[bool] = False
    unbiased_if_multilinear: ClassVar[bool] = True
    needs_relaxed_loss: ClassVar[bool] = True
    variance_law: ClassVar[str] = "1/L: the slope at the stream's mean settles"
    variance_exponent: ClassVar[float | None] = -1.0
    reference: ClassVar[str] = "Hinton 2012; Bengio, Léonard and Courville 2013"

    @property
    def evaluations(self) -> int:
        return 1

    def _draw(self, loss: Loss, logits: Tensor, samples: int, generator: torch.Generator) -> Tensor:
        p = torch.sigmoid(logits)
        bits = (uniform(logits, samples, generator) < p).to(logits.dtype)
        _, slope = loss_gradient(loss, bits)
        return slope * p * (1.0 - p)

    def target_gradient(self, loss: Loss, logits: Tensor) -> Tensor:
        phi = check_logits(logits).double()
        p = torch.sigmoid(phi)
        _, slope = loss_gradient(loss, bit_patterns(phi.numel()))
        return pattern_probabilities(phi) @ slope * p * (1.0 - p)
