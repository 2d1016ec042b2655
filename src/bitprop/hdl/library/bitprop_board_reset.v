// bitprop_board_reset: a reset of 15 clock cycles after the part has been configured, and while a button is pressed.
//
//   button: of any clock, 1 while it is pressed
module bitprop_board_reset (
    input  wire clock,
    input  wire button,
    output wire reset
);
    reg [1:0] pressed = 2'd0;
    reg [3:0] count = 4'd0;

    assign reset = count != 4'd15;

    always @(posedge clock) begin
        pressed <= {pressed[0], button};
        if (pressed[1]) count <= 4'd0;
        else if (reset) count <= count + 1'b1;
    end
endmodule
