"""The streams of one neuron: which bits its strongest inputs multiply, and how its accumulator climbs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bitprop._checks import check_choice, check_integer, check_real
from bitprop.errors import RangeError, ShapeError
from bitprop.formats import ENCODINGS, IntArray, decode_threshold, encode_value
from bitprop.graph.interpret import check_inputs, layer_accumulators, layer_output
from bitprop.graph.spec import DenseLayer, Document, Requantise

__all__ = ["NeuronStreams", "neuron_streams"]

MAX_PEERS = 16
_MAX = 1 << 62


@dataclass(frozen=True, slots=True)
class NeuronStreams:
    """Real bits of one neuron for one sample.

    Attributes:
        layer: index of the layer.
        layer_name: its name.
        neuron: index of the neuron.
        encoding: encoding name.
        length: L.
        correlation: SCC, [-1, 1].
        inputs: indices of the inputs shown, ``[K]``, strongest first.
        all_inputs: how many inputs the neuron has.
        activations: real values of those inputs as encoded, ``[K]``, [-1, 1].
        weights: real values of their weights, ``[K]``, [-1, 1].
        activation_bits: ``[K][L]`` in {0, 1}.
        weight_bits: ``[K][L]`` in {0, 1}.
        products: what each adds in each cycle, ``[K][L]`` in {-1, 0, 1}.
        accumulator: after 0 .. L cycles, ``[L + 1]``; all inputs, the bias first.
        expected: the accumulator's expectation after L cycles, were the streams ideal.
        output: what the layer hands on: a value integer, or the logit integer.
        clamp: ``(low, high)`` value integers of a hidden layer, or ``None`` for logits.
        clamp_levels: the accumulators at which the clamp begins, or ``None`` for logits.
        precision_bits: n.
        peers: other neurons' indices and accumulators ``[L + 1]``; logits only.
        decision: the network's answer; logits only.

    Raises:
        ShapeError: arrays that do not fit K or L.
        RangeError: a field out of range.
    """

    layer: int
    layer_name: str
    neuron: int
    encoding: str
    length: int
    correlation: float
    inputs: tuple[int, ...]
    all_inputs: int
    activations: tuple[float, ...]
    weights: tuple[float, ...]
    activation_bits: tuple[tuple[int, ...], ...]
    weight_bits: tuple[tuple[int, ...], ...]
    products: tuple[tuple[int, ...], ...]
    accumulator: tuple[int, ...]
    expected: float
    output: int
    clamp: tuple[int, int] | None
    clamp_levels: tuple[float, float] | None
    precision_bits: int
    peers: tuple[tuple[int, tuple[int, ...]], ...] = ()
    decision: int | None = None

    def __post_init__(self) -> None:
        for field in ("layer", "neuron"):
            check_integer(field, getattr(self, field), 0, _MAX)
        for field in ("length", "all_inputs"):
            check_integer(field, getattr(self, field), 1, _MAX)
        check_choice("encoding", self.encoding, tuple(ENCODINGS))
        check_real("correlation", self.correlation, -1.0, 1.0)
        check_real("expected", self.expected, -1e300, 1e300)
        for field in ("activations", "weights", "activation_bits", "weight_bits", "products"):
            if len(getattr(self, field)) != len(self.inputs):
                raise ShapeError(
                    f"expected {field} of {len(self.inputs)} inputs, got {len(getattr(self, field))}; give one each"
                )
        for field, low in (("activation_bits", 0), ("weight_bits", 0), ("products", -1)):
            for row in getattr(self, field):
                if len(row) != self.length:
                    raise ShapeError(f"expected {self.length} cycles in {field}, got {len(row)}")
                if row and not low <= min(row) <= max(row) <= 1:
                    raise RangeError(f"expected {field} in {low} .. 1, got {min(row)} .. {max(row)}")
        for value in (*self.activations, *self.weights):
            check_real("an activation or weight", value, -1.0, 1.0)
        for row in (self.accumulator, *(peer for _, peer in self.peers)):
            if len(row) != self.length + 1:
                raise ShapeError(f"expected {self.length + 1} accumulators, got {len(row)}")

    @property
    def sums(self) -> tuple[int, ...]:
        """What each input shown adds over all cycles, ``[K]``."""
        return tuple(sum(row) for row in self.products)

    @property
    def rival(self) -> tuple[int, int] | None:
        """The strongest other logit, as ``(neuron, accumulator)``; ``None`` without any."""
        best = max(self.peers, key=lambda peer: (peer[1][-1], -peer[0]), default=None)
        return None if best is None else (best[0], best[1][-1])


def neuron_streams(
    document: Document, inputs_raw: npt.ArrayLike, layer: int, neuron: int, top: int = 8
) -> NeuronStreams:
    """Carry out the network up to a layer and keep the bits of one of its neurons.

    Args:
        document: the network.
        inputs_raw: one sample's value integers, ``[features]``.
        layer: index of the layer.
        neuron: index of the neuron in it.
        top: show at most so many inputs: those whose products add or subtract most, the lowest index among equals.

    Raises:
        ShapeError: not one sample of integers.
        RangeError: an input outside the declared range, no such layer or neuron, or ``top`` outside 1 .. 64.
    """
    check_integer("layer", layer, 0, len(document.layers) - 1)
    chosen = document.layers[layer]
    check_integer("neuron", neuron, 0, chosen.out_features - 1)
    check_integer("top", top, 1, 64)
    n = document.precision_bits
    sample = np.asarray(inputs_raw)
    if sample.ndim != 1:
        raise ShapeError(f"expected one sample [features], got shape {list(sample.shape)}; pick a row")
    values = check_inputs(document, sample[None])
    for before in document.layers[:layer]:
        values = layer_output(before, layer_accumulators(before, values, n)[-1])
    history = np.stack([row[0] for row in layer_accumulators(chosen, values, n)])  # [L + 1, O]

    k, x_negative = (row[0] for row in encode_value(values, chosen.encoding, n))
    w_threshold, w_negative = chosen.thresholds[neuron], chosen.negative[neuron]
    x = (chosen.numbers.activation[None, :] < k[:, None]).astype(np.int64)  # [I, L]
    w = (chosen.numbers.weight[None, :] < w_threshold[:, None]).astype(np.int64)
    if chosen.encoding == "bipolar":
        products = 2 * (x == w).astype(np.int64) - 1
    else:
        products = x * w * (1 - 2 * (x_negative ^ w_negative))[:, None]
    # stable: the lowest index first among equals
    order = np.argsort(-np.abs(products.sum(axis=1)), kind="stable")[:top]

    is_logits = not isinstance(chosen.output, Requantise)
    final = history[-1]
    others = [o for o in np.argsort(-final, kind="stable").tolist() if o != neuron][:MAX_PEERS] if is_logits else []
    return NeuronStreams(
        layer=layer,
        layer_name=chosen.name,
        neuron=neuron,
        encoding=chosen.encoding,
        length=chosen.length,
        correlation=chosen.correlation_raw / (1 << n),
        inputs=tuple(order.tolist()),
        all_inputs=chosen.in_features,
        activations=tuple(decode_threshold(k, x_negative, chosen.encoding, n)[order].tolist()),
        weights=tuple(decode_threshold(w_threshold, w_negative, chosen.encoding, n)[order].tolist()),
        activation_bits=_rows(x[order]),
        weight_bits=_rows(w[order]),
        products=_rows(products[order]),
        accumulator=tuple(history[:, neuron].tolist()),
        expected=_expected(chosen, neuron, k, x_negative, n),
        output=int(layer_output(chosen, history[-1:])[0, neuron]),
        clamp=(chosen.output.low, chosen.output.high) if isinstance(chosen.output, Requantise) else None,
        clamp_levels=_clamp_levels(chosen.output) if isinstance(chosen.output, Requantise) else None,
        precision_bits=n,
        peers=tuple((o, tuple(history[:, o].tolist())) for o in sorted(others)),
        decision=int(np.argmax(final)) if is_logits else None,
    )


def _rows(array: IntArray) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(row) for row in array.tolist())


def _clamp_levels(output: Requantise) -> tuple[float, float]:
    scale = float(1 << output.shift) / output.multiplier
    return output.low * scale, output.high * scale


def _expected(layer: DenseLayer, neuron: int, k: IntArray, x_negative: IntArray, precision_bits: int) -> float:
    """The accumulator's expectation with ideal streams of the layer's correlation (contract, section 2)."""
    one = float(1 << precision_bits)
    x, w, c = k / one, layer.thresholds[neuron] / one, layer.correlation_raw / one
    together = np.minimum(x, w) if c > 0 else np.maximum(0.0, x + w - 1.0)
    both = (1.0 - abs(c)) * x * w + abs(c) * together
    if layer.encoding == "bipolar":
        mean = 2.0 * (1.0 - x - w + 2.0 * both) - 1.0
    else:
        mean = both * (1 - 2 * (x_negative ^ layer.negative[neuron]))
    return float(layer.bias[neuron] + layer.length * mean.sum())
