"""Every operation module compiles without a warning for every legal kind of parameters."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bitprop.formats import ENCODINGS
from bitprop.ops import OPS, verilog_path
from helpers.op_grid import check_accumulate, check_argmax, check_count, check_requantise, core_checks, full_checks
from helpers.simulate import Case

HARDWARE = tuple(key for key in OPS if OPS[key].module is not None)


def cases_of(key: str, seed: int) -> list[Case]:
    """Every distinct set of parameters in the grids, and the largest of each."""
    row = {"load": 1, "bias": 0, "enable": 0, "contribution": 0}
    largest = [
        check_accumulate(48, 2, [row]),
        check_requantise(2, 16, 65535, 40, -(1 << 16), 1 << 16, [0]),
        check_requantise(48, 3, 1, 1, 0, 0, [0]),
        check_argmax(2, [[0] * 500]),
        *(check_count(65536, encoding, 14, [{"product_bits": 0, "negative": 0}]) for encoding in ENCODINGS),
    ]
    found = {}
    for check in (*core_checks(seed), *full_checks(seed), *largest):
        if check.case.key == key:
            found[tuple(check.case.parameters.items())] = check.case
    return list(found.values())


def wrapper(cases: list[Case]) -> str:
    """A top that brings every port of every instance out, so that it adds no warning of its own."""
    ports, instances = [], []
    for index, case in enumerate(cases):
        pins = []
        for port in case.spec.ports:
            signed = "signed " if port.signed else ""
            ports.append(f"    {port.direction} wire {signed}[{port.bits(case.parameters) - 1}:0] {port.name}_{index}")
            pins.append(f".{port.name}({port.name}_{index})")
        literals = ", ".join(f".{name}({value})" for name, value in case.spec.literals(case.parameters).items())
        instances.append(f"    {case.spec.module} #({literals}) i{index} ({', '.join(pins)});")
    return "module top (\n" + ",\n".join(ports) + "\n);\n" + "\n".join(instances) + "\nendmodule\n"


@pytest.mark.parametrize("key", HARDWARE)
def test_no_warning_for_legal_parameters(
    key: str, seed: int, tmp_path: Path, require_tool: Callable[[str], str]
) -> None:
    cases = cases_of(key, seed)
    assert len(cases) >= 5
    (tmp_path / "top.v").write_text(wrapper(cases), encoding="utf-8")
    # in a design the file is called as its module
    module = tmp_path / f"{OPS[key].module}.v"
    module.write_bytes(verilog_path(key).read_bytes())
    verilator = [require_tool("verilator"), "--lint-only", "-Wall", "--top-module", "top", "top.v", module.name]
    iverilog = [require_tool("iverilog"), "-g2012", "-Wall", "-s", "top", "-o", "out.vvp", "top.v", module.name]
    for command in (verilator, iverilog):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        assert done.stdout + done.stderr == ""
        assert done.returncode == 0
