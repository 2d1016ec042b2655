"""The recurrences that Norse documents, one Euler step at a time, beside the release: spikes, states, gradients.

A ``call`` is the release's step with the triangular surrogate, a ``step`` the documented one; both take an input and
a tuple of states and return spikes and states.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bitprop.verification.peers._probes import linear_spike, worst_pair

__all__ = [
    "MODELS",
    "adaptive_call",
    "adaptive_step",
    "box_call",
    "box_step",
    "coba_call",
    "coba_recurrent_call",
    "coba_recurrent_step",
    "coba_step",
    "exponential_call",
    "exponential_step",
    "fire_call",
    "fire_step",
    "izhikevich_call",
    "izhikevich_step",
    "leaky_call",
    "leaky_step",
    "lif_call",
    "lif_step",
    "recurrent_call",
    "recurrent_step",
    "run_of",
    "spike",
    "subtract_call",
    "subtract_step",
    "weights_of",
]

Step = Callable[..., tuple[Tensor, tuple[Tensor, ...]]]


def spike(x: Tensor) -> Tensor:
    """A step whose slope is 0.5 max(0, 1 - |x|): Norse's triangle with alpha = 0.5."""
    return linear_spike(x, lambda z: 0.5 * torch.relu(1.0 - z.abs()))


def weights_of(rows: int, columns: int, size: float) -> Tensor:
    """Weights that are the same in every run, with both signs."""
    return torch.linspace(-0.4 * size, size, rows * columns, dtype=torch.float64).view(rows, columns)


