"""The streams of one neuron as waveforms: input bits, weight bits, their products, and the accumulator's staircase."""

from __future__ import annotations

from collections.abc import Sequence

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
)
from bitprop.report.chart_length import legend
from bitprop.report.neuron import NeuronStreams

__all__ = ["barcode", "streams_chart", "streams_legend"]

WIDE_CYCLES, NARROW_CYCLES = 128, 64
_MAX_STEPS = 600


def _runs(row: Sequence[int], value: int) -> list[tuple[int, int]]:
    """``(start, length)`` of neighbouring cycles that equal ``value``."""
    runs: list[tuple[int, int]] = []
    for index, bit in enumerate(row):
        if bit == value:
            if runs and sum(runs[-1]) == index:
                runs[-1] = (runs[-1][0], runs[-1][1] + 1)
            else:
                runs.append((index, 1))
    return runs


def _wave(row: Sequence[int], left: float, step: float, y: float, height: float, class_: str) -> Markup:
    """A digital waveform: high for one, low for zero, filled below."""
    outline, area = f"M{num(left)} {num(y + height)}", ""
    for start, count in _runs(row, 1):
        a, b = left + start * step, left + (start + count) * step
        outline += f"H{num(a)}V{num(y)}H{num(b)}V{num(y + height)}"
        area += f"M{num(a)} {num(y + height)}V{num(y)}H{num(b)}V{num(y + height)}z"
    outline += f"H{num(left + len(row) * step)}"
    return element("path", d=area or "M0 0", class_=f"wavefill {class_}") + element(
        "path", d=outline, class_=f"wave {class_}"
    )


def _cells(row: Sequence[int], left: float, step: float, y: float, height: float) -> Markup:
    """One cell per cycle that contributes: plus and minus differ in colour and in place."""
    gap = min(1.0, step * 0.15)
    parts = Markup("")
    parts += element("path", d=f"M{num(left)} {num(y + height / 2)}H{num(left + len(row) * step)}", class_="grid")
    for value, class_, offset in ((1, "plus", 0.0), (-1, "minus", height / 2)):
        path = "".join(
            f"M{num(left + index * step + gap / 2)} {num(y + offset)}h{num(step - gap)}v{num(height / 2)}"
            f"h{num(gap - step)}z"
            for index, bit in enumerate(row)
            if bit == value
        )
        if path:
            parts += element("path", d=path, class_=class_)
    return parts


def streams_legend(streams: NeuronStreams) -> Markup:
    """What the rows mean."""
    gate = {"unipolar": "AND", "bipolar": "XNOR", "sign_magnitude": "AND with sign"}[streams.encoding]
    entries = [
        (element("path", d="M1 12H4V3H11V12H17", class_="wave c0"), "activation stream x"),
        (element("path", d="M1 12H4V3H11V12H17", class_="wave c3"), "weight stream w"),
        (element("rect", x=2.0, y=1.0, width=14.0, height=6.0, class_="plus"), f"product +1 ({gate})"),
    ]
    if streams.encoding != "unipolar":
        entries.append((element("rect", x=2.0, y=7.0, width=14.0, height=6.0, class_="minus"), "product −1"))
    entries.append((element("path", d="M1 12L17 2", class_="ideal"), "ideal streams, in expectation"))
    return legend(entries)


def barcode(neurons: Sequence[NeuronStreams]) -> Markup | None:
    """Products of the neurons as a strip of bars, one stream after another: the page's ornament, and real."""
    streams = [row for neuron in neurons for row in neuron.products]
    if not streams:
        return None
    lines = min(6, len(streams))
    rows = [[bit for stream in streams[line::lines] for bit in stream][:WIDE_CYCLES] for line in range(lines)]
    width, cycles = WIDE, max(len(row) for row in rows)
    step, height = width / cycles, 5.0
    parts = []
    for order, row in enumerate(rows):
        for value, class_ in ((1, "plus"), (-1, "minus")):
            path = "".join(
                f"M{num(index * step + 0.5)} {num(order * height)}h{num(max(0.5, step - 1))}v{num(height - 1)}"
                f"h{num(-max(0.5, step - 1))}z"
                for index, bit in enumerate(row)
                if bit == value
            )
            if path:
                parts.append(element("path", d=path, class_=class_))
    return element(
        "svg", Markup("").join(parts), viewBox=f"0 0 {width} {num(height * lines)}", class_="barcode",
        preserveAspectRatio="none", aria_hidden="true",
    )  # fmt: skip


