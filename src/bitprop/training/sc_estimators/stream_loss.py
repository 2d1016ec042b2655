"""The squared error of a decoded product of two streams, with its closed forms: the test bench of the estimators.

Two L-cycle streams share their gate with the encoding, and every bit of a stream has the same probability.  With
values ``x1``, ``x2`` and ideal independent bits, the decoded product ``Z`` is unbiased and::

    AND          E[(Z - y)^2] = (p1 p2 - y)^2 + p1 p2 (1 - p1 p2) / L
    XNOR         E[(Z - y)^2] = (x1 x2 - y)^2 + (1 - x1^2 x2^2) / L
    signed AND   E[(Z - y)^2] = (x1 x2 - y)^2 + |x1 x2| (1 - |x1 x2|) / L

Reference: Gaines, *Stochastic computing systems*, 1969 (the variance of a Bernoulli sequence's estimate).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bitprop._checks import check_integer, check_real
from bitprop.errors import RangeError, ShapeError
from bitprop.formats import encoding_of

__all__ = ["StreamProductLoss"]

_MAX_LENGTH = 1 << 20


@dataclass(frozen=True, slots=True)
class StreamProductLoss:
    """``(decoded product of two L-bit streams - target)^2`` as a loss over ``2 L`` bits.

    Bits ``0 .. L-1`` are the first stream, cycle 0 first, bits ``L .. 2L-1`` the second.  Values between 0 and 1
    are accepted, the gates being their multilinear forms ``x w`` and ``1 - x - w + 2 x w``.

    Attributes:
        length: L, 1 .. 2**20 cycles.
        encoding: ``unipolar`` (AND), ``bipolar`` (XNOR) or ``sign_magnitude`` (AND with a sign).
        target: y, -2 .. 2.
        negative: the product's sign, ``sign_magnitude`` only.

    Raises:
        RangeError: a field out of range, or a sign where the encoding has none.

    Example:
        >>> loss = StreamProductLoss(length=2, encoding="unipolar", target=0.25)
        >>> loss(torch.tensor([[1.0, 1.0, 1.0, 0.0]])).item()
        0.0625
        >>> loss.expected(torch.tensor(0.5), torch.tensor(0.5)).item()
        0.09375
    """

    length: int
    encoding: str
    target: float
    negative: bool = False

    def __post_init__(self) -> None:
        check_integer("length", self.length, 1, _MAX_LENGTH)
        encoding = encoding_of(self.encoding)
        object.__setattr__(self, "target", check_real("target", self.target, -2.0, 2.0))
        if not isinstance(self.negative, bool):
            raise RangeError(f"expected negative to be True or False, got {self.negative!r}")
        if self.negative and not encoding.signed_stream:
            raise RangeError(f"expected negative=False with {self.encoding}, which has no sign; use sign_magnitude")

    @property
    def bits(self) -> int:
        """Bits of a pattern: ``2 L``."""
        return 2 * self.length

    def product(self, bits: Tensor) -> Tensor:
        """The decoded product Z of patterns ``[..., 2L]``: ``[...]``, in the encoding's range.

        Raises:
            ShapeError: the last axis is not ``2 L`` long.
        """
        if bits.ndim == 0 or bits.shape[-1] != self.bits:
            raise ShapeError(f"expected {self.bits} bits on the last axis, got shape {list(bits.shape)}")
        first, second = bits[..., : self.length], bits[..., self.length :]
        both = first * second
        if self.encoding == "bipolar":
            return 2.0 * (1.0 - first - second + 2.0 * both).mean(dim=-1) - 1.0
        mean = both.mean(dim=-1)
        return -mean if self.negative else mean

    def __call__(self, bits: Tensor) -> Tensor:
        return (self.product(bits) - self.target) ** 2

    def _check_values(self, first: Tensor, second: Tensor) -> None:
        encoding = encoding_of(self.encoding)
        for name, value in (("first", first), ("second", second)):
            if not isinstance(value, Tensor) or not value.is_floating_point() or value.ndim != 0:
                raise ShapeError(f"expected {name} to be a floating-point scalar tensor, got {value!r}")
            if not encoding.low <= value.item() <= encoding.high:
                raise RangeError(
                    f"expected {name} in {encoding.low:g} .. {encoding.high:g} ({self.encoding}), got {value.item()!r}"
                )
        product = first.item() * second.item()
        if encoding.signed_stream and product != 0.0 and (product < 0.0) != self.negative:
            raise RangeError(
                f"expected the signs of first and second to give negative={self.negative}, got {first.item()!r} "
                f"and {second.item()!r}; build the loss with the product's sign"
            )

    def probability(self, value: Tensor) -> Tensor:
        """The share of ones of a value's stream: ``v``, ``(v + 1) / 2`` or ``|v|``; differentiable."""
        if self.encoding == "bipolar":
            return (value + 1.0) / 2.0
        return value.abs() if self.encoding == "sign_magnitude" else value

    def logits(self, first: Tensor, second: Tensor) -> Tensor:
        """Per-bit log-odds ``[2L]`` of two stream values, differentiable in them.

        Raises:
            ShapeError: not scalars.
            RangeError: outside the encoding's range, a certain stream (all ones or all zeros: no finite log-odds),
                or signs that contradict ``negative``.
        """
        self._check_values(first, second)
        p = torch.stack([self.probability(first), self.probability(second)])
        if bool(((p <= 0.0) | (p >= 1.0)).any()):
            raise RangeError(
                f"expected probabilities strictly between 0 and 1, got {p.tolist()}; a certain stream has no log-odds"
            )
        return torch.logit(p).repeat_interleave(self.length)

    def stream_gradient(self, per_bit: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """The chain rule from per-bit log-odds to the two values: ``dv = dp/dv * sum_t g_t / (p (1 - p))``.

        Args:
            per_bit: gradients with respect to the log-odds, ``[..., 2L]``.
            first, second: the stream values, scalars.

        Returns:
            Gradients with respect to ``(first, second)``, ``[..., 2]``.

        Raises:
            ShapeError: the last axis is not ``2 L`` long, or the values are not scalars.
            RangeError: a value out of range.
        """
        self._check_values(first, second)
        if per_bit.ndim == 0 or per_bit.shape[-1] != self.bits:
            raise ShapeError(f"expected {self.bits} bits on the last axis, got shape {list(per_bit.shape)}")
        values = torch.stack([first, second]).detach()
        p = self.probability(values)
        slope = torch.full_like(p, 0.5) if self.encoding == "bipolar" else torch.ones_like(p)
        if self.encoding == "sign_magnitude":
            slope = torch.where(values < 0.0, -slope, slope)
        streams = (per_bit[..., : self.length].sum(dim=-1), per_bit[..., self.length :].sum(dim=-1))
        return torch.stack(streams, dim=-1) * (slope / (p * (1.0 - p)))

    def expected(self, first: Tensor, second: Tensor) -> Tensor:
        """``E[(Z - y)^2]``, the closed form with the ``1/L`` term; differentiable in both values.

        Raises:
            ShapeError: not scalars.
            RangeError: a value outside the encoding's range, or signs that contradict ``negative``.
        """
        self._check_values(first, second)
        mean = first * second
        size = -mean if self.negative else mean  # not abs(): its derivative at zero would be lost
        variance = 1.0 - mean**2 if self.encoding == "bipolar" else size * (1.0 - size)
        return (mean - self.target) ** 2 + variance / self.length

    def relaxed(self, first: Tensor, second: Tensor) -> Tensor:
        """``(E[Z] - y)^2``: what the pathwise relaxation differentiates; :meth:`expected` as L grows without bound.

        Raises:
            ShapeError: not scalars.
            RangeError: a value outside the encoding's range, or signs that contradict ``negative``.
        """
        self._check_values(first, second)
        return (first * second - self.target) ** 2

    def to_dict(self) -> dict[str, Any]:
        """Plain fields."""
        return {
            "length": self.length,
            "encoding": self.encoding,
            "target": self.target,
            "negative": self.negative,
        }
