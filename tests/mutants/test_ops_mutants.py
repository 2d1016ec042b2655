"""Wrong modules: the agreement grid must object to every one of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bitprop.ops import OPS, verilog_path
from bitprop.verification.rtl_mutants import RTL_MUTANTS, mutated
from helpers.op_grid import core_checks, first_difference
from helpers.simulate import simulate

MUTANTS = {name: key for name, (key, _, _) in RTL_MUTANTS.items() if key in OPS}
"""The library's planted faults that are in an operation, and the operation."""


def mutate(name: str) -> str:
    return mutated(name, verilog_path(MUTANTS[name]).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def objections(require_tool: Callable[[str], str]) -> dict[str, list[str]]:
    """Every mutant in one compilation: what the grid holds against each, and against an unchanged copy."""
    sources = {name: mutate(name) for name in MUTANTS}
    sources |= {key: verilog_path(key).read_text(encoding="utf-8") for key in MUTANTS.values()}
    runs = []
    for name, source in sources.items():
        key = MUTANTS.get(name, name)
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
    assert set(MUTANTS.values()) == hardware
    assert {key: objections[key] for key in hardware} == {key: [] for key in hardware}
