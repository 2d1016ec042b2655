"""``requantise``: accumulator to the next layer's value integer.

Contract.  For any two's complement accumulator of ACC_WIDTH bits, multiplier M and shift s::

    value = clamp((acc * M + 2**(s - 1)) >> s, low, high)

The shift is arithmetic, so it rounds to nearest, half up (towards plus infinity).  No intermediate result is cut:
the product has as many bits as it needs.  ``value`` has n + 2 bits, two's complement, ``low <= value <= high``.
M is ``1 .. 2**16 - 1``, s is ``1 .. 40``.  Combinational; latency 0.

Reference: Jacob et al., *Quantization and training of neural networks for efficient integer-arithmetic-only
inference*, CVPR 2018 (multiplier and shift).
"""

from __future__ import annotations

from bitprop._checks import check_integer
from bitprop.errors import RangeError
from bitprop.ops._spec import MAX_ACCUMULATOR_BITS, OPS, OpSpec, Parameter, Port

__all__ = ["MAX_MULTIPLIER", "MAX_SHIFT", "requantise"]

MAX_MULTIPLIER = 2**16 - 1
"""Largest multiplier M."""

MAX_SHIFT = 40
"""Largest shift s."""

_LIMIT = 2**17  # values of 16 precision bits have 18 bits

SPEC = OPS.add(
    "requantise",
    OpSpec(
        key="requantise",
        module="bitprop_requantise",
        parameters=(
            Parameter("ACC_WIDTH", 2, MAX_ACCUMULATOR_BITS),
            Parameter("WIDTH", 3, 16),
            Parameter("MULTIPLIER", 1, MAX_MULTIPLIER, "16"),
            Parameter("SHIFT", 1, MAX_SHIFT),
            Parameter("LOW", -_LIMIT, _LIMIT - 1, "WIDTH + 2", signed=True),
            Parameter("HIGH", -_LIMIT, _LIMIT - 1, "WIDTH + 2", signed=True),
        ),
        ports=(
            Port("acc", "input", "ACC_WIDTH", signed=True),
            Port("value", "output", "WIDTH + 2", signed=True),
        ),
        steps=("[S1] scale", "[S2] round", "[S3] clamp"),
        latency=0,
        reference="Jacob 2018",
    ),
)


def requantise(acc: int, multiplier: int, shift: int, low: int, high: int) -> int:
    """The value integer of one accumulator.

    Args:
        acc: two's complement of at most 48 bits.
        multiplier: M, ``1 .. 2**16 - 1``.
        shift: s, ``1 .. 40``.
        low: smallest value, ``-2**17 .. 2**17 - 1``.
        high: largest value, ``low .. 2**17 - 1``.

    Raises:
        RangeError: an argument outside its range, or ``low > high``.

    Example:
        >>> [requantise(acc, 3, 1, -8, 8) for acc in (-3, -1, 0, 1, 3)]  # -4.5, -1.5, 0, 1.5, 4.5
        [-4, -1, 0, 2, 5]
    """
    half_range = 1 << (MAX_ACCUMULATOR_BITS - 1)
    check_integer("acc", acc, -half_range, half_range - 1)
    check_integer("multiplier", multiplier, 1, MAX_MULTIPLIER)
    check_integer("shift", shift, 1, MAX_SHIFT)
    check_integer("low", low, -_LIMIT, _LIMIT - 1)
    check_integer("high", high, -_LIMIT, _LIMIT - 1)
    if low > high:
        raise RangeError(f"expected low <= high, got low {low} and high {high}; exchange them")
    scaled = acc * multiplier  # [S1] scale
    rounded = (scaled + (1 << (shift - 1))) >> shift  # [S2] round
    return low if rounded < low else high if rounded > high else rounded  # [S3] clamp
