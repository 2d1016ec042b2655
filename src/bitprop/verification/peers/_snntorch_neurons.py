"""The recurrences that snnTorch documents, run over several steps beside the release: potentials and gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bitprop.verification.peers._probes import linear_spike, worst_pair

__all__ = [
    "alpha_run",
    "atan_slope",
    "conv_lstm_run",
    "lapicque_step",
    "leaky_step",
    "lstm_run",
    "parallel_run",
    "recurrent_leaky_step",
    "recurrent_synaptic_step",
    "run_of",
    "state_run",
    "synaptic_step",
]


def atan_slope(x: Tensor) -> Tensor:
    """Slope of arctan(pi x) / pi, the default surrogate."""
    return 1.0 / (1.0 + (math.pi * x) ** 2)


def leaky_step(u: Tensor, i: Tensor, x: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """U[t+1] = beta U[t] + I_in[t+1] before the reset, beta = 0.7."""
    return 0.7 * u + x, i


def synaptic_step(u: Tensor, i: Tensor, x: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """I_syn[t+1] = alpha I_syn[t] + I_in[t+1]; U[t+1] = beta U[t] + I_syn[t+1] before the reset; 0.6 and 0.7."""
    current = 0.6 * i + x
    return 0.7 * u + current, current


def lapicque_step(u: Tensor, i: Tensor, x: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """U[t+1] = I_in[t+1] T / C + (1 - T / tau) U[t] before the reset, with R = 2, C = 3, T = 1, tau = R C."""
    return x / 3.0 + (1.0 - 1.0 / 6.0) * u, i


def recurrent_leaky_step(u: Tensor, i: Tensor, x: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """U[t+1] = beta U[t] + I_in[t+1] + V S_out[t] before the reset, beta = 0.7, V = 0.4."""
    return 0.7 * u + x + 0.4 * s, i


def recurrent_synaptic_step(u: Tensor, i: Tensor, x: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """I_syn[t+1] = alpha I_syn[t] + V S_out[t] + I_in[t+1]; U[t+1] = beta U[t] + I_syn[t+1] before the reset."""
    current = 0.6 * i + 0.4 * s + x
    return 0.7 * u + current, current


def run_of(
    snntorch: Any,
    name: str,
    arguments: dict[str, Any],
    step: Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]],
    reset: str,
    what: str,
) -> tuple[float, float]:
    """Potentials of eight steps, or the gradient of weighted spikes with respect to the input, where they differ most.

    R = 1 in the step after U > U_thr, and carries no gradient.
    """
    neuron = getattr(snntorch, name)(init_hidden=True, output=True, reset_mechanism=reset, **arguments).double()
    x = 1.6 * torch.rand(8, 2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    leaf, twin = x.clone().requires_grad_(), x.clone().requires_grad_()
    outputs = [neuron(x_t) for x_t in leaf]
    u, i, s = torch.zeros_like(x[0]), torch.zeros_like(x[0]), torch.zeros_like(x[0])
    potentials, spikes = [], []
    for x_t in twin:
        r = (u.detach() > 1.0).to(u)
        u, i = step(u, i, x_t, s)
        if reset != "none":
            u = u - r * (1.0 if reset == "subtract" else u)
        s = linear_spike(u - 1.0, atan_slope)
        potentials.append(u)
        spikes.append(s)
    if what == "potentials":
        return worst_pair(torch.stack(potentials), torch.stack([output[-1] for output in outputs]))
    weights = torch.arange(-20.0, 28.0).view_as(x)
    (computed,) = torch.autograd.grad((torch.stack([output[0] for output in outputs]) * weights).sum(), leaf)
    (documented,) = torch.autograd.grad((torch.stack(spikes) * weights).sum(), twin)
    return worst_pair(documented, computed)


def alpha_run(snntorch: Any, what: str) -> tuple[float, float]:
    """Alpha with reset to zero: both currents over eight steps, alpha = 0.9 and beta = 0.8."""
    neuron = snntorch.Alpha(alpha=0.9, beta=0.8, init_hidden=True, output=True).double()
    x = 1.5 * torch.rand(8, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    u, exc, inh = torch.zeros_like(x[0]), torch.zeros_like(x[0]), torch.zeros_like(x[0])
    documented, computed = [], []
    for x_t in x:
        r = (u > 1.0).to(u)
        exc, inh = (1 - r) * (0.9 * exc + x_t), (1 - r) * (0.8 * inh - x_t)
        _, first, second, u = neuron(x_t)
        documented.append(exc if what == "excitatory" else inh)
        computed.append(first if what == "excitatory" else second)
    return worst_pair(torch.stack(documented), torch.stack(computed))


def lstm_run(snntorch: Any, inputs: int, reset: str, what: str) -> tuple[float, float]:
    """Potentials mem_t of SLSTM(inputs, 3) over four steps, or gradients of their sum, at their worst."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        cell = snntorch.SLSTM(inputs, 3, threshold=0.05, reset_mechanism=reset, init_hidden=True, output=True)
    x = 2.0 * torch.rand(4, 2, inputs, generator=torch.Generator().manual_seed(1))
    leaf, twin = x.clone().requires_grad_(), x.clone().requires_grad_()
    computed = torch.stack([cell(x_t)[2] for x_t in leaf])
    lstm, mem, syn, potentials = cell.lstm_cell, torch.zeros(2, 3), torch.zeros(2, 3), []
    for x_t in twin:
        r = (mem.detach() > 0.05).to(mem)
        gates = x_t @ lstm.weight_ih.T + lstm.bias_ih + mem @ lstm.weight_hh.T + lstm.bias_hh
        i, f, g, o = gates.chunk(4, 1)
        syn = torch.sigmoid(f) * syn + torch.sigmoid(i) * torch.tanh(g)
        mem = torch.sigmoid(o) * torch.tanh(syn)
        if reset != "none":
            mem = mem - r * (0.05 if reset == "subtract" else mem)
        potentials.append(mem)
    if what == "potentials":
        return worst_pair(torch.stack(potentials), computed)
    (right,) = torch.autograd.grad(torch.stack(potentials).sum(), twin)
    (left,) = torch.autograd.grad(computed.sum(), leaf)
    return worst_pair(right, left)


