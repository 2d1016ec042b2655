"""Measurements of Sinabs's spike functions and layers, one function for each statement of the documentation.

What a function returns is (documented, computed); a crash where the documentation promises a result is NaN.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bitprop.verification.peers._probes import Probe, linear_spike, worst_pair

__all__ = [
    "alpha_start",
    "exp_leak_bound",
    "exp_leak_input",
    "exponential",
    "gaussian",
    "heaviside",
    "iaf_dynamics",
    "leak_dynamics",
    "lif_bound",
    "lif_dynamics",
    "lif_synapse",
    "membrane_reset",
    "membrane_subtract",
    "multi_gaussian",
    "neuromorphic_relu",
    "quantize",
    "recordings",
    "recurrent_buffers",
    "recurrent_chunks",
    "recurrent_copy",
    "recurrent_dtype",
    "recurrent_dynamics",
    "recurrent_input",
    "reset_states",
    "rounding_bits",
    "shared_slope",
    "shared_threshold",
    "sinabs_probe",
    "spike_backward",
    "spike_bits",
    "spike_finite",
    "spikes",
    "squeezed",
    "surrogate_at",
]


def sinabs_probe(
    key: str,
    subject: str,
    kind: str,
    says: str,
    found: str,
    measure: Callable[..., tuple[float, float]],
    *arguments: Any,
    uses: tuple[Callable[..., Any], ...] = (),
    tolerance: float = 1e-6,
) -> Probe:
    """A probe whose key starts with the framework's name."""
    return Probe(f"sinabs.{key}", subject, kind, says, found, measure, arguments, uses, tolerance)


def normal(x: Tensor, mean: float, sigma: float) -> Tensor:
    """Density of the normal distribution."""
    return torch.exp(-((x - mean) ** 2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi))


def gaussian(v: Tensor, threshold: float, mu: float = 0.0, sigma: float = 0.5, grad_scale: float = 1.0) -> Tensor:
    """Documented: a Gaussian of mean mu and deviation sigma around the threshold, scaled."""
    return grad_scale * normal(v - threshold, mu, sigma)


def multi_gaussian(
    v: Tensor,
    threshold: float,
    mu: float = 0.0,
    sigma: float = 0.5,
    h: float = 0.15,
    s: float = 6,
    grad_scale: float = 1.0,
) -> Tensor:
    """Documented: Yin et al. 2021, (1 + h) N(mu, sigma) - h N(sigma, s sigma) - h N(-sigma, s sigma)."""
    x = v - threshold
    wide = normal(x, sigma, s * sigma) + normal(x, -sigma, s * sigma)
    return grad_scale * ((1 + h) * normal(x, mu, sigma) - h * wide)


def heaviside(v: Tensor, threshold: float, window: float = 1.0) -> Tensor:
    """Documented: a step at a distance of window below the threshold, relative to the threshold."""
    return (v >= threshold * (1 - window)).to(v) / threshold


def exponential(v: Tensor, threshold: float, grad_width: float = 0.5, grad_scale: float = 1.0) -> Tensor:
    """A two-sided exponential around the threshold, its width relative to the threshold."""
    width = threshold * grad_width
    return grad_scale / width * torch.exp(-(v - threshold).abs() / width)


def surrogate_at(
    sinabs: Any,
    name: str,
    parameters: dict[str, Any],
    threshold: float,
    formula: Callable[..., Tensor],
    points: tuple[float, ...],
) -> tuple[float, float]:
    """The documented slope and the gradient that a spike function passes on with it, where they differ most."""
    surrogate = getattr(sinabs.activation, name)(**parameters)
    v = torch.tensor(points, dtype=torch.float64, requires_grad=True)
    upstream = torch.linspace(0.5, 2.0, len(points))
    sinabs.activation.SingleSpike.apply(v, threshold, surrogate).backward(upstream)
    return worst_pair(formula(v.detach(), threshold, **parameters), v.grad / upstream)  # type: ignore[arg-type, operator]


