"""Results as a person reads them: tables and a progress bar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from bitprop.cli._console import console, notes

if TYPE_CHECKING:  # torch takes seconds to import; `bitprop --help` should not
    from bitprop.runs import Evaluation
    from bitprop.training.loop import EpochMetrics
    from bitprop.verification.parity import ParityResult

__all__ = ["TrainingProgress", "show_demo", "show_environment", "show_evaluation", "show_parity"]


def _table(title: str, columns: list[str], rows: list[list[str]]) -> Table:
    """A plain table, numbers to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="dim")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


class TrainingProgress:
    """A bar over epochs with the newest figures beside it, on standard error."""

    def __init__(self, epochs: int, name: str, *, quiet: bool) -> None:
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=notes,
            disable=quiet,
        )
        self._task = self._bar.add_task(name, total=epochs, figures="")

    def __enter__(self) -> TrainingProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def epoch(self, metrics: EpochMetrics) -> None:
        """Show one epoch's figures."""
        figures = f"{metrics.phase:6s} loss {metrics.loss:.3f}  L {metrics.mean_length:.1f}"
        if metrics.validation_accuracy is not None:
            figures += f"  validation {metrics.validation_accuracy:.1%}"
        self._bar.update(self._task, completed=metrics.epoch, figures=figures)


def _design_table(title: str, layers: list[dict[str, Any]]) -> Table:
    return _table(
        title,
        ["layer", "length", "encoding", "correlation", "source"],
        [
            [
                f"{layer['in_features']} x {layer['out_features']}",
                str(layer["length"]),
                layer["encoding"],
                f"{layer['correlation']:+.3f}",
                layer["generator"],
            ]
            for layer in layers
        ],
    )


def show_evaluation(evaluation: Evaluation) -> None:
    """Chosen designs and accuracies."""
    console.print(_design_table(f"{evaluation.dataset}: {evaluation.samples} held-out samples", evaluation.layers))
    cycles = evaluation.cycles_per_inference
    console.print(
        f"bit-true accuracy {evaluation.accuracy:.2%}   relaxed {evaluation.relaxed_accuracy:.2%}   "
        f"mean length {evaluation.mean_length:.2f}   "
        + (f"{cycles} cycles per inference" if cycles is not None else "not exportable: ideal random bits")
    )


def show_parity(result: ParityResult) -> None:
    """What was compared, and the first difference of each simulator."""
    rows = [
        [
            entry.simulator,
            entry.version.splitlines()[0],
            f"{entry.samples} + {entry.corner_samples}",
            f"{entry.integers + entry.corner_integers:,}",
            str(entry.latency_cycles),
        ]
        for entry in result.simulators
    ]
    columns = ["simulator", "version", "samples + corners", "integers", "cycles"]
    console.print(_table(f"{result.network}: {result.status}", columns, rows))
    for mismatch in result.mismatches:
        console.print(mismatch.describe(), markup=False, soft_wrap=True)


def show_environment(found: dict[str, Any]) -> None:
    """Versions, simulators, kernels."""
    console.print(_table("versions", ["package", "version"], [list(pair) for pair in found["versions"].items()]))
    tools = [[tool["name"], tool["version"] or f"not found: {tool['how_to_get']}"] for tool in found["tools"]]
    console.print(_table("simulators", ["tool", "version"], tools))
    console.print(f"bit-true kernels: {found['kernels']}", markup=False)


def show_demo(result: dict[str, Any]) -> None:
    """The demo's closing table."""
    console.print(_design_table("chosen design", result["layers"]))
    accuracy = result["accuracy"]
    console.print(
        f"accuracy: float {accuracy['float']:.2%}, bit-true {accuracy['bit_true']:.2%}   "
        f"mean length {result['mean_length']:.2f}   {result['cycles_per_inference']} cycles per inference"
    )
    for entry in result["parity"]["simulators"]:
        console.print(
            f"{entry['simulator']}: {entry['samples']} samples, "
            f"{entry['integers'] + entry['corner_integers']:,} integers compared, parity {result['parity']['status']}"
        )
    console.print(f"page: {result['page']}", markup=False, soft_wrap=True)
