"""What the snnTorch probes measure; each function is also the body of a reproducer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bitprop.verification.peers._probes import worst_pair

__all__ = [
    "alpha_tau",
    "associative_count",
    "associative_state",
    "associative_value",
    "associative_width",
    "bits_of",
    "custom_surrogate",
    "default_slope",
    "delta_beta",
    "derivative_of",
    "dropped",
    "first_spike",
    "graded",
    "graded_inhibited",
    "hidden_spike",
    "inhibited",
    "kernel_run",
    "lapicque_beta",
    "lapicque_input",
    "lapicque_leak",
    "learnable_alpha",
    "learnable_count",
    "lstm_dtype",
    "multi_valued",
    "not_finite_of",
    "parallel_width",
    "peak_place",
    "reset_at_once",
    "reset_carried",
    "reset_default",
    "reset_switched",
    "single_valued",
    "slope_of",
    "spike_at_threshold",
    "suppressed",
    "upstream_of",
    "zeroed",
]


def slope_of(snntorch: Any, name: str, parameters: dict[str, Any], x: Tensor, upstream: Tensor) -> Tensor:
    """What backward makes of an upstream gradient."""
    leaf = x.clone().requires_grad_(True)
    spikes = getattr(snntorch.surrogate, name)(**parameters)(leaf)
    (slope,) = torch.autograd.grad(spikes, leaf, upstream.to(spikes.dtype))
    return slope


def derivative_of(
    snntorch: Any, name: str, parameters: dict[str, Any], formula: Callable[..., Tensor], points: tuple[float, ...]
) -> tuple[float, float]:
    """Backward against the documented derivative."""
    x = torch.tensor(points, dtype=torch.float64)
    try:
        computed = slope_of(snntorch, name, parameters, x, torch.ones_like(x))
    except (TypeError, RuntimeError):  # it cannot be called, or backward fails
        return float(formula(x, **parameters)[0]), math.nan
    return worst_pair(formula(x, **parameters), computed)


def upstream_of(snntorch: Any, name: str, parameters: dict[str, Any], points: tuple[float, ...]) -> tuple[float, float]:
    """Backward is the upstream gradient times the slope."""
    x = torch.tensor(points, dtype=torch.float64)
    upstream = torch.linspace(-2.0, 3.0, len(points), dtype=torch.float64)
    slope = slope_of(snntorch, name, parameters, x, torch.ones_like(x))
    return worst_pair(upstream * slope, slope_of(snntorch, name, parameters, x, upstream))


def spike_at_threshold(snntorch: Any, name: str, parameters: dict[str, Any]) -> tuple[float, float]:
    """Documented: 1 if U >= U_thr; the functions are given U - U_thr."""
    return 1.0, float(getattr(snntorch.surrogate, name)(**parameters)(torch.zeros(1)))


def not_finite_of(snntorch: Any, name: str, parameters: dict[str, Any], dtype: torch.dtype) -> tuple[float, float]:
    """How many gradients at membrane potentials from -100 to 100 are not finite."""
    x = torch.tensor([-100.0, -10.0, -4.0, -1.0, 0.0, 1.0, 4.0, 10.0, 100.0], dtype=dtype)
    slope = slope_of(snntorch, name, parameters, x, torch.ones_like(x))
    return 0.0, float((~torch.isfinite(slope)).sum())


def bits_of(snntorch: Any, name: str, parameters: dict[str, Any], dtype: torch.dtype) -> tuple[float, float]:
    """Bits of the spikes of an input of that dtype."""
    spikes = getattr(snntorch.surrogate, name)(**parameters)(torch.ones(1, dtype=dtype))
    return float(torch.finfo(dtype).bits), float(torch.finfo(spikes.dtype).bits)


def peak_place(snntorch: Any) -> tuple[float, float]:
    """Membrane potential with the largest slope of a neuron of threshold 1 under k exp(-beta |U - 1|)."""
    u = torch.linspace(0.0, 3.0, 3001, requires_grad=True)
    neuron = snntorch.Leaky(beta=0.0, threshold=1.0, spike_grad=snntorch.surrogate.spike_rate_escape())
    spikes, _ = neuron(u[None], torch.zeros(1, 3001))
    (slope,) = torch.autograd.grad(spikes.sum(), u)
    return 1.0, float(u[slope.argmax()].detach())


def first_spike(snntorch: Any, name: str, arguments: dict[str, Any]) -> tuple[float, float]:
    """Spike in the very step in which the potential passes the threshold; documented is one step later."""
    neuron = getattr(snntorch, name)(init_hidden=True, **arguments)
    return 0.0, float(neuron(torch.full((1, 1), 50.0)).flatten()[0])


def reset_default(snntorch: Any) -> tuple[float, float]:
    """Potential after a spike of a neuron made without reset_mechanism, which defaults to 'none' (documented)."""
    lapicque = snntorch.Lapicque(beta=0.5)
    leaking = 1.0 + math.log(0.5)  # 1 - T / tau
    _, mem = lapicque(torch.full((1, 1), 5.0), torch.zeros(1, 1))
    _, after = lapicque(torch.zeros(1, 1), mem)
    return float(mem) * leaking, float(after)


def default_slope(snntorch: Any) -> tuple[float, float]:
    """Slope at U = 0.5 of the default surrogate, documented as Heaviside's, which is zero below the threshold."""
    x = torch.full((1, 1), 0.5, requires_grad=True)
    spikes, _, _ = snntorch.Synaptic(alpha=0.0, beta=0.0)(x, torch.zeros(1, 1), torch.zeros(1, 1))
    (slope,) = torch.autograd.grad(spikes.sum(), x)
    return 0.0, float(slope)


