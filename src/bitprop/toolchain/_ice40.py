"""What the primitives of iCE40 do, as Verilog: tables, carries, flip-flops, block RAM, multiplier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bitprop.errors import SynthesisError

__all__ = ["ICE40_MODELS", "check_multiplier", "ice40_models"]

MULTIPLIER = "SB_MAC16"

_TABLE = """module SB_LUT4 (output wire O, input wire I0, I1, I2, I3);
    parameter [15:0] LUT_INIT = 16'h0;
    // one input after the other, so that an unknown one matters only where the table says so
    wire [7:0] upper = I3 ? LUT_INIT[15:8] : LUT_INIT[7:0];
    wire [3:0] middle = I2 ? upper[7:4] : upper[3:0];
    wire [1:0] lower = I1 ? middle[3:2] : middle[1:0];
    assign O = I0 ? lower[1] : lower[0];
endmodule
"""

_CARRY = """module SB_CARRY (output wire CO, input wire I0, I1, CI);
    assign CO = (I0 & I1) | (I0 & CI) | (I1 & CI);
endmodule
"""

# modes 0 to 3: words of 16, 8, 4 and 2 bits.  Bit j of a word lies in column j * STEP + choice, the choice being the
# address above the row, and comes and goes by pin j * STEP + PLACE.
_BLOCK_RAM = """module SB_RAM40_4K (
    output reg  [15:0] RDATA,
    input  wire        RCLK, RCLKE, RE,
    input  wire [10:0] RADDR,
    input  wire        WCLK, WCLKE, WE,
    input  wire [10:0] WADDR,
    input  wire [15:0] MASK, WDATA
);
    parameter WRITE_MODE = 0;
    parameter READ_MODE = 0;
INITIAL_PARAMETERS
    localparam [4095:0] CONTENTS = {INITIAL_NAMES};
    localparam W_STEP = 1 << WRITE_MODE;
    localparam R_STEP = 1 << READ_MODE;
    localparam W_PLACE = W_STEP > 1 ? W_STEP / 2 - 1 : 0;
    localparam R_PLACE = R_STEP > 1 ? R_STEP / 2 - 1 : 0;

    reg [15:0] memory [0:255];
    reg [15:0] row;
    reg [2:0]  choice;
    integer i, w, r;
    initial begin
        for (i = 0; i < 256; i = i + 1) memory[i] = CONTENTS[i*16 +: 16];
        row = 0;
        choice = 0;
    end

    always @(posedge WCLK)
        if (WE && WCLKE)
            for (w = 0; w < 16; w = w + 1)
                if (W_STEP == 1 ? !MASK[w] : w % W_STEP == (WADDR[10:8] & (W_STEP - 1)))
                    memory[WADDR[7:0]][w] <= WDATA[w / W_STEP * W_STEP + W_PLACE];

    always @(posedge RCLK)
        if (RE && RCLKE) begin
            row <= memory[RADDR[7:0]];
            choice <= RADDR[10:8] & (R_STEP - 1);
        end

    always @*
        for (r = 0; r < 16; r = r + 1)
            RDATA[r] = r % R_STEP == R_PLACE ? row[r / R_STEP * R_STEP + choice] : 1'b0;
endmodule
"""

_MULTIPLIER = """module SB_MAC16 (
    input  wire [15:0] A, B, C, D,
    input  wire        CLK, CE, AHOLD, BHOLD, CHOLD, DHOLD, IRSTTOP, IRSTBOT, ORSTTOP, ORSTBOT, OLOADTOP, OLOADBOT,
    input  wire        ADDSUBTOP, ADDSUBBOT, OHOLDTOP, OHOLDBOT, CI, ACCUMCI, SIGNEXTIN,
    output wire [31:0] O,
    output wire        CO, ACCUMCO, SIGNEXTOUT
);
PARAMETERS
    reg  [15:0] held_a, held_b, held_c, held_d;
    reg  [31:0] first, second;
    wire [15:0] a = A_REG != 0 ? held_a : A;
    wire [15:0] b = B_REG != 0 ? held_b : B;
    wire [31:0] added = {C_REG != 0 ? held_c : C, D_REG != 0 ? held_d : D};
    wire signed [16:0] wide_a = {A_SIGNED != 0 && a[15], a};
    wire signed [16:0] wide_b = {B_SIGNED != 0 && b[15], b};
    wire signed [33:0] exact = wide_a * wide_b;
    wire [31:0] partial = PIPELINE_16x16_MULT_REG1 != 0 ? first : exact[31:0];
    wire [31:0] product = PIPELINE_16x16_MULT_REG2 != 0 ? second : partial;
    always @(posedge CLK)
        if (CE) begin
            if (!AHOLD) held_a <= A;
            if (!BHOLD) held_b <= B;
            if (!CHOLD) held_c <= C;
            if (!DHOLD) held_d <= D;
            first <= exact[31:0];
            second <= partial;
        end
    assign O = TOPOUTPUT_SELECT == 3 ? product : ADDSUBTOP ? added - product : added + product;
    assign CO = 1'bx;
    assign ACCUMCO = 1'bx;
    assign SIGNEXTOUT = 1'bx;
