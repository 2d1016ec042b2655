"""A bit-true layer's mixture of designs as one native operation with its own backward pass.

The same function as the plain sum over encodings and lengths in :mod:`bitprop.nn.linear`: equal integers, gradients up
to rounding.  Thresholds, sums, bias, scale, clamp and shares are one call; so are, on the way back, the clamps' masks,
the shares' gradients and the local slopes of all lengths.  Kept between the two are the sums as 32-bit integers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bitprop import kernels
from bitprop.formats import encoding_of
from bitprop.nn.native import SLOPE_CODES, count_table

__all__ = ["Mixture", "mix_natively"]

Numbers = npt.NDArray[np.int64]
# Sums are kept in 32 bits.
_LARGEST_SUM = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Mixture:
    """The designs of one forward pass, less what is learned.

    Attributes:
        encodings: those that are mixed.
        lengths: those that are mixed, in cycles.
        numbers: ``R_t``, ``S_t`` and ``T_t`` of each length, ``[L]`` each.
        local: for each length, whether its slope is the streams' local one.
        scales: for each length the multiplier and the shift, (0, 0) for logits.
        limits: smallest and largest output integer.
        precision_bits: n.
        correlation_raw: the correlation times ``2**n``.
        learns_correlation: whether its gradient is wanted.
        independent: whether the layout is: without correlation the relaxed sum is then a product of matrices.
        soft: the sum that is relaxed, of real activations and an encoding's name: its slope is that of the lengths that
            are not local.
    """

    encodings: tuple[str, ...]
    lengths: tuple[int, ...]
    numbers: tuple[tuple[Numbers, Numbers, Numbers], ...]
    local: tuple[bool, ...]
    scales: tuple[tuple[int, int], ...]
    limits: tuple[int, int]
    precision_bits: int
    correlation_raw: int
    learns_correlation: bool
    independent: bool
    soft: Callable[[Tensor, str], Tensor]

    def signs(self) -> list[int]:
        """The sides on which the correlation's slope is taken: both at zero."""
        return [sign for sign in (1, -1) if self.correlation_raw * sign >= 0] if self.learns_correlation else []

    def _mixed(self, r: Numbers, s: Numbers, t: Numbers, correlation_raw: int) -> Numbers:
        """:func:`bitprop.nn.bit_true.mix_numbers`."""
        if correlation_raw == 0:
            return s
        other = r if correlation_raw > 0 else (1 << self.precision_bits) - 1 - r
        return np.where(t < abs(correlation_raw), other, s)

    def pairs(self) -> list[list[tuple[Numbers, Numbers]]]:
        """For each length the sequences of its sums: at the correlation, and where its slope is wanted at the ends."""
        one = 1 << self.precision_bits
        found = []
        for r, s, t in self.numbers:
            at = [
                self.correlation_raw,
                *((0, *(sign * one for sign in self.signs())) if self.learns_correlation else ()),
            ]
            found.append([(r, self._mixed(r, s, t, correlation)) for correlation in at])
        return found


