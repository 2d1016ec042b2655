"""The command ``bitprop verify``: arguments in, one call, a report out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, NoReturn

import typer

from bitprop.cli._console import console, guarded, notes, print_json

if TYPE_CHECKING:
    from bitprop.verification.claim import Claim

__all__ = ["verify"]


@guarded
def verify(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE.py:FUNCTION",
            help="Function that returns the model, its inputs, targets and loss. The file is run.",
            show_default=False,
        ),
    ] = None,
    peer: Annotated[
        str | None,
        typer.Option(
            "--peer",
            metavar="NAME",
            help="Audit an installed framework instead: snntorch, spikingjelly, norse or sinabs.",
            show_default=False,
        ),
    ] = None,
    reproducers: Annotated[
        Path | None,
        typer.Option(
            "--reproducers",
            metavar="FOLDER",
            help="With --peer: write the scripts into this folder; they are printed otherwise.",
            show_default=False,
        ),
    ] = None,
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
    """Verify the gradients of a spiking module, or audit a framework against its own documentation.

    Exit code 0: every claim holds. 1: one does not. 2: nothing was tested, or there is no truth to compare with (or a
    wrong option). 3: an error.
    """
    if (target is None) == (peer is None):
        raise typer.BadParameter(
            f"expected FILE.py:FUNCTION or --peer NAME, got {'neither' if target is None else 'both'}; give one of them"
        )
    if peer is not None:
        claimed = {"--claim": claim, "--surrogate": surrogate, "--scale": scale, "--reset": reset, "--spike": spike}
        unused = [name for name, value in (claimed | {"--html": html_file}).items() if value not in (None, [])]
        unused += [name for name, changed in (("--suite", suite != "quick"), ("--seed", seed != 0)) if changed]
        if unused:
            raise typer.BadParameter(f"--peer has no claim, no suite, no seed and no page: drop {', '.join(unused)}")
        _audit(peer, json_file, reproducers)
    elif target is not None:
        if reproducers is not None:
            raise typer.BadParameter("expected --reproducers with --peer only, got it with FILE.py:FUNCTION; drop it")
        if html_file is not None and json_file is not None and html_file.resolve() == json_file.resolve():
            raise typer.BadParameter(f"expected two files for --json and --html, got {json_file} for both")
        chosen = _Choice(claim, surrogate, scale, reset, spike)
        _verify(target, suite, chosen, seed, json_file, html_file)


class _Choice(NamedTuple):
    """The options that make a claim."""

    file: Path | None
    surrogate: str | None
    scale: float | None
    reset: str | None
    spike: list[str] | None


def _audit(peer: str, json_file: Path | None, reproducers: Path | None) -> NoReturn:
    from bitprop.verification.peers import audit_peer

    with notes.status(f"auditing {peer}"):
        audit = audit_peer(peer)
    if reproducers is not None:
        audit.write_reproducers(reproducers)
    _put(audit.to_dict(), audit.to_text(reproducers=reproducers is None), json_file)
    raise typer.Exit(audit.exit_code)


def _put(fields: dict[str, Any], text: str, json_file: Path | None) -> None:
    from bitprop.artifacts import write_json

    if json_file is not None and str(json_file) == "-":
        print_json(fields)
        return
    if json_file is not None:
        write_json(json_file, fields)
    console.print(text, soft_wrap=True)


def _verify(
    target: str, suite: str, choice: _Choice, seed: int, json_file: Path | None, html_file: Path | None
) -> NoReturn:
    from bitprop._checks import check_choice
    from bitprop.report.verification import write_verification_page
    from bitprop.verification.loading import load_build
    from bitprop.verification.suite import SUITES, BackpropagationVerificationSuite
    from bitprop.verification.suite import verify as run

    extent = check_choice("suite", suite, SUITES)
    built = load_build(target)
    chosen = _claim(built.claim, choice)
    training = built.training
    with notes.status("verifying") as status:
        if training is not None and extent == "full":
            whole = BackpropagationVerificationSuite(claim=chosen, suite=extent, seed=seed, epochs=training.epochs)
            report = whole.run_full_verification(
                built.model,
                training.loader,
                built.loss,
                training.optimizer(built.model.parameters()),
                ann_factory=training.ann_factory,
                snn_factory=training.snn_factory,
                test=training.test,
                reset_state=built.reset,
                say=status.update,
            )
            text = whole.generate_report(report)
        else:
            report = run(
                built.model,
                built.inputs,
                built.targets,
                built.loss,
                claim=chosen,
                suite=extent,
                seed=seed,
                reset_state=built.reset,
                say=status.update,
            )
            text = report.to_text()
    if html_file is not None:
        write_verification_page(report, html_file)
    _put(report.to_dict(), text, json_file)
    raise typer.Exit(report.exit_code)


def _claim(built: Claim | None, choice: _Choice) -> Claim:
    """The claim: options over the file over what the model's own file says."""
    from bitprop.verification.claim import Claim, load_claim

    chosen = load_claim(choice.file) if choice.file is not None else built or Claim()
    changes: dict[str, object] = {}
    if choice.surrogate is not None:
        changes |= {"surrogate": choice.surrogate, "scale": choice.scale, "derivative": None}
    elif choice.scale is not None:
        changes |= {"scale": choice.scale}
    if choice.reset is not None:
        changes |= {"reset": choice.reset}
    if choice.spike:
        changes |= {"spike": tuple(choice.spike)}
    return chosen.with_changes(**changes)
