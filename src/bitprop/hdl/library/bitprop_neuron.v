// bitprop_neuron: multiplies INPUTS streams by INPUTS weight streams, counts the products and accumulates the counts.
//
//   ENCODING 0 unipolar, 1 bipolar, 2 sign_magnitude; WIDTH is that of the accumulator, $clog2(INPUTS + 1) + 1 at least
module bitprop_neuron #(
    parameter INPUTS = 8,
    parameter ENCODING = 0,
    parameter WIDTH = 16
) (
    input  wire                    clock,
    input  wire                    load,
    input  wire                    enable,
    input  wire signed [WIDTH-1:0] bias,
    input  wire [INPUTS-1:0]       x_bits,
    input  wire [INPUTS-1:0]       x_negative,
    input  wire [INPUTS-1:0]       w_bits,
    input  wire [INPUTS-1:0]       w_negative,
    output wire signed [WIDTH-1:0] total
);
    localparam CONTRIBUTION_WIDTH = $clog2(INPUTS + 1) + 1;

    wire [INPUTS-1:0] negative = x_negative ^ w_negative;
    wire [INPUTS-1:0] product_bits;
    wire signed [CONTRIBUTION_WIDTH-1:0] contribution;

    bitprop_multiply #(.INPUTS(INPUTS), .ENCODING(ENCODING)) multiply (
        .x_bits(x_bits),
        .w_bits(w_bits),
        .negative(negative),
        .product_bits(product_bits)
    );

    bitprop_count #(.INPUTS(INPUTS), .ENCODING(ENCODING), .WIDTH(CONTRIBUTION_WIDTH)) count (
        .product_bits(product_bits),
        .negative(negative),
        .contribution(contribution)
    );

    bitprop_accumulate #(.WIDTH(WIDTH), .INPUT_WIDTH(CONTRIBUTION_WIDTH)) accumulate (
        .clock(clock),
        .load(load),
        .bias(bias),
        .enable(enable),
        .contribution(contribution),
        .total(total)
    );
endmodule
