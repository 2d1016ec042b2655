// bitprop_uart_receiver: bytes from a serial line: a low start bit, eight data bits, the lowest first, a high stop bit.
//
//   serial: of any clock; two registers bring it to this one
//   CLOCKS: clock cycles of a bit, 8 at least
//   valid: one cycle; value is the byte, broken says that its stop bit was low
//
//   A bit is the majority of three looks around its middle.  A start bit that is high there was noise and is forgotten.
//   The byte is given in the middle of its stop bit, so that the next start bit may come early; after a low stop bit
//   nothing begins until the line has been high.
module bitprop_uart_receiver #(
    parameter CLOCKS = 104
) (
    input  wire       clock,
    input  wire       reset,
    input  wire       serial,
    output wire       valid,
    output wire       broken,
    output wire [7:0] value
);
    localparam BITS = $clog2(CLOCKS);
    localparam [31:0] LIMIT = CLOCKS - 1;
    localparam [31:0] EARLY = CLOCKS / 2 - CLOCKS / 8;
    localparam [31:0] MIDDLE = CLOCKS / 2;
    localparam [31:0] LATE = CLOCKS / 2 + CLOCKS / 8;

    reg  [1:0]      line;
    reg             busy, held;
    reg  [BITS-1:0] tick;
    reg  [3:0]      place;
    reg  [1:0]      looks;
    reg  [7:0]      shift;

    wire level = line[1];
    wire taken = (looks[0] & looks[1]) | (looks[0] & level) | (looks[1] & level);
    wire decide = busy && tick == LATE[BITS-1:0];
    wire stop = place == 4'd9;

    assign valid = decide && stop;
    assign broken = !taken;
    assign value = shift;

    always @(posedge clock) begin
        line <= {line[0], serial};
        tick <= !busy || tick == LIMIT[BITS-1:0] ? 0 : tick + 1'b1;
        if (tick == EARLY[BITS-1:0]) looks[0] <= level;
        if (tick == MIDDLE[BITS-1:0]) looks[1] <= level;
        if (decide && !stop) shift <= {taken, shift[7:1]};
        if (!busy) place <= 4'd0;
        else if (tick == LIMIT[BITS-1:0]) place <= place + 1'b1;

        if (reset) begin
            busy <= 1'b0;
            held <= 1'b1;
        end else begin
            if (!busy) busy <= !level && !held;
            else if (decide && (stop || (place == 4'd0 && taken))) busy <= 1'b0;
            if (valid && broken) held <= 1'b1;
            else if (level) held <= 1'b0;
        end
    end
endmodule
