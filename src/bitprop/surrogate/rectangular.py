"""A rectangle of area 1: the uniform density."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bitprop.surrogate._surrogate import SURROGATES, AbstractSurrogate, SpikeFunction

__all__ = ["Rectangular"]


def _slope(x: Tensor, scale: float) -> Tensor:
    return scale * ((x * scale).abs() < 0.5).to(x.dtype)


@SURROGATES.register("rectangular")
@dataclass(frozen=True, slots=True)
class Rectangular(AbstractSurrogate):
    """``g(x) = k where |x| < 1/(2k), else 0``."""

    name: ClassVar[str] = "rectangular"
    default_scale: ClassVar[float] = 1.0
    formula: ClassVar[str] = "g(x) = k where |x| < 1/(2k), else 0"
    escape_noise: ClassVar[str | None] = "uniform"
    kinks: ClassVar[tuple[float, ...]] = (-0.5, 0.5)
    reference: ClassVar[str] = (
        "Wu et al., Spatio-temporal backpropagation for training high-performance spiking neural "
        "networks, Frontiers in Neuroscience 12, 2018"
    )
    function: ClassVar[SpikeFunction] = SpikeFunction("Rectangular", _slope, 1.0)

    def primal(self, x: Tensor) -> Tensor:
        """``F(x) = clamp(k x + 1/2, 0, 1)``."""
        return (x * self.scale + 0.5).clamp(0.0, 1.0)

    def derivative(self, x: Tensor) -> Tensor:
        """``g(x) = k where |x| < 1/(2k), else 0``."""
        return _slope(x, self.scale)

    def second_derivative(self, x: Tensor) -> Tensor:
        """``g'(x) = 0 but at the two jumps``."""
        return torch.zeros_like(x)

    @property
    def area(self) -> float:
        """``1``."""
        return 1.0

    @property
    def peak(self) -> float:
        """``k``."""
        return self.scale