def spike_backward(sinabs: Any, name: str, surrogate: str, points: tuple[float, ...]) -> tuple[float, float]:
    """surrogate_grad_fn times the upstream gradient, and what backward returns, where they differ most."""
    slope, function = getattr(sinabs.activation, surrogate)(), getattr(sinabs.activation, name)
    function = function(3) if name == "MaxSpike" else function
    v = torch.tensor(points, dtype=torch.float64, requires_grad=True)
    upstream = torch.linspace(0.5, 2.0, len(points))
    function.apply(v, 1.25, slope).backward(upstream)
    return worst_pair(upstream * slope(v.detach(), 1.25), v.grad)  # type: ignore[arg-type]


def spikes(sinabs: Any, name: str, largest: float, points: tuple[float, ...]) -> tuple[float, float]:
    """The potential divided by the threshold, rounded down, within 0 .. largest."""
    function = getattr(sinabs.activation, name)
    function = function(3) if name == "MaxSpike" else function
    v = torch.tensor(points, dtype=torch.float64)
    computed = function.apply(v, 0.5, sinabs.activation.SingleExponential())
    return worst_pair(torch.floor(v / 0.5).clamp(0, largest), computed)


def spike_bits(sinabs: Any, name: str, dtype: torch.dtype) -> tuple[float, float]:
    """Bits of the membrane potential's dtype and of the spikes'."""
    function = getattr(sinabs.activation, name)
    function = function(3) if name == "MaxSpike" else function
    out = function.apply(torch.tensor([0.5, 1.5], dtype=dtype), 1.0, sinabs.activation.SingleExponential())
    return float(torch.finfo(dtype).bits), float(torch.finfo(out.dtype).bits)


def rounding_bits(sinabs: Any, name: str, dtype: torch.dtype) -> tuple[float, float]:
    """Bits of the input's dtype and of the output's."""
    with torch.random.fork_rng(devices=[]):
        out = getattr(sinabs.activation, name).apply(torch.tensor([0.5, 1.5], dtype=dtype))
    return float(torch.finfo(dtype).bits), float(torch.finfo(out.dtype).bits)


def spike_finite(sinabs: Any, surrogate: str, dtype: torch.dtype) -> tuple[float, float]:
    """How many gradients are not finite at potentials from -100 to 100: none should be."""
    v = torch.tensor([-100.0, -1.0, -0.0, 0.0, 1.0, 100.0], dtype=dtype, requires_grad=True)
    sinabs.activation.SingleSpike.apply(v, 1.0, getattr(sinabs.activation, surrogate)()).sum().backward()
    return 0.0, float((~v.grad.isfinite()).sum())  # type: ignore[union-attr]


def membrane_reset(sinabs: Any, spiked: float) -> tuple[float, float]:
    """A potential of 0.25 after MembraneReset(0.5): 0.5 where it spiked, unchanged where it did not."""
    reset = sinabs.activation.MembraneReset(reset_value=0.5)
    state = reset(torch.tensor([spiked]), {"v_mem": torch.tensor([0.25])}, 1.0)
    return 0.5 if spiked else 0.25, float(state["v_mem"])


def membrane_subtract(sinabs: Any, value: float | None) -> tuple[float, float]:
    """A potential of 2.5 after two spikes at a threshold of 1: less twice the value, or the threshold."""
    reset = sinabs.activation.MembraneSubtract(value)
    state = reset(torch.tensor([2.0]), {"v_mem": torch.tensor([2.5])}, 1.0)
    return 2.5 - 2 * (1.0 if value is None else value), float(state["v_mem"])


def quantize(sinabs: Any, points: tuple[float, ...]) -> tuple[float, float]:
    """Quantize: floor, and the gradient of a linear function."""
    x = torch.tensor(points, dtype=torch.float64, requires_grad=True)
    out = sinabs.activation.Quantize.apply(x)
    out.sum().backward()
    return worst_pair(torch.cat([x.detach().floor(), torch.ones_like(x)]), torch.cat([out, x.grad]))  # type: ignore[list-item]


def neuromorphic_relu(sinabs: Any, what: str) -> tuple[float, float]:
    """In evaluation mode, 1.7 is floored to 1, with the straight-through gradient of Quantize."""
    layer = sinabs.layers.NeuromorphicReLU(stochastic_rounding=True).eval()
    x = torch.tensor([1.7], requires_grad=True)
    out = layer(x)
    out.sum().backward()
    return 1.0, float(out.detach()) if what == "output" else float(x.grad)  # type: ignore[arg-type]


