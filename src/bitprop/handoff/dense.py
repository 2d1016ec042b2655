"""Lower one dense layer that the joint objective trained, with the sources its configuration names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from bitprop.formats import encode_value, quantise
from bitprop.graph.bounds import accumulator_bounds
from bitprop.graph.spec import Document, document_header, parse_document
from bitprop.graph.streams import layer_numbers
from bitprop.nn.sources import config_sources
from bitprop.training.sc_estimators import DifferentiableSCConfig

__all__ = ["lower_dense"]


def lower_dense(
    weight: Tensor,
    bias: Tensor,
    config: DifferentiableSCConfig,
    *,
    name: str,
    layer: str,
    training: Mapping[str, str | int | float] | None = None,
) -> Document:
    """Lower one trained dense layer with logits as its output::

        threshold, sign = encode(round(w * 2**n)),   bias_raw = round(b * L)

    so that ``acc / L`` is the layer's bit-true output.

    Args:
        weight: ``[O, I]`` in [-1, 1].
        bias: ``[O]``.
        config: length, encoding, correlation, sources.
        name: of the program.
        layer: of the layer.
        training: facts to keep with the document.

    Raises:
        NotExportableError: the source has no hardware.
        DocumentError: the document would be invalid.
    """
    n, length = config.precision_bits, config.bitstream_length
    correlation_raw = round(config.correlation * (1 << n))
    sources = config_sources(config)
    thresholds, negative = encode_value(
        quantise(weight.detach().double().clamp(-1.0, 1.0).numpy(), n), config.encoding, n
    )
    bias_raw = np.rint(bias.detach().double().numpy() * length).astype(np.int64)
    numbers = layer_numbers(sources.activation, sources.weight, sources.correlation, correlation_raw, length)
    fields: dict[str, Any] = {
        "kind": "dense",
        "name": layer,
        "in_features": thresholds.shape[1],
        "out_features": thresholds.shape[0],
        "length": length,
        "encoding": config.encoding,
        "activation_source": sources.activation.to_dict(),
        "weight_source": sources.weight.to_dict(),
        "correlation_raw": correlation_raw,
        "weight_thresholds": thresholds.tolist(),
        "bias_raw": bias_raw.tolist(),
        "accumulator_bits": accumulator_bounds(config.encoding, numbers, thresholds, negative, bias_raw, n).bits,
        "output": {"kind": "logits"},
        "architecture": {"kind": "parallel"},
    }
    if correlation_raw:
        fields["correlation_source"] = sources.correlation.to_dict()
    if config.encoding == "sign_magnitude":
        fields["weight_negative"] = negative.tolist()
    one = 1 << n
    return parse_document(
        {
            **document_header(),
            "name": name,
            "precision_bits": n,
            "inputs": {"features": thresholds.shape[1], "low": -one, "high": one},
            "layers": [fields],
            "training": dict(training or {}),
        }
    )
