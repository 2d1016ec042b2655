// bitprop_mac_neuron: multiplies INPUTS activations by as many weights, adds the products and accumulates the sums.
//
//   x: input i in bits i*X_WIDTH +: X_WIDTH, unsigned; w: weight i in bits i*W_WIDTH +: W_WIDTH, two's complement
//   total' = (first ? bias : total) + sum if add; a sum comes 1 + ceil($clog2(INPUTS) / EVERY) cycles after its inputs
module bitprop_mac_neuron #(
    parameter INPUTS = 4,
    parameter X_WIDTH = 4,
    parameter W_WIDTH = 4,
    parameter EVERY = 1,
    parameter WIDTH = 16
) (
    input  wire                      clock,
    input  wire [INPUTS*X_WIDTH-1:0] x,
    input  wire [INPUTS*W_WIDTH-1:0] w,
    input  wire                      add,
    input  wire                      first,
    input  wire signed [WIDTH-1:0]   bias,
    output reg  signed [WIDTH-1:0]   total
);
    localparam PRODUCT = X_WIDTH + W_WIDTH;
    localparam SUM = PRODUCT + $clog2(INPUTS);

    reg [INPUTS*PRODUCT-1:0] products;

    genvar i;
    generate
        for (i = 0; i < INPUTS; i = i + 1) begin : lane
            // both extended by hand; synthesis takes the copies of the sign off again
            wire signed [PRODUCT-1:0] activation = {{W_WIDTH{1'b0}}, x[i*X_WIDTH +: X_WIDTH]};
            wire signed [PRODUCT-1:0] weight = {{X_WIDTH{w[i*W_WIDTH+W_WIDTH-1]}}, w[i*W_WIDTH +: W_WIDTH]};
            always @(posedge clock) products[i*PRODUCT +: PRODUCT] <= activation * weight;
        end
    endgenerate

    wire signed [SUM-1:0] sum;
    bitprop_fold_tree #(.INPUTS(INPUTS), .WIDTH(PRODUCT), .EVERY(EVERY)) tree (
        .clock(clock), .values(products), .sum(sum)
    );

    // at least one copy of the sign, so that no replication is empty when the widths are equal
    wire signed [WIDTH-1:0] extended = {{(WIDTH - SUM + 1){sum[SUM-1]}}, sum[SUM-2:0]};
    always @(posedge clock) if (add) total <= (first ? bias : total) + extended;
endmodule
