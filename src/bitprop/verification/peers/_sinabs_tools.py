"""Statements of Sinabs's documentation about its helpers, hooks and conversion, and how they are measured."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any

import torch

from bitprop.verification.peers._probes import Probe
from bitprop.verification.peers._sinabs_measures import sinabs_probe
from bitprop.verification.peers._sinabs_nir import nir_probes

__all__ = ["tool_probes"]


def zero_gradients(sinabs: Any, recurrent: bool) -> tuple[float, float]:
    """Gradient of the time constant of a layer in a Sequential after sinabs.zero_grad: 0."""
    if recurrent:
        layer = sinabs.layers.LIFRecurrent(tau_mem=5.0, rec_connect=torch.nn.Identity())
    else:
        layer = sinabs.layers.LIF(tau_mem=5.0)
    model = torch.nn.Sequential(layer)
    model(torch.ones(1, 3, 1)).sum().backward()
    sinabs.zero_grad(model)
    return 0.0, 0.0 if layer.tau_mem.grad is None else float(layer.tau_mem.grad)


def input_count(sinabs: Any) -> tuple[float, float]:
    """Count of five input spikes: 5."""
    (count,) = sinabs.utils.get_network_activations(torch.nn.Sequential(), torch.ones(5, 1), name_list=["Input"])
    return 5.0, float(count[0])


def default_names(sinabs: Any) -> tuple[float, float]:
    """Entries of get_network_activations for a network of one layer, without a list of names: input and layer, 2."""
    network = sinabs.network.Network(None, torch.nn.Sequential(torch.nn.Identity()))
    try:
        return 2.0, float(len(sinabs.utils.get_network_activations(network, torch.ones(5, 1))))
    except AttributeError:
        return 2.0, math.nan


def first_output(sinabs: Any, shape: tuple[int, ...] | None) -> tuple[float, float]:
    """Spikes of the first step of a converted model with a bias of 0.6, below the threshold of 1: none."""
    linear = torch.nn.Linear(1, 1)
    torch.nn.init.zeros_(linear.weight)
    torch.nn.init.constant_(linear.bias, 0.6)
    model = torch.nn.Sequential(linear, torch.nn.ReLU())
    network = sinabs.from_torch.from_model(model, input_shape=shape, batch_size=1)
    return 0.0, float(network(torch.zeros(1, 1)).detach())


def samples_in_a_batch(sinabs: Any) -> tuple[float, float]:
    """Steps that come out of a converted model for three samples of five steps, with num_timesteps=5: 15."""
    model = torch.nn.Sequential(torch.nn.ReLU())
    network = sinabs.from_torch.from_model(model, batch_size=2, num_timesteps=5)
    try:
        return 15.0, float(len(network(torch.ones(15, 1))))
    except RuntimeError:
        return 15.0, math.nan


def rescaled_bias(sinabs: Any, kind: str) -> tuple[float, float]:
    """A bias of 1 in a model that was converted with bias_rescaling=2: 0.5."""
    layer = torch.nn.Linear(1, 1) if kind == "Linear" else getattr(torch.nn, kind)(1, 1, 1)
    with torch.no_grad():
        layer.bias.fill_(1.0)
    model = torch.nn.Sequential(layer, torch.nn.ReLU())
    network = sinabs.from_torch.from_model(model, batch_size=1, bias_rescaling=2.0)
    return 0.5, float(network.spiking_model[0].bias.detach())


def positive_weights(sinabs: Any, bias: float) -> tuple[float, float]:
    """Difference that input_diff_hook stores where all weights and the output are positive already: 0."""
    layer: Any = torch.nn.Linear(1, 1)
    with torch.no_grad():
        layer.weight.fill_(1.0)
        layer.bias.fill_(bias)
    layer.register_forward_hook(sinabs.hooks.input_diff_hook)
    layer(torch.ones(1, 1))
    return 0.0, float(layer.hook_data["diff_output"].detach())


def dilated_difference(sinabs: Any, dilation: int) -> tuple[float, float]:
    """Largest difference that input_diff_hook stores for positive weights and no bias: 0; NaN where it raises."""
    layer: Any = torch.nn.Conv2d(1, 1, 2, dilation=dilation, bias=False)
    torch.nn.init.ones_(layer.weight)
    layer.register_forward_hook(sinabs.hooks.input_diff_hook)
    try:
        layer(torch.ones(1, 1, 5, 5))
    except RuntimeError:
        return 0.0, math.nan
    return 0.0, float(layer.hook_data["diff_output"].detach().abs().max())


def padded_operations(sinabs: Any, padding: Any) -> tuple[float, float]:
    """Synaptic operations a step of a Conv2d with a kernel of 3, every input of 4 x 4 a spike; NaN where it raises."""
    layer: Any = torch.nn.Conv2d(1, 1, 3, padding=padding)
    layer.register_forward_hook(sinabs.hooks.conv_layer_synops_hook)
    ones = torch.ones(1, 1, 4, 4)
    documented = float(torch.nn.functional.conv2d(ones, torch.ones(1, 1, 3, 3), padding=padding).sum())
    try:
        layer(ones)
    except TypeError:
        return documented, math.nan
    return documented, float(layer.hook_data["layer_synops_per_timestep"].detach())


def linear_operations(sinabs: Any, steps: int) -> tuple[float, float]:
    """Synaptic operations a step of a Linear of 3 to 4, where every input spikes in every step: 12."""
    layer: Any = torch.nn.Linear(3, 4)
    layer.register_forward_hook(sinabs.hooks.linear_layer_synops_hook)
    layer(torch.ones(2, steps, 3) if steps else torch.ones(2, 3))
    return 12.0, float(layer.hook_data["layer_synops_per_timestep"])


def model_operations(sinabs: Any, pooled: bool) -> tuple[float, float]:
    """Synaptic operations of a model's only layer with weights, which are those of the model."""
    first = torch.nn.AvgPool2d(2) if pooled else torch.nn.Identity()
    model = torch.nn.Sequential(first, torch.nn.Conv2d(1, 1, 1), sinabs.layers.IAFSqueeze(batch_size=1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        analyzer = sinabs.synopcounter.SNNAnalyzer(model)
    model(torch.ones(3, 1, 4, 4))
    layer = analyzer.get_layer_statistics()["parameter"]["1"]
    return float(layer["synops"]), float(analyzer.get_model_statistics()["synops"])


def network_operations(sinabs: Any) -> tuple[float, float]:
    """Whether Network.get_synops returns anything in a network built with synops=True: 1."""
    model = torch.nn.Sequential(torch.nn.Linear(1, 1), sinabs.layers.IAF())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        network = sinabs.network.Network(None, model, synops=True)
    network(torch.ones(1, 3, 1))
    try:
        return 1.0, float(network.get_synops() is not None)
    except AttributeError:
        return 1.0, 0.0


def layer_name(sinabs: Any, name: str, first: Any) -> tuple[float, float]:
    """Whether the documented argument layer_name is taken: 1."""
    try:
        getattr(sinabs.layers, name)(first, layer_name="first")
    except TypeError:
        return 1.0, 0.0
    return 1.0, 1.0


def _helpers() -> Iterator[Probe]:
    for recurrent in (False, True):
        yield sinabs_probe(
            "zero_grad.recursive",
            "utils.zero_grad",
            "state",
            "'recursively zero the gradients of all spiking layers within the model'",
            "layers with children of their own are passed over: a recurrent layer keeps its gradients and the graph of "
            "its states",
            zero_gradients,
            recurrent,
        )
    yield sinabs_probe(
        "get_network_activations.input",
        "utils.get_network_activations",
        "forward",
        "bRate: 'If true returns the rate, else returns spike count'",
        "the count of the input is multiplied by 1000, the layers' is not; with bRate=True the factor comes twice",
        input_count,
    )
    yield sinabs_probe(
        "get_network_activations.names",
        "utils.get_network_activations",
        "forward",
        "'Returns the activity of neurons in each layer of the network'; name_list: List = None",
        "without name_list it reads model.layers[...].layer_name, which the pairs (name, module) of Network.layers do "
        "not have, and other modules have no layers: AttributeError",
        default_names,
    )


def _conversion() -> Iterator[Probe]:
    yield sinabs_probe(
        "from_model.batch_size",
        "from_torch.from_model",
        "forward",
        "batch_size: 'Must be provided if num_timesteps is None and is ignored otherwise'",
        "it is not ignored: a batch of another size than batch_size raises RuntimeError, though num_timesteps is given",
        samples_in_a_batch,
    )
    for shape in (None, (1,)):
        yield sinabs_probe(
            "from_model.input_shape",
            "from_torch.from_model",
            "state",
            "input_shape: 'If provided, the layer dimensions are computed. Otherwise they will be computed at the "
            "first forward pass'",
            "they are computed with a forward pass of zeros whose states are kept: with a bias the network starts "
            "charged, and gives other spikes than without input_shape",
            first_output,
            shape,
        )
    for kind in ("Linear", "Conv2d", "Conv1d", "Conv3d", "ConvTranspose2d"):
        yield sinabs_probe(
            "from_model.bias_rescaling",
            "from_torch.from_model",
            "forward",
            "bias_rescaling: 'Biases are divided by this value'",
            "those of Linear and Conv2d only: Conv1d, Conv3d and transposed convolutions keep theirs",
            rescaled_bias,
            kind,
        )


def _operations() -> Iterator[Probe]:
    for bias in (0.0, 0.5):
        yield sinabs_probe(
            "input_diff_hook.bias",
            "hooks.input_diff_hook",
            "forward",
            "'the difference between the output if all weights were positive and the absolute of the actual output'",
            "the former has no bias, the latter has it: with positive weights the difference is minus the bias, not 0",
            positive_weights,
            bias,
        )
    for dilation in (1, 2):
        yield sinabs_probe(
            "input_diff_hook.dilation",
            "hooks.input_diff_hook",
            "forward",
            "'registered with a Conv2d or Linear layer', 'a tensor of the same shape as output'",
            "the dilation of the layer is not handed on: the shapes do not match, RuntimeError",
            dilated_difference,
            dilation,
        )
    for padding in (0, 1, "same"):
        yield sinabs_probe(
            "conv_layer_synops_hook.padding",
            "hooks.conv_layer_synops_hook",
            "forward",
            "module: 'A torch.nn.Conv2d layer', whose 'mean synaptic operations per timestep' are calculated",
            "the padding is handed to a transposed convolution, which knows no 'same' or 'valid': TypeError",
            padded_operations,
            padding,
        )
    for steps in (0, 1, 5):
        yield sinabs_probe(
            "linear_layer_synops_hook.steps",
            "hooks.linear_layer_synops_hook",
            "forward",
            "'mean synaptic operations per timestep', 'summed over neurons, but averaged across batches / timesteps'",
            "an input of (batch, time, channels), which Linear and the layers that do not squeeze take, is summed over "
            "time: the number is that of the whole sample",
            linear_operations,
            steps,
        )
    for pooled in (False, True):
        yield sinabs_probe(
            "SNNAnalyzer.pooling",
            "synopcounter.SNNAnalyzer",
            "forward",
            "get_model_statistics: 'statistics that are summarised across all layers', get_layer_statistics: "
            "'statistics for each individual layer'; 'Average pooling scales down the number of counted synops ... We "
            "need to correct for that'",
            "the correction is in the layers' synops and not in the model's: of one and the same layer behind an "
            "average pooling two numbers are reported",
            model_operations,
            pooled,
        )
    yield sinabs_probe(
        "Network.get_synops",
        "network.Network",
        "forward",
        "synops=True: 'register hooks for counting synaptic operations'; get_synops returns them in a dictionary",
        "get_synops calls a method that SNNAnalyzer does not have: AttributeError",
        network_operations,
    )
    for name, first in (("Img2SpikeLayer", (1, 2, 2)), ("Sig2SpikeLayer", 2)):
        yield sinabs_probe(
            "arguments.layer_name",
            f"layers.{name}",
            "documentation",
            "layer_name: 'string layer name'",
            "there is no such argument: TypeError",
            layer_name,
            name,
            first,
        )


def tool_probes() -> Iterator[Probe]:
    """Statements about helpers, conversion and the counting of operations."""
    yield from _helpers()
    yield from _conversion()
    yield from _operations()
    yield from nir_probes()
