"""A bit-true layer's mixture of designs as one native operation with its own backward pass.

The same function as the plain sum over encodings and lengths in :mod:`bitprop.nn.linear`: equal integers, gradients up
to rounding.  Thresholds, sums, bias, scale, clamp and shares are one call; so are, on the way back, the clamps' masks,
the shares' gradients and the local slopes of all lengths.  Kept between the two are the sums, as 16-bit integers
where they fit and as 32-bit ones where they do not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bitprop import kernels
from bitprop.formats import encoding_of
from bitprop.nn.design import Chosen, dot
from bitprop.nn.native import SLOPE_CODES, count_table
from bitprop.ops.correlate import mix_checked

__all__ = ["Learned", "Mixture", "Numbers", "mix_natively"]

Sequence = npt.NDArray[np.int64]
# Sums are kept in 32 bits at most.
_LARGEST_SUM = 2**31 - 1
# What is made of so many mixtures' numbers is kept: every layer has one, and with a learned correlation or a dither
# some.
_PREPARED = 64


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """The sequences of one length; told apart by which object they are.

    Attributes:
        r: ``R_t``, int64 ``[L]``.
        s: ``S_t``, likewise.
        t: ``T_t``, likewise.
    """

    r: Sequence
    s: Sequence
    t: Sequence


class _Prepared(NamedTuple):
    """What the native calls are given of the numbers.

    Attributes:
        tables: of the sums, for each length at each correlation; where a length goes on, of its cycles since.
        goes_on: for each length, whether its sums are added to those of the one before.
        numbers: of both sides, for each length at the first correlation, in one line.
    """

    tables: list[Any]
    goes_on: list[int]
    numbers: Sequence


def _begins(pairs: list[tuple[Sequence, Sequence]], before: list[tuple[Sequence, Sequence]]) -> bool:
    """Whether each sequence begins with the shorter one before it."""
    return all(
        np.array_equal(side[: len(short)], short)
        for pair, short_pair in zip(pairs, before, strict=True)
        for side, short in zip(pair, short_pair, strict=True)
    )


@lru_cache(maxsize=_PREPARED)
def _prepared(numbers: tuple[Numbers, ...], correlations: tuple[int, ...], precision_bits: int) -> _Prepared:
    """Tables of whole lengths, or, where that is cheaper, of the cycles since the length that one begins with."""
    tables: list[Any] = []
    goes_on: list[int] = []
    line: list[Sequence] = []
    before: list[tuple[Sequence, Sequence]] = []
    for of_length in numbers:
        r, s, t = of_length.r, of_length.s, of_length.t
        pairs = [(r, mix_checked(r, s, t, correlation, precision_bits)) for correlation in correlations]
        found = [count_table(r, q, precision_bits) for r, q in pairs]
        since = found
        if before and _begins(pairs, before):
            start = len(before[0][0])
            since = [count_table(r[start:], q[start:], precision_bits) for r, q in pairs]
        goes_on.append(int(sum(table.cost for table in since) < sum(table.cost for table in found)))
        tables += since if goes_on[-1] else found
        line += pairs[0]
        before = pairs
    return _Prepared(tables, goes_on, np.concatenate(line))


class Learned(NamedTuple):
    """The tensors of one forward pass, in which it has gradients.

    Attributes:
        x: real activations ``[B, I]``.
        weight: ``[O, I]``.
        bias: ``[O]``.
        log_gain: a scalar.
        length_logits: of all candidates; ``None`` where the choice is certain.
        encoding_logits: likewise.
        correlation: a scalar; ``None`` where it is fixed.
    """

    x: Tensor
    weight: Tensor
    bias: Tensor
    log_gain: Tensor
    length_logits: Tensor | None
    encoding_logits: Tensor | None
    correlation: Tensor | None

    def fits(self, longest: int) -> bool:
        """Whether a kernel can give the output, with lengths up to this one."""
        dtype, inputs = self.x.dtype, self.x.shape[1]
        return (
            not torch.compiler.is_compiling()
            and dtype in (torch.float32, torch.float64)
            and 0 < longest * inputs <= _LARGEST_SUM
            and all(t is None or (t.dtype == dtype and t.is_cpu) for t in self[:-1])
            and kernels.extension() is not None
        )


@dataclass(frozen=True, slots=True)
class Mixture:
    """The designs of one forward pass, less what is learned.

    Attributes:
        encodings: those that are mixed.
        lengths: those that are mixed, in cycles.
        shares: what lengths and encodings count for.
        numbers: those of each length.
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
    shares: tuple[Chosen, Chosen]
    numbers: tuple[Numbers, ...]
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

    def prepared(self) -> _Prepared:
        """Of the sums at the correlation and, where its slope is wanted, of the sources' own numbers and the ends."""
        one = 1 << self.precision_bits
        ends = (0, *(sign * one for sign in self.signs())) if self.learns_correlation else ()
        return _prepared(self.numbers, (self.correlation_raw, *ends), self.precision_bits)


