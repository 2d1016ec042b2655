// bitprop_mac_buffer: a layer's activations.  Takes a sample in beats of LANES value integers, stores the low WIDTH bits
// of each in words of PER_WORD inputs, and holds two samples: one is read while the next one comes.
//
//   in_values: lane i in bits i*(WIDTH+2) +: WIDTH+2, 0 .. 2**WIDTH - 1; beat b brings inputs b*LANES ..
//   inputs: input i of the word in bits i*WIDTH +: WIDTH, two cycles after its word is asked for
//   full: a whole sample can be read, in the cycle after its last beat; free gives the place back
//
//   PER_WORD is a multiple of LANES, INPUTS one of PER_WORD.
module bitprop_mac_buffer #(
    parameter INPUTS = 8,
    parameter LANES = 1,
    parameter PER_WORD = 4,
    parameter WIDTH = 4
) (
    input  wire                                                             clock,
    input  wire                                                             reset,
    input  wire                                                             in_valid,
    output wire                                                             in_ready,
    input  wire [LANES*(WIDTH+2)-1:0]                                       in_values,
    output wire                                                             full,
    input  wire                                                             free,
    input  wire [(INPUTS > PER_WORD ? $clog2(INPUTS / PER_WORD) : 1)-1:0] word,
    output reg  [PER_WORD*WIDTH-1:0]                                        inputs
);
    localparam WORDS = INPUTS / PER_WORD;
    localparam PARTS = PER_WORD / LANES;
    localparam WORD_BITS = WORDS > 1 ? $clog2(WORDS) : 1;
    localparam PART_BITS = PARTS > 1 ? $clog2(PARTS) : 1;
    localparam [31:0] WORD_LIMIT = WORDS - 1;
    localparam [31:0] PART_LIMIT = PARTS - 1;

    reg  [1:0]           stored;
    reg                  in_place, out_place;
    reg  [WORD_BITS-1:0] in_word;
    reg  [PART_BITS-1:0] part;

    wire take = in_valid && in_ready;
    wire write = take && part == PART_LIMIT[PART_BITS-1:0];
    wire write_end = write && in_word == WORD_LIMIT[WORD_BITS-1:0];

    assign in_ready = stored != 2;
    assign full = stored != 0;

    always @(posedge clock)
        if (reset) begin
            stored <= 0;
            in_place <= 1'b0;
            out_place <= 1'b0;
            in_word <= 0;
            part <= 0;
        end else begin
            if (take) part <= write ? 0 : part + 1'b1;
            if (write) in_word <= write_end ? 0 : in_word + 1'b1;
            if (write_end) in_place <= !in_place;
            if (free) out_place <= !out_place;
            if (write_end && !free) stored <= stored + 1'b1;
            else if (free && !write_end) stored <= stored - 1'b1;
        end

    // the lanes without their sign and spare bit
    wire [LANES*WIDTH-1:0] kept;
    genvar i;
    generate
        for (i = 0; i < LANES; i = i + 1) begin : lane
            wire [1:0] unused_high = in_values[i*(WIDTH+2)+WIDTH +: 2];
            assign kept[i*WIDTH +: WIDTH] = in_values[i*(WIDTH+2) +: WIDTH];
        end
    endgenerate

    // a word is gathered from the top, so that its first lane ends lowest
    wire [PER_WORD*WIDTH-1:0] gathered;
    generate
        if (PARTS > 1) begin : parts
            reg [(PARTS-1)*LANES*WIDTH-1:0] waiting;
            assign gathered = {kept, waiting};
            always @(posedge clock) if (take) waiting <= gathered[PER_WORD*WIDTH-1:LANES*WIDTH];
        end else begin : whole
            assign gathered = kept;
        end
    endgenerate

    // the memory: a place is the top bit of the address
    reg [PER_WORD*WIDTH-1:0] memory [0:(2<<WORD_BITS)-1];
    reg [PER_WORD*WIDTH-1:0] read;

    always @(posedge clock) begin
        if (write) memory[{in_place, in_word}] <= gathered;
        read <= memory[{out_place, word}];
        inputs <= read;
    end
endmodule
