// Properties of bitprop_decision, with a valid and a ready that are free and a reset at any time.  Induction.
//
//   logits and class given are those of the sample accepted last, in the cycle after; the class is the lowest index of
//   the largest logit
//   they stay as they are while valid and not ready; every sample accepted is given once
module prove_bitprop_decision #(
    parameter CLASSES = 3,
    parameter WIDTH = 3
) (
    input wire clock
);
    localparam CLASS_BITS = $clog2(CLASSES > 1 ? CLASSES : 2);

    (* anyseq *) wire reset, in_valid, out_ready;
    (* anyseq *) wire [CLASSES*WIDTH-1:0] logits;
    wire in_ready, out_valid;
    wire [CLASS_BITS-1:0] out_class;
    wire [CLASSES*WIDTH-1:0] out_logits;

    bitprop_decision #(.CLASSES(CLASSES), .WIDTH(WIDTH)) dut (
        .clock(clock), .reset(reset), .in_valid(in_valid), .in_ready(in_ready), .logits(logits),
        .out_valid(out_valid), .out_ready(out_ready), .out_class(out_class), .out_logits(out_logits)
    );

    reg begun = 1'b0;
    reg held;
    reg [CLASSES*WIDTH-1:0] sample;
    always @(posedge clock)
        if (reset) begin
            begun <= 1'b1;
            held <= 1'b0;
        end else if (in_valid && in_ready) begin
            held <= 1'b1;
            sample <= logits;
        end else if (out_valid && out_ready) held <= 1'b0;

    reg signed [WIDTH-1:0] largest;
    integer i;
    always @* begin
        largest = 0;
        for (i = 0; i < CLASSES; i = i + 1) if (i == out_class) largest = out_logits[i*WIDTH +: WIDTH];
    end
    always @* if (begun) begin
        assert (out_valid == held);
        assert (in_ready == (!held || out_ready));
        if (held) begin
            assert (out_logits == sample);
            assert (out_class < CLASSES);
            for (i = 0; i < CLASSES; i = i + 1) begin
                assert ($signed(out_logits[i*WIDTH +: WIDTH]) <= largest);
                if (i < out_class) assert ($signed(out_logits[i*WIDTH +: WIDTH]) != largest);
            end
        end
    end

    reg waiting = 1'b0;
    reg [CLASS_BITS-1:0] class_before;
    reg [CLASSES*WIDTH-1:0] logits_before;
    always @(posedge clock) begin
        waiting <= begun && !reset && out_valid && !out_ready;
        class_before <= out_class;
        logits_before <= out_logits;
    end
    always @* if (waiting) assert (out_valid && out_class == class_before && out_logits == logits_before);
endmodule
