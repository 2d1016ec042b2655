"""Accuracy against stream length: every network of a sweep, and the float reference, on a log2 axis."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from bitprop.report._svg import (
    NARROW,
    WIDE,
    Scale,
    both_widths,
    clip,
    decimal,
    element,
    grid,
    log2_ticks,
    nice_ticks,
    num,
    svg,
    text,
    title,
)
from bitprop.report.data import LengthPoint

__all__ = ["PALETTE", "legend", "length_chart", "marker"]

PALETTE = 6
MAX_LABELLED = 80
_MARKERS = 4


def marker(shape: int, x: float, y: float, class_: str, size: float = 5.5) -> Markup:
    """Circle, square, triangle or diamond: colour is never the only difference."""
    kind = shape % _MARKERS
    if kind == 0:
        return element("circle", cx=float(x), cy=float(y), r=size, class_=class_)
    if kind == 1:
        path = f"M{num(x - size * 0.9)} {num(y - size * 0.9)}h{num(size * 1.8)}v{num(size * 1.8)}h{num(-size * 1.8)}z"
    elif kind == 2:
        path = f"M{num(x)} {num(y - size * 1.15)}l{num(size * 1.1)} {num(size * 2)}h{num(-size * 2.2)}z"
    else:
        reach = size * 1.25
        path = (
            f"M{num(x)} {num(y - reach)}l{num(reach)} {num(reach)}l{num(-reach)} {num(reach)}"
            f"l{num(-reach)} {num(-reach)}z"
        )
    return element("path", d=path, class_=class_)


def legend(entries: Sequence[tuple[Markup, str]]) -> Markup:
    """Swatches with names, as a list beneath a heading; swatches are drawn around (9, 7)."""
    items = Markup("").join(
        element(
            "li",
            element("svg", swatch, viewBox="0 0 18 14", class_="swatch", aria_hidden="true")
            + element("span", clip(name, 80)),
        )
        for swatch, name in entries
    )
    return element("ul", items, class_="legend")


@dataclass(frozen=True, slots=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: _Box) -> bool:
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


def length_chart(
    points: Sequence[LengthPoint], float_accuracy: float | None, float_label: str
) -> tuple[Markup, Markup]:
    """``(legend, figure)`` of at least one point."""
    series = list(dict.fromkeys(point.series for point in points))
    swatches = [(marker(index, 9, 7, f"f c{index % PALETTE}"), name) for index, name in enumerate(series)]
    if any(point.exported for point in points):
        swatches.append((element("circle", cx=9.0, cy=7.0, r=6.0, class_="ring"), "the design on this page"))
    if float_accuracy is not None:
        swatches.append((element("path", d="M1 7H17", class_="reference"), float_label))
    return legend(swatches), both_widths(
        _draw(points, series, float_accuracy, WIDE, 400), _draw(points, series, float_accuracy, NARROW, 340)
    )


def _draw(
    points: Sequence[LengthPoint], series: Sequence[str], float_accuracy: float | None, width: int, height: int
) -> Markup:
    left, right, top, bottom = 58.0, width - 18.0, 16.0, height - 48.0
    seen = [point.accuracy for point in points] + ([] if float_accuracy is None else [float_accuracy])
    pad = max(0.004, 0.06 * (max(seen) - min(seen)))
    low, high = max(0.0, min(seen) - pad), min(1.0, max(seen) + pad)
    ticks = [tick for tick in nice_ticks(low * 100, high * 100, 6) if -1e-9 <= tick <= 100 + 1e-9]
    y = Scale(ticks[0] / 100, ticks[-1] / 100, bottom, top)
    exponents = log2_ticks(min(point.mean_length for point in points), max(point.mean_length for point in points))
    x = Scale(exponents[0], exponents[-1], left + 14, right - 14)

    digits = 0 if all(abs(tick - round(tick)) < 1e-9 for tick in ticks) else 2
    parts = grid([tick / 100 for tick in ticks], y, left, right, [f"{decimal(tick, digits)} %" for tick in ticks])
    for exponent in exponents:
        at = x(exponent)
        parts.append(element("path", class_="grid faint", d=f"M{num(at)} {num(top)}V{num(bottom)}"))
        parts.append(text(at, bottom + 20, f"{2.0**exponent:g}", "t tick", "middle"))
    parts.append(text((left + right) / 2, height - 6, "mean stream length, cycles (log₂ scale)", "t axis", "middle"))

    obstacles: list[_Box] = []
    if float_accuracy is not None:
        at = y(float_accuracy)
        parts.append(element("path", class_="reference", d=f"M{num(left)} {num(at)}H{num(right)}"))
        obstacles.append(_Box(left, at - 2, right, at + 2))
    marks: list[Markup] = []
    for index, name in enumerate(series):
        own = sorted((p for p in points if p.series == name), key=lambda p: (p.mean_length, p.accuracy))
        places = [(x(math.log2(p.mean_length)), y(p.accuracy)) for p in own]
        colour = f"c{index % PALETTE}"
        if len(places) > 1:
            path = "M" + "L".join(f"{num(a)} {num(b)}" for a, b in places)
            parts.append(element("path", class_=f"line {colour}", d=path))
            obstacles += _along(places)
        for point, (a, b) in zip(own, places, strict=True):
            reach = 13 if point.exported else 7
            obstacles.append(_Box(a - reach, b - reach, a + reach, b + reach))
            if point.exported:
                marks.append(element("circle", cx=a, cy=b, r=11.0, class_="ring"))
            told = f"{point.series}: {point.label or 'network'}, {decimal(point.mean_length)} cycles, "
            told += f"{decimal(point.accuracy * 100, 2)} %"
            marks.append(element("g", title(told) + marker(index, a, b, f"f mark {colour}")))
    labels = [
        label
        for point in sorted(points, key=lambda p: not p.exported)  # the design's own label gets the best place
        if point.label
        and (point.exported or len(points) <= MAX_LABELLED)
        and (
            label := _place(
                clip(point.label, 28),
                x(math.log2(point.mean_length)),
                y(point.accuracy),
                obstacles,
                _Box(left, top - 12, right + 12, bottom - 2),
                "t strong" if point.exported else "t small",
            )
        )
    ]
    return svg(width, height, "Bit-true accuracy against mean stream length", [*parts, *marks, *labels])


def _along(places: Sequence[tuple[float, float]]) -> list[_Box]:
    """Small boxes that cover a polyline."""
    boxes = []
    for (a, b), (c, d) in itertools.pairwise(places):
        pieces = max(1, round(max(abs(c - a), abs(d - b)) / 10))
        for index in range(pieces + 1):
            x, y = a + (c - a) * index / pieces, b + (d - b) * index / pieces
            boxes.append(_Box(x - 3, y - 3, x + 3, y + 3))
    return boxes


def _place(label: str, x: float, y: float, obstacles: list[_Box], bounds: _Box, class_: str) -> Markup | None:
    """The label where it covers nothing; ``None`` when there is no such place (the tooltip still tells)."""
    wide = 6.9 * len(label)
    for a, b, anchor in (
        (x, y - 17, "middle"),
        (x, y + 26, "middle"),
        (x - 4, y - 17, "end"),
        (x + 4, y + 26, "start"),
        (x + 18, y + 4, "start"),
        (x - 18, y + 4, "end"),
        (x + 11, y - 12, "start"),
        (x - 11, y - 12, "end"),
        (x + 11, y + 20, "start"),
        (x - 11, y + 20, "end"),
    ):
        start = a - wide / 2 if anchor == "middle" else a - wide if anchor == "end" else a
        box = _Box(start, b - 11, start + wide, b + 3)
        inside = (
            bounds.left <= box.left and box.right <= bounds.right and bounds.top <= box.top
        ) and box.bottom <= bounds.bottom
        if inside and not any(box.meets(other) for other in obstacles):
            obstacles.append(box)
            return text(a, b, label, class_, anchor)
    return None
