// Property of bitprop_accumulate: while the exact sum fits WIDTH bits, total is that sum; and total is always the sum
// modulo 2**WIDTH.  Induction; loads, enables, biases and contributions are free.
module prove_accumulate #(
    parameter WIDTH = 8,
    parameter INPUT_WIDTH = 4
) (
    input wire clock
);
    (* anyseq *) wire load, enable;
    (* anyseq *) wire signed [WIDTH-1:0] bias;
    (* anyseq *) wire signed [INPUT_WIDTH-1:0] contribution;
    wire signed [WIDTH-1:0] total;

    bitprop_accumulate #(.WIDTH(WIDTH), .INPUT_WIDTH(INPUT_WIDTH)) dut (
        .clock(clock), .load(load), .bias(bias), .enable(enable), .contribution(contribution), .total(total)
    );

    // the exact sum, with room for one contribution too many
    localparam signed [WIDTH+1:0] HIGHEST = {3'b000, {(WIDTH-1){1'b1}}};
    localparam signed [WIDTH+1:0] LOWEST = ~HIGHEST;
    reg loaded = 1'b0;
    reg fits;
    reg signed [WIDTH+1:0] exact;
    wire signed [WIDTH+1:0] after = exact + contribution;

    always @(posedge clock)
        if (load) begin
            loaded <= 1'b1;
            fits <= 1'b1;
            exact <= bias;
        end else if (enable) begin
            fits <= fits && after >= LOWEST && after <= HIGHEST;
            exact <= after;
        end

    always @* if (loaded) begin
        if (fits) begin
            assert (exact >= LOWEST && exact <= HIGHEST);
            assert (total == exact);
        end
        assert (total == $signed(exact[WIDTH-1:0]));
    end
endmodule
