"""A multiply-accumulate network in integers: the document, its checks, and the reference interpreter.

With weights ``w`` of b bits (two's complement, symmetric), activations ``x`` in ``0 .. 2**b - 1`` and a bias::

    acc_o = bias_o + sum_i x_i * w_oi
    y_o   = clamp((acc_o * M + 2**(s-1)) >> s, 0, 2**b - 1)          (hidden layers)

The last layer gives the accumulators, the logits; the decision is the lowest index of the largest.

Reference: Jacob et al., *Quantization and training of neural networks for efficient integer-arithmetic-only inference*,
CVPR 2018.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bitprop._checks import check_identifier
from bitprop.artifacts import read_json, write_json
from bitprop.errors import DocumentError, RangeError, ShapeError
from bitprop.formats import IntArray
from bitprop.graph.interpret import Result

__all__ = ["MAX_BITS", "MIN_BITS", "MacDocument", "MacLayer", "load_mac_document", "parse_mac_document", "run_mac"]

MIN_BITS, MAX_BITS = 2, 8
_MAX_ACCUMULATOR_BITS = 48


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class MacLayer(_Model):
    """One dense layer.

    Attributes:
        name: lower-case identifier.
        weights_raw: integers ``[O, I]`` in ``-(2**(b-1) - 1) .. 2**(b-1) - 1``.
        bias_raw: integers ``[O]``.
        multiplier: M of a hidden layer, ``1 .. 2**16 - 1``; 0 for the last.
        shift: s of a hidden layer, ``1 .. 40``; 0 for the last.
        inputs_per_cycle: P, products of one neuron in a clock cycle; divides I.
        neurons_per_cycle: N, neurons computed side by side; divides O.
    """

    name: str
    weights_raw: tuple[tuple[int, ...], ...] = Field(min_length=1)
    bias_raw: tuple[int, ...]
    multiplier: int = Field(ge=0, lt=1 << 16)
    shift: int = Field(ge=0, le=40)
    inputs_per_cycle: int = Field(ge=1)
    neurons_per_cycle: int = Field(ge=1)

    @property
    def weights(self) -> IntArray:
        """``[O, I]``."""
        return np.array(self.weights_raw, dtype=np.int64)

    @property
    def out_features(self) -> int:
        """O."""
        return len(self.weights_raw)

    @property
    def in_features(self) -> int:
        """I."""
        return len(self.weights_raw[0])

    def accumulator_bits(self, bits: int) -> int:
        """Width of a two's complement register that no input of ``bits`` bits overflows."""
        top = (1 << bits) - 1
        weights, bias = self.weights, np.array(self.bias_raw, dtype=np.int64)
        high = int((bias + top * np.maximum(weights, 0).sum(axis=1)).max())
        low = int((bias + top * np.minimum(weights, 0).sum(axis=1)).min())
        return max(2, max(high, -low - 1).bit_length() + 1)


