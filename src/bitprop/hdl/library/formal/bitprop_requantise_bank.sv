// Property of bitprop_requantise_bank: every neuron's value from its own accumulator, by the rule of requantise.
// For all accumulators.
module prove_bitprop_requantise_bank #(
    parameter OUTPUTS = 3,
    parameter ACC_WIDTH = 6,
    parameter WIDTH = 3,
    parameter [15:0] MULTIPLIER = 1,
    parameter SHIFT = 1,
    parameter signed [WIDTH+1:0] LOW = 0,
    parameter signed [WIDTH+1:0] HIGH = {2'b01, {WIDTH{1'b0}}}
) (
    input wire clock
);
    (* anyseq *) wire [OUTPUTS*ACC_WIDTH-1:0] accumulators;
    wire [OUTPUTS*(WIDTH+2)-1:0] values;

    bitprop_requantise_bank #(
        .OUTPUTS(OUTPUTS), .ACC_WIDTH(ACC_WIDTH), .WIDTH(WIDTH), .MULTIPLIER(MULTIPLIER), .SHIFT(SHIFT), .LOW(LOW),
        .HIGH(HIGH)
    ) dut (.accumulators(accumulators), .values(values));

    genvar o;
    generate
        for (o = 0; o < OUTPUTS; o = o + 1) begin : neuron
            rule_requantise #(
                .ACC_WIDTH(ACC_WIDTH), .WIDTH(WIDTH), .MULTIPLIER(MULTIPLIER), .SHIFT(SHIFT), .LOW(LOW), .HIGH(HIGH)
            ) rule (
                .there(1'b1), .acc(accumulators[o*ACC_WIDTH +: ACC_WIDTH]), .value(values[o*(WIDTH+2) +: WIDTH+2])
            );
        end
    endgenerate
endmodule
