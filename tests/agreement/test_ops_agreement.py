"""Reference and Verilog of every operation give the same integers, in two simulators."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bitprop.formats import ENCODINGS
from bitprop.ops import OPS
from helpers.op_grid import (
    Check,
    check_count,
    check_requantise,
    core_checks,
    first_difference,
    full_checks,
    generator,
    random_words,
    some_signed,
)
from helpers.simulate import simulate

HARDWARE = tuple(key for key in OPS if OPS[key].module is not None)


def differences(checks: Sequence[Check], folder: Path, **tool: str) -> list[str]:
    results = simulate([check.case for check in checks], folder, **tool)
    found = (first_difference(check, got) for check, got in zip(checks, results, strict=True))
    return [difference for difference in found if difference is not None]


@pytest.mark.parametrize("key", HARDWARE)
def test_icarus_agrees_on_the_full_grid(
    key: str, seed: int, tmp_path: Path, require_tool: Callable[[str], str]
) -> None:
    checks = [check for check in full_checks(seed) if check.case.key == key]
    assert len(checks) >= 5
    assert differences(checks, tmp_path, iverilog=require_tool("iverilog")) == []


def test_verilator_agrees_on_the_core_grid(seed: int, tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    checks = core_checks(seed)
    assert {check.case.key for check in checks} == set(HARDWARE)
    assert differences(checks, tmp_path, verilator=require_tool("verilator")) == []


@st.composite
def requantise_checks(draw: st.DrawFn) -> Check:
    acc_width = draw(st.integers(2, 48))
    width = draw(st.integers(3, 16))
    limit = 1 << (width + 1)
    low = draw(st.integers(-limit, limit - 1))
    high = draw(st.integers(low, limit - 1))
    multiplier, shift = draw(st.integers(1, 65535)), draw(st.integers(1, 40))
    half = 1 << (acc_width - 1)
    accs = draw(st.lists(st.integers(-half, half - 1), min_size=1, max_size=20))
    # and the accumulators around every place where the result changes: the bounds and zero
    around = [(bound << shift) // multiplier + step for bound in (low, high, 0) for step in (-1, 0, 1)]
    accs += [acc for acc in around if -half <= acc < half]
    return check_requantise(acc_width, width, multiplier, shift, low, high, accs)


@st.composite
def count_checks(draw: st.DrawFn) -> Check:
    inputs = draw(st.integers(1, 300))
    encoding = draw(st.sampled_from(sorted(ENCODINGS)))
    word = st.integers(0, (1 << inputs) - 1)
    rows = draw(st.lists(st.fixed_dictionaries({"product_bits": word, "negative": word}), min_size=1, max_size=10))
    return check_count(inputs, encoding, draw(st.integers(0, 3)), rows)


@settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(checks=st.lists(st.one_of(requantise_checks(), count_checks()), min_size=8, max_size=12))
def test_any_legal_parameters_agree(checks: list[Check], require_tool: Callable[[str], str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert differences(checks, Path(folder), iverilog=require_tool("iverilog")) == []


def test_widest_counter_agrees(seed: int, tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    rng = generator(seed)
    names = ("product_bits", "negative")
    checks = [check_count(4097, encoding, 0, random_words(names, 4097, 3, rng)) for encoding in ENCODINGS]
    assert differences(checks, tmp_path, iverilog=require_tool("iverilog")) == []


def test_first_difference_names_the_row(seed: int) -> None:
    check = check_requantise(8, 3, 1, 1, 0, 8, some_signed(8, 5, generator(seed)))
    right = [dict(row) for row in check.expected]
    assert first_difference(check, right) is None
    wrong = [*right[:3], {"value": right[3]["value"] + 1}, *right[4:]]
    difference = first_difference(check, wrong)
    assert difference is not None
    assert "row 3" in difference
    undefined = [{"value": None}, *right[1:]]
    assert first_difference(check, undefined) is not None
