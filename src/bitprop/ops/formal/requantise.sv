// Property of bitprop_requantise: its rule (rules/requantise.sv).  For all accumulators.
module prove_requantise #(
    parameter ACC_WIDTH = 16,
    parameter WIDTH = 8,
    parameter [15:0] MULTIPLIER = 1,
    parameter SHIFT = 1,
    parameter signed [WIDTH+1:0] LOW = 0,
    parameter signed [WIDTH+1:0] HIGH = {2'b01, {WIDTH{1'b0}}}
) (
    input wire clock
);
    (* anyseq *) wire signed [ACC_WIDTH-1:0] acc;
    wire signed [WIDTH+1:0] value;

    bitprop_requantise #(
        .ACC_WIDTH(ACC_WIDTH), .WIDTH(WIDTH), .MULTIPLIER(MULTIPLIER), .SHIFT(SHIFT), .LOW(LOW), .HIGH(HIGH)
    ) dut (.acc(acc), .value(value));

    rule_requantise #(
        .ACC_WIDTH(ACC_WIDTH), .WIDTH(WIDTH), .MULTIPLIER(MULTIPLIER), .SHIFT(SHIFT), .LOW(LOW), .HIGH(HIGH)
    ) rule (.there(1'b1), .acc(acc), .value(value));
endmodule
