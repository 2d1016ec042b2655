// bitprop_fold_drain: hands on the totals of a group one a cycle, neuron 0 first, from two cycles after finish.
//
//   finish: the last addition happens in this cycle, so that the totals stand in the next one; at least NEURONS cycles
//   apart.  The final group of a sample has REST neurons; out_last marks its last one.
module bitprop_fold_drain #(
    parameter NEURONS = 2,
    parameter REST = 2,
    parameter WIDTH = 16
) (
    input  wire                     clock,
    input  wire                     reset,
    input  wire                     finish,
    input  wire                     final_group,
    input  wire [NEURONS*WIDTH-1:0] totals,
    output wire                     out_valid,
    output wire                     out_last,
    output wire [WIDTH-1:0]         out_value
);
    localparam LEFT_BITS = $clog2(NEURONS + 1);

    reg                     load, load_final, ending;
    reg [LEFT_BITS-1:0]     left;
    reg [NEURONS*WIDTH-1:0] held;

    wire [(NEURONS+1)*WIDTH-1:0] queue = {{WIDTH{1'b0}}, held};

    assign out_valid = left != 0;
    assign out_last = left == 1 && ending;
    assign out_value = queue[WIDTH-1:0];

    always @(posedge clock)
        if (reset) begin
            load <= 1'b0;
            load_final <= 1'b0;
            ending <= 1'b0;
            left <= 0;
        end else begin
            load <= finish;
            load_final <= final_group;
            if (load) begin
                ending <= load_final;
                left <= load_final ? REST[LEFT_BITS-1:0] : NEURONS[LEFT_BITS-1:0];
            end else if (out_valid) left <= left - 1'b1;
        end

    always @(posedge clock)
        if (load) held <= totals;
        else held <= queue[(NEURONS+1)*WIDTH-1:WIDTH];
endmodule
