// bitprop_crc: one byte of the cyclic redundancy check of CCITT: polynomial x^16 + x^12 + x^5 + 1, highest bit first.
//
//   It starts from 16'hffff; after a message and its two check bytes, the high one first, it is zero.
module bitprop_crc (
    input  wire [15:0] now,
    input  wire [7:0]  value,
    output reg  [15:0] next
);
    integer i;
    always @* begin
        next = now ^ {value, 8'd0};
        for (i = 0; i < 8; i = i + 1) next = {next[14:0], 1'b0} ^ (next[15] ? 16'h1021 : 16'd0);
    end
endmodule
