"""Statements of Norse's documentation about networks in NIR, one node after the other, and how they are measured.

Nodes are handed to the functions that ``to_nir`` and ``from_nir`` map every module and node with, so that what is
measured does not depend on the release of nirtorch, which walks the graph.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch

from bitprop.verification.peers._probes import Probe

__all__ = ["nir_probes"]


def written_and_read(nt: Any, name: str) -> tuple[float, float]:
    """Potential after one small input of the cell that comes back from NIR, relative to that of the cell: 1."""
    from norse.torch.utils import export_nir, import_nir

    cell, x = getattr(nt, name)(), torch.full((1, 1), 1e-5)
    _, read = import_nir._import_norse_module(export_nir._extract_norse_module(cell))(x)
    read = read if hasattr(read, "v") else read[1]
    return 1.0, float(read.v.detach() / cell(x)[1].v.detach())


def subtracted(nt: Any, node: str) -> tuple[float, float]:
    """Potential after a spike from 2.5 at a threshold of 1, read with reset_method=reset_subtract: 1.5."""
    from norse.torch.functional import reset
    from norse.torch.utils import import_nir

    nir, one = import_nir.nir, torch.ones(1).numpy()
    if node == "IF":
        made = nir.IF(r=one, v_threshold=one)
    elif node == "LIF":
        made = nir.LIF(tau=0.001 * one, r=one, v_leak=0 * one, v_threshold=one)
    else:
        made = nir.CubaLIF(tau_mem=0.001 * one, tau_syn=0.001 * one, r=one, v_leak=0 * one, v_threshold=one, w_in=one)
    module = import_nir._import_norse_module(made, reset_method=reset.reset_subtract)
    if node == "IF":  # its own reset potential, not the one tensor that every IAFCell has by default
        module.p = module.p._replace(v_reset=torch.zeros(()))
    _, state = module(torch.full((1, 1), 2.5))
    state = state if hasattr(state, "v") else state[1]
    return 1.5, float(state.v.detach())


def leaked_current(nt: Any, leak: float) -> tuple[float, float]:
    """Where NIR's CubaLIF rests without input, tau dI/dt = -I and tau dv/dt = (v_leak - v) + R I: at v_leak."""
    from norse.torch.utils import import_nir

    one = torch.ones(1).numpy()
    node = import_nir.nir.CubaLIF(
        tau_mem=0.01 * one, tau_syn=0.005 * one, r=one, v_leak=leak * one, v_threshold=1e6 * one, w_in=one
    )
    module = import_nir._import_norse_module(node)
    state: Any = None
    for _ in range(500):
        _, state = module(torch.zeros(1, 1), state)
    return leak, float(state[1].v.detach())


def convolution(nt: Any, way: str, groups: int) -> tuple[float, float]:
    """Channels of a convolution of two channels that is read from, or written to, a node; NaN where it raises."""
    from norse.torch.utils import export_nir, import_nir

    weight = torch.ones(2, 2 // groups, 1, 1).numpy()
    try:
        if way == "to":
            layer = torch.nn.Conv2d(2, 2, 1, groups=groups, bias=groups == 1)
            return 2.0, float(export_nir._extract_norse_module(layer).weight.shape[0])
        node = import_nir.nir.Conv2d(
            input_shape=(4, 4), weight=weight, stride=1, padding=0, dilation=1, groups=groups, bias=weight[:, 0, 0, 0]
        )
        return 2.0, float(import_nir._import_norse_module(node)(torch.ones(1, 2, 4, 4)).shape[1])
    except (AttributeError, ValueError):
        return 2.0, math.nan


def nir_probes() -> Iterator[Probe]:
    """Neurons that are written to NIR and read from it, nodes that are read."""
    for name in ("LIFBoxCell", "LIFCell"):
        yield Probe(
            "norse.nir.time_constants",
            name,
            "forward",
            "tau_mem_inv: 'inverse membrane time constant (1 / tau_mem)', that of NIR's tau; dt: 'The time step of the "
            "simulation'; from_nir: 'Converts a NIR graph to a Norse module'",
            "to_nir writes dt / tau_mem_inv, from_nir reads 1 / tau and takes dt once more: what was written comes "
            "back 1 / dt times as fast; the input weight tau_syn / dt of an LIFCell is not written",
            written_and_read,
            (name,),
            (),
            1e-5,
        )
    for node in ("CubaLIF", "LIF", "IF"):
        yield Probe(
            "norse.from_nir.reset_method",
            f"from_nir.{node}",
            "forward",
            "'Converts a NIR graph to a Norse module', whose reset is v - v_threshold; reset_method in the signature",
            "reset_method is handed on for a CubaLIF alone: an LIF or IF is set to v_reset even with reset_subtract",
            subtracted,
            (node,),
            (),
            1e-5,
        )
    for leak in (0.0, 0.5):
        yield Probe(
            "norse.from_nir.leak",
            "from_nir.CubaLIF",
            "forward",
            "'Converts a NIR graph to a Norse module': tau_syn dI/dt = -I + w_in S, tau_mem dv/dt = (v_leak - v) + R I",
            "the current decays to v_leak too: without input the potential rests at v_leak (1 + R)",
            leaked_current,
            (leak,),
            (),
            1e-4,
        )
    for way, groups in (("from", 1), ("from", 2), ("to", 1), ("to", 2)):
        yield Probe(
            "norse.nir.convolution",
            f"{way}_nir.Conv2d",
            "forward",
            "'Converts a NIR graph to a Norse module'; nodes have groups, modules may have no bias, as a Linear may",
            "in_channels is read from the weights without a factor of groups: ValueError; a Conv2d without bias cannot "
            "be written: AttributeError",
            convolution,
            (way, groups),
        )
