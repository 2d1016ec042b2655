// Property of bitprop_mac_neuron: where add is high, total becomes the bias (first) or itself, plus the sum of products of
// the inputs so many cycles before as there are registers in front.  Induction; everything is free.
module prove_bitprop_mac_neuron #(
    parameter INPUTS = 2,
    parameter X_WIDTH = 2,
    parameter W_WIDTH = 2,
    parameter WIDTH = 8
) (
    input wire clock
);
    localparam STAGES = 1 + $clog2(INPUTS);

    (* anyseq *) wire [INPUTS*X_WIDTH-1:0] x;
    (* anyseq *) wire [INPUTS*W_WIDTH-1:0] w;
    (* anyseq *) wire add, first;
    (* anyseq *) wire signed [WIDTH-1:0] bias;
    wire signed [WIDTH-1:0] total;

    bitprop_mac_neuron #(.INPUTS(INPUTS), .X_WIDTH(X_WIDTH), .W_WIDTH(W_WIDTH), .EVERY(1), .WIDTH(WIDTH)) dut (
        .clock(clock), .x(x), .w(w), .add(add), .first(first), .bias(bias), .total(total)
    );

    // one product as a sum of shifted weights: the top bit of a weight counts negative
    reg signed [WIDTH-1:0] sum, weight;
    integer i, k;
    always @* begin
        sum = 0;
        for (i = 0; i < INPUTS; i = i + 1) begin
            weight = 0;
            for (k = 0; k < W_WIDTH - 1; k = k + 1) if (w[i*W_WIDTH+k]) weight = weight + (1 << k);
            if (w[i*W_WIDTH+W_WIDTH-1]) weight = weight - (1 << (W_WIDTH - 1));
            for (k = 0; k < X_WIDTH; k = k + 1) if (x[i*X_WIDTH+k]) sum = sum + (weight << k);
        end
    end

    reg [STAGES*WIDTH-1:0] line;
    reg [STAGES-1:0] filled = 0;
    always @(posedge clock) begin
        line <= {line, sum};
        filled <= {filled, 1'b1};
    end
    wire signed [WIDTH-1:0] arrived = line[(STAGES-1)*WIDTH +: WIDTH];

    reg begun = 1'b0;
    reg signed [WIDTH-1:0] model;
    always @(posedge clock)
        if (add && filled[STAGES-1]) begin
            if (first) begun <= 1'b1;
            model <= (first ? bias : model) + arrived;
        end else if (add) begun <= 1'b0;  // a sum of what lay in the registers at the start

    always @* if (begun) assert (total == model);
endmodule
