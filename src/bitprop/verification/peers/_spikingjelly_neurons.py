"""What SpikingJelly documents about the dynamics of its neurons: ``spikingjelly.activation_based.neuron``.

Every step function is transcribed from the docstring of a neuron and works on float64 tensors.  Its spikes carry the
documented slope of the surrogate, so that autograd through it is the documented gradient: of the input, of the final
voltage and of the learnable parameter.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from bitprop.verification.peers import _spikingjelly_formulas as f
from bitprop.verification.peers._probes import Probe, linear_spike, worst_pair

__all__ = ["neuron_probes"]

State = tuple[Tensor, ...]
Spike = Callable[[Tensor], Tensor]


def after_reset(h: Tensor, s: Tensor, v_threshold: float, v_reset: float | None, detach_reset: bool) -> Tensor:
    """Hard reset to v_reset, or soft reset by v_threshold where it is None; detach_reset cuts the spike there."""
    s = s.detach() if detach_reset else s
    return h - s * v_threshold if v_reset is None else (1 - s) * h + s * v_reset


def charged(x: Tensor, v: Tensor, tau: float | Tensor, decay_input: bool, v_reset: float | None) -> Tensor:
    """H[t] of LIF and its variants; V_reset is 0 for a soft reset."""
    rest = 0.0 if v_reset is None else v_reset
    return v + (x - (v - rest)) / tau if decay_input else v - (v - rest) / tau + x


def if_step(x: Tensor, state: State, spike: Spike, v_threshold: float, **p: Any) -> tuple[Tensor, State]:
    h = state[0] + x
    s = spike(h - v_threshold)
    return s, (after_reset(h, s, v_threshold, p.get("v_reset"), p["detach_reset"]),)


def activation_aware_step(
    x: Tensor, state: State, spike: Spike, v_threshold: float, v_reset: float | None, detach_reset: bool, **p: Any
) -> tuple[Tensor, State]:
    h = state[0] + x
    s = spike(h + p["v_offset"] - v_threshold)
    return s, (after_reset(h, s, v_threshold, v_reset, detach_reset),)


def lif_step(
    x: Tensor, state: State, spike: Spike, v_threshold: float, v_reset: float | None, detach_reset: bool, **p: Any
) -> tuple[Tensor, State]:
    h = charged(x, state[0], p["tau"], p["decay_input"], v_reset)
    s = spike(h - v_threshold)
    return s, (after_reset(h, s, v_threshold, v_reset, detach_reset),)


def plif_step(
    x: Tensor, state: State, spike: Spike, v_threshold: float, v_reset: float | None, detach_reset: bool, **p: Any
) -> tuple[Tensor, State]:
    h = charged(x, state[0], 1 / torch.sigmoid(p["w"]), p["decay_input"], v_reset)
    s = spike(h - v_threshold)
    return s, (after_reset(h, s, v_threshold, v_reset, detach_reset),)


def qif_step(
    x: Tensor, state: State, spike: Spike, v_threshold: float, v_reset: float | None, detach_reset: bool, **p: Any
) -> tuple[Tensor, State]:
    v = state[0]
    h = v + (x + p["a0"] * (v - p["v_rest"]) * (v - p["v_c"])) / p["tau"]
    s = spike(h - v_threshold)
    return s, (after_reset(h, s, v_threshold, v_reset, detach_reset),)


def eif_step(
    x: Tensor, state: State, spike: Spike, v_threshold: float, v_reset: float | None, detach_reset: bool, **p: Any
) -> tuple[Tensor, State]:
    v = state[0]
    h = v + (x - (v - p["v_rest"]) + p["delta_T"] * torch.exp((v - p["theta_rh"]) / p["delta_T"])) / p["tau"]
    s = spike(h - v_threshold)
    return s, (after_reset(h, s, v_threshold, v_reset, detach_reset),)


def raf_step(
    x: Tensor, state: State, spike: Spike, v_threshold: float, v_reset: float | None, detach_reset: bool, **p: Any
) -> tuple[Tensor, State]:
    v, u = state
    alpha, theta = math.exp(p["b"] * p["dt"]), p["omega"] * p["dt"]
    u, v = (
        alpha * (u * math.cos(theta) - v * math.sin(theta)) + x,
        alpha * (u * math.sin(theta) + v * math.cos(theta)),
    )
    s = spike(v - v_threshold)
    return s, (after_reset(v, s, v_threshold, v_reset, detach_reset), u)


def ternary_step(
    x: Tensor, state: State, spike: Spike, v_threshold: float, v_reset: float | None, detach_reset: bool, **p: Any
) -> tuple[Tensor, State]:
    h = charged(x, state[0], p["tau"], p["decay_input"], v_reset) if "tau" in p else state[0] + x
    positive, negative = spike(h - v_threshold), spike(-h - v_threshold)
    s = positive - negative
    event = s if v_reset is None else positive + negative
    return s, (after_reset(h, event, v_threshold, v_reset, detach_reset),)


def klif_step(
    x: Tensor, state: State, spike: Spike, v_threshold: float, v_reset: float | None, detach_reset: bool, **p: Any
) -> tuple[Tensor, State]:
    k = p["k"]
    fired = torch.relu(k * charged(x, state[0], p["tau"], p["decay_input"], v_reset))
    s = spike(fired - v_threshold)
    cut = s.detach() if detach_reset else s
    if p["scale_reset"]:
        v = (fired - cut * v_threshold) / k if v_reset is None else fired / k * (1 - cut) + v_reset * cut
    else:
        v = after_reset(fired, s, v_threshold, v_reset, detach_reset)
    return s, (v,)


def clif_step(x: Tensor, state: State, spike: Spike, v_threshold: float, tau: float) -> tuple[Tensor, State]:
    v, m = state
    h = (1 - 1 / tau) * v + x
    s = spike(h - v_threshold)
    m = m * torch.sigmoid(h / tau) + s
    return s, (h - s * (v_threshold + torch.sigmoid(m)), m)


def ilif_step(
    x: Tensor, state: State, spike: Spike, v_threshold: float, tau: float, detach_reset: bool
) -> tuple[Tensor, State]:
    h = (1 - 1 / tau) * state[0] + x
    scaled = h / v_threshold
    inside = ((scaled >= 0) & (scaled <= 4)).to(h).detach()
    s = scaled.clamp(0, 4).round().detach() + inside * (scaled - scaled.detach())
    return s, (h - (s.detach() if detach_reset else s) * v_threshold,)


def neuron_of(
    sj: Any,
    name: str,
    parameters: dict[str, Any],
    how: tuple[str, str, torch.dtype],
    step: Callable[..., tuple[Tensor, tuple[Tensor, ...]]],
    learnable: str | None,
    slope: Callable[[Tensor, float], Tensor],
    alpha: float,
) -> tuple[float, float]:
    """Spikes, final voltage or gradient as documented and as computed, over six steps, where they differ most."""
    what, mode, dtype = how
    x = torch.rand(6, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 4.4 - 1.0
    weights = torch.linspace(-1, 2, x.numel(), dtype=torch.float64).view_as(x)
    node = getattr(sj.neuron, name)(**parameters, step_mode=mode).to(dtype)
    leaf = x.to(dtype).clone().requires_grad_()
    spikes = node(leaf) if mode == "m" else torch.stack([node(x_t) for x_t in leaf])
    twin = x.clone().requires_grad_()
    start = node.v_threshold / 2 if name == "HalfThresholdIFNode" else parameters.get("v_reset") or 0.0
    states: tuple[Tensor, ...] = (torch.full_like(x[0], start), torch.zeros_like(x[0]))[: len(node._memories)]
    leaves, twins, known = [leaf], [twin], dict(parameters)
    if learnable is not None:
        leaves.append(getattr(node, learnable))
        twins.append(leaves[1].detach().double().requires_grad_())
        known[learnable] = twins[1]
    outputs = []
    for x_t in twin:
        s, states = step(x_t, states, lambda u: linear_spike(u, lambda z: slope(z, alpha)), **known)
        outputs.append(s)
    if what == "spikes":
        return worst_pair(torch.stack([*outputs, states[0]]), torch.cat([spikes, node.v[None]]).double())
    computed = torch.autograd.grad((spikes * weights.to(dtype)).sum() + 0.7 * node.v.sum(), leaves)
    documented = torch.autograd.grad((torch.stack(outputs) * weights).sum() + 0.7 * states[0].sum(), twins)
    size = max(1.0, float(documented[0].abs().max()))
    return worst_pair(
        torch.cat([g.flatten() for g in documented]) / size, torch.cat([g.flatten() for g in computed]).double() / size
    )


_Entry = tuple[str, Callable[..., Any], str | None, tuple[dict[str, Any], ...]]
_RESETS = ({"v_reset": None}, {"v_reset": 0.0}, {"v_reset": -0.3})
_DETACH = ({"detach_reset": False}, {"detach_reset": True})
_DECAY = ({"decay_input": False}, {"decay_input": True})
_SCALE = ({"scale_reset": False}, {"scale_reset": True})
_EXACT = ({"v_threshold": 0.875},)  # kept as a float32 buffer
_THRESHOLD = ({"v_threshold": 0.9},)


def _grid(*axes: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
    return tuple({key: value for part in parts for key, value in part.items()} for parts in itertools.product(*axes))


_BASE = (_THRESHOLD, _RESETS, _DETACH)
_ENTRIES: tuple[_Entry, ...] = (
    ("IFNode", if_step, None, _grid(*_BASE)),
    ("SimpleIFNode", if_step, None, _grid(_THRESHOLD, _RESETS[:2], _DETACH)),
    ("HalfThresholdIFNode", if_step, None, _grid(_THRESHOLD, _DETACH)),
    ("ActivationAwareIFNode", activation_aware_step, None, _grid(_EXACT, _RESETS, _DETACH, ({"v_offset": 0.25},))),
    ("LIFNode", lif_step, None, _grid(*_BASE, _DECAY, ({"tau": 2.3},))),
    ("SimpleLIFNode", lif_step, None, _grid(_THRESHOLD, _RESETS[1:2], _DETACH, _DECAY, ({"tau": 2.3},))),
    ("ParametricLIFNode", plif_step, "w", _grid(*_BASE, _DECAY, ({"init_tau": 2.3},))),
    ("QIFNode", qif_step, None, _grid(*_BASE, ({"tau": 2.1, "v_rest": 0.1, "v_c": 0.7, "a0": 1.3},))),
    ("EIFNode", eif_step, None, _grid(*_BASE, ({"tau": 2.1, "v_rest": 0.1, "delta_T": 0.9, "theta_rh": 0.8},))),
    ("RAFNode", raf_step, None, _grid(*_BASE, ({"b": -0.2, "omega": 1.1, "dt": 0.7},))),
    ("TernaryIFNode", ternary_step, None, _grid(*_BASE)),
    ("TernaryLIFNode", ternary_step, None, _grid(*_BASE, _DECAY, ({"tau": 2.3},))),
    ("KLIFNode", klif_step, "k", _grid(*_BASE, _DECAY, _SCALE, ({"tau": 2.3},))),
    ("ComplementaryLIFNode", clif_step, None, _grid(_THRESHOLD, ({"tau": 2.1},))),
    ("ILIFNode", ilif_step, None, _grid(_THRESHOLD, ({"tau": 2.1},), _DETACH)),
)
_QUOTE = "'the sub-threshold neural dynamics', firing and reset as in the docstring"


def neuron_probes() -> Iterator[Probe]:
    """Dynamics and gradients of every neuron with documented equations, step by step and at once, in two precisions."""
    for name, step, learnable, configurations in _ENTRIES:
        slope, alpha = (f.rect, 1.0) if name == "ComplementaryLIFNode" else (f.sigmoid, 4.0)
        for parameters in configurations:
            for what, mode, dtype in itertools.product(("spikes", "gradient"), "sm", (torch.float32, torch.float64)):
                yield Probe(
                    key=f"spikingjelly.{name}.{what}",
                    subject=f"neuron.{name}",
                    kind="gradient" if what == "gradient" else "forward",
                    says=_QUOTE,
                    found=f"the {what} of step_mode={mode!r} differ from the documented equations",
                    measure=neuron_of,
                    arguments=(name, parameters, (what, mode, dtype), step, learnable, slope, alpha),
                    uses=(worst_pair, linear_spike, after_reset, charged),
                    tolerance=1e-4 if dtype == torch.float32 else 1e-10,
                )