def streams_chart(streams: NeuronStreams, image_shape: tuple[int, int] | None) -> Markup:
    """The figure, for a desk and for a hand.

    Args:
        streams: of one neuron.
        image_shape: rows and columns, when the neuron's inputs are a picture's pixels.
    """
    return both_widths(
        _draw(streams, image_shape, WIDE, WIDE_CYCLES), _draw(streams, image_shape, NARROW, NARROW_CYCLES)
    )


def input_name(streams: NeuronStreams, index: int, image_shape: tuple[int, int] | None) -> str:
    """What an input is called: a pixel's row and column, or the neuron before."""
    if streams.layer:
        return f"neuron {index}"
    if image_shape is None:
        return f"input {index}"
    return f"pixel ({index // image_shape[1]}, {index % image_shape[1]})"


def _signed(value: float, digits: int = 2) -> str:
    return f"{'+' if value > 0 else ''}{decimal(value, digits)}"


def _fixed(value: float) -> str:
    shown = f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")
    return "0.00" if shown[1:] == "0.00" else shown


def _draw(streams: NeuronStreams, image_shape: tuple[int, int] | None, width: int, limit: int) -> Markup:
    wide = width == WIDE
    cycles = min(streams.length, limit)
    left, right = (212.0, width - 80.0) if wide else (40.0, width - 66.0)
    step = (right - left) / cycles
    parts: list[Markup] = [text(right + 12, 14, "sum", "t axis")]
    y = 24.0
    for order, index in enumerate(streams.inputs):
        name = f"{order + 1} · {input_name(streams, index, image_shape)}"
        values = f"x {_fixed(streams.activations[order])} · w {_fixed(streams.weights[order])}"
        if wide:
            parts += [text(0, y + 14, name, "t strong"), text(0, y + 32, values, "t small")]
        else:
            parts.append(text(0, y + 10, f"{name}: {values}", "t small"))
            y += 17
        parts += [
            text(left - 8, y + 10, "x", "t row", "end"),
            text(left - 8, y + 24, "w", "t row", "end"),
            text(left - 8, y + 38, "xw", "t row", "end"),
            _wave(streams.activation_bits[order][:cycles], left, step, y + 1, 10, "c0"),
            _wave(streams.weight_bits[order][:cycles], left, step, y + 15, 10, "c3"),
            _cells(streams.products[order][:cycles], left, step, y + 28, 16),
            text(right + 12, y + 39, _signed(streams.sums[order], 0), "t strong"),
        ]
        y += 58
    if cycles < streams.length:
        parts.append(
            text(left, y + 4, f"bits of the first {cycles} of {streams.length} cycles; below, all cycles", "t small")
        )
        y += 18
    parts += _staircase(streams, left, right, y + 18, 230.0 if wide else 210.0, cycles, wide)
    total = y + 18 + (230.0 if wide else 210.0) + 46
    label = f"Bit streams of neuron {streams.neuron} of {streams.layer_name} and its accumulator by cycle"
    return svg(width, total, label, parts)


def _steps(values: Sequence[int], x: Scale, y: Scale) -> str:
    """A staircase: cycle t's column stands at the accumulator after it; thinned when there are too many to see."""
    if len(values) <= _MAX_STEPS:
        path = f"M{num(x(0))} {num(y(values[0]))}"
        for cycle, value in enumerate(values[1:], start=1):
            path += f"H{num(x(cycle - 1))}V{num(y(value))}" if value != values[cycle - 1] else ""
        return path + f"H{num(x(len(values) - 1))}"
    last = len(values) - 1
    chosen = sorted({round(index * last / _MAX_STEPS) for index in range(_MAX_STEPS + 1)})
    return "M" + "L".join(f"{num(x(cycle))} {num(y(values[cycle]))}" for cycle in chosen)


