"""The command ``bitprop synth``: arguments in, one call, a report out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bitprop.cli._console import guarded_with, print_json
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
        str, typer.Option("--device", "-d", help="ecp5-25k, ecp5-45k, ecp5-85k, ice40-up5k or ice40-hx8k.")
    ] = "ecp5-25k",
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=100, help="Placements: seeds 1 to so many.")] = 3,
    freq: Annotated[float, typer.Option("--freq", min=1, max=1000, help="Clock to aim at, in MHz.")] = 100.0,
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
    from bitprop.artifacts import write_json
    from bitprop.handoff.synthesis import implement_path
    from bitprop.toolchain.cache import ResultCache

    with WorkProgress(quiet=as_json) as progress:
        result = implement_path(
            design,
            device,
            seeds=range(1, seeds + 1),
            frequency_mhz=freq,
            timeout=timeout,
            cache=ResultCache.default() if cached else None,
            say=progress.say,
            on_step=progress.step,
        )
    if output is not None:
        write_json(output, result.to_dict())
    if as_json:
        print_json(result.to_dict())
        return
    show_implementation(result)
