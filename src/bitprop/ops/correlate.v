// bitprop_correlate: independent, shared or mirrored numbers, for a chosen SCC.  Contract and reference:
// correlate.py beside this file.
//
//   number = weight_number             if selector_number >= THRESHOLD
//            activation_number         otherwise, NEGATIVE = 0
//            ~activation_number        otherwise, NEGATIVE = 1
module bitprop_correlate #(
    parameter WIDTH = 8,
    parameter [WIDTH:0] THRESHOLD = 0,
    parameter NEGATIVE = 0
) (
    input  wire [WIDTH-1:0] activation_number,
    input  wire [WIDTH-1:0] weight_number,
    input  wire [WIDTH-1:0] selector_number,
    output wire [WIDTH-1:0] number
);
    // [S1] select: signed, because an unsigned comparison with a THRESHOLD of 0 is a lint warning
    wire shared = $signed({2'b00, selector_number}) < $signed({1'b0, THRESHOLD});

    // [S2] mirror: ~R is 2**WIDTH - 1 - R
    wire [WIDTH-1:0] mirrored = NEGATIVE != 0 ? ~activation_number : activation_number;

    // [S3] mix
    assign number = shared ? mirrored : weight_number;
endmodule
