"""The SC-NIR document: one trained network as integers, and everything the hardware needs to carry it out.

A document is JSON: ``schema`` ``bitprop.scnir``, ``schema_version`` ``1.1``.  The meaning of every integer in it is
the bit-true contract (``docs/contract.md``); the JSON Schema is ``docs/schemas/scnir-1.1.schema.json``.  Version 1.0,
in which the whole network is ``parallel``, is read too and stays what it is.

Build a document with :func:`parse_document` or :func:`load_document`; both check every field and every relation
between fields, and raise :class:`~bitprop.errors.DocumentError` with the path of the field at fault, such as
``layers[0].weight_thresholds[3][5]``.  Constructing :class:`Document` by hand raises pydantic's own error instead.

A layer says its ``kind``.  ``dense`` is the only one so far; convolutional and spiking layers will be further
members of the same list.
"""

from __future__ import annotations

import contextlib
import json
import os
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
    model_validator,
)
from pydantic.json_schema import GenerateJsonSchema

from bitprop._checks import check_identifier, shortened
from bitprop.artifacts import canonical_json, evidence, read_json, write_text
from bitprop.errors import ArtifactError, BitpropError, DocumentError, NotExportableError, RangeError, RegistryError
from bitprop.formats import MAX_PRECISION_BITS, MIN_PRECISION_BITS, IntArray
from bitprop.graph.architecture import Architecture, Folded, fold_problem
from bitprop.graph.bounds import AccumulatorBounds, accumulator_bounds
from bitprop.graph.streams import LayerNumbers, layer_numbers
from bitprop.ops import AbstractSource, make_source

__all__ = [
    "MAX_FEATURES",
    "MAX_LENGTH",
    "SCHEMA",
    "SCHEMA_VERSION",
    "Decision",
    "DenseLayer",
    "Document",
    "Inputs",
    "Logits",
    "Requantise",
    "SourceEntry",
    "document_header",
    "json_schema",
    "load_document",
    "parse_document",
]

SCHEMA = "bitprop.scnir"
SCHEMA_VERSION = "1.1"
MAX_LENGTH = 1 << 16
MAX_FEATURES = 1 << 16
_MAX_ONE = 1 << MAX_PRECISION_BITS
_MAX_BIAS = 1 << 40

_Row = Annotated[tuple[Annotated[int, Field(ge=0, le=_MAX_ONE)], ...], Field(fail_fast=True)]
_Matrix = Annotated[tuple[_Row, ...], Field(min_length=1, fail_fast=True)]
_SignRow = Annotated[tuple[Annotated[int, Field(ge=0, le=1)], ...], Field(fail_fast=True)]
_SignMatrix = Annotated[tuple[_SignRow, ...], Field(min_length=1, fail_fast=True)]
_Bias = Annotated[tuple[Annotated[int, Field(ge=-_MAX_BIAS, le=_MAX_BIAS)], ...], Field(min_length=1, fail_fast=True)]
_Count = Annotated[int, Field(ge=1, le=MAX_FEATURES)]
_ValueInteger = Annotated[int, Field(ge=-_MAX_ONE, le=_MAX_ONE)]


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


_SOURCE_FIELDS = ("kind", "width", "seed")


class SourceEntry(BaseModel):
    """A number source: ``kind``, ``width``, ``seed``, and the kind's own integer fields beside them.

    Fields that the kind can fill in itself (an LFSR's polynomial) are filled in, so that a saved document says
    everything that the hardware needs.
    """

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)
    __pydantic_extra__: dict[str, int]

    kind: str
    width: int = Field(ge=MIN_PRECISION_BITS, le=MAX_PRECISION_BITS)
    seed: int = Field(ge=0, lt=_MAX_ONE)

    @model_validator(mode="after")
    def _fill_in(self) -> SourceEntry:
        # a source that cannot be built is reported later, with its path
        with contextlib.suppress(BitpropError):
            fields = self.build().to_dict()
            self.__pydantic_extra__.update({key: fields[key] for key in fields if key not in _SOURCE_FIELDS})
        return self

    def build(self) -> AbstractSource:
        """The source itself.

        Raises:
            RegistryError: unknown kind.
            RangeError: unknown, missing or unusable field.
        """
        fields = self.model_dump()
        return make_source(fields.pop("kind"), **fields)


class Inputs(_Model):
    """The network's input: ``features`` value integers in ``low .. high``."""

    features: _Count
    low: _ValueInteger
    high: _ValueInteger


