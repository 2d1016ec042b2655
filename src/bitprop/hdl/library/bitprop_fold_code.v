// bitprop_fold_code: one value integer to the code that a folded layer stores; two registers.
//
//   LEVELS 0: the code is the stream threshold k, CODE_WIDTH = WIDTH + 1
//   else: the code is the rank of k among the LEVELS numbers of the source, how many of them lie below k;
//         CODE_WIDTH = $clog2(LEVELS + 1).  Number j in bits j*WIDTH +: WIDTH of NUMBERS.
//
// Thresholds of equal rank have equal streams.
module bitprop_fold_code #(
    parameter WIDTH = 8,
    parameter ENCODING = 0,
    parameter LEVELS = 0,
    parameter CODE_WIDTH = 9,
    parameter [(LEVELS > 0 ? LEVELS : 1)*WIDTH-1:0] NUMBERS = 0
) (
    input  wire                    clock,
    input  wire signed [WIDTH+1:0] value,
    output wire [CODE_WIDTH-1:0]   code,
    output reg                     negative
);
    wire [WIDTH:0] encoded;
    wire           encoded_negative;
    reg  [WIDTH:0] threshold;
    reg            sign;

    bitprop_encode #(.WIDTH(WIDTH), .ENCODING(ENCODING)) encode (
        .value(value),
        .threshold(encoded),
        .negative(encoded_negative)
    );

    always @(posedge clock) begin
        threshold <= encoded;
        sign <= encoded_negative;
        negative <= sign;
    end

    genvar j;
    generate
        if (LEVELS > 0) begin : ranked
            wire [LEVELS-1:0] below;
            reg  [LEVELS-1:0] passed;
            for (j = 0; j < LEVELS; j = j + 1) begin : level
                bitprop_compare #(.WIDTH(WIDTH)) compare (
                    .number(NUMBERS[j*WIDTH +: WIDTH]),
                    .threshold(threshold),
                    .stream_bit(below[j])
                );
            end
            always @(posedge clock) passed <= below;
            assign code = $countones(passed);
        end else begin : plain
            reg [WIDTH:0] kept;
            always @(posedge clock) kept <= threshold;
            assign code = kept;
        end
    endgenerate
endmodule
