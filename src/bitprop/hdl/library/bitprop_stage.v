// bitprop_stage: the controller of one layer.
//
//   cycle 0          in_valid and in_ready: load (thresholds latched, sources restarted, biases preloaded)
//   cycles 1 .. L    enable: one cycle of the streams each
//   cycle L + 1      store: the result goes into the output register
//   cycle L + 2      out_valid, until out_ready
//
// A new sample is accepted in the cycle in which the output register is taken, at the earliest.
module bitprop_stage #(
    parameter LENGTH = 64
) (
    input  wire clock,
    input  wire reset,
    input  wire in_valid,
    output wire in_ready,
    output wire load,
    output wire enable,
    output wire store,
    output reg  out_valid,
    input  wire out_ready
);
    localparam COUNT_WIDTH = $clog2(LENGTH + 1);

    reg                   busy;
    reg [COUNT_WIDTH-1:0] remaining;

    assign in_ready = !busy && (!out_valid || out_ready);
    assign load = in_valid && in_ready;
    assign enable = busy && remaining != 0;
    assign store = busy && remaining == 0;

    always @(posedge clock)
        if (reset) begin
            busy <= 1'b0;
            remaining <= 0;
            out_valid <= 1'b0;
        end else begin
            if (load) begin
                busy <= 1'b1;
                remaining <= LENGTH[COUNT_WIDTH-1:0];
            end else if (enable) remaining <= remaining - 1'b1;
            else if (store) busy <= 1'b0;

            if (store) out_valid <= 1'b1;
            else if (out_ready) out_valid <= 1'b0;
        end
endmodule
