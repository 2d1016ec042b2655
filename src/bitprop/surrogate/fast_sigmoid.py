"""The slope of a fast sigmoid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bitprop.surrogate._surrogate import SURROGATES, AbstractSurrogate, SpikeFunction

__all__ = ["FastSigmoidSurrogate"]


def _slope(x: Tensor, scale: float) -> Tensor:
    return (1.0 + (x * scale).abs()).reciprocal().square()


@SURROGATES.register("fast_sigmoid")
@dataclass(frozen=True, slots=True)
class FastSigmoidSurrogate(AbstractSurrogate):
    """``g(x) = 1 / (1 + k |x|)^2``."""

    name: ClassVar[str] = "fast_sigmoid"
    default_scale: ClassVar[float] = 25.0
    formula: ClassVar[str] = "g(x) = 1 / (1 + k |x|)^2"
    escape_noise: ClassVar[str | None] = "two-sided Lomax"
    kinks: ClassVar[tuple[float, ...]] = (0.0,)
    reference: ClassVar[str] = (
        "Zenke and Vogels, The remarkable robustness of surrogate gradient learning, Neural Computation 33(4), 2021"
    )
    function: ClassVar[SpikeFunction] = SpikeFunction("FastSigmoidSurrogate", _slope, 25.0)

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
