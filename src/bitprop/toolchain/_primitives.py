"""What ECP5 primitives without a simulation model of Yosys's do, as Verilog: multiplier and block RAM."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bitprop.errors import SynthesisError

__all__ = ["BLOCK_RAM", "MULTIPLIER", "block_ram_model", "check_block_ram", "multiplier_model"]

MULTIPLIER = "MULT18X18D"
BLOCK_RAM = "DP16KD"

# how Yosys uses the block RAM; the model knows nothing else
_BLOCK_RAM_MODES = {
    "REGMODE_A": ("NOREG",),
    "REGMODE_B": ("NOREG",),
    "RESETMODE": ("SYNC", "ASYNC"),
    "CSDECODE_A": ("0b000",),
    "CSDECODE_B": ("0b000",),
    "CLKAMUX": ("CLKA",),
    "CLKBMUX": ("CLKB",),
    "WRITEMODE_A": ("NORMAL", "WRITETHROUGH", "READBEFOREWRITE"),
    "WRITEMODE_B": ("NORMAL", "WRITETHROUGH", "READBEFOREWRITE"),
}


def _ports(letter: str, bits: int) -> str:
    return ", ".join(f"{letter}{bit}" for bit in reversed(range(bits)))


def multiplier_model(connected: Iterable[str]) -> str:
    """The multiplier as Yosys uses it: no registers, signs by two inputs.

    Args:
        connected: names of the input ports that the netlist connects.
    """
    used = {"A": 18, "B": 18, "P": 36}
    known = {f"{letter}{bit}" for letter, bits in used.items() for bit in range(bits)} | {"SIGNEDA", "SIGNEDB"}
    others = sorted(set(connected) - known)
    return f"""module {MULTIPLIER} (
    input wire {_ports("A", 18)}, {_ports("B", 18)}, SIGNEDA, SIGNEDB{"".join(f", {name}" for name in others)},
    output wire {_ports("P", 36)}
);
    wire signed [18:0] a = {{SIGNEDA & A17, {_ports("A", 18)}}};
    wire signed [18:0] b = {{SIGNEDB & B17, {_ports("B", 18)}}};
    wire signed [37:0] product = a * b;
    assign {{{_ports("P", 36)}}} = product[35:0];
endmodule
"""


def check_block_ram(name: str, parameters: Mapping[str, str], connections: Mapping[str, Sequence[object]]) -> None:
    """Refuse a mode that :func:`block_ram_model` does not know, an asynchronous reset that is used among them.

    Args:
        name: the cell.
        parameters: its parameters.
        connections: nets of its ports, ``"0"``, ``"1"`` and ``"x"`` for constants.

    Raises:
        SynthesisError: another mode.
    """
    for parameter, known in _BLOCK_RAM_MODES.items():
        value = parameters.get(parameter, known[0]).strip()
        if value not in known:
            raise SynthesisError(
                f"expected block RAM {name} with {parameter} {' or '.join(known)}, got {value}; this use of it "
                "cannot be simulated: simulate the Verilog instead"
            )
    resets = [net for port in ("RSTA", "RSTB") for net in connections.get(port, ())]
    if parameters.get("RESETMODE", "SYNC").strip() == "ASYNC" and any(net not in ("0", "x") for net in resets):
        raise SynthesisError(
            f"expected block RAM {name} without an asynchronous reset, got one; it cannot be simulated: simulate the "
            "Verilog instead"
        )


def block_ram_model() -> str:
    """The block RAM as Yosys uses it: 1,024 words of 18 bits, two ports of 1 to 18 bits, or one of 36 to write or read.

    An address counts bits without the ninth of each byte: bit 4 chooses the word of a pair, bit 3 the byte.
    """
    rows = [f"{row:02X}" for row in range(64)]
    parameters = "\n".join(f"    parameter [319:0] INITVAL_{row} = 320'h0;" for row in rows)
    contents = ", ".join(f"INITVAL_{row}" for row in reversed(rows))
    ports = ",\n".join(
        f"    input wire {_ports(f'DI{port}', 18)}, {_ports(f'AD{port}', 14)},\n"
        f"    input wire CE{port}, OCE{port}, CLK{port}, WE{port}, RST{port}, {_ports(f'CS{port}', 3)},\n"
        f"    output wire {_ports(f'DO{port}', 18)}"
        for port in "AB"
    )
    return f"""module {BLOCK_RAM} (
{ports}
);
    parameter DATA_WIDTH_A = 18;
    parameter DATA_WIDTH_B = 18;
    parameter REGMODE_A = "NOREG";
    parameter REGMODE_B = "NOREG";
    parameter RESETMODE = "SYNC";
    parameter ASYNC_RESET_RELEASE = "SYNC";
    parameter CSDECODE_A = "0b000";
    parameter CSDECODE_B = "0b000";
    parameter CLKAMUX = "CLKA";
    parameter CLKBMUX = "CLKB";
    parameter WRITEMODE_A = "NORMAL";
    parameter WRITEMODE_B = "NORMAL";
    parameter GSR = "AUTO";
{parameters}

    localparam [20479:0] CONTENTS = {{{contents}}};
    reg [17:0] low [0:511];
    reg [17:0] high [0:511];
    integer i;
    initial
        for (i = 0; i < 512; i = i + 1) begin
            low[i] = CONTENTS[i*40 +: 18];
            high[i] = CONTENTS[i*40+20 +: 18];
        end
{"".join(_port_text(port) for port in "AB")}
    // 36 bits: the read port is B, and its lower half leaves through A
    reg [17:0] lower;
    initial lower = 0;
    always @(posedge CLKB) if (RSTB) lower <= 0; else if (CEB && DATA_WIDTH_B == 36) lower <= low[row_B];
    assign {{{_ports("DOA", 18)}}} = DATA_WIDTH_B == 36 ? lower : read_A;
    assign {{{_ports("DOB", 18)}}} = read_B;
