// bitprop_fold_requantise: bitprop_requantise with a register after each of its steps, for one value a cycle.
//
//   out_value = clamp((in_value * MULTIPLIER + 2**(SHIFT-1)) >>> SHIFT, LOW, HIGH), three cycles later
module bitprop_fold_requantise #(
    parameter ACC_WIDTH = 16,
    parameter WIDTH = 8,
    parameter [15:0] MULTIPLIER = 1,
    parameter SHIFT = 1,
    parameter signed [WIDTH+1:0] LOW = 0,
    parameter signed [WIDTH+1:0] HIGH = {2'b01, {WIDTH{1'b0}}}
) (
    input  wire                        clock,
    input  wire                        reset,
    input  wire                        in_valid,
    input  wire                        in_last,
    input  wire signed [ACC_WIDTH-1:0] in_value,
    output wire                        out_valid,
    output wire                        out_last,
    output reg  signed [WIDTH+1:0]     out_value
);
    // sign, product and the carry of the rounding constant; as wide as a bound at least
    localparam PRODUCT_WIDTH = (ACC_WIDTH + 17 > SHIFT ? ACC_WIDTH + 17 : SHIFT) + 2;

    localparam signed [16:0] FACTOR = {1'b0, MULTIPLIER};
    localparam signed [PRODUCT_WIDTH-1:0] HALF = {{(PRODUCT_WIDTH - 1){1'b0}}, 1'b1} << (SHIFT - 1);
    localparam signed [PRODUCT_WIDTH-1:0] LOWEST = {{(PRODUCT_WIDTH - WIDTH - 2){LOW[WIDTH+1]}}, LOW};
    localparam signed [PRODUCT_WIDTH-1:0] HIGHEST = {{(PRODUCT_WIDTH - WIDTH - 2){HIGH[WIDTH+1]}}, HIGH};

    reg  signed [ACC_WIDTH+16:0]     scaled;
    wire signed [PRODUCT_WIDTH-1:0] extended = {{(PRODUCT_WIDTH - ACC_WIDTH - 17){scaled[ACC_WIDTH+16]}}, scaled};
    wire signed [PRODUCT_WIDTH-1:0] shifted = (extended + HALF) >>> SHIFT;
    reg  signed [PRODUCT_WIDTH-1:0] rounded;

    always @(posedge clock) begin
        scaled <= in_value * FACTOR;
        rounded <= shifted;
        out_value <= rounded < LOWEST ? LOW : rounded > HIGHEST ? HIGH : rounded[WIDTH+1:0];
    end

    bitprop_fold_delay #(.WIDTH(2), .CYCLES(3)) flags (
        .clock(clock), .reset(reset), .in({in_valid, in_last}), .out({out_valid, out_last})
    );
endmodule
