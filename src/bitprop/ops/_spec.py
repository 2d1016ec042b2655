"""What every operation declares: its Verilog module, parameters, ports, steps; and what a number source is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bitprop._checks import check_integer
from bitprop._registry import Registry
from bitprop.errors import RangeError
from bitprop.formats import MAX_PRECISION_BITS, MIN_PRECISION_BITS, IntArray

__all__ = ["OPS", "SOURCES", "AbstractSource", "OpSpec", "Parameter", "Port", "make_source", "verilog_path"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A Verilog parameter and the range its contract covers."""

    name: str
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Port:
    """A Verilog port; ``width`` is written in terms of the parameters, as in the source text."""

    name: str
    direction: str
    width: str
    signed: bool = False


@dataclass(frozen=True, slots=True)
class OpSpec:
    """The declaration of one operation.

    Attributes:
        key: registry key, equal to the stem of the ``.py`` and ``.v`` files.
        module: name of the Verilog module, or ``None`` when there is none (software only).
        parameters: Verilog parameters.
        ports: Verilog ports, in order.
        steps: labels that appear, in this order, as ``[S1] …`` comments in the reference and the Verilog.
        latency: clock edges from input to output; 0 is combinational.
        exportable: whether hardware exists.
        reference: where the operation comes from.
    """

    key: str
    module: str | None
    parameters: tuple[Parameter, ...]
    ports: tuple[Port, ...]
    steps: tuple[str, ...]
    latency: int
    exportable: bool = True
    reference: str = ""


OPS: Registry[OpSpec] = Registry("operation")
"""Every operation by key."""


def verilog_path(key: str) -> Path:
    """The Verilog file of an operation, as shipped in the package.

    Raises:
        RegistryError: unknown key.
        RangeError: the operation has no hardware.
    """
    spec = OPS[key]
    if spec.module is None:
        raise RangeError(f"expected an operation with hardware, {key!r} is software only; choose another")
    return Path(__file__).with_name(f"{spec.key}.v")


@dataclass(frozen=True, slots=True)
class AbstractSource(ABC):
    """A sequence of ``width``-bit integers ``R_0, R_1, …``; a pure function of its parameters, without state.

    Every source's Verilog module has the ports ``clock``, ``restart``, ``enable`` and ``number``: a rising edge
    with ``restart`` high makes ``number`` equal ``R_0``; each later edge with ``enable`` high moves it to the next.

    Attributes:
        width: bits per number, 3 .. 16 (LFSR: also 32).
        seed: what it means is each source's own; the range is checked.
    """

    width: int
    seed: int

    kind: ClassVar[str]
    exportable: ClassVar[bool] = True

    def _check_common(self, max_width: int = MAX_PRECISION_BITS) -> None:
        check_integer("width", self.width, MIN_PRECISION_BITS, max_width)
        check_integer("seed", self.seed, 0, (1 << self.width) - 1)

    @property
    @abstractmethod
    def period(self) -> int | None:
        """Numbers after which the sequence repeats, or ``None`` if it never does."""

    @abstractmethod
    def sequence(self, length: int) -> IntArray:
        """The first ``length`` numbers, int64, shape ``[length]``, each in ``0 .. 2**width - 1``."""

    @abstractmethod
    def verilog_parameters(self) -> dict[str, str]:
        """Parameter name to Verilog literal, for the instance in a generated design.

        Raises:
            NotExportableError: the source has no hardware.
        """

    def to_dict(self) -> dict[str, Any]:
        """Plain fields, ``kind`` first: what :func:`make_source` accepts."""
        return {"kind": self.kind, **{field.name: getattr(self, field.name) for field in fields(self)}}


SOURCES: Registry[type[AbstractSource]] = Registry("number source")
"""Every number source by kind."""


def make_source(kind: str, **parameters: Any) -> AbstractSource:
    """Build a source from its kind and fields.

    Raises:
        RegistryError: unknown kind.
        RangeError: an unknown field, a missing one, or a value out of range.

    Example:
        >>> import bitprop.ops
        >>> make_source("counter", width=3, seed=6, stride=1).sequence(4).tolist()
        [6, 7, 0, 1]
    """
    source = SOURCES[kind]
    known = {field.name for field in fields(source)}
    unknown = sorted(set(parameters) - known)
    if unknown:
        raise RangeError(f"expected {kind} fields among {sorted(known)}, got {unknown}; remove them")
    try:
        return source(**parameters)
    except TypeError as error:
        raise RangeError(f"expected every required field of {kind}, one is missing: {error}") from error


def check_length(length: object) -> int:
    """A stream length, 1 .. 2**24."""
    return check_integer("length", length, 1, 1 << 24)


def numbers(values: list[int]) -> IntArray:
    """A list of plain integers as the int64 array every source returns."""
    return np.array(values, dtype=np.int64)
