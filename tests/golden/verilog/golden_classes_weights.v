// golden_classes_weights: the weight streams of layer 1 of golden.
//
//   stream_K is one where number < K; weights of equal threshold share it.  Bit i of bits_O is the stream of input i
//   to neuron O, bit i of negative_O the weight's sign.
//
// Generated from an SC-NIR document: change the document, not this file.
module golden_classes_weights (
    input  wire [3:0] number,
    output wire [2:0] bits_0,
    output wire [2:0] negative_0,
    output wire [2:0] bits_1,
    output wire [2:0] negative_1
);
    wire stream_0;
    bitprop_compare #(.WIDTH(4)) compare_0 (.number(number), .threshold(5'd0), .stream_bit(stream_0));
    wire stream_4;
    bitprop_compare #(.WIDTH(4)) compare_4 (.number(number), .threshold(5'd4), .stream_bit(stream_4));
    wire stream_8;
    bitprop_compare #(.WIDTH(4)) compare_8 (.number(number), .threshold(5'd8), .stream_bit(stream_8));
    wire stream_10;
    bitprop_compare #(.WIDTH(4)) compare_10 (.number(number), .threshold(5'd10), .stream_bit(stream_10));
    wire stream_14;
    bitprop_compare #(.WIDTH(4)) compare_14 (.number(number), .threshold(5'd14), .stream_bit(stream_14));
    wire stream_16;
    bitprop_compare #(.WIDTH(4)) compare_16 (.number(number), .threshold(5'd16), .stream_bit(stream_16));

    assign bits_0 = {
        stream_10, stream_0, stream_16
    };
    assign negative_0 = 3'h0;

    assign bits_1 = {
        stream_14, stream_8, stream_4
    };
    assign negative_1 = 3'h0;
endmodule
