"""A two-sided exponential: the Laplace density."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bitprop.surrogate._surrogate import SURROGATES, AbstractSurrogate, SpikeFunction

__all__ = ["Exponential"]


def _slope(x: Tensor, scale: float) -> Tensor:
    return 0.5 * scale * torch.exp(-(x * scale).abs())


@SURROGATES.register("exponential")
@dataclass(frozen=True, slots=True)
class Exponential(AbstractSurrogate):
    """``g(x) = (k/2) exp(-k |x|)``."""

    name: ClassVar[str] = "exponential"
    default_scale: ClassVar[float] = 2.0
    formula: ClassVar[str] = "g(x) = (k/2) exp(-k |x|)"
    escape_noise: ClassVar[str | None] = "Laplace"
    kinks: ClassVar[tuple[float, ...]] = (0.0,)
    reference: ClassVar[str] = "Shrestha and Orchard, SLAYER: Spike layer error reassignment in time, NeurIPS 2018"
    function: ClassVar[SpikeFunction] = SpikeFunction("Exponential", _slope, 2.0)

    def primal(self, x: Tensor) -> Tensor:
        """``F(x) = 1/2 + sign(x) (1 - exp(-k |x|)) / 2``."""
        return 0.5 - 0.5 * torch.sign(x) * torch.expm1(-(x * self.scale).abs())

    def derivative(self, x: Tensor) -> Tensor:
        """``g(x) = (k/2) exp(-k |x|)``."""
        return _slope(x, self.scale)

    def second_derivative(self, x: Tensor) -> Tensor:
        """``g'(x) = -k sign(x) g(x)``."""
        return -self.scale * torch.sign(x) * self.derivative(x)

    @property
    def area(self) -> float:
        """``1``."""
        return 1.0

    @property
    def peak(self) -> float:
        """``k/2``."""
        return 0.5 * self.scale
