// Property of bitprop_halton: R_t by division and remainder of j = (t + SEED) mod BASE**DIGITS, t the enabled edges since
// restart.  Induction; restarts and enables are free, so a prefix of a longer stream is the shorter stream.
module prove_halton #(
    parameter WIDTH = 8,
    parameter BASE = 2,
    parameter [WIDTH-1:0] SEED = 0
) (
    input wire clock
);
    // ceil(WIDTH * log 2 / log 3)
    localparam DIGITS = BASE == 2 ? WIDTH : (WIDTH * 6310 + 9999) / 10000;
    localparam DIGIT_BITS = BASE == 2 ? 1 : 2;
    localparam PERIOD = BASE ** DIGITS;
    localparam J_BITS = $clog2(PERIOD + 1);
    localparam SUM_BITS = WIDTH + 9;

    (* anyseq *) wire restart, enable;
    wire [WIDTH-1:0] number;

    bitprop_halton #(.WIDTH(WIDTH), .BASE(BASE), .SEED(SEED)) dut (
        .clock(clock), .restart(restart), .enable(enable), .number(number)
    );

    reg begun = 1'b0;
    reg [J_BITS-1:0] j;
    always @(posedge clock)
        if (restart) begin
            begun <= 1'b1;
            j <= SEED;
        end else if (enable) j <= j == PERIOD - 1 ? 0 : j + 1'b1;

    wire [DIGITS*SUM_BITS-1:0] terms;
    wire [DIGITS*DIGIT_BITS-1:0] digits;
    genvar i;
    generate
        for (i = 0; i < DIGITS; i = i + 1) begin : place
            wire [J_BITS-1:0] digit = j / BASE ** i % BASE;
            assign terms[i*SUM_BITS +: SUM_BITS] = digit * ((1 << (WIDTH + 8)) / BASE ** (i + 1));
            assign digits[i*DIGIT_BITS +: DIGIT_BITS] = digit;
        end
    endgenerate

    reg [SUM_BITS-1:0] sum;
    integer place_number;
    always @* begin
        sum = 0;
        for (place_number = 0; place_number < DIGITS; place_number = place_number + 1)
            sum = sum + terms[place_number*SUM_BITS +: SUM_BITS];
        if (begun) begin
            assert (j < PERIOD);
            assert (number == sum >> 8);
            assert (sum >> 8 < (1 << WIDTH));
        end
    end

`ifdef INVARIANT
    (* keep *) wire [DIGITS*DIGIT_BITS-1:0] tap_index;  // connected to dut.index
    always @* if (begun) assert (tap_index == digits);
`endif
endmodule
