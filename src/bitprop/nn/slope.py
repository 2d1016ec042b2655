"""Which slope stands in for a stream's: the relaxed product's, or the stream's own, seen locally.

A count ``#{t : R_t < kx and Q_t < kw}`` is a staircase in ``kw``: it steps where ``kw`` passes some ``Q_t``, and only
if the activation's bit of that very cycle is one.  The relaxed slope averages over all cycles (it is ``x``).  The
*local* slope of a weight looks at the cycles whose levels ``(Q_t + 1/2) / 2**n`` are next below and next above the
weight's probability and interpolates between their activation bits::

    dy/dw[o, i]  =  sum_b g[b, o] * ((1 - f) X[b, below, i] + f X[b, above, i])

with X the activation's bits as the product sees them (0/1, +-1 for bipolar, signed for sign-magnitude) and f the
weight's place between the two levels.  The slope in an activation is the same with the roles exchanged: the weights'
bits at the cycles whose ``R_t`` are next to the activation's probability.  It is what a step would really change, and
it knows about correlation.  It rests on two cycles whatever L is, so the relaxed slope, an average over all of them, is
the less noisy one when L is large.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from bitprop.nn.bit_true import stream_bits
from bitprop.nn.native import native_slope
from bitprop.training.sc_estimators.expectation import saturate

__all__ = ["LOCAL_LIMIT", "SLOPES", "Streams", "local_slope"]

SLOPES = ("relaxed", "local")
LOCAL_LIMIT = 32
"""Streams longer than this take the relaxed slope: it is less noisy there, and the local one costs L products."""


@dataclass(frozen=True, slots=True)
class Streams:
    """One layer's streams in one forward pass.

    Attributes:
        x: thresholds and signs of the activations, int64 ``[B, I]``.
        w: thresholds and signs of the weights, int64 ``[O, I]``.
        activation: numbers R_t, ``[L]``.
        weight: numbers Q_t, ``[L]``.
        encoding: encoding name.
        precision_bits: n.
    """

    x: tuple[Tensor, Tensor]
    w: tuple[Tensor, Tensor]
    activation: Tensor
    weight: Tensor
    encoding: str
    precision_bits: int


class _LocalSlope(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, hard: Tensor, streams: Streams) -> Tensor:
        ctx.save_for_backward(x, w)
        ctx.streams = streams
        return hard.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = gradients
        x, w = ctx.saved_tensors
        streams: Streams = ctx.streams
        numbers = streams.activation, streams.weight
        grad_x = grad_w = None
        if ctx.needs_input_grad[0]:
            grad_x = _slope(grad.t(), streams.w, x, numbers[::-1], streams)
        if ctx.needs_input_grad[1]:
            grad_w = _slope(grad, streams.x, w, numbers, streams)
        return grad_x, grad_w, None, None


def _slope(
    grad: Tensor, rows: tuple[Tensor, Tensor], value: Tensor, numbers: tuple[Tensor, Tensor], streams: Streams
) -> Tensor:
    """What the values ``[columns, I]`` of one side gain through the other side's bits, ``[columns, I]``.

    Args:
        grad: ``[rows, columns]``.
        rows: thresholds and signs of the other side, ``[rows, I]``.
        value: real values of this side.
        numbers: of the other side and of this one, ``[L]``.
        streams: the layer's.
    """
    encoding, n = streams.encoding, streams.precision_bits
    found = native_slope(grad, rows, value, numbers, encoding, n)
    if found is not None:
        return found
    bits = stream_bits(numbers[0], *rows, encoding)
    worth = (grad.t() @ bits.to(grad.dtype)).view(value.shape[0], len(numbers[0]), value.shape[1])
    return _between_levels(worth, value, numbers[1], encoding, n)


def _levels(numbers: Tensor, dtype: torch.dtype, precision_bits: int) -> tuple[Tensor, Tensor]:
    """The numbers' levels, ascending, and the cycles in that order; of equal levels the earlier cycle first."""
    return ((numbers.to(dtype) + 0.5) / (1 << precision_bits)).sort(stable=True)


def _between_levels(worth: Tensor, value: Tensor, numbers: Tensor, encoding: str, precision_bits: int) -> Tensor:
    """Interpolate what a bit would be worth per cycle, ``[rows, L, I]``, to the place of ``value`` ``[rows, I]``."""
    inside = (saturate(value, encoding) == value).to(worth.dtype)
    length = numbers.shape[0]
    if length == 1:
        return worth[:, 0] * inside
    probability = (value + 1) / 2 if encoding == "bipolar" else value.abs()
    levels, order = _levels(numbers, value.dtype, precision_bits)
    above = torch.bucketize(probability, levels)
    below, above = (above - 1).clamp_min(0), above.clamp_max(length - 1)
    gap = levels[above] - levels[below]
    place = torch.where(gap > 0, (probability - levels[below]) / gap.clamp_min(1e-12), torch.zeros_like(gap))
    under = worth.gather(1, order[below][:, None, :])[:, 0]
    over = worth.gather(1, order[above][:, None, :])[:, 0]
    return (under + (over - under) * place) * inside


def local_slope(x: Tensor, w: Tensor, hard: Tensor, streams: Streams) -> Tensor:
    """The value of ``hard``, sums of products ``[B, O]``, with the streams' local slopes in ``x`` and ``w``."""
    return cast(Tensor, _LocalSlope.apply(x, w, hard, streams))  # type: ignore[no-untyped-call]
