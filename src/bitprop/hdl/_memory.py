"""Memories whose contents stand in the text: weights, biases, number tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bitprop.hdl._text import render, unsigned_literal

__all__ = ["BANK_BITS", "address_bits", "memory_text"]

BANK_BITS = 10
"""Address bits of a bank; a deeper memory would need a wide multiplexer right behind its block RAMs."""


def address_bits(depth: int) -> int:
    """Bits of an address; one at least."""
    return max(1, (depth - 1).bit_length())


def memory_text(
    context: dict[str, Any],
    module: str,
    what: str,
    layout: list[str],
    words: Sequence[int],
    bits: int,
    bank_bits: int = BANK_BITS,
) -> str:
    """The module of one memory, read through two registers.

    Args:
        context: ``network``, ``origin`` and the layer's ``index``.
        module: its name.
        what: what it holds.
        layout: how a word is made up.
        words: contents.
        bits: of a word.
        bank_bits: address bits of a bank.
    """
    size = 1 << bank_bits
    literals = [unsigned_literal(word, bits) for word in words]
    banks = [literals[start : start + size] for start in range(0, len(words), size)]
    return render(
        "rom.v.j2",
        {
            **context,
            "module": module,
            "what": what,
            "layout": layout,
            "depth": len(words),
            "bits": bits,
            "address_bits": address_bits(len(words)),
            "bank_bits": bank_bits,
            "bank_depth": size,
            "banks": [{"words": bank, "address_bits": address_bits(len(bank))} for bank in banks],
        },
    )
