// Properties of bitprop_stage, with a valid and a ready that are free and a reset at any time.  Induction.
//
//   one sample at a time: accepted only when nothing is held, so none is lost or overwritten
//   after acceptance LENGTH enabled cycles, one store, then out_valid: LENGTH + 2 cycles, neither more nor fewer
//   out_valid stays until out_ready, and goes then: none is given twice
//   a new sample is accepted in the cycle in which the last one is taken
module prove_bitprop_stage #(
    parameter LENGTH = 64
) (
    input wire clock
);
    localparam AGE_BITS = $clog2(LENGTH + 3);

    (* anyseq *) wire reset, in_valid, out_ready;
    wire in_ready, load, enable, store, out_valid;

    bitprop_stage #(.LENGTH(LENGTH)) dut (
        .clock(clock), .reset(reset), .in_valid(in_valid), .in_ready(in_ready), .load(load), .enable(enable),
        .store(store), .out_valid(out_valid), .out_ready(out_ready)
    );

    // a sample is held, for so many cycles since it was accepted, LENGTH + 2 at most
    reg begun = 1'b0;
    reg held;
    reg [AGE_BITS-1:0] age;
    wire accepted = in_valid && in_ready;
    wire given = out_valid && out_ready;
    always @(posedge clock)
        if (reset) begin
            begun <= 1'b1;
            held <= 1'b0;
            age <= 0;
        end else begin
            if (accepted) held <= 1'b1;
            else if (given) held <= 1'b0;
            if (accepted) age <= 1;
            else if (age < LENGTH + 2) age <= age + 1'b1;
        end

    always @* if (begun) begin
        assert (load == accepted);
        assert (in_ready == (!held || given));
        assert (enable == (held && age >= 1 && age <= LENGTH));
        assert (store == (held && age == LENGTH + 1));
        assert (out_valid == (held && age == LENGTH + 2));
        if (held) assert (age >= 1 && age <= LENGTH + 2);
    end

`ifdef INVARIANT
    (* keep *) wire tap_busy;  // connected to dut.busy
    (* keep *) wire [$clog2(LENGTH + 1)-1:0] tap_remaining;  // connected to dut.remaining
    always @* if (begun) begin
        assert (tap_busy == (held && age <= LENGTH + 1));
        if (tap_busy) assert (tap_remaining + age == LENGTH + 1);
    end
`endif
endmodule
