"""A bit-true layer's mixture of designs as one native operation with its own backward pass.

The same function as the plain sum over encodings and lengths in :mod:`bitprop.nn.linear`: equal integers, gradients up
to rounding.  Thresholds, sums, bias, scale, clamp and shares are one call; so are, on the way back, the clamps' masks,
the shares' gradients and the local slopes of all lengths.  Kept between the two are the sums, as 16-bit integers
where they fit and as 32-bit ones where they do not.
"""

from __future__ import annotations

import math
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


def _begins(pairs: list[tuple[Sequence, Sequence]], before: list[tuple[Sequence, Sequence]]) -> bool:
    """Whether each sequence begins with the shorter one before it."""
    return all(
        np.array_equal(side[: len(short)], short)
        for pair, short_pair in zip(pairs, before, strict=True)
        for side, short in zip(pair, short_pair, strict=True)
    )


class _Designs(NamedTuple):
    """What does not change from step to step, hashable; see :class:`Mixture`.

    Attributes:
        correlations: of the sums, times ``2**n``; where the slope in it is wanted, of the sources' own numbers and of
            the ends too.
        signs: of those ends.
    """

    encodings: tuple[str, ...]
    lengths: tuple[int, ...]
    numbers: tuple[Numbers, ...]
    local: tuple[bool, ...]
    scale_bits: int
    limits: tuple[int, int]
    precision_bits: int
    correlations: tuple[int, ...]
    signs: tuple[int, ...]


@lru_cache(maxsize=_PREPARED)
def _prepared(designs: _Designs) -> Any:
    """The extension's form, with tables of whole lengths, or, where cheaper, of the cycles since the one before.

    The latter is for lengths whose numbers begin with those of the length before.
    """
    tables: list[Any] = []
    goes_on: list[int] = []
    line: list[Sequence] = []
    before: list[tuple[Sequence, Sequence]] = []
    bits = designs.precision_bits
    for of_length in designs.numbers:
        r, s, t = of_length.r, of_length.s, of_length.t
        pairs = [(r, mix_checked(r, s, t, correlation, bits)) for correlation in designs.correlations]
        found = [count_table(r, q, bits) for r, q in pairs]
        since = found
        if before and _begins(pairs, before):
            start = len(before[0][0])
            since = [count_table(r[start:], q[start:], bits) for r, q in pairs]
        goes_on.append(int(sum(table.cost for table in since) < sum(table.cost for table in found)))
        tables += since if goes_on[-1] else found
        line += pairs[0]
        before = pairs
    return kernels.extension().Designs(
        [SLOPE_CODES[name] for name in designs.encodings],
        designs.lengths,
        designs.scale_bits,
        designs.limits,
        bits,
        tuple(tables),
        goes_on,
        designs.signs,
        designs.local,
        np.concatenate(line),
    )


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
        dtype = self.x.dtype
        if torch.compiler.is_compiling() or not (dtype is torch.float32 or dtype is torch.float64):
            return False
        for tensor in self[:-1]:
            if tensor is not None and not (tensor.dtype is dtype and tensor.is_cpu):
                return False
        return 0 < longest * self.x.shape[1] <= _LARGEST_SUM and kernels.extension() is not None


class Mixture(NamedTuple):
    """The designs of one forward pass, less what is learned.

    Attributes:
        encodings: those that are mixed.
        lengths: those that are mixed, in cycles.
        shares: what lengths and encodings count for.
        numbers: those of each length.
        local: for each length, whether its slope is the streams' local one.
        scale_bits: of the scale's multiplier; 0 for logits, which have none.
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
    scale_bits: int
    limits: tuple[int, int]
    precision_bits: int
    correlation_raw: int
    learns_correlation: bool
    independent: bool
    soft: Callable[[Tensor, str], Tensor]

    def signs(self) -> tuple[int, ...]:
        """The sides on which the correlation's slope is taken: both at zero."""
        return tuple(sign for sign in (1, -1) if self.correlation_raw * sign >= 0) if self.learns_correlation else ()

    def prepared(self) -> Any:
        """The designs as the extension has them; the last ones are kept."""
        signs, one = self.signs(), 1 << self.precision_bits
        ends = (0, *(sign * one for sign in signs)) if self.learns_correlation else ()
        return _prepared(
            _Designs(
                self.encodings,
                self.lengths,
                self.numbers,
                self.local,
                self.scale_bits,
                self.limits,
                self.precision_bits,
                (self.correlation_raw, *ends),
                signs,
            )
        )