def lif_call(nt: Any, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """lif_feed_forward_step."""
    lif = nt.functional.lif
    return lif.lif_feed_forward_step(  # type: ignore[no-any-return]
        x, lif.LIFFeedForwardState(*state), lif.LIFParameters(method="triangle", alpha=0.5)
    )


def lif_step(x: Tensor, state: tuple[Tensor, ...], cut: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """v' = (v_leak - v + i) / tau_mem, i' = -i / tau_syn; z = H(v - v_th); v = (1 - z) v + z v_reset; i = i + i_in."""
    v, i = state
    i = i + x
    v = v + 0.1 * (i - v)
    z = spike(v - 1.0)
    return z, ((1 - (z.detach() if cut else z)) * v, i - 0.2 * i)


def recurrent_call(nt: Any, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """lif_step, with recurrent weights."""
    lif = nt.functional.lif
    p = lif.LIFParameters(method="triangle", alpha=0.5)
    return lif.lif_step(  # type: ignore[no-any-return]
        x, lif.LIFState(*state), weights_of(3, 3, 2.0), weights_of(3, 3, 0.5), p
    )


def recurrent_step(x: Tensor, state: tuple[Tensor, ...], cut: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """v = (1 - z) v + z v_reset; i = i + w_input z_in; i = i + w_rec z_rec; otherwise as without recurrence."""
    z, v, i = state
    z, (v, i) = lif_step(x @ weights_of(3, 3, 2.0).T + z @ weights_of(3, 3, 0.5).T, (v, i), cut)
    return z, (z, v, i)


def box_call(nt: Any, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """lif_box_feed_forward_step, reset to a value."""
    box = nt.functional.lif_box
    p = box.LIFBoxParameters(method="triangle", alpha=0.5)
    return box.lif_box_feed_forward_step(3.0 * x, box.LIFBoxFeedForwardState(*state), p)  # type: ignore[no-any-return]


def box_step(x: Tensor, state: tuple[Tensor, ...], cut: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """v' = (v_leak - v + i) / tau_mem; z = H(v - v_th); v = (1 - z) v + z v_reset."""
    v = state[0] + 0.1 * (3.0 * x - state[0])
    z = spike(v - 1.0)
    return z, ((1 - z) * v,)


def subtract_call(nt: Any, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """lif_box_feed_forward_step, reset by subtraction."""
    box = nt.functional.lif_box
    p = box.LIFBoxParameters(method="triangle", alpha=0.5, reset_method=nt.functional.reset.reset_subtract)
    return box.lif_box_feed_forward_step(3.0 * x, box.LIFBoxFeedForwardState(*state), p)  # type: ignore[no-any-return]


def subtract_step(x: Tensor, state: tuple[Tensor, ...], cut: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """As reset to a value, but v = v - z v_th."""
    v = state[0] + 0.1 * (3.0 * x - state[0])
    z = spike(v - 1.0)
    return z, (v - z,)


def fire_call(nt: Any, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """iaf_feed_forward_step."""
    iaf = nt.functional.iaf
    p = iaf.IAFParameters(v_reset=torch.zeros(()), method="triangle", alpha=0.5)
    return iaf.iaf_feed_forward_step(0.4 * x, iaf.IAFFeedForwardState(*state), p)  # type: ignore[no-any-return]


def fire_step(x: Tensor, state: tuple[Tensor, ...], cut: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """v = v + input; z = H(v - v_th); v = (1 - z) v + z v_reset."""
    v = state[0] + 0.4 * x
    z = spike(v - 1.0)
    return z, ((1 - z) * v,)


def exponential_call(nt: Any, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """lif_ex_feed_forward_step."""
    ex = nt.functional.lif_ex
    p = ex.LIFExParameters(method="triangle", alpha=0.5)
    return ex.lif_ex_feed_forward_step(x, ex.LIFExFeedForwardState(*state), p)  # type: ignore[no-any-return]


def exponential_step(x: Tensor, state: tuple[Tensor, ...], cut: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """v' = (v_leak - v + i + D exp((v - v_th) / D)) / tau_mem, D = 0.5; otherwise as the LIF neuron."""
    v, i = state
    i = i + x
    v = v + 0.1 * (i - v + 0.5 * torch.exp((v - 1.0) / 0.5))
    z = spike(v - 1.0)
    return z, ((1 - z) * v, i - 0.2 * i)


def adaptive_call(nt: Any, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """lif_adex_feed_forward_step, tau_ada = 10 ms."""
    adex = nt.functional.lif_adex
    p = adex.LIFAdExParameters(tau_ada_inv=torch.as_tensor(100.0), method="triangle", alpha=0.5)
    return adex.lif_adex_feed_forward_step(x, adex.LIFAdExFeedForwardState(*state), p)  # type: ignore[no-any-return]


def adaptive_step(x: Tensor, state: tuple[Tensor, ...], cut: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """v' with - a; a' = (a_current (v - v_leak) - a) / tau_ada; a = a + a_spike z; a_current = 4, a_spike = 0.02."""
    v, i, a = state
    i = i + x
    a_new = a + 0.1 * (4.0 * v - a)
    v = v + 0.1 * (i - v + 0.5 * torch.exp((v - 1.0) / 0.5) - a)
    z = spike(v - 1.0)
    return z, ((1 - z) * v, i - 0.2 * i, a_new + 0.02 * z)


def leaky_call(nt: Any, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """li_feed_forward_step: the voltage is the output."""
    li = nt.functional.leaky_integrator
    return li.li_feed_forward_step(x, li.LIState(*state))  # type: ignore[no-any-return]


def leaky_step(x: Tensor, state: tuple[Tensor, ...], cut: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """v' = (v_leak - v + i) / tau_mem, i' = -i / tau_syn, i = i + input."""
    v, i = state
    i = i + x
    v = v + 0.1 * (i - v)
    return v, (v, i - 0.2 * i)


def izhikevich_call(nt: Any, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """izhikevich_feed_forward_step, tau_inv = 25."""
    module = nt.functional.izhikevich
    p = module.IzhikevichParameters(0.02, 0.2, -65.0, 6.0, tau_inv=25.0, method="triangle", alpha=0.5)
    return module.izhikevich_feed_forward_step(40.0 * x, module.IzhikevichState(*state), p)  # type: ignore[no-any-return]


def izhikevich_step(x: Tensor, state: tuple[Tensor, ...], cut: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """v' = 0.04 v^2 + 5 v + 140 - u + I, u' = a (b v - u), in steps of 1/40 ms; at 30 mV v = c and u = u + d."""
    v, u = state
    u_new = u + 0.025 * 0.02 * (0.2 * v - u)
    v = v + 0.025 * (0.04 * v**2 + 5.0 * v + 140.0 - u + 40.0 * x)
    z = spike(v - 30.0)
    return z, ((1 - z) * v - 65.0 * z, u_new + 6.0 * z)


def coba_call(nt: Any, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """coba_lif_feed_forward_step, in units in which the threshold is 1."""
    coba = nt.functional.coba_lif
    p = coba.CobaLIFParameters(200.0, 200.0, 100.0, 1.0, -3.0, 4.0, 0.0, 0.0, 1.0, "triangle", 0.5)
    return coba.coba_lif_feed_forward_step(  # type: ignore[no-any-return]
        x - 1.5, coba.CobaLIFFeedForwardState(*state), p
    )


def coba_step(x: Tensor, state: tuple[Tensor, ...], cut: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """v' = (g_l (v_rest - v) + g_e (E_e - v) + g_i (E_i - v)) / c; g_e = g_e + relu(i), g_i = g_i + relu(-i)."""
    v, e, i = state
    e, i = 0.8 * (e + torch.relu(x - 1.5)), 0.8 * (i + torch.relu(1.5 - x))
    v = v + 0.1 * (-v + e * (4.0 - v) + i * (-3.0 - v))
    z = spike(v - 1.0)
    return z, ((1 - z) * v, e, i)


def coba_recurrent_call(nt: Any, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """coba_lif_step: input and recurrent spikes."""
    coba = nt.functional.coba_lif
    p = coba.CobaLIFParameters(200.0, 200.0, 100.0, 1.0, -3.0, 4.0, 0.0, 0.0, 1.0, "triangle", 0.5)
    return coba.coba_lif_step(  # type: ignore[no-any-return]
        x, coba.CobaLIFState(*state), weights_of(3, 3, 1.0), weights_of(3, 3, 0.5), p
    )


def coba_recurrent_step(x: Tensor, state: tuple[Tensor, ...], cut: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """g_e = g_e + relu(w_input) z_in + relu(w_rec) z_rec; g_i = g_i + relu(-w_input) z_in + relu(-w_rec) z_rec."""
    z, v, e, i = state
    enter, back = weights_of(3, 3, 1.0), weights_of(3, 3, 0.5)
    e = 0.8 * (e + x @ torch.relu(enter).T + z @ torch.relu(back).T)
    i = 0.8 * (i + x @ torch.relu(-enter).T + z @ torch.relu(-back).T)
    v = v + 0.1 * (-v + e * (4.0 - v) + i * (-3.0 - v))
    z = spike(v - 1.0)
    return z, (z, (1 - z) * v, e, i)


MODELS: dict[str, tuple[Step, Step, int]] = {
    "lif.lif_feed_forward_step": (lif_call, lif_step, 2),
    "lif.lif_step": (recurrent_call, recurrent_step, 3),
    "lif_box.lif_box_feed_forward_step": (box_call, box_step, 1),
    "reset.reset_subtract": (subtract_call, subtract_step, 1),
    "iaf.iaf_feed_forward_step": (fire_call, fire_step, 1),
    "lif_ex.lif_ex_feed_forward_step": (exponential_call, exponential_step, 2),
    "lif_adex.lif_adex_feed_forward_step": (adaptive_call, adaptive_step, 3),
    "leaky_integrator.li_feed_forward_step": (leaky_call, leaky_step, 2),
    "izhikevich.izhikevich_feed_forward_step": (izhikevich_call, izhikevich_step, 2),
    "coba_lif.coba_lif_feed_forward_step": (coba_call, coba_step, 3),
    "coba_lif.coba_lif_step": (coba_recurrent_call, coba_recurrent_step, 4),
}
"""Function of the release, its documented step, and the number of states."""


def run_of(nt: Any, call: Step, step: Step, states: int, what: str, cut: bool) -> tuple[float, float]:
    """Spikes and last states of ten steps, or the gradient of both with respect to the input, where they differ most.

    Args:
        call: of the release.
        step: as documented.
        states: how many.
        what: ``forward`` or ``gradient``.
        cut: the reset carries no gradient.
    """
    x = 3.0 * torch.rand(10, 2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    results = []
    for documented in (True, False):
        leaf = x.clone().requires_grad_()
        state: tuple[Tensor, ...] = tuple(torch.zeros(2, 3, dtype=torch.float64) for _ in range(states))
        outputs = []
        for x_t in leaf:
            z, state = step(x_t, state, cut) if documented else call(nt, x_t, state)
            outputs.append(z)
        found = torch.cat([torch.stack(outputs), torch.stack(tuple(state))])
        if what == "gradient":
            weights = torch.linspace(-1.0, 2.0, found.numel(), dtype=torch.float64).view_as(found)
            if found.requires_grad:
                (found,) = torch.autograd.grad((found * weights).sum(), leaf)
            else:  # no input reaches an output
                found = torch.zeros_like(x)
        results.append(found)
    return worst_pair(results[0], results[1])
