// bitprop_fold_buffer: a folded layer's activations.  Takes a sample in beats of LANES value integers, stores their
// codes and signs in words of PER_WORD inputs, and holds two samples: one is read while the next one comes.
//
//   in_values: lane i in bits i*(WIDTH+2) +: WIDTH+2; beat b brings inputs b*LANES ..; lanes beyond INPUTS count as 0
//   inputs: lane i is {sign (ENCODING 2 only), code} in bits i*LANE +: LANE, two cycles after its word is asked for
//   full: a whole sample can be read, 4 cycles after its last beat was taken; free gives the place back
//
//   PER_WORD is a multiple of LANES.
module bitprop_fold_buffer #(
    parameter INPUTS = 8,
    parameter LANES = 1,
    parameter PER_WORD = 4,
    parameter WIDTH = 8,
    parameter ENCODING = 0,
    parameter LEVELS = 0,
    parameter CODE_WIDTH = 9,
    parameter [(LEVELS > 0 ? LEVELS : 1)*WIDTH-1:0] NUMBERS = 0
) (
    input  wire                                                       clock,
    input  wire                                                       reset,
    input  wire                                                       in_valid,
    output wire                                                       in_ready,
    input  wire [LANES*(WIDTH+2)-1:0]                                 in_values,
    output wire                                                       full,
    input  wire                                                       free,
    input  wire [(INPUTS > PER_WORD ? $clog2((INPUTS + PER_WORD - 1) / PER_WORD) : 1)-1:0] word,
    output reg  [PER_WORD*(CODE_WIDTH + (ENCODING == 2 ? 1 : 0))-1:0] inputs
);
    localparam LANE = CODE_WIDTH + (ENCODING == 2 ? 1 : 0);
    localparam BEATS = (INPUTS + LANES - 1) / LANES;
    localparam WORDS = (INPUTS + PER_WORD - 1) / PER_WORD;
    localparam PLACES = PER_WORD / LANES;
    localparam REST = INPUTS - (BEATS - 1) * LANES;
    localparam BEAT_BITS = BEATS > 1 ? $clog2(BEATS) : 1;
    localparam WORD_BITS = WORDS > 1 ? $clog2(WORDS) : 1;
    localparam PLACE_BITS = PLACES > 1 ? $clog2(PLACES) : 1;
    localparam [31:0] BEAT_LIMIT = BEATS - 1;
    localparam [31:0] PLACE_LIMIT = PLACES - 1;

    // taking beats: the place that is written may not hold a sample
    reg  [1:0]           occupied;
    reg                  in_place, out_place;
    reg  [BEAT_BITS-1:0] beat;
    wire                 take = in_valid && in_ready;
    wire                 beat_end = beat == BEAT_LIMIT[BEAT_BITS-1:0];

    assign in_ready = !occupied[in_place];

    always @(posedge clock)
        if (reset) begin
            occupied <= 2'b00;
            in_place <= 1'b0;
            out_place <= 1'b0;
            beat <= 0;
        end else begin
            if (take) beat <= beat_end ? 0 : beat + 1'b1;
            if (take && beat_end) begin
                occupied[in_place] <= 1'b1;
                in_place <= !in_place;
            end
            if (free) begin
                occupied[out_place] <= 1'b0;
                out_place <= !out_place;
            end
        end

    // two cycles of coding
    reg  [1:0]            moving, ending;
    wire [LANES*LANE-1:0] coded;

    always @(posedge clock)
        if (reset) begin
            moving <= 2'b00;
            ending <= 2'b00;
        end else begin
            moving <= {moving[0], take};
            ending <= {ending[0], take && beat_end};
        end

    genvar i, p;
    generate
        for (i = 0; i < LANES; i = i + 1) begin : lane
            wire [CODE_WIDTH-1:0] code;
            wire                  negative;
            wire                  there = i < REST || !ending[1];
            bitprop_fold_code #(
                .WIDTH(WIDTH),
                .ENCODING(ENCODING),
                .LEVELS(LEVELS),
                .CODE_WIDTH(CODE_WIDTH),
                .NUMBERS(NUMBERS)
            ) coder (
                .clock(clock),
                .value(in_values[i*(WIDTH+2) +: WIDTH+2]),
                .code(code),
                .negative(negative)
            );
            assign coded[i*LANE +: CODE_WIDTH] = there ? code : {CODE_WIDTH{1'b0}};
            if (ENCODING == 2) begin : signs
                assign coded[i*LANE+CODE_WIDTH] = there && negative;
            end else begin : no_signs
                wire unused_negative = negative;
            end
        end
    endgenerate

    // one cycle of packing: the first beat of a word clears the places behind it
    reg  [PER_WORD*LANE-1:0] packed_word;
    reg  [PLACE_BITS-1:0]    place;
    reg                      write, write_end;
    wire                     place_end = place == PLACE_LIMIT[PLACE_BITS-1:0] || ending[1];

    always @(posedge clock)
        if (reset) begin
            place <= 0;
            write <= 1'b0;
            write_end <= 1'b0;
        end else begin
            if (moving[1]) place <= place_end ? 0 : place + 1'b1;
            write <= moving[1] && place_end;
            write_end <= moving[1] && ending[1];
        end

    generate
        for (p = 0; p < PLACES; p = p + 1) begin : put
            localparam [31:0] INDEX = p;
            always @(posedge clock)
                if (moving[1]) begin
                    if (place == INDEX[PLACE_BITS-1:0]) packed_word[p*LANES*LANE +: LANES*LANE] <= coded;
                    else if (place == 0) packed_word[p*LANES*LANE +: LANES*LANE] <= 0;
                end
        end
    endgenerate

    // the memory: a place is the top bit of the address
    reg [PER_WORD*LANE-1:0] memory [0:(2<<WORD_BITS)-1];
    reg [PER_WORD*LANE-1:0] read;
    reg                     write_place;
    reg [WORD_BITS-1:0]     write_word;
    reg [1:0]               stored;

    assign full = stored != 0;

    always @(posedge clock) begin
        if (write) memory[{write_place, write_word}] <= packed_word;
        read <= memory[{out_place, word}];
        inputs <= read;
    end

    always @(posedge clock)
        if (reset) begin
            write_place <= 1'b0;
            write_word <= 0;
            stored <= 0;
        end else begin
            if (write) write_word <= write_end ? 0 : write_word + 1'b1;
            if (write_end) write_place <= !write_place;
            if (write_end && !free) stored <= stored + 1'b1;
            else if (free && !write_end) stored <= stored - 1'b1;
        end
endmodule
