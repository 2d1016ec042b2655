// bitprop_accumulate: adds a neuron's contributions.  Contract and reference: accumulate.py beside this file.
//
//   total' = bias if load, total + contribution if enable, else total.   INPUT_WIDTH 2 .. WIDTH
module bitprop_accumulate #(
    parameter WIDTH = 16,
    parameter INPUT_WIDTH = 8
) (
    input  wire                          clock,
    input  wire                          load,
    input  wire signed [WIDTH-1:0]       bias,
    input  wire                          enable,
    input  wire signed [INPUT_WIDTH-1:0] contribution,
    output reg  signed [WIDTH-1:0]       total
);
    // at least one copy of the sign, so that no replication is empty when the widths are equal
    wire [WIDTH-1:0] extended =
        {{(WIDTH - INPUT_WIDTH + 1){contribution[INPUT_WIDTH-1]}}, contribution[INPUT_WIDTH-2:0]};

    always @(posedge clock)
        if (load) total <= bias;  // [S1] load
        else if (enable) total <= total + extended;  // [S2] add: modulo 2**WIDTH, signed or not
endmodule
