// Property of bitprop_uart_receiver behind bitprop_uart_transmitter: a byte that is taken arrives, whole and once, for any
// byte and any time of sending, after the start-up in which the line has been seen high.
module prove_bitprop_uart_receiver #(
    parameter CLOCKS = 8
) (
    input wire clock
);
    reg [7:0] cycle = 0;
    always @(posedge clock) if (cycle != 255) cycle <= cycle + 1'b1;
    wire reset = cycle < 2;

    (* anyconst *) wire [7:0] value;
    (* anyconst *) wire [2:0] start;
    reg  sent = 1'b0;
    wire offer = !sent && cycle >= 8 + start;
    wire taken, line, valid, broken;
    wire [7:0] heard;
    always @(posedge clock) if (offer && taken) sent <= 1'b1;

    bitprop_uart_transmitter #(.CLOCKS(CLOCKS)) other (
        .clock(clock), .reset(reset), .in_valid(offer), .in_ready(taken), .in_value(value), .serial(line)
    );
    bitprop_uart_receiver #(.CLOCKS(CLOCKS)) dut (
        .clock(clock), .reset(reset), .serial(line), .valid(valid), .broken(broken), .value(heard)
    );

    reg [1:0] count = 0;
    always @(posedge clock) if (!reset && valid) count <= count + 1'b1;
    always @* begin
        if (!reset && valid) begin
            assert (sent && count == 0 && !broken && heard == value);
        end
        if (!sent && cycle > 2) assert (line);
        // start and data bits, the middle of the stop bit, the way in
        if (cycle >= 8 + 7 + 10 * CLOCKS + 4) assert (count == 1 && line);
    end
endmodule
