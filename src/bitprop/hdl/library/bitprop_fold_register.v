// bitprop_fold_register: a register where ENABLED is 1, a wire where it is 0: what pipelining is made of.
module bitprop_fold_register #(
    parameter WIDTH = 8,
    parameter ENABLED = 1
) (
    input  wire             clock,
    input  wire [WIDTH-1:0] in,
    output wire [WIDTH-1:0] out
);
    generate
        if (ENABLED != 0) begin : clocked
            reg [WIDTH-1:0] kept;
            always @(posedge clock) kept <= in;
            assign out = kept;
        end else begin : direct
            wire unused_clock = clock;
            assign out = in;
        end
    endgenerate
endmodule
