"""Measurements of Norse's modules: what they record, register, copy and chain, and what their examples return."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch

from bitprop.verification.peers._probes import worst_pair

__all__ = [
    "chained_method",
    "chained_size",
    "copied_autapses",
    "counted",
    "custom_weights",
    "example_shape",
    "fed_back",
    "hooked",
    "in_two_parts",
    "izhikevich_in_time",
    "lifted_example",
    "lifted_state",
    "logic",
    "padded",
    "parameters_taken",
    "pickled",
    "recorded",
    "resting_recovery",
    "shared_potential",
    "smoothed",
    "sparse_input",
    "spike_seconds",
    "trained",
]

# -- layers of neurons -----------------------------------------------------------------------------------------------


def example_shape(
    nt: Any, name: str, arguments: tuple[int, ...], data: tuple[int, ...], shape: tuple[int, ...]
) -> tuple[float, float]:
    """Sizes of the output that are as the docstring's example says: all of them."""
    with torch.random.fork_rng(devices=[]):
        found = getattr(nt, name)(*arguments)(torch.zeros(data))[0].shape
    return float(len(shape)), float(sum(a == b for a, b in zip(found, shape, strict=False)))


def recorded(nt: Any, name: str, arguments: tuple[int, ...]) -> tuple[float, float]:
    """Potentials of each of five steps, and those that a layer with record_states=True returns."""
    x, states = 20.0 * torch.rand(5, 2, 3, generator=torch.Generator().manual_seed(1)), []
    with torch.random.fork_rng(devices=[]):
        layer = getattr(nt, name)(*arguments, record_states=True)
    _, all_states = layer(x)
    layer.record_states = False
    for steps in range(1, 6):
        states.append(layer(x[:steps])[1])

    def potential(state: Any) -> Any:
        return state.v if hasattr(state, "v") else next(inner.v for inner in state if hasattr(inner, "v"))

    documented, found = torch.stack([potential(state) for state in states]), potential(all_states)
    if documented.shape != found.shape:
        return float(documented.numel()), float(found.numel())
    return worst_pair(documented, found)


def in_two_parts(nt: Any, name: str, arguments: tuple[int, ...]) -> tuple[float, float]:
    """Output of six steps at once, and in two calls of three with the state handed on."""
    x = 20.0 * torch.rand(6, 2, 3, generator=torch.Generator().manual_seed(1))
    with torch.random.fork_rng(devices=[]):
        layer = getattr(nt, name)(*arguments)
    first, state = layer(x[:3])
    second, _ = layer(x[3:], state)
    return worst_pair(layer(x)[0], torch.cat([first, second]))


def trained(nt: Any, name: str, parameters: str, arguments: tuple[int, ...]) -> tuple[float, float]:
    """Parameters of a layer beside its weights, where its neuron's are a module with one nn.Parameter."""
    values, module = getattr(nt, parameters)(), torch.nn.Module()
    if name.startswith("LIFRefrac"):
        module.rho_reset, module.lif = values.rho_reset, torch.nn.Module()
        inner, values = module.lif, values.lif
    else:
        inner = module
    for key, value in values._asdict().items():
        setattr(inner, key, value)
    inner.tau_mem_inv = torch.nn.Parameter(values.tau_mem_inv.clone())
    with torch.random.fork_rng(devices=[]):
        layer = getattr(nt, name)(*arguments, p=module)
    return 1.0, float(sum("weights" not in key for key, _ in layer.named_parameters()))


