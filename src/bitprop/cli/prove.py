"""The command ``bitprop prove``: arguments in, one call, a table out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from bitprop.cli._console import EXIT_FAILED, console, guarded_with, notes, print_json

if TYPE_CHECKING:
    from bitprop.verification.rtl_proofs import ProofReport

__all__ = ["prove"]


@guarded_with("the answers so far are kept; the same command continues")
def prove(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[PROOF]...", help="Some proofs; all of them if none is named.")
    ] = None,
    mutants: Annotated[
        bool, typer.Option("--mutants/--no-mutants", help="Show that the proofs object to planted faults too.")
    ] = True,
    workers: Annotated[int, typer.Option("--workers", min=1, max=64, help="Provers at once.")] = 2,
    timeout: Annotated[float, typer.Option("--timeout", min=1, max=1e6, help="Seconds for one answer.")] = 300.0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Prove everything anew; kept answers are not used.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the report as JSON to this file; - for standard output.")
    ] = None,
) -> None:
    """Prove the modules of the Verilog library against their contracts, and refute planted faults.

    Answers are kept in the cache folder by content. Exit code 1: a proof failed, or a fault went unnoticed.
    """
    from bitprop.artifacts import check_target, write_json
    from bitprop.toolchain.cache import ResultCache
    from bitprop.verification.rtl_proofs import prove_library

    if json_file is not None and str(json_file) != "-":
        check_target(json_file)
    with notes.status("starting Yosys (its first run takes minutes)") as status:
        report = prove_library(
            names or (),
            mutants=mutants,
            workers=workers,
            timeout=timeout,
            cache=None if fresh else ResultCache.default(),
            say=lambda what: status.update(what),
        )
    if json_file is not None and str(json_file) == "-":
        print_json(report.to_dict())
    else:
        if json_file is not None:
            write_json(json_file, report.to_dict())
        _show(report)
    if not report.passed:
        raise typer.Exit(EXIT_FAILED)


def _show(report: ProofReport) -> None:
    table = Table("proof", "property", "scope", "cases", "answer", "s", "faults refuted")
    for row in report.to_dict()["proofs"]:
        table.add_row(
            row["name"],
            row["property"],
            row["scope"],
            str(row["cases"]),
            f"{row['status']} {row['detail']}".strip(),
            f"{row['seconds']:.1f}",
            f"{len(row['refuted'])} of {row['mutants']}",
        )
    console.print(table)
    for name in report.survivors():
        console.print(f"no proof objects to the fault {name!r}")
    console.print(f"{report.tools[0]}; {report.tools[1]}; {report.seconds:.0f} s", soft_wrap=True)
