// bitprop_encode: value integer to stream threshold and sign.  Contract and reference: encode.py beside this file.
//
//   ENCODING 0 unipolar, 1 bipolar, 2 sign_magnitude; ONE = 2**WIDTH
module bitprop_encode #(
    parameter WIDTH = 8,
    parameter ENCODING = 0
) (
    input  wire signed [WIDTH+1:0] value,
    output wire        [WIDTH:0]   threshold,
    output wire                    negative
);
    localparam signed [WIDTH+1:0] ONE = {2'b01, {WIDTH{1'b0}}};
    localparam signed [WIDTH+1:0] LOW = ENCODING == 0 ? {(WIDTH+2){1'b0}} : {2'b11, {WIDTH{1'b0}}};

    // [S1] encode
    wire signed [WIDTH+1:0] clamped = value < LOW ? LOW : value > ONE ? ONE : value;
    generate
        if (ENCODING == 1) begin : bipolar
            // half of an odd number is a tie: round to even
            wire [WIDTH+1:0] doubled = clamped + ONE;
            assign threshold = doubled[WIDTH+1:1] + {{WIDTH{1'b0}}, doubled[1] & doubled[0]};
            assign negative = 1'b0;
        end else begin : magnitude
            // never negative for unipolar, whose low bound is 0
            assign negative = clamped[WIDTH+1];
            assign threshold = negative ? -clamped[WIDTH:0] : clamped[WIDTH:0];
        end
    endgenerate
endmodule
