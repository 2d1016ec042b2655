"""Measurements of single statements about Norse's neurons, adjoint steps and modules."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from bitprop.verification.peers._probes import worst_pair

__all__ = [
    "adaptation_decay",
    "adaptation_sign",
    "adaptive_current",
    "adaptive_encoder",
    "adaptive_reset",
    "adex_adaptation",
    "adjoint_chosen",
    "adjoint_gradient",
    "adjoint_recurrent_weights",
    "adjoint_runs",
    "adjoint_weights",
    "autapses",
    "cells_in_time",
    "compartments",
    "current_decay",
    "example",
    "fire_growth",
    "half_precision",
    "integral_shape",
    "refractory_start",
    "refractory_steps",
    "sequential_states",
    "shared_reset_value",
    "sparse_argument",
    "stdp_decay",
]


def current_decay(nt: Any) -> tuple[float, float]:
    """Current one step after 1, no input: i' = i / tau_syn (module), tau_syn = 5 ms, dt = 1 ms."""
    lif = nt.functional.lif
    one = torch.ones(1, 1)
    _, state = lif.lif_feed_forward_step(
        torch.zeros(1, 1), lif.LIFFeedForwardState(0.0 * one, one), lif.LIFParameters()
    )
    return 1.2, float(state.i)


def integral_shape(nt: Any) -> tuple[float, float]:
    """Steps in the spike output of lif_step_integral for five steps of input."""
    lif, zero, one = nt.functional.lif, torch.zeros(1, 1), torch.ones(1, 1)
    spikes, _ = lif.lif_step_integral(torch.ones(5, 1, 1), lif.LIFState(zero, zero, zero), one, zero)
    return 5.0, float(spikes.shape[0]) if spikes.dim() == 3 else 1.0


def fire_growth(nt: Any) -> tuple[float, float]:
    """Potential one step of 1 ms after 0.5 without input, by v' = v."""
    iaf = nt.functional.iaf
    _, state = iaf.iaf_feed_forward_step(
        torch.zeros(1), iaf.IAFFeedForwardState(torch.full((1,), 0.5)), iaf.IAFParameters(), dt=0.1
    )
    return 0.5 + 0.1 * 0.5, float(state.v)


def adaptation_decay(nt: Any, name: str) -> tuple[float, float]:
    """Adaptation one step after 0 without a spike: b' = -b / tau_b leaves it at 0; tau_b = 10 ms."""
    lsnn, zero = nt.functional.lsnn, torch.zeros(1, 1)
    p = lsnn.LSNNParameters(tau_adapt_inv=torch.as_tensor(100.0))
    if name == "lsnn_feed_forward_step":
        _, state = lsnn.lsnn_feed_forward_step(zero - 1.0, lsnn.LSNNFeedForwardState(zero - 1.0, zero, zero), p)
    else:
        _, state = getattr(lsnn, name)(zero, lsnn.LSNNState(zero, zero - 1.0, zero, zero), zero, zero, p)
    return 0.0, float(state.b)


def adaptation_sign(nt: Any, name: str) -> tuple[float, float]:
    """Spike at v = 0.6, v_th = 1, b = 0.9, nothing leaking: z = H(v - v_th + b) = 1."""
    lsnn, zero = nt.functional.lsnn, torch.zeros(1, 1)
    p = lsnn.LSNNParameters(tau_mem_inv=zero, tau_adapt_inv=zero)
    if name == "lsnn_feed_forward_step":
        z, _ = lsnn.lsnn_feed_forward_step(zero, lsnn.LSNNFeedForwardState(zero + 0.6, zero, zero + 0.9), p)
    else:
        z, _ = lsnn.lsnn_step(zero, lsnn.LSNNState(zero, zero + 0.6, zero, zero + 0.9), zero, zero, p)
    return 1.0, float(z)


def adaptive_current(nt: Any) -> tuple[float, float]:
    """Potential one step after 0 with b = 0.5: v' = (v_leak - v + b + i) / tau_mem, tau_mem = 10 ms."""
    lsnn, zero = nt.functional.lsnn, torch.zeros(1, 1)
    _, state = lsnn.ada_lif_step(zero, lsnn.LSNNState(zero, zero, zero, zero + 0.5), zero, zero)
    return 0.05, float(state.v)


