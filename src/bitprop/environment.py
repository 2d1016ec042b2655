"""What this installation consists of: versions, external tools, and which kernels compute the bit-true layers."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any

from bitprop import __version__
from bitprop.errors import BitpropError
from bitprop.toolchain import SIMULATORS

__all__ = ["environment"]

_PACKAGES = ("torch", "numpy", "pydantic", "lightning-fabric", "safetensors", "scikit-learn", "typer")


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
        "kernels": "reference (NumPy and torch); no native kernels are built",
    }


def _tool(name: str) -> dict[str, Any]:
    try:
        version = SIMULATORS[name].version().splitlines()[0]
    except BitpropError as error:
        return {"name": name, "found": False, "version": None, "how_to_get": str(error)}
    return {"name": name, "found": True, "version": version, "how_to_get": ""}
