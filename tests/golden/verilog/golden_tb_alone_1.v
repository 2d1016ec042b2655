// golden_tb_alone_1: 3-2, 4-bit thresholds.
//
//   in_values: feature i is the signed value integer in bits i*6 +: 6, -16 .. 16
//   out_class: index of the largest logit, the lowest among equals
//   out_logits: class o is the signed integer in bits o*6 +: 6
//   11 cycles from in_valid and in_ready to out_valid; back to back, one decision every 10 cycles
//
// Generated from an SC-NIR document: change the document, not this file.
module golden_tb_alone_1 (
    input  wire clock,
    input  wire reset,
    input  wire in_valid,
    output wire in_ready,
    input  wire [17:0] in_values,
    output wire out_valid,
    input  wire out_ready,
    output wire [0:0] out_class,
    output wire [11:0] out_logits
);
    wire from_classes_valid, from_classes_ready;
    wire [11:0] from_classes_values;
    golden_classes layer_classes (
        .clock(clock),
        .reset(reset),
        .in_valid(in_valid),
        .in_ready(in_ready),
        .in_values(in_values),
        .out_valid(from_classes_valid),
        .out_ready(from_classes_ready),
        .out_values(from_classes_values)
    );

    bitprop_decision #(.CLASSES(2), .WIDTH(6)) decision (
        .clock(clock),
        .reset(reset),
        .in_valid(from_classes_valid),
        .in_ready(from_classes_ready),
        .logits(from_classes_values),
        .out_valid(out_valid),
        .out_ready(out_ready),
        .out_class(out_class),
        .out_logits(out_logits)
    );
endmodule