def adaptive_reset(nt: Any) -> tuple[float, float]:
    """Potential after a spike from 1.5: v = (1 - z) v + z v_reset, v_reset = 0."""
    lsnn, zero = nt.functional.lsnn, torch.zeros(1, 1)
    p = lsnn.LSNNParameters(tau_mem_inv=zero)
    _, state = lsnn.ada_lif_step(zero, lsnn.LSNNState(zero, zero + 1.5, zero, zero), zero, zero, p)
    return 0.0, float(state.v)


def adaptive_encoder(nt: Any) -> tuple[float, float]:
    """Adaptation one step of 1 ms after 0.5 at v = v_leak without input: a - a dt / tau_ada, tau_ada = 500 ms."""
    adex, zero = nt.functional.lif_adex, torch.zeros(1)
    p = adex.LIFAdExParameters(tau_mem_inv=zero)
    _, _, adaptation = adex.lif_adex_current_encoder(zero, zero, zero + 0.5, p)
    return 0.5 - 0.5 * 0.001 * 2.0, float(adaptation)


def adex_adaptation(nt: Any, name: str) -> tuple[float, float]:
    """Potential that an adaptation of 0.5 takes away in one step, by an equation for v' without a: none."""
    potentials = []
    for adaptation in (0.0, 0.5):
        a = torch.full((1, 1), adaptation)
        zero = torch.zeros(1, 1)
        if name == "LIFAdExRecurrentCell":
            with torch.random.fork_rng(devices=[]):
                cell = nt.LIFAdExRecurrentCell(1, 1)
            _, state = cell(zero, nt.LIFAdExState(zero, zero, zero, a))
        elif name == "LIFAdExRefracCell":
            inner = nt.LIFAdExFeedForwardState(zero, zero, a)
            _, state = nt.LIFAdExRefracCell()(zero, nt.LIFAdExRefracFeedForwardState(inner, zero))
            state = state.lif_adex
        else:
            _, state = nt.LIFAdExCell()(zero, nt.LIFAdExFeedForwardState(zero, zero, a))
        potentials.append(float(state.v.detach()))
    return 0.0, potentials[1] - potentials[0]


def compartments(nt: Any) -> tuple[float, float]:
    """Potential one step after 0.5, g_coupling = 2: v' = (v_leak - g_coupling v + i) / tau_mem, tau_mem = 10 ms."""
    zero, v = torch.zeros(1, 1), torch.full((1, 1), 0.5)
    with torch.random.fork_rng(devices=[]):
        cell = nt.LIFMCRecurrentCell(1, 1, g_coupling=torch.full((1, 1), 2.0))
    _, state = cell(zero, nt.LIFState(zero, v, zero))
    return 0.5 - 0.1 * 2.0 * 0.5, float(state.v.detach())


def refractory_start(nt: Any) -> tuple[float, float]:
    """rho after a spike at rho = 0, by rho = rho + z_r rho_reset with z_r = H(-rho): H(0) = 0."""
    cell = nt.LIFRefracCell()
    zero = torch.zeros(1, 1)
    state = nt.LIFRefracFeedForwardState(nt.LIFFeedForwardState(zero + 5.0, zero), zero)
    return 0.0, float(cell(zero, state)[1].rho.detach())


def refractory_steps(nt: Any) -> tuple[float, float]:
    """Steps without a spike between two, under an input that makes every step spike: rho_reset = 5."""
    cell, state, spikes = nt.LIFRefracCell(), None, []
    for _ in range(20):
        z, state = cell(torch.full((1, 1), 500.0), state)
        spikes.append(float(z.detach()))
    times = [t for t, z in enumerate(spikes) if z]
    return 5.0, float(times[1] - times[0] - 1)


