// Property of bitprop_input_bank: the bits are those of the values at the last load, whatever the values are since: one
// where the number is below the threshold that stands for the value, and the sign with it.  Induction; loads, values and
// numbers are free.
module prove_bitprop_input_bank #(
    parameter INPUTS = 2,
    parameter WIDTH = 3,
    parameter ENCODING = 0
) (
    input wire clock
);
    localparam VALUE = WIDTH + 2;

    (* anyseq *) wire load;
    (* anyseq *) wire [INPUTS*VALUE-1:0] values;
    (* anyseq *) wire [WIDTH-1:0] number;
    wire [INPUTS-1:0] bits, negative;

    bitprop_input_bank #(.INPUTS(INPUTS), .WIDTH(WIDTH), .ENCODING(ENCODING)) dut (
        .clock(clock), .load(load), .values(values), .number(number), .bits(bits), .negative(negative)
    );

    reg loaded = 1'b0;
    reg [INPUTS*VALUE-1:0] latched;
    always @(posedge clock)
        if (load) begin
            loaded <= 1'b1;
            latched <= values;
        end

    localparam signed [VALUE:0] ONE = 1 << WIDTH;
    wire [INPUTS*(WIDTH+1)-1:0] thresholds;
    wire [INPUTS-1:0] signs;
    genvar i;
    generate
        for (i = 0; i < INPUTS; i = i + 1) begin : input_of
            wire signed [VALUE:0] value = $signed(latched[i*VALUE +: VALUE]);
            wire signed [VALUE:0] clamped =
                value > ONE ? ONE : value < (ENCODING == 0 ? 0 : -ONE) ? (ENCODING == 0 ? 0 : -ONE) : value;
            wire signed [VALUE+1:0] raised = clamped + ONE;
            wire [VALUE+1:0] half = raised / 2;
            wire tie_up = raised % 2 != 0 && half % 2 != 0;
            wire [VALUE:0] magnitude = clamped < 0 ? -clamped : clamped;
            assign thresholds[i*(WIDTH+1) +: WIDTH+1] = ENCODING == 1 ? half + tie_up : magnitude;
            assign signs[i] = ENCODING == 2 && value < 0;
        end
    endgenerate

    integer k;
    always @* if (loaded)
        for (k = 0; k < INPUTS; k = k + 1) begin
            assert (bits[k] == (number < thresholds[k*(WIDTH+1) +: WIDTH+1]));
            assert (negative[k] == signs[k]);
        end

`ifdef INVARIANT
    // connected to dut.lane[i].threshold and dut.lane[i].sign
    (* keep *) wire [INPUTS*(WIDTH+1)-1:0] tap_thresholds;
    (* keep *) wire [INPUTS-1:0] tap_signs;
    always @* if (loaded) assert (tap_thresholds == thresholds && tap_signs == signs);
`endif
endmodule