def reset_switched(snntorch: Any) -> tuple[float, float]:
    """Potential after a spike once reset_mechanism has been set from 'subtract' to 'none'."""
    neuron = snntorch.Leaky(beta=1.0)
    neuron.reset_mechanism = "none"
    _, mem = neuron(torch.full((1, 1), 5.0), torch.zeros(1, 1))
    _, after = neuron(torch.zeros(1, 1), mem)
    return 5.0, float(after)


def zeroed(snntorch: Any) -> tuple[float, float]:
    """A state given to SpikingNeuron.zeros, 'used to clear hidden state variables to zero'."""
    state = torch.ones(1)
    snntorch.SpikingNeuron.zeros(state)
    return 0.0, float(state)


def learnable_alpha(snntorch: Any) -> tuple[float, float]:
    """Number of learnable parameters of Alpha with learn_alpha=True; NaN where it cannot be made."""
    try:
        neuron = snntorch.Alpha(alpha=0.9, beta=0.8, learn_alpha=True)
    except TypeError:
        return 1.0, math.nan
    return 1.0, float(sum(1 for _ in neuron.parameters()))


def alpha_tau(snntorch: Any) -> tuple[float, float]:
    """U[1] = tau_alpha (I_exc + I_inh) from states of 1 and 0, with the documented tau_alpha."""
    alpha, beta = 0.9, 0.8
    tau = math.log(alpha) / math.log(beta) - math.log(alpha) + 1.0
    neuron = snntorch.Alpha(alpha=alpha, beta=beta, threshold=1e9)
    _, _, _, mem = neuron(torch.zeros(1, 1), torch.ones(1, 1), torch.zeros(1, 1), torch.zeros(1, 1))
    return tau * alpha, float(mem)


def custom_surrogate(snntorch: Any, points: tuple[float, ...]) -> tuple[float, float]:
    """Gradient of a user's function of (input, gradient, spikes), as the user wrote it."""
    x = torch.tensor(points, dtype=torch.float64, requires_grad=True)
    upstream = torch.linspace(-2.0, 3.0, len(points))
    spike = snntorch.surrogate.custom_surrogate(lambda u, gradient, spikes: gradient * (2.0 * spikes + u))
    (slope,) = torch.autograd.grad(spike(x), x, upstream)
    return worst_pair(upstream * (2.0 * (x > 0) + x), slope)


def multi_valued(snntorch: Any, name: str) -> tuple[float, float]:
    """Decay rate of the second neuron with beta = (0.3, 0.6)."""
    beta = torch.tensor([0.3, 0.6])
    try:
        if name == "LeakyParallel":
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                return 0.6, float(snntorch.LeakyParallel(2, 2, beta=beta).rnn.weight_hh_l0[1, 1].detach())
        return 0.6, float(getattr(snntorch, name)(beta=beta).beta[1])
    except RuntimeError:
        return 0.6, math.nan


def single_valued(snntorch: Any) -> tuple[float, float]:
    """Decay rate of LeakyParallel with beta = torch.tensor(0.3)."""
    try:
        return 0.3, float(snntorch.LeakyParallel(2, 2, beta=torch.tensor(0.3)).rnn.weight_hh_l0[0, 0].detach())
    except TypeError:
        return 0.3, math.nan


def dropped(snntorch: Any) -> tuple[float, float]:
    """Share of spikes that LeakyParallel(dropout=0.5) drops in training mode, of 10,000 that are due."""
    layer = snntorch.LeakyParallel(1, 100, beta=0.0, bias=False, dropout=0.5)
    with torch.no_grad():
        layer.rnn.weight_ih_l0.fill_(1.0)
    share = 1.0 - float(layer.train()(torch.full((100, 1, 1), 9.0)).detach().mean())
    return 0.5, 0.5 if 0.4 < share < 0.6 else share


