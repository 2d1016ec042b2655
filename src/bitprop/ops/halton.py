"""``halton``: the radical inverse of a counter, base 2 or 3.

Contract.  With n bits and ``seed`` in ``0 .. 2**n - 1``, the index is ``j_t = t + seed``.

Base 2: ``R_t`` is ``j_t mod 2**n`` with its n bits reversed; period ``2**n``, every number once.

Base 3: m digits, the fewest with ``3**m >= 2**n``; ``j_t mod 3**m = sum_i d_i 3**i``, digit 0 the least
significant, and::

    R_t = (sum_i d_i W_i) >> 8,   W_i = floor(2**(n + 8) / 3**(i + 1))

the radical inverse ``sum_i d_i / 3**(i+1)`` in n bits with 8 guard bits, always below ``2**n``.  The period is
``3**m``; its numbers are spread evenly, not exactly: a full period gives ``k`` a share of ones near ``k / 2**n``.

Bit order: bit ``n - 1`` is the half.  Reset: ``restart`` loads the seed as index.  ``number`` is ``R_t`` from the
edge after ``restart``; latency 1.

Reference: Halton, *On the efficiency of certain quasi-random sequences of points*, Numer. Math. 2, 1960.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bitprop.errors import RangeError
from bitprop.formats import IntArray
from bitprop.ops._spec import OPS, SOURCES, AbstractSource, OpSpec, Parameter, Port, check_length

__all__ = ["GUARD_BITS", "HaltonSource", "ternary_digits"]

GUARD_BITS = 8
"""Fraction bits kept below the number while the ternary digits are summed."""


def ternary_digits(width: int) -> int:
    """The fewest ternary digits m with ``3**m >= 2**width``.

    Example:
        >>> ternary_digits(8)
        6
    """
    digits = 0
    while 3**digits < 1 << width:
        digits += 1
    return digits


SPEC = OPS.add(
    "halton",
    OpSpec(
        key="halton",
        module="bitprop_halton",
        parameters=(
            Parameter("WIDTH", 3, 16),
            Parameter("BASE", 2, 3),
            Parameter("SEED", 0, 2**16 - 1, "WIDTH"),
        ),
        ports=(
            Port("clock", "input", "1"),
            Port("restart", "input", "1"),
            Port("enable", "input", "1"),
            Port("number", "output", "WIDTH"),
        ),
        steps=("[S1] index", "[S2] reverse", "[S3] emit"),
        latency=1,
        reference="Halton 1960",
    ),
)


@SOURCES.register("halton")
@dataclass(frozen=True, slots=True)
class HaltonSource(AbstractSource):
    """The radical inverse of ``t + seed``, in base 2 or 3.

    Attributes:
        width: n, 3 .. 16.
        seed: index of the first number, ``0 .. 2**n - 1``.
        base: 2 or 3; a pair of sources with one of each is a two-dimensional Halton sequence.

    Raises:
        RangeError: a field outside its range.

    Example:
        >>> HaltonSource(width=3, seed=0, base=2).sequence(8).tolist()
        [0, 4, 2, 6, 1, 5, 3, 7]
        >>> HaltonSource(width=4, seed=0, base=3).sequence(6).tolist()
        [0, 5, 10, 1, 7, 12]
    """

    base: int = 2

    kind: ClassVar[str] = "halton"

    def __post_init__(self) -> None:
        self._check_common()
        try:
            self._check_field("base", 2, 3)
        except RangeError:
            raise RangeError(
                f"expected a Halton base of 2 or 3, got {self.base!r}; hardware exists for these two"
            ) from None

    @property
    def period(self) -> int:
        return 1 << self.width if self.base == 2 else 3 ** ternary_digits(self.width)

    def sequence(self, length: int) -> IntArray:
        n = self.width
        digits = n if self.base == 2 else ternary_digits(n)
        index = (np.arange(check_length(length), dtype=np.int64) + self.seed) % self.base**digits  # [S1] index
        total = np.zeros_like(index)  # [S2] reverse
        for i in range(digits):
            digit = index // self.base**i % self.base
            total += digit * ((1 << (n + GUARD_BITS)) // self.base ** (i + 1))
        out: IntArray = total >> GUARD_BITS  # [S3] emit
        return out

    def verilog_parameters(self) -> dict[str, str]:
        return {"WIDTH": str(self.width), "BASE": str(self.base), "SEED": f"{self.width}'h{self.seed:x}"}
