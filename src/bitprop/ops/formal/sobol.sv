// Property of bitprop_sobol: R_t = SEED ^ (XOR of the directions at the ones of t's Gray code), t the enabled edges since
// restart modulo 2**WIDTH; no number comes twice in such a period, and the leading j bits of an aligned block of 2**j
// numbers are all different.  Induction; restarts and enables are free, so a prefix of a longer stream is the shorter
// stream.
module prove_sobol #(
    parameter WIDTH = 8,
    parameter [WIDTH-1:0] SEED = 0,
    parameter [WIDTH*WIDTH-1:0] DIRECTIONS = 64'h0102040810204080
) (
    input wire clock
);
    (* anyseq *) wire restart, enable;
    wire [WIDTH-1:0] number;

    bitprop_sobol #(.WIDTH(WIDTH), .SEED(SEED), .DIRECTIONS(DIRECTIONS)) dut (
        .clock(clock), .restart(restart), .enable(enable), .number(number)
    );

    function [WIDTH-1:0] closed(input [WIDTH-1:0] at);
        integer i;
        begin
            closed = SEED;
            for (i = 0; i < WIDTH; i = i + 1)
                if (at[i] != (i < WIDTH - 1 && at[(i + 1) % WIDTH])) closed = closed ^ DIRECTIONS[i*WIDTH +: WIDTH];
        end
    endfunction

    reg begun = 1'b0;
    reg [WIDTH-1:0] t;
    always @(posedge clock)
        if (restart) begin
            begun <= 1'b1;
            t <= 0;
        end else if (enable) t <= t + 1'b1;

    (* anyconst *) wire [WIDTH-1:0] one_time, other_time;
    wire [WIDTH-1:0] one_number = closed(one_time);
    wire [WIDTH-1:0] other_number = closed(other_time);
    integer j;
    always @* begin
        if (begun) assert (number == closed(t));
        for (j = 1; j <= WIDTH; j = j + 1)
            if (one_time != other_time && one_time >> j == other_time >> j)
                assert (one_number >> (WIDTH - j) != other_number >> (WIDTH - j));
    end

`ifdef INVARIANT
    (* keep *) wire [WIDTH-2:0] tap_index;  // connected to dut.index
    always @* if (begun) assert (tap_index == t[WIDTH-2:0]);
`endif
endmodule
