// bitprop_fold_spread: from a parallel layer to a folded one: a vector leaves in beats of LANES values.
//
//   in_values: value i in bits i*WIDTH +: WIDTH; taken with its last beat; lanes beyond VALUES are 0
module bitprop_fold_spread #(
    parameter VALUES = 8,
    parameter LANES = 2,
    parameter WIDTH = 10
) (
    input  wire                    clock,
    input  wire                    reset,
    input  wire                    in_valid,
    output wire                    in_ready,
    input  wire [VALUES*WIDTH-1:0] in_values,
    output wire                    out_valid,
    input  wire                    out_ready,
    output wire [LANES*WIDTH-1:0]  out_values
);
    localparam BEATS = (VALUES + LANES - 1) / LANES;
    localparam BEAT_BITS = BEATS > 1 ? $clog2(BEATS) : 1;
    localparam [31:0] BEAT_LIMIT = BEATS - 1;

    reg  [BEAT_BITS-1:0]         beat;
    wire                         beat_end = beat == BEAT_LIMIT[BEAT_BITS-1:0];
    wire [BEATS*LANES*WIDTH-1:0] filled;

    generate
        if (BEATS * LANES > VALUES) begin : rest
            assign filled = {{((BEATS*LANES-VALUES)*WIDTH){1'b0}}, in_values};
        end else begin : even
            assign filled = in_values;
        end
    endgenerate

    assign out_valid = in_valid;
    assign in_ready = out_ready && beat_end;
    assign out_values = filled[beat*LANES*WIDTH +: LANES*WIDTH];

    always @(posedge clock)
        if (reset) beat <= 0;
        else if (out_valid && out_ready) beat <= beat_end ? 0 : beat + 1'b1;
endmodule
