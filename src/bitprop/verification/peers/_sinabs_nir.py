"""Statements of Sinabs's documentation about networks in NIR, one node after the other, and how they are measured.

Nodes are handed to the function that ``from_nir`` maps every node of a graph with, so that what is measured does not
depend on the release of nirtorch, which walks the graph.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch

from bitprop.verification.peers._probes import Probe
from bitprop.verification.peers._sinabs_measures import sinabs_probe

__all__ = ["nir_probes"]


def node_spikes(sinabs: Any, values: tuple[float, ...], documented: float, resistance: float) -> tuple[float, float]:
    """Spikes of NIR's IF of threshold 1: v grows by r I, has no lower bound, and falls by 1 with each spike."""
    from sinabs import nir

    ones = torch.ones(1).numpy()
    layer = nir._import_sinabs_module(nir.nir.IF(r=resistance * ones, v_threshold=ones), 1, None)
    return documented, float(layer(torch.tensor(values)[:, None]).detach().sum())


def resting_potential(sinabs: Any, node: str) -> tuple[float, float]:
    """Where tau dv/dt = (v_leak - v) + R I ends for v_leak = 0, R = 1 and I = 1, whatever the step: 1."""
    from sinabs import nir

    ones = torch.ones(1).numpy()
    values = {"tau": 5 * ones, "r": ones, "v_leak": 0 * ones}
    made = nir.nir.LI(**values) if node == "LI" else nir.nir.LIF(**values, v_threshold=1e6 * ones)
    layer = nir._import_sinabs_module(made, 1, None)
    layer(torch.ones(200, 1))
    return 1.0, float(layer.v_mem.detach())


def written_potential(sinabs: Any, arguments: dict[str, Any]) -> tuple[float, float]:
    """Where a potential ends for a constant input of 1, and that of its node: v_leak + R; NaN where it raises."""
    from sinabs import nir

    layer = sinabs.layers.LIF(tau_mem=5.0, spike_threshold=torch.tensor(1e6), **arguments)
    layer(torch.ones(1, 400, 1))
    try:
        node = nir._extract_sinabs_module(layer)
    except AttributeError:
        return float(layer.v_mem.detach()), math.nan
    return float(layer.v_mem.detach()), float(node.v_leak + node.r)


def node_outputs(sinabs: Any, node: str, groups: int) -> tuple[float, float]:
    """Outputs of a convolution of two channels to two, of an input of 4 or 4 x 4; NaN where it raises."""
    from sinabs import nir

    size = 1 if node == "Conv1d" else 2
    weight = torch.ones(2, 2 // groups, *[1] * size).numpy()
    made = getattr(nir.nir, node)(
        input_shape=None, weight=weight, stride=1, padding=0, dilation=1, groups=groups, bias=torch.zeros(2).numpy()
    )
    try:
        layer = nir._import_sinabs_module(made, 1, None)
        return 2.0 * 4**size, float(layer(torch.ones(1, 2, *[4] * size)).numel())
    except (AttributeError, ValueError):
        return 2.0 * 4**size, math.nan


def nir_probes() -> Iterator[Probe]:
    """Neurons that are read from NIR and written to it, convolutions that are read."""
    says = "'Returns a sinabs model that is equivalent to the NIR graph specified'"
    for values, documented in (((0.6, 0.6), 1.0), ((-3.0, 3.5), 0.0)):
        yield sinabs_probe(
            "from_nir.bound",
            "nir.from_nir",
            "forward",
            says + ", whose IF has no lower bound: dv/dt = R I",
            "an IF is read with min_v_mem = -v_threshold: inhibition below it is lost",
            node_spikes,
            values,
            documented,
            1.0,
        )
    for resistance in (1.0, 2.0):
        yield sinabs_probe(
            "from_nir.resistance",
            "nir.from_nir",
            "forward",
            says + ", whose IF has dv/dt = R I",
            "r of an IF is neither used nor, as that of an LI, refused",
            node_spikes,
            (0.8, 0.8),
            1.0 if resistance == 1.0 else 3.0,
            resistance,
        )
    for node in ("LI", "LIF"):
        yield sinabs_probe(
            "from_nir.current",
            "nir.from_nir",
            "forward",
            says + ", whose LI and LIF have tau dv/dt = (v_leak - v) + R I: a constant I leads to R I",
            "they are read with norm_input=False: a constant I leads to I / (1 - exp(-1 / tau))",
            resting_potential,
            node,
            tolerance=1e-4,
        )
    says = "'Returns the equivalent NIR object': tau dv/dt = (v_leak - v) + R I, where a constant I leads to R I"
    for key, arguments, found in (
        ("LIF", {}, ""),
        ("LIF", {"norm_input": False}, "norm_input and tau_syn are not read: what they change is lost"),
        ("LIF", {"tau_syn": 5.0}, "norm_input and tau_syn are not read: what they change is lost"),
        ("train_alphas", {"train_alphas": True}, "the time constants are read as tau_mem, which is not there then"),
    ):
        yield sinabs_probe(
            f"to_nir.{key}",
            "nir.to_nir",
            "forward",
            says,
            found or "the potential ends elsewhere",
            written_potential,
            arguments,
            tolerance=1e-4,
        )
    says = "'Returns a sinabs model that is equivalent to the NIR graph specified'"
    for node, groups in (("Conv2d", 1), ("Conv2d", 2), ("Conv1d", 1)):
        yield sinabs_probe(
            "from_nir.convolution",
            "nir.from_nir",
            "forward",
            says + ", which may have groups in a Conv2d, and arrays for the weights of a Conv1d",
            "in_channels is read from the weights without a factor of groups: ValueError; the arrays of a Conv1d are "
            "taken for tensors: AttributeError",
            node_outputs,
            node,
            groups,
        )
