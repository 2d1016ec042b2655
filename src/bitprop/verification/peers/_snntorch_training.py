"""Statements about what snnTorch has around its neurons: truncated backpropagation, resets, encoders."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch

from bitprop.verification.peers._probes import Probe

__all__ = ["training_probes"]


def truncated_loss(
    snntorch: Any, method: str, layers: tuple[str, ...], steps: int, arguments: dict[str, Any]
) -> tuple[float, float]:
    """Average loss of a network of zero weights, whose two outputs never spike: ln 2; NaN where it raises."""
    modules = []
    for index, name in enumerate(layers):
        linear, last = torch.nn.Linear(2, 2), index == len(layers) - 1
        torch.nn.init.zeros_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
        rates = {"alpha": 0.5, "beta": 0.5} if name == "Synaptic" else {"beta": 0.5}
        modules += [linear, getattr(snntorch, name)(init_hidden=True, output=last, **rates)]
    net = torch.nn.Sequential(*modules)
    varying = "num_steps" not in arguments
    data = torch.ones(steps, 1, 2) if varying else torch.ones(1, 2)
    run = getattr(snntorch.backprop, method)
    optimizer, criterion = torch.optim.SGD(net.parameters(), lr=0.0), snntorch.functional.ce_rate_loss()
    try:
        loss = run(net, [(data, torch.tensor([0]))], optimizer, criterion, time_var=varying, **arguments)
    except (UnboundLocalError, RuntimeError):
        return math.log(2.0), math.nan
    return math.log(2.0), float(loss.detach())


def varying_targets(snntorch: Any, batches: int) -> tuple[float, float]:
    """Average loss of a potential of 0 where 1 is the target in every step: 1; NaN where it raises."""
    linear = torch.nn.Linear(1, 1)
    torch.nn.init.zeros_(linear.weight)
    torch.nn.init.zeros_(linear.bias)
    net = torch.nn.Sequential(linear, snntorch.Leaky(beta=0.5, init_hidden=True, output=True))
    data = [(torch.ones(1, 1), torch.zeros(4, dtype=torch.long))] * batches
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    criterion = snntorch.functional.mse_membrane_loss(time_var_targets=True)
    try:
        loss = snntorch.backprop.TBPTT(net, data, optimizer, criterion, num_steps=4, time_var=False, K=2)
    except RuntimeError:
        return 1.0, math.nan
    return 1.0, float(loss.detach())


def reset_inside(snntorch: Any, nested: bool) -> tuple[float, float]:
    """Potential of a neuron of a network after utils.reset(network): 0."""
    neuron = snntorch.Leaky(beta=0.5, init_hidden=True)
    net = torch.nn.Sequential(torch.nn.Sequential(neuron) if nested else neuron)
    net(torch.full((1, 1), 0.75))
    snntorch.utils.reset(net)
    return 0.0, float(neuron.mem.detach())


def offset_rate(snntorch: Any, varying: bool) -> tuple[float, float]:
    """Spikes of three steps of data 0 that an offset of 1 shifts to a probability of 1: three."""
    if varying:
        spikes = snntorch.spikegen.rate(torch.zeros(3, 1), offset=1, time_var_input=True)
    else:
        spikes = snntorch.spikegen.rate(torch.zeros(1), num_steps=3, offset=1)
    return 3.0, float(spikes.sum())


def latency_below(snntorch: Any, linear: bool) -> tuple[float, float]:
    """Step of the spike of a feature of 0.001, below the threshold of 0.01, of 20 steps: the last, 19."""
    spikes = snntorch.spikegen.latency(torch.tensor([0.001]), num_steps=20, linear=linear)
    return 19.0, float(spikes[:, 0].argmax())


def rate_targets(snntorch: Any, incorrect: float, steps: int) -> tuple[float, float]:
    """Entries of the targets of one sample over the steps, for five classes; NaN where it raises."""
    try:
        targets = snntorch.spikegen.targets_convert(
            torch.tensor([4]), num_classes=5, correct_rate=0.8, incorrect_rate=incorrect, num_steps=steps
        )
    except RuntimeError:
        return 5.0 * steps, math.nan
    return 5.0 * steps, float(targets.numel())


def latency_target(snntorch: Any, name: str) -> tuple[float, float]:
    """Target at a spike time with on_target=2: 2."""
    code = {"code": "latency"} if name == "targets_convert" else {}
    make = getattr(snntorch.spikegen, name)
    return 2.0, float(make(torch.tensor([1]), num_classes=2, num_steps=20, on_target=2, **code).max())


def _backpropagation() -> Iterator[Probe]:
    for method, arguments in (("BPTT", {}), ("RTRL", {}), ("TBPTT", {}), ("TBPTT", {"K": 2})):
        yield Probe(
            "snntorch.TBPTT.time_var",
            f"backprop.{method}",
            "forward",
            "time_var: 'Set to True if input data is time-varying', the default; K 'defaults to 1'",
            "a local variable is read that is assigned for K=False only: UnboundLocalError for time-varying data",
            truncated_loss,
            (method, ("Leaky",), 4, arguments),
        )
    for layers in (("Leaky",), ("Leaky", "Leaky"), ("Leaky", "Synaptic")):
        yield Probe(
            "snntorch.TBPTT.truncation",
            "backprop.TBPTT",
            "gradient",
            "'Truncated backpropagation through time', 'Number of time steps to process per weight update' K",
            "the classes whose states are to be detached are values of a dictionary whose keys are True and False: one "
            "class is detached; where a network has two, backward goes through the chunk before: RuntimeError",
            truncated_loss,
            ("TBPTT", layers, 4, {"num_steps": 4, "K": 2}),
        )
    for steps in (4, 5):
        yield Probe(
            "snntorch.TBPTT.average",
            "backprop.TBPTT",
            "forward",
            "'return average loss for one epoch'",
            "the loss of the steps that are left over where K does not divide num_steps is divided by their number, "
            "not weighted with it: a loss that is the same in every step has another average",
            truncated_loss,
            ("TBPTT", ("Leaky",), steps, {"num_steps": steps, "K": 2}),
            (),
            1e-5,
        )
    for batches in (1, 2):
        yield Probe(
            "snntorch.TBPTT.targets",
            "backprop.TBPTT",
            "forward",
            "criterion: 'Loss criterion from snntorch.functional', one with time-varying targets among them",
            "the count of chunks is not set back between batches: the second batch reads past the end of its targets",
            varying_targets,
            (batches,),
        )


def training_probes() -> Iterator[Probe]:
    """Truncated backpropagation, resetting a network, encoders of data and of labels."""
    yield from _backpropagation()
    for nested in (False, True):
        yield Probe(
            "snntorch.utils.reset",
            "utils.reset",
            "state",
            "'Check for the types of LIF neurons contained in net. Reset their hidden parameters to zero'",
            "direct children of net alone are looked at: neurons in a Sequential inside it keep their states",
            reset_inside,
            (nested,),
        )
    for varying in (False, True):
        yield Probe(
            "snntorch.rate.offset",
            "spikegen.rate",
            "forward",
            "gain: 'Scale input features by the gain'; offset: 'Shift input features by the offset'",
            "with time_var_input=True both are ignored",
            offset_rate,
            (varying,),
        )
    for linear in (False, True):
        yield Probe(
            "snntorch.latency.threshold",
            "spikegen.latency",
            "documentation",
            "threshold: 'Input features below the threshold will fire at the final time step unless clip=True'",
            "they fire at the time of the threshold itself, tau ln(threshold / epsilon) or tau (1 - threshold), which "
            "is the final step where normalize=True makes it so",
            latency_below,
            (linear,),
        )
    for incorrect, steps in ((0.0, 5), (0.2, 5), (0.2, 6)):
        yield Probe(
            "snntorch.targets_rate.incorrect_rate",
            "spikegen.targets_convert",
            "forward",
            "incorrect_rate: 'Firing frequency of incorrect class(es)'; the example with 5 steps, 1 sample and 5 "
            "classes has the size (5, 1, 5)",
            "the spikes of the incorrect classes are multiplied along the classes in place of the steps and get two "
            "more dimensions: size (5, 1, 5, 1, 5), and RuntimeError where there are not as many steps as classes",
            rate_targets,
            (incorrect, steps),
        )
    for name in ("targets_latency", "targets_convert"):
        yield Probe(
            "snntorch.targets_convert.latency",
            f"spikegen.{name}",
            "forward",
            "on_target: 'Target at spike times'; code: 'rate' or 'latency'",
            "with code='latency' on_target, off_target, interpolate and epsilon are not handed on",
            latency_target,
            (name,),
        )
