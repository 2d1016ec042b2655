"""Run operation modules in a simulator: many instances, one compilation.

A case is one instance with its parameters and the rows of its input ports.  Row by row the testbench applies the
inputs, raises the clock if the module has one, and records the outputs.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bitprop.ops import OPS, OpSpec, Port, verilog_path

Row = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Case:
    """One instance: operation key, parameters, stimuli; ``source`` replaces the shipped module text."""

    key: str
    parameters: Mapping[str, int]
    rows: Sequence[Row]
    source: str | None = None

    @property
    def spec(self) -> OpSpec:
        return OPS[self.key]

    def ports(self, direction: str) -> tuple[Port, ...]:
        return tuple(p for p in self.spec.ports if p.direction == direction and p.name != "clock")


def _case_module(index: int, case: Case, module: str) -> str:
    def slices(ports: tuple[Port, ...], vector: str) -> tuple[int, list[str]]:
        offset, out = 0, []
        for port in ports:
            bits = port.bits(case.parameters)
            out.append(f".{port.name}({vector}[{offset} +: {bits}])")
            offset += bits
        return offset, out

    in_bits, in_pins = slices(case.ports("input"), "stimulus")
    out_bits, out_pins = slices(case.ports("output"), "response")
    clocked = any(port.name == "clock" for port in case.spec.ports)
    pins = ", ".join(([".clock(clock)"] if clocked else []) + in_pins + out_pins)
    parameters = ", ".join(f".{name}({value})" for name, value in case.spec.literals(case.parameters).items())
    return f"""
module case_{index};
    reg clock;
    reg [{in_bits - 1}:0] stimuli [0:{len(case.rows) - 1}];
    reg [{in_bits - 1}:0] stimulus;
    wire [{out_bits - 1}:0] response;
    integer row, file;
    {module} #({parameters}) dut ({pins});
    initial begin
        $readmemh("case_{index}.in", stimuli);
        file = $fopen("case_{index}.out", "w");
        clock = 0;
        for (row = 0; row < {len(case.rows)}; row = row + 1) begin
            stimulus = stimuli[row];
            #1 clock = 1;
            #1 $fdisplay(file, "%h", response);
            clock = 0;
        end
        $fclose(file);
    end
endmodule
"""


def _pack(case: Case, row: Row) -> str:
    word, offset = 0, 0
    for port in case.ports("input"):
        bits = port.bits(case.parameters)
        word |= (row[port.name] % (1 << bits)) << offset
        offset += bits
    return f"{word:x}"


def _unpack(case: Case, text: str) -> dict[str, int | None]:
    ports = case.ports("output")
    if not all(c in "0123456789abcdef" for c in text):
        return dict.fromkeys((port.name for port in ports), None)  # not every bit is defined
    word, out = int(text, 16), {}
    for port in ports:
        bits = port.bits(case.parameters)
        value = word & ((1 << bits) - 1)
        word >>= bits
        out[port.name] = value - (1 << bits) if port.signed and value >> (bits - 1) else value
    return out


def simulate(
    cases: Sequence[Case], folder: Path, iverilog: str | None = None, verilator: str | None = None
) -> list[list[dict[str, int | None]]]:
    """Outputs of every row of every case; give the path of one simulator."""
    sources: dict[str, str] = {}
    modules = []
    for index, case in enumerate(cases):
        module = str(case.spec.module)
        if case.source is None:
            sources[case.key] = verilog_path(case.key).read_text(encoding="utf-8")
        else:
            renamed = f"{module}_{index}"
            sources[f"{case.key}_{index}"] = case.source.replace(f"module {module} ", f"module {renamed} ")
            module = renamed
        modules.append(_case_module(index, case, module))
        rows = "\n".join(_pack(case, row) for row in case.rows)
        (folder / f"case_{index}.in").write_text(rows + "\n", encoding="ascii")
    instances = "".join(f"    case_{index} c{index} ();\n" for index in range(len(cases)))
    text = "\n".join(sources.values()) + "\n".join(modules) + f"\nmodule top;\n{instances}endmodule\n"
    (folder / "top.v").write_text(text, encoding="utf-8")
    if iverilog is not None:
        vvp = os.environ.get("BITPROP_VVP") or "vvp"
        commands = [[iverilog, "-g2012", "-s", "top", "-o", "top.vvp", "top.v"], [vvp, "-n", "top.vvp"]]
    else:
        fast_to_build = "OPT_FAST=-O0 OPT_SLOW=-O0 OPT_GLOBAL=-O0 VM_PARALLEL_BUILDS=0"
        flags = ["--binary", "--timing", "-Wno-fatal", "-Wno-lint", "-Wno-style", "-O1"]
        commands = [
            # these come last on the compiler's command line, where -CFLAGS would be overruled
            [str(verilator), *flags, "--top-module", "top", "-MAKEFLAGS", fast_to_build, "-j", "1", "top.v"],
            ["./obj_dir/Vtop"],
        ]
    for command in commands:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, f"{command} failed:\n{done.stdout}{done.stderr}"
    out = []
    for index, case in enumerate(cases):
        lines = (folder / f"case_{index}.out").read_text(encoding="ascii").split()
        assert len(lines) == len(case.rows), f"{case.key}: expected {len(case.rows)} rows, got {len(lines)}"
        out.append([_unpack(case, line) for line in lines])
    return out
