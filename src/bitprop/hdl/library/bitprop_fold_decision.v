// bitprop_fold_decision: the largest of CLASSES logits that come one a cycle, the lowest index among equals, and the
// logits themselves; out_valid two cycles after the last logit.
//
//   Holds two answers, one on offer and one that waits behind it; released says that one was taken.
module bitprop_fold_decision #(
    parameter CLASSES = 10,
    parameter WIDTH = 16
) (
    input  wire                                         clock,
    input  wire                                         reset,
    input  wire                                         in_valid,
    input  wire                                         in_last,
    input  wire signed [WIDTH-1:0]                      in_value,
    output wire                                         released,
    output reg                                          out_valid,
    input  wire                                         out_ready,
    output reg  [$clog2(CLASSES > 1 ? CLASSES : 2)-1:0] out_class,
    output reg  [CLASSES*WIDTH-1:0]                     out_logits
);
    localparam INDEX_BITS = $clog2(CLASSES > 1 ? CLASSES : 2);

    reg [INDEX_BITS-1:0]    index, best_index;
    reg signed [WIDTH-1:0]  best;
    reg [CLASSES*WIDTH-1:0] logits;
    reg                     complete;
    wire                    move = complete && (!out_valid || out_ready);

    // a chain: a place chosen by a running index would take a multiplier and a wide shift to find
    wire [CLASSES*WIDTH-1:0] chain;
    generate
        if (CLASSES == 1) begin : single
            assign chain = in_value;
        end else begin : several
            assign chain = {in_value, logits[CLASSES*WIDTH-1:WIDTH]};
        end
    endgenerate

    assign released = out_valid && out_ready;

    always @(posedge clock)
        if (reset) begin
            index <= 0;
            complete <= 1'b0;
            out_valid <= 1'b0;
        end else begin
            if (in_valid) index <= in_last ? 0 : index + 1'b1;
            if (in_valid && in_last) complete <= 1'b1;
            else if (move) complete <= 1'b0;
            if (move) out_valid <= 1'b1;
            else if (out_ready) out_valid <= 1'b0;
        end

    always @(posedge clock) begin
        if (in_valid) begin
            logits <= chain;
            // only a larger value takes over
            if (index == 0 || in_value > best) begin
                best <= in_value;
                best_index <= index;
            end
        end
        if (move) begin
            out_class <= best_index;
            out_logits <= logits;
        end
    end
endmodule
