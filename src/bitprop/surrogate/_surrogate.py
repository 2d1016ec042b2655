"""What a surrogate is: a step forward, and backward the slope of a smooth function in its place.

A spike is ``s = [x >= 0]``, with x the membrane potential less the threshold.  Its derivative is zero or undefined,
so training uses ``g(x) = F'(x)`` of a smooth *primal* F instead.  A surrogate is compared with the slope of its own
primal, never with finite differences of the step.

Reference: Neftci, Mostafa and Zenke, *Surrogate gradient learning in spiking neural networks*, IEEE Signal Processing
Magazine 36(6), 2019.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd import Function

from bitprop._checks import check_real
from bitprop._registry import Registry
from bitprop.errors import RangeError, ShapeError

__all__ = ["SURROGATES", "AbstractSurrogate", "SpikeFunction", "bounded", "make_surrogate", "step"]

_LARGEST_SCALE = 1e4
Slope = Callable[[Tensor, float], Tensor]


def step(x: Tensor) -> Tensor:
    """``[x >= 0]`` in the dtype of x; NaN stays NaN, so that it is not taken for silence."""
    spikes = (x >= 0).to(x.dtype)
    return torch.where(x != x, x, spikes)


def bounded(x: Tensor, scale: float) -> Tensor:
    """``scale * x``, held inside a quarter of the dtype's range, so that derivatives of formulas in it stay finite."""
    limit = torch.finfo(x.dtype).max / 4
    return (x * scale).clamp(-limit, limit)


class SpikeFunction:
    """A step forward and ``slope(x, scale)`` backward, as ``apply(x)`` or ``apply(x, scale)``.

    It works under ``torch.func`` (vmap, grad, jvp, ...), under ``torch.compile`` and twice: the backward pass is itself
    differentiable.  The compiler takes no function with a forward mode of its own, so there are two of them behind it.

    Args:
        name: shown in graphs and reports.
        slope: ``g(x, scale)``, differentiable.
        default_scale: where none is given.
    """

    def __init__(self, name: str, slope: Slope, default_scale: float) -> None:
        class Reverse(Function):
            generate_vmap_rule = True

            @staticmethod
            def forward(x: Tensor, scale: float) -> Tensor:
                return step(x)

            @staticmethod
            def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
                ctx.save_for_backward(inputs[0])
                ctx.save_for_forward(inputs[0])
                ctx.scale = inputs[1]

            @staticmethod
            def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
                (x,) = ctx.saved_tensors
                return grad * slope(x, ctx.scale), None

        class Both(Reverse):
            @staticmethod
            def jvp(ctx: Any, tangent: Tensor, _scale: None) -> Tensor:
                (x,) = ctx.saved_tensors
                return tangent * slope(x, ctx.scale)

        for cls in (Reverse, Both):
            cls.__name__ = cls.__qualname__ = name
        self._reverse, self._both, self._default = Reverse, Both, default_scale

    def apply(self, x: Tensor, scale: float | None = None) -> Tensor:
        """Spikes ``[x >= 0]`` in the shape and dtype of x."""
        function = self._reverse if torch.compiler.is_compiling() else self._both
        spikes: Tensor = function.apply(x, self._default if scale is None else scale)  # type: ignore[no-untyped-call]
        return spikes


@dataclass(frozen=True, slots=True)
class AbstractSurrogate(ABC):
    """A surrogate and what it declares.

    A subclass is one file; it declares every class attribute, the formulas, and joins :data:`SURROGATES`.

    Attributes:
        scale: k, the steepness, above 0 and at most 10,000, in units of 1/x.
        name: registry key, equal to the file's stem.
        default_scale: scale where none is given.
        formula: the derivative, in words of mathematics.
        escape_noise: distribution of threshold noise whose cumulative function is the primal (up to area), or ``None``.
        kinks: multiples of 1/scale at which the derivative is not differentiable.
        reference: where it comes from.

    Raises:
        RangeError: the scale is out of range.
    """

    name: ClassVar[str]
    default_scale: ClassVar[float]
    formula: ClassVar[str]
    escape_noise: ClassVar[str | None]
    kinks: ClassVar[tuple[float, ...]]
    reference: ClassVar[str]
    function: ClassVar[SpikeFunction]

    scale: float

    def __post_init__(self) -> None:
        check_real("scale", self.scale, 0.0, _LARGEST_SCALE)
        if self.scale <= 0.0:
            raise RangeError(f"expected scale above 0, got {self.scale!r}; larger is steeper")

    def __call__(self, x: Tensor) -> Tensor:
        """Spikes: ``[x >= 0]`` forward, :meth:`derivative` backward.

        Args:
            x: membrane potential less threshold, any shape, floating point.

        Raises:
            ShapeError: not a floating-point tensor.
        """
        if not x.is_floating_point():
            raise ShapeError(f"expected a floating-point tensor, got {x.dtype}; convert it first")
        return self.function.apply(x, self.scale)

    @abstractmethod
    def primal(self, x: Tensor) -> Tensor:
        """``F(x)``, the smooth function whose slope is :meth:`derivative`."""

    @abstractmethod
    def derivative(self, x: Tensor) -> Tensor:
        """``g(x) = F'(x)``, elementwise, in the dtype of x; differentiable."""

    @abstractmethod
    def second_derivative(self, x: Tensor) -> Tensor:
        """``g'(x)`` where it exists; at a kink the mean of both sides or, for a jump, zero."""

    @property
    @abstractmethod
    def area(self) -> float:
        """Integral of the derivative over all x; may be infinite."""

    @property
    @abstractmethod
    def peak(self) -> float:
        """Largest value of the derivative, at x = 0."""

    def cdf(self, x: Tensor) -> Tensor:
        """The primal shifted and scaled to rise from 0 to 1: the escape-noise probability of a spike.

        Raises:
            RangeError: the area is infinite: there is none.
        """
        if not math.isfinite(self.area):
            raise RangeError(f"expected a surrogate of finite area, got {self.name}; it belongs to no noise")
        return self.primal(x) / self.area + self._offset()

    def _offset(self) -> float:
        """What takes the primal over its area to start at 0; for odd primals one half."""
        return 0.5 - float(self.primal(torch.zeros((), dtype=torch.float64))) / self.area

    def to_dict(self) -> dict[str, Any]:
        """What it declares, for reports."""
        return {
            "name": self.name,
            "scale": self.scale,
            "formula": self.formula,
            "area": self.area if math.isfinite(self.area) else None,
            "peak": self.peak,
            "escape_noise": self.escape_noise,
            "reference": self.reference,
        }


SURROGATES: Registry[type[AbstractSurrogate]] = Registry("surrogate")
"""Every surrogate by name."""


def make_surrogate(name: str, scale: float | None = None) -> AbstractSurrogate:
    """Build a surrogate from its name.

    Args:
        name: registry key.
        scale: steepness; ``None`` is the surrogate's default.

    Raises:
        RegistryError: unknown name.
        RangeError: scale out of range.

    Example:
        >>> import bitprop.surrogate
        >>> make_surrogate("atan").scale, make_surrogate("fast_sigmoid", 10).peak
        (2.0, 1.0)
    """
    family = SURROGATES[name]
    return family(family.default_scale if scale is None else float(scale))