class Requantise(_Model):
    """A hidden layer's output: ``clamp((acc * multiplier + 2**(shift-1)) >> shift, low, high)``."""

    kind: Literal["requantise"]
    multiplier: int = Field(ge=1, le=(1 << 16) - 1)
    shift: int = Field(ge=1, le=40)
    low: _ValueInteger
    high: _ValueInteger


class Logits(_Model):
    """The last layer's output: the accumulators themselves."""

    kind: Literal["logits"]


class Decision(_Model):
    """The network's answer: the index of the largest logit, the lowest index among equals."""

    kind: Literal["argmax"]
    ties: Literal["lowest"]


class DenseLayer(_Model):
    """A fully connected layer; the fields are those of the contract, section 3.

    Attributes:
        weight_thresholds: ``[O][I]``, ``0 .. 2**n``.
        weight_negative: ``[O][I]`` in {0, 1}; ``sign_magnitude`` only, otherwise absent.
        correlation_raw: signed, ``-2**n .. 2**n``; ``correlation_source`` is there exactly when it is not 0.
        accumulator_bits: two's complement width of the accumulators; at least ``bounds(n).bits``.
        architecture: how the products are laid out; absent in version 1.0.
    """

    kind: Literal["dense"]
    name: str
    in_features: _Count
    out_features: _Count
    length: int = Field(ge=1, le=MAX_LENGTH)
    encoding: Literal["unipolar", "bipolar", "sign_magnitude"]
    activation_source: SourceEntry
    weight_source: SourceEntry
    correlation_raw: _ValueInteger
    correlation_source: SourceEntry | None = None
    weight_thresholds: _Matrix
    weight_negative: _SignMatrix | None = None
    bias_raw: _Bias
    accumulator_bits: int = Field(ge=2, le=62)
    output: Annotated[Requantise | Logits, Field(discriminator="kind")]
    architecture: Architecture | None = None

    # The cached arrays live beside the fields and are no part of what a layer is: compare the fields only.
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DenseLayer):
            return NotImplemented
        return all(getattr(self, field) == getattr(other, field) for field in DenseLayer.model_fields)

    def __hash__(self) -> int:
        return hash((self.name, self.in_features, self.out_features, self.length, self.bias_raw))

    @property
    def fold(self) -> Folded | None:
        """The folded architecture, or ``None`` for a parallel layer."""
        return self.architecture if isinstance(self.architecture, Folded) else None

    @cached_property
    def thresholds(self) -> IntArray:
        """``weight_thresholds`` as int64, ``[O, I]``."""
        return _frozen(self.weight_thresholds)

    @cached_property
    def negative(self) -> IntArray:
        """``weight_negative`` as int64, ``[O, I]``; zeros where the encoding has no signs."""
        return _frozen(np.zeros_like(self.thresholds) if self.weight_negative is None else self.weight_negative)

    @cached_property
    def bias(self) -> IntArray:
        """``bias_raw`` as int64, ``[O]``."""
        return _frozen(self.bias_raw)

    @cached_property
    def numbers(self) -> LayerNumbers:
        """What the layer's comparators see, cycle by cycle."""
        selector = None if self.correlation_source is None else self.correlation_source.build()
        return layer_numbers(
            self.activation_source.build(), self.weight_source.build(), selector, self.correlation_raw, self.length
        )

    def bounds(self, precision_bits: int) -> AccumulatorBounds:
        """The exact extremes of the accumulators and the inputs that reach them."""
        return accumulator_bounds(
            self.encoding, self.numbers, self.thresholds, self.negative, self.bias, precision_bits
        )


