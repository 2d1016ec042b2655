// golden_tb_alone_1_tb: streams samples from a file through golden_tb_alone_1, back to back, and writes every integer.
//
//   +inputs=FILE    3 decimal integers a sample, white space between them
//   +results=FILE   records, one a line:
//                     accumulator LAYER SAMPLE INTEGER ...    a layer's accumulators after its last cycle
//                     layer LAYER SAMPLE INTEGER ...    what a layer hands on; the last layer's are the logits
//                     decision SAMPLE CLASS LATENCY CYCLE    the latency counts cycles since acceptance
//                     trace LAYER CYCLE INTEGER ...     accumulators of the traced sample after CYCLE cycles
//                     done SAMPLES CYCLES               always last; an 'error' record ends the run instead
//   +samples=N      how many samples to read
//   +trace=SAMPLE   sample to trace, optional
//   +stall=SEED     offer and take with pauses, optional; a positive number
//
// With BITPROP_PORTS_ONLY defined it looks at the ports alone, as at a netlist: the logits are layer 0, and the only one.
// (An addition around what is printed: one release of Verilator forgets to cut a slice that is printed as it is.)
//
// Not for synthesis.  Generated from an SC-NIR document: change the document, not this file.
module golden_tb_alone_1_tb (
    input wire clock
);
    // cycles in which nothing was taken, neither input nor decision, after which the run is given up
    localparam PATIENCE = 144;

    reg [8*4096-1:0] input_name, result_name;
    integer input_file, result_file, samples, trace_sample;
    integer status, number, i;
    integer cycle, progress, sent, accepted, decided;
    integer stall, offer_pause, take_pause;
    reg [31:0] noise;
    integer accepted_at [0:2];
    integer handed_on [0:0];
    integer entered [0:0];
    integer traced [0:0];

    reg reset, in_valid, finished;
    reg [17:0] in_values;
    wire in_ready, out_valid;
    wire out_ready = take_pause == 0;
    wire [0:0] out_class;
    wire [11:0] out_logits;

    golden_tb_alone_1 dut (
        .clock(clock),
        .reset(reset),
        .in_valid(in_valid),
        .in_ready(in_ready),
        .in_values(in_values),
        .out_valid(out_valid),
        .out_ready(out_ready),
        .out_class(out_class),
        .out_logits(out_logits)
    );

    initial begin
        reset = 1'b1;
        in_valid = 1'b0;
        in_values = 0;
        finished = 1'b0;
        cycle = 0;
        progress = 0;
        sent = 0;
        accepted = 0;
        decided = 0;
        offer_pause = 0;
        take_pause = 0;
        for (i = 0; i < 1; i = i + 1) begin
            handed_on[i] = 0;
            entered[i] = 0;
            traced[i] = 0;
        end
        if (!$value$plusargs("inputs=%s", input_name) || !$value$plusargs("results=%s", result_name)
                || !$value$plusargs("samples=%d", samples)) begin
            $display("expected +inputs=FILE +results=FILE +samples=N");
            $finish;
        end
        if (!$value$plusargs("trace=%d", trace_sample)) trace_sample = -1;
        if (!$value$plusargs("stall=%d", stall)) stall = 0;
        noise = stall;
        input_file = $fopen(input_name, "r");
        result_file = $fopen(result_name, "w");
        if (input_file == 0 || result_file == 0) begin
            $display("cannot open the input or the result file");
            $finish;
        end
    end

    // everything is sampled before the edge and driven after it, as a register would
    always @(posedge clock) if (!finished) begin
        cycle <= cycle + 1;
        if (cycle == 1) reset <= 1'b0;

        // pauses, some of them longer than all the work of a sample
        if (stall != 0) begin
            noise <= {noise[30:0], noise[31] ^ noise[21] ^ noise[1] ^ noise[0]};
            if (offer_pause != 0) offer_pause <= offer_pause - 1;
            else if (in_valid && in_ready) offer_pause <= noise[7:3] == 0 ? 22 : noise[8] ? noise[10:9] : 0;
            if (take_pause != 0) take_pause <= take_pause - 1;
            else if (out_valid) take_pause <= noise[13:12] == 0 ? 22 : noise[14] ? noise[18:15] : 0;
        end

        // offer the next sample as soon as the one before is accepted
        if (!reset && (!in_valid || in_ready)) begin
            if (sent < samples && offer_pause == 0) begin
                for (i = 0; i < 3; i = i + 1) begin
                    status = $fscanf(input_file, "%d", number);
                    if (status != 1) begin
                        $fdisplay(result_file, "error sample %0d ends before feature %0d", sent, i);
                        finished <= 1'b1;
                        $finish;
                    end
                    in_values[i*6 +: 6] <= number[5:0];
                end
                in_valid <= 1'b1;
                sent <= sent + 1;
            end else in_valid <= 1'b0;
        end
        if (in_valid && in_ready) begin
            accepted_at[accepted % 3] <= cycle;
            accepted <= accepted + 1;
            progress <= cycle;
        end
