"""The native kernels as operations of torch, seen by ``torch.compile``: ``bitprop::stream_sums``.

On the CPU the operation looks counts up in tables (``bitprop._kernels``), where there are native kernels; on other
devices, and without them, it is the product of stream bits of :mod:`bitprop.nn.bit_true`.  The integers are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bitprop import kernels
from bitprop.nn import _watched, bit_true

__all__ = ["SLOPE_CODES", "count_table", "native_slope", "stream_sum", "stream_sums"]

SLOPE_CODES = {"unipolar": 0, "sign_magnitude": 1, "bipolar": 2}
"""The numbers of encodings in slope.h."""
# Tables of so many pairs of sequences are kept; a layer needs one for each of its lengths.
_TABLES = 64


@lru_cache(maxsize=_TABLES)
def _table(activation: bytes, weight: bytes, precision_bits: int) -> Any:
    numbers = (np.frombuffer(side, np.int64) for side in (activation, weight))
    return kernels.extension().CountTable(*numbers, precision_bits)


def count_table(activation: npt.NDArray[np.int64], weight: npt.NDArray[np.int64], precision_bits: int) -> Any:
    """The extension's table of two sequences ``[L]`` of numbers ``0 .. 2**precision_bits - 1``; some are kept."""
    return _table(activation.tobytes(), weight.tobytes(), precision_bits)


def _signed(threshold: Tensor, negative: Tensor, encoding: str, largest: int) -> Tensor:
    """Thresholds with their signs in one int32 tensor; beyond the largest number they all mean a stream of ones."""
    values = threshold.clamp(max=largest).to(torch.int32)
    if encoding == "sign_magnitude":
        values = torch.where(negative.bool(), -values, values)
    return values.contiguous()


def _sums(
    k_x: Tensor, n_x: Tensor, k_w: Tensor, n_w: Tensor, numbers: Sequence[tuple[Tensor, Tensor]], encoding: str
) -> list[Tensor]:
    """The sums for every pair of sequences; thresholds are brought into the kernels' form once for all of them."""
    native = kernels.extension()
    if native is None or k_x.device.type != "cpu" or not k_x.shape[1] or any(r.dim() != 1 for r, _ in numbers):
        return [bit_true.stream_sum((k_x, n_x), (k_w, n_w), r, q, encoding) for r, q in numbers]
    signed: dict[int, tuple[Tensor, Tensor]] = {}
    totals = []
    for r, q in numbers:
        # the least precision that holds the numbers
        bits = max(1, int(torch.stack((r, q)).max()).bit_length())
        table = count_table(r.numpy(), q.numpy(), bits)
        if bits not in signed:
            signed[bits] = _signed(k_x, n_x, encoding, 1 << bits), _signed(k_w, n_w, encoding, 1 << bits)
        x, w = signed[bits]
        total = torch.empty(k_x.shape[0], k_w.shape[0], dtype=torch.int64)
        # arrays share the tensors' memory, and cross faster
        packed = native.PackedWeights(table, w.numpy())
        native.dense(packed, x.numpy(), encoding == "bipolar", total.numpy(), torch.get_num_threads())
        totals.append(total)
    return totals


@torch.library.custom_op("bitprop::stream_sums", mutates_args=())
def _stream_sums(
    k_x: Tensor,
    n_x: Tensor,
    k_w: Tensor,
    n_w: Tensor,
    activations: list[Tensor],
    weights: list[Tensor],
    encoding: str,
) -> list[Tensor]:
    return _sums(k_x, n_x, k_w, n_w, list(zip(activations, weights, strict=True)), encoding)


@_stream_sums.register_fake
def _stream_sums_shape(
    k_x: Tensor,
    n_x: Tensor,
    k_w: Tensor,
    n_w: Tensor,
    activations: list[Tensor],
    weights: list[Tensor],
    encoding: str,
) -> list[Tensor]:
    return [k_x.new_empty(k_x.shape[0], k_w.shape[0], dtype=torch.int64) for _ in activations]


def _is_plain(tensors: Sequence[Tensor]) -> bool:
    """Whether nobody looks at single operations: no compiler, tracer, mode, transform or subclass."""
    return (
        all(type(tensor) is Tensor and tensor.is_cpu for tensor in tensors)
        and not _watched.is_traced()
        and not _watched.has_mode()
        and not _watched.is_transformed()
    )


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
    return stream_sums(x, w, [(activation, weight)], encoding)[0]


def stream_sums(
    x: tuple[Tensor, Tensor],
    w: tuple[Tensor, Tensor],
    numbers: Sequence[tuple[Tensor, Tensor]],
    encoding: str,
) -> list[Tensor]:
    """:func:`stream_sum` of the same thresholds for several pairs of sequences, in one pass.

    Args:
        x: thresholds and signs of the activations, int64 ``[B, I]``.
        w: thresholds and signs of the weights, int64 ``[O, I]``.
        numbers: pairs ``R_t``, ``Q_t`` as :func:`stream_sum` takes them, of any lengths.
        encoding: encoding name.

    Returns:
        int64 ``[B, O]`` for each pair.

    Example:
        >>> k, signs = torch.tensor([[3, 8]]), torch.zeros(1, 2, dtype=torch.int64)
        >>> ramps = [(torch.arange(length), torch.arange(length)) for length in (4, 8)]
        >>> [total.item() for total in stream_sums((k, signs), (k, signs), ramps, "unipolar")]
        [7, 11]
    """
    activations, weights = [r for r, _ in numbers], [q for _, q in numbers]
    if _is_plain((*x, *w, *activations, *weights)):
        return _sums(*x, *w, numbers, encoding)  # the operation's first call imports the compiler: two seconds
    return torch.ops.bitprop.stream_sums(*x, *w, activations, weights, encoding)  # type: ignore[no-any-return]


def native_slope(
    grad: Tensor,
    rows: tuple[Tensor, Tensor],
    value: Tensor,
    numbers: tuple[Tensor, Tensor],
    encoding: str,
    precision_bits: int,
) -> Tensor | None:
    """The local slopes of :mod:`bitprop.nn.slope` without its streams, or ``None`` where no kernel can give them.

    Args:
        grad: gradients of the sums, ``[rows, columns]``.
        rows: thresholds and signs of the side whose bits are counted, int64 ``[rows, I]``.
        value: real values of the other side, ``[columns, I]``.
        numbers: ``[L]`` of the rows' side and of the values' side.
        encoding: encoding name.
        precision_bits: n, at most 16.

    Returns:
        ``[columns, I]``, the sums of gradients in another order than the reference's.
    """
    native = kernels.extension()
    fits = value.device.type == "cpu" and value.dtype in (torch.float32, torch.float64) and grad.dtype == value.dtype
    if native is None or not fits or len(numbers[0]) > native.LONGEST_SLOPE:
        return None
    out = torch.empty_like(value, memory_format=torch.contiguous_format)
    thresholds = _signed(*rows, encoding, 1 << precision_bits)
    sides = [tensor.contiguous() for tensor in (grad.detach(), thresholds, value.detach(), *numbers)]
    native.local_slope(*sides, precision_bits, SLOPE_CODES[encoding], out, torch.get_num_threads())
    return out
