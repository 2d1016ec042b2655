"""``DifferentiableSCConfig``: one stochastic layer's streams, and the estimator of its gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from bitprop._checks import check_choice, check_integer, check_real
from bitprop.errors import ConfigError, RangeError
from bitprop.formats import (
    DEFAULT_PRECISION_BITS,
    ENCODINGS,
    MAX_PRECISION_BITS,
    MIN_PRECISION_BITS,
)
from bitprop.ops import SOURCES
from bitprop.ops.lfsr import LFSR_POLYNOMIALS, LfsrSource, format_polynomial, parse_polynomial
from bitprop.training.sc_estimators._estimator import ESTIMATORS

__all__ = ["DifferentiableSCConfig"]

_MAX_LENGTH = 1 << 24

# One sequence per seed: equal seeds would make the activation and the weight streams identical, not independent.
# Sobol takes another dimension and Halton another base for the weights, so there equal seeds are fine.
_ONE_SEQUENCE_PER_SEED = ("bernoulli", "counter", "lfsr")


@dataclass(frozen=True, slots=True)
class DifferentiableSCConfig:
    """How a layer's values become streams, and how gradients come back through them.

    Attributes:
        bitstream_length: L, cycles, 1 .. 2**24.
        encoding: ``unipolar``, ``bipolar`` or ``sign_magnitude``.
        generator: number source of activations and weights: a key of ``bitprop.ops.SOURCES`` (``lfsr``, ``sobol``,
            ``halton``, ``counter``; ``bernoulli`` is software only).
        estimator: a key of :data:`~bitprop.training.sc_estimators.ESTIMATORS`.
        input_seed: seed of the activations' source, ``0 .. 2**n - 1``; LFSR: not zero; bernoulli: below 2**63.
        weight_seed: seed of the weights' source, same range; it differs from ``input_seed`` for ``lfsr``, ``counter``
            and ``bernoulli``, where equal seeds would give one stream twice.
        correlation: SCC between the two streams, -1 .. 1; 0 is independence (Alaghi and Hayes, 2013).
        lfsr_polynomial: feedback polynomial, as text (``"x^8+x^4+x^3+x^2+1"``) or integer (bit i: coefficient of
            ``x**i``), of degree n and maximal; kept as text.  ``None`` takes the table's.  Only with ``lfsr``.
        precision_bits: n, bits of a number and of a threshold, 3 .. 16.

    Raises:
        RangeError: a field of the wrong type or out of range, or fields that contradict each other.

    Example:
        >>> config = DifferentiableSCConfig(
        ...     bitstream_length=64, encoding="bipolar", generator="lfsr", estimator="straight_through",
        ...     input_seed=3, weight_seed=11, lfsr_polynomial=0x11D,
        ... )
        >>> config.lfsr_polynomial, config == DifferentiableSCConfig.from_dict(config.to_dict())
        ('x^8+x^4+x^3+x^2+1', True)
    """

    bitstream_length: int
    encoding: str = "bipolar"
    generator: str = "sobol"
    estimator: str = "pathwise_relaxation"
    input_seed: int = 1
    weight_seed: int = 2
    correlation: float = 0.0
    lfsr_polynomial: str | int | None = None
    precision_bits: int = DEFAULT_PRECISION_BITS

    def __post_init__(self) -> None:
        n = check_integer("precision_bits", self.precision_bits, MIN_PRECISION_BITS, MAX_PRECISION_BITS)
        length = check_integer("bitstream_length", self.bitstream_length, 1, _MAX_LENGTH)
        check_choice("encoding", self.encoding, tuple(ENCODINGS))
        check_choice("generator", self.generator, SOURCES.names())
        check_choice("estimator", self.estimator, ESTIMATORS.names())
        low = 1 if self.generator == "lfsr" else 0
        high = 2**63 - 1 if self.generator == "bernoulli" else (1 << n) - 1
        seeds = [check_integer(name, getattr(self, name), low, high) for name in ("input_seed", "weight_seed")]
        if seeds[0] == seeds[1] and self.generator in _ONE_SEQUENCE_PER_SEED:
            raise RangeError(
                f"expected input_seed and weight_seed to differ with {self.generator}, got {seeds[0]} twice; equal "
                "seeds give one stream twice, use correlation=1.0 if that is meant"
            )
        # normalised, so that equal configurations compare and print equal whatever integer type came in
        object.__setattr__(self, "precision_bits", n)
        object.__setattr__(self, "bitstream_length", length)
        object.__setattr__(self, "input_seed", seeds[0])
        object.__setattr__(self, "weight_seed", seeds[1])
        object.__setattr__(self, "correlation", check_real("correlation", self.correlation, -1.0, 1.0) + 0.0)
        if self.lfsr_polynomial is not None:
            object.__setattr__(self, "lfsr_polynomial", format_polynomial(self._checked_polynomial()))

    def _checked_polynomial(self) -> int:
        given = self.lfsr_polynomial
        if self.generator != "lfsr":
            raise RangeError(
                f"expected lfsr_polynomial only with generator='lfsr', got {given!r} with {self.generator!r}; "
                "leave it out"
            )
        if isinstance(given, str):
            polynomial = parse_polynomial(given)
        else:
            polynomial = check_integer("lfsr_polynomial", given, 1, (1 << (self.precision_bits + 1)) - 1)
        # the source owns the rules: degree, maximality
        return LfsrSource(width=self.precision_bits, seed=1, polynomial=polynomial).polynomial

    @property
    def polynomial_raw(self) -> int | None:
        """The feedback polynomial in force as an integer (the table's if none was given), ``None`` without LFSR."""
        if self.generator != "lfsr":
            return None
        if self.lfsr_polynomial is None:
            return LFSR_POLYNOMIALS[self.precision_bits]
        return parse_polynomial(str(self.lfsr_polynomial))

    @property
    def exportable(self) -> bool:
        """Whether the number source exists in hardware."""
        return SOURCES[self.generator].exportable

    def to_dict(self) -> dict[str, Any]:
        """Plain fields, in order."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> DifferentiableSCConfig:
        """The inverse of :meth:`to_dict`; fields left out take their defaults.

        Raises:
            ConfigError: not a mapping, an unknown field, or no ``bitstream_length``.
            RangeError: a field out of range.
        """
        if not isinstance(document, Mapping):
            raise ConfigError(f"expected a mapping of fields, got {type(document).__name__}; pass a dictionary")
        known = [field.name for field in fields(cls)]
        unknown = sorted(str(key) for key in document if key not in known)
        if unknown:
            raise ConfigError(f"expected fields among {', '.join(known)}; got {', '.join(unknown)}; remove them")
        if "bitstream_length" not in document:
            raise ConfigError("expected the field bitstream_length, found none; give the stream length in cycles")
        return cls(**document)