def shared_threshold(sinabs: Any) -> tuple[float, float]:
    """Threshold of one LIF layer after another one, built alike, loaded a state with a threshold of 3."""
    first, second = sinabs.layers.LIF(tau_mem=10.0), sinabs.layers.LIF(tau_mem=10.0)
    try:
        first.load_state_dict({**first.state_dict(), "spike_threshold": torch.tensor(3.0)})
        return 1.0, float(second.spike_threshold)
    finally:
        with torch.no_grad():
            first.spike_threshold.fill_(1.0)


def shared_slope(sinabs: Any, name: str) -> tuple[float, float]:
    """grad_scale of one layer's surrogate gradient after another one's was set to 3: 1."""
    parameters = {"IAF": {}, "LIF": {"tau_mem": 5.0}, "ALIF": {"tau_mem": 5.0, "tau_adapt": 10.0}}[name]
    first, second = (getattr(sinabs.layers, name)(**parameters) for _ in range(2))
    first.surrogate_grad_fn.grad_scale = 3.0
    try:
        return 1.0, float(second.surrogate_grad_fn.grad_scale)
    finally:
        first.surrogate_grad_fn.grad_scale = 1.0


def recurrent_buffers(sinabs: Any) -> tuple[float, float]:
    """Steps that a recurrent layer runs whose connection normalizes, as any nn.Module may: two."""
    with torch.random.fork_rng(devices=[]):
        connect = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
    layer = sinabs.layers.LIFRecurrent(tau_mem=5.0, rec_connect=connect)
    try:
        return 2.0, float(layer(torch.ones(2, 2, 3)).shape[1])
    except KeyError:
        return 2.0, math.nan


