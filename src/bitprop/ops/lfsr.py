"""``lfsr``: a maximal-length linear feedback shift register, less one.

Contract.  State ``s`` of n bits, ``s_0 = seed`` in ``1 .. 2**n - 1``; ``R_t = s_t - 1``.  With the feedback
polynomial ``p(x) = x**n + … + 1`` written as an integer (bit ``i`` is the coefficient of ``x**i``)::

    s_{t+1} = ((s_t << 1) | parity(s_t & (p >> 1))) mod 2**n

The polynomial is primitive, so the state visits every non-zero word once in ``2**n - 1`` steps and ``R`` every
number ``0 .. 2**n - 2`` once: over a full period exactly ``k`` numbers are below ``k``, for every
``k <= 2**n - 1``.  A zero seed would stay zero for ever and is refused.

Bit order: bit 0 is the newest bit.  Reset: ``restart`` loads the seed.  ``number`` is ``R_t`` from the edge after
``restart``; latency 1.

References: Golomb, *Shift Register Sequences*, 1967 (Fibonacci form); tap table after Alfke, Xilinx XAPP052, 1996.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from bitprop.errors import RangeError
from bitprop.formats import IntArray
from bitprop.ops._spec import OPS, SOURCES, AbstractSource, OpSpec, Parameter, Port, check_length, numbers

__all__ = [
    "LFSR_POLYNOMIALS",
    "LfsrSource",
    "format_polynomial",
    "is_maximal",
    "parse_polynomial",
]

_EXPONENTS: dict[int, tuple[int, ...]] = {
    3: (3, 2),
    4: (4, 3),
    5: (5, 3),
    6: (6, 5),
    7: (7, 6),
    8: (8, 6, 5, 4),
    9: (9, 5),
    10: (10, 7),
    11: (11, 9),
    12: (12, 6, 4, 1),
    13: (13, 4, 3, 1),
    14: (14, 5, 3, 1),
    15: (15, 14),
    16: (16, 15, 13, 4),
    32: (32, 22, 2, 1),
}

LFSR_POLYNOMIALS: dict[int, int] = {
    width: sum(1 << e for e in exponents) | 1 for width, exponents in _EXPONENTS.items()
}
"""A primitive polynomial for every supported width, as an integer (bit i: coefficient of x**i)."""

_MAX_WIDTH = 32


def format_polynomial(polynomial: int) -> str:
    """Write a polynomial the way data sheets do.

    Example:
        >>> format_polynomial(0x11D)
        'x^8+x^4+x^3+x^2+1'
    """
    terms = {0: "1", 1: "x"}
    return "+".join(terms.get(e, f"x^{e}") for e in reversed(range(polynomial.bit_length())) if polynomial >> e & 1)


def parse_polynomial(text: str) -> int:
    """Read ``x^8+x^4+x^3+x^2+1`` as an integer; the inverse of :func:`format_polynomial`.

    Raises:
        RangeError: not of that form, an exponent twice, or above 32.

    Example:
        >>> hex(parse_polynomial("x^8 + x^4 + x^3 + x^2 + 1"))
        '0x11d'
    """
    value = 0
    for term in text.replace(" ", "").split("+"):
        if term == "1":
            exponent = 0
        elif term == "x":
            exponent = 1
        elif term.startswith("x^") and term[2:].isascii() and term[2:].isdigit() and len(term) <= 4:
            exponent = int(term[2:])
        else:
            raise RangeError(f"expected a polynomial such as 'x^8+x^4+x^3+x^2+1', got {text!r}")
        if exponent > _MAX_WIDTH or value >> exponent & 1:
            raise RangeError(f"expected distinct exponents up to {_MAX_WIDTH} in a polynomial, got {text!r}")
        value |= 1 << exponent
    return value


def _multiply_mod(a: int, b: int, polynomial: int) -> int:
    """Product of two polynomials over GF(2), modulo ``polynomial``."""
    degree = polynomial.bit_length() - 1
    result = 0
    while b:
        if b & 1:
            result ^= a
        b >>= 1
        a <<= 1
        if a >> degree & 1:
            a ^= polynomial
    return result


def _power_of_x(exponent: int, polynomial: int) -> int:
    result, base = 1, 2
    while exponent:
        if exponent & 1:
            result = _multiply_mod(result, base, polynomial)
        base = _multiply_mod(base, base, polynomial)
        exponent >>= 1
    return result


def _prime_factors(number: int) -> set[int]:
    factors, divisor = set(), 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            factors.add(divisor)
            number //= divisor
        divisor += 1
    return factors | ({number} if number > 1 else set())


@lru_cache(maxsize=256)
def is_maximal(polynomial: int) -> bool:
    """Whether an LFSR with this polynomial visits all ``2**n - 1`` non-zero states.

    True exactly when ``x`` has order ``2**n - 1`` modulo the polynomial: ``x**(2**n - 1) = 1`` and
    ``x**((2**n - 1) / q) != 1`` for every prime ``q`` dividing ``2**n - 1`` (Lidl and Niederreiter, theorem 3.18).

    Example:
        >>> is_maximal(0x11D), is_maximal(0x11B)  # the second is irreducible, but of order 51
        (True, False)
    """
    degree = polynomial.bit_length() - 1
    if degree < 2 or degree > _MAX_WIDTH or not polynomial & 1:
        return False
    order = (1 << degree) - 1
    if _power_of_x(order, polynomial) != 1:
        return False
    return all(_power_of_x(order // q, polynomial) != 1 for q in _prime_factors(order))


SPEC = OPS.add(
    "lfsr",
    OpSpec(
        key="lfsr",
        module="bitprop_lfsr",
        parameters=(
            Parameter("WIDTH", 3, _MAX_WIDTH),
            Parameter("POLYNOMIAL", 0, 2**33 - 1, "WIDTH + 1"),
            Parameter("SEED", 1, 2**32 - 1, "WIDTH"),
        ),
        ports=(
            Port("clock", "input", "1"),
            Port("restart", "input", "1"),
            Port("enable", "input", "1"),
            Port("number", "output", "WIDTH"),
        ),
        steps=("[S1] tap", "[S2] shift", "[S3] emit"),
        latency=1,
        reference="Golomb 1967; XAPP052",
    ),
)


@SOURCES.register("lfsr")
@dataclass(frozen=True, slots=True)
class LfsrSource(AbstractSource):
    """Numbers of a maximal-length LFSR, less one.

    Attributes:
        width: n in 3 .. 16, or 32.
        seed: the first state, ``1 .. 2**n - 1``.
        polynomial: feedback polynomial as an integer; ``0`` takes the table's.

    Raises:
        RangeError: width without a table entry and no polynomial, zero seed, wrong degree, not maximal.

    Example:
        >>> LfsrSource(width=3, seed=1).sequence(7).tolist()
        [0, 1, 4, 2, 6, 5, 3]
    """

    polynomial: int = 0

    kind: ClassVar[str] = "lfsr"

    def __post_init__(self) -> None:
        self._check_field("width", 3, _MAX_WIDTH)
        if self.width not in LFSR_POLYNOMIALS:
            raise RangeError(f"expected an LFSR width in 3 .. 16 or 32, got {self.width!r}")
        self._check_field("seed", 0, (1 << self.width) - 1)
        if self.seed == 0:
            raise RangeError("expected a non-zero LFSR seed, got 0; a register of zeros never leaves zero")
        self._check_field("polynomial", 0, (1 << (_MAX_WIDTH + 1)) - 1)
        if self.polynomial == 0:
            object.__setattr__(self, "polynomial", LFSR_POLYNOMIALS[self.width])
        if self.polynomial.bit_length() - 1 != self.width:
            raise RangeError(f"expected a polynomial of degree {self.width}, got {format_polynomial(self.polynomial)}")
        if not is_maximal(self.polynomial):
            raise RangeError(
                f"expected a maximal-length polynomial, got {format_polynomial(self.polynomial)}, whose period is "
                f"shorter than {(1 << self.width) - 1}; leave it out to use "
                f"{format_polynomial(LFSR_POLYNOMIALS[self.width])}"
            )

    @property
    def period(self) -> int:
        return (1 << self.width) - 1

    def sequence(self, length: int) -> IntArray:
        mask = (1 << self.width) - 1
        state = self.seed
        out = [state - 1]
        for _ in range(check_length(length) - 1):
            feedback = (state & (self.polynomial >> 1)).bit_count() & 1  # [S1] tap
            state = ((state << 1) | feedback) & mask  # [S2] shift
            out.append(state - 1)  # [S3] emit
        return numbers(out)

    def verilog_parameters(self) -> dict[str, str]:
        return {
            "WIDTH": str(self.width),
            "POLYNOMIAL": f"{self.width + 1}'h{self.polynomial:x}",
            "SEED": f"{self.width}'h{self.seed:x}",
        }
