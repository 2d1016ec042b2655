// bitprop_argmax: index of the largest value, the lowest among equals.  Contract and reference: argmax.py beside
// this file.
//
//   values packs INPUTS signed integers, input i in bits i*WIDTH +: WIDTH
module bitprop_argmax #(
    parameter INPUTS = 10,
    parameter WIDTH = 16
) (
    input  wire [INPUTS*WIDTH-1:0]                      values,
    output reg  [(INPUTS > 1 ? $clog2(INPUTS) : 1)-1:0] index
);
    localparam INDEX_WIDTH = INPUTS > 1 ? $clog2(INPUTS) : 1;

    reg signed [WIDTH-1:0] best;
    integer i;

    always @* begin
        // [S1] first
        best = values[WIDTH-1:0];
        index = 0;
        // [S2] challenge: only a larger value takes over
        for (i = 1; i < INPUTS; i = i + 1)
            if ($signed(values[i*WIDTH +: WIDTH]) > best) begin
                best = values[i*WIDTH +: WIDTH];
                index = i[INDEX_WIDTH-1:0];
            end
    end
endmodule
