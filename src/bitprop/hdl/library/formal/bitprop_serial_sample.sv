// Property of bitprop_serial_sample: a frame whose CRC is right gives its values in their beats, and no report; one with a
// low stop bit or another last byte gives a report of the right kind and no sample.  For all values, bytes a cycle.
module prove_bitprop_serial_sample #(
    parameter FEATURES = 3,
    parameter LANES = 2,
    parameter WIDTH = 6
) (
    input wire clock
);
    localparam BYTES = (WIDTH + 7) / 8;
    localparam COUNT = FEATURES * BYTES;
    localparam BEATS = (FEATURES + LANES - 1) / LANES;

    reg [7:0] cycle = 0;
    always @(posedge clock) if (cycle != 255) cycle <= cycle + 1'b1;
    wire reset = cycle == 0;

    (* anyconst *) wire [8*COUNT-1:0] content;
    (* anyconst *) wire [7:0] spoilt;
    (* anyconst *) wire [7:0] broken_at;

    // the check bytes by the division of the whole message, bit by bit
    reg [15:0] rest;
    integer i, k;
    always @* begin
        rest = 16'hffff;
        for (i = 0; i < COUNT; i = i + 1)
            for (k = 7; k >= 0; k = k - 1)
                rest = {rest[14:0], 1'b0} ^ (rest[15] ^ content[8*i+k] ? 16'h1021 : 16'd0);
    end

    // cycle 1: junk; 2: "S"; then the values, and the check
    wire [7:0] place = cycle - 8'd3;
    wire valid = cycle >= 1 && cycle < 3 + COUNT + 2;
    wire [7:0] value = cycle == 1 ? 8'h00 : cycle == 2 ? "S" : place < COUNT ? content[8*place +: 8]
        : place == COUNT ? rest[15:8] : rest[7:0] ^ spoilt;
    wire broken = valid && cycle >= 3 && place == broken_at;
    wire good = spoilt == 0 && broken_at >= COUNT + 2;

    wire out_valid, report;
    wire [LANES*WIDTH-1:0] out_values;
    wire [7:0] reason;
    bitprop_serial_sample #(.FEATURES(FEATURES), .LANES(LANES), .WIDTH(WIDTH), .SILENCE(8)) dut (
        .clock(clock), .reset(reset), .in_valid(valid), .in_broken(broken), .in_value(value),
        .out_valid(out_valid), .out_ready(1'b1), .out_values(out_values), .report(report), .reason(reason)
    );

    reg [7:0] given = 0;
    reg reported = 1'b0;
    always @(posedge clock) begin
        if (!reset && out_valid) given <= given + 1'b1;
        if (!reset && report) reported <= 1'b1;
    end
    wire [7:0] feature = given * LANES;
    integer j;
    always @* if (!reset) begin
        if (out_valid) begin
            assert (good && given < BEATS);
            for (j = 0; j < LANES; j = j + 1)
                if (feature + j < FEATURES)
                    assert (out_values[j*WIDTH +: WIDTH] == content[8*BYTES*(feature + j) +: WIDTH]);
        end
        if (report) assert (!good && !reported && reason == (broken_at < COUNT + 2 ? "F" : "C"));
        if (cycle >= 3 + COUNT + 2 + 2 * BEATS + 2) begin
            assert (given == (good ? BEATS : 0));
            assert (reported == !good);
        end
    end
endmodule
