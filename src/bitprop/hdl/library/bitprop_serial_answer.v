// bitprop_serial_answer: a decision, or a report of what was wrong with a frame, as bytes for a serial line.
//
//   An answer: "A" (8'h41); the class in as few bytes as hold it, then the logits, each in as few bytes as hold it, signed,
//   the low byte first.  A report: "E" (8'h45) and the reason.  Then the CRC of the bytes behind the first, the high
//   byte first.
//   A report that comes while another one waits is dropped.
module bitprop_serial_answer #(
    parameter CLASSES = 2,
    parameter CLASS_WIDTH = 1,
    parameter LOGIT_WIDTH = 8
) (
    input  wire                           clock,
    input  wire                           reset,
    input  wire                           in_valid,
    output wire                           in_ready,
    input  wire [CLASS_WIDTH-1:0]         in_class,
    input  wire [CLASSES*LOGIT_WIDTH-1:0] in_logits,
    input  wire                           report,
    input  wire [7:0]                     reason,
    output wire                           out_valid,
    input  wire                           out_ready,
    output wire [7:0]                     out_value
);
    localparam CLASS_BYTES = (CLASS_WIDTH + 7) / 8;
    localparam LOGIT_BYTES = (LOGIT_WIDTH + 7) / 8;
    localparam BYTES = CLASS_BYTES + CLASSES * LOGIT_BYTES;
    localparam COUNT_BITS = $clog2(BYTES + 4);
    localparam [31:0] ANSWER_BYTES = BYTES + 3;

    wire [8*BYTES-1:0] bytes;
    generate
        if (8 * CLASS_BYTES > CLASS_WIDTH) begin : padded
            assign bytes[8*CLASS_BYTES-1:0] = {{(8*CLASS_BYTES-CLASS_WIDTH){1'b0}}, in_class};
        end else begin : exact
            assign bytes[8*CLASS_BYTES-1:0] = in_class;
        end
        genvar o;
        for (o = 0; o < CLASSES; o = o + 1) begin : logit
            localparam PLACE = 8 * (CLASS_BYTES + o * LOGIT_BYTES);
            assign bytes[PLACE +: LOGIT_WIDTH] = in_logits[o*LOGIT_WIDTH +: LOGIT_WIDTH];
            if (8 * LOGIT_BYTES > LOGIT_WIDTH) begin : sign
                assign bytes[PLACE+LOGIT_WIDTH +: 8*LOGIT_BYTES-LOGIT_WIDTH] =
                    {(8*LOGIT_BYTES-LOGIT_WIDTH){in_logits[o*LOGIT_WIDTH+LOGIT_WIDTH-1]}};
            end
        end
    endgenerate

    reg  [8*BYTES-1:0]    payload;
    reg  [COUNT_BITS-1:0] left;
    reg                   first, fault, waiting;
    reg  [7:0]            waiting_reason;
    reg  [15:0]           crc;
    wire [15:0]           crc_after;

    wire idle = left == 0;
    wire sent = out_valid && out_ready;

    assign in_ready = idle && !waiting;
    assign out_valid = !idle;
    assign out_value = first ? (fault ? "E" : "A") : left == 2 ? crc[15:8] : left == 1 ? crc[7:0] : payload[7:0];

    bitprop_crc check (.now(crc), .value(payload[7:0]), .next(crc_after));

    always @(posedge clock) begin
        if (idle) begin
            first <= 1'b1;
            fault <= waiting;
            crc <= 16'hffff;
            payload <= bytes;
            if (waiting) payload[7:0] <= waiting_reason;
        end else if (sent) begin
            first <= 1'b0;
            if (!first && left > 2) begin
                payload <= payload >> 8;
                crc <= crc_after;
            end
        end

        if (report && (idle || !waiting)) waiting_reason <= reason;

        if (reset) begin
            left <= 0;
            waiting <= 1'b0;
        end else begin
            if (idle && waiting) left <= 4;
            else if (idle && in_valid) left <= ANSWER_BYTES[COUNT_BITS-1:0];
            else if (sent) left <= left - 1'b1;
            waiting <= report || (waiting && !idle);
        end
    end
endmodule
