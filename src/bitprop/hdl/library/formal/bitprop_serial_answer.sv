// Property of bitprop_serial_answer: the bytes of a decision or of a report, in order, with the CRC of their long division;
// nothing is lost while the line hesitates.  For all decisions, reasons and patterns of ready.
module prove_bitprop_serial_answer #(
    parameter CLASSES = 2,
    parameter CLASS_WIDTH = 1,
    parameter LOGIT_WIDTH = 5
) (
    input wire clock
);
    localparam CLASS_BYTES = (CLASS_WIDTH + 7) / 8;
    localparam LOGIT_BYTES = (LOGIT_WIDTH + 7) / 8;
    localparam BYTES = CLASS_BYTES + CLASSES * LOGIT_BYTES;

    reg [7:0] cycle = 0;
    always @(posedge clock) if (cycle != 255) cycle <= cycle + 1'b1;
    wire reset = cycle == 0;

    (* anyconst *) wire fault;
    (* anyconst *) wire [CLASS_WIDTH-1:0] decision;
    (* anyconst *) wire [CLASSES*LOGIT_WIDTH-1:0] logits;
    (* anyconst *) wire [7:0] reason;
    (* anyseq *) wire out_ready;
    wire out_valid, in_ready;
    wire [7:0] out_value;
    reg taken = 1'b0;
    wire offer = cycle >= 3 && !fault && !taken;
    always @(posedge clock) if (offer && in_ready) taken <= 1'b1;

    bitprop_serial_answer #(.CLASSES(CLASSES), .CLASS_WIDTH(CLASS_WIDTH), .LOGIT_WIDTH(LOGIT_WIDTH)) dut (
        .clock(clock), .reset(reset), .in_valid(offer), .in_ready(in_ready), .in_class(decision), .in_logits(logits),
        .report(fault && cycle == 3), .reason(reason), .out_valid(out_valid), .out_ready(out_ready), .out_value(out_value)
    );

    // what should come: a class without a sign, logits with theirs
    reg [8*(BYTES+1)-1:0] content;
    reg signed [LOGIT_WIDTH-1:0] narrow;
    reg signed [8*LOGIT_BYTES-1:0] wide;
    reg [15:0] rest;
    integer o, i, k;
    always @* begin
        content = 0;
        content[CLASS_WIDTH-1:0] = decision;
        for (o = 0; o < CLASSES; o = o + 1) begin
            narrow = logits[o*LOGIT_WIDTH +: LOGIT_WIDTH];
            wide = narrow;
            content[8*(CLASS_BYTES+o*LOGIT_BYTES) +: 8*LOGIT_BYTES] = wide;
        end
        if (fault) content[7:0] = reason;
        rest = 16'hffff;
        for (i = 0; i < BYTES; i = i + 1)
            if (i == 0 || !fault)
                for (k = 7; k >= 0; k = k - 1)
                    rest = {rest[14:0], 1'b0} ^ (rest[15] ^ content[8*i+k] ? 16'h1021 : 16'd0);
    end
    wire [7:0] size = fault ? 1 : BYTES;

    reg [7:0] place = 0;
    always @(posedge clock) if (!reset && out_valid && out_ready) place <= place + 1'b1;
    always @* if (!reset && out_valid) begin
        assert (place < size + 3);
        assert (out_value == (place == 0 ? (fault ? "E" : "A") : place <= size ? content[8*(place-1) +: 8]
            : place == size + 1 ? rest[15:8] : rest[7:0]));
    end
endmodule
