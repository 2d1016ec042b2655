// Property of bitprop_encode: threshold and sign stand for the representable value nearest to the input; a bipolar tie
// goes to the even threshold.  For all values.
module prove_encode #(
    parameter WIDTH = 8,
    parameter ENCODING = 0
) (
    input wire clock
);
    (* anyseq *) wire signed [WIDTH+1:0] value;
    wire [WIDTH:0] threshold;
    wire negative;

    bitprop_encode #(.WIDTH(WIDTH), .ENCODING(ENCODING)) dut (
        .value(value), .threshold(threshold), .negative(negative)
    );

    localparam signed [WIDTH+3:0] ONE = 1 << WIDTH;
    wire signed [WIDTH+3:0] wide = value;
    wire signed [WIDTH+3:0] k = $signed({3'b000, threshold});
    // what the stream stands for, and twice its distance from the value
    wire signed [WIDTH+3:0] decoded = ENCODING == 1 ? (k + k) - ONE : negative ? -k : k;
    always @* begin
        assert (k <= ONE);
        if (ENCODING != 2) assert (!negative);
        if (wide > ONE) assert (decoded == ONE);
        else if (wide < (ENCODING == 0 ? 0 : -ONE)) assert (decoded == (ENCODING == 0 ? 0 : -ONE));
        else if (ENCODING != 1) begin
            assert (decoded == wide);
            assert (negative == (wide < 0));
        end else if (decoded != wide) begin
            assert (decoded - wide == 1 || wide - decoded == 1);
            assert (!threshold[0]);
        end
    end
endmodule