class _Mixed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mixture: Mixture, *tensors: Any) -> Tensor:
        native, learned = kernels.extension(), Learned(*tensors)
        x, weight, bias = learned.x.contiguous(), learned.weight.contiguous(), learned.bias
        of_length, of_encoding = mixture.shares
        shares = [a * b for a in of_encoding.probabilities for b in of_length.probabilities]
        gain = learned.log_gain.exp().item()
        prepared, signs = mixture.prepared(), mixture.signs()
        designs = native.Designs(
            [SLOPE_CODES[name] for name in mixture.encodings],
            shares,
            list(mixture.lengths),
            [multiplier for multiplier, _ in mixture.scales],
            [shift for _, shift in mixture.scales],
            gain,
            list(mixture.limits),
            mixture.precision_bits,
        )
        kept = native.KeptSums(len(shares), x.shape[0], weight.shape[0])
        out = x.new_empty(x.shape[0], weight.shape[0])
        found = out.numpy()
        slopes = np.empty((len(shares), *out.shape), found.dtype) if signs else None
        sides = (x.numpy(), weight.numpy(), bias.numpy())
        inside = native.mixture(
            *sides,
            designs,
            prepared.tables,
            prepared.goes_on,
            signs,
            kept,
            slopes,
            found,
            torch.get_num_threads(),
        )
        ctx.save_for_backward(x, weight, bias)
        ctx.rest = mixture, designs, prepared.numbers, kept, slopes, inside, gain
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        mixture, designs, numbers, kept, slopes, inside, gain = ctx.rest
        of_length, of_encoding = mixture.shares
        needed = ctx.needs_input_grad[1:]
        grad_out = gradients[0].contiguous().numpy()
        grad_x = torch.empty_like(x) if needed[0] else None
        grad_w = torch.empty_like(weight) if needed[1] else None
        grad_bias = torch.empty_like(bias)
        relaxed = x.new_empty(len(mixture.encodings), x.shape[0], weight.shape[0])
        *shares, by_gain, by_correlation = kernels.extension().mixture_back(
            grad_out,
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
            for e, encoding in enumerate(mixture.encodings):
                # where no length is local the targets hold nothing yet
                holds = e > 0 or any(mixture.local)
                _add_relaxed(mixture, encoding, (x, weight), inside[e], relaxed[e], (grad_x, grad_w), holds)
        # of a share: the sum over those that it is multiplied with
        count = len(mixture.lengths)
        rows = [shares[at : at + count] for at in range(0, len(shares), count)]
        rest: list[float | list[float] | None] = [by_gain * gain, None, None, by_correlation]
        if needed[4]:
            by_length = [dot(of_encoding.probabilities, column) for column in zip(*rows, strict=True)]
            rest[1] = of_length.in_logits(by_length)
        if needed[5]:
            rest[2] = of_encoding.in_logits([dot(of_length.probabilities, row) for row in rows])
        return (
            None,
            grad_x,
            grad_w,
            grad_bias,
            *[
                torch.tensor(found, dtype=x.dtype) if wanted else None
                for found, wanted in zip(rest, needed[3:], strict=True)
            ],
        )


def _add_relaxed(
    mixture: Mixture,
    encoding: str,
    sides: tuple[Tensor, Tensor],
    inside: tuple[bool, bool],
    given: Tensor,
    targets: tuple[Tensor | None, Tensor | None],
    holds: bool,
) -> None:
    """Add what the relaxed sum's slopes, times ``given``, are in x and in the weights.

    ``inside``: whether a side is within the encoding's range and needs no clamp; ``holds``: whether the targets hold
    something already.
    """
    (x, weight), (grad_x, grad_w) = sides, targets
    if mixture.correlation_raw == 0 and mixture.independent:
        # the sum is one product of clamped sides
        limits = encoding_of(encoding)
        for target, left, own, other, (own_fits, other_fits) in (
            (grad_x, given, x, weight, inside),
            (grad_w, given.t(), weight, x, inside[::-1]),
        ):
            if target is None:
                continue
            clamped = other if other_fits else other.clamp(limits.low, limits.high)
            if own_fits:
                target.addmm_(left, clamped, beta=int(holds))
                continue
            if not holds:
                target.zero_()
            target.addcmul_(torch.mm(left, clamped), ((own >= limits.low) & (own <= limits.high)).to(own.dtype))
        return
    wanted = [target for target in targets if target is not None]
    if not wanted:
        return
    with torch.enable_grad():
        leaf = x.detach().requires_grad_(grad_x is not None)
        soft = mixture.soft(leaf, encoding)
    leaves = ([leaf] if grad_x is not None else []) + ([weight] if grad_w is not None else [])
    for target, found in zip(wanted, torch.autograd.grad(soft, leaves, given), strict=True):
        if not holds:
            target.zero_()
        target += found


def mix_natively(learned: Learned, mixture: Mixture) -> Tensor:
    """The layer's output ``[B, O]``, where :meth:`Learned.fits`."""
    return cast(Tensor, _Mixed.apply(mixture, *learned))  # type: ignore[no-untyped-call]
