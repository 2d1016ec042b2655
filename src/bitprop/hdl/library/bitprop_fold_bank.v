// bitprop_fold_bank: NEURONS neurons that share INPUTS activations a clock.
//
//   inputs: input i is {sign (ENCODING 2 only), code} in bits i*X_LANE +: X_LANE
//   weights: product i of neuron o is {sign, code} in bits (o*INPUTS + i)*W_LANE +: W_LANE
//   biases and totals: neuron o in bits o*WIDTH +: WIDTH
module bitprop_fold_bank #(
    parameter NEURONS = 2,
    parameter INPUTS = 4,
    parameter LEAVES = 1,
    parameter LEAF = 1,
    parameter ENCODING = 0,
    parameter X_CODE = 3,
    parameter W_CODE = 3,
    parameter REGISTER = 0,
    parameter EVERY = 1,
    parameter WIDTH = 16
) (
    input  wire                                                         clock,
    input  wire [INPUTS*(X_CODE + (ENCODING == 2 ? 1 : 0))-1:0]         inputs,
    input  wire [LEAVES*LEAF*X_CODE-1:0]                                x_numbers,
    input  wire [NEURONS*INPUTS*(W_CODE + (ENCODING == 2 ? 1 : 0))-1:0] weights,
    input  wire [LEAVES*LEAF*W_CODE-1:0]                                w_numbers,
    input  wire                                                         add,
    input  wire                                                         first,
    input  wire [NEURONS*WIDTH-1:0]                                     biases,
    output wire [NEURONS*WIDTH-1:0]                                     totals
);
    localparam CYCLES = LEAVES * LEAF;
    localparam X_LANE = X_CODE + (ENCODING == 2 ? 1 : 0);
    localparam W_LANE = W_CODE + (ENCODING == 2 ? 1 : 0);

    wire [INPUTS*X_CODE-1:0] codes;
    wire [INPUTS-1:0]        negative;
    wire [INPUTS*CYCLES-1:0] x_bits;

    genvar i, o;
    generate
        for (i = 0; i < INPUTS; i = i + 1) begin : lane
            assign codes[i*X_CODE +: X_CODE] = inputs[i*X_LANE +: X_CODE];
            if (ENCODING == 2) begin : signs
                assign negative[i] = inputs[i*X_LANE+X_CODE];
            end else begin : no_signs
                assign negative[i] = 1'b0;
            end
        end
    endgenerate

    bitprop_fold_streams #(.INPUTS(INPUTS), .CYCLES(CYCLES), .CODE_WIDTH(X_CODE), .REGISTER(REGISTER)) streams (
        .clock(clock), .codes(codes), .numbers(x_numbers), .bits(x_bits)
    );

    generate
        for (o = 0; o < NEURONS; o = o + 1) begin : place
            bitprop_fold_neuron #(
                .INPUTS(INPUTS),
                .LEAVES(LEAVES),
                .LEAF(LEAF),
                .ENCODING(ENCODING),
                .CODE_WIDTH(W_CODE),
                .REGISTER(REGISTER),
                .EVERY(EVERY),
                .WIDTH(WIDTH)
            ) neuron (
                .clock(clock),
                .x_bits(x_bits),
                .x_negative(negative),
                .weights(weights[o*INPUTS*W_LANE +: INPUTS*W_LANE]),
                .w_numbers(w_numbers),
                .add(add),
                .first(first),
                .bias(biases[o*WIDTH +: WIDTH]),
                .total(totals[o*WIDTH +: WIDTH])
            );
        end
    endgenerate
endmodule
