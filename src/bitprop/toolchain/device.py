"""The parts that a design can be placed on: what nextpnr calls them and what they hold.

Capacities are those that nextpnr 0.11 reports as available.  Sources: Lattice, *ECP5 and ECP5-5G Family Data Sheet*
(FPGA-DS-02012) and *iCE40 UltraPlus Family Data Sheet* (FPGA-DS-02008), *iCE40 LP/HX Family Data Sheet*
(FPGA-DS-02029).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal

from bitprop._checks import check_choice

__all__ = ["DEVICES", "Cells", "Device", "count_cells", "device_of"]


@dataclass(frozen=True, slots=True)
class Cells:
    """What a mapped netlist is made of.

    Attributes:
        lut: four-input tables.  ECP5: a carry cell counts as the two tables it occupies, a distributed RAM of 16 x 4
            bits as six.
        ff: flip-flops.
        carry: bits of carry chains.
        bram: block RAMs of 18 kbit (ECP5) or 4 kbit (iCE40).
        dsp: multipliers.
    """

    lut: int
    ff: int
    carry: int
    bram: int
    dsp: int

    def to_dict(self) -> dict[str, int]:
        """Plain fields."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, slots=True)
class Device:
    """A part.

    Attributes:
        name: as in ``--device``.
        family: ``ecp5`` or ``ice40``.
        place: arguments of nextpnr that choose die and package.
        synthesise: arguments of the Yosys command ``synth_<family>``.
        capacity: what the part holds; ``carry`` is bounded by the tables.
    """

    name: str
    family: Literal["ecp5", "ice40"]
    place: tuple[str, ...]
    synthesise: tuple[str, ...]
    capacity: Cells

    def lacks(self, cells: Cells) -> tuple[str, ...]:
        """What the part has too little of, each as ``lut 9000 of 5280``; empty when everything fits by number."""
        short = []
        for name in ("lut", "ff", "bram", "dsp"):
            needed, there = getattr(cells, name), getattr(self.capacity, name)
            if needed > there:
                short.append(f"{name} {needed} of {there}")
        return tuple(short)


def _ecp5(die: str, lut: int, bram: int, dsp: int) -> Device:
    # tables of four inputs only: wider ones, made of multiplexers, cost half as many tables again for no speed
    return Device(
        name=f"ecp5-{die}",
        family="ecp5",
        place=(f"--{die}", "--package", "CABGA381"),
        synthesise=("-nowidelut",),
        capacity=Cells(lut=lut, ff=lut, carry=lut, bram=bram, dsp=dsp),
    )


DEVICES: dict[str, Device] = {
    device.name: device
    for device in (
        _ecp5("25k", 24288, 56, 28),
        _ecp5("45k", 43848, 108, 72),
        _ecp5("85k", 83640, 208, 156),
        Device(
            "ice40-up5k",
            "ice40",
            ("--up5k", "--package", "sg48"),
            ("-device", "u", "-dsp"),
            Cells(5280, 5280, 5280, 30, 8),
        ),
        Device(
            "ice40-hx8k", "ice40", ("--hx8k", "--package", "ct256"), ("-device", "hx"), Cells(7680, 7680, 7680, 32, 0)
        ),
    )
}
"""Every part by name."""


def device_of(name: str) -> Device:
    """Look a part up.

    Raises:
        RangeError: unknown name; the message lists the known ones.
    """
    return DEVICES[check_choice("device", name, tuple(DEVICES))]


def count_cells(family: str, types: Mapping[str, int]) -> Cells:
    """Cells of a mapped netlist from the number of each primitive.

    Example:
        >>> count_cells("ecp5", {"LUT4": 10, "CCU2C": 3, "TRELLIS_FF": 7})
        Cells(lut=16, ff=7, carry=6, bram=0, dsp=0)
    """
    if family == "ecp5":
        carry = types.get("CCU2C", 0)
        return Cells(
            lut=types.get("LUT4", 0) + 2 * carry + 6 * types.get("TRELLIS_DPR16X4", 0),
            ff=types.get("TRELLIS_FF", 0),
            carry=2 * carry,
            bram=types.get("DP16KD", 0) + types.get("PDPW16KD", 0),
            dsp=types.get("MULT18X18D", 0),
        )
    return Cells(
        lut=types.get("SB_LUT4", 0),
        ff=sum(count for kind, count in types.items() if kind.startswith("SB_DFF")),
        carry=types.get("SB_CARRY", 0),
        bram=sum(count for kind, count in types.items() if kind.startswith("SB_RAM40_4K")),
        dsp=types.get("SB_MAC16", 0),
    )
