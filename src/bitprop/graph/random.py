"""Small random documents, for agreement tests: every encoding, source, correlation, width and length takes its turn."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitprop.formats import IntArray, encode_value
from bitprop.graph.architecture import Folded, Parallel, folded
from bitprop.graph.bounds import accumulator_bounds
from bitprop.graph.fold import with_architecture
from bitprop.graph.spec import Document, SourceEntry, document_header, parse_document
from bitprop.graph.streams import layer_numbers
from bitprop.ops import SOURCES
from bitprop.seeds import derive_seed

__all__ = ["make_document", "random_architecture", "random_document", "random_inputs", "random_source"]

_ENCODINGS = ("unipolar", "sign_magnitude", "bipolar")


def random_source(generator: np.random.Generator, width: int) -> dict[str, Any]:
    """Fields of a random exportable source of ``width`` bits."""
    kinds = [kind for kind in SOURCES if SOURCES[kind].exportable]
    kind = kinds[int(generator.integers(len(kinds)))]
    seed = int(generator.integers(1, 1 << width))
    entry: dict[str, Any] = {"kind": kind, "width": width, "seed": seed}
    if kind == "sobol":
        entry["dimension"] = int(generator.integers(1, 9))
    elif kind == "halton":
        entry["base"] = int(generator.choice([2, 3]))
    elif kind == "counter":
        entry["stride"] = int(generator.integers(0, 1 << (width - 1))) * 2 + 1
    return entry


def make_document(
    name: str,
    precision_bits: int,
    input_range: tuple[int, int],
    layers: list[dict[str, Any]],
    training: dict[str, str | int | float] | None = None,
) -> Document:
    """A document from its essential parts: names, widths and accumulator bits are filled in where they are missing.

    Args:
        name: the network's name.
        precision_bits: n.
        input_range: lowest and highest input value integer.
        layers: per layer the fields of a dense layer; ``kind``, ``name``, ``in_features``, ``out_features``,
            ``correlation_raw``, ``accumulator_bits`` and ``architecture`` (parallel) may be left out, and
            ``weights_raw`` (value integers ``[O, I]``) may stand for thresholds and signs.
        training: metadata.

    Raises:
        DocumentError: the result is not a valid document.
        NotExportableError: a source has no hardware.
    """
    filled = []
    for index, given in enumerate(layers):
        layer = dict(given)
        negative: IntArray | None = None
        if "weights_raw" in layer:
            thresholds, signs = encode_value(layer.pop("weights_raw"), layer["encoding"], precision_bits)
            layer["weight_thresholds"] = thresholds.tolist()
            if layer["encoding"] == "sign_magnitude":
                layer["weight_negative"] = signs.tolist()
        thresholds = np.array(layer["weight_thresholds"], dtype=np.int64)
        if layer.get("weight_negative") is not None:
            negative = np.array(layer["weight_negative"], dtype=np.int64)
        layer.setdefault("kind", "dense")
        layer.setdefault("name", f"dense_{index}")
        layer.setdefault("out_features", thresholds.shape[0])
        layer.setdefault("in_features", thresholds.shape[1])
        layer.setdefault("correlation_raw", 0)
        layer.setdefault("architecture", {"kind": "parallel"})
        if "accumulator_bits" not in layer:
            sources = [
                None if layer.get(key) is None else SourceEntry.model_validate(layer[key]).build()
                for key in ("activation_source", "weight_source", "correlation_source")
            ]
            activation, weight, selector = sources
            if activation is not None and weight is not None:  # else the document check names the missing field
                numbers = layer_numbers(activation, weight, selector, layer["correlation_raw"], layer["length"])
                bias = np.array(layer["bias_raw"], dtype=np.int64)
                bounds = accumulator_bounds(layer["encoding"], numbers, thresholds, negative, bias, precision_bits)
                layer["accumulator_bits"] = bounds.bits
        filled.append(layer)
    return parse_document(
        {
            **document_header(),
            "name": name,
            "precision_bits": precision_bits,
            "inputs": {"features": filled[0]["in_features"], "low": input_range[0], "high": input_range[1]},
            "layers": filled,
            "training": training or {},
        }
    )


def random_document(
    seed: int, *, max_features: int = 12, max_layers: int = 3, max_length: int = 80, max_precision_bits: int = 8
) -> Document:
    """A small random valid document, a pure function of its arguments.

    Weights include 0 and full size, biases either sign, shifts that saturate some outputs and not others; a share of
    the layers is correlated, of either sign, and a few fully so.

    Example:
        >>> random_document(7) == random_document(7)
        True
    """
    generator = np.random.default_rng(derive_seed(seed, "random_document"))
    n = int(generator.integers(3, max_precision_bits + 1))
    one = 1 << n
    features = int(generator.integers(1, max_features + 1))
    low = int(generator.choice([0, -one]))
    layers: list[dict[str, Any]] = []
    count = int(generator.integers(1, max_layers + 1))
    for index in range(count):
        outputs = int(generator.integers(1, max_features + 1))
        length = int(generator.integers(1, max_length + 1))
        encoding = _ENCODINGS[(seed + index) % 3]
        weights = generator.integers(-one, one + 1, size=(outputs, features))
        weights[generator.random(weights.shape) < 0.1] = 0
        weights[generator.random(weights.shape) < 0.05] = one
        if encoding == "unipolar":
            weights = np.abs(weights)
        correlation = 0
        if generator.random() < 0.6:
            correlation = int(generator.choice([-one, one, int(generator.integers(-one, one + 1))]))
        layer: dict[str, Any] = {
            "length": length,
            "encoding": encoding,
            "activation_source": random_source(generator, n),
            "weight_source": random_source(generator, n),
            "correlation_raw": correlation,
            "weights_raw": weights,
            "bias_raw": generator.integers(-2 * length, 2 * length + 1, size=outputs).tolist(),
            "output": {"kind": "logits"},
        }
        if correlation:
            layer["correlation_source"] = random_source(generator, n)
        if index < count - 1:
            shift = int(generator.integers(1, 13))
            # about one value unit per stream at gain 1, then a gain that saturates some neurons
            scale = one * (1 << shift) / (length * max(1.0, features**0.5)) * 2.0 ** generator.uniform(-1, 2)
            layer["output"] = {
                "kind": "requantise",
                "multiplier": min((1 << 16) - 1, max(1, round(scale))),
                "shift": shift,
                "low": int(generator.choice([0, -one])),
                "high": one,
            }
        layers.append(layer)
        features = outputs
    return make_document(f"random_{seed}", n, (low, one), layers, {"seed": seed})


def random_inputs(document: Document, samples: int, seed: int = 0) -> IntArray:
    """Uniform input value integers, ``[samples, features]``, in the document's range."""
    generator = np.random.default_rng(derive_seed(seed, "random_inputs", document.name))
    return generator.integers(
        document.inputs.low, document.inputs.high + 1, size=(samples, document.inputs.features), dtype=np.int64
    )


