"""What this installation consists of: versions, external tools, and which kernels compute the bit-true layers."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
from collections.abc import Callable
from typing import Any

from bitprop import __version__, kernels
from bitprop.errors import BitpropError, ToolNotFoundError
from bitprop.toolchain import SIMULATORS
from bitprop.toolchain._process import wheel_version
from bitprop.toolchain.board import PACKERS
from bitprop.toolchain.iverilog import IVERILOG, VVP
from bitprop.toolchain.nextpnr import NEXTPNR
from bitprop.toolchain.yosys import YOSYS, tool_version

__all__ = ["environment", "working_version"]

_PACKAGES = ("torch", "numpy", "pydantic", "lightning-fabric", "safetensors", "scikit-learn", "typer")
_PROGRAMS = {"icarus": (IVERILOG, VVP)}
_FLOW = {
    "yosys": (YOSYS, "-V"),
    **{f"nextpnr-{family}": (program, "--version") for family, program in NEXTPNR.items()},
    **{f"bitstream-{family}": (program, "--version") for family, program in PACKERS.items()},
}


def environment() -> dict[str, Any]:
    """Versions, tools and kernels as plain fields."""
    versions = {"bitprop": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "versions": versions,
        "machine": f"{platform.system()} {platform.machine()}",
        "tools": [_found(name, functools.partial(_simulator_version, name)) for name in SIMULATORS],
        "synthesis": [_found(name, functools.partial(tool_version, *_FLOW[name])) for name in _FLOW],
        "benches": [_found("cocotb", _cocotb_version)],
        "kernels": kernels.describe(),
    }


def working_version(name: str) -> str:
    """The version line of a simulator that answers.

    Raises:
        ToolNotFoundError: it is not installed.
        ToolTimeoutError: it does not answer in time.
        SimulationError: it cannot be started, fails, or says nothing.
    """
    return SIMULATORS[name].version()


def _simulator_version(name: str) -> str:
    for program in _PROGRAMS.get(name, ()):
        program.locate()
    return working_version(name)


def _cocotb_version() -> str:
    version = wheel_version("cocotb")
    if version is None:
        raise ToolNotFoundError(
            "expected the Python package cocotb, found none; install it (pip install cocotb, or bitprop[hardware]); it "
            "runs with Icarus Verilog"
        )
    return f"cocotb {version}"


def _found(name: str, version_of: Callable[[], str]) -> dict[str, Any]:
    try:
        version = version_of()
    except BitpropError as error:
        return {"name": name, "found": False, "version": None, "how_to_get": str(error)}
    return {"name": name, "found": True, "version": version, "how_to_get": ""}
