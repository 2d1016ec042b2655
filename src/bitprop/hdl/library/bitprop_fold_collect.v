// bitprop_fold_collect: from a folded layer to a parallel one: values that come one a cycle become one vector.
//
//   out_values: value i in bits i*WIDTH +: WIDTH; offered two cycles after the last one came
//
//   Holds two vectors, one on offer and one that waits behind it; released says that one was taken.
module bitprop_fold_collect #(
    parameter VALUES = 8,
    parameter WIDTH = 10
) (
    input  wire                    clock,
    input  wire                    reset,
    input  wire                    in_valid,
    input  wire                    in_last,
    input  wire [WIDTH-1:0]        in_value,
    output wire                    released,
    output reg                     out_valid,
    input  wire                    out_ready,
    output reg  [VALUES*WIDTH-1:0] out_values
);
    reg  [VALUES*WIDTH-1:0] line;
    reg                     complete;
    wire                    move = complete && (!out_valid || out_ready);

    assign released = out_valid && out_ready;

    always @(posedge clock)
        if (reset) begin
            complete <= 1'b0;
            out_valid <= 1'b0;
        end else begin
            if (in_valid && in_last) complete <= 1'b1;
            else if (move) complete <= 1'b0;
            if (move) out_valid <= 1'b1;
            else if (out_ready) out_valid <= 1'b0;
        end

    always @(posedge clock) if (move) out_values <= line;

    // the newest value enters at the top
    generate
        if (VALUES > 1) begin : many
            always @(posedge clock) if (in_valid) line <= {in_value, line[VALUES*WIDTH-1:WIDTH]};
        end else begin : one
            always @(posedge clock) if (in_valid) line <= in_value;
        end
    endgenerate
endmodule
