"""``counter``: a ramp, the number source of unary and temporal coding.

Contract.  With n bits, ``seed`` in ``0 .. 2**n - 1`` and ``stride`` in ``1 .. 2**n - 1``::

    R_t = (seed + t * stride) mod 2**n

The period is ``2**n / gcd(stride, 2**n)``.  An odd stride visits every number once a period, so exactly ``k``
numbers are below ``k``; with stride 1 and seed 0 the stream of ``k`` is ``k`` ones, then zeros.

Bit order: bit 0 is the least significant.  Reset: ``restart`` loads the seed.  ``number`` is ``R_t`` from the edge
after ``restart``; latency 1.

Reference: Najafi et al., *Performing Stochastic Computation Deterministically*, 2019 (unary and clock-divided
streams).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from bitprop.formats import IntArray
from bitprop.ops._spec import OPS, SOURCES, AbstractSource, OpSpec, Parameter, Port, check_length, numbers

__all__ = ["CounterSource"]

SPEC = OPS.add(
    "counter",
    OpSpec(
        key="counter",
        module="bitprop_counter",
        parameters=(
            Parameter("WIDTH", 3, 16),
            Parameter("SEED", 0, 2**16 - 1, "WIDTH"),
            Parameter("STRIDE", 1, 2**16 - 1, "WIDTH"),
        ),
        ports=(
            Port("clock", "input", "1"),
            Port("restart", "input", "1"),
            Port("enable", "input", "1"),
            Port("number", "output", "WIDTH"),
        ),
        steps=("[S1] add", "[S2] emit"),
        latency=1,
        reference="Najafi 2019",
    ),
)


@SOURCES.register("counter")
@dataclass(frozen=True, slots=True)
class CounterSource(AbstractSource):
    """Numbers that advance by a fixed stride, ``R_t = (seed + t * stride) mod 2**n``.

    Attributes:
        width: n, 3 .. 16.
        seed: the first number, ``0 .. 2**n - 1``.
        stride: the step, ``1 .. 2**n - 1``; odd strides visit every number.

    Raises:
        RangeError: a field outside its range.

    Example:
        >>> CounterSource(width=3, seed=6, stride=3).sequence(5).tolist()
        [6, 1, 4, 7, 2]
    """

    stride: int = 1

    kind: ClassVar[str] = "counter"

    def __post_init__(self) -> None:
        self._check_common()
        self._check_field("stride", 1, (1 << self.width) - 1)

    @property
    def period(self) -> int:
        one = 1 << self.width
        return one // math.gcd(self.stride, one)

    def sequence(self, length: int) -> IntArray:
        mask = (1 << self.width) - 1
        count = self.seed
        out = [count]
        for _ in range(check_length(length) - 1):
            count = (count + self.stride) & mask  # [S1] add
            out.append(count)  # [S2] emit
        return numbers(out)

    def verilog_parameters(self) -> dict[str, str]:
        return {
            "WIDTH": str(self.width),
            "SEED": f"{self.width}'h{self.seed:x}",
            "STRIDE": f"{self.width}'h{self.stride:x}",
        }