def adjoint_gradient(nt: Any, name: str) -> tuple[float, float]:
    """Gradient of the last potential with respect to the first of three inputs, no spike: of the Euler steps."""
    functional = nt.functional
    found = []
    for adjoint in (False, True):
        x = torch.full((3, 1, 1), 0.1, dtype=torch.float64, requires_grad=True)
        zero = torch.zeros(1, 1, dtype=torch.float64)
        if name == "lif_feed_forward_adjoint_step":
            step = functional.adjoint.lif_adjoint.lif_feed_forward_adjoint_step
            step = step if adjoint else functional.lif.lif_feed_forward_step
            state: Any = functional.lif.LIFFeedForwardState(zero, zero)
            p: Any = functional.lif.LIFParameters()
        else:
            step = functional.adjoint.lsnn_adjoint.lsnn_feed_forward_adjoint_step
            step = step if adjoint else functional.lsnn.lsnn_feed_forward_step
            state = functional.lsnn.LSNNFeedForwardState(zero, zero, zero + 1.0)
            p = functional.lsnn.LSNNParameters()
        for x_t in x:
            _, state = step(x_t, state, p)
        state.v.sum().backward()
        found.append(x.grad[0])  # type: ignore[index]
    return worst_pair(found[0], found[1])


def adjoint_weights(nt: Any, name: str) -> tuple[float, float]:
    """<dL/dw, w> against <dL/dx, x>, equal because input enters as w x only; L is the current after one step."""
    step, state = _adjoint(nt, name)
    x = torch.ones(1, 1, requires_grad=True)
    w = torch.full((1, 1), 0.5, requires_grad=True)
    zero = torch.zeros(1, 1)
    _, after = step(x, state(zero), w, zero)
    after.i.sum().backward()
    return float((x.grad * x.detach()).sum()), float((w.grad * w.detach()).sum())  # type: ignore[operator]


def adjoint_recurrent_weights(nt: Any, name: str) -> tuple[float, float]:
    """Whether dL/dw_rec is zero where the neuron's last spike was 1: L is the current, which has w_rec z added."""
    step, state = _adjoint(nt, name)
    zero = torch.zeros(1, 1)
    w = torch.full((1, 1), 0.1, requires_grad=True)
    _, after = step(zero, state(zero)._replace(z=torch.ones(1, 1)), zero, w)
    after.i.sum().backward()
    return 0.0, float((w.grad == 0).sum())  # type: ignore[union-attr]


def _adjoint(nt: Any, name: str) -> tuple[Any, Any]:
    adjoint, functional = nt.functional.adjoint, nt.functional

    def lif_state(zero: Tensor) -> Any:
        return functional.lif.LIFState(zero, zero, zero)

    def lsnn_state(zero: Tensor) -> Any:
        return functional.lsnn.LSNNState(zero, zero, zero, zero + 1.0)

    if name == "lif_adjoint_step":
        return adjoint.lif_adjoint.lif_adjoint_step, lif_state
    return adjoint.lsnn_adjoint.lsnn_adjoint_step, lsnn_state


def adjoint_runs(nt: Any, name: str) -> tuple[float, float]:
    """Backward of a refractory adjoint step runs: 1; NaN where it raises."""
    functional, zero = nt.functional, torch.zeros(1, 1)
    x = torch.ones(1, 1, requires_grad=True)
    module = functional.adjoint.lif_refrac_adjoint
    if name == "lif_refrac_adjoint_step":
        state = functional.lif_refrac.LIFRefracState(functional.lif.LIFState(zero, zero, zero), zero)
        z, _ = module.lif_refrac_adjoint_step(x, state, zero + 1.0, zero)
    else:
        inner = functional.lif.LIFFeedForwardState(zero, zero)
        z, _ = module.lif_refrac_feed_forward_adjoint_step(
            x, functional.lif_refrac.LIFRefracFeedForwardState(inner, zero)
        )
    try:
        z.sum().backward()
    except AttributeError:
        return 1.0, math.nan
    return 1.0, 1.0


def adjoint_chosen(nt: Any, name: str) -> tuple[float, float]:
    """Spikes of a module with method='adjoint', which selects the adjoint step: none at no input; NaN if it raises."""
    p = nt.LIFParameters(method="adjoint")
    parameters = nt.LIFRefracParameters(lif=p) if "Refrac" in name else p
    with torch.random.fork_rng(devices=[]):
        cell = getattr(nt, name)(1, 1, parameters) if "Recurrent" in name else getattr(nt, name)(parameters)
    try:
        return 0.0, float(cell(torch.zeros(1, 1, 1))[0].detach().sum())
    except ValueError:
        return 0.0, math.nan


