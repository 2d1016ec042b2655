"""Further recurrences that Norse documents, one Euler step at a time: recurrent and refractory neurons, encoders.

Calls and steps are as in :mod:`bitprop.verification.peers._norse_neurons`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bitprop.verification.peers._norse_neurons import Step, spike, weights_of

__all__ = [
    "FORWARD_ONLY",
    "MORE_MODELS",
    "adex_recurrent_call",
    "adex_recurrent_step",
    "adex_refractory_call",
    "adex_refractory_step",
    "encoder_call",
    "encoder_step",
    "ex_encoder_call",
    "ex_encoder_step",
    "ex_recurrent_call",
    "ex_recurrent_step",
    "fire_recurrent_call",
    "fire_recurrent_step",
    "flat_call",
    "flat_recurrent_call",
    "flat_recurrent_step",
    "flat_step",
    "integrator_call",
    "integrator_step",
    "izhikevich_recurrent_call",
    "izhikevich_recurrent_step",
    "jump_call",
    "jump_feed_forward_call",
    "jump_feed_forward_step",
    "jump_step",
    "plastic_call",
    "plastic_step",
    "refractory_call",
    "refractory_recurrent_call",
    "refractory_recurrent_step",
    "refractory_step",
    "sparse_call",
    "sparse_step",
]


def integrator_call(nt: Any, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """li_step."""
    li = nt.functional.leaky_integrator
    return li.li_step(x, li.LIState(*state), weights_of(3, 3, 1.0))  # type: ignore[no-any-return]


def integrator_step(x: Tensor, state: tuple[Tensor, ...], cut: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """v' = (v_leak - v + i) / tau_mem, i' = -i / tau_syn, i = i + w i_in."""
    v, i = state
    i = i + x @ weights_of(3, 3, 1.0).T
    v = v + 0.1 * (i - v)
    return v, (v, i - 0.2 * i)


def jump_call(nt: Any, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """li_box_step."""
    box = nt.functional.leaky_integrator_box
    return box.li_box_step(x, box.LIBoxState(*state), weights_of(3, 3, 1.0))  # type: ignore[no-any-return]


def jump_step(x: Tensor, state: tuple[Tensor, ...], cut: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """v' = (v_leak - v + i) / tau_mem, i = w i_in, without a current term."""
    v = state[0] + 0.1 * (x @ weights_of(3, 3, 1.0).T - state[0])
    return v, (v,)


