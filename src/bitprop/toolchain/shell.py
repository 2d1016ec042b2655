"""What is put around a design so that it can be placed and its clock judged: ports of any width on four pins.

Every input of the design comes from a shift register, every output goes into a register of its own and from there into
another shift register, all on the design's clock.  So each path that the timing analysis sees starts and ends in a
register, as it would inside a larger system, and a layer of a thousand inputs needs no thousand pins.  The shell is
mapped apart from the design: it takes nothing away from it and its cells are not counted as the design's.
"""

from __future__ import annotations

import json
import time

from bitprop.errors import BitpropError, SynthesisError
from bitprop.toolchain._process import scratch_folder
from bitprop.toolchain.cache import ResultCache, cache_key
from bitprop.toolchain.yosys import YOSYS, Say, Synthesis, run_yosys, tool_version

__all__ = ["DESIGN", "SHELL", "serial_shell", "wrap"]

SHELL = "bitprop_shell"
"""Top module of a shell."""

DESIGN = "design"
"""Name of the design's instance inside the shell."""


def serial_shell(synthesis: Synthesis, clock: str = "clock") -> str:
    """Verilog of the shell of a design.

    Args:
        synthesis: the design.
        clock: its clock port.

    Raises:
        SynthesisError: it has no such port, or nothing else.
    """
    ports = {name: port for name, port in synthesis.ports.items() if name != clock}
    if clock not in synthesis.ports or not ports:
        raise SynthesisError(
            f"expected a design with a clock port {clock!r} and others, {synthesis.top} has {list(synthesis.ports)}; "
            "name its clock"
        )
    lines, widths = [], {"input": 0, "output": 0}
    for name, (direction, bits) in ports.items():
        if direction not in widths:
            raise SynthesisError(f"expected inputs and outputs only, {synthesis.top} has {direction} {name}; split it")
        vector = "inputs" if direction == "input" else "results"
        lines.append(f"        .{name}({vector}[{widths[direction]} +: {bits}])")
        widths[direction] += bits
    inputs, outputs = max(1, widths["input"]), max(1, widths["output"])
    connections = ",\n".join([f"        .{clock}(clock)", *lines])
    return f"""module {SHELL} (
    input  wire clock,
    input  wire shift,
    input  wire serial_in,
    output wire serial_out
);
    reg  [{inputs - 1}:0] inputs;
    wire [{outputs - 1}:0] results;
    reg  [{outputs - 1}:0] captured, leaving;

    always @(posedge clock) begin
        inputs <= {{inputs, serial_in}};
        captured <= results;
        leaving <= shift ? {{leaving, 1'b0}} : captured;
    end
    assign serial_out = leaving[{outputs - 1}];

    {synthesis.top} {DESIGN} (
{connections}
    );
endmodule
"""


def _stub(synthesis: Synthesis) -> str:
    """The design's module without a body."""
    ports = ", ".join(f"{way} wire [{bits - 1}:0] {name}" for name, (way, bits) in synthesis.ports.items())
    return f"(* blackbox *)\nmodule {synthesis.top} ({ports});\nendmodule\n"


def wrap(
    synthesis: Synthesis,
    shell: str | None = None,
    *,
    timeout: float = 3600.0,
    cache: ResultCache | None = None,
    say: Say | None = None,
) -> bytes:
    """A design inside a shell, as one flat netlist in Yosys's JSON, the top called :data:`SHELL`.

    Args:
        synthesis: the design.
        shell: Verilog of the module :data:`SHELL`, which holds the design; ``None`` takes :func:`serial_shell`.
        timeout: seconds for each step.
        cache: where results are kept.
        say: told what happens.

    Raises:
        ToolNotFoundError: Yosys is not installed.
        ToolTimeoutError: a step did not finish in time.
        SynthesisError: a step failed.
    """
    text = serial_shell(synthesis) if shell is None else shell
    part = synthesis.device
    tool = tool_version(YOSYS, "-V")
    mapping = [
        "read_verilog -sv stub.v shell.v",
        f"synth_{part.family} {' '.join(part.synthesise)} -top {SHELL}",
        "write_json shell.json",
    ]
    joining = ["read_json joined.json", f"hierarchy -top {SHELL}", "flatten", "opt_clean", "write_json wrapped.json"]
    key = cache_key(
        {
            "step": "wrap",
            "tool": tool,
            "commands": mapping + joining,
            "shell": text,
            "stub": _stub(synthesis),
            "netlist": synthesis.digest,
        }
    )
    stored = None if cache is None else cache.get(key)
    if stored is not None:
        return stored["netlist"]
    if say is not None:
        say(f"putting {synthesis.top} into its shell")
    stop = time.monotonic() + timeout
    with scratch_folder() as folder:
        (folder / "stub.v").write_text(_stub(synthesis), encoding="utf-8")
        (folder / "shell.v").write_text(text, encoding="utf-8")
        run_yosys(mapping, folder, timeout)
        try:
            outer, inner = json.loads((folder / "shell.json").read_bytes()), json.loads(synthesis.netlist)
            inner["modules"][synthesis.top]["attributes"].pop("top", None)
            outer["modules"] = {**outer["modules"], **inner["modules"]}
            (folder / "joined.json").write_text(json.dumps(outer), encoding="utf-8")
            run_yosys(joining, folder, max(1.0, stop - time.monotonic()))
            netlist = (folder / "wrapped.json").read_bytes()
        except BitpropError:
            raise
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise SynthesisError(
                f"expected {synthesis.top} in its shell as a netlist from {tool}, got none ({error}); run it again, or "
                "use another version of Yosys"
            ) from error
    if cache is not None:
        cache.keep(key, {"netlist": netlist})
    return netlist
