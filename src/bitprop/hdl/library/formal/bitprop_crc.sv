// Property of bitprop_crc: the whole byte at once, by what its eight steps of long division come to.  All inputs.
module prove_bitprop_crc #(
    parameter UNUSED = 0
) (
    input wire clock
);
    (* anyseq *) wire [15:0] now;
    (* anyseq *) wire [7:0] value;
    wire [15:0] next;
    bitprop_crc dut (.now(now), .value(value), .next(next));

    wire [7:0] sum = now[15:8] ^ value;
    wire [7:0] fold = sum ^ {4'd0, sum[7:4]};
    always @* assert (next == ({now[7:0], 8'd0} ^ {fold[3:0], 12'd0} ^ {3'd0, fold, 5'd0} ^ {8'd0, fold}));
endmodule
