// Property of bitprop_board_reset: a reset of 15 cycles from the start, and no other one without a button; with one, at
// once when it has come through two registers, and for 15 cycles after it.
module prove_bitprop_board_reset #(
    parameter UNUSED = 0
) (
    input wire clock
);
    (* anyseq *) wire button;
    wire reset;
    bitprop_board_reset dut (.clock(clock), .button(button), .reset(reset));

    reg [5:0] since = 0;  // cycles since the last one in which the button was seen, or since the start
    reg [1:0] line = 0;
    always @(posedge clock) begin
        line <= {line[0], button};
        since <= line[1] ? 0 : since == 63 ? 63 : since + 1'b1;
    end
    always @* assert (reset == (since < 15));
endmodule