class Document(_Model):
    """A whole network.  Frozen; equal documents have equal bytes."""

    schema_: Literal["bitprop.scnir"] = Field(alias="schema")
    schema_version: Literal["1.0", "1.1"]
    evidence_boundary: Literal["local_simulation_and_executable_hdl_parity"]
    hardware_measurement_claimed: Annotated[StrictBool, Field(json_schema_extra={"const": False})]
    name: str
    precision_bits: int = Field(ge=MIN_PRECISION_BITS, le=MAX_PRECISION_BITS)
    architecture: Literal["parallel"] | None = None
    inputs: Inputs
    layers: Annotated[tuple[DenseLayer, ...], Field(min_length=1, max_length=64)]
    decision: Decision
    training: dict[StrictStr, StrictStr | StrictInt | StrictFloat] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_relations(self) -> Document:
        _check_document(self)
        return self

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-ready fields; absent optional fields are left out.  The inverse of :func:`parse_document`."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def to_json(self) -> str:
        """The canonical JSON text."""
        return canonical_json(self.to_dict())

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the canonical JSON atomically.

        Raises:
            ArtifactError: the file cannot be written.
        """
        return write_text(path, self.to_json())


def parse_document(fields: dict[str, Any]) -> Document:
    """Build and check a document from plain fields (what ``json.load`` gives, or a lowering step made).

    ``schema``, ``schema_version``, ``decision`` and the evidence fields must be there, as in a file.

    Raises:
        DocumentError: a field is missing, unknown or wrong; the message starts with its path.
        NotExportableError: a layer uses a source that has no hardware.
    """
    try:
        text = json.dumps(fields, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise DocumentError(f"$: expected plain JSON values, got {error}; convert arrays to lists of int") from error
    try:
        return Document.model_validate_json(text)
    except ValidationError as error:
        raise _as_document_error(error) from error


def load_document(path: str | os.PathLike[str]) -> Document:
    """Read and check a document.

    Raises:
        DocumentError: the file is missing, not JSON, or not a valid document; the message names file and field.
        NotExportableError: a layer uses a source that has no hardware.
    """
    try:
        return parse_document(read_json(path))
    except (ArtifactError, DocumentError) as error:
        raise DocumentError(f"{os.fspath(path)}: {error}") from error


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a document, deterministic.

    It checks fields one by one; relations between fields are checked by :func:`parse_document` only.
    """
    schema = Document.model_json_schema(by_alias=True, mode="validation")
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "$id": f"https://bitprop.invalid/schemas/scnir-{SCHEMA_VERSION}.schema.json",
        **schema,
        "title": f"SC-NIR {SCHEMA_VERSION}",
    }


def document_header() -> dict[str, Any]:
    """The fields that are the same in every document of this version."""
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "decision": {"kind": "argmax", "ties": "lowest"},
        **evidence(),
    }


# --- checks ---------------------------------------------------------------------------------------------------------


def _frozen(values: Any) -> IntArray:
    array = np.array(values, dtype=np.int64)
    array.flags.writeable = False
    return array


_UNION_TAGS = frozenset({"requantise", "logits", "parallel", "folded"})


def _path(location: tuple[int | str, ...]) -> str:
    text = ""
    if location[:1] == ("training",):
        location = location[:2]  # below it pydantic tries one type after the other
    for index, part in enumerate(location):
        if part in _UNION_TAGS and index and location[index - 1] in ("output", "architecture"):
            continue  # pydantic names the member of the union; the document has no such level
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "$"


def _as_document_error(error: ValidationError) -> BitpropError:
    """The first problem, as one of ours, with how many more there are."""
    details = error.errors(include_url=False)
    first = details[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, DocumentError | NotExportableError):
        return cause
    got = "" if first["type"] in ("missing", "json_invalid") else f", got {shortened(first['input'])}"
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return DocumentError(f"{_path(first['loc'])}: {first['msg'][0].lower()}{first['msg'][1:]}{got}; correct it{more}")


def _check_document(document: Document) -> None:
    one = 1 << document.precision_bits
    if document.hardware_measurement_claimed:
        raise DocumentError("hardware_measurement_claimed: expected false, got true; a document measures nothing")
    _check_name("name", document.name)
    if document.name.startswith("bitprop"):
        raise DocumentError(f"name: expected one that is not the library's own, got {document.name!r}; rename it")
    _check_range("inputs", document.inputs.low, document.inputs.high, one)
    _check_versions(document)
    modules = {document.name: "name"}
    features = document.inputs.features
    for index, layer in enumerate(document.layers):
        where = f"layers[{index}]"
        _check_name(f"{where}.name", layer.name)
        if layer.name == "tb" or layer.name.startswith("tb_"):
            raise DocumentError(f"{where}.name: expected one that is no testbench's, got {layer.name!r}; rename it")
        own = f"{document.name}_{layer.name}"
        for module in (own, *(f"{own}_{part}" for part in ("weights", "biases", "numbers"))):
            if module in modules:
                raise DocumentError(
                    f"{where}.name: expected a name whose module {module!r} is new, {modules[module]} has it; rename"
                )
            modules[module] = where
        if layer.in_features != features:
            raise DocumentError(
                f"{where}.in_features: expected {features}, what comes before it gives, got {layer.in_features}"
            )
        features = layer.out_features
        _check_layer(where, layer, document.precision_bits)
        if layer.fold is not None:
            limits = (layer.in_features, layer.out_features, layer.length)
            behind_folded = index > 0 and document.layers[index - 1].fold is not None
            problem = fold_problem(layer.fold, *limits, behind_folded=behind_folded)
            if problem:
                raise DocumentError(f"{where}.architecture{problem}")
        last = index == len(document.layers) - 1
        if isinstance(layer.output, Logits) != last:
            raise DocumentError(
                f"{where}.output.kind: expected {'logits' if last else 'requantise'}, got {layer.output.kind!r}; the "
                "last layer, and no other, gives logits"
            )
        if isinstance(layer.output, Requantise):
            _check_range(f"{where}.output", layer.output.low, layer.output.high, one)


