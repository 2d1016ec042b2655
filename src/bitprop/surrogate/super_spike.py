"""The slope of SuperSpike: a fast sigmoid with the steepness of that paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bitprop.surrogate._surrogate import SURROGATES, AbstractSurrogate, SpikeFunction

__all__ = ["SuperSpike"]


def _slope(x: Tensor, scale: float) -> Tensor:
    return (1.0 + (x * scale).abs()).reciprocal().square()


@SURROGATES.register("super_spike")
@dataclass(frozen=True, slots=True)
class SuperSpike(AbstractSurrogate):
    """``g(x) = 1 / (1 + k |x|)^2``."""

    name: ClassVar[str] = "super_spike"
    default_scale: ClassVar[float] = 100.0
    formula: ClassVar[str] = "g(x) = 1 / (1 + k |x|)^2"
    escape_noise: ClassVar[str | None] = "two-sided Lomax"
    kinks: ClassVar[tuple[float, ...]] = (0.0,)
    reference: ClassVar[str] = (
        "Zenke and Ganguli, SuperSpike: Supervised learning in multilayer spiking neural networks, "
        "Neural Computation 30(6), 2018"
    )
    function: ClassVar[SpikeFunction] = SpikeFunction("SuperSpike", _slope, 100.0)

    def primal(self, x: Tensor) -> Tensor:
        """``F(x) = x / (1 + k |x|)``."""
        return x / (1.0 + (x * self.scale).abs())

    def derivative(self, x: Tensor) -> Tensor:
        """``g(x) = 1 / (1 + k |x|)^2``."""
        return _slope(x, self.scale)

    def second_derivative(self, x: Tensor) -> Tensor:
        """``g'(x) = -2 k sign(x) / (1 + k |x|)^3``."""
        return -2.0 * self.scale * torch.sign(x) * (1.0 + (x * self.scale).abs()).reciprocal() ** 3

    @property
    def area(self) -> float:
        """``2/k``."""
        return 2.0 / self.scale

    @property
    def peak(self) -> float:
        """``1``."""
        return 1.0
