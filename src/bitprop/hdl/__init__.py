"""SC-NIR documents to Verilog: :func:`emit` writes a folder, :func:`generate` gives its generated part as text."""

from __future__ import annotations

from bitprop.hdl.emitter import EmittedDesign, emit, generate, library

__all__ = ["EmittedDesign", "emit", "generate", "library"]
