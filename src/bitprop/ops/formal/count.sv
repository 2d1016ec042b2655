// Property of bitprop_count: the sum, one input after the other, of what each adds.  For all bits and signs.
module prove_count #(
    parameter INPUTS = 8,
    parameter ENCODING = 0,
    parameter WIDTH = 5
) (
    input wire clock
);
    (* anyseq *) wire [INPUTS-1:0] product_bits, negative;
    wire signed [WIDTH-1:0] contribution;

    bitprop_count #(.INPUTS(INPUTS), .ENCODING(ENCODING), .WIDTH(WIDTH)) dut (
        .product_bits(product_bits), .negative(negative), .contribution(contribution)
    );

    reg signed [WIDTH+1:0] sum;
    integer i;
    always @* begin
        sum = 0;
        for (i = 0; i < INPUTS; i = i + 1)
            case (ENCODING)
                0: sum = sum + (product_bits[i] ? 1 : 0);
                1: sum = sum + (product_bits[i] ? 1 : -1);
                // (p ^ neg) - neg
                default: sum = sum + (product_bits[i] == negative[i] ? 0 : product_bits[i] ? 1 : -1);
            endcase
        assert (contribution == sum);
        assert (contribution <= INPUTS && contribution >= (ENCODING == 0 ? 0 : -INPUTS));
    end
endmodule
