"""The native kernels as operations of torch: ``torch.ops.bitprop.stream_sum``, seen by ``torch.compile``.

On the CPU the operation looks counts up in tables (``bitprop._kernels``), where there are native kernels; on other
devices, and without them, it is the product of stream bits of :mod:`bitprop.nn.bit_true`.  The integers are the same.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bitprop import kernels
from bitprop.nn import bit_true

__all__ = ["stream_sum"]

# Tables of so many pairs of sequences are kept; a layer needs one for each of its lengths.
_TABLES = 64


@lru_cache(maxsize=_TABLES)
def _table(activation: bytes, weight: bytes) -> tuple[Any, int]:
    """The table of two int64 sequences and the precision it was made for: the least that holds their numbers."""
    r, q = np.frombuffer(activation, np.int64), np.frombuffer(weight, np.int64)
    bits = max(1, int(max(r.max(), q.max())).bit_length())
    return kernels.extension().CountTable(r, q, bits), bits


def _signed(threshold: Tensor, negative: Tensor, encoding: str, largest: int) -> Tensor:
    """Thresholds with their signs in one int32 tensor; beyond the largest number they all mean a stream of ones."""
    values = threshold.clamp(max=largest).to(torch.int32)
    if encoding == "sign_magnitude":
        values = torch.where(negative.bool(), -values, values)
    return values.contiguous()


@torch.library.custom_op("bitprop::stream_sum", mutates_args=())
def _stream_sum(
    k_x: Tensor, n_x: Tensor, k_w: Tensor, n_w: Tensor, activation: Tensor, weight: Tensor, encoding: str
) -> Tensor:
    native = kernels.extension()
    own_numbers = activation.dim() != 1
    if native is None or own_numbers or k_x.device.type != "cpu" or not k_x.shape[1]:
        return bit_true.stream_sum((k_x, n_x), (k_w, n_w), activation, weight, encoding)
    table, bits = _table(activation.numpy().tobytes(), weight.numpy().tobytes())
    packed = native.PackedWeights(table, _signed(k_w, n_w, encoding, 1 << bits))
    total = torch.empty(k_x.shape[0], k_w.shape[0], dtype=torch.int64)
    x = _signed(k_x, n_x, encoding, 1 << bits)
    native.dense(packed, x, encoding == "bipolar", total, torch.get_num_threads())
    return total


@_stream_sum.register_fake
def _stream_sum_shape(
    k_x: Tensor, n_x: Tensor, k_w: Tensor, n_w: Tensor, activation: Tensor, weight: Tensor, encoding: str
) -> Tensor:
    return k_x.new_empty(k_x.shape[0], k_w.shape[0], dtype=torch.int64)


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

    Example:
        >>> k, signs, numbers = torch.tensor([[3, 8]]), torch.zeros(1, 2, dtype=torch.int64), torch.arange(8)
        >>> stream_sum((k, signs), (k, signs), numbers, numbers, "unipolar")
        tensor([[11]])
    """
    return torch.ops.bitprop.stream_sum(*x, *w, activation, weight, encoding)  # type: ignore[no-any-return]