`ifndef BITPROP_PORTS_ONLY

        // layer 0: classes
        if (dut.layer_classes.load) begin
            entered[0] <= entered[0] + 1;
            traced[0] <= 0;
        end
        if ((dut.layer_classes.enable || dut.layer_classes.store) && entered[0] == trace_sample + 1) begin
            $fwrite(result_file, "trace 0 %0d", traced[0]);
            for (i = 0; i < 2; i = i + 1)
                $fwrite(result_file, " %0d", $signed(dut.layer_classes.accumulators[i*6 +: 6]) + 64'sd0);
            $fwrite(result_file, "\n");
            traced[0] <= traced[0] + 1;
        end
        if (dut.layer_classes.store) begin
            $fwrite(result_file, "accumulator 0 %0d", entered[0] - 1);
            for (i = 0; i < 2; i = i + 1)
                $fwrite(result_file, " %0d", $signed(dut.layer_classes.accumulators[i*6 +: 6]) + 64'sd0);
            $fwrite(result_file, "\n");
        end
        if (dut.from_classes_valid && dut.from_classes_ready) begin
            $fwrite(result_file, "layer 0 %0d", handed_on[0]);
            for (i = 0; i < 2; i = i + 1)
                $fwrite(result_file, " %0d", $signed(dut.from_classes_values[i*6 +: 6]) + 64'sd0);
            $fwrite(result_file, "\n");
            handed_on[0] <= handed_on[0] + 1;
        end
`endif

        // the decision, taken at once without +stall
        if (out_valid && out_ready && !reset) begin
`ifdef BITPROP_PORTS_ONLY
            // a netlist has no names inside: the logits at the ports, which are the last layer's accumulators
            $fwrite(result_file, "accumulator 0 %0d", decided);
            for (i = 0; i < 2; i = i + 1)
                $fwrite(result_file, " %0d", $signed(out_logits[i*6 +: 6]) + 64'sd0);
            $fwrite(result_file, "\nlayer 0 %0d", decided);
            for (i = 0; i < 2; i = i + 1)
                $fwrite(result_file, " %0d", $signed(out_logits[i*6 +: 6]) + 64'sd0);
            $fwrite(result_file, "\n");
`endif
            $fdisplay(result_file, "decision %0d %0d %0d %0d", decided, out_class, cycle - accepted_at[decided % 3], cycle);
            decided <= decided + 1;
            progress <= cycle;
            if (decided + 1 == samples) begin
                $fdisplay(result_file, "done %0d %0d", samples, cycle);
                $fclose(result_file);
                finished <= 1'b1;
                $finish;
            end
        end else if (cycle - progress > PATIENCE) begin
            $fdisplay(result_file, "error no input taken and no decision in the last %0d cycles", PATIENCE);
            $fclose(result_file);
            finished <= 1'b1;
            $finish;
        end
    end
endmodule
