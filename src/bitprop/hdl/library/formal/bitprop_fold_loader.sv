// Property of bitprop_fold_loader: the words go to the weights in order, then to the biases in order, and from the start
// again; loaded is high exactly when a whole load is over and no other has begun.  For all valid, idle and reset.
module prove_bitprop_fold_loader #(
    parameter WEIGHTS = 3,
    parameter BIASES = 2
) (
    input wire clock
);
    (* anyseq *) wire in_valid, idle, again;
    reg begun = 1'b0;
    always @(posedge clock) begun <= 1'b1;
    wire reset = !begun || again;

    wire in_ready, write_weight, write_bias, loaded;
    wire [(WEIGHTS > 1 ? $clog2(WEIGHTS) : 1)-1:0] weight_word;
    wire [(BIASES > 1 ? $clog2(BIASES) : 1)-1:0] bias_word;
    bitprop_fold_loader #(.WEIGHTS(WEIGHTS), .BIASES(BIASES)) dut (
        .clock(clock), .reset(reset), .in_valid(in_valid), .in_ready(in_ready), .idle(idle),
        .write_weight(write_weight), .write_bias(write_bias), .weight_word(weight_word), .bias_word(bias_word),
        .loaded(loaded)
    );

    reg [7:0] count;
    reg whole;
    always @(posedge clock)
        if (reset) begin
            count <= 0;
            whole <= 1'b0;
        end else if (in_valid && idle) begin
            count <= count == WEIGHTS + BIASES - 1 ? 0 : count + 1'b1;
            whole <= count == WEIGHTS + BIASES - 1;
        end
    wire taken = in_valid && idle;
    always @* if (begun && !reset) begin
        assert (in_ready == idle);
        assert (write_weight == (taken && count < WEIGHTS));
        assert (write_bias == (taken && count >= WEIGHTS));
        if (write_weight) assert (weight_word == count);
        if (write_bias) assert (bias_word == count - WEIGHTS);
        assert (loaded == whole);
    end
endmodule
