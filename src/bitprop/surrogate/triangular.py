"""A triangle of height 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bitprop.surrogate._surrogate import SURROGATES, AbstractSurrogate, SpikeFunction

__all__ = ["Triangular"]


def _slope(x: Tensor, scale: float) -> Tensor:
    return torch.clamp(1.0 - (x * scale).abs(), min=0.0)


@SURROGATES.register("triangular")
@dataclass(frozen=True, slots=True)
class Triangular(AbstractSurrogate):
    """``g(x) = max(0, 1 - k |x|)``."""

    name: ClassVar[str] = "triangular"
    default_scale: ClassVar[float] = 1.0
    formula: ClassVar[str] = "g(x) = max(0, 1 - k |x|)"
    escape_noise: ClassVar[str | None] = "triangular"
    kinks: ClassVar[tuple[float, ...]] = (-1.0, 0.0, 1.0)
    reference: ClassVar[str] = (
        "Esser et al., Convolutional networks for fast, energy-efficient neuromorphic computing, PNAS 113(41), 2016"
    )
    function: ClassVar[SpikeFunction] = SpikeFunction("Triangular", _slope, 1.0)

    def primal(self, x: Tensor) -> Tensor:
        """``F(x) = c - k c |c| / 2 with c = clamp(x, -1/k, 1/k)``."""
        c = x.clamp(-1.0 / self.scale, 1.0 / self.scale)
        return c * (1.0 - 0.5 * self.scale * c.abs())

    def derivative(self, x: Tensor) -> Tensor:
        """``g(x) = max(0, 1 - k |x|)``."""
        return _slope(x, self.scale)

    def second_derivative(self, x: Tensor) -> Tensor:
        """``g'(x) = -k sign(x) where k |x| < 1, else 0``."""
        return -self.scale * torch.sign(x) * ((x * self.scale).abs() < 1.0)

    @property
    def area(self) -> float:
        """``1/k``."""
        return 1.0 / self.scale

    @property
    def peak(self) -> float:
        """``1``."""
        return 1.0
