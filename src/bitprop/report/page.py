"""The page itself: one HTML file that asks the network for nothing and runs no script."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from bitprop.artifacts import EVIDENCE_LOCAL_PARITY, write_text
from bitprop.report import takeaway
from bitprop.report._svg import clean, clip, decimal
from bitprop.report.chart_classes import MAX_MATRIX, class_accuracies, class_chart, confusion_chart, confusion_rows
from bitprop.report.chart_cycles import cycles_chart
from bitprop.report.chart_length import length_chart
from bitprop.report.chart_streams import barcode, input_name, streams_chart, streams_legend
from bitprop.report.chart_training import layer_chart, layer_legend, shown_epochs, training_chart
from bitprop.report.data import ReportData
from bitprop.report.neuron import NeuronStreams
from bitprop.report.picture import png_address

__all__ = ["EVIDENCE_LINE", "page_environment", "page_style", "render", "write_report"]

EVIDENCE_LINE = "Local simulation and executable HDL parity; no hardware measurement is claimed."
"""Stands on every page, at the top and at the bottom."""

_STATUS = {
    "pass": ("pass", "Equal integers"),
    "fail": ("fail", "Integers differ"),
    "skipped": ("none", "Parity not run"),
}


def render(data: ReportData) -> str:
    """The whole page as HTML; equal data give equal text.

    Args:
        data: what to show; parts that are ``None`` or empty become a note.
    """
    return page_environment().get_template("page.html.j2").render(**_context(data))


def write_report(data: ReportData, path: str | os.PathLike[str]) -> Path:
    """Write :func:`render` atomically.

    Raises:
        ArtifactError: the file cannot be written.
    """
    return write_text(path, render(data))


def _template(name: str) -> str:
    return resources.files("bitprop.report").joinpath("templates", name).read_text(encoding="utf-8")


def page_style() -> Markup:
    """The style sheet that pages carry inside."""
    return Markup(_template("style.css"))  # noqa: S704 (ours)


@cache
def page_environment() -> Environment:
    """Templates of this package, everything escaped."""
    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # controls and direction overrides never reach the page, whoever named the thing
        finalize=lambda value: (
            value if isinstance(value, Markup) else clean(value) if isinstance(value, str) else value
        ),
    )
    filters: dict[str, Callable[..., Any]] = {
        "percent": takeaway.percent,
        "plural": takeaway.plural,
        "decimal": decimal,
        "clip": clip,
        "pretty": lambda name: name.replace("_", "-"),
    }
    environment.filters.update(filters)
    return environment


def _context(data: ReportData) -> dict[str, Any]:
    parity_status = data.parity.status if data.parity is not None else "skipped"
    return {
        "data": data,
        "style": page_style(),
        "evidence_line": EVIDENCE_LINE,
        "evidence_class": EVIDENCE_LOCAL_PARITY,
        "shape": "–".join(str(width) for width in data.shape),
        "status": _STATUS[parity_status],
        "barcode": barcode(data.neurons),
        "cards": _cards(data),
        "design": {"sentence": takeaway.design_sentence(data), "cycles": cycles_chart(data.layers)},
        "length": _length(data),
        "neurons": [_neuron(data, streams) for streams in data.neurons],
        "training": _training(data),
        "parity": {"sentence": takeaway.parity_sentence(data.parity), "status": _STATUS},
        "classes": _classes(data),
        "mistakes": [
            {"address": png_address(m.picture), "label": clip(m.label, 24), "decision": clip(m.decision, 24)}
            for m in data.mistakes
        ],
        "wrong": max(len(data.mistakes), round(data.test_samples * (1 - data.bit_true_accuracy))),
    }


def _cards(data: ReportData) -> list[dict[str, str]]:
    """The figures that a reader takes away."""
    cards = [
        {
            "name": "Bit-true accuracy",
            "value": takeaway.percent(data.bit_true_accuracy),
            "note": f"{takeaway.plural(data.test_samples, 'held-out sample')}",
        }
    ]
    if data.float_accuracy is not None:
        cards.append(
            {
                "name": "Float accuracy",
                "value": takeaway.percent(data.float_accuracy),
                "note": f"{clip(data.float_label, 60)}; bit-true is "
                f"{takeaway.against(data.bit_true_accuracy, data.float_accuracy)} it",
            }
        )
    lengths = [row.length for row in data.layers]
    cards.append(
        {
            "name": "Mean stream length",
            "value": decimal(data.mean_length),
            "note": "cycles a product; layers have " + " and ".join(str(value) for value in sorted(set(lengths)))
            if len(set(lengths)) <= 4
            else f"cycles a product; layers have {min(lengths)} to {max(lengths)}",
        }
    )
    cards.append(
        {
            "name": "Cycles to a decision",
            "value": decimal(data.latency_cycles, 0),
            "note": f"a new one every {takeaway.plural(data.interval_cycles, 'cycle')}",
        }
    )
    rows = [] if data.parity is None else [row for row in data.parity.rows if row.status != "skipped"]
    if rows:
        mismatches = sum(row.mismatches for row in rows)
        more = "at least " if any(row.more_possible for row in rows) else ""
        note = " · ".join(f"{clip(row.simulator, 24)} {decimal(row.integers, 0)}" for row in rows[:4])
        cards.append(
            {
                "name": "Integers compared",
                "value": decimal(sum(row.integers for row in rows), 0),
                "note": f"{more}{takeaway.plural(mismatches, 'mismatch').replace('mismatchs', 'mismatches')}: {note}",
            }
        )
    else:
        cards.append({"name": "Integers compared", "value": "0", "note": "no simulator was run"})
    return cards


def _length(data: ReportData) -> dict[str, Any] | None:
    if not data.lengths:
        return None
    legend, figure = length_chart(data.lengths, data.float_accuracy, data.float_label)
    sentence = takeaway.length_sentence(data.lengths, data.float_accuracy, data.float_label)
    return {"legend": legend, "figure": figure, "sentence": sentence}


def _neuron(data: ReportData, streams: NeuronStreams) -> dict[str, Any]:
    shape = None
    if streams.layer == 0 and data.picture is not None:
        rows, columns = data.picture.rows, data.picture.columns
        shape = (rows, columns) if rows * columns == streams.all_inputs else None
    return {
        "streams": streams,
        "sentence": takeaway.neuron_sentence(streams, data.picture_label),
        "legend": streams_legend(streams),
        "figure": streams_chart(streams, shape),
        "picture": png_address(data.picture) if shape is not None and data.picture is not None else None,
        "marks": _marks(streams, shape),
        "rows": 0 if shape is None else shape[0],
        "columns": 0 if shape is None else shape[1],
    }  # fmt: skip


def _marks(streams: NeuronStreams, shape: tuple[int, int] | None) -> list[dict[str, Any]]:
    """Where the inputs shown lie in the picture."""
    if shape is None:
        return []
    return [
        {"x": index % shape[1], "y": index // shape[1], "order": order, "name": input_name(streams, index, shape)}
        for order, index in enumerate(streams.inputs, start=1)
    ]


def _training(data: ReportData) -> dict[str, Any] | None:
    history = data.history
    if history is None or not history.epochs:
        return None
    legend, figure = training_chart(history)
    count, drawn = len(history.epochs), len(shown_epochs(len(history.epochs)))
    return {
        "sentence": takeaway.training_sentence(history),
        "phases": takeaway.phases_note(history),
        "thinned": f"{drawn} of {count} epochs are drawn." if drawn < count else "",
        "legend": legend,
        "figure": figure,
        "layers": [
            {
                "name": layer.name,
                "length": layer.expected_length[-1],
                "legend": layer_legend(layer),
                "figure": layer_chart(layer, history.epochs, history.phases),
            }
            for layer in history.layers
        ],
    }


def _classes(data: ReportData) -> dict[str, Any] | None:
    confusion = data.confusion
    if confusion is None or not class_accuracies(confusion):
        return None
    classes = len(confusion.counts)
    return {
        "sentence": takeaway.classes_sentence(confusion),
        "matrix": confusion_chart(confusion) if classes <= MAX_MATRIX else None,
        "accuracy": class_chart(confusion),
        "weakest": len(class_accuracies(confusion)) > 20,
        "rows": confusion_rows(confusion, 12) if classes > 20 else [],
        "classes": classes,
    }
