"""Encodings: how a real value, its value integer and a stream threshold relate.

A real value v in [-1, 1] is carried between layers as the *value integer* ``v_raw = round(v * 2**n)``
(ties to even), ``-2**n .. 2**n``.  An encoding turns a value integer into a *threshold* ``k`` in
``0 .. 2**n`` and a sign; the stream is one where the number source is below ``k``, so ``k / 2**n`` is the share
of ones (Gaines, 1969).  Values outside an encoding's range saturate: the nearest representable value is used.

========================  ===============  ===========================  ========
encoding                  range            threshold                    product
========================  ===============  ===========================  ========
``unipolar``              [0, 1]           ``clamp(v_raw, 0, 2**n)``    AND
``bipolar``               [-1, 1]          ``(v_raw + 2**n) / 2``       XNOR
``sign_magnitude``        [-1, 1]          ``abs(v_raw)`` and a sign    AND, signed
========================  ===============  ===========================  ========

The bipolar half rounds to even, as everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bitprop._checks import check_choice, check_integer
from bitprop.errors import RangeError, ShapeError

__all__ = [
    "DEFAULT_PRECISION_BITS",
    "ENCODINGS",
    "MAX_PRECISION_BITS",
    "MIN_PRECISION_BITS",
    "Encoding",
    "IntArray",
    "decode_threshold",
    "encode_value",
    "encoding_of",
    "quantise",
]

IntArray = npt.NDArray[np.int64]

MIN_PRECISION_BITS = 3
MAX_PRECISION_BITS = 16
DEFAULT_PRECISION_BITS = 8


@dataclass(frozen=True, slots=True)
class Encoding:
    """One encoding: its range, and what its product gate does.

    Attributes:
        name: registry key.
        low: smallest representable value.
        high: largest representable value.
        signed_stream: a sign travels beside the stream (sign-magnitude).
        gate: the gate that multiplies, as the field writes it.
    """

    name: str
    low: float
    high: float
    signed_stream: bool
    gate: str


ENCODINGS: dict[str, Encoding] = {
    "unipolar": Encoding("unipolar", 0.0, 1.0, False, "and"),
    "bipolar": Encoding("bipolar", -1.0, 1.0, False, "xnor"),
    "sign_magnitude": Encoding("sign_magnitude", -1.0, 1.0, True, "signed_and"),
}
"""Every encoding by name."""


def encoding_of(name: str) -> Encoding:
    """Look an encoding up.

    Raises:
        RangeError: unknown name; the message lists the known ones.
    """
    return ENCODINGS[check_choice("encoding", name, tuple(ENCODINGS))]


def quantise(value: npt.ArrayLike, precision_bits: int = DEFAULT_PRECISION_BITS) -> IntArray:
    """Real values in [-1, 1] to value integers: ``round(v * 2**n)``, ties to even.

    Args:
        value: any shape, in [-1, 1].
        precision_bits: n, 3 .. 16.

    Raises:
        RangeError: a value is NaN or outside [-1, 1], or n is out of range.

    Example:
        >>> quantise([0.0, 0.5, -1.0, 1.0], 8).tolist()
        [0, 128, -256, 256]
    """
    n = check_integer("precision_bits", precision_bits, MIN_PRECISION_BITS, MAX_PRECISION_BITS)
    real = np.asarray(value, dtype=np.float64)
    if not bool(np.all(np.abs(real) <= 1.0)):  # also false for NaN
        raise RangeError("expected values in -1 .. 1, got some outside or NaN; scale or clamp them first")
    return np.rint(real * float(1 << n)).astype(np.int64)


def _as_integers(name: str, array: npt.ArrayLike) -> IntArray:
    integers = np.asarray(array)
    if integers.dtype.kind not in "iu":
        raise ShapeError(f"expected {name} to hold integers, got dtype {integers.dtype}; quantise first")
    return integers.astype(np.int64)


def encode_value(
    value_raw: npt.ArrayLike, encoding: str, precision_bits: int = DEFAULT_PRECISION_BITS
) -> tuple[IntArray, IntArray]:
    """Value integers to ``(threshold, negative)``; values outside the range saturate.

    Args:
        value_raw: integers, any shape.
        encoding: ``unipolar``, ``bipolar`` or ``sign_magnitude``.
        precision_bits: n, 3 .. 16.

    Returns:
        thresholds in ``0 .. 2**n`` and signs in {0, 1} (all 0 unless ``sign_magnitude``), same shape.

    Raises:
        RangeError: unknown encoding or n out of range.
        ShapeError: not integers.

    Example:
        >>> [a.tolist() for a in encode_value([-256, -1, 0, 3, 256], "bipolar", 8)]
        [[0, 128, 128, 130, 256], [0, 0, 0, 0, 0]]
        >>> [a.tolist() for a in encode_value([-3, 7], "sign_magnitude", 8)]
        [[3, 7], [1, 0]]
    """
    encoding_of(encoding)
    n = check_integer("precision_bits", precision_bits, MIN_PRECISION_BITS, MAX_PRECISION_BITS)
    one = 1 << n
    value = np.clip(_as_integers("value_raw", value_raw), -one, one)
    if encoding == "unipolar":
        return np.maximum(value, 0), np.zeros_like(value)
    if encoding == "sign_magnitude":
        return np.abs(value), (value < 0).astype(np.int64)
    doubled = value + one
    # half of an odd number is a tie: round to even
    return (doubled + ((doubled >> 1) & 1)) >> 1, np.zeros_like(value)


def decode_threshold(
    threshold: npt.ArrayLike,
    negative: npt.ArrayLike,
    encoding: str,
    precision_bits: int = DEFAULT_PRECISION_BITS,
) -> npt.NDArray[np.float64]:
    """The real value a threshold and sign stand for: the inverse of :func:`encode_value` up to rounding.

    Raises:
        RangeError: a threshold outside ``0 .. 2**n``, a sign outside {0, 1}, or an unknown encoding.
        ShapeError: not integers.

    Example:
        >>> decode_threshold([64], [0], "bipolar", 8).tolist()
        [-0.5]
    """
    encoding_of(encoding)
    n = check_integer("precision_bits", precision_bits, MIN_PRECISION_BITS, MAX_PRECISION_BITS)
    k, sign = _as_integers("threshold", threshold), _as_integers("negative", negative)
    if k.size and (k.min() < 0 or k.max() > (1 << n)):
        raise RangeError(f"expected thresholds in 0 .. {1 << n}, got {int(k.min())} .. {int(k.max())}")
    if sign.size and (sign.min() < 0 or sign.max() > 1):
        raise RangeError("expected signs of 0 or 1")
    share = k / float(1 << n)
    return np.asarray(2.0 * share - 1.0 if encoding == "bipolar" else np.where(sign == 1, -share, share))