class _Mixed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        gain: Tensor,
        p_encodings: Tensor,
        p_lengths: Tensor,
        correlation: Tensor,
        mixture: Mixture,
    ) -> Tensor:
        native, threads = kernels.extension(), torch.get_num_threads()
        x, weight = x.contiguous(), weight.contiguous()
        ctx.shares = p_encodings.tolist(), p_lengths.tolist()
        shares = [a * b for a in ctx.shares[0] for b in ctx.shares[1]]
        pairs = mixture.pairs()
        designs = native.Designs(
            [SLOPE_CODES[name] for name in mixture.encodings],
            shares,
            list(mixture.lengths),
            [multiplier for multiplier, _ in mixture.scales],
            [shift for _, shift in mixture.scales],
            gain.item(),
            list(mixture.limits),
            mixture.precision_bits,
        )
        tables = [count_table(r, q, mixture.precision_bits) for at in pairs for r, q in at]
        kept = np.empty((len(shares), len(x), len(weight)), np.int32)
        out, signs = x.new_empty(len(x), len(weight)), mixture.signs()
        slopes = np.empty(kept.shape, out.numpy().dtype) if signs else None
        sides = (x.numpy(), weight.numpy(), bias.numpy())
        native.mixture(*sides, designs, tables, signs, kept, slopes, out.numpy(), threads)
        ctx.save_for_backward(x, weight, bias)
        ctx.rest = mixture, designs, [at[0] for at in pairs], kept, slopes
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        mixture, designs, pairs, kept, slopes = ctx.rest
        p_encodings, p_lengths = ctx.shares
        needs_x, needs_w = ctx.needs_input_grad[:2]
        grad = gradients[0].contiguous()
        grad_x = torch.empty_like(x) if needs_x else None
        grad_w = torch.empty_like(weight) if needs_w else None
        grad_bias, relaxed = torch.empty_like(bias), x.new_empty(len(mixture.encodings), len(x), len(weight))
        numbers = np.concatenate([side for pair in pairs for side in pair])
        *shares, by_gain, by_correlation = kernels.extension().mixture_back(
            grad.numpy(),
            x.numpy(),
            weight.numpy(),
            bias.numpy(),
            designs,
            [int(local) for local in mixture.local],
            numbers,
            kept,
            slopes,
            None if grad_x is None else grad_x.numpy(),
            None if grad_w is None else grad_w.numpy(),
            grad_bias.numpy(),
            relaxed.numpy(),
            torch.get_num_threads(),
        )
        if not all(mixture.local):
            for encoding, given in zip(mixture.encodings, relaxed, strict=True):
                _add_relaxed(mixture, encoding, x, weight, given, grad_x, grad_w)
        by_share = np.array(shares).reshape(len(p_encodings), len(p_lengths))
        by_encoding, by_length = by_share @ np.array(p_lengths), np.array(p_encodings) @ by_share
        rest = (by_gain, by_encoding, by_length, by_correlation)
        needed = ctx.needs_input_grad[3:7]
        return (
            grad_x,
            grad_w,
            grad_bias,
            *(bias.new_tensor(found) if wanted else None for found, wanted in zip(rest, needed, strict=True)),
            None,
        )


def _add_relaxed(
    mixture: Mixture,
    encoding: str,
    x: Tensor,
    weight: Tensor,
    given: Tensor,
    grad_x: Tensor | None,
    grad_w: Tensor | None,
) -> None:
    """Add what the relaxed sum's slopes, times ``given``, are in x and in the weights."""
    targets = [target for target in (grad_x, grad_w) if target is not None]
    if not targets:
        return
    if mixture.correlation_raw == 0 and mixture.independent:
        # the sum is one product of clamped sides
        limits = encoding_of(encoding)
        inside = [_is_inside(side, limits.low, limits.high) for side in (x, weight)]
        clamped = [
            side if fits else side.clamp(limits.low, limits.high)
            for side, fits in zip((x, weight), inside, strict=True)
        ]
        sides = ((grad_x, given, x, clamped[1], inside[0]), (grad_w, given.t(), weight, clamped[0], inside[1]))
        for target, left, own, other, fits in sides:
            if target is not None and fits:
                target.addmm_(left, other)
            elif target is not None:
                target.addcmul_(torch.mm(left, other), ((own >= limits.low) & (own <= limits.high)).to(own.dtype))
        return
    with torch.enable_grad():
        leaf = x.detach().requires_grad_(grad_x is not None)
        soft = mixture.soft(leaf, encoding)
    wanted = ([leaf] if grad_x is not None else []) + ([weight] if grad_w is not None else [])
    for target, found in zip(targets, torch.autograd.grad(soft, wanted, given), strict=True):
        target += found


def _is_inside(values: Tensor, low: float, high: float) -> bool:
    if not values.numel():
        return True
    least, most = values.aminmax()
    return low <= least.item() and most.item() <= high


def mix_natively(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    gain: Tensor,
    p_encodings: Tensor,
    p_lengths: Tensor,
    correlation: Tensor,
    mixture: Mixture,
) -> Tensor | None:
    """The layer's output ``[B, O]``, or ``None`` where no kernel can give it.

    Args:
        x: real activations ``[B, I]``.
        weight: ``[O, I]``.
        bias: ``[O]``.
        gain: a scalar.
        p_encodings: probabilities of the mixture's encodings.
        p_lengths: probabilities of its lengths.
        correlation: a scalar, for its gradient.
        mixture: the rest.
    """
    tensors = (x, weight, bias, gain, p_encodings, p_lengths)
    fits = x.dtype in (torch.float32, torch.float64) and all(
        t.dtype == x.dtype and t.device.type == "cpu" for t in tensors
    )
    inputs = x.shape[1]
    if torch.compiler.is_compiling() or not fits or not inputs or max(mixture.lengths) * inputs > _LARGEST_SUM:
        return None
    if kernels.extension() is None:
        return None
    return cast(Tensor, _Mixed.apply(*tensors, correlation, mixture))  # type: ignore[no-untyped-call]
