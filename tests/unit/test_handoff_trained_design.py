"""The trained-design module: its constants, its text, and its run against the expected integers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bitprop.errors import ArtifactError, ParityError, RangeError, SimulationError, ToolNotFoundError
from bitprop.handoff.trained_design import OUTPUTS, design_constants, design_parity, design_verilog, run_design

CORNERS = [
    (64, 85.4, 0.6171875, "sign_magnitude"),
    (1, 1.0, -1.0, "unipolar"),
    (65536, 65536.0, 1.0, "bipolar"),
    ((1 << 32) - 1, float((1 << 32) - 1), -1 / 65536, "bipolar"),
    (8, 7.999999, 0.0, "unipolar"),
]


@pytest.mark.parametrize(("length", "expected", "correlation", "encoding"), CORNERS)
def test_what_is_written_is_what_runs(
    length: int, expected: float, correlation: float, encoding: str, require_tool: Callable[[str], str]
) -> None:
    require_tool("iverilog")
    constants = design_constants(length, expected, correlation, encoding)
    assert run_design(design_verilog(constants), constants) == constants
    assert constants["correlation_q16"] == correlation * 65536


@pytest.mark.parametrize("name", OUTPUTS)
def test_one_wrong_constant_is_found(name: str, require_tool: Callable[[str], str]) -> None:
    require_tool("iverilog")
    constants = design_constants(*CORNERS[0])
    wrong = {**constants, name: constants[name] - 1}
    with pytest.raises(ParityError, match=f"{name}: expected {constants[name]}, got {constants[name] - 1}"):
        run_design(design_verilog(wrong), constants)


def test_what_does_not_compile_or_print(require_tool: Callable[[str], str]) -> None:
    require_tool("iverilog")
    constants = design_constants(*CORNERS[0])
    text = design_verilog(constants)
    with pytest.raises(SimulationError):
        run_design("module nothing", constants)
    with pytest.raises(SimulationError):
        run_design(text.replace("32'd64", "32'bx"), constants)
    with pytest.raises(ArtifactError):
        run_design(text, {"encoding_flag": 0})


def test_no_simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITPROP_VVP", "/nonexistent")
    with pytest.raises(ToolNotFoundError, match="BITPROP_VVP"):
        run_design("", design_constants(*CORNERS[0]))


def test_unknown_encoding() -> None:
    with pytest.raises(RangeError):
        design_constants(64, 64.0, 0.0, "ternary")


def test_the_parity_file_says_how_to_read_it() -> None:
    fields = design_parity(design_constants(*CORNERS[0]), "0" * 64)
    assert set(fields["expected"]) == set(fields["outputs"]) == set(OUTPUTS)
    assert fields["hardware_measurement_claimed"] is False
