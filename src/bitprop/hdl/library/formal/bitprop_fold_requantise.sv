// Property of bitprop_fold_requantise: each value, three cycles later, by the inequality of requantise; its flags with
// it, unless a reset came between.  For all accumulators, flags and resets.
module prove_bitprop_fold_requantise #(
    parameter ACC_WIDTH = 6,
    parameter WIDTH = 3,
    parameter [15:0] MULTIPLIER = 1,
    parameter SHIFT = 1,
    parameter signed [WIDTH+1:0] LOW = 0,
    parameter signed [WIDTH+1:0] HIGH = {2'b01, {WIDTH{1'b0}}}
) (
    input wire clock
);
    (* anyseq *) wire signed [ACC_WIDTH-1:0] in_value;
    (* anyseq *) wire in_valid, in_last, reset;
    wire out_valid, out_last;
    wire signed [WIDTH+1:0] out_value;

    bitprop_fold_requantise #(
        .ACC_WIDTH(ACC_WIDTH), .WIDTH(WIDTH), .MULTIPLIER(MULTIPLIER), .SHIFT(SHIFT), .LOW(LOW), .HIGH(HIGH)
    ) dut (
        .clock(clock), .reset(reset), .in_valid(in_valid), .in_last(in_last), .in_value(in_value),
        .out_valid(out_valid), .out_last(out_last), .out_value(out_value)
    );

    // what went in three cycles ago
    reg [1:0] age = 2'd0;
    reg [2:0] valid, last, clear;
    reg signed [ACC_WIDTH-1:0] first, second, third;
    always @(posedge clock) begin
        if (age != 2'd3) age <= age + 1'b1;
        valid <= {valid[1:0], in_valid};
        last <= {last[1:0], in_last};
        clear <= {clear[1:0], reset};
        first <= in_value;
        second <= first;
        third <= second;
    end

    rule_requantise #(
        .ACC_WIDTH(ACC_WIDTH), .WIDTH(WIDTH), .MULTIPLIER(MULTIPLIER), .SHIFT(SHIFT), .LOW(LOW), .HIGH(HIGH)
    ) rule (.there(age == 2'd3), .acc(third), .value(out_value));
    always @*
        if (age == 2'd3) begin
            assert (out_valid == (valid[2] && clear == 3'd0));
            assert (out_last == (last[2] && clear == 3'd0));
        end
endmodule
