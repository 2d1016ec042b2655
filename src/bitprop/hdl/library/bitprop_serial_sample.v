// bitprop_serial_sample: samples out of the bytes of a serial line.
//
//   A frame: "S" (8'h53); FEATURES value integers, each in as few bytes as hold WIDTH bits, the low byte first; the CRC of
//   the values' bytes, the high byte first.  Bytes between frames are ignored.
//   out: BEATS beats of LANES values, once the whole frame is there and its CRC is right; lanes behind the last feature
//   are any
//
//   A frame that is not right gives no sample but a report, one cycle: "F" a stop bit was low, "C" the CRC is wrong, "O"
//   the sample before had not been taken when this one began, "T" no byte came for 2**SILENCE clock cycles.
module bitprop_serial_sample #(
    parameter FEATURES = 4,
    parameter LANES = 2,
    parameter WIDTH = 10,
    parameter SILENCE = 20
) (
    input  wire                   clock,
    input  wire                   reset,
    input  wire                   in_valid,
    input  wire                   in_broken,
    input  wire [7:0]             in_value,
    output wire                   out_valid,
    input  wire                   out_ready,
    output wire [LANES*WIDTH-1:0] out_values,
    output wire                   report,
    output wire [7:0]             reason
);
    localparam BEATS = (FEATURES + LANES - 1) / LANES;
    localparam BEAT_BITS = BEATS > 1 ? $clog2(BEATS) : 1;
    localparam LANE_BITS = LANES > 1 ? $clog2(LANES) : 1;
    localparam BYTES = (WIDTH + 7) / 8;
    localparam REST = FEATURES - (BEATS - 1) * LANES;
    localparam [31:0] BEAT_LIMIT = BEATS - 1;
    localparam [31:0] LANE_LIMIT = LANES - 1;
    localparam [31:0] REST_LIMIT = REST - 1;
    localparam [31:0] BYTE_LIMIT = BYTES - 1;

    // what the next byte is
    localparam [1:0] START = 2'd0, VALUES = 2'd1, CHECK_HIGH = 2'd2, CHECK_LOW = 2'd3;

    reg  [1:0]             state;
    reg  [1:0]             byte_;
    reg  [LANE_BITS-1:0]   lane;
    reg  [BEAT_BITS-1:0]   beat;
    reg                    broken, late;
    reg  [15:0]            crc;
    reg  [SILENCE-1:0]     silence;
    reg  [LANES*WIDTH-1:0] packed_word;
    reg                    write;
    reg  [BEAT_BITS-1:0]   write_beat;

    wire [15:0] crc_after;
    bitprop_crc check (.now(crc), .value(in_value), .next(crc_after));

    wire beat_end = beat == BEAT_LIMIT[BEAT_BITS-1:0];
    wire lane_end = lane == LANE_LIMIT[LANE_BITS-1:0] || (beat_end && lane == REST_LIMIT[LANE_BITS-1:0]);
    wire byte_end = byte_ == BYTE_LIMIT[1:0];
    wire silent = state != START && &silence;
    wire frame_end = in_valid && state == CHECK_LOW;
    wire bad = broken || in_broken || late || crc_after != 16'd0;

    // a sample that is complete, until its last beat has been taken
    reg full, there;

    assign report = silent || (frame_end && bad);
    assign reason = silent ? "T" : late ? "O" : broken || in_broken ? "F" : "C";

    // a value's bytes come into their lane from above, the low one first
    wire [WIDTH-1:0] value;
    generate
        if (BYTES == 1) begin : narrow
            assign value = in_value[WIDTH-1:0];
        end else begin : wide
            reg  [8*(BYTES-1)-1:0] lower;
            wire [8*BYTES-1:0]     joined = {in_value, lower};
            always @(posedge clock) if (in_valid) lower <= joined[8*BYTES-1:8];
            assign value = joined[WIDTH-1:0];
        end
    endgenerate

    always @(posedge clock) begin
        silence <= in_valid ? 0 : silence + 1'b1;
        write <= 1'b0;
        if (in_valid && state == VALUES && !late) begin
            if (byte_end) packed_word[lane*WIDTH +: WIDTH] <= value;
            write <= byte_end && lane_end;
            write_beat <= beat;
        end

        if (reset || silent) state <= START;
        else if (in_valid)
            case (state)
                START: if (in_value == "S" && !in_broken) state <= VALUES;
                VALUES: if (byte_end && lane_end && beat_end) state <= CHECK_HIGH;
                CHECK_HIGH: state <= CHECK_LOW;
                default: state <= START;
            endcase

        if (in_valid) begin
            crc <= state == START ? 16'hffff : crc_after;
            broken <= state != START && (broken || in_broken);
            if (state == START) late <= full;
            byte_ <= state != VALUES || byte_end ? 2'd0 : byte_ + 1'b1;
            if (state != VALUES) begin
                lane <= 0;
                beat <= 0;
            end else if (byte_end) begin
                lane <= lane_end ? 0 : lane + 1'b1;
                if (lane_end) beat <= beat_end ? 0 : beat + 1'b1;
            end
        end
    end

    reg  [LANES*WIDTH-1:0] memory [0:BEATS-1];
    reg  [LANES*WIDTH-1:0] read;
    reg  [BEAT_BITS-1:0]   read_beat;
    wire                   taken = out_valid && out_ready;

    assign out_valid = full && there;
    assign out_values = read;

    always @(posedge clock) begin
        if (write) memory[write_beat] <= packed_word;
        read <= memory[read_beat];
        // a beat is there in the cycle after its address
        there <= full && !taken;
        if (reset) begin
            full <= 1'b0;
            read_beat <= 0;
        end else begin
            if (frame_end && !bad) full <= 1'b1;
            else if (taken && read_beat == BEAT_LIMIT[BEAT_BITS-1:0]) full <= 1'b0;
            if (taken) read_beat <= read_beat == BEAT_LIMIT[BEAT_BITS-1:0] ? 0 : read_beat + 1'b1;
        end
    end
endmodule
