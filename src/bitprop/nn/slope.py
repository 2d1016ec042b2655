"""Which slope stands in for a stream's: the relaxed product's, or the stream's own, seen locally.

A count ``#{t : R_t < kx and Q_t < kw}`` is a staircase in ``kw``: it steps where ``kw`` passes some ``Q_t``, and only
if the activation's bit of that very cycle is one.  The relaxed slope averages over all cycles (it is ``x``).  The
*local* slope of a weight looks at the cycles whose levels ``(Q_t + 1/2) / 2**n`` are next below and next above the
weight's probability and interpolates between their activation bits::

    dy/dw[o, i]  =  sum_b g[b, o] * ((1 - f) X[b, i, below] + f X[b, i, above])

with X the activation's bits as the product sees them (0/1, +-1 for bipolar, signed for sign-magnitude) and f the
weight's place between the two levels.  It is what a step of the weight would really change, and matters when L is
small; for long streams both agree.  The slope in the activations is the relaxed one, ``g @ w``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from bitprop.nn.bit_true import stream_bits
from bitprop.training.sc_estimators.expectation import saturate

__all__ = ["LOCAL_LIMIT", "SLOPES", "Streams", "local_slope"]

SLOPES = ("relaxed", "local")
LOCAL_LIMIT = 64
"""Streams longer than this take the relaxed slope: the two have met, and the local one costs L products."""


@dataclass(frozen=True, slots=True)
class Streams:
    """One layer's activation streams and weight levels in one forward pass.

    Attributes:
        threshold: of the activations, int64 ``[B, I]``.
        negative: signs of the activations, int64 ``[B, I]``.
        activation: numbers R_t, ``[L]``.
        weight: numbers Q_t, ``[L]``.
        encoding: encoding name.
        precision_bits: n.
    """

    threshold: Tensor
    negative: Tensor
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
        encoding = ctx.streams.encoding
        grad_x = grad_w = None
        if ctx.needs_input_grad[0]:
            grad_x = (grad @ saturate(w, encoding)) * (saturate(x, encoding) == x)
        if ctx.needs_input_grad[1]:
            grad_w = _weight_gradient(grad, w, ctx.streams) * (saturate(w, encoding) == w)
        return grad_x, grad_w, None, None


def _weight_gradient(grad: Tensor, w: Tensor, streams: Streams) -> Tensor:
    length = streams.activation.shape[0]
    bits = stream_bits(streams.activation, streams.threshold, streams.negative, streams.encoding)
    # per cycle, what a weight bit that turned on would have been worth: [O, L, I]
    worth = (grad.t() @ bits.to(grad.dtype)).view(w.shape[0], length, w.shape[1])
    if length == 1:
        return worth[:, 0]
    probability = (w + 1) / 2 if streams.encoding == "bipolar" else w.abs()
    levels, order = ((streams.weight.to(w.dtype) + 0.5) / (1 << streams.precision_bits)).sort()
    above = torch.bucketize(probability, levels)
    below, above = (above - 1).clamp_min(0), above.clamp_max(length - 1)
    gap = levels[above] - levels[below]
    place = torch.where(gap > 0, (probability - levels[below]) / gap.clamp_min(1e-12), torch.zeros_like(gap))
    under = worth.gather(1, order[below][:, None, :])[:, 0]
    over = worth.gather(1, order[above][:, None, :])[:, 0]
    return under + (over - under) * place


def local_slope(x: Tensor, w: Tensor, hard: Tensor, streams: Streams) -> Tensor:
    """The value of ``hard``, sums of products ``[B, O]``, with the local slope in ``w`` and the relaxed one in ``x``."""
    return cast(Tensor, _LocalSlope.apply(x, w, hard, streams))  # type: ignore[no-untyped-call]
