"""A bit-true layer's mixture of designs as one native operation with its own backward pass.

The same function as the plain sum over encodings and lengths in :mod:`bitprop.nn.linear`: equal integers, gradients up
to rounding.  Thresholds, sums, bias, scale, clamp and shares are one call; so are, on the way back, the clamps' masks,
the shares' gradients and the local slopes of all lengths.  Kept between the two are the sums, as 16-bit integers
where they fit and as 32-bit ones where they do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bitprop import kernels
from bitprop.formats import encoding_of
from bitprop.nn.native import SLOPE_CODES, count_table

__all__ = ["Chosen", "Learned", "Mixture", "Numbers", "mix_natively"]

Sequence = npt.NDArray[np.int64]
Numbers = tuple[Sequence, Sequence, Sequence]
"""``R_t``, ``S_t`` and ``T_t`` of one length, ``[L]`` each."""
# Sums are kept in 32 bits at most.
_LARGEST_SUM = 2**31 - 1


class Learned(NamedTuple):
    """The tensors of one forward pass, in which it has gradients.

    Attributes:
        x: real activations ``[B, I]``.
        weight: ``[O, I]``.
        bias: ``[O]``.
        log_gain: a scalar.
        length_logits: of all candidates; ``None`` where the choice is certain.
        encoding_logits: likewise.
        correlation: a scalar.
    """

    x: Tensor
    weight: Tensor
    bias: Tensor
    log_gain: Tensor
    length_logits: Tensor | None
    encoding_logits: Tensor | None
    correlation: Tensor

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


class Chosen:
    """The candidates of one design variable that matter, from the probabilities of all.

    Args:
        probabilities: ``softmax(logits / temperature)``.
        temperature: what the logits are divided by.
        least: a candidate that is no likelier is left out.
    """

    __slots__ = ("_all", "_temperature", "kept", "probabilities")

    def __init__(self, probabilities: list[float], temperature: float, least: float) -> None:
        self._all, self._temperature = probabilities, temperature
        self.kept = [k for k, probability in enumerate(probabilities) if probability > least]
        self.probabilities = [probabilities[k] for k in self.kept]

    def in_logits(self, gradients: list[float]) -> list[float]:
        """``p_k (g_k - sum_j p_j g_j) / temperature``, with gradients g of the probabilities that are kept."""
        given = dict(zip(self.kept, gradients, strict=True))
        mean = _dot(self.probabilities, gradients)
        return [p * (given.get(k, 0.0) - mean) / self._temperature for k, p in enumerate(self._all)]


@dataclass(frozen=True, slots=True)
class Mixture:
    """The designs of one forward pass, less what is learned.

    Attributes:
        encodings: those that are mixed.
        lengths: those that are mixed, in cycles.
        shares: what lengths and encodings count for.
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

    def _mixed(self, r: Sequence, s: Sequence, t: Sequence, correlation_raw: int) -> Sequence:
        """:func:`bitprop.nn.bit_true.mix_numbers`."""
        if correlation_raw == 0:
            return s
        other = r if correlation_raw > 0 else (1 << self.precision_bits) - 1 - r
        return np.where(t < abs(correlation_raw), other, s)

    def pairs(self) -> list[list[tuple[Sequence, Sequence]]]:
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
    def forward(ctx: Any, mixture: Mixture, *tensors: Any) -> Tensor:
        native, learned = kernels.extension(), Learned(*tensors)
        x, weight, bias = learned.x.contiguous(), learned.weight.contiguous(), learned.bias
        of_length, of_encoding = mixture.shares
        shares = [a * b for a in of_encoding.probabilities for b in of_length.probabilities]
        gain = learned.log_gain.exp().item()
        pairs = mixture.pairs()
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
        tables = [count_table(r, q, mixture.precision_bits) for at in pairs for r, q in at]
        kept = native.KeptSums(len(shares), x.shape[0], weight.shape[0])
        out, signs = x.new_empty(x.shape[0], weight.shape[0]), mixture.signs()
        found = out.numpy()
        slopes = np.empty((len(shares), *out.shape), found.dtype) if signs else None
        sides = (x.numpy(), weight.numpy(), bias.numpy())
        inside = native.mixture(*sides, designs, tables, signs, kept, slopes, found, torch.get_num_threads())
        ctx.save_for_backward(x, weight, bias)
        ctx.rest = mixture, designs, [at[0] for at in pairs], kept, slopes, inside, gain
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        mixture, designs, pairs, kept, slopes, inside, gain = ctx.rest
        of_length, of_encoding = mixture.shares
        needed = ctx.needs_input_grad[1:]
        grad_out = gradients[0].contiguous().numpy()
        grad_x = torch.empty_like(x) if needed[0] else None
        grad_w = torch.empty_like(weight) if needed[1] else None
        grad_bias = torch.empty_like(bias)
        relaxed = x.new_empty(len(mixture.encodings), x.shape[0], weight.shape[0])
        numbers = np.concatenate([side for pair in pairs for side in pair])
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
                _add_relaxed(mixture, encoding, (x, weight), inside[e], relaxed[e], (grad_x, grad_w))
        # of a share: the sum over those that it is multiplied with
        count = len(mixture.lengths)
        rows = [shares[at : at + count] for at in range(0, len(shares), count)]
        by_length = [_dot(of_encoding.probabilities, column) for column in zip(*rows, strict=True)]
        by_encoding = [_dot(of_length.probabilities, row) for row in rows]
        rest = (
            by_gain * gain,
            of_length.in_logits(by_length),
            of_encoding.in_logits(by_encoding),
            by_correlation,
        )
        return (
            None,
            grad_x,
            grad_w,
            grad_bias,
            *(
                torch.tensor(found, dtype=x.dtype) if wanted else None
                for found, wanted in zip(rest, needed[3:], strict=True)
            ),
        )


def _dot(a: Iterable[float], b: Iterable[float]) -> float:
    return sum((x * y for x, y in zip(a, b, strict=True)), start=0.0)


def _add_relaxed(
    mixture: Mixture,
    encoding: str,
    sides: tuple[Tensor, Tensor],
    inside: tuple[bool, bool],
    given: Tensor,
    targets: tuple[Tensor | None, Tensor | None],
) -> None:
    """Add what the relaxed sum's slopes, times ``given``, are in x and in the weights.

    ``inside``: whether a side is within the encoding's range and needs no clamp.
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
                target.addmm_(left, clamped)
            else:
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
        target += found


def mix_natively(learned: Learned, mixture: Mixture) -> Tensor:
    """The layer's output ``[B, O]``, where :meth:`Learned.fits`."""
    return cast(Tensor, _Mixed.apply(mixture, *learned))  # type: ignore[no-untyped-call]
