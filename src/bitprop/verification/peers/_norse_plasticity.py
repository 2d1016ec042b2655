"""Statements about Norse's synapses: plasticity rules, correlation sensors, and the constants of their traces."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from bitprop.verification.peers._probes import Probe, worst_pair

__all__ = ["plasticity_probes"]


def rate_of(algorithm: str, distance: Tensor) -> Tensor:
    """Factor of a learning rate at a distance from the bound, with mu = 0.5."""
    if algorithm == "additive":
        return torch.ones_like(distance)
    if algorithm == "additive_step":
        return (distance > 0).to(distance)
    return torch.relu(distance) if algorithm == "multiplicative_relu" else distance**0.5


def linear_plasticity(nt: Any, algorithm: str) -> tuple[float, float]:
    """Weights and traces after a step of two samples, where they differ most."""
    from norse.torch.functional import stdp

    before, after = torch.tensor([[1.0, 0.0], [1.0, 1.0]]), torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0]])
    w, trace, late = torch.linspace(0.1, 0.9, 6).view(3, 2), torch.full((2, 2), 0.5), torch.full((2, 3), 0.25)
    p = stdp.STDPParameters(stdp_algorithm=algorithm, mu=0.5, eta_plus=0.02, eta_minus=0.01, hardbound=False)
    found, state = stdp.stdp_step_linear(before, after, w, stdp.STDPState(trace, late), p)
    trace, late = trace + 0.02 * (before - trace), late + 0.02 * (after - late)
    grown = 0.02 * rate_of(algorithm, 1.0 - w) * (after.T @ trace)
    shrunk = 0.01 * rate_of(algorithm, w) * (late.T @ before)
    documented = torch.cat([(w + grown - shrunk).flatten(), trace.flatten(), late.flatten()])
    return worst_pair(documented, torch.cat([found.flatten(), state.t_pre.flatten(), state.t_post.flatten()]))


def convolutional_plasticity(nt: Any, stride: int, padding: int) -> tuple[float, float]:
    """Change of a kernel's weights: each is the sum over the pairs of pixels that it connects."""
    from norse.torch.functional import stdp

    draw = torch.Generator().manual_seed(2)
    before = (torch.rand(2, 2, 5, 5, generator=draw) > 0.5).float()
    w = torch.full((3, 2, 3, 3), 0.5)
    side = (5 + 2 * padding - 3) // stride + 1
    after = (torch.rand(2, 3, side, side, generator=draw) > 0.5).float()
    p = stdp.STDPParameters(eta_plus=0.02, eta_minus=0.01, convolutional=True, stride=stride, padding=padding)
    state = stdp.STDPState(torch.zeros_like(before), torch.zeros_like(after))
    found, _ = stdp.stdp_step_conv2d(before, after, w, state, p)
    changes: list[Tensor] = []
    for late, early in ((after, 0.02 * before), (0.02 * after, before)):
        connected = torch.zeros_like(w).requires_grad_()
        total = (torch.nn.functional.conv2d(early, connected, stride=stride, padding=padding) * late).sum()
        changes += torch.autograd.grad(total, connected)
    return worst_pair(w + 0.02 * changes[0] - 0.01 * changes[1], found)


def plasticity_default(nt: Any) -> tuple[float, float]:
    """Weights that stdp_step_conv2d returns with its default parameters: 9; NaN where it raises."""
    from norse.torch.functional import stdp

    state = stdp.STDPState(torch.zeros(1, 1, 5, 5), torch.zeros(1, 1, 3, 3))
    try:
        w, _ = stdp.stdp_step_conv2d(torch.ones(1, 1, 5, 5), torch.ones(1, 1, 3, 3), torch.ones(1, 1, 3, 3), state)
    except AttributeError:
        return 9.0, math.nan
    return 9.0, float(w.numel())


def bound(nt: Any, limit: str) -> tuple[float, float]:
    """A weight of 0.5 after a step with learning rates of 9, within w_min = 0.25 .. w_max = 0.75."""
    from norse.torch.functional import stdp

    one, zero = torch.ones(1, 1), torch.zeros(1, 1)
    up = limit == "w_max"
    p = stdp.STDPParameters(w_min=0.25, w_max=0.75, eta_plus=9.0, eta_minus=9.0)
    traces = stdp.STDPState(one if up else zero, zero if up else one)
    w, _ = stdp.stdp_step_linear(zero if up else one, one if up else zero, 0.5 * one, traces, p)
    return 0.75 if up else 0.25, float(w)


