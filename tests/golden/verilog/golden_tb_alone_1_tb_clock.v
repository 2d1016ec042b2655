// golden_tb_alone_1_tb_clock: the testbench with a clock, for event-driven simulators such as Icarus Verilog.
module golden_tb_alone_1_tb_clock;
    reg clock = 1'b0;
    always #1 clock = !clock;
    golden_tb_alone_1_tb tb (.clock(clock));
endmodule