def jump_feed_forward_call(nt: Any, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """li_box_feed_forward_step."""
    box = nt.functional.leaky_integrator_box
    return box.li_box_feed_forward_step(x, box.LIBoxState(*state))  # type: ignore[no-any-return]


def jump_feed_forward_step(x: Tensor, state: tuple[Tensor, ...], cut: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """v' = (v_leak - v + i) / tau_mem, without a current term."""
    v = state[0] + 0.1 * (x - state[0])
    return v, (v,)


def ex_recurrent_call(nt: Any, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """lif_ex_step."""
    ex = nt.functional.lif_ex
    p = ex.LIFExParameters(method="triangle", alpha=0.5)
    return ex.lif_ex_step(  # type: ignore[no-any-return]
        x, ex.LIFExState(*state), weights_of(3, 3, 1.0), weights_of(3, 3, 0.5), p
    )


def ex_recurrent_step(x: Tensor, state: tuple[Tensor, ...], cut: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """v' = (v_leak - v + i + D exp((v - v_th) / D)) / tau_mem; i = i + w_input z_in; i = i + w_rec z_rec."""
    z, v, i = state
    i = i + x @ weights_of(3, 3, 1.0).T + z @ weights_of(3, 3, 0.5).T
    v = v + 0.1 * (i - v + 0.5 * torch.exp((v - 1.0) / 0.5))
    z = spike(v - 1.0)
    return z, (z, (1 - z) * v, i - 0.2 * i)


def adex_recurrent_call(nt: Any, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """lif_adex_step, tau_ada = 10 ms."""
    adex = nt.functional.lif_adex
    p = adex.LIFAdExParameters(tau_ada_inv=torch.as_tensor(100.0), method="triangle", alpha=0.5)
    return adex.lif_adex_step(  # type: ignore[no-any-return]
        x, adex.LIFAdExState(*state), weights_of(3, 3, 1.0), weights_of(3, 3, 0.5), p
    )


def adex_recurrent_step(x: Tensor, state: tuple[Tensor, ...], cut: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """v' with - a; a' = (a_current (v - v_leak) - a) / tau_ada; i = i + w_input z_in + w_rec z_rec."""
    z, v, i, a = state
    i = i + x @ weights_of(3, 3, 1.0).T + z @ weights_of(3, 3, 0.5).T
    a_new = a + 0.1 * (4.0 * v - a)
    v = v + 0.1 * (i - v + 0.5 * torch.exp((v - 1.0) / 0.5) - a)
    z = spike(v - 1.0)
    return z, (z, (1 - z) * v, i - 0.2 * i, a_new + 0.02 * z)


def refractory_call(nt: Any, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """lif_refrac_feed_forward_step, rho_reset = 2."""
    lif, refrac, (v, i, rho) = nt.functional.lif, nt.functional.lif_refrac, state
    p = refrac.LIFRefracParameters(rho_reset=torch.as_tensor(2.0))
    z, after = refrac.lif_refrac_feed_forward_step(
        2.0 * x, refrac.LIFRefracFeedForwardState(lif.LIFFeedForwardState(v, i), rho), p
    )
    return z, (after.lif.v, after.lif.i, after.rho)


def refractory_step(x: Tensor, state: tuple[Tensor, ...], cut: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """v' = (1 - H(rho)) (v_leak - v + i) / tau_mem, i' = -i / tau_syn; no spike while rho counts towards zero."""
    v, i, rho = state
    i, held = i + 2.0 * x, rho > 0
    moved = v + 0.1 * (i - v)
    z = (~held & (moved > 1.0)).to(x)
    return z, (torch.where(held, v, (1 - z) * moved), i - 0.2 * i, torch.where(z > 0, 2.0, torch.relu(rho - 1.0)))


def refractory_recurrent_call(nt: Any, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """lif_refrac_step, rho_reset = 2."""
    lif, refrac, (z, v, i, rho) = nt.functional.lif, nt.functional.lif_refrac, state
    p = refrac.LIFRefracParameters(rho_reset=torch.as_tensor(2.0))
    before = refrac.LIFRefracState(lif.LIFState(z, v, i), rho)
    z, after = refrac.lif_refrac_step(x, before, weights_of(3, 3, 2.0), weights_of(3, 3, 0.5), p)
    return z, (z, after.lif.v, after.lif.i, after.rho)


def refractory_recurrent_step(x: Tensor, state: tuple[Tensor, ...], cut: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """As without recurrence, with i = i + w_input z_in and i = i + w_rec z_rec."""
    z, v, i, rho = state
    i, held = i + x @ weights_of(3, 3, 2.0).T + z @ weights_of(3, 3, 0.5).T, rho > 0
    moved = v + 0.1 * (i - v)
    z = (~held & (moved > 1.0)).to(x)
    return z, (z, torch.where(held, v, (1 - z) * moved), i - 0.2 * i, torch.where(z > 0, 2.0, torch.relu(rho - 1.0)))


def adex_refractory_call(nt: Any, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """lif_adex_refrac_feed_forward_step, rho_reset = 2, a_spike = 0."""
    adex, refrac, (v, i, a, rho) = nt.functional.lif_adex, nt.functional.lif_adex_refrac, state
    inner = adex.LIFAdExParameters(adaptation_spike=torch.zeros(()), tau_ada_inv=torch.as_tensor(100.0))
    p = refrac.LIFAdExRefracParameters(inner, torch.as_tensor(2.0))
    z, after = refrac.lif_adex_refrac_feed_forward_step(
        x, refrac.LIFAdExRefracFeedForwardState(adex.LIFAdExFeedForwardState(v, i, a), rho), p
    )
    return z, (*after.lif_adex, after.rho)


def adex_refractory_step(x: Tensor, state: tuple[Tensor, ...], cut: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The neuron of lif_adex_step, its v' times (1 - H(rho)); no spike while rho counts towards zero."""
    v, i, a, rho = state
    i, held = i + x, rho > 0
    a_new = a + 0.1 * (4.0 * v - a)
    moved = v + 0.1 * (i - v + 0.5 * torch.exp((v - 1.0) / 0.5) - a)
    z = (~held & (moved > 1.0)).to(x)
    v, rho = torch.where(held, v, (1 - z) * moved), torch.where(z > 0, 2.0, torch.relu(rho - 1.0))
    return z, (v, i - 0.2 * i, a_new, rho)


def encoder_call(nt: Any, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """lif_current_encoder."""
    lif = nt.functional.lif
    z, v = lif.lif_current_encoder(4.0 * x, state[0], lif.LIFParameters(method="triangle", alpha=0.5))
    return z, (v,)


def encoder_step(x: Tensor, state: tuple[Tensor, ...], cut: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """v' = (v_leak - v + i) / tau_mem with the given i; z = H(v - v_th); v = (1 - z) v + z v_reset."""
    v = state[0] + 0.1 * (4.0 * x - state[0])
    z = spike(v - 1.0)
    return z, ((1 - z) * v,)


def ex_encoder_call(nt: Any, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """lif_ex_current_encoder."""
    ex = nt.functional.lif_ex
    z, v = ex.lif_ex_current_encoder(2.0 * x, state[0], ex.LIFExParameters(method="triangle", alpha=0.5))
    return z, (v,)


def ex_encoder_step(x: Tensor, state: tuple[Tensor, ...], cut: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """v' = (v_leak - v + i + D exp((v - v_th) / D)) / tau_mem with the given i; reset to v_reset."""
    v = state[0]
    v = v + 0.1 * (2.0 * x - v + 0.5 * torch.exp((v - 1.0) / 0.5))
    z = spike(v - 1.0)
    return z, ((1 - z) * v,)


def izhikevich_recurrent_call(nt: Any, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """izhikevich_recurrent_step, tau_inv = 25."""
    module = nt.functional.izhikevich
    p = module.IzhikevichParameters(0.02, 0.2, -65.0, 6.0, tau_inv=25.0, method="triangle", alpha=0.5)
    return module.izhikevich_recurrent_step(  # type: ignore[no-any-return]
        40.0 * x, module.IzhikevichRecurrentState(*state), weights_of(3, 3, 1.0), weights_of(3, 3, 9.0), p
    )


def izhikevich_recurrent_step(x: Tensor, state: tuple[Tensor, ...], cut: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """v' = 0.04 v^2 + 5 v + 140 - u + I with I = w_input z_in + w_rec z_rec, u' = a (b v - u); reset at 30 mV."""
    z, v, u = state
    current = 40.0 * x @ weights_of(3, 3, 1.0).T + z @ weights_of(3, 3, 9.0).T
    u_new = u + 0.025 * 0.02 * (0.2 * v - u)
    v = v + 0.025 * (0.04 * v**2 + 5.0 * v + 140.0 - u + current)
    z = spike(v - 30.0)
    return z, (z, (1 - z) * v - 65.0 * z, u_new + 6.0 * z)


def fire_recurrent_call(nt: Any, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """iaf_step."""
    iaf = nt.functional.iaf
    p = iaf.IAFParameters(v_reset=torch.zeros(()), method="triangle", alpha=0.5)
    return iaf.iaf_step(  # type: ignore[no-any-return]
        x, iaf.IAFState(*state), weights_of(3, 3, 0.5), weights_of(3, 3, 0.3), p
    )


def fire_recurrent_step(x: Tensor, state: tuple[Tensor, ...], cut: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """As iaf_feed_forward_step, with w_input z_in and w_rec z_rec for its input."""
    z, v = state
    v = v + x @ weights_of(3, 3, 0.5).T + z @ weights_of(3, 3, 0.3).T
    z = spike(v - 1.0)
    return z, (z, (1 - z) * v)


def flat_call(nt: Any, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """lsnn_feed_forward_step without adaptation: beta = 0, b at rest."""
    lsnn = nt.functional.lsnn
    p = lsnn.LSNNParameters(beta=torch.zeros(()), method="triangle", alpha=0.5)
    z, after = lsnn.lsnn_feed_forward_step(2.0 * x, lsnn.LSNNFeedForwardState(*state, torch.ones_like(x)), p)
    return z, (after.v, after.i)


def flat_step(x: Tensor, state: tuple[Tensor, ...], cut: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """v' = (v_leak - v + i) / tau_mem, i' = -i / tau_syn; v = (1 - z) v + z v_reset; i = i + input, after the decay."""
    v, i = state
    v = v + 0.1 * (i - v)
    z = spike(v - 1.0)
    return z, ((1 - z) * v, i - 0.2 * i + 2.0 * x)


def flat_recurrent_call(nt: Any, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """lsnn_step without adaptation: beta = 0, b at rest."""
    lsnn = nt.functional.lsnn
    p = lsnn.LSNNParameters(beta=torch.zeros(()), method="triangle", alpha=0.5)
    before = lsnn.LSNNState(*state, torch.ones_like(x))
    z, after = lsnn.lsnn_step(x, before, weights_of(3, 3, 2.0), weights_of(3, 3, 0.5), p)
    return z, (after.z, after.v, after.i)


def flat_recurrent_step(x: Tensor, state: tuple[Tensor, ...], cut: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """v = (1 - z) v + z v_reset; i = i + w_input z_in; i = i + w_rec z_rec, after the decay."""
    back, v, i = state
    v = v + 0.1 * (i - v)
    z = spike(v - 1.0)
    i = i - 0.2 * i + x @ weights_of(3, 3, 2.0).T + back @ weights_of(3, 3, 0.5).T
    return z, (z, (1 - (z.detach() if cut else z)) * v, i)


def plastic_call(nt: Any, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """stp_step, time constants of 50 and 750 ms, U = 0.45."""
    module = nt.functional.tsodyks_makram
    return module.stp_step(  # type: ignore[no-any-return]
        0.3 * x, module.TsodyksMakramState(*state), module.TsodyksMakramParameters()
    )


def plastic_step(x: Tensor, state: tuple[Tensor, ...], cut: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """u' = -u / tau_f + U (1 - u) z, x' = (1 - x) / tau_d - u x z with u after its jump; the output is u x z."""
    u, rest = state
    z = 0.3 * x
    u = u - 0.02 * u + 0.45 * (1 - u) * z
    used = u * rest * z
    return used, (u, rest + 0.001 / 0.75 * (1 - rest) - used)


def sparse_call(nt: Any, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """lif_step_sparse."""
    lif, (z, v, i) = nt.functional.lif, state
    before = lif.LIFState(z.to_sparse(), v, i)
    z, after = lif.lif_step_sparse(
        x.to_sparse(), before, weights_of(3, 3, 2.0), weights_of(3, 3, 0.5), lif.LIFParameters()
    )
    return z.to_dense(), (after.z.to_dense(), after.v, after.i)


def sparse_step(x: Tensor, state: tuple[Tensor, ...], cut: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """v = (1 - z) v + z v_reset; i = i + w_input z_in; i = i + w_rec z_rec; otherwise as lif_feed_forward_step."""
    z, v, i = state
    i = i + x @ weights_of(3, 3, 2.0).T + z @ weights_of(3, 3, 0.5).T
    v = v + 0.1 * (i - v)
    z = spike(v - 1.0)
    return z, (z, (1 - z) * v, i - 0.2 * i)


MORE_MODELS: dict[str, tuple[Step, Step, int]] = {
    "leaky_integrator.li_step": (integrator_call, integrator_step, 2),
    "leaky_integrator_box.li_box_step": (jump_call, jump_step, 1),
    "leaky_integrator_box.li_box_feed_forward_step": (jump_feed_forward_call, jump_feed_forward_step, 1),
    "lif_ex.lif_ex_step": (ex_recurrent_call, ex_recurrent_step, 3),
    "lif_adex.lif_adex_step": (adex_recurrent_call, adex_recurrent_step, 4),
    "lif_refrac.lif_refrac_feed_forward_step": (refractory_call, refractory_step, 3),
    "lif_refrac.lif_refrac_step": (refractory_recurrent_call, refractory_recurrent_step, 4),
    "lif_adex_refrac.lif_adex_refrac_feed_forward_step": (adex_refractory_call, adex_refractory_step, 4),
    "lif.lif_current_encoder": (encoder_call, encoder_step, 1),
    "lif_ex.lif_ex_current_encoder": (ex_encoder_call, ex_encoder_step, 1),
    "izhikevich.izhikevich_recurrent_step": (izhikevich_recurrent_call, izhikevich_recurrent_step, 3),
    "iaf.iaf_step": (fire_recurrent_call, fire_recurrent_step, 2),
    "lsnn.lsnn_feed_forward_step": (flat_call, flat_step, 2),
    "lsnn.lsnn_step": (flat_recurrent_call, flat_recurrent_step, 3),
    "tsodyks_makram.stp_step": (plastic_call, plastic_step, 2),
    "lif.lif_step_sparse": (sparse_call, sparse_step, 3),
}
"""As ``MODELS``: function of the release, its documented step, and the number of states."""

FORWARD_ONLY = frozenset(
    {
        "lif_refrac.lif_refrac_feed_forward_step",
        "lif_refrac.lif_refrac_step",
        "lif_adex_refrac.lif_adex_refrac_feed_forward_step",
        "lif.lif_step_sparse",
    }
)
"""Models whose documentation leaves the gradient open: that of H(rho), and of the zeros of a sparse tensor."""
