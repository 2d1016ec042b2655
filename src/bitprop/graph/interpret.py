"""The reference interpreter: a document carried out in plain integers, cycle by cycle, as the contract is written.

It is the oracle that the kernels, the torch bit-true mode and the Verilog are compared with, so it takes no
shortcut: every stream bit is made and every product is counted.  NumPy does the same thing to a whole batch at once
and nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bitprop._checks import check_integer
from bitprop.errors import RangeError, ShapeError
from bitprop.formats import IntArray, encode_value
from bitprop.graph.spec import DenseLayer, Document, Requantise

__all__ = ["Result", "check_inputs", "layer_accumulators", "layer_inputs", "layer_output", "run", "run_layer", "trace"]


@dataclass(frozen=True, slots=True)
class Result:
    """What a network answers.

    Attributes:
        layers: per layer the integers it gives, ``[B, O]`` int64: ``z`` of a hidden layer, the logits of the last.
        decision: index of the largest logit, ``[B]`` int64.
        accumulators: per layer the accumulators after L cycles, before requantising, ``[B, O]`` int64.
    """

    layers: tuple[IntArray, ...]
    decision: IntArray
    accumulators: tuple[IntArray, ...]

    @property
    def logits(self) -> IntArray:
        """The last layer's integers, ``[B, classes]``."""
        return self.layers[-1]


def check_inputs(document: Document, inputs_raw: npt.ArrayLike) -> IntArray:
    """``inputs_raw`` as int64 ``[B, features]``, checked against the document's declared input range.

    Raises:
        ShapeError: not integers, or not ``[B, features]`` with B at least 1.
        RangeError: an integer outside ``inputs.low .. inputs.high``.
    """
    inputs = document.inputs
    return _check_values("inputs", inputs_raw, inputs.features, inputs.low, inputs.high)


def _check_values(name: str, values_raw: npt.ArrayLike, features: int, low: int, high: int) -> IntArray:
    array = np.asarray(values_raw)
    if array.dtype.kind not in "iu" or array.ndim != 2 or array.shape[1] != features or len(array) < 1:
        raise ShapeError(
            f"expected {name} to be integers of shape [samples, {features}], got {array.dtype} of shape "
            f"{list(array.shape)}; quantise and reshape them"
        )
    wrong = np.argwhere((array < low) | (array > high))
    if len(wrong):
        sample, feature = wrong[0]
        raise RangeError(
            f"expected {name} in {low} .. {high}, got {array[sample, feature]} at sample {sample}, feature {feature}; "
            "clamp them first"
        )
    return array.astype(np.int64)


def layer_accumulators(layer: DenseLayer, values_raw: IntArray, precision_bits: int) -> list[IntArray]:
    """The accumulators of one layer after 0, 1, …, L cycles::

        acc(0) = bias,   acc(t+1) = acc(t) + contribution(t)

    Args:
        layer: the layer.
        values_raw: its input value integers, ``[B, I]``.
        precision_bits: n.

    Returns:
        L + 1 arrays ``[B, O]``.
    """
    k, x_negative = encode_value(values_raw, layer.encoding, precision_bits)
    x_sign, w_sign = 1 - 2 * x_negative, 1 - 2 * layer.negative
    accumulator = np.broadcast_to(layer.bias, (len(values_raw), layer.out_features)).astype(np.int64)
    history = [accumulator]
    for r, q in zip(layer.numbers.activation, layer.numbers.weight, strict=True):
        x = (r < k).astype(np.int64)  # [B, I]
        w = (q < layer.thresholds).astype(np.int64)  # [O, I]
        if layer.encoding == "unipolar":
            contribution = x @ w.T
        elif layer.encoding == "sign_magnitude":
            contribution = (x * x_sign) @ (w * w_sign).T
        else:
            equal = x @ w.T + (1 - x) @ (1 - w).T
            contribution = 2 * equal - layer.in_features
        accumulator = accumulator + contribution
        history.append(accumulator)
    return history


def layer_output(layer: DenseLayer, accumulator: IntArray) -> IntArray:
    """What the layer hands on: ``clamp((acc * M + 2**(s-1)) >> s, low, high)``, or the accumulators themselves."""
    if not isinstance(layer.output, Requantise):
        return accumulator
    m, s = layer.output.multiplier, layer.output.shift
    # numpy's >> on int64 is arithmetic; |acc| < 2**42 and M < 2**16, so the product fits
    value: IntArray = np.clip((accumulator * m + (1 << (s - 1))) >> s, layer.output.low, layer.output.high)
    return value


def run(document: Document, inputs_raw: npt.ArrayLike) -> Result:
    """Carry a document out on a batch.

    Args:
        document: the network.
        inputs_raw: value integers, ``[B, features]``, in ``inputs.low .. inputs.high``.

    Raises:
        ShapeError: wrong shape or dtype.
        RangeError: an input outside the declared range.
    """
    values = check_inputs(document, inputs_raw)
    return _run_layers(document.layers, values, document.precision_bits)


def run_layer(document: Document, layer: int, values_raw: npt.ArrayLike) -> Result:
    """Carry one layer out alone, as if the network were that layer: ``decision`` is the index of its largest output.

    Args:
        document: the network.
        layer: index of the layer.
        values_raw: its input value integers, ``[B, I]``, anywhere in ``-2**n .. 2**n``.

    Raises:
        ShapeError: wrong shape or dtype.
        RangeError: a value outside the range, or no such layer.
    """
    check_integer("layer", layer, 0, len(document.layers) - 1)
    chosen, one = document.layers[layer], 1 << document.precision_bits
    values = _check_values("values_raw", values_raw, chosen.in_features, -one, one)
    return _run_layers((chosen,), values, document.precision_bits)


def _run_layers(layers: tuple[DenseLayer, ...], values: IntArray, precision_bits: int) -> Result:
    accumulators: list[IntArray] = []
    outputs: list[IntArray] = []
    for layer in layers:
        accumulators.append(layer_accumulators(layer, values, precision_bits)[-1])
        values = layer_output(layer, accumulators[-1])
        outputs.append(values)
    # argmax takes the first, that is the lowest, index among equals
    return Result(tuple(outputs), np.argmax(values, axis=1).astype(np.int64), tuple(accumulators))


def layer_inputs(document: Document, input_raw: npt.ArrayLike, layer: int) -> IntArray:
    """The value integers that reach a layer for one sample, ``[I]``; arguments and errors as of :func:`trace`."""
    check_integer("layer", layer, 0, len(document.layers) - 1)
    values = check_inputs(document, np.asarray(input_raw)[None])
    for before in document.layers[:layer]:
        values = layer_output(before, layer_accumulators(before, values, document.precision_bits)[-1])
    chosen: IntArray = values[0]
    return chosen


def trace(document: Document, input_raw: npt.ArrayLike, layer: int) -> IntArray:
    """The accumulators of one layer for one sample, after every cycle.

    Args:
        document: the network.
        input_raw: one sample's value integers, ``[features]``.
        layer: index of the layer.

    Returns:
        int64 ``[L + 1, O]``; row ``t`` is the accumulator after ``t`` cycles, row 0 the bias.

    Raises:
        ShapeError: wrong shape or dtype.
        RangeError: an input outside the declared range, or no such layer.
    """
    values = layer_inputs(document, input_raw, layer)[None]
    return np.concatenate(layer_accumulators(document.layers[layer], values, document.precision_bits))
