"""The slope of an arc tangent: the Cauchy density."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bitprop.surrogate._surrogate import SURROGATES, AbstractSurrogate, SpikeFunction, bounded

__all__ = ["Atan"]


def _slope(x: Tensor, scale: float) -> Tensor:
    return 0.5 * scale / (1.0 + bounded(x, 0.5 * math.pi * scale).square())


@SURROGATES.register("atan")
@dataclass(frozen=True, slots=True)
class Atan(AbstractSurrogate):
    """``g(x) = (k/2) / (1 + (pi k x / 2)^2)``."""

    name: ClassVar[str] = "atan"
    default_scale: ClassVar[float] = 2.0
    formula: ClassVar[str] = "g(x) = (k/2) / (1 + (pi k x / 2)^2)"
    escape_noise: ClassVar[str | None] = "Cauchy"
    kinks: ClassVar[tuple[float, ...]] = ()
    reference: ClassVar[str] = (
        "Fang et al., Incorporating learnable membrane time constant to enhance learning of spiking "
        "neural networks, ICCV 2021"
    )
    function: ClassVar[SpikeFunction] = SpikeFunction("Atan", _slope, 2.0)

    def primal(self, x: Tensor) -> Tensor:
        """``F(x) = 1/2 + arctan(pi k x / 2) / pi``."""
        return 0.5 + torch.atan(x * (0.5 * math.pi * self.scale)) / math.pi

    def derivative(self, x: Tensor) -> Tensor:
        """``g(x) = (k/2) / (1 + (pi k x / 2)^2)``."""
        return _slope(x, self.scale)

    def second_derivative(self, x: Tensor) -> Tensor:
        """``g'(x) = -(pi k / 2)^2 k x / (1 + (pi k x / 2)^2)^2``."""
        z, g = bounded(x, 0.5 * math.pi * self.scale), self.derivative(x)
        return -2.0 * math.pi * (z * g) * g

    @property
    def area(self) -> float:
        """``1``."""
        return 1.0

    @property
    def peak(self) -> float:
        """``k/2``."""
        return 0.5 * self.scale
