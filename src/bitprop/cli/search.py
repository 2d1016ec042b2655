"""The command ``bitprop search``: arguments in, one call, a configuration out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bitprop.cli._console import console, guarded_with, note_missing_kernels, print_json
from bitprop.cli._show import WorkProgress
from bitprop.presets import PRESETS

__all__ = ["search"]


@guarded_with("trainings that had ended are kept; the same command goes on after them")
def search(
    config: Annotated[
        str,
        typer.Argument(
            metavar="CONFIG",
            help=f"A TOML file with a section \\[budget], or a preset: {', '.join(PRESETS)}.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="TOML file for the configuration with the design that was found.")
    ],
    proposals: Annotated[int, typer.Option("--proposals", min=1, max=1000, help="Joint trainings.")] = 2,
    trials: Annotated[
        int, typer.Option("--trials", min=1, max=100_000, help="Short trainings of one design each, at most.")
    ] = 24,
    epochs: Annotated[int, typer.Option("--epochs", min=1, max=10_000, help="Epochs of each of those.")] = 15,
    finalists: Annotated[
        int, typer.Option("--finalists", min=1, max=1000, help="Designs that are trained in full; 1: none is.")
    ] = 4,
    repeats: Annotated[int, typer.Option("--repeats", min=1, max=1000, help="Full trainings of each of those.")] = 3,
    threads: Annotated[
        int, typer.Option("--threads", min=0, max=256, help="Threads of PyTorch; 0 leaves its default.")
    ] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on standard output, nothing else.")
    ] = False,
) -> None:
    """Look for the best design within a budget: proposals of joint trainings, their neighbours, finalists.

    The configuration that is written has that design and no other; train it with bitprop train.

    Trainings are kept beside it as they end, in a folder of the same name with .trials; the same command goes on after
    them if it was interrupted, and so does one with more trials. Delete the folder when it is not needed any more.
    """
    from bitprop.artifacts import check_target
    from bitprop.design_search import search_design
    from bitprop.presets import preset_path
    from bitprop.runs import dataset_of, override, use_threads
    from bitprop.training.config import load_config

    check_target(output)
    use_threads(threads)
    chosen = override(load_config(preset_path(config) if config in PRESETS else config))
    data = dataset_of(chosen)
    note_missing_kernels()
    with WorkProgress(quiet=as_json) as progress:
        progress.step("search", 0, None)
        result = search_design(
            chosen,
            data,
            proposals=proposals,
            trials=trials,
            epochs=epochs,
            finalists=finalists,
            repeats=repeats,
            folder=output.with_name(f"{output.name}.trials"),
            say=progress.say,
        )
    result.config.save(output)
    if as_json:
        print_json(result.to_dict())
        return
    tried = f"best of {len(result.tried)} designs, {result.trainings} trainings"
    console.print(f"{tried}: {result.best.point.describe()}", soft_wrap=True)
    console.print(f"configuration: {output}", soft_wrap=True)