def parallel_width(snntorch: Any) -> tuple[float, float]:
    """Last dimension of the spikes of LeakyParallel(2, 20)."""
    return 2.0, float(snntorch.LeakyParallel(2, 20, beta=0.5)(torch.ones(1, 1, 2)).shape[-1])


def graded(snntorch: Any, name: str, arguments: dict[str, Any]) -> tuple[float, float]:
    """Size of a spike with graded_spikes_factor=3, of an input far above the threshold."""
    neuron = getattr(snntorch, name)(graded_spikes_factor=3.0, **arguments)
    if name == "LinearLeaky":
        with torch.no_grad():
            neuron.linear.weight.fill_(1.0)
    return 3.0, float(neuron(torch.full((1, 1, 1), 50.0))[0].detach())


def lapicque_leak(snntorch: Any, beta: float) -> tuple[float, float]:
    """Potential one step after a potential of 1, without input or reset: a decay rate between 0 and 1 times it."""
    neuron = snntorch.Lapicque(beta=beta, reset_mechanism="none")
    _, mem = neuron(torch.zeros(1, 1), torch.ones(1, 1))
    return min(beta, 1.0), float(mem)


def graded_inhibited(snntorch: Any, inhibition: bool) -> tuple[float, float]:
    """Largest of two spikes with graded_spikes_factor=3, both potentials far above the threshold."""
    neuron = snntorch.Leaky(beta=0.5, graded_spikes_factor=3.0, inhibition=inhibition)
    return 3.0, float(neuron(torch.tensor([[40.0, 50.0]]))[0].detach().max())


def kernel_run(snntorch: Any, name: str, size: int, more: dict[str, Any]) -> tuple[float, float]:
    """Spikes of a 4 x 4 input after two steps with a recurrent convolution of that size; NaN where it raises."""
    with torch.random.fork_rng(devices=[]):
        if name == "SConv2dLSTM":
            neuron = snntorch.SConv2dLSTM(1, 1, size, init_hidden=True)
        else:
            neuron = getattr(snntorch, name)(beta=0.5, conv2d_channels=1, kernel_size=size, init_hidden=True, **more)
    x = torch.ones(1, 1, 4, 4)
    try:
        neuron(x)
        return 16.0, float(neuron(x).numel())
    except RuntimeError:
        return 16.0, math.nan


def learnable_count(snntorch: Any, name: str, arguments: dict[str, Any]) -> tuple[float, float]:
    """Learnable parameters beside weights that get a gradient, and all of them, with learn_beta=True."""
    neuron = getattr(snntorch, name)(beta=0.5, learn_beta=True, **arguments)
    neuron(torch.ones(3, 1, 1))[1].sum().backward()
    return 1.0, float(sum(1 for key, _ in neuron.named_parameters() if not key.startswith("linear")))


def lapicque_beta(snntorch: Any) -> tuple[float, float]:
    """Decay in one step, 1 - T / tau with tau = -1 / log(beta), once a learnable beta has moved from 0.5 to 0.9."""
    neuron = snntorch.Lapicque(beta=0.5, learn_beta=True)
    with torch.no_grad():
        neuron.beta.fill_(0.9)
    _, mem = neuron(torch.zeros(1, 1), torch.full((1, 1), 0.5))
    return 1.0 + math.log(0.9), float(mem.detach()) / 0.5


def lapicque_input(snntorch: Any) -> tuple[float, float]:
    """Potential from an input of 1 with R = 2, C = 3, by the equation for reset_mechanism='zero': I_in T / tau."""
    _, mem = snntorch.Lapicque(R=2.0, C=3.0, reset_mechanism="zero")(torch.ones(1, 1), torch.zeros(1, 1))
    return 1.0 / 6.0, float(mem)


def suppressed(snntorch: Any, name: str, arguments: dict[str, Any]) -> tuple[float, float]:
    """Potential of a neuron at 2 that inhibition kept from spiking, one step later without leak or input."""
    neuron = getattr(snntorch, name)(inhibition=True, init_hidden=True, output=True, **arguments)
    spikes = neuron(torch.tensor([[2.0, 3.0]]))[0]
    after = neuron(torch.zeros(1, 2))[-1]
    return 2.0 - float(spikes[0, 0].detach()), float(after[0, 0].detach())


