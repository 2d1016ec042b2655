"""What this installation consists of: versions, external tools, and which kernels compute the bit-true layers."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any

from bitprop import __version__, kernels
from bitprop.errors import BitpropError, SimulationError
from bitprop.toolchain import SIMULATORS
from bitprop.toolchain.iverilog import IVERILOG, VVP
from bitprop.toolchain.verilator import VERILATOR

__all__ = ["environment", "working_version"]

_PACKAGES = ("torch", "numpy", "pydantic", "lightning-fabric", "safetensors", "scikit-learn", "typer")
_PROGRAMS = {"icarus": (IVERILOG, VVP), "verilator": (VERILATOR,)}


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
        "tools": [_tool(name) for name in SIMULATORS],
        "kernels": kernels.describe(),
    }


def working_version(name: str) -> str:
    """The version line of a simulator that answers.

    Raises:
        ToolNotFoundError: it is not installed.
        ToolTimeoutError: it does not answer in time.
        SimulationError: it cannot be started, fails, or says nothing.
    """
    try:
        return SIMULATORS[name].version().splitlines()[0]
    except IndexError:
        raise SimulationError(f"expected a version from {name}, got nothing; check the installation") from None


def _tool(name: str) -> dict[str, Any]:
    try:
        for program in _PROGRAMS.get(name, ()):
            program.locate()
        version = working_version(name)
    except BitpropError as error:
        return {"name": name, "found": False, "version": None, "how_to_get": str(error)}
    return {"name": name, "found": True, "version": version, "how_to_get": ""}
