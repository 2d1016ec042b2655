"""Figures of a verification: scatter, curves on linear or logarithmic axes, bands, and a heat map of layers by time."""

from __future__ import annotations

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
    element,
    grid,
    nice_ticks,
    num,
    svg,
    text,
    title,
)
from bitprop.report.chart_length import PALETTE, legend, marker

__all__ = ["Series", "curves", "heat_map"]

MAX_CELLS = 4000


@dataclass(frozen=True, slots=True)
class Series:
    """One curve or cloud.

    Attributes:
        name: shown in the legend.
        x: numbers.
        y: as many.
        kind: ``line``, ``dots`` or ``dashes``.
        low: lower edge of a band around the line, or empty.
        high: its upper edge.
        labels: of single dots, or empty.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    kind: str = "line"
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    labels: Sequence[str] = ()


def short(value: float) -> str:
    """A number for an axis: up to three digits, or a power of ten."""
    if value == 0.0:
        return "0"
    size = abs(value)
    return f"{value:.3g}" if 1e-3 <= size < 1e5 else f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")


def curves(
    series: Sequence[Series], label: str, x_name: str, y_name: str, *, log_x: bool = False, log_y: bool = False
) -> Markup:
    """Legend and figure of at least one series of finite numbers; log axes leave out what is not positive."""
    swatches = [
        (
            marker(k, 9, 7, f"f c{k % PALETTE}")
            if one.kind == "dots"
            else element("path", d="M1 7H17", class_="reference" if one.kind == "dashes" else f"line c{k % PALETTE}"),
            one.name,
        )
        for k, one in enumerate(series)
    ]
    drawn = (_draw(series, label, x_name, y_name, log_x, log_y, width, 360) for width in (WIDE, NARROW))
    return legend(swatches) + both_widths(*drawn)


def _value(value: float, logarithmic: bool) -> float | None:
    if not math.isfinite(value) or (logarithmic and value <= 0.0):
        return None
    return math.log10(value) if logarithmic else value


def _range(values: Sequence[float], logarithmic: bool) -> tuple[list[float], list[str]]:
    """Ticks that cover the values, and their labels."""
    low, high = min(values), max(values)
    if not logarithmic:
        ticks = nice_ticks(low, high)
        return ticks, [short(tick) for tick in ticks]
    first, last = math.floor(low + 1e-9), math.ceil(high - 1e-9)
    last = max(last, first + 1)
    step = -(-(last - first) // 7)
    exponents = list(range(first, last + step, step))
    return [float(e) for e in exponents], [f"1e{e}" if e else "1" for e in exponents]


def _draw(
    series: Sequence[Series],
    label: str,
    x_name: str,
    y_name: str,
    log_x: bool,
    log_y: bool,
    width: int,
    height: int,
) -> Markup:
    points: list[list[tuple[int, float, float]]] = []
    for one in series:
        pairs = [(i, _value(a, log_x), _value(b, log_y)) for i, (a, b) in enumerate(zip(one.x, one.y, strict=True))]
        points.append([(i, a, b) for i, a, b in pairs if a is not None and b is not None])
    edges = [v for one in series for e in (*one.low, *one.high) if (v := _value(e, log_y)) is not None]
    xs = [a for cloud in points for _, a, _ in cloud]
    ys = [b for cloud in points for _, _, b in cloud] + edges
    if not xs:
        return svg(width, 40, label, [text(0, 24, "nothing that can be drawn", "t")])
    x_ticks, x_labels = _range(xs, log_x)
    y_ticks, y_labels = _range(ys, log_y)
    left, right, top, bottom = 72.0, width - 18.0, 26.0, height - 46.0
    x, y = Scale(x_ticks[0], x_ticks[-1], left, right), Scale(y_ticks[0], y_ticks[-1], bottom, top)
    parts = [text(left, 14, y_name, "t axis"), *grid(y_ticks, y, left, right, y_labels)]
    parts += [text(x(t), bottom + 20, name, "t tick", "middle") for t, name in zip(x_ticks, x_labels, strict=True)]
    parts.append(text((left + right) / 2, height - 6, x_name, "t axis", "middle"))
    for k, (one, cloud) in enumerate(zip(series, points, strict=True)):
        if len(one.low) == len(one.x) and len(one.high) == len(one.x) and cloud:
            parts.append(_band(one, cloud, x, y, log_y, k))
        if one.kind == "dots":
            for i, a, b in cloud:
                name = one.labels[i] if i < len(one.labels) else one.name
                parts.append(element("g", marker(k, x(a), y(b), f"f c{k % PALETTE} mark", 5.0) + title(clip(name, 90))))
        elif cloud:
            path = "".join(f"{'L' if j else 'M'}{num(x(a))} {num(y(b))}" for j, (_, a, b) in enumerate(cloud))
            parts.append(
                element("path", d=path, class_="reference" if one.kind == "dashes" else f"line c{k % PALETTE}")
            )
    return svg(width, height, label, parts)


def _band(one: Series, cloud: Sequence[tuple[int, float, float]], x: Scale, y: Scale, log_y: bool, k: int) -> Markup:
    upper = [(a, _value(one.high[i], log_y)) for i, a, _ in cloud]
    lower = [(a, _value(one.low[i], log_y)) for i, a, _ in reversed(cloud)]
    outline = [(a, b) for a, b in (*upper, *lower) if b is not None]
    path = "".join(f"{'L' if j else 'M'}{num(x(a))} {num(y(b))}" for j, (a, b) in enumerate(outline)) + "z"
    return element("path", d=path, class_=f"f c{k % PALETTE} wavefill")


def heat_map(rows: Sequence[str], values: Sequence[Sequence[float]], label: str, x_name: str) -> Markup:
    """Rows of non-negative numbers as cells, darker is larger, on a logarithmic scale; at most 4,000 are drawn."""
    longest = max((len(row) for row in values), default=0)
    if not longest:
        return svg(WIDE, 40, label, [text(0, 24, "nothing that can be drawn", "t")])
    stride = max(1, -(-longest * len(rows) // MAX_CELLS))
    return both_widths(*(_cells(rows, values, label, x_name, longest, stride, width) for width in (WIDE, NARROW)))


def _cells(
    rows: Sequence[str],
    values: Sequence[Sequence[float]],
    label: str,
    x_name: str,
    longest: int,
    stride: int,
    width: int,
) -> Markup:
    positive = [math.log10(v) for row in values for v in row if math.isfinite(v) and v > 0]
    low, high = (min(positive), max(positive)) if positive else (0.0, 1.0)
    left, tall = (170.0 if width == WIDE else 110.0), 26.0
    step = (width - left - 12.0) / longest
    parts = []
    for r, (name, row) in enumerate(zip(rows, values, strict=True)):
        top = 8.0 + r * tall
        parts.append(text(left - 8, top + 17, clip(name, 24 if width == WIDE else 14), "t tick", "end"))
        for t in range(0, len(row), stride):
            shade = _shade(row[t], low, high)
            parts.append(
                element(
                    "rect",
                    title(f"{name}, step {t}: {short(row[t]) if math.isfinite(row[t]) else 'not finite'}"),
                    x=left + t * step,
                    y=top,
                    width=max(step * min(stride, longest - t) - 0.5, 0.5),
                    height=tall - 3,
                    class_="miss" if not math.isfinite(row[t]) else "hit",
                    fill_opacity=shade,
                )
            )
    bottom = 8.0 + len(rows) * tall
    for t in {0, longest - 1, longest // 2}:
        parts.append(text(left + (t + 0.5) * step, bottom + 14, str(t), "t tick", "middle"))
    parts.append(text((left + width) / 2, bottom + 32, x_name, "t axis", "middle"))
    return svg(width, bottom + 40, label, parts)


def _shade(value: float, low: float, high: float) -> float:
    if not math.isfinite(value):
        return 1.0
    if value <= 0.0:
        return 0.03
    return 0.08 + 0.92 * ((math.log10(value) - low) / (high - low) if high > low else 1.0)
