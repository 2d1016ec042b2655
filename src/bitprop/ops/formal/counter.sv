// Property of bitprop_counter: R_t = (SEED + t * STRIDE) mod 2**WIDTH, t the enabled edges since restart modulo
// 2**WIDTH, so the period divides that; with an odd stride no number comes twice in it.  Induction; restarts and enables
// are free, so what has gone before never matters and a prefix of a longer stream is the shorter stream.
module prove_counter #(
    parameter WIDTH = 8,
    parameter [WIDTH-1:0] SEED = 0,
    parameter [WIDTH-1:0] STRIDE = 1
) (
    input wire clock
);
    (* anyseq *) wire restart, enable;
    wire [WIDTH-1:0] number;

    bitprop_counter #(.WIDTH(WIDTH), .SEED(SEED), .STRIDE(STRIDE)) dut (
        .clock(clock), .restart(restart), .enable(enable), .number(number)
    );

    function [WIDTH-1:0] closed(input [WIDTH-1:0] at);
        closed = SEED + at * STRIDE;
    endfunction

    reg begun = 1'b0;
    reg [WIDTH-1:0] t;
    always @(posedge clock)
        if (restart) begin
            begun <= 1'b1;
            t <= 0;
        end else if (enable) t <= t + 1'b1;

    (* anyconst *) wire [WIDTH-1:0] one_time, other_time;
    always @* begin
        if (begun) assert (number == closed(t));
        if (STRIDE[0] && one_time != other_time) assert (closed(one_time) != closed(other_time));
    end
endmodule
