"""``argmax``: the decision, the index of the largest logit.

Contract.  ``values`` packs I two's complement integers of WIDTH bits, input i in bits
``i * WIDTH .. (i + 1) * WIDTH - 1``::

    index = min { i : values_i = max_j values_j }

The lowest index among equals.  ``index`` is unsigned, ``ceil(log2(I))`` bits and at least one.  Combinational;
latency 0.
"""

from __future__ import annotations

from collections.abc import Sequence

from bitprop._checks import check_integer
from bitprop.errors import ShapeError
from bitprop.ops._spec import MAX_ACCUMULATOR_BITS, OPS, OpSpec, Parameter, Port

__all__ = ["MAX_CHOICES", "argmax"]

MAX_CHOICES = 4096
"""Largest number of values to choose from."""

SPEC = OPS.add(
    "argmax",
    OpSpec(
        key="argmax",
        module="bitprop_argmax",
        parameters=(Parameter("INPUTS", 1, MAX_CHOICES), Parameter("WIDTH", 2, MAX_ACCUMULATOR_BITS)),
        ports=(
            Port("values", "input", "INPUTS * WIDTH"),
            Port("index", "output", "INPUTS > 1 ? $clog2(INPUTS) : 1"),
        ),
        steps=("[S1] first", "[S2] challenge"),
        latency=0,
    ),
)


def argmax(values: Sequence[int]) -> int:
    """The index of the largest value, the lowest among equals.

    Args:
        values: 1 .. 4096 integers.

    Raises:
        RangeError: a value that is not an integer of at most 48 bits.
        ShapeError: no values, or too many.

    Example:
        >>> argmax([-5, 3, 3, -7])
        1
    """
    if not 1 <= len(values) <= MAX_CHOICES:
        raise ShapeError(f"expected 1 .. {MAX_CHOICES} values, got {len(values)}; give one per output")
    half = 1 << (MAX_ACCUMULATOR_BITS - 1)
    for value in values:
        check_integer("values", value, -half, half - 1)
    index = 0  # [S1] first
    for i in range(1, len(values)):  # [S2] challenge
        if values[i] > values[index]:
            index = i
    return index
