// Toggles the clock of the emitted testbench until it calls $finish.  Needs no --timing, so any Verilator will do.
#include "Vtb.h"
#include "verilated.h"

double sc_time_stamp() { return 0; }

int main(int argc, char** argv) {
    VerilatedContext context;
    context.commandArgs(argc, argv);
    Vtb top{&context};
    while (!context.gotFinish()) {
        top.clock = 0;
        top.eval();
        context.timeInc(1);
        top.clock = 1;
        top.eval();
        context.timeInc(1);
    }
    top.final();
    return 0;
}
