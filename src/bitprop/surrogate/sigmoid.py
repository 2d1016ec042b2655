"""The slope of a logistic sigmoid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bitprop.surrogate._surrogate import SURROGATES, AbstractSurrogate, SpikeFunction

__all__ = ["Sigmoid"]


def _slope(x: Tensor, scale: float) -> Tensor:
    return scale * torch.sigmoid(x * scale) * torch.sigmoid(-x * scale)


@SURROGATES.register("sigmoid")
@dataclass(frozen=True, slots=True)
class Sigmoid(AbstractSurrogate):
    """``g(x) = k s(kx) s(-kx), s(z) = 1 / (1 + e^-z)``."""

    name: ClassVar[str] = "sigmoid"
    default_scale: ClassVar[float] = 4.0
    formula: ClassVar[str] = "g(x) = k s(kx) s(-kx), s(z) = 1 / (1 + e^-z)"
    escape_noise: ClassVar[str | None] = "logistic"
    kinks: ClassVar[tuple[float, ...]] = ()
    reference: ClassVar[str] = (
        "Wozniak et al., Deep learning incorporating biologically inspired neural dynamics and in-memory "
        "computing, Nature Machine Intelligence 2, 2020"
    )
    function: ClassVar[SpikeFunction] = SpikeFunction("Sigmoid", _slope, 4.0)

    def primal(self, x: Tensor) -> Tensor:
        """``F(x) = s(kx)``."""
        return torch.sigmoid(x * self.scale)

    def derivative(self, x: Tensor) -> Tensor:
        """``g(x) = k s(kx) s(-kx), s(z) = 1 / (1 + e^-z)``."""
        return _slope(x, self.scale)

    def second_derivative(self, x: Tensor) -> Tensor:
        """``g'(x) = k g(x) (s(-kx) - s(kx))``."""
        return self.scale * self.derivative(x) * (torch.sigmoid(-x * self.scale) - torch.sigmoid(x * self.scale))

    @property
    def area(self) -> float:
        """``1``."""
        return 1.0

    @property
    def peak(self) -> float:
        """``k/4``."""
        return 0.25 * self.scale
