"""Report records from the artefacts that other parts write: documents, metrics, parity results, decisions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bitprop._checks import check_integer
from bitprop.errors import ArtifactError, RangeError, ShapeError
from bitprop.graph.spec import Document
from bitprop.report.data import (
    MAX_CLASSES,
    Confusion,
    LayerHistory,
    LayerRow,
    Mistake,
    Parity,
    ParityRow,
    Picture,
    TrainingHistory,
    check_same_length,
)
from bitprop.verification.parity import Mismatch, ParityResult

__all__ = [
    "confusion_from_labels",
    "history_from_metrics",
    "layers_from_document",
    "mistakes_from_labels",
    "parity_from_result",
]


def layers_from_document(document: Document) -> tuple[LayerRow, ...]:
    """The rows of the layer table."""
    one = 1 << document.precision_bits
    return tuple(
        LayerRow(
            name=layer.name,
            inputs=layer.in_features,
            outputs=layer.out_features,
            length=layer.length,
            encoding=layer.encoding,
            correlation=layer.correlation_raw / one,
            activation_source=layer.activation_source.kind,
            weight_source=layer.weight_source.kind,
            accumulator_bits=layer.accumulator_bits,
            cycles=layer.length + 2,
        )
        for layer in document.layers
    )


def history_from_metrics(
    entries: Iterable[Mapping[str, Any]],
    lengths: Sequence[Sequence[int]],
    encodings: Sequence[Sequence[str]],
    *,
    names: Sequence[str] | None = None,
    joint_accuracy: float | None = None,
    committed_accuracy: float | None = None,
) -> TrainingHistory | None:
    """The history of a run from the entries of its ``metrics.jsonl``; ``None`` when there are none.

    Args:
        entries: one mapping per epoch, as ``EpochMetrics.to_dict`` gives.
        lengths: candidate lengths of every layer.
        encodings: candidate encodings of every layer.
        names: names of the layers; ``layer0, layer1, …`` if left out.
        joint_accuracy: of the mixture, before the choice.
        committed_accuracy: of the choice, same weights.

    Raises:
        ArtifactError: an entry lacks a field or has something else in it.
        ShapeError: probabilities that do not fit the candidates.
        RangeError: a value out of range.
    """
    rows = list(entries)
    if not rows:
        return None
    labels = [f"layer{index}" for index in range(len(lengths))] if names is None else list(names)
    check_same_length("layers", names=labels, lengths=lengths, encodings=encodings)
    try:
        design = [[entry["design"][index] for entry in rows] for index in range(len(lengths))]
        return TrainingHistory(
            epochs=tuple(int(entry["epoch"]) for entry in rows),
            phases=tuple(str(entry["phase"]) for entry in rows),
            loss=tuple(float(entry["loss"]) for entry in rows),
            train_accuracy=tuple(float(entry["train_accuracy"]) for entry in rows),
            validation_accuracy=tuple(_optional(entry["validation_accuracy"]) for entry in rows),
            mean_length=tuple(float(entry["mean_length"]) for entry in rows),
            layers=tuple(
                LayerHistory(
                    name=labels[index],
                    lengths=tuple(lengths[index]),
                    encodings=tuple(encodings[index]),
                    length_probabilities=tuple(tuple(map(float, e["length_probabilities"])) for e in layer),
                    encoding_probabilities=tuple(tuple(map(float, e["encoding_probabilities"])) for e in layer),
                    correlation=tuple(float(e["correlation"]) for e in layer),
                    expected_length=tuple(float(e["expected_length"]) for e in layer),
                )
                for index, layer in enumerate(design)
            ),
            joint_accuracy=joint_accuracy,
            committed_accuracy=committed_accuracy,
        )
    except (KeyError, IndexError, TypeError) as error:
        raise ArtifactError(
            f"expected entries of metrics.jsonl, one per epoch, got {error!r} in one of them"
        ) from error


def _optional(value: float | None) -> float | None:
    return None if value is None else float(value)


def parity_from_result(result: ParityResult) -> Parity:
    """The rows of a parity check.  Reproducing commands stay out: they name folders of one machine."""
    return Parity(
        tuple(
            ParityRow(
                simulator=entry.simulator,
                version=entry.version,
                status="fail" if wrong else "pass",
                samples=entry.samples + entry.corner_samples,
                integers=entry.integers + entry.corner_integers,
                mismatches=len(wrong),
                latency_cycles=entry.latency_cycles,
                more_possible=bool(wrong),
                detail=" ".join(_where(mismatch) for mismatch in wrong),
            )
            for entry in result.simulators
            for wrong in [[item for item in result.mismatches if item.simulator == entry.simulator]]
        ),
        result.expected_latency_cycles,
    )


def _where(mismatch: Mismatch) -> str:
    neuron = "" if mismatch.neuron is None else f", neuron {mismatch.neuron}"
    cycle = "" if mismatch.cycle is None else f", from cycle {mismatch.cycle}"
    alone = ", layer alone" if mismatch.alone else ""
    return (
        f"First difference: sample {mismatch.sample}, {mismatch.layer_name}{neuron}{cycle}{alone}: expected "
        f"{mismatch.expected}, got {mismatch.actual}."
    )


def confusion_from_labels(
    labels: npt.ArrayLike, decisions: npt.ArrayLike, classes: int, names: Sequence[str] = ()
) -> Confusion:
    """Count labels against decisions.

    Args:
        labels: ``[B]``, ``0 .. classes - 1``.
        decisions: ``[B]``, ``0 .. classes - 1``.
        classes: how many.
        names: what they are called.

    Raises:
        ShapeError: not two integer vectors of equal length.
        RangeError: a class out of range.

    Example:
        >>> confusion_from_labels([0, 1, 1], [0, 1, 0], 2).counts
        ((1, 0), (1, 1))
    """
    rows, columns = _class_vector("labels", labels, classes), _class_vector("decisions", decisions, classes)
    check_same_length("labels and decisions", labels=rows, decisions=columns)
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (rows, columns), 1)
    return Confusion(tuple(tuple(row) for row in counts.tolist()), tuple(names))


def _class_vector(name: str, values: npt.ArrayLike, classes: int) -> npt.NDArray[np.int64]:
    check_integer("classes", classes, 1, MAX_CLASSES)
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ShapeError(f"expected {name} to be integers [B], got {array.dtype} of shape {list(array.shape)}")
    if array.size and (array.min() < 0 or array.max() >= classes):
        raise RangeError(f"expected {name} in 0 .. {classes - 1}, got {array.min()} .. {array.max()}")
    return array.astype(np.int64)


def mistakes_from_labels(
    inputs: npt.ArrayLike,
    labels: npt.ArrayLike,
    decisions: npt.ArrayLike,
    image_shape: tuple[int, int],
    *,
    names: Sequence[str] = (),
    low: float = 0.0,
    high: float = 1.0,
    limit: int = 24,
) -> tuple[Mistake, ...]:
    """The first ``limit`` samples that are wrong, as pictures.

    Args:
        inputs: ``[B, rows * columns]`` (value integers or reals).
        labels: ``[B]``.
        decisions: ``[B]``.
        image_shape: rows and columns.
        names: class names.
        low: value of paper.
        high: value of ink.
        limit: at most so many.

    Raises:
        ShapeError: lengths or the picture's shape do not fit.
        RangeError: see :class:`Picture`.
    """
    pixels = np.asarray(inputs, dtype=np.float64)
    truth, answer = np.asarray(labels), np.asarray(decisions)
    if pixels.ndim != 2 or truth.shape != (len(pixels),) or answer.shape != truth.shape:
        raise ShapeError(
            f"expected inputs [B, F], labels [B] and decisions [B], got {list(pixels.shape)}, {list(truth.shape)} and "
            f"{list(answer.shape)}"
        )
    check_integer("limit", limit, 0, 1000)

    def called(index: int) -> str:
        return names[index] if 0 <= index < len(names) else str(index)

    return tuple(
        Mistake(
            Picture(*image_shape, tuple(pixels[b].tolist()), low, high), called(int(truth[b])), called(int(answer[b]))
        )
        for b in np.flatnonzero(truth != answer)[:limit]
    )