def _check_versions(document: Document) -> None:
    """Where the architecture stands: beside the layers in version 1.0, in each of them from 1.1 on."""
    old = document.schema_version == "1.0"
    if (document.architecture is not None) != old:
        wanted = "'parallel'" if old else "none, each layer has its own"
        raise DocumentError(f"architecture: expected {wanted}, got {document.architecture!r}; correct it")
    for index, layer in enumerate(document.layers):
        if (layer.architecture is None) != old:
            wanted = "none in version 1.0" if old else "one in every layer"
            raise DocumentError(f"layers[{index}].architecture: expected {wanted}; add or remove it")


def _check_name(where: str, value: str) -> None:
    try:
        check_identifier(where, value)
    except RangeError as error:
        raise DocumentError(f"{where}: {error}") from error


def _check_range(where: str, low: int, high: int, one: int) -> None:
    for key, value in (("low", low), ("high", high)):
        if not -one <= value <= one:
            raise DocumentError(f"{where}.{key}: expected a value integer in {-one} .. {one}, got {value}")
    if low >= high:
        raise DocumentError(f"{where}.low: expected less than high ({high}), got {low}; swap or widen them")


def _check_layer(where: str, layer: DenseLayer, precision_bits: int) -> None:
    one = 1 << precision_bits
    shape = (layer.out_features, layer.in_features)
    _check_matrix(f"{where}.weight_thresholds", layer.weight_thresholds, shape)
    too_high = np.argwhere(layer.thresholds > one)
    if len(too_high):
        o, i = too_high[0]
        raise DocumentError(
            f"{where}.weight_thresholds[{o}][{i}]: expected 0 .. {one} ({precision_bits} bits), got "
            f"{layer.thresholds[o, i]}"
        )
    if (layer.weight_negative is not None) != (layer.encoding == "sign_magnitude"):
        wanted = "a matrix of signs" if layer.encoding == "sign_magnitude" else "none"
        raise DocumentError(f"{where}.weight_negative: expected {wanted} for {layer.encoding}; add or remove it")
    if layer.weight_negative is not None:
        _check_matrix(f"{where}.weight_negative", layer.weight_negative, shape)
    if len(layer.bias_raw) != layer.out_features:
        raise DocumentError(f"{where}.bias_raw: expected {layer.out_features} integers, got {len(layer.bias_raw)}")
    if abs(layer.correlation_raw) > one:
        raise DocumentError(f"{where}.correlation_raw: expected {-one} .. {one}, got {layer.correlation_raw}")
    if (layer.correlation_source is not None) != (layer.correlation_raw != 0):
        wanted = "a source" if layer.correlation_raw else "none"
        raise DocumentError(
            f"{where}.correlation_source: expected {wanted} for correlation_raw {layer.correlation_raw}; add or remove"
        )
    for key in ("activation_source", "weight_source", "correlation_source"):
        entry = getattr(layer, key)
        if entry is not None:
            _check_source(f"{where}.{key}", entry, precision_bits)
    needed = layer.bounds(precision_bits).bits
    if layer.accumulator_bits < needed:
        raise DocumentError(
            f"{where}.accumulator_bits: expected at least {needed}, so that no input makes it wrap, got "
            f"{layer.accumulator_bits}; widen it"
        )


def _check_matrix(where: str, rows: tuple[tuple[int, ...], ...], shape: tuple[int, int]) -> None:
    if len(rows) != shape[0]:
        raise DocumentError(f"{where}: expected {shape[0]} rows (out_features), got {len(rows)}")
    for index, row in enumerate(rows):
        if len(row) != shape[1]:
            raise DocumentError(f"{where}[{index}]: expected {shape[1]} integers (in_features), got {len(row)}")


def _check_source(where: str, entry: SourceEntry, precision_bits: int) -> None:
    if entry.width != precision_bits:
        raise DocumentError(f"{where}.width: expected precision_bits ({precision_bits}), got {entry.width}")
    try:
        source = entry.build()
    except RegistryError as error:
        raise DocumentError(f"{where}.kind: {error}") from error
    except BitpropError as error:
        raise DocumentError(f"{where}: {error}") from error
    if not source.exportable:
        raise NotExportableError(
            f"{where}.kind: expected a source with hardware, got {entry.kind!r}, which is software only; train or "
            "lower with lfsr, sobol, halton or counter"
        )
