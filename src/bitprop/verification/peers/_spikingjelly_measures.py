"""Measurements of SpikingJelly's neurons, one function for each statement of the documentation.

What a function returns is (documented, computed); a crash where the documentation promises a result is NaN.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from bitprop.verification.peers._probes import linear_spike, worst_pair
from bitprop.verification.peers._spikingjelly_formulas import atan, rect, sigmoid

__all__ = [
    "cuba_lif",
    "dsr_bits",
    "dsr_if_threshold",
    "dsr_input",
    "dsr_lif_threshold",
    "few_spike",
    "flexible",
    "gated_lif_start",
    "if_functional_gradient",
    "ilc_dynamics",
    "ilc_input_kept",
    "ilc_leaf",
    "ilc_soft_reset",
    "izhikevich_detached",
    "leaky_readout",
    "liaf_gradient",
    "liaf_multi_step",
    "liaf_threshold_related",
    "lstm_cell_state",
    "modes_of",
    "mpbn_folded_reset",
    "mpbn_soft_reset",
    "mpbn_threshold",
    "mpbn_training",
    "noisy_soft_reset",
    "online_gradient",
    "plif_start",
    "psn_of",
    "shared_surrogate",
    "sliding_weight_size",
    "synapse_filter",
]


def liaf_multi_step(sj: Any) -> tuple[float, float]:
    """First output of a LIAF neuron in multi-step mode: act(h) with h = 0 + (0.8 - 0) / 2."""
    node = sj.neuron.LIAFNode(act=torch.tanh, threshold_related=False, tau=2.0, step_mode="m")
    return math.tanh(0.4), float(node(torch.full((3, 1), 0.8))[0])


def liaf_threshold_related(sj: Any, mode: str) -> tuple[float, float]:
    """First output of a LIAF neuron in threshold-related mode: act(h - v_th)."""
    node = sj.neuron.LIAFNode(act=torch.tanh, threshold_related=True, tau=2.0, step_mode=mode)
    x = torch.full((3, 1), 0.8)
    return math.tanh(0.4 - 1.0), float(node(x)[0] if mode == "m" else node(x[0]))


def liaf_gradient(sj: Any) -> tuple[float, float]:
    """Gradient of the same output with respect to the input: act'(h) / tau."""
    node = sj.neuron.LIAFNode(act=torch.tanh, threshold_related=False, tau=2.0, step_mode="m")
    x = torch.full((1, 1), 0.8, requires_grad=True)
    node(x).sum().backward()
    return (1 - math.tanh(0.4) ** 2) / 2.0, float(x.grad)  # type: ignore[arg-type]


def ilc_input_kept(sj: Any, name: str) -> tuple[float, float]:
    """Entries of the input that a forward pass leaves as they are, of 24."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        node = getattr(sj.neuron, name)(act_dim=3, dec_pop_dim=2)
    x = torch.ones(4, 1, 6)
    with torch.no_grad():
        node(x)
    return 24.0, float((x == 1.0).sum())


def ilc_leaf(sj: Any, name: str) -> tuple[float, float]:
    """Gradients that reach an input that is a leaf: 24 entries."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        node = getattr(sj.neuron, name)(act_dim=3, dec_pop_dim=2)
    x = torch.ones(4, 1, 6, requires_grad=True)
    try:
        node(x).sum().backward()
    except RuntimeError:
        return 24.0, math.nan
    return 24.0, float(x.grad.numel())  # type: ignore[union-attr]


