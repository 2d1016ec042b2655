// bitprop_halton: radical inverse of a counter, base 2 or 3.  Contract and reference: halton.py beside this file.
//
//   BASE 2: number = the WIDTH bits of the index, reversed
//   BASE 3: number = (sum_i digit_i * floor(2**(WIDTH+8) / 3**(i+1))) >> 8, the index a counter of ternary digits
//
// restart loads SEED at a rising edge; number is R_0 from then on, and moves on at each edge with enable high.
module bitprop_halton #(
    parameter WIDTH = 8,
    parameter BASE = 2,
    parameter [WIDTH-1:0] SEED = 0
) (
    input  wire             clock,
    input  wire             restart,
    input  wire             enable,
    output wire [WIDTH-1:0] number
);
    // the fewest digits with 3**digits >= limit
    function integer count_digits(input integer limit);
        integer reach;
        begin
            count_digits = 0;
            for (reach = 1; reach < limit; reach = reach * 3) count_digits = count_digits + 1;
        end
    endfunction

    localparam DIGITS = BASE == 2 ? WIDTH : count_digits(1 << WIDTH);
    localparam DIGIT_BITS = BASE == 2 ? 1 : 2;
    localparam SUM_BITS = WIDTH + 8;

    // digit i of the value, base 3, in bits 2i+1 .. 2i
    function [2*DIGITS-1:0] ternary(input integer value);
        integer place, rest;
        begin
            ternary = 0;
            rest = value;
            for (place = 0; place < DIGITS; place = place + 1) begin
                ternary[2*place+1] = rest % 3 == 2;
                ternary[2*place] = rest % 3 == 1;
                rest = rest / 3;
            end
        end
    endfunction

    // floor(scale / 3**(i+1)) in bits i*SUM_BITS +: SUM_BITS; flooring step by step is exact
    function [DIGITS*SUM_BITS-1:0] ternary_weights(input integer scale);
        integer place, rest;
        begin
            ternary_weights = 0;
            rest = scale;
            for (place = 0; place < DIGITS; place = place + 1) begin
                rest = rest / 3;
                ternary_weights[place*SUM_BITS +: SUM_BITS] = rest[SUM_BITS-1:0];
            end
        end
    endfunction

    reg [DIGITS*DIGIT_BITS-1:0] index;
    wire [DIGITS*DIGIT_BITS-1:0] first;
    reg [DIGITS*DIGIT_BITS-1:0] successor;
    reg [WIDTH-1:0] inverse;

    // [S1] index
    generate
        if (BASE == 2) begin : binary_index
            assign first = SEED;
            always @* successor = index + 1'b1;
        end else begin : ternary_index
            localparam [2*DIGITS-1:0] FIRST = ternary({{(32-WIDTH){1'b0}}, SEED});
            reg carry;
            integer i;
            assign first = FIRST;
            always @* begin
                carry = 1'b1;
                successor = index;
                for (i = 0; i < DIGITS; i = i + 1) begin
                    if (carry) successor[2*i +: 2] = index[2*i+1] ? 2'd0 : index[2*i +: 2] + 2'd1;
                    carry = carry & index[2*i+1];
                end
            end
        end
    endgenerate

    always @(posedge clock)
        if (restart) index <= first;
        else if (enable) index <= successor;

    // [S2] reverse
    generate
        if (BASE == 2) begin : binary_inverse
            integer i;
            always @*
                for (i = 0; i < WIDTH; i = i + 1) inverse[i] = index[WIDTH-1-i];
        end else begin : ternary_inverse
            localparam [DIGITS*SUM_BITS-1:0] WEIGHTS = ternary_weights(1 << SUM_BITS);
            reg [SUM_BITS-1:0] sum;
            integer i;
            always @* begin
                sum = 0;
                for (i = 0; i < DIGITS; i = i + 1)
                    case (index[2*i +: 2])
                        2'd1: sum = sum + WEIGHTS[i*SUM_BITS +: SUM_BITS];
                        2'd2: sum = sum + (WEIGHTS[i*SUM_BITS +: SUM_BITS] << 1);
                        default: ;
                    endcase
                inverse = sum[SUM_BITS-1:8];
            end
        end
    endgenerate

    // [S3] emit
    assign number = inverse;
endmodule
