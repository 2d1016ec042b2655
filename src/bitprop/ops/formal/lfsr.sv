// Property of bitprop_lfsr: the state, one more than the number, is never zero, and follows the recurrence written bit by
// bit.  Induction; restarts and enables are free.
module prove_lfsr #(
    parameter WIDTH = 8,
    parameter [WIDTH:0] POLYNOMIAL = 9'h171,
    parameter [WIDTH-1:0] SEED = 1
) (
    input wire clock
);
    (* anyseq *) wire restart, enable;
    wire [WIDTH-1:0] number;

    bitprop_lfsr #(.WIDTH(WIDTH), .POLYNOMIAL(POLYNOMIAL), .SEED(SEED)) dut (
        .clock(clock), .restart(restart), .enable(enable), .number(number)
    );

    reg begun = 1'b0;
    reg [WIDTH-1:0] state, next;
    integer i;
    always @* begin
        next = 0;
        for (i = 0; i < WIDTH; i = i + 1) begin
            if (i > 0) next[i] = state[i-1];
            if (POLYNOMIAL[i+1] && state[i]) next[0] = !next[0];
        end
    end
    always @(posedge clock)
        if (restart) begin
            begun <= 1'b1;
            state <= SEED;
        end else if (enable) state <= next;

    always @* if (begun) begin
        assert (state != 0);
        assert (number == state - 1'b1);
        assert (number != {WIDTH{1'b1}});
    end
endmodule
