// golden_hidden: layer 0 of golden, dense, 4 inputs, 3 neurons.
//
//   sign_magnitude, 15 cycles of stream, 17 cycles from acceptance to out_valid
//   in_values: input i is the signed value integer in bits i*6 +: 6
//   out_values: neuron o is the signed value integer in bits o*6 +: 6
//
// Generated from an SC-NIR document: change the document, not this file.
module golden_hidden (
    input  wire clock,
    input  wire reset,
    input  wire in_valid,
    output wire in_ready,
    input  wire [23:0] in_values,
    output wire out_valid,
    input  wire out_ready,
    output reg  [17:0] out_values
);
    wire load, enable, store;

    bitprop_stage #(.LENGTH(15)) stage (
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

    // number sources: one for all activations, one for all weights, one for the correlation
    wire [3:0] activation_number;
    bitprop_lfsr #(.WIDTH(4), .POLYNOMIAL(5'h19), .SEED(4'h9)) activation_source (
        .clock(clock), .restart(load), .enable(enable), .number(activation_number)
    );
    wire [3:0] weight_number;
    bitprop_sobol #(.WIDTH(4), .SEED(4'h3), .DIRECTIONS(16'h96c8)) weight_source (
        .clock(clock), .restart(load), .enable(enable), .number(weight_number)
    );
    wire [3:0] correlation_number;
    bitprop_halton #(.WIDTH(4), .BASE(3), .SEED(4'h1)) correlation_source (
        .clock(clock), .restart(load), .enable(enable), .number(correlation_number)
    );

    // what the weight comparators see
    wire [3:0] weight_stream_number;
    bitprop_correlate #(.WIDTH(4), .THRESHOLD(5'd5), .NEGATIVE(1)) correlate (
        .activation_number(activation_number),
        .weight_number(weight_number),
        .selector_number(correlation_number),
        .number(weight_stream_number)
    );

    wire [3:0] x_bits, x_negative;
    bitprop_input_bank #(.INPUTS(4), .WIDTH(4), .ENCODING(2)) inputs (
        .clock(clock),
        .load(load),
        .values(in_values),
        .number(activation_number),
        .bits(x_bits),
        .negative(x_negative)
    );

    wire [3:0] w_bits_0, w_negative_0;
    wire [3:0] w_bits_1, w_negative_1;
    wire [3:0] w_bits_2, w_negative_2;
    golden_hidden_weights weights (
        .number(weight_stream_number),
        .bits_0(w_bits_0), .negative_0(w_negative_0),
        .bits_1(w_bits_1), .negative_1(w_negative_1),
        .bits_2(w_bits_2), .negative_2(w_negative_2)
    );

    wire [17:0] accumulators;
    bitprop_neuron #(.INPUTS(4), .ENCODING(2), .WIDTH(6)) neuron_0 (
        .clock(clock), .load(load), .enable(enable), .bias(6'sd0),
        .x_bits(x_bits), .x_negative(x_negative), .w_bits(w_bits_0), .w_negative(w_negative_0),
        .total(accumulators[0 +: 6])
    );
    bitprop_neuron #(.INPUTS(4), .ENCODING(2), .WIDTH(6)) neuron_1 (
        .clock(clock), .load(load), .enable(enable), .bias(-6'sd7),
        .x_bits(x_bits), .x_negative(x_negative), .w_bits(w_bits_1), .w_negative(w_negative_1),
        .total(accumulators[6 +: 6])
    );
    bitprop_neuron #(.INPUTS(4), .ENCODING(2), .WIDTH(6)) neuron_2 (
        .clock(clock), .load(load), .enable(enable), .bias(6'sd4),
        .x_bits(x_bits), .x_negative(x_negative), .w_bits(w_bits_2), .w_negative(w_negative_2),
        .total(accumulators[12 +: 6])
    );

    wire [17:0] requantised;
    bitprop_requantise_bank #(
        .OUTPUTS(3),
        .ACC_WIDTH(6),
        .WIDTH(4),
        .MULTIPLIER(16'd17),
        .SHIFT(4),
        .LOW(-6'sd16),
        .HIGH(6'sd16)
    ) requantise (
        .accumulators(accumulators),
        .values(requantised)
    );

    always @(posedge clock) if (store) out_values <= requantised;
endmodule
