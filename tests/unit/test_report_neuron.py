"""The streams of one neuron: the same integers as the interpreter's, and an expectation that long streams reach."""

from __future__ import annotations

import numpy as np
import pytest

from bitprop.errors import RangeError, ShapeError
from bitprop.graph.interpret import run, trace
from bitprop.graph.random import make_document, random_document, random_inputs
from bitprop.report import neuron_streams


@pytest.mark.parametrize("which", range(24))
def test_products_of_all_inputs_and_the_bias_are_the_accumulator(which: int) -> None:
    document = random_document(which)
    sample = random_inputs(document, 1, which)[0]
    for index, layer in enumerate(document.layers):
        neuron = which % layer.out_features
        streams = neuron_streams(document, sample, index, neuron, top=64)
        climbed = layer.bias[neuron] + np.concatenate([[0], np.cumsum(np.array(streams.products).sum(axis=0))])
        assert climbed.tolist() == list(streams.accumulator)
        assert list(streams.accumulator) == trace(document, sample, index)[:, neuron].tolist()
        assert streams.output == run(document, sample[None]).layers[index][0, neuron]
        assert sorted(map(abs, streams.sums), reverse=True) == list(map(abs, streams.sums))


def test_top_keeps_the_inputs_that_move_most_and_the_bits_are_those_of_their_values() -> None:
    document = random_document(3, max_features=12)
    sample = random_inputs(document, 1)[0]
    everything = neuron_streams(document, sample, 0, 0, top=64)
    few = neuron_streams(document, sample, 0, 0, top=2)
    assert few.inputs == everything.inputs[:2]
    assert few.accumulator == everything.accumulator
    assert few.all_inputs == document.layers[0].in_features


def test_the_last_layer_names_decision_and_rival() -> None:
    document = random_document(5)
    sample = random_inputs(document, 1)[0]
    result = run(document, sample[None])
    last = len(document.layers) - 1
    streams = neuron_streams(document, sample, last, int(result.decision[0]))
    assert streams.decision == result.decision[0]
    assert streams.clamp is None
    if document.layers[last].out_features > 1:
        assert streams.rival is not None
        assert streams.rival[1] <= streams.accumulator[-1]


@pytest.mark.parametrize("encoding", ["unipolar", "sign_magnitude", "bipolar"])
@pytest.mark.parametrize("correlation", [0, 64, -64, 256, -256])
def test_expectation_is_what_long_streams_give(encoding: str, correlation: int) -> None:
    """Three low-discrepancy sources over a long stream: the average is met to one part in a thousand."""
    length, bits = 40_000, 16
    rng = np.random.default_rng(9)
    scale = 256
    low = 0 if encoding == "unipolar" else -scale
    layer = {
        "length": length,
        "encoding": encoding,
        "activation_source": {"kind": "sobol", "width": bits, "seed": 77, "dimension": 1},
        "weight_source": {"kind": "sobol", "width": bits, "seed": 5, "dimension": 2},
        "correlation_raw": correlation * scale,
        "weights_raw": (rng.integers(low, scale + 1, (1, 6)) * scale).tolist(),
        "bias_raw": [11],
        "output": {"kind": "logits"},
    }
    if correlation:
        layer["correlation_source"] = {"kind": "sobol", "width": bits, "seed": 123, "dimension": 3}
    document = make_document("long", bits, (low * scale, scale * scale), [layer])
    sample = rng.integers(low, scale + 1, 6) * scale
    streams = neuron_streams(document, sample, 0, 0)
    assert abs(streams.accumulator[-1] - streams.expected) < 1e-3 * 6 * length


def test_unusable_questions_are_refused() -> None:
    document = random_document(1)
    sample = random_inputs(document, 1)[0]
    with pytest.raises(RangeError, match="layer"):
        neuron_streams(document, sample, len(document.layers), 0)
    with pytest.raises(RangeError, match="neuron"):
        neuron_streams(document, sample, 0, document.layers[0].out_features)
    with pytest.raises(RangeError, match="top"):
        neuron_streams(document, sample, 0, 0, top=0)
    with pytest.raises(ShapeError, match="one sample"):
        neuron_streams(document, sample[None], 0, 0)
