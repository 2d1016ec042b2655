"""A handoff folder or a document on a board that can be bought: area, clock, and a bitstream that talks over USB."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitprop.artifacts import canonical_json
from bitprop.errors import SynthesisError
from bitprop.handoff._files import check_replaceable, new_folder, write_files
from bitprop.handoff.synthesis import rtl_of
from bitprop.hdl.serial import BoardPort, board_bench, board_top, serial_library
from bitprop.toolchain.board import PACKERS, Board, board_of, pack
from bitprop.toolchain.cache import ResultCache
from bitprop.toolchain.flow import Implementation, Surroundings, implement
from bitprop.toolchain.shell import SHELL

__all__ = ["BoardBuild", "build_for_board", "check_build_folder", "port_of", "write_build"]

RESULT_FILE = "board.json"


@dataclass(frozen=True, slots=True)
class BoardBuild:
    """A network on a board.

    Attributes:
        board: the board.
        baud: of its serial line.
        implementation: area, and clock over the placement seeds.
        seed: of the placement that the bitstream is made of, the fastest.
        bitstream: what to load into the part.
        files: sources and constraints by name: network, serial modules, top, its bench, pins.
    """

    board: Board
    baud: int
    implementation: Implementation
    seed: int
    bitstream: bytes
    files: dict[str, bytes]

    @property
    def bitstream_name(self) -> str:
        """What the bitstream's file is called."""
        return f"{self.implementation.synthesis.top}_{self.board.name}{self.board.bitstream_suffix}"

    def to_dict(self) -> dict[str, Any]:
        """Plain fields that the same inputs give again."""
        return {
            **self.implementation.to_dict(),
            "board": {
                "name": self.board.name,
                "title": self.board.title,
                "clock_hz": self.board.clock_hz,
                "baud": self.baud,
                "bitstream": self.bitstream_name,
                "bitstream_bytes": len(self.bitstream),
                "seed": self.seed,
            },
        }


def port_of(board: Board, baud: int | None = None) -> BoardPort:
    """What the top module needs to know of a board; ``None`` takes the board's own baud rate."""
    return BoardPort(board.clock_hz, board.baud if baud is None else baud, board.button, board.lamps_low, board.hold)


def build_for_board(
    path: str | os.PathLike[str],
    board: str,
    *,
    baud: int | None = None,
    seeds: Sequence[int] = (1, 2, 3),
    timeout: float = 3600.0,
    cache: ResultCache | None = None,
    say: Callable[[str], None] | None = None,
    on_step: Callable[[str, int, int], None] | None = None,
) -> BoardBuild:
    """Put a network on a board: synthesis, placement and routing at its clock on its pins, bitstream.

    Args:
        path: handoff folder, or a document's file.
        board: a name of :data:`~bitprop.toolchain.board.BOARDS`.
        baud: of the serial line; ``None`` takes the board's.
        seeds: of the placements, at least one; the fastest becomes the bitstream.
        timeout: seconds for each step.
        cache: where results are kept; ``None`` computes everything anew.
        say: told what happens.
        on_step: told how many steps are done, of how many.

    Raises:
        RangeError: unknown board, a baud rate that its clock does not give, or another argument out of range.
        ArtifactError: no such folder, it lacks a file, or the cache cannot be written.
        DocumentError: the document is not valid.
        NotExportableError: a source has no hardware.
        ToolNotFoundError: a program is not installed.
        ToolTimeoutError: a step did not finish in time.
        SynthesisError: the network does not fit the board, does not reach its clock, or a program failed.
    """
    chosen = board_of(board)
    port = port_of(chosen, baud)
    port.check()  # before anything is read or computed
    PACKERS[chosen.device.family].locate()
    document, design = rtl_of(path)
    files = {**serial_library(), f"{SHELL}.v": board_top(document, port, SHELL)}
    implementation = implement(
        design,
        document.name,
        chosen.device,
        seeds=seeds,
        frequency_mhz=chosen.clock_hz / 1e6,
        surroundings=Surroundings("\n".join(files.values()), chosen.constraints),
        timeout=timeout,
        cache=cache,
        say=say,
        on_step=on_step,
    )
    best = max(implementation.placements, key=lambda placement: (placement.fmax_mhz, -placement.seed))
    if best.fmax_mhz < chosen.clock_hz / 1e6:
        raise SynthesisError(
            f"expected {document.name} to run at the {chosen.clock_hz / 1e6:g} MHz of {chosen.name}, it reaches "
            f"{best.fmax_mhz:.1f}; fold it (bitprop export --target-cycles), or choose another board"
        )
    sources = {
        **design,
        **{name: text.encode("utf-8") for name, text in files.items()},
        f"{SHELL}_tb.v": board_bench(document, port, SHELL).encode("utf-8"),
        chosen.pins: chosen.constraints.encode("ascii"),
    }
    bitstream = pack(chosen.device, best.configuration, timeout=timeout)
    return BoardBuild(chosen, port.baud, implementation, best.seed, bitstream, sources)


def _is_build(folder: Path) -> bool:
    return (folder / RESULT_FILE).is_file()


def check_build_folder(folder: str | os.PathLike[str]) -> None:
    """Refuse a folder that :func:`write_build` would not write, before hours of work.

    Raises:
        ArtifactError: it is a file, or has other files in it.
    """
    check_replaceable(Path(folder), _is_build, "a board's folder")


def write_build(build: BoardBuild, folder: str | os.PathLike[str]) -> Path:
    """Write bitstream, sources, constraints and figures into a new folder, all or nothing; return the bitstream's path.

    Raises:
        ArtifactError: the folder has other files in it, or cannot be written.
    """
    with new_folder(folder, _is_build) as fresh:
        write_files(
            fresh,
            {
                **build.files,
                build.bitstream_name: build.bitstream,
                RESULT_FILE: canonical_json(build.to_dict()).encode("utf-8"),
            },
        )
    return Path(folder) / build.bitstream_name
