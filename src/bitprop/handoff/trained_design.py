"""The trained design as a Verilog module of four constants, and its run in Icarus against the expected integers.

=========================  =====  ===================================================================
output                     width  meaning
=========================  =====  ===================================================================
selected_bitstream_length  32     L of the exported design, cycles
expected_length_q16        48     ``round(E[L] * 2**16)`` of the trained length probabilities
correlation_q16            32     ``c * 2**16``, signed; exact, since c is a multiple of ``2**-n``, n <= 16
encoding_flag              2      0 unipolar, 1 bipolar, 2 sign_magnitude
=========================  =====  ===================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bitprop._checks import check_integer
from bitprop.artifacts import evidence
from bitprop.errors import ArtifactError, ParityError, SimulationError
from bitprop.formats import encoding_of
from bitprop.toolchain import run_tool, scratch_folder
from bitprop.toolchain.iverilog import IVERILOG, VVP

__all__ = [
    "DESIGN_FILE",
    "ENCODING_FLAGS",
    "MODULE",
    "OUTPUTS",
    "PARITY_FILE",
    "PARITY_SCHEMA",
    "design_constants",
    "design_parity",
    "design_testbench",
    "design_verilog",
    "run_design",
]

MODULE = "stochastic_backprop_trained_design"
DESIGN_FILE = f"{MODULE}.v"
PARITY_FILE = f"{MODULE}_parity.json"
PARITY_SCHEMA = "bitprop.stochastic_backprop.trained_design_parity"
ENCODING_FLAGS = {"unipolar": 0, "bipolar": 1, "sign_magnitude": 2}
OUTPUTS: dict[str, tuple[int, bool]] = {
    "selected_bitstream_length": (32, False),
    "expected_length_q16": (48, False),
    "correlation_q16": (32, True),
    "encoding_flag": (2, False),
}
"""Width and signedness of each output."""

_ONE_Q16 = 1 << 16
_AGAIN = "make the evidence again, or use another version of Icarus Verilog"


def design_constants(length: int, expected_length: float, correlation: float, encoding: str) -> dict[str, int]:
    """The four integers.

    Raises:
        RangeError: an unknown encoding or a length out of range.
    """
    return {
        "selected_bitstream_length": check_integer("length", length, 1, (1 << 32) - 1),
        "expected_length_q16": round(expected_length * _ONE_Q16),
        "correlation_q16": round(correlation * _ONE_Q16),
        "encoding_flag": ENCODING_FLAGS[encoding_of(encoding).name],
    }


def _literal(value: int, width: int, signed: bool) -> str:
    return f"{'-' if value < 0 else ''}{width}'{'s' if signed else ''}d{abs(value)}"


def design_verilog(constants: Mapping[str, int]) -> str:
    """The module's text: plain Verilog-2001."""
    ports, assigns = [], []
    for name, (width, signed) in OUTPUTS.items():
        ports.append(f"    output wire {'signed ' if signed else ''}[{width - 1}:0] {name}")
        assigns.append(f"    assign {name} = {_literal(constants[name], width, signed)};\n")
    return (
        f"// {MODULE}: the trained stochastic design as constants.\n"
        "//\n"
        "//   selected_bitstream_length  cycles of a stream\n"
        "//   expected_length_q16        expected length of the trained probabilities, times 2**16\n"
        "//   correlation_q16            trained correlation (SCC), times 2**16\n"
        "//   encoding_flag              0 unipolar, 1 bipolar, 2 sign_magnitude\n"
        "//\n"
        "// Evidence: local simulation and executable HDL parity.  No hardware was measured.\n"
        f"module {MODULE} (\n" + ",\n".join(ports) + "\n);\n" + "".join(assigns) + "endmodule\n"
    )


def design_testbench() -> str:
    """A testbench that prints each output as ``name value``."""
    wires, connections, prints = "", [], ""
    for name, (width, signed) in OUTPUTS.items():
        wires += f"    wire {'signed ' if signed else ''}[{width - 1}:0] {name};\n"
        connections.append(f".{name}({name})")
        prints += f'        $display("{name} %0d", {name});\n'
    return (
        f"module {MODULE}_tb;\n{wires}    {MODULE} dut ({', '.join(connections)});\n"
        f"    initial begin\n        #1;\n{prints}        $finish;\n    end\nendmodule\n"
    )


def design_parity(constants: Mapping[str, int], design_sha256: str) -> dict[str, Any]:
    """What the module must print when it runs: the parity file's content."""
    return {
        **evidence(),
        "schema": PARITY_SCHEMA,
        "schema_version": "1.0",
        "module": MODULE,
        "design_file": DESIGN_FILE,
        "design_sha256": design_sha256,
        "expected": dict(constants),
        "outputs": {name: {"width": width, "signed": signed} for name, (width, signed) in OUTPUTS.items()},
        "encoding_flags": dict(ENCODING_FLAGS),
        "method": "compile with iverilog, run with vvp, compare each output as an integer",
    }


def run_design(verilog: str, expected: Mapping[str, int], *, timeout: float = 120.0) -> dict[str, int]:
    """Compile the module with ``iverilog``, run it with ``vvp``, compare every output.

    Args:
        verilog: the module's text.
        expected: integer of each output.
        timeout: seconds for each program.

    Returns:
        What it printed.

    Raises:
        ParityError: an output differs.
        ArtifactError: ``expected`` has other outputs.
        ToolNotFoundError: Icarus is not installed.
        SimulationError: it does not compile or prints something else.
        ToolTimeoutError: a program did not finish.
    """
    if set(expected) != set(OUTPUTS):
        raise ArtifactError(f"expected the outputs {', '.join(OUTPUTS)}, got {', '.join(sorted(expected))}")
    compiler, runner = IVERILOG.locate(), VVP.locate()
    with scratch_folder() as folder:
        (folder / DESIGN_FILE).write_text(verilog, encoding="utf-8")
        (folder / "tb.v").write_text(design_testbench(), encoding="utf-8")
        run_tool([compiler, "-o", "design.vvp", "-s", f"{MODULE}_tb", DESIGN_FILE, "tb.v"], cwd=folder, timeout=timeout)
        printed = run_tool([runner, "-n", "design.vvp"], cwd=folder, timeout=timeout)
    found: dict[str, int] = {}
    for line in printed.splitlines():
        name, _, value = line.partition(" ")
        if name in OUTPUTS:
            try:
                found[name] = int(value)
            except ValueError as error:
                raise SimulationError(f"expected an integer from {name}, got {value!r}; {_AGAIN}") from error
    if set(found) != set(OUTPUTS):
        raise SimulationError(
            f"expected {len(OUTPUTS)} outputs from {MODULE}, it printed {printed.strip()[-300:]!r}; {_AGAIN}"
        )
    wrong = [
        f"{name}: expected {expected[name]}, got {found[name]}" for name in OUTPUTS if found[name] != expected[name]
    ]
    if wrong:
        raise ParityError(f"expected {MODULE} to print its parity file's integers; {'; '.join(wrong)}")
    return found