endmodule
"""

# how Yosys uses the multiplier: registers before and behind it that nothing resets; the product alone, or the product
# added to C and D
_MULTIPLIER_MODES: Mapping[str, tuple[int, ...]] = {
    "NEG_TRIGGER": (0,),
    "A_REG": (0, 1),
    "B_REG": (0, 1),
    "C_REG": (0, 1),
    "D_REG": (0, 1),
    "TOP_8x8_MULT_REG": (0, 1),
    "BOT_8x8_MULT_REG": (0, 1),
    "PIPELINE_16x16_MULT_REG1": (0, 1),
    "PIPELINE_16x16_MULT_REG2": (0, 1),
    "TOPOUTPUT_SELECT": (0, 3),
    "TOPADDSUB_LOWERINPUT": (2,),
    "TOPADDSUB_UPPERINPUT": (1,),
    "TOPADDSUB_CARRYSELECT": (3,),
    "BOTOUTPUT_SELECT": (0, 3),
    "BOTADDSUB_LOWERINPUT": (2,),
    "BOTADDSUB_UPPERINPUT": (1,),
    "BOTADDSUB_CARRYSELECT": (0,),
    "MODE_8x8": (0,),
    "A_SIGNED": (0, 1),
    "B_SIGNED": (0, 1),
}
_ADDER = ("ADDSUB_LOWERINPUT", "ADDSUB_UPPERINPUT", "ADDSUB_CARRYSELECT")


def _flip_flop(enable: bool, kind: str, falling: bool) -> tuple[str, str]:
    """One of the twenty: with or without enable, with a synchronous (S) or asynchronous reset or set, either edge."""
    name = f"SB_DFF{'N' if falling else ''}{'E' if enable else ''}{kind}"
    ports = [*(["E"] if enable else []), *([kind[-1]] if kind else [])]
    edge = "negedge C" if falling else "posedge C"
    body = "Q <= D;"
    if kind:
        body = f"if ({kind[-1]}) Q <= 1'b{int(kind[-1] == 'S')}; else {body}"
    asynchronous = len(kind) == 1
    if asynchronous:
        edge += f" or posedge {kind}"
        body = body.replace("else ", "else if (E) ") if enable else body
    elif enable:
        body = f"if (E) begin {body} end"
    text = f"""module {name} (output reg Q, input wire C, D{"".join(f", {port}" for port in ports)});
    initial Q = 1'b0;
    always @({edge}) {body}
endmodule
"""
    return name, text


def _models() -> dict[str, str]:
    digits = [f"{row:X}" for row in range(16)]
    ram = _BLOCK_RAM.replace(
        "INITIAL_PARAMETERS", "\n".join(f"    parameter [255:0] INIT_{digit} = 256'h0;" for digit in digits)
    ).replace("INITIAL_NAMES", ", ".join(f"INIT_{digit}" for digit in reversed(digits)))
    multiplier = _MULTIPLIER.replace(
        "PARAMETERS", "\n".join(f"    parameter {name} = 0;" for name in _MULTIPLIER_MODES)
    )
    flip_flops = (
        _flip_flop(enable, kind, falling)
        for falling in (False, True)
        for enable in (False, True)
        for kind in ("", "SR", "R", "SS", "S")
    )
    return {
        "SB_LUT4": _TABLE,
        "SB_CARRY": _CARRY,
        "SB_RAM40_4K": ram,
        MULTIPLIER: multiplier,
        **dict(flip_flops),
    }


ICE40_MODELS: dict[str, str] = _models()
"""The model of each primitive by name."""


def check_multiplier(name: str, parameters: Mapping[str, str], connections: Mapping[str, Sequence[object]]) -> None:
    """Refuse a use of the multiplier that its model does not know.

    Args:
        name: the cell.
        parameters: its parameters, binary.
        connections: nets of its ports.

    Raises:
        SynthesisError: another use.
    """
    values = {key: int(text, 2) for key, text in parameters.items() if set(text) <= {"0", "1"}}
    alone = values.get("TOPOUTPUT_SELECT", 0) == 3
    for key, known in _MULTIPLIER_MODES.items():
        if alone and key.endswith(_ADDER):
            continue
        if values.get(key, 0) not in known:
            raise SynthesisError(
                f"expected multiplier {name} with {key} {' or '.join(map(str, known))}, got {parameters.get(key, 0)}; "
                "this use of it cannot be simulated: simulate the Verilog instead"
            )
    alike = (
        ("TOPOUTPUT_SELECT", "BOTOUTPUT_SELECT"),
        ("TOP_8x8_MULT_REG", "PIPELINE_16x16_MULT_REG1"),
        ("BOT_8x8_MULT_REG", "PIPELINE_16x16_MULT_REG1"),
    )
    halves = all(values.get(one, 0) == values.get(other, 0) for one, other in alike)
    resets = [net for port in ("IRSTTOP", "IRSTBOT") for net in connections.get(port, ())]
    if (
        not halves
        or connections.get("ADDSUBTOP") != connections.get("ADDSUBBOT")
        or any(net not in ("0", "x") for net in resets)
    ):
        raise SynthesisError(
            f"expected multiplier {name} with both halves used alike and without a reset, got another use; it cannot "
            "be simulated: simulate the Verilog instead"
        )


def ice40_models(cells: Mapping[str, Mapping[str, Any]]) -> str:
    """The models of the primitives that a netlist uses.

    Args:
        cells: the netlist's cells by name, as in Yosys's JSON.

    Raises:
        SynthesisError: a primitive, or a use of one, that has no model.
    """
    types = sorted({str(cell["type"]) for cell in cells.values()})
    unknown = [kind for kind in types if kind not in ICE40_MODELS]
    if unknown:
        raise SynthesisError(
            f"expected primitives that can be simulated, got {', '.join(unknown)}; simulate the Verilog instead"
        )
    for name, cell in cells.items():
        if cell["type"] == MULTIPLIER:
            check_multiplier(name, cell["parameters"], cell["connections"])
    return "".join(ICE40_MODELS[kind] for kind in types)
