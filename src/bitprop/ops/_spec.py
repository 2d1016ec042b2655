"""What every operation declares: its Verilog module, parameters, ports, steps; and what a number source is."""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from bitprop._checks import check_integer
from bitprop._registry import Registry
from bitprop.errors import NotExportableError, RangeError, ShapeError
from bitprop.formats import MAX_PRECISION_BITS, MIN_PRECISION_BITS, IntArray

__all__ = [
    "ENCODING_CODES",
    "MAX_ACCUMULATOR_BITS",
    "MAX_INPUTS",
    "OPS",
    "SOURCES",
    "AbstractSource",
    "OpSpec",
    "Parameter",
    "Port",
    "make_source",
    "verilog_path",
]

ENCODING_CODES: dict[str, int] = {"unipolar": 0, "bipolar": 1, "sign_magnitude": 2}
"""The Verilog parameter ENCODING of each encoding."""

MAX_INPUTS = 2**16
"""Most inputs of a layer."""

MAX_ACCUMULATOR_BITS = 48
"""Widest accumulator: 2**16 inputs over 2**24 cycles and as large a bias fit in 42 bits."""


def _evaluate(node: ast.expr, parameters: Mapping[str, int]) -> int:
    """The value of a width expression: integers, parameter names, ``+ - *``, ``>``, ``?:`` and ``$clog2``."""
    match node:
        case ast.Constant(value=int() as value):
            return value
        case ast.Name(id=name) if name in parameters:
            return parameters[name]
        case ast.BinOp(left=left, op=operator, right=right):
            a, b = _evaluate(left, parameters), _evaluate(right, parameters)
            if isinstance(operator, ast.Add):
                return a + b
            if isinstance(operator, ast.Sub):
                return a - b
            if isinstance(operator, ast.Mult):
                return a * b
        case ast.Compare(left=left, ops=[ast.Gt()], comparators=[right]):
            return int(_evaluate(left, parameters) > _evaluate(right, parameters))
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return _evaluate(body if _evaluate(test, parameters) else orelse, parameters)
        case ast.Call(func=ast.Name(id="clog2"), args=[argument]):
            return (_evaluate(argument, parameters) - 1).bit_length()
        case _:
            pass
    raise RangeError(
        f"expected a width of integers, + - *, >, ?:, $clog2 and {sorted(parameters)}, got {ast.unparse(node)!r}"
    )


def _evaluate_text(text: str, parameters: Mapping[str, int]) -> int:
    text = text.replace("$clog2", "clog2")
    if "?" in text:
        condition, _, branches = text.partition("?")
        then, _, otherwise = branches.partition(":")
        text = f"({then}) if ({condition}) else ({otherwise})"
    return _evaluate(ast.parse(text, mode="eval").body, parameters)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A Verilog parameter and the range its contract covers.

    Attributes:
        name: its name.
        low: smallest legal value, over all values of the others.
        high: largest legal value, over all values of the others.
        width: its number of bits where the source text declares a vector, written as in :class:`Port`; else empty.
        signed: whether that vector is signed.
    """

    name: str
    low: int
    high: int
    width: str = ""
    signed: bool = False

    def literal(self, value: int, parameters: Mapping[str, int]) -> str:
        """``value`` as Verilog: a sized hexadecimal for a vector (two's complement), else a decimal.

        Raises:
            RangeError: ``value`` is out of range or does not fit the vector.

        Example:
            >>> Parameter("LOW", -512, 511, "WIDTH + 2", signed=True).literal(-8, {"WIDTH": 3})
            "5'h18"
        """
        check_integer(self.name, value, self.low, self.high)
        if not self.width:
            return str(value)
        bits = _evaluate_text(self.width, parameters)
        low = -(1 << (bits - 1)) if self.signed else 0
        check_integer(self.name, value, low, low + (1 << bits) - 1)
        return f"{bits}'h{value % (1 << bits):x}"


@dataclass(frozen=True, slots=True)
class Port:
    """A Verilog port; ``width`` is its number of bits, written in terms of the parameters as Verilog does."""

    name: str
    direction: str
    width: str
    signed: bool = False

    def bits(self, parameters: Mapping[str, int]) -> int:
        """The width in bits for given parameter values.

        Raises:
            RangeError: the width names a parameter that is not given.

        Example:
            >>> Port("index", "output", "$clog2(INPUTS + 1) + 1").bits({"INPUTS": 10})
            5
        """
        return _evaluate_text(self.width, parameters)


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

    def literals(self, parameters: Mapping[str, int]) -> dict[str, str]:
        """Verilog literals of all parameters, in order, for an instance.

        Raises:
            RangeError: a parameter is missing, unknown or out of range.
        """
        names = [parameter.name for parameter in self.parameters]
        if sorted(parameters) != sorted(names):
            raise RangeError(f"expected {self.key} parameters {names}, got {sorted(parameters)}; give each once")
        return {p.name: p.literal(parameters[p.name], parameters) for p in self.parameters}


OPS: Registry[OpSpec] = Registry("operation")
"""Every operation by key."""


def verilog_path(key: str) -> Path:
    """The Verilog file of an operation, as shipped in the package.

    Raises:
        RegistryError: unknown key.
        NotExportableError: the operation has no hardware.
    """
    spec = OPS[key]
    if spec.module is None:
        raise NotExportableError(f"expected an operation with hardware, {key!r} is software only; choose another")
    return Path(__file__).with_name(f"{spec.key}.v")


@dataclass(frozen=True, slots=True)
class AbstractSource(ABC):
    """A sequence of ``width``-bit integers ``R_0, R_1, …``; a pure function of its parameters, without state.

    Every source's Verilog module has the ports ``clock``, ``restart``, ``enable`` and ``number``: a rising edge
    with ``restart`` high makes ``number`` equal ``R_0``; each later edge with ``enable`` high moves it to the next.

    Attributes:
        width: bits per number, 3 .. 16 (LFSR: also 32).
        seed: ``0 .. 2**width - 1``; each source says what it means, and some narrow or widen the range.
    """

    width: int
    seed: int

    kind: ClassVar[str]
    exportable: ClassVar[bool] = True

    def _check_field(self, name: str, low: int, high: int) -> None:
        """Check an integer field and keep it as a plain ``int``, so that NumPy's integers do not travel on."""
        object.__setattr__(self, name, check_integer(name, getattr(self, name), low, high))

    def _check_common(self) -> None:
        self._check_field("width", MIN_PRECISION_BITS, MAX_PRECISION_BITS)
        self._check_field("seed", 0, (1 << self.width) - 1)

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


def check_numbers(name: str, array: npt.ArrayLike, width: int) -> IntArray:
    """A sequence of source numbers: integers ``0 .. 2**width - 1``, shape ``[T]``, T at least 1.

    Raises:
        RangeError: a number out of range.
        ShapeError: not integers, not one-dimensional, or empty.
    """
    integers = np.asarray(array)
    if integers.dtype.kind not in "iu" or integers.ndim != 1 or integers.size == 0:
        raise ShapeError(
            f"expected {name} to be integers of shape [T], got dtype {integers.dtype} and shape "
            f"{list(integers.shape)}; take them from a source's sequence"
        )
    if int(integers.min()) < 0 or int(integers.max()) >= 1 << width:
        raise RangeError(
            f"expected {name} in 0 .. {(1 << width) - 1}, got {int(integers.min())} .. {int(integers.max())}; "
            f"use a source of width {width}"
        )
    return integers.astype(np.int64)
