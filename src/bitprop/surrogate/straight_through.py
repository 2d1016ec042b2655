"""A constant slope: the step passed through as if it were a line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bitprop.surrogate._surrogate import SURROGATES, AbstractSurrogate, SpikeFunction, bounded

__all__ = ["StraightThrough"]


def _slope(x: Tensor, scale: float) -> Tensor:
    return torch.full_like(x, scale)


@SURROGATES.register("straight_through")
@dataclass(frozen=True, slots=True)
class StraightThrough(AbstractSurrogate):
    """``g(x) = k``."""

    name: ClassVar[str] = "straight_through"
    default_scale: ClassVar[float] = 1.0
    formula: ClassVar[str] = "g(x) = k"
    escape_noise: ClassVar[str | None] = None
    kinks: ClassVar[tuple[float, ...]] = ()
    reference: ClassVar[str] = (
        "Bengio, Leonard and Courville, Estimating or propagating gradients through stochastic neurons, 2013"
    )
    function: ClassVar[SpikeFunction] = SpikeFunction("StraightThrough", _slope, 1.0)

    def primal(self, x: Tensor) -> Tensor:
        """``F(x) = k x``."""
        return bounded(x, self.scale)

    def derivative(self, x: Tensor) -> Tensor:
        """``g(x) = k``."""
        return _slope(x, self.scale)

    def second_derivative(self, x: Tensor) -> Tensor:
        """``g'(x) = 0``."""
        return torch.zeros_like(x)

    @property
    def area(self) -> float:
        """``infinite``."""
        return math.inf

    @property
    def peak(self) -> float:
        """``k``."""
        return self.scale