class MacDocument(_Model):
    """A network of dense layers.

    Attributes:
        kind: ``bitprop.mac``.
        version: of this format.
        name: lower-case identifier, the top module.
        bits: b, of weights and activations alike.
        layers: in order.
    """

    kind: Literal["bitprop.mac"] = "bitprop.mac"
    version: Literal["1.0"] = "1.0"
    name: str
    bits: int = Field(ge=MIN_BITS, le=MAX_BITS)
    layers: tuple[MacLayer, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> MacDocument:
        check_identifier("name", self.name)
        features = self.layers[0].in_features
        limit = (1 << (self.bits - 1)) - 1
        names = set()
        for index, layer in enumerate(self.layers):
            where = f"layers[{index}]"
            check_identifier(f"{where}.name", layer.name)
            if layer.name in names or layer.name == "tb":
                raise ValueError(f"{where}.name: expected a new one, got {layer.name!r}; rename it")
            names.add(layer.name)
            if layer.in_features != features or any(len(row) != features for row in layer.weights_raw):
                raise ValueError(f"{where}.weights_raw: expected rows of {features}, what comes before it gives")
            if len(layer.bias_raw) != layer.out_features:
                raise ValueError(f"{where}.bias_raw: expected {layer.out_features} integers, got {len(layer.bias_raw)}")
            if int(np.abs(layer.weights).max()) > limit:
                raise ValueError(f"{where}.weights_raw: expected {-limit} .. {limit} ({self.bits} bits)")
            last = index == len(self.layers) - 1
            if last != (layer.multiplier == 0 and layer.shift == 0) or (layer.multiplier == 0) != (layer.shift == 0):
                raise ValueError(f"{where}: expected multiplier and shift of 0 in the last layer, and there alone")
            if features % layer.inputs_per_cycle or layer.out_features % layer.neurons_per_cycle:
                raise ValueError(
                    f"{where}: expected inputs_per_cycle to divide {features} and neurons_per_cycle to divide "
                    f"{layer.out_features}, got {layer.inputs_per_cycle} and {layer.neurons_per_cycle}"
                )
            if layer.accumulator_bits(self.bits) > _MAX_ACCUMULATOR_BITS:
                raise ValueError(f"{where}.bias_raw: expected sums of at most {_MAX_ACCUMULATOR_BITS} bits")
            features = layer.out_features
        return self

    def to_dict(self) -> dict[str, Any]:
        """Plain fields."""
        return self.model_dump(mode="json")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the document as JSON.

        Raises:
            ArtifactError: the file cannot be written.
        """
        return write_json(path, self.to_dict())

    def folded(self, folds: tuple[tuple[int, int], ...]) -> MacDocument:
        """The same network with other ``(inputs_per_cycle, neurons_per_cycle)``, one pair a layer; no integer changes.

        Raises:
            DocumentError: a fold that does not divide its layer, or not one a layer.
        """
        if len(folds) != len(self.layers):
            raise DocumentError(f"expected {len(self.layers)} folds, one a layer, got {len(folds)}")
        fields = self.to_dict()
        for layer, (inputs, neurons) in zip(fields["layers"], folds, strict=True):
            layer.update(inputs_per_cycle=inputs, neurons_per_cycle=neurons)
        return parse_mac_document(fields)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def parse_mac_document(fields: dict[str, Any]) -> MacDocument:
    """A document from plain fields.

    Raises:
        DocumentError: it is none; the message names the field.
    """
    try:
        layers = tuple({key: _tuples(item) for key, item in layer.items()} for layer in fields.get("layers", ()))
        return MacDocument.model_validate({**fields, "layers": layers})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        raise DocumentError(f"{where}: {first['msg']}; {error.error_count()} error(s) in all") from error
    except (AttributeError, TypeError, RangeError) as error:
        raise DocumentError(f"expected a multiply-accumulate document, got something else ({error})") from error


def load_mac_document(path: str | os.PathLike[str]) -> MacDocument:
    """Read a document.

    Raises:
        ArtifactError: the file cannot be read.
        DocumentError: it is no document.
    """
    return parse_mac_document(read_json(path))


def run_mac(document: MacDocument, inputs_raw: npt.ArrayLike) -> Result:
    """Carry a document out on a batch, in plain integers.

    Args:
        document: the network.
        inputs_raw: activations ``[B, I]`` in ``0 .. 2**b - 1``.

    Raises:
        ShapeError: wrong shape or dtype.
        RangeError: an input out of range.

    Example:
        >>> layer = {"name": "only", "weights_raw": [[1, -1], [0, 1]], "bias_raw": [2, 0], "multiplier": 0, "shift": 0,
        ...          "inputs_per_cycle": 1, "neurons_per_cycle": 1}
        >>> document = parse_mac_document({"name": "tiny", "bits": 2, "layers": [layer]})
        >>> run_mac(document, [[3, 1]]).logits.tolist()
        [[4, 1]]
    """
    values = np.asarray(inputs_raw)
    features, top = document.layers[0].in_features, (1 << document.bits) - 1
    if values.dtype.kind not in "iu" or values.ndim != 2 or values.shape[1] != features or len(values) < 1:
        raise ShapeError(
            f"expected inputs to be integers of shape [samples, {features}], got {values.dtype} of shape "
            f"{list(values.shape)}; quantise and reshape them"
        )
    if int(values.min()) < 0 or int(values.max()) > top:
        raise RangeError(f"expected inputs in 0 .. {top}, got {int(values.min())} .. {int(values.max())}; clamp them")
    values = values.astype(np.int64)
    accumulators, outputs = [], []
    for layer in document.layers:
        total = values @ layer.weights.T + np.array(layer.bias_raw, dtype=np.int64)
        values = total
        if layer.shift:
            values = np.clip((total * layer.multiplier + (1 << (layer.shift - 1))) >> layer.shift, 0, top)
        accumulators.append(total)
        outputs.append(values)
    return Result(tuple(outputs), np.argmax(values, axis=1).astype(np.int64), tuple(accumulators))
