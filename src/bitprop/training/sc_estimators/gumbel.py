"""``gumbel``: the binary concrete relaxation; the exact pathwise gradient of a smoothed problem.

Equation, with ``u ~ U(0, 1)^N``::

    s = sigmoid((logits + log(u / (1 - u))) / temperature),   g = f'(s) s (1 - s) / temperature

Unbiased for ``E[f(s)]``, biased for ``E[f(z)]``; as the temperature falls the bias vanishes and the variance grows
without bound.

References: Jang, Gu, Poole, *Categorical reparameterization with Gumbel-softmax*, ICLR 2017; Maddison, Mnih, Teh, *The
concrete distribution*, ICLR 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from bitprop._checks import check_real
from bitprop.errors import RangeError
from bitprop.training.sc_estimators._estimator import (
    ESTIMATORS,
    AbstractEstimator,
    Loss,
    check_logits,
    loss_gradient,
    uniform,
)

__all__ = ["Gumbel"]

_NODES = {1: 512, 2: 512, 3: 64, 4: 24}  # quadrature nodes per bit; the grid stays below 2**19 points


@lru_cache(maxsize=8)
def _legendre(bits: int) -> tuple[Tensor, Tensor]:
    """Gauss-Legendre points ``[points, bits]`` and weights ``[points]`` over the unit cube, float64."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES[bits])
    grid = torch.cartesian_prod(*[torch.from_numpy((nodes + 1.0) / 2.0)] * bits).view(-1, bits)
    weight = torch.cartesian_prod(*[torch.from_numpy(weights / 2.0)] * bits).view(-1, bits)
    return grid, weight.prod(dim=-1)


@ESTIMATORS.register("gumbel")
@dataclass(frozen=True, slots=True)
class Gumbel(AbstractEstimator):
    """The slope of the loss at binary-concrete samples.

    Attributes:
        temperature: of the relaxation, 0.01 .. 100.

    Raises:
        RangeError: temperature out of range.
    """

    temperature: float = 0.5

    name: ClassVar[str] = "gumbel"
    target: ClassVar[str] = "d/dlogits E[f(s)], s = sigmoid((logits + logistic noise) / temperature)"
    unbiased: ClassVar[bool] = False
    unbiased_if_multilinear: ClassVar[bool] = False
    needs_relaxed_loss: ClassVar[bool] = True
    variance_law: ClassVar[str] = "1/L: a mean of L independent slopes"
    variance_exponent: ClassVar[float | None] = -1.0
    reference: ClassVar[str] = "Jang, Gu and Poole 2017; Maddison, Mnih and Teh 2017"

    def __post_init__(self) -> None:
        check_real("temperature", self.temperature, 0.01, 100.0)

    @property
    def evaluations(self) -> int:
        return 1

    def _draw(self, loss: Loss, logits: Tensor, samples: int, generator: torch.Generator) -> Tensor:
        return self._slope(loss, logits, uniform(logits, samples, generator))

    def _slope(self, loss: Loss, logits: Tensor, u: Tensor) -> Tensor:
        soft = torch.sigmoid((logits + torch.logit(u)) / self.temperature)
        _, slope = loss_gradient(loss, soft)
        return slope * soft * (1.0 - soft) / self.temperature

    def target_gradient(self, loss: Loss, logits: Tensor) -> Tensor:
        """``d/dlogits E[f(s)]`` by Gauss-Legendre quadrature over the uniforms, float64 ``[N]``, N up to 4.

        Accurate to about ``1e-6`` of the gradient for smooth losses and temperatures from 0.3.

        Raises:
            ShapeError: logits or the loss's values have the wrong shape or dtype.
            RangeError: more than four bits.
        """
        phi = check_logits(logits).double()
        if phi.numel() not in _NODES:
            raise RangeError(f"expected at most {max(_NODES)} bits for quadrature, got {phi.numel()}; use fewer bits")
        grid, weight = _legendre(phi.numel())
        return weight @ self._slope(loss, phi, grid)
