"""The bit-true contract on tensors: the same integers as the reference interpreter, whole batches at once.

A product's count over L cycles is ``sum_t [R_t < kx][Q_t < kw]``, so a layer is one matrix product of 0/1 (or
+-1) matrices per cycle.  Those run in floating point, where integers below 2**24 (float32) or 2**53 (float64) are
exact; the dtype is chosen so that no sum can leave that range.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bitprop.errors import ShapeError

__all__ = ["encode", "mix_numbers", "requantise", "scale_constants", "stream_sum"]

_FLOAT32_EXACT = 1 << 24


def encode(value_raw: Tensor, encoding: str, precision_bits: int) -> tuple[Tensor, Tensor]:
    """Value integers to ``(threshold, negative)``, both int64; the tensor form of ``formats.encode_value``."""
    one = 1 << precision_bits
    value = value_raw.clamp(-one, one)
    if encoding == "unipolar":
        return value.clamp_min(0), torch.zeros_like(value)
    if encoding == "sign_magnitude":
        return value.abs(), (value < 0).long()
    doubled = value + one
    return (doubled + ((doubled >> 1) & 1)) >> 1, torch.zeros_like(value)


def mix_numbers(
    activation: Tensor, weight: Tensor, selector: Tensor | None, correlation_raw: int, precision_bits: int
) -> Tensor:
    """The numbers the weight comparators see: ``Q_t`` of the contract's section 2.

    Args:
        activation: ``R_t``, int64 ``[L]`` or ``[L, I]``.
        weight: ``S_t``, same shape.
        selector: ``T_t``, int64 ``[L]``; may be ``None`` when the correlation is zero.
        correlation_raw: ``-2**n .. 2**n``.
        precision_bits: n.
    """
    if correlation_raw == 0:
        return weight
    if selector is None:
        raise ShapeError("expected a selector sequence for a correlation other than zero, got None")
    other = activation if correlation_raw > 0 else (1 << precision_bits) - 1 - activation
    chosen = selector < abs(correlation_raw)
    return torch.where(chosen if other.dim() == 1 else chosen[:, None], other, weight)


def stream_sum(
    x: tuple[Tensor, Tensor], w: tuple[Tensor, Tensor], activation: Tensor, weight: Tensor, encoding: str
) -> Tensor:
    """Contributions of all products over all cycles: the accumulator less its bias.

    Args:
        x: thresholds and signs of the activations, int64 ``[B, I]``.
        w: thresholds and signs of the weights, int64 ``[O, I]``.
        activation: ``R_t``, ``[L]``, or ``[L, I]`` when each input has numbers of its own.
        weight: ``Q_t``, the same shape.
        encoding: encoding name.

    Returns:
        int64 ``[B, O]``.
    """
    (k_x, n_x), (k_w, n_w) = x, w
    length, inputs = activation.shape[0], k_x.shape[1]
    dtype = torch.float32 if length * inputs < _FLOAT32_EXACT else torch.float64
    total = torch.zeros(k_x.shape[0], k_w.shape[0], dtype=dtype)
    if encoding == "bipolar":
        for r, q in zip(activation, weight, strict=True):
            total.addmm_((r < k_x).to(dtype).mul_(2).sub_(1), (q < k_w).to(dtype).mul_(2).sub_(1).t())
        return total.round_().long()
    signed_inputs = bool(n_x.any())
    s_x, s_w = (1 - 2 * n_x).to(dtype), (1 - 2 * n_w).to(dtype)
    for r, q in zip(activation, weight, strict=True):
        bits_x = (r < k_x).to(dtype)
        total.addmm_(bits_x.mul_(s_x) if signed_inputs else bits_x, (q < k_w).to(dtype).mul_(s_w).t())
    return total.round_().long()


def scale_constants(gain: float, length: int, precision_bits: int, scale_bits: int) -> tuple[int, int]:
    """``(M, s)`` with ``M / 2**s`` nearest to ``gain * 2**n / L``: M has ``scale_bits`` bits, s is 1 .. 40.

    A gain too small for s = 40 gives a smaller M (at least 1), one too large saturates M at its largest value.
    """
    ratio = gain * float(1 << precision_bits) / length
    shift = 1
    while shift < 40 and round(ratio * float(1 << (shift + 1))) < 1 << scale_bits:
        shift += 1
    return min(max(round(ratio * float(1 << shift)), 1), (1 << scale_bits) - 1), shift


def requantise(total: Tensor, multiplier: int, shift: int, low: int, high: int) -> Tensor:
    """``clamp((acc * M + 2**(s-1)) >> s, low, high)``, int64, any shape."""
    return ((total * multiplier + (1 << (shift - 1))) >> shift).clamp(low, high)
