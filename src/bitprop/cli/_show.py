"""Results as a person reads them: tables and a progress bar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from bitprop.cli._console import console, notes

if TYPE_CHECKING:  # torch takes seconds to import; `bitprop --help` should not
    from bitprop.runs import Evaluation
    from bitprop.toolchain.flow import Implementation
    from bitprop.training.outcome import EpochMetrics
    from bitprop.verification.parity import ParityResult

__all__ = [
    "WorkProgress",
    "show_demo",
    "show_environment",
    "show_evaluation",
    "show_implementation",
    "show_parity",
]


def _table(title: str, columns: list[str], rows: list[list[str]]) -> Table:
    """A plain table, numbers to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="dim")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


class WorkProgress:
    """One bar for the work at hand, with the newest figures beside it, on standard error."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._bar = Progress(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=notes,
            disable=quiet,
        )
        self._task: TaskID | None = None
        self._what = ""

    def __enter__(self) -> WorkProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """One line above the bar."""
        if not self._quiet:
            notes.print(text, soft_wrap=True)

    def step(self, what: str, done: int, total: int | None) -> None:
        """Show how much of a piece of work is done; a new name is a new piece, no total is an unknown one."""
        if self._task is None or what != self._what:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task, self._what = self._bar.add_task(what, total=total, figures=""), what
        self._bar.update(self._task, completed=done)

    def epoch(self, metrics: EpochMetrics) -> None:
        """Show one epoch's figures."""
        figures = f"{metrics.phase:6s} loss {metrics.loss:.3f}  L {metrics.mean_length:.1f}"
        if metrics.validation_accuracy is not None:
            figures += f"  validation {metrics.validation_accuracy:.1%}"
        if self._task is not None:
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
        + (f"{cycles} cycles per inference" if cycles is not None else "not exportable: ideal random bits"),
        soft_wrap=True,
    )


def show_parity(result: ParityResult) -> None:
    """What was compared, and the first difference of each simulator."""
    rows = [
        [
            entry.simulator,
            "".join(entry.version.splitlines()[:1]),
            f"{entry.samples} + {entry.corner_samples}",
            f"{entry.integers + entry.corner_integers:,}",
            str(entry.latency_cycles),
        ]
        for entry in result.simulators
    ]
    columns = ["simulator", "version", "samples + corners", "integers", "cycles"]
    console.print(_table(f"{result.network}: {result.status}", columns, rows))
    for mismatch in result.mismatches:
        console.print(mismatch.describe(), soft_wrap=True)


def show_implementation(result: Implementation, shell: str) -> None:
    """Area, clock and critical path of a design in a shell of something."""
    synthesis, typical = result.synthesis, result.typical
    capacity = synthesis.device.capacity
    rows = []
    for name, used in synthesis.cells.to_dict().items():
        share = f"{result.utilisation[name]:.1%}" if name in result.utilisation else ""
        rows.append([name, f"{used:,}", f"{getattr(capacity, name):,}" if share else "", share])
    console.print(_table(f"{synthesis.top} on {synthesis.device.name}", ["", "design", "part", "share"], rows))
    low, median, high = result.fmax_mhz
    count = len(result.placements)
    console.print(
        f"clock: {median:.1f} MHz (median of {count} {'placement' if count == 1 else 'placements'}, {low:.1f} to "
        f"{high:.1f})   {result.seconds:.0f} s of work in all",
        soft_wrap=True,
    )
    for seed, reason in result.failures.items():
        console.print(f"seed {seed} failed: {reason}", soft_wrap=True)
    path = [
        [segment.module, segment.instance, segment.source, f"{segment.logic_ns:.2f}", f"{segment.routing_ns:.2f}"]
        for segment in typical.critical_path
    ]
    columns = ["module", "instance", "source", "logic ns", "wires ns"]
    console.print(_table(f"critical path, seed {typical.seed}", columns, path))
    console.print(
        f"an estimate by {synthesis.tool} and {typical.tool}, the design in a shell of {shell}; "
        "no hardware was measured",
        soft_wrap=True,
    )


def show_environment(found: dict[str, Any]) -> None:
    """Versions, simulators, tools of synthesis, kernels."""
    console.print(_table("versions", ["package", "version"], [list(pair) for pair in found["versions"].items()]))
    for title, key in (
        ("simulators", "tools"),
        ("synthesis, placement and routing", "synthesis"),
        ("test benches", "benches"),
    ):
        tools = [[tool["name"], tool["version"] or f"not found: {tool['how_to_get']}"] for tool in found[key]]
        console.print(_table(title, ["tool", "version"], tools))
    console.print(f"bit-true kernels: {found['kernels']}")


def show_demo(result: dict[str, Any]) -> None:
    """The demo's closing table."""
    console.print(_design_table("chosen design", result["layers"]))
    accuracy = result["accuracy"]
    console.print(
        f"accuracy: float {accuracy['float']:.2%}, bit-true {accuracy['bit_true']:.2%}   "
        f"mean length {result['mean_length']:.2f}   {result['cycles_per_inference']} cycles per inference",
        soft_wrap=True,
    )
    for entry in result["parity"]["simulators"]:
        console.print(
            f"{entry['simulator']}: {entry['samples']} samples, "
            f"{entry['integers'] + entry['corner_integers']:,} integers compared, parity {result['parity']['status']}",
            soft_wrap=True,
        )
    console.print(f"page: {result['page']}", soft_wrap=True)
