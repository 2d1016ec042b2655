"""Three front ends that must have nothing to say about a design: Verilator's lint, Yosys' check, and slang.

Each reads the files to synthesise, whole, from the top, and returns what it complains about.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bitprop._checks import check_choice, check_identifier
from bitprop.errors import SimulationError, ToolNotFoundError
from bitprop.toolchain._process import run_tool, scratch_folder, wheel_version
from bitprop.toolchain.verilator import VERILATOR, VerilatorSimulator
from bitprop.toolchain.yosys import YOSYS, tool_version, write_design

__all__ = ["LINTERS", "lint_design", "linter_versions"]

_SECONDS = 300.0

# All of slang's warnings but the conversions: vectors pack signed integers here by contract, and Verilator, which knows
# the range of $countones, looks after the widths.
_SLANG_OPTIONS = ("-Wextra", "-Wpedantic", "-Wno-width-trunc", "--std", "1800-2017")
_SLANG_PROGRAM = """
import sys
from pyslang.driver import Driver
driver = Driver()
driver.addStandardArgs()
if not driver.parseCommandLine(" ".join(["slang", *sys.argv[1:]])) or not driver.processOptions():
    sys.exit("slang does not accept its options")
driver.parseAllSources()
driver.runFullCompilation(True)
"""


def _verilator(folder: Path, top: str, files: Sequence[str]) -> str:
    command: list[str | Path] = [VERILATOR.locate(), "--lint-only", "-Wall", "-Wno-fatal", "--top-module", top, *files]
    return run_tool(command, cwd=folder, timeout=_SECONDS, merge=True, allowed_statuses=(0, 1))


def _yosys(folder: Path, top: str, files: Sequence[str]) -> str:
    commands = [f"read_verilog -sv {' '.join(files)}", f"hierarchy -check -top {top}", "proc", "check -assert"]
    # quiet: warnings and errors alone are printed
    command: list[str | Path] = [YOSYS.locate(), "-q", "-p", "; ".join(commands)]
    return run_tool(command, cwd=folder, timeout=_SECONDS, merge=True, allowed_statuses=(0, 1))


def _slang_version() -> str:
    version = wheel_version("pyslang")
    if version is None:
        raise ToolNotFoundError("expected the Python package pyslang, found none; install it (pip install pyslang)")
    return f"pyslang {version}"


def _slang(folder: Path, top: str, files: Sequence[str]) -> str:
    _slang_version()
    command = [sys.executable, "-c", _SLANG_PROGRAM, *_SLANG_OPTIONS, "--top", top, *files]
    return run_tool(command, cwd=folder, timeout=_SECONDS, merge=True)


LINTERS: dict[str, Callable[[Path, str, Sequence[str]], str]] = {
    "verilator": _verilator,
    "yosys": _yosys,
    "slang": _slang,
}
"""What reads a design in a folder and returns its complaints, by name."""


def linter_versions() -> dict[str, str]:
    """The version of each front end.

    Raises:
        ToolNotFoundError: one is not installed.
    """
    return {
        "verilator": VerilatorSimulator().version(),
        "yosys": tool_version(YOSYS, "-V"),
        "slang": _slang_version(),
    }


def lint_design(files: Mapping[str, bytes], top: str, linters: Sequence[str] = tuple(LINTERS)) -> dict[str, str]:
    """What front ends say about a design; empty for each that is content.

    Args:
        files: content by name, in reading order (:func:`~bitprop.toolchain.yosys.read_design`).
        top: top module.
        linters: names of :data:`LINTERS`.

    Raises:
        RangeError: an unknown linter, or a top that is no identifier.
        ToolNotFoundError: one is not installed.
        ToolTimeoutError: one did not finish in time.
        SimulationError: one broke.
        SynthesisError: a file name is not plain.
    """
    check_identifier("top", top)
    chosen = [check_choice("linter", name, tuple(LINTERS)) for name in linters]
    sources = [name for name in files if name.endswith((".v", ".sv"))]
    with scratch_folder() as folder:
        write_design(folder, files)
        try:
            said = {name: LINTERS[name](folder, top, sources) for name in chosen}
        except SimulationError as error:
            raise SimulationError(f"{top}: {error}") from error
    return {name: text.replace(str(folder), "").strip() for name, text in said.items()}
