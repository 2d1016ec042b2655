"""``encode``: value integer to stream threshold and sign.

Contract.  The value is a two's complement integer of n + 2 bits, ``one = 2**n``; it saturates first::

    unipolar (0)        threshold = clamp(value, 0, one)                                    negative = 0
    bipolar (1)         threshold = (clamp(value, -one, one) + one) / 2, ties to even       negative = 0
    sign_magnitude (2)  threshold = abs(clamp(value, -one, one))                            negative = value < 0

The threshold has n + 1 bits, ``0 .. one``.  Combinational; latency 0.  The reference is
:func:`bitprop.formats.encode_value`, restricted to values that fit the port.

Reference: Gaines, *Stochastic computing systems*, 1969.
"""

from __future__ import annotations

from bitprop._checks import check_integer
from bitprop.formats import MAX_PRECISION_BITS, MIN_PRECISION_BITS, encode_value
from bitprop.ops._spec import ENCODING_CODES, OPS, OpSpec, Parameter, Port

__all__ = ["ENCODING_CODES", "encode"]

SPEC = OPS.add(
    "encode",
    OpSpec(
        key="encode",
        module="bitprop_encode",
        parameters=(Parameter("WIDTH", 3, 16), Parameter("ENCODING", 0, 2)),
        ports=(
            Port("value", "input", "WIDTH + 2", signed=True),
            Port("threshold", "output", "WIDTH + 1"),
            Port("negative", "output", "1"),
        ),
        steps=("[S1] encode",),
        latency=0,
        reference="Gaines 1969",
    ),
)


def encode(value_raw: int, encoding: str, width: int) -> tuple[int, int]:
    """The threshold and sign of one value integer.

    Args:
        value_raw: ``-2**(n+1) .. 2**(n+1) - 1``, as the port carries; values beyond ``2**n`` saturate.
        encoding: ``unipolar``, ``bipolar`` or ``sign_magnitude``.
        width: n, 3 .. 16.

    Returns:
        ``(threshold, negative)``, ``0 .. 2**n`` and 0 or 1.

    Raises:
        RangeError: unknown encoding, or an argument outside its range.

    Example:
        >>> encode(-3, "sign_magnitude", 3), encode(-3, "bipolar", 3), encode(-3, "unipolar", 3)
        ((3, 1), (2, 0), (0, 0))
    """
    check_integer("width", width, MIN_PRECISION_BITS, MAX_PRECISION_BITS)
    check_integer("value_raw", value_raw, -(2 << width), (2 << width) - 1)
    threshold, negative = encode_value([value_raw], encoding, width)  # [S1] encode
    return int(threshold[0]), int(negative[0])
