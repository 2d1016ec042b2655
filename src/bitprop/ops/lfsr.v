// bitprop_lfsr: maximal-length Fibonacci LFSR, less one.  Contract and reference: lfsr.py beside this file.
//
//   state' = {state << 1, parity(state & (POLYNOMIAL >> 1))},  number = state - 1
//
// restart loads SEED at a rising edge; number is R_0 from then on, and moves on at each edge with enable high.
module bitprop_lfsr #(
    parameter WIDTH = 8,
    parameter [WIDTH:0] POLYNOMIAL = 9'h171,
    parameter [WIDTH-1:0] SEED = 1
) (
    input  wire             clock,
    input  wire             restart,
    input  wire             enable,
    output wire [WIDTH-1:0] number
);
    reg [WIDTH-1:0] state;

    // [S1] tap: bit i of the state is the coefficient of x**(i+1)
    wire feedback = ^(state & POLYNOMIAL[WIDTH:1]);

    // [S2] shift
    always @(posedge clock)
        if (restart) state <= SEED;
        else if (enable) state <= {state[WIDTH-2:0], feedback};

    // [S3] emit
    assign number = state - 1'b1;
endmodule
