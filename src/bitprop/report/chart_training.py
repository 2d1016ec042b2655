"""How the design moved during training: accuracy, loss and length by epoch, and each layer's probabilities."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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
    nice_ticks,
    num,
    svg,
    text,
    title,
)
from bitprop.report.chart_length import PALETTE, legend
from bitprop.report.data import LayerHistory, TrainingHistory

__all__ = ["PHASE_NAMES", "layer_chart", "layer_legend", "shown_epochs", "training_chart"]

MAX_COLUMNS = 240
PHASE_NAMES = {"warmup": "warm-up", "joint": "joint", "finish": "finish"}
_ENCODING_COLOURS = {"sign_magnitude": "c3", "bipolar": "c1", "unipolar": "c2"}


def shown_epochs(count: int) -> list[int]:
    """Indices of the epochs drawn: all, or about 240 of them evenly spread, first and last included."""
    if count <= MAX_COLUMNS:
        return list(range(count))
    return sorted({round(index * (count - 1) / (MAX_COLUMNS - 1)) for index in range(MAX_COLUMNS)})


def _runs(phases: Sequence[str]) -> list[tuple[str, int, int]]:
    """``(phase, first, last)`` of neighbouring equal phases."""
    runs: list[tuple[str, int, int]] = []
    for index, phase in enumerate(phases):
        if runs and runs[-1][0] == phase:
            runs[-1] = (phase, runs[-1][1], index)
        else:
            runs.append((phase, index, index))
    return runs


def _bands(phases: Sequence[str], x: Callable[[float], float], top: float, bottom: float) -> list[Markup]:
    parts = []
    for order, (_, first, last) in enumerate(_runs(phases)):
        a, b = x(first - 0.5), x(last + 0.5)
        if order % 2:
            parts.append(element("rect", x=a, y=top, width=b - a, height=bottom - top, class_="band"))
        if order:
            parts.append(element("path", d=f"M{num(a)} {num(top)}V{num(bottom)}", class_="divide"))
    return parts


def _line(values: Sequence[float | None], x: Callable[[float], float], y: Scale, class_: str) -> list[Markup]:
    """A polyline with gaps where there is no value; dots while there are few."""
    path, pen = "", "M"
    dots: list[Markup] = []
    for index, value in enumerate(values):
        if value is None:
            pen = "M"
            continue
        path += f"{pen}{num(x(index))} {num(y(value))}"
        pen = "L"
        if len(values) <= 24:
            dots.append(element("circle", cx=x(index), cy=y(value), r=2.6, class_=f"f {class_}"))
    return [element("path", d=path, class_=f"line {class_}"), *dots] if path else []


def _epoch_axis(epochs: Sequence[int], x: Callable[[float], float], y: float, width: float) -> list[Markup]:
    """Epoch numbers below a plot, as many as fit."""
    room = max(1, int(width // 56))
    step = -(-len(epochs) // room)
    indices = list(range(0, len(epochs), step))
    last = len(epochs) - 1
    if indices[-1] != last:
        if last - indices[-1] < step * 0.6 and len(indices) > 1:
            indices.pop()
        indices.append(last)
    return [text(x(index), y, str(epochs[index]), "t tick", "middle") for index in indices]


def training_chart(history: TrainingHistory) -> tuple[Markup, Markup]:
    """``(legend, figure)`` of at least one epoch."""
    entries = [(element("path", d="M1 7H17", class_="line c1"), "training accuracy, mode of the phase")]
    if any(value is not None for value in history.validation_accuracy):
        entries.insert(0, (element("path", d="M1 7H17", class_="line c0"), "validation accuracy"))
    return legend(entries), both_widths(_training(history, WIDE), _training(history, NARROW))


@dataclass(frozen=True, slots=True)
class _Axis:
    """A vertical axis: its name, its ticks, and where a value stands (before scaling to the picture)."""

    name: str
    ticks: list[float]
    place: Callable[[float], float]


def _plain_axis(name: str, values: Sequence[float]) -> _Axis:
    return _Axis(name, nice_ticks(min(values), max(values), 3), lambda value: value)


def _accuracy_axis(percents: Sequence[float | None]) -> _Axis:
    """Linear; stretched towards 100, where the differences of interest are, once anything is better than 90."""
    values = [value for value in percents if value is not None]
    low, high = min(values), max(values)
    if high < 90:
        return _Axis("accuracy, %", nice_ticks(low, high, 5), lambda value: value)
    known = [0.0, 50.0, 80.0, 90.0, 95.0, 98.0, 99.0, 100.0]
    first = max(index for index, tick in enumerate(known) if tick <= low or index == 0)
    last = min(index for index, tick in enumerate(known) if tick >= high - 1e-9)
    ticks = known[first : last + 1] if last > first else known[last - 1 : last + 1]
    # half a percent keeps 100 at a finite place
    return _Axis("accuracy, % (stretched towards 100)", ticks, lambda value: -math.log10(100.5 - value))


def _loss_axis(loss: Sequence[float]) -> _Axis:
    """Logarithmic when it falls far."""
    low, high = min(loss), max(loss)
    name = "training loss, costs included"
    if low <= 1e-12 or high / low < 20:
        return _plain_axis(name, [0.0, *loss])
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    step = -(-(last - first) // 6)
    ticks = [10.0**exponent for exponent in range(first, last + step, step)]
    return _Axis(f"{name} (log scale)", ticks, math.log10)


def _training(history: TrainingHistory, width: int) -> Markup:
    shown = shown_epochs(len(history.epochs))
    epochs = [history.epochs[index] for index in shown]
    phases = [history.phases[index] for index in shown]
    left, right = 58.0, width - 18.0
    scale = Scale(-0.5, len(shown) - 0.5, left, right)
    training = [history.train_accuracy[index] * 100 for index in shown]
    validation = [None if (v := history.validation_accuracy[index]) is None else v * 100 for index in shown]
    loss = [history.loss[index] for index in shown]
    mean_length = [history.mean_length[index] for index in shown]

    panels: list[tuple[float, list[tuple[str, Sequence[float | None]]], _Axis]] = [
        (190.0, [("c1", training), ("c0", validation)], _accuracy_axis([*training, *validation])),
        (120.0, [("c3", loss)], _loss_axis(loss)),
        (110.0, [("c2", mean_length)], _plain_axis("expected mean stream length, cycles", [0.0, *mean_length])),
    ]
    parts: list[Markup] = []
    for phase, first, last in _runs(phases):
        name = clip(PHASE_NAMES.get(phase, phase), 12)
        if scale(last + 0.5) - scale(first - 0.5) > 7 * len(name):
            parts.append(text(scale((first + last) / 2), 12, name, "t phase", "middle"))
    top = 46.0
    for height, lines, axis in panels:
        places = [axis.place(tick) for tick in axis.ticks]
        y = Scale(places[0], places[-1], top + height, top)
        parts += _bands(phases, scale, top, top + height)
        parts += grid(places, y, left, right, [f"{tick:g}" for tick in axis.ticks])
        parts.append(text(left, top - 9, axis.name, "t panel"))
        for colour, line in lines:
            parts += _line([None if value is None else axis.place(value) for value in line], scale, y, colour)
        top += height + 36
    bottom = top - 36
    parts += _epoch_axis(epochs, scale, bottom + 20, right - left)
    parts.append(text((left + right) / 2, bottom + 40, "epoch", "t axis", "middle"))
    return svg(width, bottom + 48, "Accuracy, loss and mean stream length by epoch", parts)


def _shade(index: int, count: int) -> str:
    """Opacity of candidate ``index``: the longer, the fuller."""
    return num(0.14 + 0.86 * (index / (count - 1) if count > 1 else 1.0))


def _ribbon(
    rows: Sequence[Sequence[float]],
    x: Callable[[float], float],
    y: Scale,
    styles: Sequence[tuple[str, str | None]],
    names: Sequence[str],
) -> list[Markup]:
    """Stacked shares, one column per epoch, the first candidate at the bottom."""
    parts = []
    base = [0.0] * len(rows)
    for candidate, (class_, opacity) in enumerate(styles):
        tops = [below + row[candidate] for below, row in zip(base, rows, strict=True)]
        if any(row[candidate] > 1e-4 for row in rows):
            upper = "".join(
                f"{'M' if index == 0 else 'L'}{num(x(index - 0.5))} {num(y(value))}H{num(x(index + 0.5))}"
                for index, value in enumerate(tops)
            )
            lower = "".join(
                f"L{num(x(index + 0.5))} {num(y(base[index]))}H{num(x(index - 0.5))}"
                for index in reversed(range(len(rows)))
            )
            parts.append(
                element("path", title(names[candidate]), d=f"{upper}{lower}z", class_=class_, fill_opacity=opacity)
            )
        base = tops
    return parts


def layer_legend(layer: LayerHistory) -> Markup:
    """What the colours of :func:`layer_chart` mean."""
    entries = [
        (
            element(
                "rect", x=1.0, y=1.0, width=16.0, height=12.0, class_="f c0 edge",
                fill_opacity=_shade(index, len(layer.lengths)),
            ),
            f"L = {length}",
        )
        for index, length in enumerate(layer.lengths)
    ]  # fmt: skip
    entries += [
        (
            element("rect", x=1.0, y=1.0, width=16.0, height=12.0, class_=f"f {_encoding_class(index, name)}"),
            _pretty(name),
        )
        for index, name in enumerate(layer.encodings)
    ]
    return legend(entries)


def _encoding_class(index: int, name: str) -> str:
    # the length ribbon owns c0: encodings start one further
    return _ENCODING_COLOURS.get(name, f"c{(index + 4) % PALETTE}")


def _pretty(name: str) -> str:
    return name.replace("_", "-")


def layer_chart(layer: LayerHistory, epochs: Sequence[int], phases: Sequence[str]) -> Markup:
    """One layer's design by epoch: length shares, encoding shares, correlation."""
    width, left, right = 480, 44.0, 416.0
    shown = shown_epochs(len(epochs))
    x = Scale(-0.5, len(shown) - 0.5, left, right)
    parts: list[Markup] = []
    count = len(layer.lengths)

    top, bottom = 26.0, 156.0
    y = Scale(0.0, 1.0, bottom, top)
    names = [f"L = {length}" for length in layer.lengths]
    rows = [layer.length_probabilities[index] for index in shown]
    styles: list[tuple[str, str | None]] = [("f c0 edge", _shade(index, count)) for index in range(count)]
    parts.append(text(left, 14, "length, share of the mixture", "t panel"))
    parts += _ribbon(rows, x, y, styles, names)
    parts += _final_labels(rows[-1], names, y, right)

    top, bottom = 186.0, 226.0
    y = Scale(0.0, 1.0, bottom, top)
    rows = [layer.encoding_probabilities[index] for index in shown]
    pretty = [_pretty(name) for name in layer.encodings]
    parts.append(text(left, top - 8, "encoding, share of the mixture", "t panel"))
    parts += _ribbon(rows, x, y, [(f"f {_encoding_class(i, n)}", None) for i, n in enumerate(layer.encodings)], pretty)
    parts += _final_labels(rows[-1], [{"sign-magnitude": "sign-mag."}.get(n, n) for n in pretty], y, right)

    top, bottom = 262.0, 318.0
    values = [layer.correlation[index] for index in shown]
    reach = max(abs(value) for value in values)
    parts.append(text(left, top - 10, "correlation (SCC)", "t panel"))
    limit = next(step for step in (0.1, 0.25, 0.5, 1.0) if step >= reach - 1e-9)
    y = Scale(-limit, limit, bottom, top)
    parts += grid([-limit, 0.0, limit], y, left, right, [decimal(-limit, 2), "0", f"+{decimal(limit, 2)}"])
    parts += _line(values, x, y, "c4")
    parts.append(
        text(right + 8, y(values[-1]) + 4, f"{'+' if values[-1] > 0 else ''}{decimal(values[-1], 3)}", "t small")
    )
    for _, first, _ in _runs([phases[index] for index in shown])[1:]:
        at = x(first - 0.5)
        parts.append(element("path", d=f"M{num(at)} 26V156M{num(at)} 186V226M{num(at)} 262V318", class_="divide"))
    parts += _epoch_axis([epochs[index] for index in shown], x, bottom + 20, right - left)
    parts.append(text((left + right) / 2, bottom + 38, "epoch", "t axis", "middle"))
    return svg(width, bottom + 46, f"Design of {layer.name} by epoch", parts)


def _final_labels(shares: Sequence[float], names: Sequence[str], y: Scale, right: float) -> list[Markup]:
    """Names beside the last column, where a share is tall enough to carry one."""
    parts, base = [], 0.0
    for share, name in zip(shares, names, strict=True):
        if abs(y(base) - y(base + share)) >= 13:
            parts.append(text(right + 8, y(base + share / 2) + 4, clip(name, 9), "t small"))
        base += share
    return parts
