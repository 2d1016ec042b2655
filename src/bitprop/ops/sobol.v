// bitprop_sobol: one Sobol' dimension in Gray-code order, XOR scrambled.  Contract and reference: sobol.py beside
// this file.
//
//   number' = number ^ v[min(ctz(t + 1), WIDTH - 1)],   v[i] = DIRECTIONS[i*WIDTH +: WIDTH]
//
// The trailing zeros of t + 1 are the trailing ones of t, so the lowest zero of the index chooses the direction.
// restart loads SEED at a rising edge; number is R_0 from then on, and moves on at each edge with enable high.
module bitprop_sobol #(
    parameter WIDTH = 8,
    parameter [WIDTH-1:0] SEED = 0,
    parameter [WIDTH*WIDTH-1:0] DIRECTIONS = 64'h0102040810204080
) (
    input  wire             clock,
    input  wire             restart,
    input  wire             enable,
    output wire [WIDTH-1:0] number
);
    reg [WIDTH-2:0] index;
    reg [WIDTH-1:0] state;
    reg [WIDTH-1:0] direction;
    integer i;

    // [S1] direction: the last one written, of the lowest zero, stands
    always @* begin
        direction = DIRECTIONS[(WIDTH-1)*WIDTH +: WIDTH];
        for (i = WIDTH - 2; i >= 0; i = i - 1)
            if (!index[i]) direction = DIRECTIONS[i*WIDTH +: WIDTH];
    end

    // [S2] flip
    always @(posedge clock)
        if (restart) begin
            index <= 0;
            state <= SEED;
        end else if (enable) begin
            index <= index + 1'b1;
            state <= state ^ direction;
        end

    // [S3] emit
    assign number = state;
endmodule
