// golden_hidden_weights: the weight streams of layer 0 of golden.
//
//   stream_K is one where number < K; weights of equal threshold share it.  Bit i of bits_O is the stream of input i
//   to neuron O, bit i of negative_O the weight's sign.
//
// Generated from an SC-NIR document: change the document, not this file.
module golden_hidden_weights (
    input  wire [3:0] number,
    output wire [3:0] bits_0,
    output wire [3:0] negative_0,
    output wire [3:0] bits_1,
    output wire [3:0] negative_1,
    output wire [3:0] bits_2,
    output wire [3:0] negative_2
);
    wire stream_0;
    bitprop_compare #(.WIDTH(4)) compare_0 (.number(number), .threshold(5'd0), .stream_bit(stream_0));
    wire stream_1;
    bitprop_compare #(.WIDTH(4)) compare_1 (.number(number), .threshold(5'd1), .stream_bit(stream_1));
    wire stream_2;
    bitprop_compare #(.WIDTH(4)) compare_2 (.number(number), .threshold(5'd2), .stream_bit(stream_2));
    wire stream_3;
    bitprop_compare #(.WIDTH(4)) compare_3 (.number(number), .threshold(5'd3), .stream_bit(stream_3));
    wire stream_5;
    bitprop_compare #(.WIDTH(4)) compare_5 (.number(number), .threshold(5'd5), .stream_bit(stream_5));
    wire stream_7;
    bitprop_compare #(.WIDTH(4)) compare_7 (.number(number), .threshold(5'd7), .stream_bit(stream_7));
    wire stream_9;
    bitprop_compare #(.WIDTH(4)) compare_9 (.number(number), .threshold(5'd9), .stream_bit(stream_9));
    wire stream_12;
    bitprop_compare #(.WIDTH(4)) compare_12 (.number(number), .threshold(5'd12), .stream_bit(stream_12));
    wire stream_16;
    bitprop_compare #(.WIDTH(4)) compare_16 (.number(number), .threshold(5'd16), .stream_bit(stream_16));

    assign bits_0 = {
        stream_7, stream_0, stream_3, stream_16
    };
    assign negative_0 = 4'h2;

    assign bits_1 = {
        stream_1, stream_5, stream_5, stream_16
    };
    assign negative_1 = 4'h9;

    assign bits_2 = {
        stream_0, stream_12, stream_9, stream_2
    };
    assign negative_2 = 4'h4;
endmodule
