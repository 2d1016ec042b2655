// bitprop_input_bank: a layer's activations.  Encodes the value integers, latches thresholds and signs at load, and
// compares every threshold with the same number.
//
//   values packs INPUTS signed integers, input i in bits i*(WIDTH+2) +: WIDTH+2; bits and negative: input i is bit i
module bitprop_input_bank #(
    parameter INPUTS = 8,
    parameter WIDTH = 8,
    parameter ENCODING = 0
) (
    input  wire                        clock,
    input  wire                        load,
    input  wire [INPUTS*(WIDTH+2)-1:0] values,
    input  wire [WIDTH-1:0]            number,
    output wire [INPUTS-1:0]           bits,
    output wire [INPUTS-1:0]           negative
);
    genvar i;
    generate
        for (i = 0; i < INPUTS; i = i + 1) begin : lane
            wire [WIDTH:0] encoded;
            wire           encoded_negative;
            reg  [WIDTH:0] threshold;
            reg            sign;

            bitprop_encode #(.WIDTH(WIDTH), .ENCODING(ENCODING)) encode (
                .value(values[i*(WIDTH+2) +: WIDTH+2]),
                .threshold(encoded),
                .negative(encoded_negative)
            );

            always @(posedge clock)
                if (load) begin
                    threshold <= encoded;
                    sign <= encoded_negative;
                end

            bitprop_compare #(.WIDTH(WIDTH)) compare (
                .number(number),
                .threshold(threshold),
                .stream_bit(bits[i])
            );
            assign negative[i] = sign;
        end
    endgenerate
endmodule
