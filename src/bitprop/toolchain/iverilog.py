"""Icarus Verilog: starts at once, simulates slowly; for tens of samples."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import ClassVar

from bitprop.toolchain._process import CHECK_INSTALLATION, Tool, reported_version, run_tool, scratch_folder
from bitprop.toolchain.simulator import AbstractSimulator, design_files

__all__ = ["IVERILOG", "VVP", "IcarusSimulator"]

IVERILOG = Tool("iverilog", "BITPROP_IVERILOG", "iverilog")
VVP = Tool("vvp", "BITPROP_VVP", "iverilog")

# A program that does not say its version by then hangs; even a cold disk answers in one.
_VERSION_SECONDS = 15


@functools.lru_cache(maxsize=8)
def _version_of(path: Path) -> str:
    with scratch_folder() as folder:
        text = run_tool([path, "-V"], cwd=folder, timeout=_VERSION_SECONDS, when_late=CHECK_INSTALLATION)
    return reported_version(path, text).removesuffix("()").strip()


class IcarusSimulator(AbstractSimulator):
    """``iverilog`` compiles, ``vvp`` runs."""

    name: ClassVar[str] = "icarus"

    def is_available(self) -> bool:
        return IVERILOG.is_available() and VVP.is_available()

    def version(self) -> str:
        return _version_of(IVERILOG.locate())

    def commands(self, name: str, folder: Path) -> tuple[list[str], list[str]]:
        files = [*design_files(name, folder), f"{name}_tb_clock.v"]
        options = ["-g2012", "-Wall", *(f"-D{macro}" for macro in self.defines)]
        build = [str(IVERILOG.locate()), *options, "-s", f"{name}_tb_clock", "-o", "design.vvp", *files]
        # -n: a stop is an end, so that nothing waits at an interactive prompt
        return build, [str(VVP.locate()), "-n", "design.vvp"]
