// bitprop_fold_neuron: INPUTS products of LEAVES*LEAF stream cycles a clock, their sum, and the accumulator.
//
//   x_bits: bit i*CYCLES + t, as bitprop_fold_streams gives them (with the same REGISTER); x_negative: input i is bit i,
//   as late as the weights
//   weights: product i is {sign (ENCODING 2 only), code} in bits i*LANE +: LANE; w_numbers: the weight source's numbers
//
//   total' = (first ? bias : total) + sum where add is high, REGISTER + 1 + tree cycles after the weights
//   bipolar: a sum counts ones twice; what that is too much has been taken off the bias
module bitprop_fold_neuron #(
    parameter INPUTS = 4,
    parameter LEAVES = 1,
    parameter LEAF = 1,
    parameter ENCODING = 0,
    parameter CODE_WIDTH = 3,
    parameter REGISTER = 0,
    parameter EVERY = 1,
    parameter WIDTH = 16
) (
    input  wire                                                     clock,
    input  wire [INPUTS*LEAVES*LEAF-1:0]                            x_bits,
    input  wire [INPUTS-1:0]                                        x_negative,
    input  wire [INPUTS*(CODE_WIDTH + (ENCODING == 2 ? 1 : 0))-1:0] weights,
    input  wire [LEAVES*LEAF*CODE_WIDTH-1:0]                        w_numbers,
    input  wire                                                     add,
    input  wire                                                     first,
    input  wire signed [WIDTH-1:0]                                  bias,
    output reg  signed [WIDTH-1:0]                                  total
);
    localparam CYCLES = LEAVES * LEAF;
    localparam LANE = CODE_WIDTH + (ENCODING == 2 ? 1 : 0);
    localparam TALLY = $clog2(LEAF + 1);
    localparam COUNT_BITS = TALLY + 1 + (ENCODING == 1 ? 1 : 0);
    localparam SUM_BITS = COUNT_BITS + $clog2(INPUTS * LEAVES);

    wire [INPUTS*CODE_WIDTH-1:0] codes;
    wire [INPUTS-1:0]            negative, late_negative;
    wire [INPUTS*CYCLES-1:0]     w_bits, product_bits;

    genvar i, j;
    generate
        for (i = 0; i < INPUTS; i = i + 1) begin : lane
            assign codes[i*CODE_WIDTH +: CODE_WIDTH] = weights[i*LANE +: CODE_WIDTH];
            if (ENCODING == 2) begin : signed_weight
                assign negative[i] = x_negative[i] ^ weights[i*LANE+CODE_WIDTH];
            end else begin : plain_weight
                assign negative[i] = x_negative[i];
            end
        end
    endgenerate

    bitprop_fold_streams #(.INPUTS(INPUTS), .CYCLES(CYCLES), .CODE_WIDTH(CODE_WIDTH), .REGISTER(REGISTER)) streams (
        .clock(clock), .codes(codes), .numbers(w_numbers), .bits(w_bits)
    );

    bitprop_fold_register #(.WIDTH(INPUTS), .ENABLED(REGISTER)) signs (
        .clock(clock), .in(negative), .out(late_negative)
    );

    // the gate only: a sign belongs to a whole count here
    bitprop_multiply #(.INPUTS(INPUTS*CYCLES), .ENCODING(ENCODING == 1 ? 1 : 0)) multiply (
        .x_bits(x_bits),
        .w_bits(w_bits),
        .negative({(INPUTS*CYCLES){1'b0}}),
        .product_bits(product_bits)
    );

    reg [INPUTS*LEAVES*COUNT_BITS-1:0] counts;
    generate
        for (i = 0; i < INPUTS; i = i + 1) begin : product
            for (j = 0; j < LEAVES; j = j + 1) begin : leaf
                wire [TALLY-1:0]      ones = $countones(product_bits[(i*LEAVES+j)*LEAF +: LEAF]);
                wire [COUNT_BITS-1:0] count;
                if (ENCODING == 1) begin : twice
                    assign count = {1'b0, ones, 1'b0};
                end else begin : once
                    assign count = {1'b0, ones};
                end
                always @(posedge clock)
                    counts[(i*LEAVES+j)*COUNT_BITS +: COUNT_BITS] <= late_negative[i] ? -count : count;
            end
        end
    endgenerate

    wire signed [SUM_BITS-1:0] sum;
    bitprop_fold_tree #(.INPUTS(INPUTS*LEAVES), .WIDTH(COUNT_BITS), .EVERY(EVERY)) tree (
        .clock(clock), .values(counts), .sum(sum)
    );

    wire [WIDTH-1:0] extended = {{(WIDTH - SUM_BITS + 1){sum[SUM_BITS-1]}}, sum[SUM_BITS-2:0]};

    always @(posedge clock) if (add) total <= (first ? bias : total) + extended;
endmodule
