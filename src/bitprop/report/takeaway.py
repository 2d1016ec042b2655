"""One sentence per figure, computed from the figure's own numbers; nothing is claimed that they do not show."""

from __future__ import annotations

from bitprop.report._svg import clip, decimal
from bitprop.report.chart_classes import class_accuracies, confusions
from bitprop.report.chart_training import PHASE_NAMES
from bitprop.report.data import Confusion, LengthPoint, Parity, ReportData, TrainingHistory
from bitprop.report.neuron import NeuronStreams

__all__ = [
    "against",
    "classes_sentence",
    "design_sentence",
    "length_sentence",
    "neuron_sentence",
    "parity_sentence",
    "percent",
    "phases_note",
    "plural",
    "training_sentence",
]


def percent(share: float, digits: int = 1) -> str:
    """A share in percent; less than everything never reads 100 %, more than nothing never 0 %."""
    if share == 1.0:
        return "100\N{NO-BREAK SPACE}%"
    shown = f"{share * 100:.{digits}f}"
    edge = 10.0**-digits
    if share < 1.0 and float(shown) == 100.0:
        shown = f"{100 - edge:.{digits}f}"
    if share > 0.0 and float(shown) == 0.0:
        shown = f"{edge:.{digits}f}"
    return f"{shown}\N{NO-BREAK SPACE}%"


def plural(count: int, noun: str) -> str:
    """``1 cycle``, ``2 cycles``."""
    return f"{decimal(count, 0)}\N{NO-BREAK SPACE}{noun}{'' if count == 1 else 's'}"


def _points(difference: float) -> str:
    """A difference of two accuracies, in percentage points."""
    shown = decimal(abs(difference) * 100)
    return f"{shown}\N{NO-BREAK SPACE}{'point' if shown == '1' else 'points'}"


def against(accuracy: float, reference: float) -> str:
    """``0.3 points below``, ``level with``."""
    difference = accuracy - reference
    if abs(difference) < 5e-4:
        return "level with"
    return f"{_points(difference)} {'above' if difference > 0 else 'below'}"


def length_sentence(points: tuple[LengthPoint, ...], float_accuracy: float | None, float_label: str) -> str:
    """Where the best network stands, and how short a near-best one may be."""
    best = max(points, key=lambda p: (p.accuracy, -p.mean_length))
    told = f"The best of {plural(len(points), 'network')} reaches {percent(best.accuracy)} with "
    told += f"{decimal(best.mean_length)} cycles on average"
    if float_accuracy is not None:
        told += f", {against(best.accuracy, float_accuracy)} the {clip(float_label, 60)} ({percent(float_accuracy)})"
    near = min((p for p in points if p.accuracy >= best.accuracy - 0.01), key=lambda p: (p.mean_length, -p.accuracy))
    if near.mean_length < best.mean_length:
        told += (
            f"; {decimal(near.mean_length)} cycles are enough to stay within one point of it "
            f"({percent(near.accuracy)}, {clip(near.series, 60)})"
        )
    return f"{told}.{_exported_sentence(points)}"


def _exported_sentence(points: tuple[LengthPoint, ...]) -> str:
    """How the page's own network compares with the best other one that is no longer; empty if there is none."""
    own = next((point for point in points if point.exported), None)
    if own is None:
        return ""
    rivals = [point for point in points if not point.exported and point.mean_length <= own.mean_length]
    if not rivals:
        return f" This network has {percent(own.accuracy)} at {decimal(own.mean_length)} cycles."
    rival = max(rivals, key=lambda p: (p.accuracy, -p.mean_length))
    return (
        f" This network has {percent(own.accuracy)} at {decimal(own.mean_length)} cycles, "
        f"{against(own.accuracy, rival.accuracy)} the best other one that is no longer ({percent(rival.accuracy)} at "
        f"{decimal(rival.mean_length)}, {clip(rival.series, 60)})."
    )


def design_sentence(data: ReportData) -> str:
    """Which layer takes how much of the time."""
    slowest = max(data.layers, key=lambda row: row.cycles)
    if len(data.layers) == 1:
        return (
            f"One layer, {plural(slowest.length, 'cycle')} of streams: a decision after {data.latency_cycles} cycles."
        )
    share = slowest.cycles / data.latency_cycles
    lengths = {row.length for row in data.layers}
    told = "All layers have the same stream length" if len(lengths) == 1 else (
        f"{clip(slowest.name, 40)} has the longest streams ({plural(slowest.length, 'cycle')}) and takes "
        f"{percent(share, 0)} of the time to a decision"
    )  # fmt: skip
    return (
        f"{told}; back to back, a decision leaves every {plural(data.interval_cycles, 'cycle')}, "
        f"{data.latency_cycles} after its sample came."
    )


