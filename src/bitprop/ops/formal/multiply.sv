// Property of bitprop_multiply: each bit by its truth table, and no bit depends on another input.  For all bits.
module prove_multiply #(
    parameter INPUTS = 8,
    parameter ENCODING = 0
) (
    input wire clock
);
    (* anyseq *) wire [INPUTS-1:0] x_bits, w_bits, negative;
    wire [INPUTS-1:0] product_bits;

    bitprop_multiply #(.INPUTS(INPUTS), .ENCODING(ENCODING)) dut (
        .x_bits(x_bits), .w_bits(w_bits), .negative(negative), .product_bits(product_bits)
    );

    integer i;
    always @*
        for (i = 0; i < INPUTS; i = i + 1)
            case (ENCODING)
                0: assert (product_bits[i] == (x_bits[i] && w_bits[i]));
                1: assert (product_bits[i] == (x_bits[i] == w_bits[i]));
                default: assert (product_bits[i] == ((x_bits[i] && w_bits[i]) != negative[i]));
            endcase
endmodule
