"""``sobol``: one dimension of the Sobol' low-discrepancy sequence, in integers.

Contract.  With n bits, direction numbers ``v[0 .. n-1]`` of the chosen dimension and ``seed`` in ``0 .. 2**n - 1``
(an XOR scramble)::

    R_0 = seed,   R_{t+1} = R_t ^ v[c],   c = min(ctz(t + 1), n - 1)

``ctz`` counts trailing zeros: this is Gray-code order, which changes one direction number a cycle.  With the
bound ``n - 1`` the sequence has period ``2**n`` (``R_{2**n} = seed``) and a counter of ``n - 1`` bits drives it.
A period holds every number once, so exactly ``k`` numbers are below ``k``; so does, up to the XOR of the leading
bits, every aligned block of ``2**j`` numbers at resolution ``j``.

Direction numbers: ``v[i] = m_{i+1} << (n - 1 - i)``.  Dimension 0 has every ``m = 1`` (van der Corput); the
others extend the tabled initial ``m`` by the recurrence of their primitive polynomial of degree d with inner
coefficients ``a_1 .. a_{d-1}``::

    m_k = 2 a_1 m_{k-1} ^ 4 a_2 m_{k-2} ^ … ^ 2**(d-1) a_{d-1} m_{k-d+1} ^ 2**d m_{k-d} ^ m_{k-d}

Bit order: bit ``n - 1`` is the half.  Reset: ``restart`` loads the seed.  ``number`` is ``R_t`` from the edge after
``restart``; latency 1.

References: Joe and Kuo, *Constructing Sobol sequences with better two-dimensional projections*, SIAM J. Sci.
Comput. 30, 2008 (direction numbers ``new-joe-kuo-6``); Antonov and Saleev 1979 (Gray-code order).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bitprop._checks import check_integer
from bitprop.formats import MAX_PRECISION_BITS, MIN_PRECISION_BITS, IntArray
from bitprop.ops._spec import OPS, SOURCES, AbstractSource, OpSpec, Parameter, Port, check_length, numbers

__all__ = ["SOBOL_DIMENSIONS", "SobolSource", "direction_numbers"]

# dimension: (degree d, inner coefficients a as an integer with a_1 leading, initial m_1 .. m_d)
_JOE_KUO: dict[int, tuple[int, int, tuple[int, ...]]] = {
    1: (1, 0, (1,)),
    2: (2, 1, (1, 3)),
    3: (3, 1, (1, 3, 1)),
    4: (3, 2, (1, 1, 1)),
    5: (4, 1, (1, 1, 3, 3)),
    6: (4, 4, (1, 3, 5, 13)),
    7: (5, 2, (1, 1, 5, 5, 17)),
    8: (5, 4, (1, 1, 5, 5, 5)),
    9: (5, 7, (1, 1, 7, 11, 19)),
    10: (5, 11, (1, 1, 5, 1, 1)),
    11: (5, 13, (1, 1, 1, 3, 11)),
    12: (5, 14, (1, 3, 5, 5, 31)),
    13: (6, 1, (1, 3, 3, 9, 7, 49)),
    14: (6, 13, (1, 1, 1, 15, 21, 21)),
    15: (6, 16, (1, 3, 1, 13, 27, 49)),
}

SOBOL_DIMENSIONS = 1 + len(_JOE_KUO)
"""How many dimensions the table holds; dimension 0 is van der Corput's."""


def direction_numbers(width: int, dimension: int) -> tuple[int, ...]:
    """The n-bit direction numbers ``v[0 .. n-1]`` of one dimension.

    Raises:
        RangeError: width outside 3 .. 16 or dimension outside the table.

    Example:
        >>> direction_numbers(4, 0), direction_numbers(4, 1)
        ((8, 4, 2, 1), (8, 12, 10, 15))
    """
    n = check_integer("width", width, MIN_PRECISION_BITS, MAX_PRECISION_BITS)
    check_integer("dimension", dimension, 0, SOBOL_DIMENSIONS - 1)
    if dimension == 0:
        m = [1] * n
    else:
        degree, inner, initial = _JOE_KUO[dimension]
        m = list(initial)
        while len(m) < n:
            value = m[-degree] ^ (m[-degree] << degree)
            for j in range(1, degree):
                if inner >> (degree - 1 - j) & 1:
                    value ^= m[-j] << j
            m.append(value)
    return tuple(m[i] << (n - 1 - i) for i in range(n))


SPEC = OPS.add(
    "sobol",
    OpSpec(
        key="sobol",
        module="bitprop_sobol",
        parameters=(
            Parameter("WIDTH", 3, 16),
            Parameter("SEED", 0, 2**16 - 1, "WIDTH"),
            Parameter("DIRECTIONS", 0, 2**256 - 1, "WIDTH * WIDTH"),
        ),
        ports=(
            Port("clock", "input", "1"),
            Port("restart", "input", "1"),
            Port("enable", "input", "1"),
            Port("number", "output", "WIDTH"),
        ),
        steps=("[S1] direction", "[S2] flip", "[S3] emit"),
        latency=1,
        reference="Joe and Kuo 2008",
    ),
)


@SOURCES.register("sobol")
@dataclass(frozen=True, slots=True)
class SobolSource(AbstractSource):
    """One dimension of the Sobol' sequence in Gray-code order, scrambled by XOR.

    Attributes:
        width: n, 3 .. 16.
        seed: XOR scramble and first number, ``0 .. 2**n - 1``.
        dimension: ``0 .. SOBOL_DIMENSIONS - 1``; two different ones are nearly independent.

    Raises:
        RangeError: a field outside its range.

    Example:
        >>> SobolSource(width=3, seed=0, dimension=0).sequence(8).tolist()
        [0, 4, 6, 2, 3, 7, 5, 1]
    """

    dimension: int = 0

    kind: ClassVar[str] = "sobol"

    def __post_init__(self) -> None:
        self._check_common()
        self._check_field("dimension", 0, SOBOL_DIMENSIONS - 1)

    @property
    def period(self) -> int:
        return 1 << self.width

    def sequence(self, length: int) -> IntArray:
        v = direction_numbers(self.width, self.dimension)
        state = self.seed
        out = [state]
        for t in range(check_length(length) - 1):
            zeros = 0
            while zeros < self.width - 1 and not (t + 1) >> zeros & 1:
                zeros += 1
            direction = v[zeros]  # [S1] direction
            state ^= direction  # [S2] flip
            out.append(state)  # [S3] emit
        return numbers(out)

    def verilog_parameters(self) -> dict[str, str]:
        n = self.width
        packed = sum(v << (i * n) for i, v in enumerate(direction_numbers(n, self.dimension)))
        return {"WIDTH": str(n), "SEED": f"{n}'h{self.seed:x}", "DIRECTIONS": f"{n * n}'h{packed:x}"}
