"""The page: one well-formed file, no network, no script, escaped, deterministic, honest about what is missing."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bitprop.graph.interpret import run
from bitprop.graph.random import make_document, random_document, random_inputs
from bitprop.graph.spec import Document
from bitprop.report import (
    EVIDENCE_LINE,
    Confusion,
    LayerHistory,
    LengthPoint,
    Mistake,
    Parity,
    ParityRow,
    Picture,
    ReportData,
    TrainingHistory,
    confusion_from_labels,
    layers_from_document,
    mistakes_from_labels,
    neuron_streams,
    render,
    write_report,
)

HOSTILE = (
    "</title></style><script>alert(1)</script><img src=x onerror='alert(2)'>\" onload=\"x {{7*7}} \u202e\x00\ud800"
)
VOID = {"meta", "img", "br", "link", "hr", "input"}


class Page(HTMLParser):
    """Checks nesting and collects tags, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.stack: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(page)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, names)
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in {"path", "rect", "circle"}, tag  # elsewhere HTML would take it for an opening tag
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] != "style":
            self.words += data


def check_page(page: str) -> Page:
    parsed = Page(page)
    page.encode("utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert page.count(EVIDENCE_LINE) >= 2
    assert "local_simulation_and_executable_hdl_parity" in page
    assert not re.search(r"https?://|url\(|@import|<script|javascript:", page.split("<body>")[0])
    names = {tag for tag, _ in parsed.tags}
    assert not names & {"script", "link", "iframe", "object", "embed", "base", "form", "use", "foreignobject"}
    for tag, attributes in parsed.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert name not in {"href", "xlink:href", "srcset", "action", "style"}, (tag, name)
            if name == "src":
                assert value is not None
                assert value.startswith("data:image/png;base64,")
            if name in {"x", "y", "width", "height", "cx", "cy", "r", "d", "viewbox", "points"}:
                assert value is not None
                assert "nan" not in value.lower(), (tag, name, value)
                assert "inf" not in value.lower(), (tag, name, value)
            if name in {"width", "height", "r"}:
                assert float(value or "x") >= 0, (tag, name, value)
    policy = next(a["content"] for t, a in parsed.tags if t == "meta" and a.get("http-equiv"))
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return parsed


def training(epochs: int, layers: int = 2, lengths: tuple[int, ...] = (4, 8, 16)) -> TrainingHistory:
    t = np.linspace(0.0, 1.0, epochs)
    k = len(lengths)
    rows = []
    for value in t:
        p = np.exp(-3.0 * value * np.arange(k))
        rows.append(tuple((p / p.sum()).tolist()))
    return TrainingHistory(
        epochs=tuple(range(1, epochs + 1)),
        phases=tuple(("warmup", "joint", "finish")[min(2, 3 * e // max(1, epochs))] for e in range(epochs)),
        loss=tuple((2.3 * 0.9 ** np.arange(epochs)).tolist()),
        train_accuracy=tuple((0.1 + 0.89 * t).tolist()),
        validation_accuracy=tuple(None if e % 3 == 1 else 0.1 + 0.85 * float(t[e]) for e in range(epochs)),
        mean_length=tuple((9.0 - 4.0 * t).tolist()),
        layers=tuple(
            LayerHistory(
                f"layer{i}", lengths, ("sign_magnitude", "bipolar"), tuple(rows),
                tuple((0.5 + 0.5 * float(v), 0.5 - 0.5 * float(v)) for v in t), tuple((0.2 * t).tolist()),
                tuple((9.0 - 4.0 * t).tolist()),
            )
            for i in range(layers)
        ),
    )  # fmt: skip


def network() -> Document:
    """Three classes from a 3 x 4 picture."""
    rng = np.random.default_rng(4)
    source = {"kind": "sobol", "width": 8, "seed": 1}
    both = {"activation_source": {**source, "dimension": 1}, "weight_source": {**source, "dimension": 2}}
    hidden = {
        "length": 32, "encoding": "sign_magnitude", "weights_raw": rng.integers(-256, 257, (5, 12)).tolist(),
        "bias_raw": [3] * 5, "output": {"kind": "requantise", "multiplier": 181, "shift": 5, "low": 0, "high": 256},
    }  # fmt: skip
    logits = {
        "length": 16, "encoding": "bipolar", "weights_raw": rng.integers(-256, 257, (3, 5)).tolist(),
        "bias_raw": [0, 1, 2], "output": {"kind": "logits"},
    }  # fmt: skip
    return make_document("tiny", 8, (0, 256), [{**hidden, **both}, {**logits, **both}])


def full_report(**changes: Any) -> ReportData:
    document = network()
    rng = np.random.default_rng(1)
    samples = random_inputs(document, 60)
    decisions = run(document, samples).decision
    labels = np.where(rng.random(60) < 0.2, rng.integers(0, 3, 60), decisions)
    fields: dict[str, Any] = {
        "title": "Tiny pictures", "network": document.name, "dataset": "made up", "seed": 3, "test_samples": 60,
        "bit_true_accuracy": float((labels == decisions).mean()), "layers": layers_from_document(document),
        "float_accuracy": 0.95, "facts": (("epochs", "30"),),
        "lengths": (
            *(LengthPoint("fixed", float(2**e), 1 - 0.5**e, f"L = {2**e}") for e in range(2, 7)),
            LengthPoint("learned", 21.3, 0.93, "this design", True),
        ),
        "history": training(30),
        "neurons": (neuron_streams(document, samples[0], 0, 2), neuron_streams(document, samples[0], 1, 0)),
        "picture": Picture(3, 4, tuple(map(float, samples[0])), 0, 256), "picture_label": "2",
        "parity": Parity(
            (
                ParityRow("icarus", "11.0", "pass", 16, 1234, 0, 53),
                ParityRow("verilator", "5.006", "fail", 40, 4000, 1, 53, True, "First difference: sample 3."),
                ParityRow("netlist", "", "skipped", 0, 0, 0, None, False, "not installed"),
            ),
            53,
        ),
        "confusion": confusion_from_labels(labels, decisions, 3, ("cat", "dog", "eel")),
        "mistakes": mistakes_from_labels(samples, labels, decisions, (3, 4), high=256),
    }  # fmt: skip
    return ReportData(**{**fields, **changes})


def test_a_full_page_is_well_formed_self_contained_and_small(tmp_path: Path) -> None:
    data = full_report()
    path = write_report(data, tmp_path / "deep" / "report.html")
    page = path.read_text(encoding="utf-8")
    parsed = check_page(page)
    assert page == render(data)
    assert len(page.encode()) < 250_000
    for words in (
        "Tiny pictures", "12–5–3", "made up", "Integers differ", "First difference: sample 3.", "Neuron 2 of dense_0",
        "verilator disagrees", "this design", "warm-up 10 epochs", "sign-magnitude", "epochs", "cat",
    ):  # fmt: skip
        assert words.replace(" epochs", "\u00a0epochs") in parsed.words, words


def test_equal_data_give_equal_bytes() -> None:
    assert render(full_report()) == render(full_report())


def test_names_cannot_inject_anything() -> None:
    document = network()
    sample = random_inputs(document, 1)[0]
    picture = Picture(3, 4, tuple(map(float, sample)), 0, 256)
    names = (HOSTILE, "<b>", "&amp;")
    base = training(4)
    data = full_report(
        title=HOSTILE,
        network=HOSTILE,
        dataset=HOSTILE,
        float_label=HOSTILE,
        version=HOSTILE,
        facts=((HOSTILE, HOSTILE),),
        picture_label=HOSTILE,
        lengths=(LengthPoint(HOSTILE, 8.0, 0.5, HOSTILE, True), LengthPoint("<i>", 4.0, 0.5, "<s>")),
        parity=Parity((ParityRow(HOSTILE, HOSTILE, "fail", 1, 1, 1, 5, True, HOSTILE),), 5),
        confusion=Confusion(((1, 2, 0), (0, 1, 0), (0, 0, 1)), names),
        mistakes=(Mistake(picture, HOSTILE, HOSTILE),),
        history=TrainingHistory(
            (1, 2, 3, 4), (HOSTILE,) * 4, base.loss, base.train_accuracy, base.validation_accuracy, base.mean_length,
            (
                LayerHistory(
                    HOSTILE, (4, 8, 16), (HOSTILE, "<u>"), base.layers[0].length_probabilities,
                    base.layers[0].encoding_probabilities, base.layers[0].correlation, base.layers[0].expected_length,
                ),
            ),
        ),
    )  # fmt: skip
    page = render(data)
    parsed = check_page(page)
    allowed = {
        "html", "head", "meta", "title", "style", "body", "header", "svg", "path", "div", "p", "span", "h1", "dl", "dt",
        "dd", "bdi", "main", "section", "h2", "h3", "figure", "ul", "li", "rect", "circle", "g", "text", "table",
        "thead", "tr", "th", "tbody", "td", "article", "img", "footer", "code", "b",
    }  # fmt: skip
    assert {tag for tag, _ in parsed.tags} <= allowed
    assert "{{7*7}}" in parsed.words  # shown, not run
    for mark in ("\x00", "\u202e", "\ud800"):
        assert mark not in page


def test_absent_parts_become_notes() -> None:
    document = network()
    bare = ReportData("t", "n", "d", 0, 5, 0.0, layers_from_document(document))
    parsed = check_page(render(bare))
    for words in (
        "No sweep over stream lengths", "No neuron's streams", "No training history", "No simulator was run",
        "No confusion matrix", "Parity not run",
    ):  # fmt: skip
        assert words in parsed.words, words
    check_page(render(full_report(parity=Parity((), 5), history=training(1), mistakes=())))


@pytest.mark.parametrize("epochs", [1, 2, 3, 700])
def test_histories_of_any_length(epochs: int) -> None:
    page = render(full_report(history=training(epochs, layers=3)))
    check_page(page)
    assert ("of 700 epochs are drawn" in page) == (epochs == 700)
    assert len(page) < 500_000


@pytest.mark.parametrize("accuracy", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("count", [1, 2, 300])
def test_sweeps_of_any_size(accuracy: float, count: int) -> None:
    points = tuple(LengthPoint(f"s{i % 9}", 1.0 + i, accuracy, f"p{i}", i == 0) for i in range(count))
    check_page(render(full_report(lengths=points, float_accuracy=accuracy, bit_true_accuracy=accuracy)))


@pytest.mark.parametrize("classes", [1, 2, 20, 21, 100, 101])
def test_any_number_of_classes(classes: int) -> None:
    rng = np.random.default_rng(classes)
    labels = rng.integers(0, classes, 3 * classes)
    decisions = np.where(rng.random(3 * classes) < 0.7, labels, rng.integers(0, classes, 3 * classes))
    page = render(full_report(confusion=confusion_from_labels(labels, decisions, classes)))
    parsed = check_page(page)
    assert ("would not be readable" in parsed.words) == (classes > 100)
    assert len(page) < 500_000


def test_classes_without_samples() -> None:
    parsed = check_page(render(full_report(confusion=Confusion(((0, 0), (0, 0))))))
    assert "No confusion matrix" in parsed.words
    check_page(render(full_report(confusion=Confusion(((0, 0), (1, 2))))))


@pytest.mark.parametrize("which", range(12))
def test_streams_of_random_networks(which: int) -> None:
    document = random_document(which)
    sample = random_inputs(document, 1, which)[0]
    neurons = tuple(neuron_streams(document, sample, i, 0) for i in range(len(document.layers)))
    check_page(render(full_report(neurons=neurons, layers=layers_from_document(document))))


@pytest.mark.parametrize("length", [1, 2, 129, 65536])
def test_streams_of_any_length(length: int) -> None:
    rng = np.random.default_rng(length)
    layer = {
        "length": length, "encoding": "sign_magnitude", "weights_raw": rng.integers(-256, 257, (1, 3)).tolist(),
        "activation_source": {"kind": "lfsr", "width": 8, "seed": 1, "polynomial": 285},
        "weight_source": {"kind": "sobol", "width": 8, "seed": 9, "dimension": 2}, "bias_raw": [-5],
        "output": {"kind": "logits"},
    }  # fmt: skip
    document = make_document("one", 8, (-256, 256), [layer])
    streams = neuron_streams(document, [256, -128, 3], 0, 0)
    page = render(full_report(neurons=(streams,), layers=layers_from_document(document)))
    check_page(page)
    assert ("bits of the first 128" in page) == (length > 128)
    assert len(page) < 400_000


def test_colours_of_text_meet_wcag_contrast() -> None:
    """Ink and muted text, and badges, against what they stand on: 4.5 to 1 in light and in dark."""
    style = re.search(r"<style>(.*?)</style>", render(full_report()), re.S)
    assert style is not None
    light, dark = re.findall(r":root \{(.*?)\}", style.group(1), re.S)[:2]
    for block in (light, dark):
        colours = dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6})", block))
        pairs = [(text, back) for text in ("ink", "muted", "c0", "c1") for back in ("paper", "panel")]
        pairs += [(name, f"{name}-back") for name in ("good", "bad", "idle")] + [("on", "c0")]
        for text, back in pairs:
            assert _contrast(colours[text], colours[back]) >= 4.5, (text, back)


def _contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)