def _plain(tensor: Tensor) -> Tensor:
    """As memory holds it: contiguous, with no sign that is still to be turned."""
    return tensor.resolve_neg().contiguous()


# a third of the time of torch.tensor
def _scalar(value: float, dtype: torch.dtype) -> Tensor:
    return torch.full((), value, dtype=dtype)


def _tensor(values: list[float], dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(np.array(values, np.float64 if dtype is torch.float64 else np.float32))


def _show_nan(out: Tensor, x: Tensor, weight: Tensor) -> None:
    """What is not a number shows where it would in the relaxed sum; a threshold of it is an integer as any other."""
    samples, outputs = x.isnan().any(1), weight.isnan().any(1)
    if bool(samples.any() or outputs.any()):
        out[samples] = math.nan
        out[:, outputs] = math.nan


class _Mixed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mixture: Mixture, *tensors: Any) -> Tensor:
        learned = Learned(*tensors)
        x, weight, bias = (_plain(side) for side in learned[:3])
        sizes = *x.shape, weight.shape[0]
        of_length, of_encoding = mixture.shares
        designs = mixture.prepared()
        gain = learned.log_gain.exp().item()
        out = x.new_empty(sizes[0], sizes[2])
        step = kernels.extension().mixture(
            designs,
            [a * b for a in of_encoding.probabilities for b in of_length.probabilities],
            gain,
            math.exp(learned.log_gain.item()),
            x.dtype is torch.float64,
            sizes,
            x.data_ptr(),
            weight.data_ptr(),
            bias.data_ptr(),
            out.data_ptr(),
            torch.get_num_threads(),
        )
        if not all(mixture.local) and not all(all(sides) for sides in step.inside):
            _show_nan(out, x, weight)
        ctx.save_for_backward(x, weight, bias)
        ctx.rest = mixture, designs, step, gain, sizes
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        mixture, designs, step, gain, sizes = ctx.rest
        of_length, of_encoding = mixture.shares
        _, of_x, of_weight, of_bias, of_gain, of_lengths, of_encodings, of_correlation = ctx.needs_input_grad
        grad_x = torch.empty_like(x) if of_x else None
        grad_w = torch.empty_like(weight) if of_weight else None
        grad_bias = torch.empty_like(bias)
        relaxed = x.new_empty(len(mixture.encodings), sizes[0], sizes[2])
        grad = _plain(gradients[0])
        *shares, by_gain, by_correlation = kernels.extension().mixture_back(
            designs,
            step,
            x.dtype is torch.float64,
            sizes,
            grad.data_ptr(),
            x.data_ptr(),
            weight.data_ptr(),
            bias.data_ptr(),
            0 if grad_x is None else grad_x.data_ptr(),
            0 if grad_w is None else grad_w.data_ptr(),
            grad_bias.data_ptr(),
            relaxed.data_ptr(),
            torch.get_num_threads(),
        )
        if not all(mixture.local):
            for e, encoding in enumerate(mixture.encodings):
                # where no length is local the targets hold nothing yet
                holds = e > 0 or any(mixture.local)
                _add_relaxed(mixture, encoding, (x, weight), step.inside[e], relaxed[e], (grad_x, grad_w), holds)
        by_length = by_encoding = None
        # of a share: the sum over those that it is multiplied with
        count = len(mixture.lengths)
        rows = [shares[at : at + count] for at in range(0, len(shares), count)]
        if of_lengths:
            columns = [dot(of_encoding.probabilities, column) for column in zip(*rows, strict=True)]
            by_length = _tensor(of_length.in_logits(columns), x.dtype)
        if of_encodings:
            found = [dot(of_length.probabilities, row) for row in rows]
            by_encoding = _tensor(of_encoding.in_logits(found), x.dtype)
        return (
            None,
            grad_x,
            grad_w,
            grad_bias if of_bias else None,
            _scalar(by_gain * gain, x.dtype) if of_gain else None,
            by_length,
            by_encoding,
            _scalar(by_correlation, x.dtype) if of_correlation else None,
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