def lif_dynamics(sinabs: Any, what: str, parameters: dict[str, Any], learnable: str) -> tuple[float, float]:
    """LIF as documented over eight steps: spikes, or gradients of input and time constant, where they differ most."""
    layer = sinabs.layers.LIF(tau_mem=4.0, spike_fn=sinabs.activation.SingleSpike, **parameters).double()
    x = torch.rand(2, 8, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 4 - 0.5
    leaf, twin = x.clone().requires_grad_(), x.clone().requires_grad_()
    out = layer(leaf)
    constant = getattr(layer, learnable)
    known = constant.detach().clone().requires_grad_()
    alpha = known if learnable.startswith("alpha") else torch.exp(-1.0 / known)
    v, outputs = torch.zeros_like(x[:, 0]), []
    for t in range(8):
        v = alpha * v + (1 - alpha if parameters["norm_input"] else 1.0) * twin[:, t]
        s = linear_spike(v - 1.0, lambda z: exponential(z + 1.0, 1.0))
        v = v - s
        outputs.append(s)
    if what == "spikes":
        return worst_pair(torch.stack(outputs, 1), out)
    weights = torch.linspace(-1, 2, x.numel(), dtype=torch.float64).view_as(x)
    computed = torch.autograd.grad((out * weights).sum(), [leaf, constant])
    documented = torch.autograd.grad((torch.stack(outputs, 1) * weights).sum(), [twin, known])
    return worst_pair(torch.cat([g.flatten() for g in documented]), torch.cat([g.flatten() for g in computed]))


def iaf_dynamics(sinabs: Any, what: str) -> tuple[float, float]:
    """IAF as documented, V + z and reset by subtraction: spikes or gradient, where they differ most."""
    layer = sinabs.layers.IAF(spike_fn=sinabs.activation.SingleSpike).double()
    x = torch.rand(2, 8, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    leaf, twin = x.clone().requires_grad_(), x.clone().requires_grad_()
    out, v, outputs = layer(leaf), torch.zeros_like(x[:, 0]), []
    for t in range(8):
        v = v + twin[:, t]
        s = linear_spike(v - 1.0, lambda z: exponential(z + 1.0, 1.0))
        v = v - s
        outputs.append(s)
    if what == "spikes":
        return worst_pair(torch.stack(outputs, 1), out)
    weights = torch.linspace(-1, 2, x.numel(), dtype=torch.float64).view_as(x)
    (computed,) = torch.autograd.grad((out * weights).sum(), leaf)
    (documented,) = torch.autograd.grad((torch.stack(outputs, 1) * weights).sum(), twin)
    return worst_pair(documented, computed)


def leak_dynamics(sinabs: Any, train_alphas: bool) -> tuple[float, float]:
    """ExpLeak with norm_input=True as documented: output and gradients, where they differ most."""
    layer = sinabs.layers.ExpLeak(tau_mem=4.0, norm_input=True, train_alphas=train_alphas).double()
    x = torch.rand(1, 6, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    leaf, twin = x.clone().requires_grad_(), x.clone().requires_grad_()
    constant = layer.alpha_mem if train_alphas else layer.tau_mem
    known = constant.detach().clone().requires_grad_()
    alpha = known if train_alphas else torch.exp(-1.0 / known)
    v, outputs = torch.zeros_like(x[:, 0]), []
    for t in range(6):
        v = alpha * v + (1 - alpha) * twin[:, t]
        outputs.append(v)
    computed = torch.autograd.grad(layer(leaf).square().sum(), [leaf, constant])
    documented = torch.autograd.grad(torch.stack(outputs).square().sum(), [twin, known])
    return worst_pair(torch.cat([g.flatten() for g in documented]), torch.cat([g.flatten() for g in computed]))


def lif_bound(sinabs: Any) -> tuple[float, float]:
    """Potential of LIF at an input of -5 with min_v_mem = -0.5."""
    layer = sinabs.layers.LIF(tau_mem=4.0, min_v_mem=-0.5, norm_input=False)
    layer(torch.full((1, 3, 1), -5.0))
    return -0.5, float(layer.v_mem.detach())


def lif_synapse(sinabs: Any) -> tuple[float, float]:
    """Decay of the synaptic current of LIF in one step: exp(-1 / tau_syn)."""
    layer = sinabs.layers.LIF(tau_mem=5.0, tau_syn=5.0, record_states=True)
    x = torch.zeros(1, 2, 1)
    x[:, 0] = 1.0
    layer(x)
    current = layer.recordings["i_syn"].detach().flatten()
    return math.exp(-1 / 5), float(current[1] / current[0])


def alpha_start(sinabs: Any, name: str) -> tuple[float, float]:
    """alpha_mem = exp(-1 / tau_mem) where alphas are trained."""
    parameters = {"tau_adapt": 10.0} if name == "ALIF" else {}
    layer = getattr(sinabs.layers, name)(tau_mem=5.0, train_alphas=True, **parameters)
    return math.exp(-1 / 5), float(layer.alpha_mem.detach())


def squeezed(sinabs: Any, name: str, parameters: dict[str, Any]) -> tuple[float, float]:
    """A layer, and its variant for squeezed input, where they differ most."""
    x = torch.rand(2, 5, 3, 2, 2, generator=torch.Generator().manual_seed(4)) * 3
    full = getattr(sinabs.layers, name)(**parameters)(x)
    module = sinabs.layers.alif if name == "ALIF" else sinabs.layers
    flat = getattr(module, name + "Squeeze")(batch_size=2, **parameters)(x.flatten(0, 1))
    return worst_pair(full.flatten(0, 1), flat)


def recordings(sinabs: Any, name: str, parameters: dict[str, Any]) -> tuple[float, float]:
    """First recorded v_mem of six steps, and v_mem after a run of the first step alone."""
    x, found = torch.full((1, 6, 1), 0.7), []
    for steps in (1, 6):
        extra = dict(parameters)
        if name.endswith("Recurrent"):
            extra["rec_connect"] = torch.nn.Identity()
        layer = getattr(sinabs.layers, name)(record_states=True, **extra)
        layer(x[:, :steps])
        found.append(float(layer.v_mem.detach() if steps == 1 else layer.recordings["v_mem"][0, 0, 0].detach()))
    return found[0], found[1]


def recurrent_input(sinabs: Any) -> tuple[float, float]:
    """Potential at the second step: input 0.25 and a recurrent current of 0.5, as the product that the equation has."""
    connect = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        connect.weight.fill_(0.5)
    layer = sinabs.layers.LIFRecurrent(tau_mem=5.0, rec_connect=connect, norm_input=False)
    layer(torch.tensor([[[1.0], [0.25]]]))
    return 0.25 * 0.5, float(layer.v_mem.detach())


def recurrent_dynamics(sinabs: Any, what: str) -> tuple[float, float]:
    """LIFRecurrent over eight steps: spikes, or gradients of input and recurrent weight, where they differ most."""
    with torch.random.fork_rng(devices=[]):
        connect = torch.nn.Linear(3, 3, bias=False)
    with torch.no_grad():
        connect.weight.copy_(torch.linspace(-0.4, 0.5, 9).view(3, 3))
    spike_fn = sinabs.activation.SingleSpike
    layer = sinabs.layers.LIFRecurrent(tau_mem=4.0, rec_connect=connect, norm_input=False, spike_fn=spike_fn)
    x = torch.rand(2, 8, 3, generator=torch.Generator().manual_seed(6))
    leaf, twin, weight = x.clone().requires_grad_(), x.clone().requires_grad_(), connect.weight.detach().clone()
    weight.requires_grad_()
    out, v, s, outputs = layer(leaf), torch.zeros_like(x[:, 0]), torch.zeros_like(x[:, 0]), []
    for t in range(8):
        v = math.exp(-1 / 4) * v + twin[:, t] + s @ weight.T
        s = linear_spike(v - 1.0, lambda z: exponential(z + 1.0, 1.0))
        v = v - s
        outputs.append(s)
    if what == "spikes":
        return worst_pair(torch.stack(outputs, 1), out)
    weights = torch.linspace(-1, 2, x.numel()).view_as(x)
    computed = torch.autograd.grad((out * weights).sum(), [leaf, connect.weight])
    documented = torch.autograd.grad((torch.stack(outputs, 1) * weights).sum(), [twin, weight])
    return worst_pair(torch.cat([g.flatten() for g in documented]), torch.cat([g.flatten() for g in computed]))


def recurrent_chunks(sinabs: Any, name: str, parameters: dict[str, Any]) -> tuple[float, float]:
    """Spikes and final potential of four steps in one call, and in two calls, without a reset between them."""
    x, found = torch.full((1, 4, 1), 6.0), []
    for chunks in (1, 2):
        layer = getattr(sinabs.layers, name)(rec_connect=torch.nn.Identity(), **parameters)
        total = sum(float(layer(chunk).sum().detach()) for chunk in x.chunk(chunks, dim=1))
        found.append(total + float(layer.v_mem.detach()))
    return found[0], found[1]


def recurrent_copy(sinabs: Any, name: str, parameters: dict[str, Any]) -> tuple[float, float]:
    """Recurrent weights of a deep copy: as many as of the layer, 9."""
    layer = getattr(sinabs.layers, name)(rec_connect=torch.nn.Linear(3, 3, bias=False), **parameters)
    try:
        return 9.0, float(copy.deepcopy(layer).rec_connect.weight.numel())
    except (AttributeError, TypeError):
        return 9.0, math.nan


def recurrent_dtype(sinabs: Any) -> tuple[float, float]:
    """Steps that a recurrent layer in float64 runs on an input in float64: two."""
    layer = sinabs.layers.LIFRecurrent(tau_mem=5.0, rec_connect=torch.nn.Linear(1, 1)).double()
    try:
        return 2.0, float(layer(torch.ones(1, 2, 1, dtype=torch.float64)).shape[1])
    except RuntimeError:
        return 2.0, math.nan


def exp_leak_input(sinabs: Any) -> tuple[float, float]:
    """Output of ExpLeak(tau_mem=5) after an input of 1: (1 - alpha)."""
    return 1 - math.exp(-1 / 5), float(sinabs.layers.ExpLeak(tau_mem=5.0)(torch.ones(1, 1, 1)).detach())


def exp_leak_bound(sinabs: Any) -> tuple[float, float]:
    """Lowest output of ExpLeak at an input of -5 with min_v_mem = -0.5, which its potential keeps."""
    layer = sinabs.layers.ExpLeak(tau_mem=4.0, min_v_mem=-0.5)
    return -0.5, float(layer(torch.full((1, 3, 1), -5.0)).min().detach())


def reset_states(sinabs: Any, name: str, parameters: dict[str, Any]) -> tuple[float, float]:
    """Potential of a layer in a Sequential after sinabs.reset_states: 0."""
    if "Recurrent" in name:
        parameters = {**parameters, "rec_connect": torch.nn.Identity()}
    layer = getattr(sinabs.layers, name)(**parameters)
    model = torch.nn.Sequential(layer)
    model(0.3 * torch.ones(1, 2, 1))
    sinabs.reset_states(model)
    return 0.0, float(layer.v_mem.detach())
