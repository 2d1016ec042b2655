// bitprop_decision: the last register: the logits and the index of the largest, the lowest index among equals.
//
//   logits packs CLASSES signed integers of WIDTH bits, class 0 lowest; one cycle from in_valid to out_valid
module bitprop_decision #(
    parameter CLASSES = 10,
    parameter WIDTH = 16
) (
    input  wire                                        clock,
    input  wire                                        reset,
    input  wire                                        in_valid,
    output wire                                        in_ready,
    input  wire [CLASSES*WIDTH-1:0]                    logits,
    output reg                                         out_valid,
    input  wire                                        out_ready,
    output reg  [$clog2(CLASSES > 1 ? CLASSES : 2)-1:0] out_class,
    output reg  [CLASSES*WIDTH-1:0]                    out_logits
);
    wire [$clog2(CLASSES > 1 ? CLASSES : 2)-1:0] index;

    bitprop_argmax #(.INPUTS(CLASSES), .WIDTH(WIDTH)) argmax (.values(logits), .index(index));

    assign in_ready = !out_valid || out_ready;

    always @(posedge clock)
        if (reset) out_valid <= 1'b0;
        else if (in_ready) out_valid <= in_valid;

    always @(posedge clock)
        if (in_valid && in_ready) begin
            out_class <= index;
            out_logits <= logits;
        end
endmodule
