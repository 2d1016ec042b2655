"""``rebar``: the score function with a relaxed control variate and its reparametrised correction.

Let ``zeta = logits + log(u / (1 - u))``, ``b = 1[zeta > 0]``, ``s = sigmoid(zeta / temperature)``, and ``zeta'`` a draw
of zeta given b.  With the scale ``eta``::

    g = (f(b) - eta f(s')) (b - p)  +  eta d/dlogits f(s)  -  eta d/dlogits f(s')

Unbiased for every loss that can be evaluated between 0 and 1, every temperature and every fixed scale.  The draw
given b is coupled to the first as in the paper's code: ``v = (u - (1 - p)) / p`` if ``b = 1``, else ``u / (1 - p)``,
is uniform given b and makes ``zeta' = zeta`` in value; only the derivatives differ, by
``b (1 - p) / u + (1 - b) p / (1 - u)``, which lies in [0, 1].  So one relaxed evaluation serves all three terms::

    g = (f(b) - eta f(s)) (b - p)  +  eta f'(s) s (1 - s) / temperature * (b (1 - p) / u + (1 - b) p / (1 - u))

Reference: Tucker, Mnih, Maddison, Lawson, Sohl-Dickstein, *REBAR: low-variance, unbiased gradient estimates for
discrete latent variable models*, NeurIPS 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bitprop._checks import check_real
from bitprop.training.sc_estimators._estimator import (
    ESTIMATORS,
    AbstractEstimator,
    Loss,
    evaluate_loss,
    loss_gradient,
    uniform,
)

__all__ = ["Rebar"]


@ESTIMATORS.register("rebar")
@dataclass(frozen=True, slots=True)
class Rebar(AbstractEstimator):
    """Score function, less a relaxed control variate, plus the control variate's own gradient.

    Attributes:
        temperature: of the relaxation, 0.01 .. 100; it moves the variance, never the mean.
        scale: eta, the control variate's weight, -10 .. 10; 0 is the score function.

    Raises:
        RangeError: a parameter out of range.
    """

    temperature: float = 0.5
    scale: float = 1.0

    name: ClassVar[str] = "rebar"
    target: ClassVar[str] = "d/dlogits E[f(z)]"
    unbiased: ClassVar[bool] = True
    unbiased_if_multilinear: ClassVar[bool] = True
    needs_relaxed_loss: ClassVar[bool] = True
    variance_law: ClassVar[str] = "L, times the squared gap between the loss at bits and at relaxed bits"
    variance_exponent: ClassVar[float | None] = 1.0
    reference: ClassVar[str] = "Tucker, Mnih, Maddison, Lawson and Sohl-Dickstein 2017"

    def __post_init__(self) -> None:
        check_real("temperature", self.temperature, 0.01, 100.0)
        check_real("scale", self.scale, -10.0, 10.0)

    @property
    def evaluations(self) -> int:
        return 2

    def _draw(self, loss: Loss, logits: Tensor, samples: int, generator: torch.Generator) -> Tensor:
        p = torch.sigmoid(logits)
        q = torch.sigmoid(-logits)  # 1 - p without cancellation
        u = uniform(logits, samples, generator)
        one = u > q
        bits = one.to(logits.dtype)
        soft = torch.sigmoid((logits + torch.logit(u)) / self.temperature)
        value, slope = loss_gradient(loss, soft)
        paths = torch.where(one, q / u, p / (1.0 - u))  # d(zeta - zeta') / dlogits
        correction = slope * soft * (1.0 - soft) / self.temperature * paths
        advantage = evaluate_loss(loss, bits) - self.scale * value
        return advantage.unsqueeze(-1) * (bits - p) + self.scale * correction
