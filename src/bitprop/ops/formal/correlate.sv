// Property of bitprop_correlate: the weight's number from THRESHOLD on; below it the activation's, or what is missing
// from it to 2**WIDTH - 1.  For all inputs.
module prove_correlate #(
    parameter WIDTH = 8,
    parameter [WIDTH:0] THRESHOLD = 0,
    parameter NEGATIVE = 0
) (
    input wire clock
);
    (* anyseq *) wire [WIDTH-1:0] activation_number, weight_number, selector_number;
    wire [WIDTH-1:0] number;

    bitprop_correlate #(.WIDTH(WIDTH), .THRESHOLD(THRESHOLD), .NEGATIVE(NEGATIVE)) dut (
        .activation_number(activation_number),
        .weight_number(weight_number),
        .selector_number(selector_number),
        .number(number)
    );

    always @*
        if ({1'b0, selector_number} >= THRESHOLD) assert (number == weight_number);
        else if (NEGATIVE == 0) assert (number == activation_number);
        else assert ({1'b0, number} + {1'b0, activation_number} == (1 << WIDTH) - 1);
endmodule
