"""Wrong modules: the agreement grid must object to every one of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bitprop.ops import OPS, verilog_path
from helpers.op_grid import core_checks, first_difference
from helpers.simulate import simulate

MUTANTS: dict[str, tuple[str, str, str]] = {
    "lfsr wrong taps": ("lfsr", "POLYNOMIAL[WIDTH:1]", "POLYNOMIAL[WIDTH-1:0]"),
    "lfsr state not less one": ("lfsr", "state - 1'b1", "state"),
    "lfsr inverted feedback": ("lfsr", "= ^(state", "= ~^(state"),
    "lfsr enable before restart": ("lfsr", "if (restart) state", "if (restart & ~enable) state"),
    "sobol misses the first direction": ("sobol", "i >= 0", "i >= 1"),
    "sobol not scrambled": ("sobol", "state <= SEED", "state <= 0"),
    "sobol highest zero": ("sobol", "for (i = WIDTH - 2; i >= 0; i = i - 1)", "for (i = 0; i < WIDTH - 1; i = i + 1)"),
    "sobol index not restarted": ("sobol", "index <= 0;", "index <= index;"),
    "halton not reversed": ("halton", "index[WIDTH-1-i]", "index[i]"),
    "halton no guard bits": ("halton", "inverse = sum[SUM_BITS-1:8]", "inverse = sum[WIDTH-1:0]"),
    "halton digit two counts once": ("halton", "SUM_BITS] << 1", "SUM_BITS]"),
    "halton carries at three": ("halton", "carry = carry & index[2*i+1]", "carry = carry & (&index[2*i +: 2])"),
    "halton a digit short": ("halton", "reach < limit", "reach * 3 < limit"),
    "counter ignores stride": ("counter", "count + STRIDE", "count + 1'b1"),
    "counter ignores seed": ("counter", "count <= SEED", "count <= 0"),
    "counter ignores enable": ("counter", "else if (enable)", "else"),
    "compare less or equal": ("compare", "} < threshold", "} <= threshold"),
    "compare drops the top bit": ("compare", "{1'b0, number} < threshold", "number < threshold[WIDTH-1:0]"),
    "correlate less or equal": ("correlate", ") < $signed", ") <= $signed"),
    "correlate never mirrors": ("correlate", "NEGATIVE != 0", "NEGATIVE > 1"),
    "correlate negates arithmetically": ("correlate", "? ~activation_number", "? -activation_number"),
    "encode rounds half up": ("encode", "doubled[1] & doubled[0]", "doubled[0]"),
    "encode truncates": ("encode", " + {{WIDTH{1'b0}}, doubled[1] & doubled[0]}", ""),
    "encode does not saturate above": ("encode", "value > ONE ? ONE : value", "value"),
    "encode does not saturate below": ("encode", "value < LOW ? LOW : ", ""),
    "encode drops the sign": ("encode", "assign negative = clamped[WIDTH+1]", "assign negative = 1'b0"),
    "multiply drops the sign": ("multiply", "gated ^ negative", "gated"),
    "multiply signs every encoding": ("multiply", "ENCODING == 2 ?", "ENCODING != 3 ?"),
    "multiply XOR for XNOR": ("multiply", "~(x_bits ^ w_bits)", "(x_bits ^ w_bits)"),
    "multiply OR for AND": ("multiply", "x_bits & w_bits", "x_bits | w_bits"),
    "count without the negative offset": ("count", "positive - taken", "positive"),
    "count without the bipolar offset": ("count", " - INPUTS[WIDTH-1:0]", ""),
    "count bipolar not doubled": ("count", "(positive << 1)", "positive"),
    "count a bit short": ("count", "TALLY = $clog2(INPUTS + 1)", "TALLY = $clog2(INPUTS)"),
    "accumulate adds before it loads": ("accumulate", "if (load)", "if (load & ~enable)"),
    "accumulate ignores enable": ("accumulate", "else if (enable)", "else"),
    "accumulate drops the sign": ("accumulate", "{contribution[INPUT_WIDTH-1]}", "{1'b0}"),
    "requantise does not round": ("requantise", "(scaled + HALF)", "(scaled)"),
    "requantise rounds half down": ("requantise", "(scaled + HALF)", "(scaled + HALF - 1)"),
    "requantise shifts in zeros": ("requantise", "HALF) >>> SHIFT", "HALF) >> SHIFT"),
    "requantise drops the sign": ("requantise", "{acc[ACC_WIDTH-1]}", "{1'b0}"),
    "requantise wraps below": ("requantise", "rounded < LOWEST ? LOW : ", ""),
    "requantise wraps above": ("requantise", "rounded > HIGHEST ? HIGH : ", ""),
    "requantise compares unsigned": ("requantise", "rounded < LOWEST", "$unsigned(rounded) < $unsigned(LOWEST)"),
    "argmax last among equals": ("argmax", "> best", ">= best"),
    "argmax unsigned": ("argmax", "$signed(values[i*WIDTH +: WIDTH]) > best", "values[i*WIDTH +: WIDTH] > best"),
    "argmax minimum": ("argmax", "> best", "< best"),
}


def mutate(name: str) -> str:
    key, old, new = MUTANTS[name]
    text = verilog_path(key).read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{name}: expected {old!r} once in {key}.v, found it {text.count(old)} times"
    return text.replace(old, new)


@pytest.fixture(scope="module")
def objections(require_tool: Callable[[str], str]) -> dict[str, list[str]]:
    """Every mutant in one compilation: what the grid holds against each, and against an unchanged copy."""
    sources = {name: mutate(name) for name in MUTANTS}
    sources |= {key: verilog_path(key).read_text(encoding="utf-8") for key, _, _ in MUTANTS.values()}
    runs = []
    for name, source in sources.items():
        key = MUTANTS[name][0] if name in MUTANTS else name
        runs += [(name, check, replace(check.case, source=source)) for check in core_checks(7) if check.case.key == key]
    with tempfile.TemporaryDirectory() as folder:
        results = simulate([case for _, _, case in runs], Path(folder), iverilog=require_tool("iverilog"))
    found: dict[str, list[str]] = {name: [] for name in sources}
    for (name, check, _), got in zip(runs, results, strict=True):
        difference = first_difference(check, got)
        if difference is not None:
            found[name].append(difference)
    return found


@pytest.mark.parametrize("name", MUTANTS)
def test_grid_objects_to(name: str, objections: dict[str, list[str]]) -> None:
    assert objections[name], f"the agreement grid did not notice: {name}"


def test_every_operation_has_mutants_and_an_accepted_original(objections: dict[str, list[str]]) -> None:
    hardware = {key for key in OPS if OPS[key].module is not None}
    assert {key for key, _, _ in MUTANTS.values()} == hardware
    assert {key: objections[key] for key in hardware} == {key: [] for key in hardware}