def ilc_soft_reset(sj: Any, name: str) -> tuple[float, float]:
    """Voltage after one spike, v_reset=None: input 1.5 less the threshold of 1."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            node = getattr(sj.neuron, name)(act_dim=1, dec_pop_dim=1, v_threshold=1.0, v_reset=None)
            node(torch.full((1, 1, 1), 1.5))
        except TypeError:
            return 0.5, math.nan
    return 0.5, float(node.v)


def ilc_dynamics(sj: Any, name: str, c_decay: float | None, v_decay: float) -> tuple[float, float]:
    """Spikes and gradient of an ILC neuron, from the documented charge, fire, reset and connection."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        node = getattr(sj.neuron, name)(act_dim=3, dec_pop_dim=2, v_threshold=1.0).double()
    x = torch.rand(5, 2, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 1.5
    leaf, twin = x.clone().requires_grad_(), x.clone().requires_grad_()
    spikes = node(leaf * 1.0)
    c, v, back, outputs = torch.zeros_like(x[0]), torch.zeros_like(x[0]), torch.zeros_like(x[0]), []
    for x_t in twin:
        c = (x_t + back) if c_decay is None else c * c_decay + (x_t + back)
        v = v * v_decay + c
        s = linear_spike(v - 1.0, lambda z: rect(z, 1.0))
        v = (1.0 - s) * v
        back = node.conn(s.view(-1, 3, 2)).view(-1, 6)
        outputs.append(s)
    weights = torch.linspace(-1, 2, x.numel(), dtype=torch.float64).view_as(x)
    (computed,) = torch.autograd.grad((spikes * weights).sum(), leaf)
    (documented,) = torch.autograd.grad((torch.stack(outputs) * weights).sum(), twin)
    return worst_pair(torch.cat([torch.stack(outputs), documented]), torch.cat([spikes, computed]))


def noisy_soft_reset(sj: Any) -> tuple[float, float]:
    """Voltage after one spike with v_reset=None, which the signature and neuronal_reset provide for."""
    node = sj.neuron.NoisyCUBALIFNode(1, v_threshold=1.0, v_reset=None, is_training=False, T=1)
    try:
        node(torch.full((1, 1, 1), 1.5))
    except TypeError:
        return 0.5, math.nan
    return 0.5, float(node.v)


def dsr_lif_threshold(sj: Any) -> tuple[float, float]:
    """d output / d v_threshold where every step fires: each output is then v_threshold / delta_t, no surrogate."""
    node = sj.neuron.DSRLIFNode(T=5, v_threshold=1.0, delta_t=0.05)
    node(torch.full((5, 1, 1), 1000.0)).sum().backward()
    return 5 / 0.05, float(node.v_threshold.grad)


def dsr_if_threshold(sj: Any) -> tuple[float, float]:
    """d output / d v_threshold where every step fires: each output is then v_threshold."""
    node = sj.neuron.DSRIFNode(T=5, v_threshold=6.0)
    node(torch.full((5, 1, 1), 1000.0)).sum().backward()
    return 5.0, float(node.v_threshold.grad)


def dsr_input(sj: Any, name: str, rate: float) -> tuple[float, float]:
    """d (sum of outputs) / d input where the rate is below saturation: 1 for IF, 1 / tau for LIF."""
    node = getattr(sj.neuron, name)(T=5)
    x = torch.full((5, 1, 1), 1.0, requires_grad=True)
    node(x).sum().backward()
    return rate, float(x.grad[2])  # type: ignore[index]


def dsr_bits(sj: Any, name: str) -> tuple[float, float]:
    """Bits of the output of a module in float64."""
    node = getattr(sj.neuron, name)(T=2).double()
    return 64.0, float(torch.finfo(node(torch.ones(2, 1, 1, dtype=torch.float64)).dtype).bits)


def mpbn_threshold(sj: Any) -> tuple[float, float]:
    """Spike at an input between 1 and v_threshold = 2: none is due."""
    node = sj.neuron.MPBNLIFNode(v_threshold=2.0, learnable_vth=True, out_features=1, mpbn=False)
    return 0.0, float(node(torch.tensor([[1.5]])).detach())


def mpbn_soft_reset(sj: Any) -> tuple[float, float]:
    """Voltage after a spike at 3.5 with a learnt threshold of 3 and soft reset: 0.5."""
    node = sj.neuron.MPBNLIFNode(v_threshold=1.0, v_reset=None, learnable_vth=True, out_features=1, mpbn=False)
    with torch.no_grad():
        node.a.fill_(math.log(3.0))
    node(torch.tensor([[3.5]]))
    return 0.5, float(node.v.detach())


def mpbn_folded_reset(sj: Any) -> tuple[float, float]:
    """After folding, soft reset of channel 0 (threshold 1) at width 1, from 5: 4."""
    node = sj.neuron.MPBNLIFNode(out_channels=2, learnable_vth=True, v_reset=None).eval()
    with torch.no_grad():
        node.a.copy_(torch.tensor([0.0, 1.0]))
    node.re_parameterize_v_threshold()
    node(torch.full((1, 2, 1, 2), 5.0))
    return 4.0, float(node.v[0, 0, 0, 1].detach())


def mpbn_training(sj: Any) -> tuple[float, float]:
    """Spikes and gradient of MPBN in training: H' = BN(H) before firing, hard reset after."""
    node = sj.neuron.MPBNLIFNode(tau=2.0, v_threshold=0.5, out_features=3, step_mode="m").double()
    x = torch.rand(4, 6, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 2
    leaf, twin = x.clone().requires_grad_(), x.clone().requires_grad_()
    spikes, v, outputs = node(leaf), torch.zeros_like(x[0]), []
    for x_t in twin:
        h = v - v / 2.0 + x_t
        h = (h - h.mean(0)) / torch.sqrt(h.var(0, unbiased=False) + 1e-5)
        s = linear_spike(h - 0.5, lambda z: sigmoid(z, 4.0))
        v = (1.0 - s) * h
        outputs.append(s)
    weights = torch.linspace(-1, 2, x.numel(), dtype=torch.float64).view_as(x)
    (computed,) = torch.autograd.grad((spikes * weights).sum(), leaf)
    (documented,) = torch.autograd.grad((torch.stack(outputs) * weights).sum(), twin)
    return worst_pair(torch.cat([torch.stack(outputs), documented]), torch.cat([spikes, computed]))


def izhikevich_detached(sj: Any) -> tuple[float, float]:
    """dV/dX after a spike with detach_reset and v_reset = -0.5: v_reset g(h - 1) / tau if that term stays."""
    v, x = torch.zeros(1), torch.tensor([[3.0]], requires_grad=True)
    _, voltage, _, _, _ = sj.functional.izhikevich_multi_step(
        x, v, torch.zeros(1), tau=2.0, v_reset=-0.5, a0=1.0, v_rest=0.0, v_c=0.8, detach_reset=True
    )
    voltage.sum().backward()
    s = 1 / (1 + math.exp(-4.0 * (1.5 - 1.0)))
    return -0.5 * 4.0 * s * (1 - s) / 2.0, float(x.grad)  # type: ignore[arg-type]


def if_functional_gradient(sj: Any) -> tuple[float, float]:
    """RuntimeErrors that if_multi_step raises for an input that requires a gradient: one is documented."""
    try:
        sj.functional.if_multi_step(torch.rand(2, 1).requires_grad_(), torch.zeros(1))
    except RuntimeError:
        return 1.0, 1.0
    return 1.0, 0.0


def psn_of(sj: Any, what: str) -> tuple[float, float]:
    """S = step(W X - B) with B = -bias, and its gradient; W masked, or sliding, as documented."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        node = {
            "PSN": lambda: sj.neuron.PSN(5),
            "MaskedPSN": lambda: sj.neuron.MaskedPSN(k=2, T=5, lambda_init=0.5, step_mode="m"),
            "SlidingPSN": lambda: sj.neuron.SlidingPSN(k=3, step_mode="m"),
            "SlidingPSN-s": lambda: sj.neuron.SlidingPSN(k=3, step_mode="s"),
            "MaskedPSN-s": lambda: sj.neuron.MaskedPSN(k=2, T=5, lambda_init=1.0, step_mode="s"),
        }[what]().double()
    x = torch.rand(5, 2, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64) * 4 - 1
    leaf = x.clone().requires_grad_()
    spikes = node(leaf) if "-s" not in what else torch.stack([node(x_t) for x_t in leaf])
    weight = node.weight.detach()
    if what.startswith("Masked"):
        share = 0.5 if what == "MaskedPSN" else 1.0
        mask = torch.tensor([[float(j <= i <= j + 1) for j in range(5)] for i in range(5)], dtype=torch.float64)
        weight = (share * mask + 1.0 - share) * weight
    if what.startswith("Sliding"):
        sliding = torch.zeros(5, 5, dtype=torch.float64)
        for t in range(5):
            for i in range(3):
                if t - 2 + i >= 0:
                    sliding[t, t - 2 + i] = weight[i]
        weight = sliding
    twin = x.clone().requires_grad_()
    h = (weight @ twin.flatten(1) + node.bias.detach()).view_as(x)
    s = linear_spike(h, lambda z: atan(z, 2.0))
    (computed,) = torch.autograd.grad((spikes * torch.arange(30.0).view_as(x)).sum(), leaf)
    (documented,) = torch.autograd.grad((s * torch.arange(30.0).view_as(x)).sum(), twin)
    return worst_pair(torch.cat([s, documented]), torch.cat([spikes, computed]))


def synapse_filter(sj: Any, learnable: bool) -> tuple[float, float]:
    """I(t) = I(t-1) - (1 - S(t)) I(t-1) / tau + S(t), and its gradient."""
    node = sj.layer.SynapseFilter(tau=3.0, learnable=learnable, step_mode="m").double()
    x = torch.rand(5, 2, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    leaf, twin = x.clone().requires_grad_(), x.clone().requires_grad_()
    leaves, twins, rate = [leaf], [twin], torch.tensor(1 / 3.0, dtype=torch.float64)
    if learnable:
        twins.append(node.w.detach().clone().requires_grad_())
        leaves.append(node.w)
        rate = torch.sigmoid(twins[1])
    current, total = torch.zeros_like(x[0]), torch.zeros((), dtype=torch.float64)
    for x_t in twin:
        current = current - (1 - x_t) * current * rate + x_t
        total = total + current.square().sum()
    computed = torch.autograd.grad(node(leaf).square().sum(), leaves)
    documented = torch.autograd.grad(total, twins)
    return worst_pair(torch.cat([g.flatten() for g in documented]), torch.cat([g.flatten() for g in computed]))


def cuba_lif(sj: Any) -> tuple[float, float]:
    """Voltage and gradient of the current-based LIF: c decays by c_decay, v by v_decay, c drives v."""
    node = sj.neuron.CUBALIFNode(c_decay=0.6, v_decay=0.7, v_threshold=0.5)
    x = torch.rand(6, 4, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    leaf, twin = x.clone().requires_grad_(), x.clone().requires_grad_()
    spikes, c, v, outputs = torch.stack([node(x_t) for x_t in leaf]), torch.zeros_like(x[0]), torch.zeros_like(x[0]), []
    for x_t in twin:
        c = c * 0.6 + x_t
        v = v * 0.7 + c
        s = linear_spike(v - 0.5, lambda z: rect(z, 1.0))
        v = (1 - s) * v
        outputs.append(s)
    (computed,) = torch.autograd.grad((spikes * torch.arange(24.0).view_as(x)).sum() + node.v.sum(), leaf)
    (documented,) = torch.autograd.grad((torch.stack(outputs) * torch.arange(24.0).view_as(x)).sum() + v.sum(), twin)
    return worst_pair(torch.cat([torch.stack(outputs), documented]), torch.cat([spikes, computed]))


def online_gradient(sj: Any, name: str) -> tuple[float, float]:
    """d s[2] / d x of the first step in training: gradients through time are truncated."""
    node = getattr(sj.neuron, name)(tau=2.0)
    x = torch.full((3, 1), 0.9, requires_grad=True)
    outputs = [node(x_t) for x_t in x]
    last = outputs[2][0] if isinstance(outputs[2], list) else outputs[2]
    last.sum().backward()
    return 0.0, float(x.grad[0])  # type: ignore[index]


def modes_of(sj: Any, name: str, parameters: dict[str, Any], what: str) -> tuple[float, float]:
    """Step by step and all steps at once, where they differ most."""
    x = torch.rand(5, 3, 4, generator=torch.Generator().manual_seed(7), dtype=torch.float64) * 3 - 0.5
    results = []
    for mode in "sm":
        node = getattr(sj.neuron, name)(**parameters).double()
        node.step_mode = mode
        leaf = x.clone().requires_grad_()
        spikes = node(leaf) if mode == "m" else torch.stack([node(x_t) for x_t in leaf])
        (gradient,) = torch.autograd.grad((spikes * torch.arange(60.0).view_as(x)).sum() + node.v.sum(), leaf)
        results.append(spikes if what == "spikes" else gradient)
    return worst_pair(results[0], results[1])


def lstm_cell_state(sj: Any) -> tuple[float, float]:
    """c' = f c + i g with every gate and the old c at 1: 2."""
    with torch.random.fork_rng(devices=[]):
        cell = sj.rnn.SpikingLSTMCell(1, 1)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.fill_(1.0)
    _, c = cell(torch.ones(1, 1), (torch.ones(1, 1), torch.ones(1, 1)))
    return 2.0, float(c.detach())


def sliding_weight_size(sj: Any) -> tuple[float, float]:
    """Entries of the weight of SlidingPSN(k=3), listed as W_0 .. W_{k-1}."""
    return 3.0, float(sj.neuron.SlidingPSN(k=3).weight.numel())


def gated_lif_start(sj: Any) -> tuple[float, float]:
    """Initial linear decay of GLIF: v_threshold / (2 T)."""
    return 0.5 / 8, float(torch.sigmoid(sj.neuron.GatedLIFNode(T=4).linear_decay.detach()))


def plif_start(sj: Any) -> tuple[float, float]:
    """Initial 1 / tau of PLIF: sigmoid(w) = 1 / init_tau."""
    return 1 / 3.0, float(torch.sigmoid(sj.neuron.ParametricLIFNode(init_tau=3.0).w.detach()))


def few_spike(sj: Any, mode: str) -> tuple[float, float]:
    """Few-spike neuron: z_k = step(v - theta_k), y = sum d_k z_k, v = v - h_k z_k; value and gradient."""
    theta, h, d = [2.0, 1.0, 0.5], [2.0, 1.0, 0.5], [2.1, 1.1, 0.4]
    node = sj.neuron.FewSpikeNode(sj.neuron.FewSpikeTable(theta, h, d), step_mode=mode).double()
    x = torch.linspace(-1.0, 4.0, 12, dtype=torch.float64)
    leaf, twin = x.clone().requires_grad_(), x.clone().requires_grad_()
    out = node(leaf) if mode == "s" else node(torch.stack([leaf, leaf * 0.0, leaf * 0.0])).sum(0)
    v, y = twin, torch.zeros_like(twin)
    for threshold, step, weight in zip(theta, h, d, strict=True):
        z = linear_spike(v - threshold, lambda u: sigmoid(u, 4.0))
        y, v = y + weight * z, v - step * z
    (computed,) = torch.autograd.grad((out * torch.arange(12.0)).sum(), leaf)
    (documented,) = torch.autograd.grad((y * torch.arange(12.0)).sum(), twin)
    return worst_pair(torch.cat([y, documented]), torch.cat([out, computed]))


def flexible(sj: Any, mode: str) -> tuple[float, float]:
    """FlexSN of a LIF step with a learnable leak: spikes and gradients of input and leak."""
    spike = sj.surrogate.sigmoid.apply

    def core(x: Any, v: Any, leak: Any) -> tuple[Any, Any]:
        h = v * leak + x
        s = spike(h - 1.0, 4.0)
        return s, h * (1.0 - s)

    leak = torch.nn.Parameter(torch.tensor(0.7, dtype=torch.float64))
    node = sj.neuron.FlexSN(core, num_states=1, static_inputs=(leak,), step_mode=mode)
    x = torch.rand(6, 2, generator=torch.Generator().manual_seed(9), dtype=torch.float64) * 1.5
    leaf, twin, known = x.clone().requires_grad_(), x.clone().requires_grad_(), leak.detach().clone().requires_grad_()
    out = node(leaf) if mode == "m" else torch.stack([node(x_t) for x_t in leaf])
    v, outputs = torch.zeros_like(x[0]), []
    for x_t in twin:
        h = v * known + x_t
        s = linear_spike(h - 1.0, lambda z: sigmoid(z, 4.0))
        v = h * (1.0 - s)
        outputs.append(s)
    weights = torch.linspace(-1, 2, 12, dtype=torch.float64).view_as(x)
    computed = torch.autograd.grad((out * weights).sum(), [leaf, leak])
    documented = torch.autograd.grad((torch.stack(outputs) * weights).sum(), [twin, known])
    return worst_pair(
        torch.cat([torch.stack(outputs).flatten(), *(g.flatten() for g in documented)]),
        torch.cat([out.flatten(), *(g.flatten() for g in computed)]),
    )


def leaky_readout(sj: Any, name: str, tau: float) -> tuple[float, float]:
    """Mean voltage of a neuron that does not spike: V + (X - V) / tau, with tau = 1 for a sum."""
    node = sj.neuron.NonSpikingIFNode("mean-mem") if name == "NonSpikingIFNode" else None
    node = sj.neuron.NonSpikingLIFNode(tau, "mean-mem") if node is None else node
    x = torch.rand(5, 2, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    v, total = torch.zeros_like(x[0]), torch.zeros_like(x[0])
    for x_t in x:
        v = v + x_t if name == "NonSpikingIFNode" else v + (x_t - v) / tau
        total = total + v
    return worst_pair(total / 5, node(x))


def shared_surrogate(sj: Any, name: str) -> tuple[float, float]:
    """Output of a neuron below its threshold, after the primal was switched on in another one: no spike, 0."""
    first, second = getattr(sj.neuron, name)(), getattr(sj.neuron, name)()
    first.surrogate_function.set_spiking_mode(False)
    try:
        return 0.0, float(second(torch.full((1,), 0.5)).detach())
    finally:
        first.surrogate_function.set_spiking_mode(True)