def random_architecture(document: Document, seed: int = 0) -> Document:
    """The same program with a random architecture in each layer: parallel now and then, folds that divide and do not.

    Example:
        >>> document = random_architecture(random_document(7), seed=3)
        >>> [layer.architecture.kind for layer in document.layers]
        ['folded', 'parallel', 'folded']
    """
    generator = np.random.default_rng(derive_seed(seed, "random_architecture", document.name))
    chosen: dict[str, Parallel | Folded] = {}
    behind_folded = False
    for layer in document.layers:
        if generator.random() < 0.25:
            chosen[layer.name], behind_folded = Parallel(), False
            continue
        per_cycle = int(generator.integers(1, layer.in_features + 1))
        lanes = [lanes for lanes in range(1, per_cycle + 1) if per_cycle % lanes == 0]
        cycles = int(generator.choice([1, layer.length, int(generator.integers(1, layer.length + 1))]))
        chosen[layer.name] = folded(
            per_cycle,
            int(generator.integers(1, layer.out_features + 1)),
            length=layer.length,
            cycles_per_step=cycles,
            values_per_beat=1 if behind_folded else int(generator.choice(lanes)),
            pipeline=int(generator.integers(0, 4)),
            weights="loadable" if generator.random() < 0.2 else "rom",
        )
        behind_folded = True
    return with_architecture(document, chosen)
