"""The prover: an answer for each kind of question, and a clear error where there is none."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from bitprop.errors import RangeError, SimulationError, ToolNotFoundError
from bitprop.toolchain.symbiyosys import ProofTask, prove, prover_is_available

COUNTER = """
module top (input wire clock);
    reg [3:0] count = 0;
    always @(posedge clock) count <= count == 9 ? 0 : count + 1;
    always @* assert (count != BOUND);
endmodule
"""


def task(bound: int, mode: str = "bmc", depth: int = 8) -> ProofTask:
    return ProofTask("top", {"top.sv": COUNTER.replace("BOUND", str(bound))}, mode, depth)


@pytest.fixture(autouse=True)
def _prover() -> None:
    if not prover_is_available():
        if os.environ.get("BITPROP_REQUIRE_TOOLS") == "1":
            pytest.fail("the prover is not installed, and BITPROP_REQUIRE_TOOLS=1 asks for it")
        pytest.skip("the prover is not installed")


def test_each_answer() -> None:
    assert prove(task(10, "prove", 2)).status == "pass"
    assert prove(task(13, "prove", 2)).status == "unknown"  # 11, 12, 13 is a path, if not one from the start
    assert prove(task(7, depth=7)).status == "pass"  # it comes one cycle after the bound
    failed = prove(task(7))
    assert failed.status == "fail"
    assert "top.sv:5" in failed.detail
    assert "cycle 7" in failed.detail


def test_no_answer_in_time() -> None:
    outcome = prove(task(10, depth=1000), timeout=0.5)
    assert (outcome.status, outcome.detail) == ("timeout", "stopped after 0.5 s")


def test_a_design_that_cannot_be_read_is_an_error_with_its_line() -> None:
    with pytest.raises(SimulationError, match=r"correct what it complains about.*:\n(.*\n)*.*top.sv:2: ERROR"):
        prove(ProofTask("top", {"top.sv": "module top;\nwrong wrong wrong\nendmodule\n"}))


def test_a_task_is_checked() -> None:
    with pytest.raises(RangeError, match="mode"):
        ProofTask("top", {}, "live")
    with pytest.raises(RangeError, match="depth"):
        ProofTask("top", {}, "bmc", 0)


def test_a_missing_solver_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BITPROP_YICES", str(tmp_path / "nowhere"))
    assert not prover_is_available()
    with pytest.raises(ToolNotFoundError, match="BITPROP_YICES"):
        prove(task(7))


def test_a_prover_that_breaks_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "sby"
    program.write_text("#!/bin/sh\necho 'SBY [task] ERROR: out of memory'\nexit 16\n", encoding="ascii")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("BITPROP_SBY", str(program))
    with pytest.raises(SimulationError, match="out of memory"):
        prove(task(7))
