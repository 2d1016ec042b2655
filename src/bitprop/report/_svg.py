"""Small parts for hand-written SVG: numbers, scales, axes.  All text passes through one escaping function."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

__all__ = [
    "NARROW",
    "WIDE",
    "Scale",
    "both_widths",
    "clean",
    "clip",
    "decimal",
    "element",
    "grid",
    "log2_ticks",
    "nice_ticks",
    "num",
    "svg",
    "text",
    "title",
]

WIDE, NARROW = 1000, 420
_VOID = frozenset({"circle", "path", "rect"})
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def clean(value: str) -> str:
    """``value`` without what a page cannot carry: controls, direction overrides and lone surrogates."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value)


def clip(value: str, width: int) -> str:
    """At most ``width`` characters, an ellipsis for the rest."""
    value = clean(value)
    return value if len(value) <= width else f"{value[: width - 1]}…"


def num(value: float) -> str:
    """A coordinate: at most two decimals, no trailing zeros, never ``-0``."""
    shown = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if shown in ("-0", "") else shown


def decimal(value: float, digits: int = 1) -> str:
    """A number to read: true minus sign, thousands separated by narrow spaces that do not break, no trailing zeros."""
    shown = f"{value:,.{digits}f}"
    if "." in shown:
        shown = shown.rstrip("0").rstrip(".")
    if shown == "-0":
        shown = "0"
    return shown.replace(",", "\N{NARROW NO-BREAK SPACE}").replace("-", "\N{MINUS SIGN}")


def element(tag: str, content: str | Markup = "", **attributes: object) -> Markup:
    """One element; ``class_`` stands for ``class`` and ``_`` for ``-``; every value and plain content is escaped."""
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(num(value) if isinstance(value, float) else str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if tag in _VOID:
        return Markup(f"<{tag}{shown}/>") if not content else Markup(f"<{tag}{shown}>{escape(content)}</{tag}>")  # noqa: S704
    return Markup(f"<{tag}{shown}>{escape(content)}</{tag}>")  # noqa: S704 (escaped)


def title(value: str) -> Markup:
    """A tooltip."""
    return element("title", clean(value))


def text(x: float, y: float, value: str, class_: str = "t", anchor: str = "start", **attributes: object) -> Markup:
    """A line of text."""
    return element(
        "text",
        clean(value),
        x=float(x),
        y=float(y),
        class_=class_,
        text_anchor=None if anchor == "start" else anchor,
        **attributes,
    )


def svg(width: float, height: float, label: str, parts: Iterable[Markup], class_: str = "") -> Markup:
    """A picture with an accessible name."""
    name = element("title", clean(label))
    return element(
        "svg",
        Markup("").join((name, *parts)),
        class_=class_ or None,
        viewBox=f"0 0 {num(width)} {num(height)}",
        role="img",
    )


def both_widths(wide: Markup, narrow: Markup) -> Markup:
    """The same figure drawn for a desk and for a hand; the style sheet shows one of them."""
    return element("div", wide, class_="wide") + element("div", narrow, class_="narrow")


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map of ``low .. high`` onto ``start .. end``."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        span = self.high - self.low
        return self.start + (self.end - self.start) * ((value - self.low) / span if span else 0.5)


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers that cover ``low .. high``: about ``count`` of them.

    Example:
        >>> nice_ticks(0.0, 10.0)
        [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    """
    if not high > low:
        pad = abs(low) * 0.05 or 0.5
        low, high = low - pad, high + pad
    raw = (high - low) / max(1, count)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def log2_ticks(low: float, high: float) -> list[int]:
    """Exponents of the powers of two that cover ``low .. high``; at least two, at most about ten.

    Example:
        >>> log2_ticks(3.0, 40.0)
        [1, 2, 3, 4, 5, 6]
    """
    first, last = math.floor(math.log2(low) + 1e-9), math.ceil(math.log2(high) - 1e-9)
    if last <= first:
        first, last = first - 1, last + 1
    step = -(-(last - first) // 9)
    ticks = list(range(first, last + 1, step))
    return ticks if ticks[-1] >= last else [*ticks, ticks[-1] + step]


def grid(ticks: Sequence[float], y: Scale, left: float, right: float, labels: Sequence[str]) -> list[Markup]:
    """Horizontal rules with a label at the left of each."""
    parts = []
    for tick, label in zip(ticks, labels, strict=True):
        at = y(tick)
        parts.append(element("path", class_="grid", d=f"M{num(left)} {num(at)}H{num(right)}"))
        parts.append(text(left - 8, at + 4, label, "t tick", "end"))
    return parts
