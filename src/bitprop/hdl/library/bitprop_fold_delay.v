// bitprop_fold_delay: WIDTH bits, CYCLES later (one at least); reset clears all of them.
module bitprop_fold_delay #(
    parameter WIDTH = 4,
    parameter CYCLES = 4
) (
    input  wire             clock,
    input  wire             reset,
    input  wire [WIDTH-1:0] in,
    output wire [WIDTH-1:0] out
);
    reg [CYCLES*WIDTH-1:0] line;

    generate
        if (CYCLES > 1) begin : long_line
            always @(posedge clock)
                if (reset) line <= 0;
                else line <= {line[(CYCLES-1)*WIDTH-1:0], in};
        end else begin : short_line
            always @(posedge clock)
                if (reset) line <= 0;
                else line <= in;
        end
    endgenerate

    assign out = line[(CYCLES-1)*WIDTH +: WIDTH];
endmodule
