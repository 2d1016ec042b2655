"""A trained quantised network becomes a document of integers, and images become its activations."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from bitprop.baseline.document import MacDocument, parse_mac_document
from bitprop.baseline.quantised import QuantisedLinear, QuantisedNetwork
from bitprop.errors import DocumentError, RangeError
from bitprop.formats import IntArray

__all__ = ["activations_of", "lower_quantised"]


def activations_of(inputs: npt.ArrayLike, bits: int) -> IntArray:
    """Inputs in [0, 1] as integers: ``round(x * (2**b - 1))``, ties to even.

    Raises:
        RangeError: an input outside [0, 1].

    Example:
        >>> activations_of([[0.0, 0.5, 1.0]], 2).tolist()
        [[0, 2, 3]]
    """
    values = np.asarray(inputs, dtype=np.float32)
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise RangeError(f"expected inputs in 0 .. 1, got {values.min()} .. {values.max()}; scale them")
    # in the arithmetic of training, so that a tie falls the same way
    integers: IntArray = np.rint(values * np.float32((1 << bits) - 1)).astype(np.int64)
    return integers


def _scale(ratio: float) -> tuple[int, int]:
    """M and s with ``M / 2**s`` nearest to the ratio, M of 16 bits."""
    shift = 0
    while shift < 40 and round(ratio * 2 ** (shift + 1)) < 1 << 16:
        shift += 1
    multiplier = round(ratio * 2**shift)
    if not (shift >= 1 and 1 <= multiplier < 1 << 16):
        raise DocumentError(f"expected a scale between layers in 2**-40 .. 2**15, got {ratio:g}; train again")
    return multiplier, shift


def lower_quantised(network: QuantisedNetwork, name: str) -> MacDocument:
    """The integers of a trained network, unfolded: one product a cycle in each layer.

    Raises:
        DocumentError: the network has not begun to quantise, or a scale does not fit.
    """
    if not network.quantising:
        raise DocumentError("expected a network that quantises, this one is float; train it with quantised_epochs")
    layers = []
    input_step = 1.0 / network.levels
    for index, layer in enumerate(network.layers):
        assert isinstance(layer, QuantisedLinear)  # noqa: S101 - tells mypy what the list holds
        with torch.no_grad():
            step = float(layer.weight_step)
            weights = torch.round(torch.clamp(layer.weight / layer.weight_step, -layer.high, layer.high))
            bias = np.rint(layer.bias.double().numpy() / (step * input_step)).astype(np.int64)
            output_step = float(layer.output_step)
        last = index == len(network.layers) - 1
        multiplier, shift = (0, 0) if last else _scale(step * input_step / output_step)
        layers.append(
            {
                "name": "classes" if last else f"hidden_{index}",
                "weights_raw": weights.long().tolist(),
                "bias_raw": bias.tolist(),
                "multiplier": multiplier,
                "shift": shift,
                "inputs_per_cycle": 1,
                "neurons_per_cycle": 1,
            }
        )
        input_step = output_step
    return parse_mac_document({"name": name, "bits": network.bits, "layers": layers})