def inhibited(snntorch: Any, name: str, arguments: tuple[int, ...], shape: tuple[int, ...]) -> tuple[float, float]:
    """Spikes in one step with inhibition=True where every neuron is above the threshold: one."""
    with torch.random.fork_rng(devices=[]):
        neuron = getattr(snntorch, name)(*arguments, inhibition=True, threshold=-1.0)
    return 1.0, float(neuron(torch.ones(shape))[0].detach().sum())


def reset_at_once(snntorch: Any, name: str, arguments: dict[str, Any]) -> tuple[float, float]:
    """Potential in the step of a spike from an input of 5, with reset_delay=False: 4; NaN where it raises."""
    neuron = getattr(snntorch, name)(init_hidden=True, output=True, reset_delay=False, **arguments)
    try:
        return 4.0, float(neuron(torch.full((1, 1), 5.0))[-1].detach())
    except TypeError:
        return 4.0, math.nan


def reset_carried(snntorch: Any, name: str, arguments: dict[str, Any]) -> tuple[float, float]:
    """Spikes of three steps, with reset_delay=False and no leak, of an input of 3.5 in the first: 3.5, 2.5, 1.5."""
    neuron = getattr(snntorch, name)(beta=1.0, init_hidden=True, output=True, reset_delay=False, **arguments)
    inputs = (torch.full((1, 1), x) for x in (3.5, 0.0, 0.0))
    return 3.0, float(sum(neuron(x)[0].detach() for x in inputs))


def hidden_spike(snntorch: Any, name: str, arguments: dict[str, Any], what: str) -> tuple[float, float]:
    """The spike that is fed back, after reset_hidden: 0; whether it needs a gradient after detach_hidden: 0."""
    neuron = getattr(snntorch, name)(all_to_all=False, init_hidden=True, **arguments)
    neuron(torch.full((1, 1), 5.0, requires_grad=True))
    getattr(snntorch, name).reset_hidden() if what == "reset" else getattr(snntorch, name).detach_hidden()
    return 0.0, float(neuron.spk.detach()) if what == "reset" else float(neuron.spk.requires_grad)


def lstm_dtype(snntorch: Any) -> tuple[float, float]:
    """Bits of the potential of SLSTM in float64; NaN where it raises."""
    with torch.random.fork_rng(devices=[]):
        cell = snntorch.SLSTM(3, 3).double()
    try:
        return 64.0, float(torch.finfo(cell(torch.ones(1, 3, dtype=torch.float64))[2].dtype).bits)
    except RuntimeError:
        return 64.0, math.nan


def delta_beta(snntorch: Any) -> tuple[float, float]:
    """Potential of DeltaLeaky(beta=1.5), clipped to 1 as in Leaky, from 1 without input."""
    _, (mem, _) = snntorch.DeltaLeaky(beta=1.5)(torch.zeros(1, 1), (torch.ones(1, 1), torch.ones(1, 1)))
    return 1.0, float(mem)


def associative_state(snntorch: Any, steps: int) -> tuple[float, float]:
    """Spike for a write v k = 4 in the last of some steps whose decay is 0.5 and which wrote nothing before."""
    layer = snntorch.AssociativeLeaky(1, 1, 1, 1, use_q_projection=False)
    with torch.no_grad():
        for linear, weight in ((layer.to_v, 2.0), (layer.to_k, 2.0), (layer.to_alpha, 0.0)):
            linear.weight.fill_(weight)
            linear.bias.zero_()
    x = torch.zeros(steps, 1, 1)
    x[-1] = 1.0
    return 1.0, float(layer(x)[-1].detach())


def associative_value(snntorch: Any) -> tuple[float, float]:
    """Entry of the flattened state S after one write v k = 4, with use_q_projection=False."""
    layer = snntorch.AssociativeLeaky(1, 1, 1, 1, use_q_projection=False)
    with torch.no_grad():
        for linear in (layer.to_v, layer.to_k):
            linear.weight.fill_(2.0)
            linear.bias.zero_()
    return 4.0, float(layer(torch.ones(1, 1, 1)).detach())


def associative_count(snntorch: Any) -> tuple[float, float]:
    """Neurons of AssociativeLeaky with num_spiking_neurons=None, d_value = 2 and d_key = 3; NaN where it raises."""
    try:
        return 6.0, float(snntorch.AssociativeLeaky(2, 2, 3, None).num_spiking_neurons)
    except TypeError:
        return 6.0, math.nan


def associative_width(snntorch: Any) -> tuple[float, float]:
    """Last dimension of the output with d_value = 2 and d_key = 3: num_spiking_neurons."""
    return 6.0, float(snntorch.AssociativeLeaky(2, 2, 3, 6)(torch.ones(1, 1, 2)).shape[-1])
