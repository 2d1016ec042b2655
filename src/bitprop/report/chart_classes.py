"""Per-class results: the confusion matrix as an annotated heat map, and each class's accuracy."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from bitprop.report._svg import clip, decimal, element, num, svg, text, title
from bitprop.report.data import Confusion

__all__ = ["MAX_MATRIX", "class_accuracies", "class_chart", "confusion_chart", "confusions"]

MAX_MATRIX = 100
_ANNOTATED = 20
_BARS = 20


def class_accuracies(confusion: Confusion) -> list[tuple[int, int, int]]:
    """``(class, right, samples)`` of every class that has samples."""
    return [(index, row[index], sum(row)) for index, row in enumerate(confusion.counts) if sum(row)]


def confusions(confusion: Confusion) -> list[tuple[int, int, int]]:
    """``(label, decision, count)`` of every kind of mistake, the most frequent first."""
    found = [(a, b, count) for a, row in enumerate(confusion.counts) for b, count in enumerate(row) if a != b and count]
    return sorted(found, key=lambda entry: (-entry[2], entry[0], entry[1]))


def confusion_chart(confusion: Confusion) -> Markup:
    """The matrix of at most 100 classes; numbers are written in while they fit."""
    classes = len(confusion.counts)
    longest = max(len(confusion.name(index)) for index in range(classes))
    gutter = 34.0 + 6.6 * min(longest, 16)
    annotated = classes <= _ANNOTATED
    cell = max(5.6, min(42.0, (560.0 - gutter) / classes))
    top = 44.0
    size = cell * classes
    width = gutter + max(size, 160.0) + 6
    parts: list[Markup] = [
        text(gutter + size / 2, 12, "decision", "t axis", "middle"),
        element(
            "text",
            "label",
            class_="t axis",
            text_anchor="middle",
            transform=f"translate(12 {num(top + size / 2)}) rotate(-90)",
        ),
        element("rect", x=gutter, y=top, width=size, height=size, class_="plate"),
    ]
    every = 1 if cell >= 14 else -(-classes // 20)
    for index in range(classes):
        if index % every:
            continue
        middle = cell * (index + 0.5)
        parts.append(text(gutter - 8, top + middle + 4, clip(confusion.name(index), 16), "t tick", "end"))
        short = confusion.name(index) if len(confusion.name(index)) * 7 <= cell * every else str(index)
        parts.append(text(gutter + middle, top - 9, short, "t tick", "middle"))
    for label, row in enumerate(confusion.counts):
        total = sum(row)
        for decision, count in enumerate(row):
            if count:
                parts.append(_cell(confusion, label, decision, count, total, gutter, top, cell, annotated))
    return svg(width, top + size + 6, "Confusion matrix: rows are labels, columns are decisions", parts, "matrix")


def _cell(
    confusion: Confusion, label: int, decision: int, count: int, total: int, left: float, top: float, cell: float,
    annotated: bool,
) -> Markup:  # fmt: skip
    share, right = count / total, label == decision
    # a single mistake must be seen, so shades of mistakes rise quickly
    opacity = 0.12 + 0.78 * (share if right else min(1.0, share * 4.0) ** 0.7)
    x, y = left + cell * decision, top + cell * label
    told = f"{confusion.name(label)} taken for {confusion.name(decision)}: {count} of {total}"
    parts = title(told) + element(
        "rect", x=x + 0.5, y=y + 0.5, width=cell - 1, height=cell - 1, class_="hit" if right else "miss",
        fill_opacity=num(opacity),
    )  # fmt: skip
    if annotated and len(str(count)) * 7.0 < cell:
        class_ = "t cell on" if opacity > 0.5 else "t cell"
        parts += text(x + cell / 2, y + cell / 2 + 4, str(count), class_, "middle")
    return element("g", parts)


def class_chart(confusion: Confusion) -> Markup:
    """Accuracy of every class as bars, or of the twenty weakest."""
    rows = class_accuracies(confusion)
    if len(rows) > _BARS:
        rows = sorted(sorted(rows, key=lambda row: (row[1] / row[2], row[0]))[:_BARS])
    longest = max((len(confusion.name(index)) for index, _, _ in rows), default=1)
    left = 14.0 + 6.8 * min(longest, 16)
    width, bar = 420.0, 26.0
    right = width - 104
    parts: list[Markup] = []
    for order, (index, correct, samples) in enumerate(rows):
        y = order * bar
        share = correct / samples
        parts += [
            text(left - 10, y + 16, clip(confusion.name(index), 16), "t tick", "end"),
            element("rect", x=left, y=y + 5, width=right - left, height=14.0, class_="plate"),
            element("rect", x=left, y=y + 5, width=(right - left) * share, height=14.0, class_="hit"),
            text(right + 10, y + 16, f"{decimal(share * 100)} %", "t small"),
            text(width, y + 16, f"{correct}/{samples}", "t tick", "end"),
        ]
    return svg(width, bar * len(rows) + 2, "Accuracy of each class", parts)


def confusion_rows(confusion: Confusion, limit: int) -> Sequence[tuple[str, str, int, int]]:
    """``(label, decision, count, samples of the label)`` of the most frequent mistakes."""
    return [
        (confusion.name(a), confusion.name(b), count, sum(confusion.counts[a]))
        for a, b, count in confusions(confusion)[:limit]
    ]
