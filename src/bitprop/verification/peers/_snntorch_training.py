"""Statements about what snnTorch has around its neurons: truncated backpropagation, resets, encoders, NIR."""

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


def graded_batch(snntorch: Any, batch: int) -> tuple[float, float]:
    """Sum of spikes of three neurons, of magnitude 2, for samples that all spike; NaN where it raises."""
    try:
        return 6.0 * batch, float(snntorch.GradedSpikes(3, 2.0)(torch.ones(batch, 3)).detach().sum())
    except RuntimeError:
        return 6.0 * batch, math.nan


def learnt_decay(snntorch: Any, beta: float) -> tuple[float, float]:
    """Spikes at a threshold of 2 after one input of 1, where training has moved the decay rate to beta: none."""
    with torch.random.fork_rng(devices=[]):
        neuron = snntorch.LeakyParallel(1, 1, beta=0.5, learn_beta=True, bias=False, threshold=2.0)
    with torch.no_grad():
        neuron.rnn.weight_ih_l0.fill_(1.0)
        neuron.rnn.weight_hh_l0.fill_(beta)
    return 0.0, float(neuron(torch.eye(4)[:, :1, None]).detach().sum())


def imported_potential(snntorch: Any, node: str) -> tuple[float, float]:
    """Potential after two inputs of 0.4 of a node of NIR that is read: of an IF 0.8, of an LIF of 10 steps 0.76."""
    from snntorch import import_nir

    one = torch.ones(1).numpy()
    if node == "IF":
        made = import_nir.nir.IF(r=one, v_threshold=10 * one)
    else:
        made = import_nir.nir.LIF(tau=1e-3 * one, r=10 * one, v_leak=0 * one, v_threshold=10 * one)
    neuron, mem = import_nir._nir_to_snntorch_module(made), torch.zeros(1, 1)
    for _ in range(2):
        _, mem = neuron(torch.full((1, 1), 0.4), mem)
    return 0.8 if node == "IF" else 0.76, float(mem.detach())


def imported_channels(snntorch: Any, groups: int) -> tuple[float, float]:
    """Channels that a convolution of two channels to two has when it is read from NIR; NaN where it raises."""
    from snntorch import import_nir

    weight = torch.ones(2, 2 // groups, 1, 1).numpy()
    node = import_nir.nir.Conv2d(
        input_shape=(4, 4), weight=weight, stride=1, padding=0, dilation=1, groups=groups, bias=weight[:, 0, 0, 0]
    )
    try:
        return 2.0, float(import_nir._nir_to_snntorch_module(node)(torch.ones(1, 2, 4, 4)).shape[1])
    except ValueError:
        return 2.0, math.nan


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
    for batch in (3, 1, 2):
        yield Probe(
            "snntorch.GradedSpikes.batch",
            "GradedSpikes",
            "forward",
            "'Learnable spiking magnitude', of a size that is 'the number of neurons in the preceeding layer'",
            "the magnitudes lie along the samples of (batch, neurons), not along the neurons: a batch of another size "
            "than the layer raises, and one sample becomes as many as there are neurons",
            graded_batch,
            (batch,),
        )
    for beta in (0.5, 1.5):
        yield Probe(
            "snntorch.LeakyParallel.beta",
            "LeakyParallel",
            "forward",
            "beta: 'membrane potential decay rate. Clipped between 0 and 1 during the forward-pass'; learn_beta",
            "it is clipped once, in the constructor: what is trained is not",
            learnt_decay,
            (beta,),
        )
    says = "'converts each NIR module into the equivalent snnTorch module'"
    for node in ("LIF", "IF"):
        yield Probe(
            "snntorch.import_from_nir.leak",
            "import_nir.import_from_nir",
            "forward",
            says + ": an IF, dv/dt = R I, does not leak",
            "an IF becomes a Leaky with beta=0.9",
            imported_potential,
            (node,),
            (),
            1e-5,
        )
    for groups in (1, 2):
        yield Probe(
            "snntorch.import_from_nir.groups",
            "import_nir.import_from_nir",
            "forward",
            says + ", a Conv2d with its groups",
            "in_channels is read from the weights without a factor of groups: ValueError",
            imported_channels,
            (groups,),
        )
