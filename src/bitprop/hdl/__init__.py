"""SC-NIR documents to Verilog: :func:`emit` writes a folder, :func:`generate` gives its generated part as text."""

from __future__ import annotations

from bitprop.hdl.emitter import EmittedDesign, alone_name, emit, generate, generate_alone, library

__all__ = ["EmittedDesign", "alone_name", "emit", "generate", "generate_alone", "library"]
