// bitprop_count: a neuron's contribution of one cycle.  Contract and reference: count.py beside this file.
//
//   ENCODING 0 unipolar: ones; 1 bipolar: 2 * ones - INPUTS; 2 sign_magnitude: ones - popcount(negative)
//
// WIDTH is at least $clog2(INPUTS + 1) + 1.
module bitprop_count #(
    parameter INPUTS = 8,
    parameter ENCODING = 0,
    parameter WIDTH = 5
) (
    input  wire        [INPUTS-1:0] product_bits,
    input  wire        [INPUTS-1:0] negative,
    output wire signed [WIDTH-1:0]  contribution
);
    localparam TALLY = $clog2(INPUTS + 1);

    // [S1] count
    wire [TALLY-1:0] ones = $countones(product_bits);

    // [S2] offset: modulo 2**WIDTH, which two's complement makes exact
    wire [TALLY-1:0] signs = $countones(negative);
    wire [WIDTH-1:0] positive = {{(WIDTH-TALLY){1'b0}}, ones};
    wire [WIDTH-1:0] taken = {{(WIDTH-TALLY){1'b0}}, signs};
    assign contribution = ENCODING == 1 ? (positive << 1) - INPUTS[WIDTH-1:0]
                        : ENCODING == 2 ? positive - taken
                        : positive;
endmodule
