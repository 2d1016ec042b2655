"""Test benches in Python for an emitted network: cocotb drives its ports."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import PurePath

from bitprop.graph.spec import Document
from bitprop.graph.timing import latency_cycles
from bitprop.hdl._text import render
from bitprop.hdl.emitter import loadable_layers, ports_of

__all__ = ["cocotb_bench"]


def cocotb_bench(document: Document, handoff: str) -> dict[str, str]:
    """The files of a cocotb bench by name: tests, and a program that builds and runs them.

    Args:
        document: the network.
        handoff: path of its handoff folder from the bench's.

    Raises:
        NotExportableError: a source has no hardware.
    """
    ports = ports_of(document)
    context = {
        **asdict(ports),
        "network": document.name,
        "width": document.precision_bits + 2,
        "patience": 16 * latency_cycles(document) + 400,
        "names": ports.names,
        "loads": loadable_layers(document),
        "handoff": PurePath(handoff).as_posix(),
    }
    return {
        f"test_{document.name}.py": render("cocotb_test.py.j2", context),
        "run.py": render("cocotb_run.py.j2", context),
    }
