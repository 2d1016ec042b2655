"""``compare``: number source to bitstream.

Contract.  ``number`` has n bits, ``threshold`` n + 1 (so that ``2**n``, always one, exists)::

    stream_bit = number < threshold

Both unsigned.  Combinational; latency 0.

Reference: Gaines, *Stochastic computing systems*, 1969.
"""

from __future__ import annotations

from bitprop._checks import check_integer
from bitprop.formats import MAX_PRECISION_BITS, MIN_PRECISION_BITS
from bitprop.ops._spec import OPS, OpSpec, Parameter, Port

__all__ = ["compare"]

SPEC = OPS.add(
    "compare",
    OpSpec(
        key="compare",
        module="bitprop_compare",
        parameters=(Parameter("WIDTH", 3, 16),),
        ports=(
            Port("number", "input", "WIDTH"),
            Port("threshold", "input", "WIDTH + 1"),
            Port("stream_bit", "output", "1"),
        ),
        steps=("[S1] compare",),
        latency=0,
        reference="Gaines 1969",
    ),
)


def compare(number: int, threshold: int, width: int) -> int:
    """One stream bit: 1 if ``number < threshold``, else 0.

    Args:
        number: ``0 .. 2**n - 1``.
        threshold: ``0 .. 2**n``.
        width: n, 3 .. 16.

    Raises:
        RangeError: an argument outside its range.

    Example:
        >>> [compare(number, 2, 3) for number in range(4)]
        [1, 1, 0, 0]
    """
    check_integer("width", width, MIN_PRECISION_BITS, MAX_PRECISION_BITS)
    check_integer("number", number, 0, (1 << width) - 1)
    check_integer("threshold", threshold, 0, 1 << width)
    return int(number < threshold)  # [S1] compare