def training_sentence(history: TrainingHistory) -> str:
    """How far accuracy and length went, and what the choice cost."""
    measured = [(v, e) for e, v in zip(history.epochs, history.validation_accuracy, strict=True) if v is not None]
    name = "Validation accuracy"
    if not measured:
        name = "Training accuracy"
        measured = list(zip(history.train_accuracy, history.epochs, strict=True))
    (first, first_epoch), (last, last_epoch) = measured[0], measured[-1]
    best, best_epoch = max(measured, key=lambda entry: (entry[0], -entry[1]))
    if first_epoch == last_epoch:
        told = f"{name} was {percent(first)} in epoch {first_epoch}, the only one measured"
    else:
        told = f"{name} went from {percent(first)} in epoch {first_epoch} to {percent(last)} in epoch {last_epoch}"
        if best > last:
            told += f" (best {percent(best)}, epoch {best_epoch})"
    a, b = history.mean_length[0], history.mean_length[-1]
    if abs(a - b) >= 0.05:
        told += (
            f" while the expected mean length {'fell' if b < a else 'rose'} from {decimal(a)} to {decimal(b)} cycles"
        )
    told += "."
    if history.joint_accuracy is not None and history.committed_accuracy is not None:
        change = history.committed_accuracy - history.joint_accuracy
        what = "changed nothing" if abs(change) < 5e-4 else f"{'cost' if change < 0 else 'gained'} {_points(change)}"
        told += (
            f" Turning the mixture into a choice {what} ({percent(history.joint_accuracy)} to "
            f"{percent(history.committed_accuracy)}, training samples)."
        )
    return told


def phases_note(history: TrainingHistory) -> str:
    """The phases and how many epochs each took."""
    counts: dict[str, int] = {}
    for phase in history.phases:
        counts[phase] = counts.get(phase, 0) + 1
    return ", ".join(f"{clip(PHASE_NAMES.get(name, name), 20)} {plural(n, 'epoch')}" for name, n in counts.items())


def neuron_sentence(streams: NeuronStreams, label: str) -> str:
    """What the accumulator said and what became of it."""
    final = streams.accumulator[-1]
    bare = f"After {plural(streams.length, 'cycle')} the accumulator stands at {decimal(final, 0)}"
    bare += (
        f", {decimal(abs(final - streams.expected))} {'above' if final >= streams.expected else 'below'} what ideal "
    )
    bare += "streams would give on average"
    one = float(1 << streams.precision_bits)
    if streams.clamp is not None:
        low, high = streams.clamp
        value = decimal(streams.output / one, 3)
        if streams.output in (low, high):
            return f"{bare}; the layer hands on {value}, the end of its range."
        return f"{bare}; the layer hands on {value}."
    rival = streams.rival
    if streams.decision is None or rival is None:
        return f"{bare}."
    other, value_other = rival
    if streams.decision == streams.neuron:
        lead = final - value_other
        told = f"{bare}; it leads neuron {other} by {decimal(lead, 0)}" if lead else f"{bare}, as does neuron {other}"
        told += f", so the decision is {streams.neuron}"
    else:
        told = f"{bare}; neuron {streams.decision} is ahead by {decimal(value_other - final, 0)} and wins"
    return f"{told} (label {clip(label, 40)})." if label else f"{told}."


def parity_sentence(parity: Parity | None) -> str:
    """How many integers were equal, or which simulator disagrees."""
    if parity is None or not parity.rows:
        return "No simulator was run for this report: equality with the Verilog is not shown here."
    failed = [row for row in parity.rows if row.status == "fail"]
    passed = [row for row in parity.rows if row.status == "pass"]
    if failed:
        names = ", ".join(clip(row.simulator, 40) for row in failed)
        return f"{names} {'disagrees' if len(failed) == 1 else 'disagree'} with the reference interpreter."
    if not passed:
        return "Every simulator was skipped: equality with the Verilog is not shown here."
    integers = sum(row.integers for row in passed)
    return (
        f"All {plural(integers, 'integer')} from {plural(len(passed), 'simulator')} equal those of the reference "
        "interpreter."
    )


def classes_sentence(confusion: Confusion) -> str:
    """The weakest class and the most frequent mistake."""
    rows = class_accuracies(confusion)
    if not rows:
        return "No held-out sample was counted."
    wrong = confusions(confusion)
    total = sum(samples for _, _, samples in rows)
    if not wrong:
        return f"All {plural(total, 'sample')} are right."
    index, right, samples = min(rows, key=lambda row: (row[1] / row[2], row[0]))
    a, b, count = wrong[0]
    told = f"{plural(sum(c for _, _, c in wrong), 'sample')} of {decimal(total, 0)} "
    told += f"{'is' if sum(c for _, _, c in wrong) == 1 else 'are'} wrong"
    if count > 1:
        told += f", most often {clip(confusion.name(a), 40)} taken for {clip(confusion.name(b), 40)} ({count} times)"
    if len(rows) > 1:
        told += f"; the weakest class is {clip(confusion.name(index), 40)} ({right} of {samples} right)"
    return f"{told}."
