"""SC-NIR documents to Verilog: :func:`emit` writes a folder, :func:`generate` gives its generated part as text."""

from __future__ import annotations

from bitprop.hdl.emitter import (
    EmittedDesign,
    NetworkPorts,
    alone_name,
    emit,
    generate,
    generate_alone,
    library,
    load_words,
    ports_of,
)

__all__ = [
    "EmittedDesign",
    "NetworkPorts",
    "alone_name",
    "emit",
    "generate",
    "generate_alone",
    "library",
    "load_words",
    "ports_of",
]
