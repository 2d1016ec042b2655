// Property of bitprop_lfsr: its period is 2**WIDTH - 1 exactly: the seed's number comes back then, and not before.
// Bounded: restarted once, always enabled, 2**WIDTH + 1 steps.
module prove_lfsr_period #(
    parameter WIDTH = 8,
    parameter [WIDTH:0] POLYNOMIAL = 9'h171,
    parameter [WIDTH-1:0] SEED = 1
) (
    input wire clock
);
    reg [WIDTH:0] step = 0;
    always @(posedge clock) step <= step + 1'b1;

    wire [WIDTH-1:0] number;
    bitprop_lfsr #(.WIDTH(WIDTH), .POLYNOMIAL(POLYNOMIAL), .SEED(SEED)) dut (
        .clock(clock), .restart(step == 0), .enable(1'b1), .number(number)
    );

    // number is R_(step - 1)
    always @*
        if (step == 1 || step == (1 << WIDTH)) assert (number == SEED - 1'b1);
        else if (step > 1 && step < (1 << WIDTH)) assert (number != SEED - 1'b1);
endmodule
