// Property of bitprop_argmax: nothing is larger than the chosen value, and nothing before it is as large.  For all values.
module prove_argmax #(
    parameter INPUTS = 4,
    parameter WIDTH = 3
) (
    input wire clock
);
    localparam INDEX_WIDTH = INPUTS > 1 ? $clog2(INPUTS) : 1;

    (* anyseq *) wire [INPUTS*WIDTH-1:0] values;
    wire [INDEX_WIDTH-1:0] index;

    bitprop_argmax #(.INPUTS(INPUTS), .WIDTH(WIDTH)) dut (.values(values), .index(index));

    reg signed [WIDTH-1:0] chosen;
    integer i;
    always @* begin
        chosen = 0;
        for (i = 0; i < INPUTS; i = i + 1) if (i == index) chosen = values[i*WIDTH +: WIDTH];
        assert (index < INPUTS);
        for (i = 0; i < INPUTS; i = i + 1) begin
            assert ($signed(values[i*WIDTH +: WIDTH]) <= chosen);
            if (i < index) assert ($signed(values[i*WIDTH +: WIDTH]) != chosen);
        end
    end
endmodule
