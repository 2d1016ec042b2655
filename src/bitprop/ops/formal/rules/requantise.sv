// The rule of requantise, without a shift: with total = acc * MULTIPLIER + 2**(SHIFT-1), value is the integer with
// value * 2**SHIFT <= total < (value + 1) * 2**SHIFT where that lies between LOW and HIGH, else the bound that is nearer.
module rule_requantise #(
    parameter ACC_WIDTH = 16,
    parameter WIDTH = 8,
    parameter [15:0] MULTIPLIER = 1,
    parameter SHIFT = 1,
    parameter signed [WIDTH+1:0] LOW = 0,
    parameter signed [WIDTH+1:0] HIGH = {2'b01, {WIDTH{1'b0}}}
) (
    input wire                        there,
    input wire signed [ACC_WIDTH-1:0] acc,
    input wire signed [WIDTH+1:0]     value
);
    localparam WIDE = (ACC_WIDTH + 17 > WIDTH + SHIFT ? ACC_WIDTH + 17 : WIDTH + SHIFT) + 4;
    localparam signed [WIDE-1:0] UNIT = {{(WIDE-1){1'b0}}, 1'b1} << SHIFT;
    localparam signed [WIDE-1:0] FACTOR = {{(WIDE-16){1'b0}}, MULTIPLIER};

    wire signed [WIDE-1:0] accumulator = acc;
    wire signed [WIDE-1:0] total = accumulator * FACTOR + UNIT / 2;
    wire signed [WIDE-1:0] given = value;
    always @*
        if (there) begin
            assert (value >= LOW && value <= HIGH);
            // too large a value would be clamped from above only, too small a one from below only
            if (value != LOW) assert (given * UNIT <= total);
            if (value != HIGH) assert (total < (given + 1) * UNIT);
        end
endmodule
