"""The reference interpreter, its bounds and its timing, each against something independent."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from bitprop.errors import RangeError, ShapeError
from bitprop.graph.bounds import accumulator_bounds, signed_bits
from bitprop.graph.fold import fold_plan, folded_accumulators
from bitprop.graph.interpret import layer_accumulators, layer_inputs, run, run_layer, trace
from bitprop.graph.random import make_document, random_architecture, random_document, random_inputs
from bitprop.graph.spec import DenseLayer, Document
from bitprop.graph.streams import LayerNumbers
from bitprop.graph.timing import interval_cycles, latencies, latency_cycles, mean_interval, schedule
from bitprop.ops import make_source


def oracle(fields: dict[str, Any], sample: list[int]) -> tuple[list[list[int]], int]:
    """The contract once more: no arrays, no library but the sources, written from the page."""
    n = fields["precision_bits"]
    one = 2**n
    values, outputs = sample, []
    for layer in fields["layers"]:
        numbers = {
            role: [int(number) for number in make_source(**layer[role]).sequence(layer["length"])]
            for role in ("activation_source", "weight_source", "correlation_source")
            if layer.get(role)
        }
        totals = []
        for o, bias in enumerate(layer["bias_raw"]):
            total = bias
            for t in range(layer["length"]):
                r, q = numbers["activation_source"][t], numbers["weight_source"][t]
                c = layer["correlation_raw"]
                if c != 0 and numbers["correlation_source"][t] < abs(c):
                    q = r if c > 0 else one - 1 - r
                for i, value in enumerate(values):
                    w_bit = q < layer["weight_thresholds"][o][i]
                    if layer["encoding"] == "unipolar":
                        total += int(r < min(max(value, 0), one) and w_bit)
                    elif layer["encoding"] == "sign_magnitude":
                        product = r < min(abs(value), one) and w_bit
                        negative = (value < 0) != bool(layer["weight_negative"][o][i])
                        # the counter's form: (p XOR neg) - neg
                        total += int(product != negative) - int(negative)
                    else:
                        k = round((min(max(value, -one), one) + one) / 2)
                        total += 1 if (r < k) == w_bit else -1
            totals.append(total)
        outputs.append(totals)
        out = layer["output"]
        if out["kind"] == "requantise":
            half = 2 ** (out["shift"] - 1)
            scaled = [(total * out["multiplier"] + half) // 2 ** out["shift"] for total in totals]
            outputs[-1] = values = [min(max(z, out["low"]), out["high"]) for z in scaled]
    return outputs, outputs[-1].index(max(outputs[-1]))


@pytest.mark.parametrize("index", range(30))
def test_interpreter_equals_the_contract_written_twice(index: int) -> None:
    document = random_document(1000 + index, max_features=6, max_length=30)
    inputs = random_inputs(document, 4)
    result = run(document, inputs)
    for sample, row in enumerate(inputs.tolist()):
        layers, decision = oracle(document.to_dict(), row)
        assert [layer[sample].tolist() for layer in result.layers] == layers
        assert result.decision[sample] == decision


def test_trace_starts_at_the_bias_and_ends_at_the_result() -> None:
    document = random_document(8)
    inputs = random_inputs(document, 3)
    result = run(document, inputs)
    for index, layer in enumerate(document.layers):
        history = trace(document, inputs[2], index)
        assert history.shape == (layer.length + 1, layer.out_features)
        assert history[0].tolist() == list(layer.bias_raw)
        assert history[-1].tolist() == result.accumulators[index][2].tolist()
    assert result.logits is result.layers[-1]


def test_one_layer_alone_equals_the_layer_in_its_network() -> None:
    document = random_document(14)
    inputs = random_inputs(document, 5)
    whole = run(document, inputs)
    alone = run_layer(document, 1, whole.layers[0])
    assert alone.layers[0].tolist() == whole.layers[1].tolist()


def test_ties_go_to_the_lowest_index() -> None:
    layer = {
        "length": 4,
        "encoding": "unipolar",
        "activation_source": {"kind": "counter", "width": 3, "seed": 0, "stride": 1},
        "weight_source": {"kind": "counter", "width": 3, "seed": 0, "stride": 1},
        "weights_raw": [[0], [8], [8]],
        "bias_raw": [3, 3, 3],
        "output": {"kind": "logits"},
    }
    document = make_document("ties", 3, (0, 8), [layer])
    assert run(document, [[0], [8]]).decision.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("inputs", "error"),
    [
        ([[0.5] * 12], ShapeError),
        ([0] * 12, ShapeError),
        (np.zeros((0, 12), dtype=int), ShapeError),
        ([[0] * 11], ShapeError),
        ([[9999] * 12], RangeError),
    ],
)
def test_unusable_inputs_are_refused(inputs: Any, error: type[Exception]) -> None:
    document = random_document(5)
    assert document.inputs.features == 12
    with pytest.raises(error, match="inputs"):
        run(document, inputs)
    with pytest.raises(RangeError, match="layer"):
        trace(document, [0] * 12, 7)


def brute_force_layer(encoding: str, seed: int) -> Document:
    generator = np.random.default_rng(seed)
    one = 8
    low = 0 if encoding == "unipolar" else -one
    layer = {
        "length": int(generator.integers(1, 12)),
        "encoding": encoding,
        "activation_source": {"kind": "lfsr", "width": 3, "seed": int(generator.integers(1, 8))},
        "weight_source": {"kind": "sobol", "width": 3, "seed": int(generator.integers(0, 8)), "dimension": 3},
        "correlation_raw": 5,
        "correlation_source": {"kind": "counter", "width": 3, "seed": 0, "stride": 3},
        "weights_raw": generator.integers(low, one + 1, (3, 2)),
        "bias_raw": generator.integers(-9, 10, 3).tolist(),
        "output": {"kind": "logits"},
    }
    return make_document("brute", 3, (-one, one), [layer])


@pytest.mark.parametrize("encoding", ["unipolar", "sign_magnitude", "bipolar"])
@pytest.mark.parametrize("seed", range(8))
def test_bounds_are_the_extremes_over_every_input_and_cycle(encoding: str, seed: int) -> None:
    document = brute_force_layer(encoding, seed)
    layer = document.layers[0]
    bounds = layer.bounds(3)
    every = np.array(list(itertools.product(range(-8, 9), repeat=2)))
    history = np.stack(layer_accumulators(layer, every, 3))
    assert bounds.low.tolist() == history.min(axis=(0, 1)).tolist()
    assert bounds.high.tolist() == history.max(axis=(0, 1)).tolist()
    for values, extreme, reach in (
        (bounds.low_values, bounds.low, np.min),
        (bounds.high_values, bounds.high, np.max),
    ):
        reached = np.stack(layer_accumulators(layer, values, 3))
        for o in range(3):
            assert reach(reached[:, o, o]) == extreme[o]
    assert bounds.bits >= signed_bits(int(history.min()), int(history.max()))


def test_a_bipolar_layer_too_long_to_search_gets_the_plain_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = brute_force_layer("bipolar", 1).layers[0]
    exact = layer.bounds(3)
    monkeypatch.setattr("bitprop.graph.bounds.BIPOLAR_WORK_LIMIT", 0)
    plain = layer.bounds(3)
    assert plain.high.tolist() == [bias + 2 * layer.length for bias in layer.bias_raw]
    assert plain.low.tolist() == [bias - 2 * layer.length for bias in layer.bias_raw]
    assert (plain.high >= exact.high).all()
    assert (plain.low <= exact.low).all()


def test_bounds_hold_the_preload_and_one_contribution() -> None:
    numbers = LayerNumbers(np.array([0]), np.array([0]))
    bounds = accumulator_bounds("unipolar", numbers, np.zeros((1, 100), dtype=np.int64), None, np.array([-300]), 3)
    assert (bounds.low.tolist(), bounds.high.tolist(), bounds.bits) == ([-300], [-300], 10)
    bounds = accumulator_bounds("unipolar", numbers, np.zeros((1, 100), dtype=np.int64), None, np.array([0]), 3)
    assert bounds.bits == 8


def chain_of(lengths: list[int]) -> tuple[DenseLayer, ...]:
    source = {"kind": "lfsr", "width": 4, "seed": 1}
    hidden = {"kind": "requantise", "multiplier": 1, "shift": 1, "low": 0, "high": 16}
    layers = [
        {
            "length": length,
            "encoding": "unipolar",
            "activation_source": source,
            "weight_source": source,
            "weights_raw": [[3]],
            "bias_raw": [0],
            "output": hidden if index < len(lengths) - 1 else {"kind": "logits"},
        }
        for index, length in enumerate(lengths)
    ]
    return make_document("chain", 4, (0, 16), layers).layers


def test_latency_without_and_with_a_slower_layer_behind() -> None:
    for seed in (0, 2, 7):
        document = random_document(seed)
        each = [layer.length for layer in document.layers]
        assert latency_cycles(document) == sum(length + 2 for length in each) + 1
        assert latencies(document.layers, 6)[0] == latency_cycles(document)
        assert interval_cycles(document) == max(each) + 2
    # the second sample leaves the short layer early and waits for the long one
    assert latencies(chain_of([3, 10]), 4).tolist() == [18, 25, 25, 25]
    assert latencies(chain_of([10, 3]), 4).tolist() == [18, 18, 18, 18]
    with pytest.raises(RangeError, match="samples"):
        latencies(chain_of([1]), 0)


@pytest.mark.parametrize("seed", range(60))
def test_closed_formulas_of_folded_networks_equal_the_schedule(seed: int) -> None:
    document = random_architecture(random_document(seed, max_length=20, max_layers=4), seed)
    accepted, decided = schedule(document.layers, 200)
    assert decided[0] - accepted[0] == latency_cycles(document)
    # two samples may take turns, so that two intervals are looked at
    assert Fraction(int(decided[199] - decided[179]), 20) == mean_interval(document.layers)
    assert (np.diff(decided) > 0).all()


@pytest.mark.parametrize("seed", range(12))
def test_the_folded_accumulators_end_at_the_reference_interpreters(seed: int) -> None:
    document = random_architecture(random_document(seed, max_length=20), seed)
    inputs = random_inputs(document, 1)
    result = run(document, inputs)
    for index, layer in enumerate(document.layers):
        values = layer_inputs(document, inputs[0], index)
        for neuron in range(layer.out_features) if layer.fold is not None else ():
            history = folded_accumulators(layer, values, neuron)
            assert len(history) == fold_plan(layer).work
            assert history[-1] == result.accumulators[index][0, neuron]
