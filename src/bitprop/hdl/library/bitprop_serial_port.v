// bitprop_serial_port: a network on a serial line: samples come in, decisions and reports of bad frames go out.
//
//   sample_*: to the network; decision_*: from it.  answered, reported: one cycle each, for lamps
module bitprop_serial_port #(
    parameter CLOCKS = 104,
    parameter SILENCE = 20,
    parameter FEATURES = 4,
    parameter LANES = 2,
    parameter WIDTH = 10,
    parameter CLASSES = 2,
    parameter CLASS_WIDTH = 1,
    parameter LOGIT_WIDTH = 8
) (
    input  wire                           clock,
    input  wire                           reset,
    input  wire                           serial_in,
    output wire                           serial_out,
    output wire                           sample_valid,
    input  wire                           sample_ready,
    output wire [LANES*WIDTH-1:0]         sample_values,
    input  wire                           decision_valid,
    output wire                           decision_ready,
    input  wire [CLASS_WIDTH-1:0]         decision_class,
    input  wire [CLASSES*LOGIT_WIDTH-1:0] decision_logits,
    output wire                           answered,
    output wire                           reported
);
    wire       byte_valid, byte_broken;
    wire [7:0] byte_value;
    bitprop_uart_receiver #(.CLOCKS(CLOCKS)) receiver (
        .clock(clock), .reset(reset), .serial(serial_in),
        .valid(byte_valid), .broken(byte_broken), .value(byte_value)
    );

    wire [7:0] reason;
    bitprop_serial_sample #(
        .FEATURES(FEATURES), .LANES(LANES), .WIDTH(WIDTH), .SILENCE(SILENCE)
    ) sample (
        .clock(clock), .reset(reset),
        .in_valid(byte_valid), .in_broken(byte_broken), .in_value(byte_value),
        .out_valid(sample_valid), .out_ready(sample_ready), .out_values(sample_values),
        .report(reported), .reason(reason)
    );

    wire       answer_valid, answer_ready;
    wire [7:0] answer_value;
    bitprop_serial_answer #(
        .CLASSES(CLASSES), .CLASS_WIDTH(CLASS_WIDTH), .LOGIT_WIDTH(LOGIT_WIDTH)
    ) answer (
        .clock(clock), .reset(reset),
        .in_valid(decision_valid), .in_ready(decision_ready), .in_class(decision_class), .in_logits(decision_logits),
        .report(reported), .reason(reason),
        .out_valid(answer_valid), .out_ready(answer_ready), .out_value(answer_value)
    );

    bitprop_uart_transmitter #(.CLOCKS(CLOCKS)) transmitter (
        .clock(clock), .reset(reset),
        .in_valid(answer_valid), .in_ready(answer_ready), .in_value(answer_value), .serial(serial_out)
    );

    assign answered = decision_valid && decision_ready;
endmodule