def spikes_of_sample(nt: Any, name: str, batch: int) -> tuple[float, float]:
    """Mask of the first sample, which alone has spikes, summed over its synapses; NaN where it raises."""
    mask = getattr(nt.functional.correlation_sensor, name)
    spikes = torch.zeros(batch, 2)
    spikes[0] = 1.0
    try:
        found = mask(torch.zeros(batch, 2, 2), spikes)
    except RuntimeError:
        return 4.0, math.nan
    return 4.0, float(found[0].sum())


def samples(nt: Any, batch: int) -> tuple[float, float]:
    """Samples that LIFCorrelation returns for a batch; NaN where it raises."""
    module, weights = nt.LIFCorrelation(1, 2), torch.ones(2, 1)
    try:
        z, _ = module(torch.ones(batch, 1), weights, torch.zeros(2, 2), None)
    except RuntimeError:
        return float(batch), math.nan
    return float(batch), float(z.shape[0])


def correlated(nt: Any) -> tuple[float, float]:
    """Spikes, potential and current of lif_correlation_step, and of lif_step, where they differ most."""
    lif, module, zero = nt.functional.lif, nt.functional.lif_correlation, torch.zeros(1, 2)
    sensor = nt.functional.correlation_sensor.CorrelationSensorState(*torch.zeros(3, 1, 2, 2))
    weights, back = torch.tensor([[9.0, 3.0], [-1.0, 12.0]]), torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    plain, state = (
        lif.LIFState(zero, zero, zero),
        module.LIFCorrelationState(lif.LIFState(zero, zero, zero), sensor, sensor),
    )
    for _ in range(5):
        z, plain = lif.lif_step(torch.ones(1, 2), plain, weights, back, lif.LIFParameters())
        found, state = module.lif_correlation_step(torch.ones(1, 2), state, weights, back)
    return worst_pair(torch.cat([z, *plain]), torch.cat([found, *state.lif_state]))


def decayed_sensor(nt: Any, name: str) -> tuple[float, float]:
    """A trace of 1 one step of 1 ms later, with an inverse time constant of 200: after pre- or post-synaptic spikes."""
    module, one, zero = nt.functional.correlation_sensor, torch.ones(1, 1, 1), torch.zeros(1, 1, 1)
    p = module.CorrelationSensorParameters(tau_ac_inv=torch.as_tensor(200.0), tau_c_inv=torch.as_tensor(200.0))
    order = zero if name == "correlation_trace" else one
    state = module.CorrelationSensorState(order, one, one)
    after = module.correlation_sensor_step(torch.zeros(1, 1), torch.zeros(1, 1), state, p)
    return 0.8, float(getattr(after, name))


def constant(nt: Any, name: str) -> tuple[float, float]:
    """A trace of 1 one step of 1 ms later: 1 - dt / tau with the time constant, documented, and given as such."""
    one, zero = torch.ones(1), torch.zeros(1)
    if name == "LSNNParameters":
        lsnn = nt.functional.lsnn
        p = lsnn.LSNNParameters(tau_adapt_inv=torch.as_tensor(0.01), v_th=zero)
        _, after = lsnn.lsnn_feed_forward_step(zero, lsnn.LSNNFeedForwardState(zero, zero, one), p)
        return 1.0 - 0.001 / 0.01, float(after.b)
    if name == "TsodyksMakramParameters":
        module = nt.functional.tsodyks_makram
        p = module.TsodyksMakramParameters(tau_f_inv=50.0)
        return 1.0 - 1.0 / 50.0, float(module.stp_step(zero, module.TsodyksMakramState(one, one), p)[1].u)
    sensor = nt.functional.stdp_sensor
    p = sensor.STDPSensorParameters(tau_c_inv=0.01 * one)
    return 1.0 - 0.001 / 0.01, float(sensor.stdp_sensor_step(zero, zero, sensor.STDPSensorState(one, one), p).a_pre)


