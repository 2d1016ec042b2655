"""Surrogate gradients: a step forward, the slope of a smooth function backward."""

from __future__ import annotations

from torch import Tensor

from bitprop.surrogate._surrogate import SURROGATES, AbstractSurrogate, make_surrogate
from bitprop.surrogate.atan import Atan
from bitprop.surrogate.erf import Erf
from bitprop.surrogate.exponential import Exponential
from bitprop.surrogate.fast_sigmoid import FastSigmoidSurrogate
from bitprop.surrogate.piecewise_quadratic import PiecewiseQuadratic
from bitprop.surrogate.rectangular import Rectangular
from bitprop.surrogate.sigmoid import Sigmoid
from bitprop.surrogate.straight_through import StraightThrough
from bitprop.surrogate.super_spike import SuperSpike
from bitprop.surrogate.triangular import Triangular

__all__ = [
    "SURROGATES",
    "AbstractSurrogate",
    "Atan",
    "Erf",
    "Exponential",
    "FastSigmoid",
    "FastSigmoidSurrogate",
    "PiecewiseQuadratic",
    "Rectangular",
    "Sigmoid",
    "StraightThrough",
    "SuperSpike",
    "SurrogateGradient",
    "Triangular",
    "make_surrogate",
]

FastSigmoid = FastSigmoidSurrogate.function
"""Autograd function: ``FastSigmoid.apply(x)`` is a step forward and ``1 / (1 + 25 |x|)^2`` backward."""


class SurrogateGradient:
    """Every derivative as a function of x and, optionally, the scale.

    Example:
        >>> import torch
        >>> SurrogateGradient.triangular(torch.tensor([-2.0, 0.0, 0.5]))
        tensor([0.0000, 1.0000, 0.5000])
    """

    @staticmethod
    def fast_sigmoid(x: Tensor, scale: float | None = None) -> Tensor:
        """``1 / (1 + k |x|)^2``."""
        return make_surrogate("fast_sigmoid", scale).derivative(x)

    @staticmethod
    def triangular(x: Tensor, scale: float | None = None) -> Tensor:
        """``max(0, 1 - k |x|)``."""
        return make_surrogate("triangular", scale).derivative(x)

    @staticmethod
    def rectangular(x: Tensor, scale: float | None = None) -> Tensor:
        """``k`` where ``|x| < 1/(2k)``, else 0."""
        return make_surrogate("rectangular", scale).derivative(x)

    @staticmethod
    def exponential(x: Tensor, scale: float | None = None) -> Tensor:
        """``(k/2) exp(-k |x|)``."""
        return make_surrogate("exponential", scale).derivative(x)

    @staticmethod
    def super_spike(x: Tensor, scale: float | None = None) -> Tensor:
        """``1 / (1 + k |x|)^2``, steeper by default than :meth:`fast_sigmoid`."""
        return make_surrogate("super_spike", scale).derivative(x)

    @staticmethod
    def sigmoid(x: Tensor, scale: float | None = None) -> Tensor:
        """``k s(kx) s(-kx)``."""
        return make_surrogate("sigmoid", scale).derivative(x)

    @staticmethod
    def atan(x: Tensor, scale: float | None = None) -> Tensor:
        """``(k/2) / (1 + (pi k x / 2)^2)``."""
        return make_surrogate("atan", scale).derivative(x)

    @staticmethod
    def erf(x: Tensor, scale: float | None = None) -> Tensor:
        """``k / sqrt(pi) exp(-(kx)^2)``."""
        return make_surrogate("erf", scale).derivative(x)

    @staticmethod
    def straight_through(x: Tensor, scale: float | None = None) -> Tensor:
        """``k``."""
        return make_surrogate("straight_through", scale).derivative(x)

    @staticmethod
    def piecewise_quadratic(x: Tensor, scale: float | None = None) -> Tensor:
        """``k max(0, 1 - k |x|)``."""
        return make_surrogate("piecewise_quadratic", scale).derivative(x)
