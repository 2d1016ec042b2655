// bitprop_requantise: accumulator to value integer.  Contract and reference: requantise.py beside this file.
//
//   value = clamp((acc * MULTIPLIER + 2**(SHIFT-1)) >>> SHIFT, LOW, HIGH)
//
// Everything is sign-extended to PRODUCT_WIDTH by hand first: a concatenation inside a signed expression would make
// all of it unsigned.
module bitprop_requantise #(
    parameter ACC_WIDTH = 16,
    parameter WIDTH = 8,
    parameter [15:0] MULTIPLIER = 1,
    parameter SHIFT = 1,
    parameter signed [WIDTH+1:0] LOW = 0,
    parameter signed [WIDTH+1:0] HIGH = {2'b01, {WIDTH{1'b0}}}
) (
    input  wire signed [ACC_WIDTH-1:0] acc,
    output wire signed [WIDTH+1:0]     value
);
    // sign, product and the carry of the rounding constant
    localparam PRODUCT_WIDTH = (ACC_WIDTH + 17 > SHIFT ? ACC_WIDTH + 17 : SHIFT) + 2;

    localparam signed [PRODUCT_WIDTH-1:0] FACTOR = {{(PRODUCT_WIDTH - 16){1'b0}}, MULTIPLIER};
    localparam signed [PRODUCT_WIDTH-1:0] HALF = {{(PRODUCT_WIDTH - 1){1'b0}}, 1'b1} << (SHIFT - 1);
    localparam signed [PRODUCT_WIDTH-1:0] LOWEST = {{(PRODUCT_WIDTH - WIDTH - 2){LOW[WIDTH+1]}}, LOW};
    localparam signed [PRODUCT_WIDTH-1:0] HIGHEST = {{(PRODUCT_WIDTH - WIDTH - 2){HIGH[WIDTH+1]}}, HIGH};

    wire signed [PRODUCT_WIDTH-1:0] extended = {{(PRODUCT_WIDTH - ACC_WIDTH){acc[ACC_WIDTH-1]}}, acc};

    // [S1] scale
    wire signed [PRODUCT_WIDTH-1:0] scaled = extended * FACTOR;

    // [S2] round
    wire signed [PRODUCT_WIDTH-1:0] rounded = (scaled + HALF) >>> SHIFT;

    // [S3] clamp
    assign value = rounded < LOWEST ? LOW : rounded > HIGHEST ? HIGH : rounded[WIDTH+1:0];
endmodule
