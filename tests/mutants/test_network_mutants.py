"""Planted faults in emitted Verilog: the parity check must object to each, and say where the fault lies."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from bitprop.errors import ParityError, SimulationError
from bitprop.formats import IntArray
from bitprop.graph.random import make_document, random_inputs
from bitprop.graph.spec import Document
from bitprop.hdl import emit
from bitprop.verification.parity import ParityResult, check_parity


@pytest.fixture(scope="module")
def document() -> Document:
    generator = np.random.default_rng(5)

    def layer(name: str, outputs: int, inputs: int, seed: int, output: dict[str, int | str]) -> dict[str, object]:
        return {
            "name": name,
            # not the LFSR's period, after which a source that nobody restarts would stand at its seed again
            "length": 29,
            "encoding": "sign_magnitude",
            "activation_source": {"kind": "lfsr", "width": 5, "seed": seed},
            "weight_source": {"kind": "lfsr", "width": 5, "seed": seed + 11, "polynomial": 0b110111},
            "correlation_raw": -9,
            "correlation_source": {"kind": "sobol", "width": 5, "seed": 0, "dimension": 3},
            "weights_raw": generator.integers(-32, 33, (outputs, inputs)),
            # equal biases: an input of zeros makes the logits tie
            "bias_raw": [3] * outputs,
            "output": output,
        }

    hidden = {"kind": "requantise", "multiplier": 21, "shift": 5, "low": -32, "high": 32}
    return make_document(
        "net",
        5,
        (-32, 32),
        [
            layer("first", 6, 8, 1, hidden),
            layer("middle", 5, 6, 4, hidden),
            layer("last", 4, 5, 9, {"kind": "logits"}),
        ],
    )


@pytest.fixture(scope="module")
def inputs(document: Document) -> IntArray:
    return np.concatenate((np.zeros((1, 8), dtype=np.int64), random_inputs(document, 11)))


def replace(old: str, new: str, count: int = 1) -> Callable[[str], str]:
    def change(text: str) -> str:
        changed, found = re.subn(old, new, text, count=count)
        assert found, f"{old!r} is not in the emitted text"
        assert changed != text
        return changed

    return change


def narrow_accumulators(text: str) -> str:
    """One bit less in every neuron's register, sign-extended where it is read."""
    width = int(re.search(r"bitprop_neuron #\(.*?\.WIDTH\((\d+)\)", text)[1])  # type: ignore[index]
    text = re.sub(r"(bitprop_neuron #\(.*?)\.WIDTH\(\d+\)", rf"\1.WIDTH({width - 1})", text)
    text = re.sub(rf"\.bias\((-?){width}'s", rf".bias(\g<1>{width - 1}'s", text)
    ports = iter(range(10**6))
    starts: list[str] = []

    def port(match: re.Match[str]) -> str:
        starts.append(match[1])
        return f".total(narrow_{next(ports)})"

    text = re.sub(r"\.total\(accumulators\[(\d+) \+: \d+\]\)", port, text)
    wires = "".join(
        f"    wire [{width - 2}:0] narrow_{o};\n"
        f"    assign accumulators[{start} +: {width}] = {{narrow_{o}[{width - 2}], narrow_{o}}};\n"
        for o, start in enumerate(starts)
    )
    declaration = re.search(r"    wire \[\d+:0\] accumulators;\n", text)
    assert declaration
    return text.replace(declaration[0], declaration[0] + wires)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A fault: in which file, what changes, and what the check must name."""

    name: str
    file: str
    change: Callable[[str], str]
    layer: str
    cycle: Callable[[int | None], bool]


def at(cycle: int | None) -> Callable[[int | None], bool]:
    return lambda found: found == cycle


def within(found: int | None) -> bool:
    return found is not None and found >= 1


def anywhere(found: int | None) -> bool:
    return True


MUTANTS = [
    Mutant("wrong_lfsr_tap", "net_first.v", replace(r"POLYNOMIAL\(6'h29\)", "POLYNOMIAL(6'h2b)"), "first", within),
    Mutant("wrong_lfsr_tap_deep", "net_last.v", replace(r"POLYNOMIAL\(6'h29\)", "POLYNOMIAL(6'h2b)"), "last", within),
    Mutant("wrong_seed", "net_middle.v", replace(r"SEED\(5'h4\)", "SEED(5'h5)"), "middle", within),
    Mutant(
        "threshold_off_by_one",
        "net_first_weights.v",
        lambda text: re.sub(
            r"(\.threshold\(6'd)(\d+)", lambda m: f"{m[1]}{int(m[2]) + (1 if int(m[2]) < 31 else -1)}", text, count=3
        ),
        "first",
        within,
    ),
    Mutant(
        "dropped_sign", "net_middle_weights.v", replace(r"(negative_2 = 6'h)\w+", r"\g<1>0"), "middle", within
    ),
    Mutant(
        "flipped_sign_bit", "net_last_weights.v", replace(r"(negative_0 = )(5'h\w+)", r"\1\2 ^ 5'h1"), "last", within
    ),
    Mutant(
        "weights_see_the_activation_number",
        "net_first.v",
        replace(r"\.number\(weight_stream_number\),\n        \.bits_0", ".number(activation_number),\n        .bits_0"),
        "first",
        within,
    ),
    Mutant(
        "activations_see_the_weight_number",
        "net_last.v",
        replace(r"\.number\(activation_number\),\n        \.bits", ".number(weight_number),\n        .bits"),
        "last",
        within,
    ),
    Mutant("correlation_not_mirrored", "net_middle.v", replace(r"NEGATIVE\(1\)", "NEGATIVE(0)"), "middle", within),
    Mutant("correlation_threshold", "net_first.v", replace(r"THRESHOLD\(6'd9\)", "THRESHOLD(6'd8)"), "first", within),
    Mutant("narrow_accumulator_first", "net_first.v", narrow_accumulators, "first", within),
    Mutant("narrow_accumulator_middle", "net_middle.v", narrow_accumulators, "middle", within),
    Mutant("narrow_accumulator_last", "net_last.v", narrow_accumulators, "last", within),
    Mutant("wrong_bias", "net_middle.v", replace(r"\.bias\((\d+)'sd3\)", r".bias(\1'sd4)"), "middle", at(0)),
    Mutant("wrong_shift", "net_first.v", replace(r"SHIFT\(5\)", "SHIFT(4)"), "first", at(None)),
    Mutant("wrong_multiplier", "net_middle.v", replace(r"16'd21", "16'd22"), "middle", at(None)),
    Mutant("wrong_clamp", "net_middle.v", replace(r"LOW\(-7'sd32\)", "LOW(7'sd0)"), "middle", at(None)),
    Mutant("no_rounding", "bitprop_requantise.v", replace(r"\(scaled \+ HALF\)", "(scaled)"), "first", at(None)),
    Mutant(
        "source_not_restarted", "net_first.v", replace(r"\.restart\(load\)", ".restart(reset)"), "first", anywhere
    ),
    Mutant(
        "source_never_restarted", "net_middle.v", replace(r"\.restart\(load\)", ".restart(1'b0)"), "middle", within
    ),
    Mutant(
        "output_register_held_too_long",
        "bitprop_stage.v",
        replace(r"\(!out_valid \|\| out_ready\)", "!out_valid"),
        "decision_cycle",
        at(None),
    ),
    Mutant("ties_to_the_highest", "bitprop_argmax.v", replace(r"> best", ">= best"), "decision", at(None)),
    Mutant(
        "swapped_weights", "net_last_weights.v",
        replace(r"(assign bits_1 = \{\s+)(stream_\d+), (stream_\d+)", r"\1\3, \2"), "last", within,
    ),
    Mutant("one_cycle_less", "net_last.v", replace(r"LENGTH\(29\)", "LENGTH(28)"), "last", anywhere),
    Mutant(
        "inputs_not_latched", "bitprop_input_bank.v", replace(r"\.threshold\(threshold\)", ".threshold(encoded)"),
        "first", anywhere,
    ),
]  # fmt: skip


def parity(document: Document, rtl_dir: Path, inputs: IntArray) -> ParityResult:
    return check_parity(document, rtl_dir, inputs, ("icarus",), corner_samples=6, evidence_dir=rtl_dir / "evidence")


def test_the_unchanged_network_passes(
    document: Document, inputs: IntArray, tmp_path: Path, require_tool: Callable[[str], str]
) -> None:
    require_tool("iverilog")
    emit(document, tmp_path)
    result = parity(document, tmp_path, inputs)
    assert result.raise_if_failed() is result
    assert result.mismatches == ()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_planted_fault_is_found_and_named(
    mutant: Mutant, document: Document, inputs: IntArray, tmp_path: Path, require_tool: Callable[[str], str]
) -> None:
    require_tool("iverilog")
    emit(document, tmp_path)
    path = tmp_path / mutant.file
    before = path.read_text(encoding="utf-8")
    path.write_text(mutant.change(before), encoding="utf-8")
    result = parity(document, tmp_path, inputs)
    assert result.status == "fail"
    found = result.mismatches[0]
    assert found.layer_name == mutant.layer, found.describe()
    assert mutant.cycle(found.cycle), found.describe()
    if found.cycle is not None:
        assert found.accumulator_expected != found.accumulator_actual
    with pytest.raises(ParityError, match=re.escape(f"{mutant.layer}")):
        result.raise_if_failed()


def test_a_circuit_that_hangs_is_an_error_and_no_pass(
    document: Document, inputs: IntArray, tmp_path: Path, require_tool: Callable[[str], str]
) -> None:
    require_tool("iverilog")
    emit(document, tmp_path)
    path = tmp_path / "bitprop_stage.v"
    path.write_text(path.read_text(encoding="utf-8").replace("remaining == 0", "1'b0"), encoding="utf-8")
    with pytest.raises(SimulationError, match="no decision in the last"):
        parity(document, tmp_path, inputs)


def test_the_command_in_the_message_shows_the_failure_again(
    document: Document, inputs: IntArray, tmp_path: Path, require_tool: Callable[[str], str]
) -> None:
    require_tool("iverilog")
    emit(document, tmp_path)
    path = tmp_path / "net_last.v"
    path.write_text(path.read_text(encoding="utf-8").replace("'sd3)", "'sd4)", 1), encoding="utf-8")
    found = parity(document, tmp_path, inputs).mismatches[0]
    command = ["/bin/sh", "-c", found.command]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert f"trace 0 0 {found.accumulator_actual} " in shown
    assert found.alone
    assert (found.accumulator_expected, found.accumulator_actual, found.cycle, found.neuron) == (3, 4, 0, 0)
