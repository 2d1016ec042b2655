"""Bit operations: contract, plain-integer reference and Verilog module side by side (``lfsr.py``, ``lfsr.v``)."""

from __future__ import annotations

from bitprop.ops import lfsr
from bitprop.ops._spec import OPS, SOURCES, AbstractSource, OpSpec, make_source, verilog_path

__all__ = ["OPS", "SOURCES", "AbstractSource", "OpSpec", "lfsr", "make_source", "verilog_path"]