def copied_autapses(nt: Any, name: str, copied: bool) -> tuple[float, float]:
    """Gradient of the self-connections of a layer, or of a deep copy: self-connections are off by default."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = getattr(nt, name)(3, 4)
    if copied:
        layer = copy.deepcopy(layer)
    x, state, total = 40.0 * torch.rand(8, 2, 3, generator=torch.Generator().manual_seed(1)), None, torch.zeros(())
    for x_t in x:
        out, state = layer(x_t if name.endswith("Cell") else x_t[None], state)
        total = total + out.sum()
    (gradient,) = torch.autograd.grad(total, layer.recurrent_weights)
    return 0.0, float(gradient.diagonal().abs().sum())


def custom_weights(nt: Any, name: str, autapses: bool) -> tuple[float, float]:
    """Sum of the self-connections of custom recurrent weights, which are removed unless allowed."""
    with torch.random.fork_rng(devices=[]):
        layer = getattr(nt, name)(3, 4, recurrent_weights=torch.ones(4, 4), autapses=autapses)
    return 4.0 if autapses else 0.0, float(layer.recurrent_weights.detach().diagonal().sum())


def sparse_input(nt: Any, name: str, arguments: tuple[int, ...]) -> tuple[float, float]:
    """Spikes for an input, and for the same input as a sparse tensor; NaN where it raises."""
    x = 40.0 * (torch.rand(6, 2, 3, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = getattr(nt, name)(*arguments)
    dense = layer(x)[0]
    try:
        return worst_pair(dense, layer(x.to_sparse())[0].to_dense())
    except RuntimeError:
        return float(dense.detach().sum()), math.nan


def izhikevich_in_time(nt: Any, recurrent: bool) -> tuple[float, float]:
    """A layer of Izhikevich neurons over 40 steps, and its cell looped, where spikes differ most."""
    arguments, names = ((3, 4), ("IzhikevichRecurrent", "IzhikevichRecurrentCell")) if recurrent else ((), ())
    names = names or ("Izhikevich", "IzhikevichCell")
    with torch.random.fork_rng(devices=[]):
        layer, cell = (getattr(nt, name)(*arguments, nt.functional.izhikevich.tonic_spiking) for name in names)
    cell.load_state_dict(layer.state_dict())
    x, outputs, state = torch.full((40, 2, 3), 30.0), [], None
    for x_t in x:
        z, state = cell(x_t, state)
        outputs.append(z)
    return worst_pair(torch.stack(outputs), layer(x)[0])


def shared_potential(nt: Any, name: str) -> tuple[float, float]:
    """Whether the given initial potential requires a gradient after one step: it did not before."""
    module, initial = nt.functional.izhikevich, torch.full((), -70.0)
    behaviour = module.IzhikevichSpikingBehavior(
        module.tonic_spiking.p, module.IzhikevichState(initial, torch.full((), -14.0))
    )
    getattr(nt, name)(behaviour)(torch.ones(2, 1))
    return 0.0, float(initial.requires_grad)


def parameters_taken(nt: Any, name: str, arguments: tuple[int, ...]) -> tuple[float, float]:
    """Whether the documented argument p, IzhikevichParameters, makes a layer: 1."""
    try:
        with torch.random.fork_rng(devices=[]):
            getattr(nt, name)(*arguments, p=nt.IzhikevichParameters(0.02, 0.2, -65.0, 6.0))
    except TypeError:
        return 1.0, 0.0
    return 1.0, 1.0


def resting_recovery(nt: Any) -> tuple[float, float]:
    """Initial recovery variable of a neuron made with u_rest = -14 and b = 0.2: -14."""
    make = nt.functional.izhikevich.create_izhikevich_spiking_behavior
    return -14.0, float(make(0.02, 0.2, -65.0, 6.0, -70.0, -14.0).s.u)


def pickled(nt: Any, parameters: str) -> tuple[float, float]:
    """Whether a lifted function with parameters can be pickled: 1."""
    import pickle

    lifted = nt.functional.lift.lift(nt.functional.lif.lif_feed_forward_step, getattr(nt, parameters)())
    try:
        return 1.0, float(len(pickle.dumps(lifted)) > 0)
    except pickle.PicklingError:
        return 1.0, 0.0


# -- modules around them ---------------------------------------------------------------------------------------------


def lifted_state(nt: Any, stateful: bool) -> tuple[float, float]:
    """Output of a lifted module for x, and for a tuple of x and another tensor: the latter is ignored."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nt.Lift(torch.nn.RNN(1, 1) if stateful else torch.nn.Identity())
    x = torch.full((2, 1, 1), 0.1)
    plain, given = module(x), module((x, torch.ones(1, 1)))
    return worst_pair(plain[0], given[0]) if stateful else worst_pair(plain, given)


def lifted_example(nt: Any, first: bool) -> tuple[float, float]:
    """Whether the docstring's first or second example runs, with four steps: 1."""
    conv = nt.Lift(torch.nn.Conv2d(64, 32, 5, 1))
    try:
        conv(torch.zeros(4, 16, 20, 30) if first else torch.zeros(4, 16, 64, 20, 30))
    except RuntimeError:
        return 1.0, 0.0
    return 1.0, 1.0


def chained_size(nt: Any, recurrent: bool) -> tuple[float, float]:
    """Size of the output of the docstring's examples: (1, 1, 8, 1) and (1, 4, 1), before the last one."""
    with torch.random.fork_rng(devices=[]):
        layers = [nt.Lift(torch.nn.Conv2d(16, 8, 3)), torch.nn.Flatten(2 if recurrent else 3)]
        if recurrent:
            layers += [nt.LSNNRecurrent(12, 6), torch.nn.RNN(6, 4, 2), nt.LIFRecurrent(4, 1)]
        else:
            layers += [nt.LIFRecurrent(12, 6), nt.LIFRecurrent(6, 1)]
        data = torch.ones(1, 16, 8, 4) if recurrent else torch.ones(1, 1, 16, 8, 4)
        return 4.0 if recurrent else 8.0, float(nt.SequentialState(*layers)(data)[0].shape[-2])


