// bitprop_compare: number source to bitstream.  Contract and reference: compare.py beside this file.
//
//   stream_bit = number < threshold,   threshold 0 .. 2**WIDTH
module bitprop_compare #(
    parameter WIDTH = 8
) (
    input  wire [WIDTH-1:0] number,
    input  wire [WIDTH:0]   threshold,
    output wire             stream_bit
);
    // [S1] compare
    assign stream_bit = {1'b0, number} < threshold;
endmodule
