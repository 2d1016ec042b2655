// Property of bitprop_requantise_bank: every neuron's value from its own accumulator, by the inequality of requantise.
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
    localparam WIDE = ACC_WIDTH + SHIFT + 24;

    (* anyseq *) wire [OUTPUTS*ACC_WIDTH-1:0] accumulators;
    wire [OUTPUTS*(WIDTH+2)-1:0] values;

    bitprop_requantise_bank #(
        .OUTPUTS(OUTPUTS), .ACC_WIDTH(ACC_WIDTH), .WIDTH(WIDTH), .MULTIPLIER(MULTIPLIER), .SHIFT(SHIFT), .LOW(LOW),
        .HIGH(HIGH)
    ) dut (.accumulators(accumulators), .values(values));

    localparam signed [WIDE-1:0] UNIT = {{(WIDE-1){1'b0}}, 1'b1} << SHIFT;
    localparam signed [WIDE-1:0] FACTOR = {{(WIDE-16){1'b0}}, MULTIPLIER};
    genvar o;
    generate
        for (o = 0; o < OUTPUTS; o = o + 1) begin : neuron
            wire signed [WIDE-1:0] acc = $signed(accumulators[o*ACC_WIDTH +: ACC_WIDTH]);
            wire signed [WIDE-1:0] given = $signed(values[o*(WIDTH+2) +: WIDTH+2]);
            wire signed [WIDE-1:0] total = acc * FACTOR + UNIT / 2;
            always @* begin
                assert (given >= LOW && given <= HIGH);
                if (given != LOW) assert (given * UNIT <= total);
                if (given != HIGH) assert (total < (given + 1) * UNIT);
            end
        end
    endgenerate
endmodule
