"""Whole networks: the emitted Verilog, simulated, against the reference interpreter, every integer of every sample.

``BITPROP_RANDOM_NETWORKS=500`` runs that many random networks through Icarus instead of the usual dozen::

    BITPROP_RANDOM_NETWORKS=500 python -m pytest tests/agreement/test_network_agreement.py -n auto
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bitprop.errors import RangeError
from bitprop.formats import ENCODINGS
from bitprop.graph.interpret import run
from bitprop.graph.random import make_document, random_architecture, random_document, random_inputs
from bitprop.graph.spec import Document
from bitprop.graph.timing import latencies, latency_cycles
from bitprop.hdl import emit
from bitprop.toolchain import SIMULATORS
from bitprop.verification.parity import check_parity, corner_inputs

RANDOM_NETWORKS = int(os.environ.get("BITPROP_RANDOM_NETWORKS", "12"))


@pytest.mark.parametrize("index", range(RANDOM_NETWORKS))
def test_random_networks_in_icarus(index: int, tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    require_tool("iverilog")
    document = random_document(index)
    emit(document, tmp_path)
    result = check_parity(document, tmp_path, random_inputs(document, 8), ("icarus",), evidence_dir=tmp_path / "failed")
    assert result.raise_if_failed().status == "pass"
    entry = result.simulators[0]
    assert entry.samples == 8
    assert entry.corner_samples >= 2 * len(document.layers)
    assert entry.latency_cycles == result.expected_latency_cycles == sum(x.length + 2 for x in document.layers) + 1
    assert entry.integers == 8 * (2 * sum(layer.out_features for layer in document.layers) + 1)
    assert result.integers > entry.integers


@pytest.mark.parametrize("index", range(RANDOM_NETWORKS))
def test_random_folded_and_mixed_networks_in_icarus(
    index: int, tmp_path: Path, require_tool: Callable[[str], str]
) -> None:
    require_tool("iverilog")
    document = random_architecture(random_document(index, max_length=20), index)
    emit(document, tmp_path)
    inputs = random_inputs(document, 6)
    result = check_parity(document, tmp_path, inputs, ("icarus",), corner_samples=4, evidence_dir=tmp_path / "failed")
    result.raise_if_failed()
    assert result.simulators[0].latency_cycles == latency_cycles(document)
    stalled = SIMULATORS["icarus"].simulate(tmp_path, document.name, inputs, stall=index + 1)
    expected = run(document, inputs)
    assert [layer.tolist() for layer in stalled.layers] == [layer.tolist() for layer in expected.layers]
    assert stalled.decision.tolist() == expected.decision.tolist()


@pytest.mark.parametrize("index", [7, 8])  # folded, parallel, folded; parallel, folded, folded
def test_random_folded_networks_in_verilator(index: int, tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    require_tool("verilator")
    document = random_architecture(random_document(index, max_length=20), index)
    assert any(layer.fold is not None for layer in document.layers)
    emit(document, tmp_path)
    result = check_parity(document, tmp_path, random_inputs(document, 200), ("verilator",), corner_samples=0)
    assert result.raise_if_failed().simulators[0].samples == 200


@pytest.mark.parametrize("index", [2, 8])  # three layers each: every encoding, both signs of correlation
def test_random_networks_in_verilator(index: int, tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    require_tool("verilator")
    document = random_document(index)
    assert {layer.encoding for layer in document.layers} == set(ENCODINGS)
    emit(document, tmp_path)
    result = check_parity(document, tmp_path, random_inputs(document, 200), ("verilator",), corner_samples=0)
    result.raise_if_failed()
    assert result.simulators[0].samples == 200


def wide(precision_bits: int, length: int) -> Document:
    one = 1 << precision_bits
    generator = np.random.default_rng(precision_bits)
    source = {"width": precision_bits, "seed": 3}
    first = {
        "name": "hidden",
        "length": length,
        "encoding": "sign_magnitude",
        "activation_source": {"kind": "lfsr", **source},
        "weight_source": {"kind": "sobol", **source, "dimension": 2},
        "weights_raw": generator.integers(-one, one + 1, (5, 70)),
        "bias_raw": [-7, 0, 1, 2, 3],
        "output": {"kind": "requantise", "multiplier": 40000, "shift": 17, "low": -one, "high": one},
    }
    last = {
        "name": "last",
        "length": 3,
        "encoding": "bipolar",
        "activation_source": {"kind": "halton", **source, "base": 3},
        "weight_source": {"kind": "counter", **source, "stride": 5},
        "weights_raw": generator.integers(-one, one + 1, (1, 5)),
        "bias_raw": [0],
        "output": {"kind": "logits"},
    }
    return make_document("wide", precision_bits, (-one, one), [first, last])


@pytest.mark.parametrize(("precision_bits", "length"), [(16, 40), (3, 300), (12, 1)])
def test_widest_and_narrowest_numbers_and_inputs_beyond_a_word(
    precision_bits: int, length: int, tmp_path: Path, require_tool: Callable[[str], str]
) -> None:
    require_tool("iverilog")
    document = wide(precision_bits, length)
    emit(document, tmp_path)
    inputs = np.concatenate((corner_inputs(document, 4), random_inputs(document, 4)))
    check_parity(document, tmp_path, inputs, ("icarus",), corner_samples=4).raise_if_failed()


def test_stalls_at_either_end_change_no_integer(tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    """The testbench offers and takes at once; here it hesitates, so that the handshakes are tried in every state."""
    require_tool("iverilog")
    document = random_document(14, max_length=12)
    emit(document, tmp_path)
    inputs = random_inputs(document, 20)
    result = SIMULATORS["icarus"].simulate(tmp_path, document.name, inputs, stall=5)
    expected = run(document, inputs)
    assert [layer.tolist() for layer in result.layers] == [layer.tolist() for layer in expected.layers]
    assert result.decision.tolist() == expected.decision.tolist()
    assert (result.latency_cycles != latencies(document.layers, 20)).any()


def test_parity_refuses_what_it_cannot_check(tmp_path: Path) -> None:
    document = random_document(3)
    with pytest.raises(RangeError, match="at least one simulator"):
        check_parity(document, tmp_path, random_inputs(document, 1), ())
    with pytest.raises(RangeError, match="icarus, verilator"):
        check_parity(document, tmp_path, random_inputs(document, 1), ("modelsim",))


def test_corner_inputs_reach_the_extremes_that_the_input_range_allows() -> None:
    document = wide(4, 9)
    layer = document.layers[0]
    bounds = layer.bounds(4)
    accumulators = run(document, corner_inputs(document)).accumulators[0]
    assert accumulators.min(axis=0).tolist() == bounds.low.tolist()
    assert accumulators.max(axis=0).tolist() == bounds.high.tolist()
    assert len(corner_inputs(document, 3)) == 3