def _probe(
    key: str,
    subject: str,
    kind: str,
    says: str,
    found: str,
    measure: Callable[..., tuple[float, float]],
    *arguments: Any,
    uses: tuple[Callable[..., Any], ...] = (worst_pair,),
) -> Probe:
    return Probe(f"norse.{key}", subject, kind, says, found, measure, arguments, uses, 1e-5)


def plasticity_probes() -> Iterator[Probe]:
    """Spike-timing-dependent plasticity, correlation sensors, constants."""
    place = "functional.stdp."
    for algorithm in ("additive", "additive_step", "multiplicative_pow", "multiplicative_relu"):
        yield _probe(
            "stdp_step_linear.step", place + "stdp_step_linear", "forward",
            "eta_plus for 'synaptic potentiation', eta_minus for 'synaptic depression', a_pre and a_post for the "
            f"'Contribution' of spikes to traces, and {algorithm} of 'Options'", "it differs",
            linear_plasticity, algorithm, uses=(worst_pair, rate_of),
        )  # fmt: skip
    for stride, padding in ((1, 0), (2, 1)):
        yield _probe(
            "stdp_step_conv2d.step", place + "stdp_step_conv2d", "forward",
            "'STDP step for a conv2d LIF layer' with stride and padding", "it differs",
            convolutional_plasticity, stride, padding,
        )  # fmt: skip
    yield _probe(
        "stdp_step_conv2d.default", place + "stdp_step_conv2d", "forward",
        "p_stdp: 'Parameters of STDP', by default STDPParameters(), with 'stride', 'padding' and 'dilation'",
        "these three are stored with convolutional=True only: the default raises AttributeError", plasticity_default,
    )  # fmt: skip
    for limit in ("w_min", "w_max"):
        yield _probe(
            "STDPParameters.hardbound", place + "STDPParameters", "forward",
            "hardbound: 'Impose hardbounds by clipping', at w_min and w_max", "they are exceeded", bound, limit,
        )  # fmt: skip
    for name, which in (("pre_mask", "'pre-synaptic spikes'"), ("post_mask", "'post-synaptic spikes'")):
        for batch in (1, 2, 3):
            yield _probe(
                "correlation_sensor.batch", f"functional.correlation_sensor.{name}", "forward",
                f"the mask of {which} on 'the synapse array', one for each sample: LIFCorrelation makes "
                "states of (batch, inputs, outputs)",
                "the batch of the spikes is broadcast along the neurons: samples are mixed where the batch is as "
                "large as the layer, and any other batch above 1 raises RuntimeError",
                spikes_of_sample, name, batch,
            )  # fmt: skip
    for batch in (1, 3):
        yield _probe(
            "correlation_sensor.batch", "LIFCorrelation", "forward", "states for each sample of a batch",
            "a batch above 1 raises RuntimeError", samples, batch,
        )  # fmt: skip
    for name in ("correlation_trace", "anti_correlation_trace"):
        yield _probe(
            f"correlation_sensor.{name}", "functional.correlation_sensor.correlation_sensor_step", "forward",
            "'Euler integration step', tau_c_inv for correlation, tau_ac_inv for anti-correlation", "it differs",
            decayed_sensor, name,
        )  # fmt: skip
    yield _probe(
        "lif_correlation_step.neuron", "functional.lif_correlation.lif_correlation_step", "forward",
        "lif_step, and beside it correlation sensors", "it differs", correlated,
    )  # fmt: skip
    for subject, says in (
        ("functional.lsnn.LSNNParameters", "tau_adapt_inv: 'adaptation time constant' tau_b"),
        ("functional.tsodyks_makram.TsodyksMakramParameters", "tau_f_inv: 'facilitation time constant (in ms)'"),
        ("functional.stdp_sensor.STDPSensorParameters", "tau_c_inv: 'correlation sensor time constant'"),
    ):
        yield _probe(
            "parameters.inverse", subject, "documentation", says,
            "it is the inverse of a time constant, in 1 / s where dt is in s", constant, subject.rpartition(".")[2],
        )  # fmt: skip
