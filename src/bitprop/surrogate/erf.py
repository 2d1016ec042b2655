"""The slope of an error function: the Gaussian density."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bitprop.surrogate._surrogate import SURROGATES, AbstractSurrogate, SpikeFunction, bounded

__all__ = ["Erf"]


def _slope(x: Tensor, scale: float) -> Tensor:
    return (scale / math.sqrt(math.pi)) * torch.exp(-bounded(x, scale).square())


@SURROGATES.register("erf")
@dataclass(frozen=True, slots=True)
class Erf(AbstractSurrogate):
    """``g(x) = k / sqrt(pi) exp(-(kx)^2)``."""

    name: ClassVar[str] = "erf"
    default_scale: ClassVar[float] = 2.0
    formula: ClassVar[str] = "g(x) = k / sqrt(pi) exp(-(kx)^2)"
    escape_noise: ClassVar[str | None] = "Gaussian"
    kinks: ClassVar[tuple[float, ...]] = ()
    reference: ClassVar[str] = (
        "Bohte, Error-backpropagation in networks of fractionally predictive spiking neurons, ICANN 2011"
    )
    function: ClassVar[SpikeFunction] = SpikeFunction("Erf", _slope, 2.0)

    def primal(self, x: Tensor) -> Tensor:
        """``F(x) = (1 + erf(kx)) / 2``."""
        return 0.5 * (1.0 + torch.erf(x * self.scale))

    def derivative(self, x: Tensor) -> Tensor:
        """``g(x) = k / sqrt(pi) exp(-(kx)^2)``."""
        return _slope(x, self.scale)

    def second_derivative(self, x: Tensor) -> Tensor:
        """``g'(x) = -2 k^2 x g(x)``."""
        return -2.0 * self.scale * (bounded(x, self.scale) * self.derivative(x))

    @property
    def area(self) -> float:
        """``1``."""
        return 1.0

    @property
    def peak(self) -> float:
        """``k / sqrt(pi)``."""
        return self.scale / math.sqrt(math.pi)
