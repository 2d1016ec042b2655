// Property of bitprop_compare: the bit is one exactly when the threshold, less the number, is positive.  For all inputs.
module prove_compare #(
    parameter WIDTH = 8
) (
    input wire clock
);
    (* anyseq *) wire [WIDTH-1:0] number;
    (* anyseq *) wire [WIDTH:0] threshold;
    wire stream_bit;

    bitprop_compare #(.WIDTH(WIDTH)) dut (.number(number), .threshold(threshold), .stream_bit(stream_bit));

    wire signed [WIDTH+2:0] difference = $signed({2'b00, threshold}) - $signed({3'b000, number});
    always @* assert (stream_bit == (difference > 0));
endmodule
