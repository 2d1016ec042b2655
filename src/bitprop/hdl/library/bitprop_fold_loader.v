// bitprop_fold_loader: where the words of a layer's load stream go: WEIGHTS words of weights, then BIASES words of biases,
// and from the start again.
//
//   A word is taken while the layer is idle.  loaded is low until the last word of all is there, and while a new load is
//   under way.
module bitprop_fold_loader #(
    parameter WEIGHTS = 16,
    parameter BIASES = 4
) (
    input  wire                                                     clock,
    input  wire                                                     reset,
    input  wire                                                     in_valid,
    output wire                                                     in_ready,
    input  wire                                                     idle,
    output wire                                                     write_weight,
    output wire                                                     write_bias,
    output reg  [(WEIGHTS > 1 ? $clog2(WEIGHTS) : 1)-1:0]           weight_word,
    output reg  [(BIASES > 1 ? $clog2(BIASES) : 1)-1:0]             bias_word,
    output reg                                                      loaded
);
    localparam WEIGHT_BITS = WEIGHTS > 1 ? $clog2(WEIGHTS) : 1;
    localparam BIAS_BITS = BIASES > 1 ? $clog2(BIASES) : 1;
    localparam [31:0] WEIGHT_LIMIT = WEIGHTS - 1;
    localparam [31:0] BIAS_LIMIT = BIASES - 1;

    reg  biases;
    wire weight_end = weight_word == WEIGHT_LIMIT[WEIGHT_BITS-1:0];
    wire bias_end = bias_word == BIAS_LIMIT[BIAS_BITS-1:0];

    assign in_ready = idle;
    assign write_weight = in_valid && in_ready && !biases;
    assign write_bias = in_valid && in_ready && biases;

    always @(posedge clock)
        if (reset) begin
            biases <= 1'b0;
            weight_word <= 0;
            bias_word <= 0;
            loaded <= 1'b0;
        end else begin
            if (write_weight) begin
                weight_word <= weight_end ? 0 : weight_word + 1'b1;
                biases <= weight_end;
                loaded <= 1'b0;
            end
            if (write_bias) begin
                bias_word <= bias_end ? 0 : bias_word + 1'b1;
                biases <= !bias_end;
                loaded <= bias_end;
            end
        end
endmodule
