"""Planted faults in the modules of folded layers: parity, with and without pauses, objects to each, names the layer."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from bitprop.errors import SimulationError
from bitprop.formats import IntArray
from bitprop.graph.architecture import Folded, folded
from bitprop.graph.fold import fold_plan
from bitprop.graph.random import make_document, random_inputs
from bitprop.graph.spec import Document
from bitprop.hdl import emit
from bitprop.verification.parity import ParityResult, check_parity


@pytest.fixture(scope="module")
def document() -> Document:
    """Folded, parallel, folded, folded: every module, and every remainder that a fold can leave."""
    generator = np.random.default_rng(8)

    def layer(name: str, size: tuple[int, int], length: int, encoding: str, fold: Folded | None) -> dict[str, object]:
        hidden = {"kind": "requantise", "multiplier": 37 * 29 // length, "shift": 6, "low": -32, "high": 32}
        return {
            "name": name,
            "length": length,
            "encoding": encoding,
            "activation_source": {"kind": "lfsr", "width": 5, "seed": 1 + length},
            "weight_source": {"kind": "sobol", "width": 5, "seed": 5, "dimension": 2},
            "weights_raw": generator.integers(-32, 33, size),
            "bias_raw": [3] * size[0],
            "output": {"kind": "logits"} if name == "last" else hidden,
            "architecture": {"kind": "parallel"} if fold is None else fold.model_dump(),
        }

    return make_document(
        "net",
        5,
        (-32, 32),
        [
            # beats, words, groups and steps that do not divide
            layer("first", (5, 8), 29, "bipolar", folded(6, 2, length=29, cycles_per_step=4, values_per_beat=3)),
            layer("second", (6, 5), 7, "sign_magnitude", None),
            layer("third", (5, 6), 7, "sign_magnitude", folded(4, 2, length=7, values_per_beat=2, pipeline=2)),
            # more neurons than cycles of work: the drain is what takes time
            layer(
                "last",
                (4, 5),
                6,
                "sign_magnitude",
                folded(5, 3, length=6, values_per_beat=1, pipeline=0, weights="loadable"),
            ),
        ],
    )


@pytest.fixture(scope="module")
def inputs(document: Document) -> IntArray:
    return np.concatenate((random_inputs(document, 11), np.zeros((1, 8), dtype=np.int64)))


def test_the_network_has_what_the_mutants_need(document: Document) -> None:
    first, third, last = (fold_plan(document.layers[index]) for index in (0, 2, 3))
    assert (first.beats, first.words, first.groups, first.rest, first.steps) == (3, 2, 3, 1, 8)
    assert (third.beats, third.words, third.compare_register) == (3, 2, 0)
    assert (last.work, last.wait, last.rest) == (1, 2, 1)


def replace(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text, f"{old!r} is not in the emitted text"
        return text.replace(old, new, 1)

    return change


def swap_words(text: str) -> str:
    """The first two words of a memory change places."""
    words = re.findall(r"memory\[[01]\] = (.*);", text)
    assert len(words) == 2
    assert words[0] != words[1]
    return text.replace(f"memory[0] = {words[0]}", f"memory[0] = {words[1]}").replace(
        f"memory[1] = {words[1]}", f"memory[1] = {words[0]}", 1
    )


@dataclass(frozen=True, slots=True)
class Mutant:
    """A fault: in which file, what changes, and where the check must see it first; empty: anywhere, or a hang."""

    name: str
    file: str
    change: Callable[[str], str]
    where: str


_FOLD = "bitprop_fold_"
MUTANTS = [
    Mutant(
        "weight_address_runs_on",
        f"{_FOLD}control.v",
        replace("word_end && final_group ? 0 : weight_word", "weight_word"),
        "first",
    ),
    Mutant(
        "weight_address_restarts_in_every_group",
        f"{_FOLD}control.v",
        replace("word_end && final_group ? 0", "word_end ? 0"),
        "first",
    ),
    Mutant(
        "last_word_dropped",
        f"{_FOLD}control.v",
        replace("WORD_LIMIT = WORDS - 1", "WORD_LIMIT = WORDS > 1 ? WORDS - 2 : 0"),
        "",
    ),
    Mutant(
        "last_step_dropped",
        f"{_FOLD}control.v",
        replace("STEP_LIMIT = STEPS - 1", "STEP_LIMIT = STEPS > 1 ? STEPS - 2 : 0"),
        "first",
    ),
    Mutant("places_ignored", f"{_FOLD}control.v", replace("&& places != 0", "|| (places == 0 && !run && full)"), ""),
    Mutant(
        "place_never_given_back", f"{_FOLD}control.v", replace("else if (released && !start)", "else if (reset)"), ""
    ),
    Mutant("drain_not_waited_for", "net_last.v", replace(".WAIT(2)", ".WAIT(0)"), ""),
    Mutant(
        "activation_sign_lost",
        f"{_FOLD}bank.v",
        replace("negative[i] = inputs[i*X_LANE+X_CODE]", "negative[i] = 1'b0"),
        "third",
    ),
    Mutant(
        "weight_sign_lost",
        f"{_FOLD}neuron.v",
        replace("x_negative[i] ^ weights[i*LANE+CODE_WIDTH]", "x_negative[i]"),
        "third",
    ),
    Mutant("sign_of_another_product", f"{_FOLD}neuron.v", replace("late_negative[i] ?", "late_negative[0] ?"), "third"),
    Mutant(
        "accumulator_not_cleared",
        f"{_FOLD}neuron.v",
        replace("<= (first ? bias : total)", "<= (first && total === {WIDTH{1'bx}} ? bias : total)"),
        "first",
    ),
    Mutant(
        "leaf_miscounted",
        f"{_FOLD}neuron.v",
        replace(
            "$countones(product_bits[(i*LEAVES+j)*LEAF +: LEAF])",
            "$countones(product_bits[(i*LEAVES+j)*LEAF +: LEAF] & ~1)",
        ),
        "first",
    ),
    Mutant("tree_register_missing", f"{_FOLD}tree.v", replace("l == LEVELS ? 1", "l == LEVELS ? 0"), "first"),
    Mutant("tree_node_dropped", f"{_FOLD}tree.v", replace("2 * i + 1 < BELOW", "2 * i + 2 < BELOW"), "first"),
    Mutant(
        "signs_not_extended",
        f"{_FOLD}tree.v",
        replace("{left[BITS-2], left} + {right[BITS-2], right}", "{1'b0, left} + {1'b0, right}"),
        "third",
    ),
    Mutant(
        "valid_a_cycle_early",
        "net_third.v",
        replace("bitprop_fold_delay #(.WIDTH(4), .CYCLES(4))", "bitprop_fold_delay #(.WIDTH(4), .CYCLES(3))"),
        "third",
    ),
    Mutant("bias_of_the_next_group", "net_third.v", replace(".address(late_group)", ".address(group)"), "third"),
    Mutant(
        "weight_memory_off_by_one", "net_third_weights.v", replace("memory[address]", "memory[address + 1'b1]"), "third"
    ),
    Mutant("weight_words_swapped", "net_first_weights.v", swap_words, "first"),
    Mutant("bias_words_swapped", "net_first_biases.v", replace("memory[2] =", "memory[2] = 1 +"), "first"),
    Mutant("load_not_written", f"{_FOLD}memory.v", replace("if (write)", "if (write && write_address != 0)"), "last"),
    Mutant("bias_not_loaded", f"{_FOLD}loader.v", replace("bias_word <= bias_end", "bias_word <= !bias_end"), ""),
    Mutant(
        "loaded_in_another_order",
        f"{_FOLD}loader.v",
        replace("write_weight = in_valid && in_ready && !biases", "write_weight = in_valid && in_ready && biases"),
        "",
    ),
    Mutant("number_changed", "net_first_numbers.v", replace("memory[0] = ", "memory[0] = 3 ^ "), "first"),
    Mutant("numbers_exchanged", "net_last.v", replace("assign w_numbers = 18'h", "assign w_numbers = ~18'h"), "last"),
    Mutant(
        "levels_wrong",
        "net_third.v",
        lambda text: re.sub(r"(\.NUMBERS\(35'h\w*?)(\w)\)", lambda m: f"{m[1]}{int(m[2], 16) ^ 14:x})", text),
        "third",
    ),
    Mutant("rank_one_short", f"{_FOLD}code.v", replace("$countones(passed)", "$countones(passed & ~1)"), "third"),
    Mutant(
        "read_place_fixed", f"{_FOLD}buffer.v", replace("memory[{out_place, word}]", "memory[{1'b0, word}]"), "first"
    ),
    Mutant(
        "write_place_fixed", f"{_FOLD}buffer.v", replace("if (write_end) write_place <= !write_place;", ""), "first"
    ),
    Mutant(
        "write_word_not_restarted",
        f"{_FOLD}buffer.v",
        replace("write_word <= write_end ? 0 : write_word", "write_word <= write_word"),
        "last",
    ),
    Mutant(
        "full_before_the_last_word",
        f"{_FOLD}buffer.v",
        replace("full = stored != 0", "full = stored != 0 || write_end"),
        "",
    ),
    Mutant(
        "taken_while_occupied",
        f"{_FOLD}buffer.v",
        replace("in_ready = !occupied[in_place]", "in_ready = 1'b1 | occupied[in_place]"),
        "",
    ),
    Mutant(
        "lanes_behind_the_last_input",
        f"{_FOLD}buffer.v",
        replace("i < REST || !ending[1]", "i < LANES || !ending[1]"),
        "first",
    ),
    Mutant(
        "places_of_a_word_not_cleared",
        f"{_FOLD}buffer.v",
        replace("else if (place == 0) packed_word", "else if (place == 0 && reset) packed_word"),
        "first",
    ),
    Mutant("rest_forgotten", "net_third.v", replace(".REST(1)", ".REST(2)"), ""),
    Mutant(
        "drain_out_of_order",
        f"{_FOLD}drain.v",
        replace("held <= totals;", "held <= {totals[0 +: WIDTH], totals} >> WIDTH;"),
        "first",
    ),
    Mutant("no_rounding", f"{_FOLD}requantise.v", replace("(extended + HALF)", "(extended + HALF - HALF)"), "first"),
    Mutant("flags_before_the_value", f"{_FOLD}requantise.v", replace(".CYCLES(3)", ".CYCLES(2)"), "first"),
    Mutant(
        "collected_backwards",
        f"{_FOLD}collect.v",
        replace("line <= {in_value, line[VALUES*WIDTH-1:WIDTH]}", "line <= {line[VALUES*WIDTH-WIDTH-1:0], in_value}"),
        "second",
    ),
    Mutant(
        "spread_a_beat_late",
        f"{_FOLD}spread.v",
        replace("filled[beat*LANES*WIDTH", "filled[(beat == 0 ? 0 : beat - 1)*LANES*WIDTH"),
        "third",
    ),
    Mutant(
        "vector_taken_with_its_first_beat",
        f"{_FOLD}spread.v",
        replace("in_ready = out_ready && beat_end", "in_ready = out_ready"),
        "",
    ),
    Mutant("ties_to_the_highest", f"{_FOLD}decision.v", replace("in_value > best", "in_value >= best"), "decision"),
    Mutant(
        "best_never_restarted",
        f"{_FOLD}decision.v",
        replace("index == 0 || in_value", "in_value"),
        "decision",
    ),
    Mutant(
        "decision_overwritten", f"{_FOLD}decision.v", replace("complete && (!out_valid || out_ready)", "complete"), ""
    ),
]


def parity(document: Document, rtl_dir: Path, inputs: IntArray) -> ParityResult:
    return check_parity(
        document, rtl_dir, inputs, ("icarus",), corner_samples=0, stall=4, evidence_dir=rtl_dir / "evidence"
    )


def test_the_unchanged_network_passes(
    document: Document, inputs: IntArray, tmp_path: Path, require_tool: Callable[[str], str]
) -> None:
    require_tool("iverilog")
    emit(document, tmp_path)
    result = check_parity(document, tmp_path, inputs, ("icarus",), corner_samples=6, stall=4)
    assert result.raise_if_failed() is result


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_planted_fault_is_found_and_named(
    mutant: Mutant, document: Document, inputs: IntArray, tmp_path: Path, require_tool: Callable[[str], str]
) -> None:
    require_tool("iverilog")
    emit(document, tmp_path)
    path = tmp_path / mutant.file
    before = path.read_text(encoding="utf-8")
    path.write_text(mutant.change(before), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != before
    try:
        result = parity(document, tmp_path, inputs)
    except SimulationError as error:
        if mutant.where:
            raise AssertionError(f"expected a wrong integer in {mutant.where}") from error
        return  # the circuit hangs or loses samples
    assert result.status == "fail"
    found = result.mismatches[0]
    assert mutant.where in ("", found.layer_name), found.describe()


def test_a_wrong_weight_is_traced_to_its_neuron_and_step(
    document: Document, inputs: IntArray, tmp_path: Path, require_tool: Callable[[str], str]
) -> None:
    require_tool("iverilog")
    emit(document, tmp_path)
    plan = fold_plan(document.layers[2])
    path = tmp_path / "net_third_weights.v"
    text = path.read_text(encoding="utf-8")
    # the second word of the second group: neurons 2 and 3, step 1; bit 3 is the sign of neuron 2's first product there
    old = re.search(r"memory\[3\] = (\d+)'h(\w+);", text)
    assert old is not None
    path.write_text(
        text.replace(old[0], f"memory[3] = {old[1]}'h{int(old[2], 16) ^ (1 << plan.w_code_bits):x};"), encoding="utf-8"
    )
    found = parity(document, tmp_path, inputs).mismatches[0]
    assert (found.layer_name, found.neuron, found.cycle) == ("third", 2, 1)
    assert found.accumulator_expected != found.accumulator_actual