def _staircase(
    streams: NeuronStreams, left: float, right: float, top: float, height: float, cycles: int, wide: bool
) -> list[Markup]:
    own = streams.accumulator
    peers = sorted(streams.peers, key=lambda peer: (-peer[1][-1], peer[0]))[: 16 if wide else 6]
    seen = [*own, streams.expected, *(value for _, row in peers for value in row)]
    low, high = min(seen), max(seen)
    span = max(1.0, high - low)
    clamps = []
    if streams.clamp is not None and streams.clamp_levels is not None:
        one = float(1 << streams.precision_bits)
        for value, level in zip(streams.clamp, streams.clamp_levels, strict=True):
            # a clamp far away would flatten the staircase
            if low - 1.5 * span <= level <= high + 1.5 * span:
                clamps.append((f"clamp to {decimal(value / one, 3)}", level))
    low, high = min([low, *(level for _, level in clamps)]), max([high, *(level for _, level in clamps)])
    ticks = nice_ticks(low, high, 5)
    ticks = [tick for tick in ticks if tick == round(tick)] or ticks
    y = Scale(min(low, ticks[0]), max(high, ticks[-1]), top + height, top)
    x = Scale(0, streams.length, left, right)
    parts = grid(ticks, y, left, right, [decimal(tick, 1) for tick in ticks])
    if cycles < streams.length:
        parts.insert(0, element("rect", x=left, y=top, width=x(cycles) - left, height=height, class_="band"))
    for name, level in clamps:
        parts.append(element("path", d=f"M{num(left)} {num(y(level))}H{num(right)}", class_="clamp"))
        parts.append(text(left + 6, y(level) + (14 if level > (low + high) / 2 else -5), name, "t small"))
    parts += [element("path", d=_steps(row, x, y), class_="peer") for _, row in peers]
    parts.append(
        element(
            "path",
            d=f"M{num(x(0))} {num(y(own[0]))}L{num(x(streams.length))} {num(y(streams.expected))}",
            class_="ideal",
        )
    )
    parts.append(element("path", d=_steps(own, x, y), class_="own"))
    parts.append(element("circle", cx=x(streams.length), cy=y(own[-1]), r=4.5, class_="f c0"))
    if wide:
        parts += [
            text(0, top + 14, "accumulator", "t strong"),
            text(0, top + 32, f"all {streams.all_inputs} inputs and the bias", "t small"),
        ]
    else:
        parts.append(text(left, top - 6, f"accumulator, all {streams.all_inputs} inputs and the bias", "t small"))
    parts += _end_labels(
        [(streams.neuron, own[-1], True), *((n, row[-1], False) for n, row in peers)], y, right, top, height
    )
    for cycle in _cycle_ticks(streams.length, 8 if wide else 4):
        parts.append(text(x(cycle), top + height + 19, str(cycle), "t tick", "middle"))
    parts.append(text((left + right) / 2, top + height + 38, "cycle", "t axis", "middle"))
    return parts


def _cycle_ticks(length: int, count: int) -> list[int]:
    """0, L and round cycles between, none too near L."""
    step = max(1, 1 << max(0, (length // count).bit_length() - (1 if length % count == 0 else 0)))
    while length / step > count:
        step *= 2
    return [cycle for cycle in range(0, length, step) if length - cycle >= step * 0.6] + [length]


def _end_labels(
    ends: Sequence[tuple[int, int, bool]], y: Scale, right: float, top: float, height: float
) -> list[Markup]:
    """``neuron: value`` at the end of each line; the neuron itself first, then as many as do not overlap."""
    parts, taken = [], list[float]()
    for index, (neuron, value, own) in enumerate(ends):
        at = min(top + height, max(top + 4, y(value))) + 4
        if index and any(abs(at - other) < 13 for other in taken):
            continue
        taken.append(at)
        shown = clip(_signed(value, 0), 9)
        parts.append(
            text(right + 10, at, shown if len(ends) == 1 else f"{neuron}: {shown}", "t strong" if own else "t small")
        )
    return parts
