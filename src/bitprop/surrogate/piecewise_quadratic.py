"""The slope of two parabolas: a triangle of area 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bitprop.surrogate._surrogate import SURROGATES, AbstractSurrogate, SpikeFunction

__all__ = ["PiecewiseQuadratic"]


def _slope(x: Tensor, scale: float) -> Tensor:
    return scale * torch.clamp(1.0 - (x * scale).abs(), min=0.0)


@SURROGATES.register("piecewise_quadratic")
@dataclass(frozen=True, slots=True)
class PiecewiseQuadratic(AbstractSurrogate):
    """``g(x) = k max(0, 1 - k |x|)``."""

    name: ClassVar[str] = "piecewise_quadratic"
    default_scale: ClassVar[float] = 1.0
    formula: ClassVar[str] = "g(x) = k max(0, 1 - k |x|)"
    escape_noise: ClassVar[str | None] = "triangular"
    kinks: ClassVar[tuple[float, ...]] = (-1.0, 0.0, 1.0)
    reference: ClassVar[str] = (
        "Bohte, Error-backpropagation in networks of fractionally predictive spiking neurons, ICANN 2011"
    )
    function: ClassVar[SpikeFunction] = SpikeFunction("PiecewiseQuadratic", _slope, 1.0)

    def primal(self, x: Tensor) -> Tensor:
        """``F(x) = 1/2 + c - c |c| / 2 with c = clamp(k x, -1, 1)``."""
        return 0.5 + (x * self.scale).clamp(-1.0, 1.0) * (1.0 - 0.5 * (x * self.scale).abs().clamp(max=1.0))

    def derivative(self, x: Tensor) -> Tensor:
        """``g(x) = k max(0, 1 - k |x|)``."""
        return _slope(x, self.scale)

    def second_derivative(self, x: Tensor) -> Tensor:
        """``g'(x) = -k^2 sign(x) where k |x| < 1, else 0``."""
        return -(self.scale**2) * torch.sign(x) * ((x * self.scale).abs() < 1.0)

    @property
    def area(self) -> float:
        """``1``."""
        return 1.0

    @property
    def peak(self) -> float:
        """``k``."""
        return self.scale
