// golden_classes: layer 1 of golden, dense, 3 inputs, 2 neurons.
//
//   bipolar, 8 cycles of stream, 10 cycles from acceptance to out_valid
//   in_values: input i is the signed value integer in bits i*6 +: 6
//   out_values: neuron o is the signed logit in bits o*6 +: 6
//
// Generated from an SC-NIR document: change the document, not this file.
module golden_classes (
    input  wire clock,
    input  wire reset,
    input  wire in_valid,
    output wire in_ready,
    input  wire [17:0] in_values,
    output wire out_valid,
    input  wire out_ready,
    output reg  [11:0] out_values
);
    wire load, enable, store;

    bitprop_stage #(.LENGTH(8)) stage (
        .clock(clock),
        .reset(reset),
        .in_valid(in_valid),
        .in_ready(in_ready),
        .load(load),
        .enable(enable),
        .store(store),
        .out_valid(out_valid),
        .out_ready(out_ready)
    );

    // number sources: one for all activations, one for all weights
    wire [3:0] activation_number;
    bitprop_counter #(.WIDTH(4), .SEED(4'h0), .STRIDE(4'h5)) activation_source (
        .clock(clock), .restart(load), .enable(enable), .number(activation_number)
    );
    wire [3:0] weight_number;
    bitprop_halton #(.WIDTH(4), .BASE(2), .SEED(4'h0)) weight_source (
        .clock(clock), .restart(load), .enable(enable), .number(weight_number)
    );

    // what the weight comparators see
    wire [3:0] weight_stream_number;
    assign weight_stream_number = weight_number;

    wire [2:0] x_bits, x_negative;
    bitprop_input_bank #(.INPUTS(3), .WIDTH(4), .ENCODING(1)) inputs (
        .clock(clock),
        .load(load),
        .values(in_values),
        .number(activation_number),
        .bits(x_bits),
        .negative(x_negative)
    );

    wire [2:0] w_bits_0, w_negative_0;
    wire [2:0] w_bits_1, w_negative_1;
    golden_classes_weights weights (
        .number(weight_stream_number),
        .bits_0(w_bits_0), .negative_0(w_negative_0),
        .bits_1(w_bits_1), .negative_1(w_negative_1)
    );

    wire [11:0] accumulators;
    bitprop_neuron #(.INPUTS(3), .ENCODING(1), .WIDTH(6)) neuron_0 (
        .clock(clock), .load(load), .enable(enable), .bias(6'sd1),
        .x_bits(x_bits), .x_negative(x_negative), .w_bits(w_bits_0), .w_negative(w_negative_0),
        .total(accumulators[0 +: 6])
    );
    bitprop_neuron #(.INPUTS(3), .ENCODING(1), .WIDTH(6)) neuron_1 (
        .clock(clock), .load(load), .enable(enable), .bias(-6'sd2),
        .x_bits(x_bits), .x_negative(x_negative), .w_bits(w_bits_1), .w_negative(w_negative_1),
        .total(accumulators[6 +: 6])
    );

    always @(posedge clock) if (store) out_values <= accumulators;
endmodule
