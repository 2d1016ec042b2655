"""What every part of the emitter writes with: templates, literals, sources."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2

__all__ = ["LIBRARY", "pack", "render", "signed_literal", "unsigned_literal"]

LIBRARY = Path(__file__).with_name("library")
_TEMPLATES = Path(__file__).with_name("templates")


@functools.lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - Verilog, not HTML; names are checked identifiers, the rest is integers
    )


def render(template: str, context: dict[str, Any]) -> str:
    """The text of a template."""
    return _environment().get_template(template).render(context)


def signed_literal(value: int, bits: int) -> str:
    """A signed Verilog literal; ``-2**(bits-1)`` has no positive twin, so it is written in hexadecimal."""
    if value == -(1 << (bits - 1)):
        return f"{bits}'sh{1 << (bits - 1):x}"
    return f"-{bits}'sd{-value}" if value < 0 else f"{bits}'sd{value}"


def unsigned_literal(value: int, bits: int) -> str:
    """An unsigned hexadecimal literal."""
    return f"{bits}'h{value:x}"


def pack(values: Iterable[int], bits: int) -> int:
    """Fields of ``bits`` bits side by side, the first one lowest; negative ones in two's complement."""
    word = 0
    for place, value in enumerate(values):
        word |= (value & ((1 << bits) - 1)) << (place * bits)
    return word