def conv_lstm_run(snntorch: Any, reset: str, what: str) -> tuple[float, float]:
    """Potentials mem_t of SConv2dLSTM(2, 3, 3) over four steps, or gradients of their sum, at their worst."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        cell = snntorch.SConv2dLSTM(2, 3, 3, threshold=0.05, reset_mechanism=reset, init_hidden=True, output=True)
    x = 2.0 * torch.rand(4, 1, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    leaf, twin = x.clone().requires_grad_(), x.clone().requires_grad_()
    computed = torch.stack([cell(x_t)[2] for x_t in leaf])
    mem, syn, potentials = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4), []
    for x_t in twin:
        r = (mem.detach() > 0.05).to(mem)
        gates = torch.nn.functional.conv2d(torch.cat([x_t, mem], 1), cell.conv.weight, cell.conv.bias, padding=1)
        i, f, o, g = gates.chunk(4, 1)
        syn = torch.sigmoid(f) * syn + torch.sigmoid(i) * torch.tanh(g)
        mem = torch.sigmoid(o) * torch.tanh(syn)
        if reset != "none":
            mem = mem - r * (0.05 if reset == "subtract" else mem)
        potentials.append(mem)
    if what == "potentials":
        return worst_pair(torch.stack(potentials), computed)
    (right,) = torch.autograd.grad(torch.stack(potentials).sum(), twin)
    (left,) = torch.autograd.grad(computed.sum(), leaf)
    return worst_pair(right, left)


def state_run(snntorch: Any, name: str, taps: int | None, what: str) -> tuple[float, float]:
    """Sum over k of exp(-k / tau) x[t-k], tau = 1 / (1 - beta), the most recent taps, or of a linear map of x."""
    arguments = {"in_features": 3, "out_features": 3} if name == "LinearLeaky" else {"channels": 3}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        neuron = getattr(snntorch, name)(beta=0.7, kernel_truncation_steps=taps, **arguments).double()
    x = torch.rand(6, 2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    leaf, twin = x.clone().requires_grad_(), x.clone().requires_grad_()
    spikes, mem = neuron(leaf)
    current = neuron.linear(twin) if name == "LinearLeaky" else twin
    decay = [math.exp(-0.3 * k) if taps is None or k < taps else 0.0 for k in range(6)]
    potentials = torch.stack([torch.stack([decay[k] * current[t - k] for k in range(t + 1)]).sum(0) for t in range(6)])
    if what == "potentials":
        return worst_pair(potentials, mem)
    weights = torch.arange(-10.0, 26.0).view_as(x)
    (right,) = torch.autograd.grad((linear_spike(potentials - 1.0, atan_slope) * weights).sum(), twin)
    (left,) = torch.autograd.grad((spikes * weights).sum(), leaf)
    return worst_pair(right, left)


def parallel_run(snntorch: Any, what: str) -> tuple[float, float]:
    """LeakyParallel: U[t+1] = beta U[t] + W x[t+1] + b, clipped at 0; spikes or gradient, where they differ most."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = snntorch.LeakyParallel(3, 4, beta=0.7, threshold=0.3, learn_beta=True, dtype=torch.float64)
    x = torch.rand(6, 2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 0.5
    leaf, twin = x.clone().requires_grad_(), x.clone().requires_grad_()
    spikes, u, outputs = layer(leaf), torch.zeros(2, 4, dtype=torch.float64), []
    beta = torch.full((4,), float(torch.tensor(0.7)), dtype=torch.float64, requires_grad=True)
    for x_t in twin:
        bias = layer.rnn.bias_ih_l0 + layer.rnn.bias_hh_l0
        u = torch.relu(beta * u + x_t @ layer.rnn.weight_ih_l0.T + bias)
        outputs.append(linear_spike(u - 0.3, atan_slope))
    if what == "spikes":
        return worst_pair(torch.stack(outputs), spikes)
    weights = torch.arange(-20.0, 28.0).view(6, 2, 4)
    right = torch.autograd.grad((torch.stack(outputs) * weights).sum(), [twin, beta])
    left = torch.autograd.grad((spikes * weights).sum(), [leaf, layer.rnn.weight_hh_l0])
    if what == "beta":
        return worst_pair(torch.diag(right[1]), left[1])
    return worst_pair(right[0], left[0])
