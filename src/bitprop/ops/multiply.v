// bitprop_multiply: one product bit per input.  Contract and reference: multiply.py beside this file.
//
//   ENCODING 0 unipolar: x AND w; 1 bipolar: x XNOR w; 2 sign_magnitude: (x AND w) XOR negative
module bitprop_multiply #(
    parameter INPUTS = 8,
    parameter ENCODING = 0
) (
    input  wire [INPUTS-1:0] x_bits,
    input  wire [INPUTS-1:0] w_bits,
    input  wire [INPUTS-1:0] negative,
    output wire [INPUTS-1:0] product_bits
);
    // [S1] gate
    wire [INPUTS-1:0] gated = ENCODING == 1 ? ~(x_bits ^ w_bits) : x_bits & w_bits;

    // [S2] sign
    assign product_bits = ENCODING == 2 ? gated ^ negative : gated;
endmodule
