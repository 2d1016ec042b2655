"""Products of a layer with an input that is mostly zero, such as spikes over time.

``x W^T + b`` from the numbers of x that are not zero takes a fraction of the time, and has the bits of the library's
product if its sums go in the library's order.  That order is no promise of any library: it is found by trying, once for
each shape, number of threads and setting, with weights drawn at random, and where none of the known orders gives every
bit the library's product is called.  The weight's gradient ``g^T x`` only has to agree to rounding.

A product with zero is left out.  That is no change but for weights or gradients that are not finite, which the kernels
look for, and then leave everything to the library.
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor

from bitprop import kernels
from bitprop.nn.neuron._operators import ALIGNED, handed, lent

__all__ = ["DENSEST", "ORDERS", "forget", "linear", "lists", "weight_gradient"]

DENSEST = 0.3
"""Share of numbers that are not zero, in every chunk of rows, up to which lists are made of them."""
ORDERS = (384, 256, 192, 1 << 16)
"""After how many inputs libraries begin a sum anew: Intel's with AVX-512 and with AVX2, and one that never does."""
_LEAST_WIDTH = 64
_LEAST_PRODUCTS = 1 << 23
_MOSTLY = 0.8  # share of zeros in the inputs that orders are found with
_MOST_TRIED = 64  # shapes: a trial costs some products, and sequences may have a new length in every batch
_found: dict[tuple[Any, ...], int] = {}  # the order of the library for a shape; 0: none of the known ones


def forget() -> None:
    """Find every order anew."""
    _found.clear()


def lists(x: Tensor, segment: int = ORDERS[-1]) -> Any:
    """Lists of the numbers of x, or ``None``: too many.  The weight's gradient is the same for every segment."""
    native = kernels.extension()
    most = max(1, int(DENSEST * native.SPARSE_ROWS * x.shape[1]))
    rows = native.SparseRows(handed(x), min(segment, x.shape[1]), most, torch.get_num_threads())
    return rows if rows.complete else None


def _dense(x: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor) -> None:
    """The product that ``nn.Linear`` calls."""
    if bias is None:
        torch.mm(x, weight.t(), out=out)
    else:
        torch.addmm(bias, x, weight.t(), out=out)


def _try(rows: Any, weight: Tensor, bias: Tensor | None, out: Tensor) -> bool:
    """The product from lists; whether it was possible."""
    return bool(
        kernels.extension().sparse_multiply(rows, handed(weight), handed(bias), lent(out), torch.get_num_threads())
    )


def _order(x: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor) -> int | None:
    """The order in which the library's products have every bit of those from lists; 0: none of the known ones.

    ``None`` where x is not finite, and shows nothing.

    Tried with weights drawn at random on x itself, so on the whole shape, and on drawn numbers in the place of x, as
    many as ``out`` has: x may have inputs that are always zero, and spikes do not show where a product is rounded.
    """
    generator = torch.Generator().manual_seed(0)

    def drawn(*sides: int) -> Tensor:
        return torch.rand(sides, generator=generator).sub_(_MOSTLY)

    weight = drawn(*weight.shape)
    bias = None if bias is None else drawn(len(bias))
    few = min(len(x), max(1, out.numel() // x.shape[1]))
    tried = set(ORDERS)
    for given in (drawn(few, x.shape[1]).clamp_min_(0.0), x):
        expected, found = out[: len(given)], torch.empty_like(out[: len(given)])
        _dense(given, weight, bias, expected)
        if not bool(torch.isfinite(expected).all()):
            return None
        for segment in tuple(tried):
            rows = lists(given, segment)
            if rows is None or not _try(rows, weight, bias, found) or not torch.equal(found, expected):
                tried.remove(segment)
    return max(tried, default=0)


def _setting() -> tuple[Any, ...]:
    """What may change the order of a library's sums, besides shapes."""
    backend = torch.backends.mkldnn
    precision = getattr(getattr(backend, "matmul", None), "fp32_precision", None)
    common = None
    with contextlib.suppress(RuntimeError):  # PyTorch's answer where the backends differ
        common = torch.get_float32_matmul_precision()
    return kernels.level(), torch.get_num_threads(), common, backend.enabled, precision


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor) -> Any:
    """``x W^T + b`` into ``out``, every bit as ``nn.Linear``; the lists of x it was made from, or ``None``.

    Args:
        x: ``[rows, inputs]``, contiguous float32 on the CPU.
        weight: ``[outputs, inputs]``, likewise.
        bias: ``[outputs]``, or ``None``.
        out: ``[rows, outputs]``, overwritten.
    """
    rows, (outputs, inputs) = None, weight.shape
    if (
        outputs >= _LEAST_WIDTH
        and len(x) * inputs * outputs >= _LEAST_PRODUCTS
        and inputs <= kernels.extension().SPARSE_INPUTS
        and kernels.extension().sparse_is_fast()
        and x.is_contiguous()
        and weight.is_contiguous()
        and not any(tensor.data_ptr() % ALIGNED for tensor in (x, weight, out))
    ):
        key = (x.shape, outputs, bias is None, *_setting())
        known = _found.get(key, None if len(_found) < _MOST_TRIED else 0)
        order: int | None = ORDERS[0] if known is None else known
        rows = lists(x, order) if order else None
        if rows is not None and known is None:
            rows = None  # its memory is for the trial
            order = _order(x, weight, bias, out)
            if order is not None:
                _found[key] = order
            rows = lists(x, order) if order else None
    if rows is None or not _try(rows, weight, bias, out):
        _dense(x, weight, bias, out)
        return None
    return rows


def weight_gradient(rows: Any, g: Tensor, x: Tensor) -> Tensor:
    """``g^T x``, from the lists of x if there are some; ``[outputs, inputs]``."""
    if rows is not None:
        out = g.new_empty(g.shape[1], x.shape[1])
        if kernels.extension().sparse_gradient(rows, handed(g), lent(out), torch.get_num_threads()):
            return out
    return g.t() @ x
