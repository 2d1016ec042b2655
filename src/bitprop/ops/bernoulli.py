"""``bernoulli``: ideal independent uniform numbers, the yardstick for real sources; software only.

Contract.  ``R_t`` is the leading n bits of the t-th 64-bit word of Philox4x64-10 keyed by ``seed``, counter from
zero.  A prefix of a longer sequence is the shorter sequence; two seeds give unrelated sequences.  There is no
hardware: a design that uses it is refused before any Verilog exists.

Reference: Salmon et al., *Parallel random numbers: as easy as 1, 2, 3*, SC 2011.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bitprop.errors import NotExportableError
from bitprop.formats import MAX_PRECISION_BITS, MIN_PRECISION_BITS, IntArray
from bitprop.ops._spec import OPS, SOURCES, AbstractSource, OpSpec, check_length, numbers

__all__ = ["BernoulliSource"]

SPEC = OPS.add(
    "bernoulli",
    OpSpec(
        key="bernoulli",
        module=None,
        parameters=(),
        ports=(),
        steps=(),
        latency=0,
        exportable=False,
        reference="Salmon 2011",
    ),
)


@SOURCES.register("bernoulli")
@dataclass(frozen=True, slots=True)
class BernoulliSource(AbstractSource):
    """Independent uniform numbers from Philox, keyed by the seed.

    Attributes:
        width: n, 3 .. 16.
        seed: the key, ``0 .. 2**63 - 1``.

    Raises:
        RangeError: a field outside its range.

    Example:
        >>> source = BernoulliSource(width=8, seed=1)
        >>> bool((source.sequence(100)[:40] == source.sequence(40)).all())
        True
    """

    kind: ClassVar[str] = "bernoulli"
    exportable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self._check_field("width", MIN_PRECISION_BITS, MAX_PRECISION_BITS)
        self._check_field("seed", 0, 2**63 - 1)

    @property
    def period(self) -> None:
        return None

    def sequence(self, length: int) -> IntArray:
        words = np.random.Philox(key=self.seed).random_raw(check_length(length))
        return numbers([word >> (64 - self.width) for word in words.tolist()])

    def verilog_parameters(self) -> dict[str, str]:
        raise NotExportableError(
            "expected a number source with hardware, got bernoulli, which is software only; "
            "use lfsr, sobol, halton or counter"
        )