endmodule
"""


def _port_text(port: str) -> str:
    """Writing and reading of one port."""
    return f"""
    wire [13:0] address_{port} = {{{_ports(f"AD{port}", 14)}}};
    wire [8:0] row_{port} = address_{port}[13:5];
    wire [4:0] shift_{port} = DATA_WIDTH_{port} >= 18 ? 0
        : (address_{port}[3] ? 9 : 0) + (DATA_WIDTH_{port} == 9 ? 0 : address_{port}[2:0] & ~(DATA_WIDTH_{port} - 1));
    wire [17:0] kept_{port} = DATA_WIDTH_{port} >= 18 ? 18'h3ffff : (18'd1 << DATA_WIDTH_{port}) - 18'd1;
    wire [17:0] data_{port} = {{{_ports(f"DI{port}", 18)}}} << shift_{port};
    wire [17:0] mask_{port} = DATA_WIDTH_{port} >= 18
        ? {{{{9{{AD{port}1}}}}, {{9{{AD{port}0}}}}}} : kept_{port} << shift_{port};
    wire [17:0] old_{port} = address_{port}[4] || DATA_WIDTH_{port} == 36 ? high[row_{port}] : low[row_{port}];
    wire [17:0] new_{port} = (old_{port} & ~mask_{port}) | (data_{port} & mask_{port});
    wire write_{port} = CE{port} && WE{port} && !RST{port};
    wire [17:0] read_old_{port} = (old_{port} >> shift_{port}) & kept_{port};
    wire [17:0] read_new_{port} = (new_{port} >> shift_{port}) & kept_{port};
    reg [17:0] read_{port};
    initial read_{port} = 0;
    always @(posedge CLK{port}) begin
        if (RST{port}) read_{port} <= 0;
        else if (CE{port} && !WE{port}) read_{port} <= read_old_{port};
        else if (CE{port} && WRITEMODE_{port} == "WRITETHROUGH") read_{port} <= read_new_{port};
        else if (CE{port} && WRITEMODE_{port} == "READBEFOREWRITE") read_{port} <= read_old_{port};
        if (write_{port} && DATA_WIDTH_{port} == 36) begin
            low[row_{port}] <= (low[row_{port}] & ~mask_{port}) | ({{{_ports("DIA", 18)}}} & mask_{port});
            high[row_{port}] <= (high[row_{port}] & {{{{9{{!AD{port}3}}}}, {{9{{!AD{port}2}}}}}})
                | ({{{_ports("DIB", 18)}}} & {{{{9{{AD{port}3}}}}, {{9{{AD{port}2}}}}}});
        end else if (write_{port} && address_{port}[4]) high[row_{port}] <= new_{port};
        else if (write_{port}) low[row_{port}] <= new_{port};
    end
"""
