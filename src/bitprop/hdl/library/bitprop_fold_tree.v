// bitprop_fold_tree: the sum of INPUTS signed integers, a binary tree with a register after every EVERY levels and at
// its root; EVERY 0 has none.
//
//   values: integer i in bits i*WIDTH +: WIDTH; ceil($clog2(INPUTS) / EVERY) cycles
module bitprop_fold_tree #(
    parameter INPUTS = 8,
    parameter WIDTH = 4,
    parameter EVERY = 1
) (
    input  wire                                  clock,
    input  wire        [INPUTS*WIDTH-1:0]        values,
    output wire signed [WIDTH+$clog2(INPUTS)-1:0] sum
);
    localparam LEVELS = $clog2(INPUTS);

    genvar l, i;
    generate
        for (l = 0; l <= LEVELS; l = l + 1) begin : level
            localparam COUNT = (INPUTS + (1 << l) - 1) >> l;
            localparam BITS = WIDTH + l;
            wire [COUNT*BITS-1:0] sums;

            if (l == 0) begin : leaves
                wire unused_clock = clock;
                assign sums = values;
            end else begin : nodes
                localparam BELOW = (INPUTS + (1 << (l - 1)) - 1) >> (l - 1);
                localparam REGISTER = EVERY == 0 ? 0 : l == LEVELS ? 1 : l % (EVERY > 0 ? EVERY : 1) == 0 ? 1 : 0;
                wire [COUNT*BITS-1:0] added;
                for (i = 0; i < COUNT; i = i + 1) begin : node
                    wire [BITS-2:0] left = level[l-1].sums[2*i*(BITS-1) +: BITS-1];
                    if (2 * i + 1 < BELOW) begin : pair
                        wire [BITS-2:0] right = level[l-1].sums[(2*i+1)*(BITS-1) +: BITS-1];
                        assign added[i*BITS +: BITS] = {left[BITS-2], left} + {right[BITS-2], right};
                    end else begin : single
                        assign added[i*BITS +: BITS] = {left[BITS-2], left};
                    end
                end
                bitprop_fold_register #(.WIDTH(COUNT*BITS), .ENABLED(REGISTER)) register (
                    .clock(clock), .in(added), .out(sums)
                );
            end
        end
    endgenerate

    assign sum = level[LEVELS].sums;
endmodule
