// bitprop_requantise_bank: accumulators to the value integers that the next layer takes, one per neuron.
//
//   accumulators packs OUTPUTS signed integers of ACC_WIDTH bits, values as many of WIDTH + 2 bits, neuron 0 lowest
module bitprop_requantise_bank #(
    parameter OUTPUTS = 8,
    parameter ACC_WIDTH = 16,
    parameter WIDTH = 8,
    parameter [15:0] MULTIPLIER = 1,
    parameter SHIFT = 1,
    parameter signed [WIDTH+1:0] LOW = 0,
    parameter signed [WIDTH+1:0] HIGH = {2'b01, {WIDTH{1'b0}}}
) (
    input  wire [OUTPUTS*ACC_WIDTH-1:0] accumulators,
    output wire [OUTPUTS*(WIDTH+2)-1:0] values
);
    genvar o;
    generate
        for (o = 0; o < OUTPUTS; o = o + 1) begin : lane
            bitprop_requantise #(
                .ACC_WIDTH(ACC_WIDTH),
                .WIDTH(WIDTH),
                .MULTIPLIER(MULTIPLIER),
                .SHIFT(SHIFT),
                .LOW(LOW),
                .HIGH(HIGH)
            ) requantise (
                .acc(accumulators[o*ACC_WIDTH +: ACC_WIDTH]),
                .value(values[o*(WIDTH+2) +: WIDTH+2])
            );
        end
    endgenerate
endmodule
