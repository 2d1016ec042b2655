"""What is installed: every field, and a line of advice for every program that is missing or does not work."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import bitprop.environment
from bitprop import __version__
from bitprop.environment import environment, working_version
from bitprop.errors import SimulationError, ToolNotFoundError, ToolTimeoutError
from bitprop.toolchain import SIMULATORS, IcarusSimulator


def test_fields() -> None:
    found = environment()
    assert set(found) == {"versions", "machine", "tools", "synthesis", "benches", "kernels"}
    assert found["versions"]["bitprop"] == __version__
    assert found["versions"]["torch"] == torch.__version__
    assert all(isinstance(text, str) and text for text in found["versions"].values())
    assert [tool["name"] for tool in found["tools"]] == list(SIMULATORS)
    flow = ["yosys", "nextpnr-ecp5", "nextpnr-ice40", "bitstream-ecp5", "bitstream-ice40"]
    assert [tool["name"] for tool in found["synthesis"]] == flow
    for tool in found["tools"] + found["synthesis"] + found["benches"]:
        assert set(tool) == {"name", "found", "version", "how_to_get"}
        assert bool(tool["version"]) == tool["found"] == (not tool["how_to_get"])
    assert json.loads(json.dumps(found)) == found


def test_a_package_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bitprop.environment, "_PACKAGES", ("numpy", "bitprop-nonsense"))
    assert environment()["versions"]["bitprop-nonsense"] == "not installed"


def test_half_a_simulator_is_none(monkeypatch: pytest.MonkeyPatch, require_tool: Callable[[str], str]) -> None:
    require_tool("iverilog")
    monkeypatch.setenv("BITPROP_VVP", "/nonexistent/vvp")
    icarus = environment()["tools"][0]
    assert not icarus["found"]
    assert "BITPROP_VVP" in icarus["how_to_get"]
    monkeypatch.delenv("BITPROP_VVP")
    assert environment()["tools"][0]["found"]


@pytest.mark.parametrize("error", [ToolNotFoundError("get it"), ToolTimeoutError("too slow"), SimulationError("died")])
def test_advice_is_what_the_error_says(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def version(_: IcarusSimulator) -> str:
        raise error

    monkeypatch.setattr(IcarusSimulator, "version", version)
    monkeypatch.setattr(bitprop.environment, "_PROGRAMS", {})
    assert environment()["tools"][0] == {
        "name": "icarus",
        "found": False,
        "version": None,
        "how_to_get": str(error),
    }


def test_a_program_that_says_nothing_has_no_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\nexit 0\n", encoding="ascii")
    silent.chmod(0o755)
    for variable in ("BITPROP_IVERILOG", "BITPROP_VVP", "BITPROP_VERILATOR"):
        monkeypatch.setenv(variable, str(silent))
    for name in ("icarus", "verilator"):
        with pytest.raises(SimulationError, match="nothing"):
            working_version(name)
