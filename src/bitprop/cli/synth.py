"""The command ``bitprop synth``: arguments in, one call, a report out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bitprop.cli._console import console, guarded_with, print_json
from bitprop.cli._show import WorkProgress, show_implementation

__all__ = ["synth"]


@guarded_with("finished steps are kept; the same command continues")
def synth(
    design: Annotated[
        Path,
        typer.Argument(
            metavar="HANDOFF|DOCUMENT", help="Folder written by export, or an SC-NIR document.", show_default=False
        ),
    ],
    device: Annotated[
        str | None,
        typer.Option("--device", "-d", help="ecp5-25k (the default), ecp5-45k, ecp5-85k, ice40-up5k or ice40-hx8k."),
    ] = None,
    board: Annotated[
        str | None,
        typer.Option(
            "--board",
            "-b",
            help="Instead of a part: ulx3s-25f, ulx3s-45f, ulx3s-85f, icebreaker or ice40-hx8k-b, with its clock, pins "
            "and serial line; makes a bitstream.",
        ),
    ] = None,
    build: Annotated[
        Path | None,
        typer.Option("--build", help="With --board: new folder for bitstream, sources and constraints."),
    ] = None,
    baud: Annotated[
        int | None, typer.Option("--baud", help="With --board: of the serial line. Default: 1000000.")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=100, help="Placements: seeds 1 to so many.")] = 3,
    freq: Annotated[
        float | None,
        typer.Option("--freq", min=1, max=1000, help="Clock to aim at, in MHz. Default: 100; a board has its own."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write the result to this JSON file.")
    ] = None,
    timeout: Annotated[float, typer.Option("--timeout", min=1, max=1e6, help="Seconds for one step.")] = 3600.0,
    cached: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Keep finished steps, and use those that are kept.")
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on standard output, nothing else.")
    ] = False,
) -> None:
    """Synthesise, place and route a network: area, clock, critical path.

    An estimate by the named open-source tools; nothing is measured on a chip.
    """
    from bitprop.artifacts import check_target, write_json
    from bitprop.errors import RangeError
    from bitprop.handoff.board import build_for_board, check_build_folder, write_build
    from bitprop.handoff.synthesis import implement_path
    from bitprop.toolchain.cache import ResultCache

    if board is None and (build is not None or baud is not None):
        raise RangeError("expected --board with --build or --baud, got none; name a board")
    if board is not None and (device is not None or freq is not None):
        raise RangeError("expected --board without --device and --freq, which it decides; leave them out")
    if build is not None:
        check_build_folder(build)
    if output is not None:
        check_target(output)
    with WorkProgress(quiet=as_json) as progress:
        common: dict[str, Any] = {
            "seeds": range(1, seeds + 1),
            "timeout": timeout,
            "cache": ResultCache.default() if cached else None,
            "say": progress.say,
            "on_step": progress.step,
        }
        if board is None:
            made = None
            result = implement_path(design, device or "ecp5-25k", frequency_mhz=freq or 100.0, **common)
        else:
            made = build_for_board(design, board, baud=baud, **common)
            result = made.implementation
    fields = result.to_dict() if made is None else made.to_dict()
    bitstream = None if made is None or build is None else write_build(made, build)
    if output is not None:
        write_json(output, fields)
    if as_json:
        print_json(fields)
        return
    show_implementation(result, "shift registers" if made is None else "the board's serial port")
    if made is not None:
        console.print(
            f"{made.board.title}: {made.board.clock_hz / 1e6:g} MHz met with seed {made.seed}, serial line at "
            f"{made.baud} baud; "
            + (f"bitstream: {bitstream}" if bitstream else f"{len(made.bitstream)} bytes; --build FOLDER writes it"),
            soft_wrap=True,
        )
