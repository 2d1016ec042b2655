"""``accumulate``: the register that adds a neuron's contributions.

Contract.  ``total`` is a two's complement register of WIDTH bits.  At a rising edge::

    total' = bias                    if load
    total' = total + contribution    if enable and not load
    total' = total                   otherwise

``load`` has priority.  The sum is exact modulo ``2**WIDTH``; a program's accumulator width covers every sum its
weights and bias allow, so it never wraps.  ``contribution`` is sign-extended from INPUT_WIDTH bits.  ``total`` is
undefined until the first load; latency 1.
"""

from __future__ import annotations

from bitprop._checks import check_integer
from bitprop.ops._spec import MAX_ACCUMULATOR_BITS, OPS, OpSpec, Parameter, Port

__all__ = ["accumulate"]

SPEC = OPS.add(
    "accumulate",
    OpSpec(
        key="accumulate",
        module="bitprop_accumulate",
        parameters=(
            Parameter("WIDTH", 2, MAX_ACCUMULATOR_BITS),
            Parameter("INPUT_WIDTH", 2, 32),
        ),
        ports=(
            Port("clock", "input", "1"),
            Port("load", "input", "1"),
            Port("bias", "input", "WIDTH", signed=True),
            Port("enable", "input", "1"),
            Port("contribution", "input", "INPUT_WIDTH", signed=True),
            Port("total", "output", "WIDTH", signed=True),
        ),
        steps=("[S1] load", "[S2] add"),
        latency=1,
    ),
)


def accumulate(total: int, load: int, bias: int, enable: int, contribution: int, width: int) -> int:
    """The register's value after one rising edge.

    Args:
        total: value before, two's complement of ``width`` bits.
        load: 0 or 1.
        bias: value to load, two's complement of ``width`` bits.
        enable: 0 or 1.
        contribution: what to add, two's complement of ``width`` bits.
        width: 2 .. 48.

    Raises:
        RangeError: an argument outside its range.

    Example:
        >>> accumulate(7, 0, 0, 1, -3, 8), accumulate(7, 1, -5, 1, -3, 8), accumulate(127, 0, 0, 1, 1, 8)
        (4, -5, -128)
    """
    check_integer("width", width, 2, MAX_ACCUMULATOR_BITS)
    half = 1 << (width - 1)
    for name, value in (("total", total), ("bias", bias), ("contribution", contribution)):
        check_integer(name, value, -half, half - 1)
    check_integer("load", load, 0, 1)
    check_integer("enable", enable, 0, 1)
    if load:  # [S1] load
        return bias
    if enable:  # [S2] add
        return (total + contribution + half) % (2 * half) - half
    return total
