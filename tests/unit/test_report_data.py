"""Report records refuse what a page could not show honestly, and builders read what other parts write."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import numpy as np
import pytest

from bitprop.errors import ArtifactError, RangeError, ShapeError
from bitprop.graph.random import random_document
from bitprop.graph.timing import interval_cycles, latency_cycles
from bitprop.report import (
    Confusion,
    LayerRow,
    LengthPoint,
    Parity,
    ParityRow,
    Picture,
    ReportData,
    TrainingHistory,
    confusion_from_labels,
    history_from_metrics,
    layers_from_document,
    mistakes_from_labels,
    parity_from_result,
    takeaway,
)
from bitprop.report._svg import clean, decimal, log2_ticks, nice_ticks, num
from bitprop.report.chart_training import shown_epochs
from bitprop.report.picture import png_address
from bitprop.verification.parity import Mismatch, ParityResult, SimulatorParity

ROW = LayerRow("a", 4, 3, 16, "bipolar", 0.0, "sobol", "sobol", 8, 18)


def report(**changes: Any) -> ReportData:
    fields: dict[str, Any] = {
        "title": "t", "network": "n", "dataset": "d", "seed": 0, "test_samples": 10, "bit_true_accuracy": 0.9,
        "layers": (ROW,),
    }  # fmt: skip
    return ReportData(**{**fields, **changes})


@pytest.mark.parametrize("which", range(6))
def test_latency_and_mean_length_are_the_documents(which: int) -> None:
    document = random_document(which)
    data = report(layers=layers_from_document(document))
    assert data.latency_cycles == latency_cycles(document)
    assert data.interval_cycles == interval_cycles(document)
    products = [layer.in_features * layer.out_features for layer in document.layers]
    expected = sum(p * layer.length for p, layer in zip(products, document.layers, strict=True)) / sum(products)
    assert data.mean_length == pytest.approx(expected)
    assert data.shape[0] == document.inputs.features


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"title": " "}, RangeError),
        ({"dataset": 3}, RangeError),
        ({"bit_true_accuracy": 1.2}, RangeError),
        ({"bit_true_accuracy": float("nan")}, RangeError),
        ({"float_accuracy": float("inf")}, RangeError),
        ({"test_samples": 0}, RangeError),
        ({"layers": ()}, ShapeError),
        ({"layers": (ROW, ROW)}, ShapeError),
    ],
)
def test_unusable_report_data_are_refused(changes: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        report(**changes)


def test_records_check_shapes_and_ranges() -> None:
    with pytest.raises(RangeError):
        LengthPoint("s", 0.5, 0.5)
    with pytest.raises(RangeError):
        LayerRow("a", 4, 3, 16, "unary", 0.0, "sobol", "sobol", 8, 18)
    with pytest.raises(ShapeError):
        Confusion(((1, 0),))
    with pytest.raises(ShapeError):
        Confusion(((1, 0), (0, 1)), ("only one",))
    with pytest.raises(ShapeError):
        Picture(2, 2, (0.0,) * 3)
    with pytest.raises(RangeError):
        Picture(1, 1, (float("nan"),))
    with pytest.raises(RangeError):
        Picture(1, 1, (0.0,), 1.0, 1.0)
    with pytest.raises(ShapeError):
        TrainingHistory((1, 2), ("joint",), (1.0, 1.0), (0.5, 0.5), (None, None), (4.0, 4.0))
    with pytest.raises(RangeError):
        TrainingHistory((2, 2), ("joint",) * 2, (1.0, 1.0), (0.5, 0.5), (None, None), (4.0, 4.0))


def test_a_pass_without_comparison_or_with_mismatches_is_refused() -> None:
    for integers, mismatches in ((0, 0), (10, 1)):
        with pytest.raises(RangeError, match="pass"):
            ParityRow("icarus", "11", "pass", 3, integers, mismatches)
    assert Parity((), 5).status == "skipped"
    assert Parity((ParityRow("x", "", "skipped", 0, 0, 0), ParityRow("y", "", "pass", 1, 1, 0)), 5).status == "pass"
    assert Parity((ParityRow("x", "", "fail", 1, 1, 1), ParityRow("y", "", "pass", 1, 1, 0)), 5).status == "fail"


def entry(epoch: int, **changes: Any) -> dict[str, Any]:
    design = {
        "length_probabilities": [0.25, 0.75],
        "encoding_probabilities": [1.0],
        "expected_length": 7.0,
        "correlation": 0.1,
        "gain": 1.0,
    }
    return {
        "epoch": epoch, "phase": "joint", "loss": 1.0, "task_loss": 0.9, "train_accuracy": 0.5,
        "validation_loss": None, "validation_accuracy": None, "mean_length": 7.0, "design": [design], **changes,
    }  # fmt: skip


def test_history_comes_from_metrics_entries() -> None:
    history = history_from_metrics([entry(1), entry(2)], [(4, 8)], [["bipolar"]])
    assert history is not None
    assert history.epochs == (1, 2)
    assert history.layers[0].length_probabilities == ((0.25, 0.75), (0.25, 0.75))
    assert history_from_metrics([], [(4, 8)], [["bipolar"]]) is None
    with pytest.raises(ArtifactError):
        history_from_metrics([{"epoch": 1}], [(4, 8)], [["bipolar"]])
    with pytest.raises(ShapeError):
        history_from_metrics([entry(1)], [(4, 8, 16)], [["bipolar"]])
    with pytest.raises(RangeError):
        history_from_metrics([entry(1, loss=float("nan"))], [(4, 8)], [["bipolar"]])


def test_parity_rows_keep_the_first_difference_and_no_command() -> None:
    mismatch = Mismatch("icarus", 3, 1, "layer1", 2, 7, 10, 11, 4, 5, False, "secret command", (1, 2))
    result = ParityResult(
        "net",
        "fail",
        (SimulatorParity("icarus", "11", 4, 40, 2, 8, 21), SimulatorParity("verilator", "5", 4, 40, 0, 0, 21)),
        21,
        (mismatch,),
    )
    parity = parity_from_result(result)
    assert [row.status for row in parity.rows] == ["fail", "pass"]
    assert parity.rows[0].integers == 48
    assert "sample 3, layer1, neuron 2, from cycle 7: expected 10, got 11" in parity.rows[0].detail
    assert "secret" not in parity.rows[0].detail


def test_confusion_and_mistakes_count_labels_against_decisions() -> None:
    labels, decisions = np.array([0, 1, 2, 2]), np.array([0, 2, 2, 1])
    assert confusion_from_labels(labels, decisions, 3).counts == ((1, 0, 0), (0, 0, 1), (0, 1, 1))
    with pytest.raises(RangeError):
        confusion_from_labels(labels, decisions, 2)
    with pytest.raises(ShapeError):
        confusion_from_labels(labels, decisions[:2], 3)
    mistakes = mistakes_from_labels(
        np.arange(16).reshape(4, 4), labels, decisions, (2, 2), names=["a", "b", "c"], high=16
    )
    assert [(m.label, m.decision, m.picture.values[0]) for m in mistakes] == [("b", "c", 4.0), ("c", "b", 12.0)]


def test_pictures_are_valid_pngs_of_the_right_shades() -> None:
    picture = Picture(2, 3, (0.0, 0.5, 1.0, -1.0, 2.0, 0.25))
    raw = base64.b64decode(png_address(picture).split(",")[1])
    assert raw[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", raw[16:24]) == (3, 2)
    at = raw.index(b"IDAT")
    (size,) = struct.unpack(">I", raw[at - 4 : at])
    assert zlib.decompress(raw[at + 4 : at + 4 + size]) == bytes([0, 255, 127, 0, 0, 255, 0, 191])
    big = Picture(256, 256, (0.5,) * 65536)  # more than one stored block
    body = base64.b64decode(png_address(big).split(",")[1])
    at = body.index(b"IDAT")
    (size,) = struct.unpack(">I", body[at - 4 : at])
    assert len(zlib.decompress(body[at + 4 : at + 4 + size])) == 256 * 257


def test_numbers_read_well_and_scales_cover() -> None:
    assert (num(-0.001), num(2.50), decimal(-1234.5), decimal(3.0)) == ("0", "2.5", "−1\u202f234.5", "3")
    assert clean("a\x00b\u202ec\ud800") == "a�b�c�"
    assert takeaway.percent(1.0) == "100\u00a0%"
    assert takeaway.percent(0.99999) == "99.9\u00a0%"
    assert takeaway.percent(0.00001) == "0.1\u00a0%"
    for low, high in ((0.0, 1.0), (3.0, 3.0), (-7.0, 1e9), (0.991, 0.993), (0.0, 0.0)):
        ticks = nice_ticks(low, high)
        assert ticks[0] <= low + 1e-9
        assert ticks[-1] >= high - 1e-9
        assert 2 <= len(ticks) <= 9
    for low, high in ((1.0, 1.0), (4.0, 64.0), (7.3, 9.1), (1.0, 65536.0)):
        exponents = log2_ticks(low, high)
        assert 2.0 ** exponents[0] <= low <= high <= 2.0 ** exponents[-1]
        assert 2 <= len(exponents) <= 12
    assert shown_epochs(5) == [0, 1, 2, 3, 4]
    thinned = shown_epochs(30_000)
    assert (thinned[0], thinned[-1], len(thinned)) == (0, 29_999, 240)


def test_takeaways_follow_the_numbers() -> None:
    points = (LengthPoint("s", 64.0, 0.97), LengthPoint("s", 8.0, 0.965), LengthPoint("s", 4.0, 0.9))
    told = takeaway.length_sentence(points, 0.98, "float net")
    assert "97.0" in told
    assert "1\u00a0point below the float net" in told
    assert "8 cycles are enough" in told
    assert "above" in takeaway.length_sentence(points, 0.96, "float net")
    assert "level with" in takeaway.length_sentence(points, 0.97, "float net")
    assert "No simulator was run" in takeaway.parity_sentence(None)
    assert "disagrees" in takeaway.parity_sentence(Parity((ParityRow("x", "", "fail", 1, 1, 1),), 5))
    assert "skipped" in takeaway.parity_sentence(Parity((ParityRow("x", "", "skipped", 0, 0, 0),), 5))
    assert "are right" in takeaway.classes_sentence(Confusion(((3, 0), (0, 4))))
    assert "0 taken for 1 (2 times)" in takeaway.classes_sentence(Confusion(((3, 2), (0, 4))))
    assert takeaway.classes_sentence(Confusion(((0,),))) == "No held-out sample was counted."