def chained_method(nt: Any, name: str) -> tuple[float, float]:
    """Whether SequentialState has a method: 1."""
    return 1.0, float(hasattr(nt.SequentialState, name))


def hooked(nt: Any) -> tuple[float, float]:
    """Calls of a hook registered for all stateful layers, two of three, and after its removal."""
    model, calls = nt.SequentialState(nt.LIFCell(), torch.nn.Identity(), nt.LIFCell()), []
    model.register_forward_state_hooks(lambda module, inputs, output: calls.append(module))
    model(torch.ones(1, 1))
    model.remove_forward_state_hooks()
    model(torch.ones(1, 1))
    return 2.0, float(len(calls))


def fed_back(nt: Any, outputs: Any) -> tuple[float, float]:
    """Output of a linear layer of weight 2 at the second of two inputs of 1, its first added; NaN where it raises."""
    linear = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        linear.weight.fill_(2.0)
    model = nt.RecurrentSequential(linear, output_modules=outputs)
    _, state = model(torch.ones(1, 1))
    try:
        found, _ = model(torch.ones(1, 1), state)
    except TypeError:
        return 6.0, math.nan
    return 6.0, float(found if isinstance(outputs, int) else found[0])


def padded(nt: Any, padding: Any) -> tuple[float, float]:
    """A 2d convolution of every step, where it and LConv2d with the same weights differ most; NaN where it raises."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        x = torch.rand(3, 2, 2, 6, 5)
        try:
            module = nt.LConv2d(2, 4, 3, padding=padding)
            found = module(x)
        except TypeError:
            return float(x.numel()), math.nan
    weight = module.weight[..., 0]
    return worst_pair(torch.stack([torch.nn.functional.conv2d(x_t, weight, padding=padding) for x_t in x]), found)


def smoothed(nt: Any, bias: bool) -> tuple[float, float]:
    """out(t) = alpha out(t - dt) + W x(t) + bias, alpha = exp(-dt tau_filter_inv), over five steps."""
    from norse.torch.module.exp_filter import ExpFilter

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        x, module = torch.rand(5, 2, 3), ExpFilter(3, 4, tau_filter_inv=200.0, bias=bias)
    out, outputs = torch.zeros(2, 4), []
    for x_t in x:
        out = math.exp(-0.2) * out + module.linear(x_t)
        outputs.append(out)
    return worst_pair(torch.stack(outputs), module(x))


def counted(nt: Any, voltage: bool) -> tuple[float, float]:
    """Spikes, or potentials, that RegularizationCell has accumulated after five steps."""
    module = nt.functional.regularization
    cell = nt.RegularizationCell(module.voltage_accumulator) if voltage else nt.RegularizationCell()
    neuron, state, total = nt.LIFCell(), None, 0.0
    for _ in range(5):
        z, state = neuron(torch.full((1, 2), 20.0), state)
        _, found = cell(z, state)
        total += float((state.v if voltage else z).detach().sum())
    return total, float(found.detach().sum())


def spike_seconds(nt: Any, seconds: bool) -> tuple[float, float]:
    """First spikes at steps 0 and 2 as indices, or times with dt = 1 ms."""
    spikes = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]]).view(3, 1, 2)
    found = nt.SpikesToTimesDecoder(convert_indices_to_times=seconds)(spikes)
    return worst_pair(torch.tensor([0.0, 0.002 if seconds else 2.0]), found)


def logic(nt: Any, name: str) -> tuple[float, float]:
    """How many of the four pairs of bits give the documented bit."""
    module, x, y = nt.functional.logical, torch.tensor([0.0, 0.0, 1.0, 1.0]), torch.tensor([0.0, 1.0, 0.0, 1.0])
    table = {"and": (0, 0, 0, 1), "xor": (0, 1, 1, 0), "or": (0, 1, 1, 1)}
    if name == "posedge_detector":
        found, bits = module.posedge_detector(x, y), (0, 0, 1, 0)
    elif name == "muller_c":
        found, bits = module.muller_c(torch.tensor([0.0, 1.0, 1.0, 0.0]), x, y), (0, 1, 1, 1)
    else:
        found, bits = getattr(module, "logical_" + name)(x, y), table[name]
    return 4.0, float((found == torch.tensor(bits)).sum())
