"""Verilator: builds for some seconds, then simulates fast; for whole data sets."""

from __future__ import annotations

import functools
from pathlib import Path

from bitprop.toolchain._process import Tool, run_tool, scratch_folder
from bitprop.toolchain.simulator import AbstractSimulator, design_files

__all__ = ["VERILATOR", "VerilatorSimulator"]

VERILATOR = Tool("verilator", "BITPROP_VERILATOR", "verilator")

_BUILD_JOBS = 2

# A program that does not say its version by then hangs; even a cold disk answers in one.
_VERSION_SECONDS = 15


@functools.lru_cache(maxsize=8)
def _version_of(path: Path) -> str:
    with scratch_folder() as folder:
        return run_tool([path, "--version"], cwd=folder, timeout=_VERSION_SECONDS).strip()


class VerilatorSimulator(AbstractSimulator):
    """``verilator --cc --exe --build`` with a small C++ main that toggles the clock."""

    name = "verilator"

    def is_available(self) -> bool:
        return VERILATOR.is_available()

    def version(self) -> str:
        return _version_of(VERILATOR.locate())

    def commands(self, name: str, folder: Path) -> tuple[list[str], list[str]]:
        build = [
            str(VERILATOR.locate()),
            "--cc",
            "--exe",
            "--build",
            "-j",
            str(_BUILD_JOBS),
            "-O3",
            "--x-assign",
            "fast",
            "--x-initial",
            "fast",
            "-Wno-fatal",
            # many files of moderate size: the C++ compiler's time grows faster than a file does, and make has two jobs
            "--output-split",
            "5000",
            "-MAKEFLAGS",
            "OPT_FAST=-O1 OPT_SLOW=-O0 OPT_GLOBAL=-O0",
            "--top-module",
            f"{name}_tb",
            "--prefix",
            "Vtb",
            *design_files(name, folder),
            "verilator_main.cpp",
        ]
        return build, ["./obj_dir/Vtb"]