def sparse_argument(nt: Any, name: str) -> tuple[float, float]:
    """Whether the documented argument sparse=False is taken: 1."""
    try:
        with torch.random.fork_rng(devices=[]):
            getattr(nt, name)(1, 1, sparse=False) if "Recurrent" in name else getattr(nt, name)(sparse=False)
    except TypeError:
        return 1.0, 0.0
    return 1.0, 1.0


def example(nt: Any, name: str, arguments: tuple[int, ...]) -> tuple[float, float]:
    """Whether the constructor call of the docstring's example works: 1."""
    try:
        with torch.random.fork_rng(devices=[]):
            getattr(nt, name)(*arguments)
    except (TypeError, AttributeError):
        return 1.0, 0.0
    return 1.0, 1.0


def shared_reset_value(nt: Any, name: str) -> tuple[float, float]:
    """Whether the given v_reset requires a gradient after one step of a cell: it did not before."""
    value = torch.zeros(())
    cell = getattr(nt, name)(nt.IAFParameters(v_reset=value))
    cell(torch.zeros(2, 1))
    return 0.0, float(value.requires_grad)


def sequential_states(nt: Any) -> tuple[float, float]:
    """Entries of a caller's list of states that SequentialState.forward replaced: 0."""
    states = [None]
    nt.SequentialState(nt.LIFCell())(torch.ones(1, 1), states)
    return 0.0, float(sum(state is not None for state in states))


def half_precision(nt: Any, name: str) -> tuple[float, float]:
    """Bits of the spikes for an input of 16 bits; NaN where the second step raises."""
    arguments = (1, 1) if "Recurrent" in name or name == "CobaLIFCell" else ()
    with torch.random.fork_rng(devices=[]):
        layer = getattr(nt, name)(*arguments).bfloat16()
    shape = (1, 1) if name.endswith("Cell") else (2, 1, 1)
    try:
        spikes = layer(torch.ones(shape, dtype=torch.bfloat16))[0]
    except RuntimeError:  # the recurrent weights refuse them already
        return 16.0, math.nan
    return 16.0, float(torch.finfo(spikes.dtype).bits)


def cells_in_time(nt: Any, name: str, cell: str, arguments: tuple[int, ...]) -> tuple[float, float]:
    """A layer over six steps, and its cell looped with the same weights, where outputs differ most."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = getattr(nt, name)(*arguments)
        single = getattr(nt, cell)(*arguments)
    single.load_state_dict(layer.state_dict())
    x = 20.0 * torch.rand(6, 2, 3, generator=torch.Generator().manual_seed(1))
    outputs, state = [], None
    for x_t in x:
        z, state = single(x_t, state)
        outputs.append(z)
    return worst_pair(torch.stack(outputs), layer(x)[0])


def autapses(nt: Any, name: str) -> tuple[float, float]:
    """Largest weight and gradient on the diagonal of the recurrent weights: self-connections are off by default."""
    with torch.random.fork_rng(devices=[]):
        layer = getattr(nt, name)(3, 4)
    x = 20.0 * torch.rand(6, 2, 3, generator=torch.Generator().manual_seed(1))
    layer(x)[0].sum().backward()
    weights = layer.recurrent_weights
    return 0.0, float(weights.detach().diagonal().abs().sum() + weights.grad.diagonal().abs().sum())


def stdp_decay(nt: Any) -> tuple[float, float]:
    """Post-synaptic trace one step of 1 ms after 1, tau_ac_inv = 500 and tau_c_inv = 0: the former is its constant."""
    sensor, one, zero = nt.functional.stdp_sensor, torch.ones(1), torch.zeros(1)
    p = sensor.STDPSensorParameters(tau_ac_inv=500.0 * one, tau_c_inv=zero)
    state = sensor.stdp_sensor_step(zero, zero, sensor.STDPSensorState(zero, one), p)
    return 0.5, float(state.a_post)
