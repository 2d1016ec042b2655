// bitprop_fold_streams: CYCLES bits of INPUTS streams at once: bit i*CYCLES + t is one where number t is below code i.
//
//   code i in bits i*CODE_WIDTH +: CODE_WIDTH, number t in bits t*CODE_WIDTH +: CODE_WIDTH; REGISTER 1 adds a register
module bitprop_fold_streams #(
    parameter INPUTS = 4,
    parameter CYCLES = 1,
    parameter CODE_WIDTH = 3,
    parameter REGISTER = 0
) (
    input  wire                         clock,
    input  wire [INPUTS*CODE_WIDTH-1:0] codes,
    input  wire [CYCLES*CODE_WIDTH-1:0] numbers,
    output wire [INPUTS*CYCLES-1:0]     bits
);
    wire [INPUTS*CYCLES-1:0] compared;

    genvar i, t;
    generate
        for (i = 0; i < INPUTS; i = i + 1) begin : lane
            for (t = 0; t < CYCLES; t = t + 1) begin : cycle
                bitprop_compare #(.WIDTH(CODE_WIDTH)) compare (
                    .number(numbers[t*CODE_WIDTH +: CODE_WIDTH]),
                    .threshold({1'b0, codes[i*CODE_WIDTH +: CODE_WIDTH]}),
                    .stream_bit(compared[i*CYCLES+t])
                );
            end
        end
    endgenerate

    bitprop_fold_register #(.WIDTH(INPUTS*CYCLES), .ENABLED(REGISTER)) register (
        .clock(clock), .in(compared), .out(bits)
    );
endmodule
