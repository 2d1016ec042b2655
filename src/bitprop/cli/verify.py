"""The command ``bitprop verify``: arguments in, one call, a report out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitprop.cli._console import console, guarded, notes, print_json

if TYPE_CHECKING:
    from bitprop.verification.claim import Claim

__all__ = ["verify"]


@guarded
def verify(
    target: Annotated[
        str,
        typer.Argument(
            metavar="FILE.py:FUNCTION",
            help="Function that returns the model, its inputs, targets and loss. The file is run.",
            show_default=False,
        ),
    ],
    suite: Annotated[str, typer.Option("--suite", help="quick or full.")] = "quick",
    claim: Annotated[
        Path | None, typer.Option("--claim", help="TOML file with the claim to test.", show_default=False)
    ] = None,
    surrogate: Annotated[
        str | None, typer.Option("--surrogate", help="Claimed surrogate; replaces the file's.", show_default=False)
    ] = None,
    scale: Annotated[float | None, typer.Option("--scale", help="Its scale.", show_default=False)] = None,
    reset: Annotated[
        str | None,
        typer.Option("--reset", help="Claimed reset: attached, detached or as_coded.", show_default=False),
    ] = None,
    spike: Annotated[
        list[str] | None,
        typer.Option("--spike", help="A spike function that is not found by itself, as module:attribute."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the random directions.")] = 0,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the report as JSON to this file; - for standard output.")
    ] = None,
    html_file: Annotated[Path | None, typer.Option("--html", help="Write the report as one HTML page.")] = None,
) -> None:
    """Verify the gradients of a spiking module.

    Exit code 0: every claim holds. 1: one does not. 2: nothing was tested, or there is no truth to compare with (or a
    wrong option). 3: an error.
    """
    from bitprop.artifacts import canonical_json, write_text
    from bitprop.report.verification import write_verification_page
    from bitprop.verification.loading import load_build
    from bitprop.verification.suite import verify as run

    built = load_build(target)
    chosen = _claim(built.claim, claim, surrogate, scale, reset, spike)
    with notes.status("verifying") as status:
        report = run(
            built.model,
            built.inputs,
            built.targets,
            built.loss,
            claim=chosen,
            suite=suite,  # type: ignore[arg-type]
            seed=seed,
            reset_state=built.reset,
            say=lambda what: status.update(what),
        )
    if html_file is not None:
        write_verification_page(report, html_file)
    if json_file is not None and str(json_file) != "-":
        write_text(json_file, canonical_json(report.to_dict()))
    if json_file is not None and str(json_file) == "-":
        print_json(report.to_dict())
    else:
        console.print(report.to_text(), soft_wrap=True)
    raise typer.Exit(report.exit_code)


def _claim(
    built: Claim | None,
    file: Path | None,
    surrogate: str | None,
    scale: float | None,
    reset: str | None,
    spike: list[str] | None,
) -> Claim:
    """The claim: options over the file over what the model's own file says."""
    from bitprop.verification.claim import Claim, load_claim

    chosen = load_claim(file) if file is not None else built or Claim()
    changes: dict[str, object] = {}
    if surrogate is not None:
        changes |= {"surrogate": surrogate, "scale": scale, "derivative": None}
    elif scale is not None:
        changes |= {"scale": scale}
    if reset is not None:
        changes |= {"reset": reset}
    if spike:
        changes |= {"spike": tuple(spike)}
    return chosen.with_changes(**changes)
