"""Bit operations: contract, plain-integer reference and Verilog module side by side (``lfsr.py``, ``lfsr.v``)."""

from __future__ import annotations

from bitprop.ops import (
    accumulate,
    argmax,
    bernoulli,
    compare,
    correlate,
    count,
    counter,
    encode,
    halton,
    lfsr,
    multiply,
    requantise,
    sobol,
)
from bitprop.ops._spec import OPS, SOURCES, AbstractSource, OpSpec, Parameter, Port, make_source, verilog_path

__all__ = [
    "OPS",
    "SOURCES",
    "AbstractSource",
    "OpSpec",
    "Parameter",
    "Port",
    "accumulate",
    "argmax",
    "bernoulli",
    "compare",
    "correlate",
    "count",
    "counter",
    "encode",
    "halton",
    "lfsr",
    "make_source",
    "multiply",
    "requantise",
    "sobol",
    "verilog_path",
]
