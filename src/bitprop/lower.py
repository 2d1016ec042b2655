"""Lower a trained network to its integer program, the SC-NIR document.

What is lowered is the discrete design: each layer's most likely length and encoding and its quantised correlation,
with weights, biases and scales as the integers that the bit-true mode computes with.  Nothing is rounded here that
the bit-true mode does not round in the same way, so both give the same integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bitprop._checks import check_identifier
from bitprop.graph.bounds import accumulator_bounds
from bitprop.graph.spec import Document, document_header, parse_document
from bitprop.graph.streams import layer_numbers
from bitprop.nn.linear import LayerIntegers, SCLinear
from bitprop.nn.network import SCNetwork

__all__ = ["lower"]


def lower(
    model: SCNetwork, *, name: str = "network", training: Mapping[str, str | int | float] | None = None
) -> Document:
    """Lower a network to an SC-NIR document.

    Args:
        model: the network; layers that are not committed are lowered as their most likely design.
        name: of the program and its top module: a lower-case identifier that does not start with ``bitprop``.
        training: facts to keep with the document, strings and numbers.

    Returns:
        The validated document.

    Raises:
        NotExportableError: a layer draws ideal random bits.
        RangeError: the name is no identifier.
        DocumentError: the document would be invalid (for example a bias beyond the accumulator's range).
    """
    check_identifier("name", name)
    one = 1 << model.precision_bits
    layers = [_lower_layer(f"layer{index}", layer) for index, layer in enumerate(model.sc_layers())]
    return parse_document(
        {
            **document_header(),
            "name": name,
            "precision_bits": model.precision_bits,
            "inputs": {"features": model.features[0], "low": -one if model.signed_input else 0, "high": one},
            "layers": layers,
            "training": dict(training or {}),
        }
    )


def _lower_layer(name: str, layer: SCLinear) -> dict[str, Any]:
    integers = layer.integers()
    fields: dict[str, Any] = {
        "kind": "dense",
        "name": name,
        "in_features": layer.in_features,
        "out_features": layer.out_features,
        "length": integers.choice.length,
        "encoding": integers.choice.encoding,
        "activation_source": integers.sources.activation.to_dict(),
        "weight_source": integers.sources.weight.to_dict(),
        "correlation_raw": integers.choice.correlation_raw,
        "weight_thresholds": integers.weight_threshold.tolist(),
        "bias_raw": integers.bias_raw.tolist(),
        "accumulator_bits": _accumulator_bits(integers, layer.precision_bits),
        "output": _output(integers),
        "architecture": {"kind": "parallel"},
    }
    if integers.choice.correlation_raw != 0:
        fields["correlation_source"] = integers.sources.correlation.to_dict()
    if integers.choice.encoding == "sign_magnitude":
        fields["weight_negative"] = integers.weight_negative.tolist()
    return fields


def _output(integers: LayerIntegers) -> dict[str, Any]:
    if integers.multiplier == 0:
        return {"kind": "logits"}
    return {
        "kind": "requantise",
        "multiplier": integers.multiplier,
        "shift": integers.shift,
        "low": integers.low,
        "high": integers.high,
    }


def _accumulator_bits(integers: LayerIntegers, precision_bits: int) -> int:
    """The narrowest accumulator that no input makes wrap."""
    choice, sources = integers.choice, integers.sources
    selector = sources.correlation if choice.correlation_raw else None
    numbers = layer_numbers(sources.activation, sources.weight, selector, choice.correlation_raw, choice.length)
    return accumulator_bounds(
        choice.encoding,
        numbers,
        np.asarray(integers.weight_threshold),
        np.asarray(integers.weight_negative),
        np.asarray(integers.bias_raw),
        precision_bits,
    ).bits
