// bitprop_counter: a ramp with a stride.  Contract and reference: counter.py beside this file.
//
//   number' = (number + STRIDE) mod 2**WIDTH
//
// restart loads SEED at a rising edge; number is R_0 from then on, and moves on at each edge with enable high.
module bitprop_counter #(
    parameter WIDTH = 8,
    parameter [WIDTH-1:0] SEED = 0,
    parameter [WIDTH-1:0] STRIDE = 1
) (
    input  wire             clock,
    input  wire             restart,
    input  wire             enable,
    output wire [WIDTH-1:0] number
);
    reg [WIDTH-1:0] count;

    // [S1] add
    always @(posedge clock)
        if (restart) count <= SEED;
        else if (enable) count <= count + STRIDE;

    // [S2] emit
    assign number = count;
endmodule
