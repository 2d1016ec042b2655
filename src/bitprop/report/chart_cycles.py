"""Where the cycles of one inference go, layer by layer, as one bar on a time axis."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from bitprop.report._svg import NARROW, WIDE, Scale, both_widths, clip, element, num, svg, text, title
from bitprop.report.data import LayerRow

__all__ = ["cycles_chart"]


def cycles_chart(layers: Sequence[LayerRow]) -> Markup:
    """One row per layer: accept, accumulate, requantise; then the decision."""
    return both_widths(_draw(layers, WIDE), _draw(layers, NARROW))


def _draw(layers: Sequence[LayerRow], width: int) -> Markup:
    wide = width == WIDE
    left, right = (130.0, width - 14.0) if wide else (92.0, width - 12.0)
    total = sum(row.cycles for row in layers) + 1
    x = Scale(0, total, left, right)
    row_height = 34.0
    bottom = 8 + row_height * len(layers)
    parts: list[Markup] = []
    start = 0
    for order, row in enumerate(layers):
        y = 8 + order * row_height
        parts.append(text(0, y + 17, clip(row.name, 18 if wide else 12), "t strong"))
        parts.append(element("path", d=f"M{num(left)} {num(y + 28)}H{num(right)}", class_="grid faint"))
        spare = max(0, row.cycles - row.length)
        accept = min(1, spare)
        for first, count, class_, what in (
            (start, accept, "latch", "accept: latch inputs, restart sources, load biases"),
            (start + accept, row.length, "busy", f"{row.length} cycles of streams"),
            (start + accept + row.length, spare - accept, "latch", "requantise"),
        ):
            if count > 0:
                gap = min(1.0, (x(count) - x(0)) * 0.2)
                parts.append(
                    element(
                        "rect", title(f"{row.name}: {what}"), x=x(first), y=y + 3, width=x(count) - x(0) - gap,
                        height=20.0, rx=2.0, class_=class_,
                    )
                )  # fmt: skip
        label = f"{row.length} + {spare} cycles" if wide else f"{row.length} + {spare}"
        middle = (x(start) + x(start + row.cycles)) / 2
        if x(row.cycles) - x(0) > 8 * len(label):
            parts.append(text(middle, y + 17, label, "t on", "middle"))
        else:
            ahead = x(start + row.cycles) + 6
            fits = ahead + 7 * len(label) < right
            parts.append(text(ahead if fits else x(start) - 6, y + 17, label, "t small", "start" if fits else "end"))
        start += row.cycles
    parts.append(element("path", d=f"M{num(x(total))} 4V{num(bottom)}", class_="decided"))
    parts += [
        text(left, bottom + 18, "0", "t tick", "middle"),
        text(right, bottom + 18, f"decision after {total} cycles", "t tick", "end"),
    ]
    return svg(width, bottom + 26, "Cycles of one inference by layer", parts)
