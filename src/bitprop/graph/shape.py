"""What the cost model looks at in a document: each layer's sizes, encoding, length and fold."""

from __future__ import annotations

from bitprop.cost import LayerShape
from bitprop.graph.spec import Document, Requantise

__all__ = ["shapes_of"]


def shapes_of(document: Document) -> tuple[LayerShape, ...]:
    """The shapes of a document's layers, input first."""
    shapes = []
    for layer in document.layers:
        fold = layer.fold
        folded = (
            {}
            if fold is None
            else {
                "inputs_per_cycle": fold.inputs_per_cycle,
                "neurons_per_cycle": fold.neurons_per_cycle,
                "cycles_per_step": fold.cycles_per_step,
                "values_per_beat": fold.values_per_beat,
                "pipeline": fold.pipeline,
            }
        )
        shapes.append(
            LayerShape(
                inputs=layer.in_features,
                outputs=layer.out_features,
                length=layer.length,
                encoding=layer.encoding,
                precision_bits=document.precision_bits,
                correlated=layer.correlation_raw != 0,
                hidden=isinstance(layer.output, Requantise),
                **folded,
            )
        )
    return tuple(shapes)
