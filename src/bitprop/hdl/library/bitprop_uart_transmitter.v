// bitprop_uart_transmitter: bytes to a serial line: a low start bit, eight data bits, the lowest first, a high stop bit.
//
//   CLOCKS: clock cycles of a bit
//   A byte is taken in a cycle in which in_valid and in_ready are one.  The line is high between bytes, and from the
//   start: the register behind it holds the bits that are low.
module bitprop_uart_transmitter #(
    parameter CLOCKS = 104
) (
    input  wire       clock,
    input  wire       reset,
    input  wire       in_valid,
    output wire       in_ready,
    input  wire [7:0] in_value,
    output wire       serial
);
    localparam BITS = $clog2(CLOCKS);
    localparam [31:0] LIMIT = CLOCKS - 1;

    reg  [8:0]      low;
    reg  [3:0]      left;
    reg  [BITS-1:0] tick;
    wire            bit_end = tick == LIMIT[BITS-1:0];

    assign serial = !low[0];
    assign in_ready = left == 4'd0;

    always @(posedge clock)
        if (reset) begin
            low <= 9'd0;
            left <= 4'd0;
            tick <= 0;
        end else if (in_ready) begin
            tick <= 0;
            if (in_valid) begin
                low <= {~in_value, 1'b1};
                left <= 4'd10;
            end
        end else begin
            tick <= bit_end ? 0 : tick + 1'b1;
            if (bit_end) begin
                low <= {1'b0, low[8:1]};
                left <= left - 1'b1;
            end
        end
endmodule
