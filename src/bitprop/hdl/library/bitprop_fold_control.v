// bitprop_fold_control: the order of a folded layer's work.
//
//   Per sample: GROUPS groups of neurons; per group every WORD of inputs, per word every STEP of stream cycles, one step
//   a clock, then WAIT idle cycles if the results of the group before take longer to leave.
//
//   A run starts when a whole sample lies in the buffer (full) and the stage behind has a free place for its results:
//   it has PLACES of them and gives one back with released.  So nothing ever stops a run.  free is high in the run's last
//   cycle, the last in which the buffer is read.
module bitprop_fold_control #(
    parameter WORDS = 4,
    parameter STEPS = 1,
    parameter GROUPS = 2,
    parameter WAIT = 0,
    parameter PLACES = 2
) (
    input  wire                                               clock,
    input  wire                                               reset,
    input  wire                                               full,
    output wire                                               free,
    input  wire                                               released,
    output wire                                               issue,
    output wire                                               first,
    output wire                                               last,
    output wire                                               final_group,
    output reg  [(STEPS > 1 ? $clog2(STEPS) : 1)-1:0]         step,
    output reg  [(WORDS > 1 ? $clog2(WORDS) : 1)-1:0]         word,
    output reg  [(GROUPS > 1 ? $clog2(GROUPS) : 1)-1:0]       group,
    output reg  [(GROUPS*WORDS > 1 ? $clog2(GROUPS*WORDS) : 1)-1:0] weight_word
);
    localparam STEP_BITS = STEPS > 1 ? $clog2(STEPS) : 1;
    localparam WORD_BITS = WORDS > 1 ? $clog2(WORDS) : 1;
    localparam GROUP_BITS = GROUPS > 1 ? $clog2(GROUPS) : 1;
    localparam PLACE_BITS = $clog2(PLACES + 1);

    localparam [31:0] STEP_LIMIT = STEPS - 1;
    localparam [31:0] WORD_LIMIT = WORDS - 1;
    localparam [31:0] GROUP_LIMIT = GROUPS - 1;

    reg                  run;
    reg [PLACE_BITS-1:0] places;
    wire                 waiting, group_end;

    wire start = !run && full && places != 0;
    wire step_end = step == STEP_LIMIT[STEP_BITS-1:0];
    wire word_end = word == WORD_LIMIT[WORD_BITS-1:0];
    wire work_end = issue && step_end && word_end;

    assign issue = run && !waiting;
    assign first = step == 0 && word == 0;
    assign last = step_end && word_end;
    assign final_group = group == GROUP_LIMIT[GROUP_BITS-1:0];
    assign free = group_end && final_group;

    generate
        if (WAIT > 0) begin : slow_drain
            localparam WAIT_BITS = $clog2(WAIT + 1);
            reg [WAIT_BITS-1:0] left;
            always @(posedge clock)
                if (reset) left <= 0;
                else if (work_end) left <= WAIT[WAIT_BITS-1:0];
                else if (left != 0) left <= left - 1'b1;
            assign waiting = left != 0;
            assign group_end = left == 1;
        end else begin : fast_drain
            assign waiting = 1'b0;
            assign group_end = work_end;
        end
    endgenerate

    always @(posedge clock)
        if (reset) begin
            run <= 1'b0;
            step <= 0;
            word <= 0;
            group <= 0;
            weight_word <= 0;
            places <= PLACES[PLACE_BITS-1:0];
        end else begin
            if (start) run <= 1'b1;
            else if (free) run <= 1'b0;

            if (issue) begin
                step <= step_end ? 0 : step + 1'b1;
                if (step_end) begin
                    word <= word_end ? 0 : word + 1'b1;
                    weight_word <= word_end && final_group ? 0 : weight_word + 1'b1;
                end
            end
            if (group_end) group <= final_group ? 0 : group + 1'b1;

            if (start && !released) places <= places - 1'b1;
            else if (released && !start) places <= places + 1'b1;
        end
endmodule
