"""The bit-true contract on tensors: the same integers as the reference interpreter, whole batches at once.

A product's count over L cycles is ``sum_t [R_t < kx][Q_t < kw]``, so a layer is a matrix product of 0/1 (or +-1)
matrices over inputs and cycles.  It runs on bytes with 32-bit sums, or, where this build of torch has no such
product, in floating point wide enough to hold every sum exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from bitprop.errors import ShapeError

__all__ = ["encode", "mix_numbers", "requantise", "scale_constants", "stream_bits", "stream_sum"]

_FLOAT32_EXACT = 1 << 24
# Stream bits held at a time, in bytes: bounds the memory of long streams and keeps a block in the cache.
_BLOCK_BYTES = 1 << 22


def _find_byte_product() -> Callable[[Tensor, Tensor], Tensor] | None:
    """torch's product of bytes with 32-bit sums, if this build has one that gives the right integers."""
    product = getattr(torch, "_int_mm", None)
    probe = torch.full((32, 64), -1, dtype=torch.int8)
    try:
        right = product is not None and bool((product(probe, probe.t()) == 64).all())
    except (RuntimeError, NotImplementedError):
        right = False
    return cast("Callable[[Tensor, Tensor], Tensor]", product) if right else None


_BYTE_PRODUCT = _find_byte_product()


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

    The plain reference; :func:`bitprop.nn.native.stream_sum` gives the same integers faster.

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
    cycles = max(1, _BLOCK_BYTES // (k_x.shape[1] * max(k_x.shape[0], k_w.shape[0])))
    if not len(k_x):
        return torch.zeros(0, len(k_w), dtype=torch.int64, device=k_x.device)
    total = torch.zeros(k_x.shape[0], k_w.shape[0], dtype=torch.int64, device=k_x.device)
    for r, q in zip(torch.split(activation, cycles), torch.split(weight, cycles), strict=True):
        total += _integer_product(stream_bits(r, k_x, n_x, encoding), stream_bits(q, k_w, n_w, encoding).t())
    return total


def stream_bits(numbers: Tensor, threshold: Tensor, negative: Tensor, encoding: str) -> Tensor:
    """Streams as the product sees them, int8 ``[rows, L * I]``, cycle 0 first: 0/1, +-1 (bipolar), or signed bits.

    Args:
        numbers: of the source, ``[L]``, or ``[L, I]`` when each input has its own.
        threshold: ``[rows, I]``.
        negative: signs, ``[rows, I]``; read for ``sign_magnitude`` only.
        encoding: encoding name.
    """
    # thresholds of 2**15 and more need the wider type; comparing narrow ones is four times as fast
    small = all(tensor.numel() == 0 or int(tensor.amax()) < 1 << 15 for tensor in (threshold, numbers))
    narrow = torch.int16 if small else torch.int32
    shared = numbers[None, :, None] if numbers.dim() == 1 else numbers[None]
    bits = (shared.to(narrow) < threshold.to(narrow)[:, None, :]).view(torch.int8)
    if encoding == "bipolar":
        bits = 2 * bits - 1
    elif encoding == "sign_magnitude" and bool(negative.any()):
        bits = bits * (1 - 2 * negative).to(torch.int8)[:, None, :]
    return bits.flatten(1)


def _integer_product(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b`` of bytes, exact."""
    if _BYTE_PRODUCT is not None:
        return _BYTE_PRODUCT(a, b)
    dtype = torch.float32 if a.shape[1] < _FLOAT32_EXACT else torch.float64
    return (a.to(dtype) @ b.to(dtype)).round_().to(torch.int32)


def scale_constants(gain: float, length: int, precision_bits: int, scale_bits: int) -> tuple[int, int]:
    """``(M, s)`` with ``M / 2**s`` nearest to ``gain * 2**n / L``: M has ``scale_bits`` bits, s is 1 .. 40.

    A gain too small for s = 40 gives a smaller M (at least 1), one too large saturates M at its largest value.
    """
    most = (1 << scale_bits) - 1
    fraction, exponent = math.frexp(gain * float(1 << precision_bits) / length)
    shift = scale_bits - exponent
    if round(math.ldexp(fraction, scale_bits)) > most:  # rounded up to one bit more
        shift -= 1
    shift = min(max(shift, 1), 40)
    return min(max(round(math.ldexp(fraction, exponent + shift)), 1), most), shift


def requantise(total: Tensor, multiplier: int, shift: int, low: int, high: int) -> Tensor:
    """``clamp((acc * M + 2**(s-1)) >> s, low, high)``, int64, any shape."""
    return ((total * multiplier + (1 << (shift - 1))) >> shift).clamp(low, high)
