"""One self-contained HTML page about a trained network: figures first, numbers beside them, no script, no network.

:func:`render` makes the page of a :class:`~bitprop.report.data.ReportData`; :func:`write_report` writes it.
"""

from __future__ import annotations

from bitprop.report.build import (
    confusion_from_labels,
    history_from_metrics,
    layers_from_document,
    mistakes_from_labels,
    parity_from_result,
)
from bitprop.report.data import (
    Confusion,
    LayerHistory,
    LayerRow,
    LengthPoint,
    Mistake,
    Parity,
    ParityRow,
    Picture,
    ReportData,
    TrainingHistory,
)
from bitprop.report.neuron import NeuronStreams, neuron_streams
from bitprop.report.page import EVIDENCE_LINE, render, write_report

__all__ = [
    "EVIDENCE_LINE",
    "Confusion",
    "LayerHistory",
    "LayerRow",
    "LengthPoint",
    "Mistake",
    "NeuronStreams",
    "Parity",
    "ParityRow",
    "Picture",
    "ReportData",
    "TrainingHistory",
    "confusion_from_labels",
    "history_from_metrics",
    "layers_from_document",
    "mistakes_from_labels",
    "neuron_streams",
    "parity_from_result",
    "render",
    "write_report",
]
