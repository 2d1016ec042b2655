"""Statements about Sinabs's adaptive layer, and the plain functions that measure them."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import torch

from bitprop.verification.peers._probes import Probe, linear_spike
from bitprop.verification.peers._sinabs_measures import sinabs_probe

__all__ = [
    "adaptive_probes",
    "alif_adaptation",
    "alif_bump",
    "alif_chunks",
    "alif_copy",
    "alif_frozen",
    "alif_printed",
    "alif_reset",
    "alif_reset_adaptation",
    "alif_synapse",
    "alif_synapse_input",
]


def alif_adaptation(sinabs: Any, reset: str) -> tuple[float, float]:
    """Gradient of tau_adapt through the adaptive threshold B, along which the spikes have the slope -g."""
    layer = sinabs.layers.ALIF(5.0, 10.0, norm_input=False, reset_fn=getattr(sinabs.activation, reset)()).double()
    x = torch.rand(1, 20, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    layer(x).sum().backward()
    tau = torch.tensor(10.0, dtype=torch.float64, requires_grad=True)
    alpha, rho = math.exp(-1 / 5), torch.exp(-1 / tau)
    v, b, total = torch.zeros_like(x[:, 0]), torch.zeros_like(x[:, 0]), torch.zeros((), dtype=torch.float64)
    for t in range(20):
        v = alpha * v + x[:, t]
        threshold = 1.0 + 1.8 * b
        width = 0.5 * threshold.detach()
        s = linear_spike(v - threshold, lambda z, width=width: torch.exp(-z.abs() / width) / width)  # type: ignore[misc]
        v = v - s * threshold if reset == "MembraneSubtract" else v * (s == 0)
        b = rho * b + (1 - rho) * s
        total = total + s.sum()
    (documented,) = torch.autograd.grad(total, tau)
    computed = layer.tau_adapt.grad
    return float(documented), 0.0 if computed is None else float(computed)


def alif_reset(sinabs: Any) -> tuple[float, float]:
    """Potential after a second spike: b0 = 1 is subtracted each time."""
    layer = sinabs.layers.ALIF(tau_mem=5.0, tau_adapt=2.0, norm_input=False)
    layer(torch.tensor([[[2.0], [5.0]]]))
    return math.exp(-1 / 5) * (2.0 - 1.0) + 5.0 - 1.0, float(layer.v_mem.detach())


def alif_reset_adaptation(sinabs: Any) -> tuple[float, float]:
    """Adaptation b after a spike: 0."""
    layer = sinabs.layers.ALIF(tau_mem=5.0, tau_adapt=2.0, norm_input=False)
    layer(torch.tensor([[[2.0]]]))
    return 0.0, float(layer.b.detach())


def alif_bump(sinabs: Any) -> tuple[float, float]:
    """Rise of the threshold after one spike: adapt_scale."""
    layer = sinabs.layers.ALIF(tau_mem=5.0, tau_adapt=100.0, adapt_scale=1.8, norm_input=False)
    layer(torch.tensor([[[2.0]]]))
    return 1.8, float(layer.spike_threshold.detach()) - 1.0


def alif_synapse(sinabs: Any) -> tuple[float, float]:
    """Decay of the synaptic current of ALIF in one step: exp(-1 / tau_syn)."""
    layer = sinabs.layers.ALIF(5.0, 10.0, tau_syn=5.0, spike_threshold=torch.tensor(1e6))
    layer.record_states = True
    x = torch.zeros(1, 3, 1)
    x[:, 0] = 1.0
    layer(x)
    potential = layer.v_mem.detach().item()
    decay, alpha, current, v = math.exp(-1 / 5), math.exp(-1 / 5), 0.0, 0.0
    for value in (1.0, 0.0, 0.0):
        current = decay * (current + value)
        v = alpha * v + (1 - alpha) * current
    return v, potential


def alif_synapse_input(sinabs: Any) -> tuple[float, float]:
    """Synaptic current after the first input of 1: input as it is, i(t+1) = ... + input."""
    layer = sinabs.layers.ALIF(5.0, 10.0, tau_syn=5.0, norm_input=False, spike_threshold=torch.tensor(1e6))
    layer(torch.ones(1, 1, 1))
    return 1.0, float(layer.v_mem.detach())


def alif_chunks(sinabs: Any) -> tuple[float, float]:
    """Potential after four steps in one call, and in two calls of two, without a reset between them."""
    x, found = torch.ones(1, 4, 1), []
    for chunks in (1, 2):
        layer = sinabs.layers.ALIF(5.0, 10.0, tau_syn=20.0, norm_input=False, spike_threshold=torch.tensor(1e6))
        for chunk in x.chunk(chunks, dim=1):
            layer(chunk)
        found.append(float(layer.v_mem.detach()))
    return found[0], found[1]


def alif_copy(sinabs: Any) -> tuple[float, float]:
    """norm_input of a deep copy of a layer with norm_input=False."""
    return 0.0, float(copy.deepcopy(sinabs.layers.ALIF(5.0, 10.0, norm_input=False)).norm_input)


def alif_start(sinabs: Any) -> tuple[float, float]:
    """The attribute spike_threshold of a layer that has not been called yet: 1."""
    return 1.0, float(sinabs.layers.ALIF(5.0, 10.0, shape=(1, 1)).spike_threshold)


def alif_frozen(sinabs: Any) -> tuple[float, float]:
    """Trainable parameters of ALIF(train_alphas=True) after it was printed: three."""
    layer = sinabs.layers.ALIF(5.0, 10.0, tau_syn=5.0, train_alphas=True)
    repr(layer)
    return 3.0, float(sum(parameter.requires_grad for parameter in layer.parameters()))


def alif_printed(sinabs: Any) -> tuple[float, float]:
    """Printing ALIF(train_alphas=True) without synapse: one text."""
    try:
        return 1.0, float(bool(repr(sinabs.layers.ALIF(5.0, 10.0, train_alphas=True))))
    except AttributeError:
        return 1.0, math.nan


def adaptive_probes() -> Iterator[Probe]:
    """Statements about ALIF."""
    subject = "layers.ALIF"
    for reset in ("MembraneSubtract", "MembraneReset"):
        yield sinabs_probe(
            "ALIF.threshold-gradient",
            subject,
            "gradient",
            "'if V(t) >= B(t)', B(t+1) = b0 + adapt_scale b(t), b(t+1) = rho b(t) + (1-rho) s(t); tau_adapt is a "
            "Parameter, trained: 'exp(-1/tau) is used for training rather than tau itself'",
            "the spike functions return None for the threshold, so no gradient passes from a spike to the adaptive "
            "threshold: tau_adapt is trained through the reset only, and not at all with MembraneReset",
            alif_adaptation,
            reset,
            uses=(linear_spike,),
            tolerance=1e-3,
        )
    for key, kind, says, found, measure in (
        (
            "reset",
            "documentation",
            "'V_mem -> V_mem - b0'",
            "the default reset subtracts the adaptive threshold B(t), not b0",
            alif_reset,
        ),
        (
            "reset-adaptation",
            "documentation",
            "'if V_mem(t) >= B(t), then ... b -> 0'",
            "b is not reset, it jumps to rho b + (1 - rho), as another equation of the same docstring says",
            alif_reset_adaptation,
        ),
        (
            "adapt_scale",
            "documentation",
            "adapt_scale: 'the amount that the spike threshold is bumped up for every spike'",
            "the threshold rises by adapt_scale (1 - rho), as in the equations",
            alif_bump,
        ),
        (
            "synaptic-equation",
            "documentation",
            "'i(t+1) = alpha_syn i(t) (1 - alpha_syn) + input'",
            "the code is i(t+1) = alpha_syn (i(t) + input)",
            alif_synapse_input,
        ),
        (
            "synaptic-decay",
            "forward",
            "tau_syn: 'apply an exponential decay kernel to the input', exp(-1 / tau_syn) a step, as LIF does",
            "with norm_input the scaled current is stored as the state: it decays by alpha_syn (1 - alpha_mem)",
            alif_synapse,
        ),
        (
            "synaptic-state",
            "state",
            "a stateful layer with the state i_syn, which persists until reset",
            "forward never stores i_syn back: it starts from zero in every call",
            alif_chunks,
        ),
        (
            "deepcopy",
            "state",
            "_param_dict holds 'all parameters relevant for creating a new instance with same parameters as self'",
            "norm_input is missing: copy.deepcopy turns norm_input=False into True",
            alif_copy,
        ),
        (
            "initial-threshold",
            "state",
            "spike_threshold: 'The current spike threshold', 'By default set to 1.0'",
            "a state like v_mem, it is 0 at the start and after reset_states, until the first step",
            alif_start,
        ),
        (
            "train_alphas-frozen",
            "gradient",
            "train_alphas: 'the discrete decay factor exp(-1/tau) is used for training'",
            "printing or copying the layer, or reading arg_dict, detaches the Parameters: none is trained any more",
            alif_frozen,
        ),
        (
            "train_alphas-repr",
            "state",
            "train_alphas=True with tau_syn=None, the default",
            "repr, copy.deepcopy and arg_dict raise an AttributeError",
            alif_printed,
        ),
    ):
        yield sinabs_probe(f"ALIF.{key}", subject, kind, says, found, measure)
