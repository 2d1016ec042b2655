"""Statements about Norse's modules: states, parameters, copies, sequences, and the examples of their docstrings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from bitprop.verification.peers import _norse_layers as m
from bitprop.verification.peers._probes import Probe, worst_pair

__all__ = ["layer_probes"]

_LAYERS: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("LIF", ()),
    ("LIFEx", ()),
    ("LIFAdEx", ()),
    ("LSNN", ()),
    ("LI", ()),
    ("LIFRecurrent", (3, 4)),
    ("LIFExRecurrent", (3, 4)),
    ("LIFAdExRecurrent", (3, 4)),
    ("LSNNRecurrent", (3, 4)),
    ("LIFRefracRecurrent", (3, 4)),
    ("LIFAdExRefracRecurrent", (3, 4)),
)
_RECURRENT = (
    *("LIFRecurrent", "LIFExRecurrent", "LIFAdExRecurrent", "LSNNRecurrent"),
    *("LIFRefracRecurrent", "LIFAdExRefracRecurrent"),
    *("LIFRecurrentCell", "LIFExRecurrentCell", "LIFAdExRecurrentCell", "LSNNRecurrentCell"),
    *("LIFRefracRecurrentCell", "LIFAdExRefracRecurrentCell", "LIFMCRecurrentCell"),
)
# name, arguments, shape of the data, shape of the output
_EXAMPLES: tuple[tuple[str, tuple[int, ...], tuple[int, ...], tuple[int, ...]], ...] = (
    ("LIFRecurrentCell", (2, 4), (5, 2), (5, 4)),
    ("LIF", (), (10, 5, 2), (10, 5, 2)),
    ("LIFRecurrent", (2, 4), (10, 5, 2), (10, 5, 4)),
    ("LIFExRecurrentCell", (10, 20), (16, 10), (16, 20)),
    ("LIFEx", (), (10, 5, 2), (10, 5, 2)),
    ("LIFExRecurrent", (2, 4), (10, 5, 2), (10, 5, 4)),
    ("LIFAdExCell", (), (16, 20, 30), (16, 20, 30)),
    ("LIFAdExRecurrentCell", (10, 20), (16, 10), (16, 20)),
    ("LIFAdExRecurrent", (2, 4), (10, 5, 2), (10, 5, 4)),
    ("LIFRefracCell", (), (16, 20, 30), (16, 20, 30)),
    ("LIFRefracRecurrentCell", (10, 20), (16, 10), (16, 20)),
    ("LIFRefracRecurrent", (2, 4), (10, 5, 2), (10, 5, 4)),
    ("LIFAdExRefracRecurrent", (2, 4), (10, 5, 2), (10, 5, 4)),
    ("LI", (), (10, 2), (10, 2)),
    ("LSNN", (), (5, 2), (5, 2)),
    ("LSNNRecurrent", (2, 10), (2, 5, 2), (2, 5, 10)),
    ("CobaLIFCell", (10, 20), (16, 10), (16, 20)),
)


def _probe(
    key: str,
    subject: str,
    kind: str,
    says: str,
    found: str,
    measure: Callable[..., tuple[float, float]],
    *arguments: Any,
) -> Probe:
    return Probe(f"norse.{key}", subject, kind, says, found, measure, arguments, (worst_pair,), 1e-5)


def layer_probes() -> Iterator[Probe]:
    """Layers of neurons, recurrent weights, Izhikevich's neuron, then modules around them."""
    yield from _layers()
    yield from _recurrent()
    yield from _izhikevich()
    yield from _sequences()
    yield from _around()


def _layers() -> Iterator[Probe]:
    for name, arguments, data, shape in _EXAMPLES:
        yield _probe(
            f"{name}.example", name, "forward", f"the docstring's example: data {data}, output {shape}", "it differs",
            m.example_shape, name, arguments, data, shape,
        )  # fmt: skip
    for name, arguments in _LAYERS:
        yield _probe(
            f"{name}.record_states", name, "state",
            "record_states: 'record and return a state object for each timestep during simulation'", "it does not",
            m.recorded, name, arguments,
        )  # fmt: skip
        yield _probe(
            f"{name}.state", name, "state", "'(spikes from all timesteps, state from the last timestep)'",
            "the state does not continue the sequence", m.in_two_parts, name, arguments,
        )  # fmt: skip
    for name, parameters, arguments in (
        ("LIF", "LIFParameters", ()),
        ("LIFRecurrent", "LIFParameters", (3, 4)),
        ("LIFRefracRecurrent", "LIFRefracParameters", (3, 4)),
        ("LIFEx", "LIFExParameters", ()),
        ("LIFExRecurrent", "LIFExParameters", (3, 4)),
        ("LIFAdEx", "LIFAdExParameters", ()),
        ("LIFAdExRecurrent", "LIFAdExParameters", (3, 4)),
        ("LSNN", "LSNNParameters", ()),
        ("LSNNRecurrent", "LSNNParameters", (3, 4)),
    ):
        yield _probe(
            "LIF.parameters", name, "state",
            "p: 'The neuron parameters as a torch Module, which allows the module to configure neuron parameters as "
            "optimizable'",
            "p is copied into a tuple: its parameters are not those of the layer, no optimiser sees them",
            m.trained, name, parameters, arguments,
        )  # fmt: skip
    for name, arguments in (("LIF", ()), ("LIFRecurrent", (3, 4)), ("LIFRefracRecurrent", (3, 4))):
        yield _probe(
            f"{name}.sparse-input", name, "forward",
            "activation_sparse: 'A Sparse activation function - if it exists for the neuron model', which it does",
            "the sparse refractory step subtracts sparse spikes from 1: RuntimeError", m.sparse_input, name, arguments,
        )  # fmt: skip


def _recurrent() -> Iterator[Probe]:
    says = "autapses: 'Allow self-connections in the recurrence? Defaults to False'"
    for name in _RECURRENT:
        for copied in (False, True):
            yield _probe(
                "recurrent.deepcopy" if copied else f"{name}.autapses", name, "gradient",
                says + (" in a deep copy" if copied else ""),
                "the hook that keeps the gradient of self-connections at zero is not copied: in training, a deep copy "
                "grows them",
                m.copied_autapses, name, copied,
            )  # fmt: skip
        for autapses in (False, True):
            yield _probe(
                f"{name}.custom-autapses", name, "forward",
                "'Will also remove autapses in custom recurrent weights, if set above'", "it does not",
                m.custom_weights, name, autapses,
            )  # fmt: skip


def _izhikevich() -> Iterator[Probe]:
    for recurrent, name in ((False, "Izhikevich"), (True, "IzhikevichRecurrent")):
        yield _probe(
            f"{name}.time", name, "forward", f"'wraps a {name}Cell in time'", "it differs",
            m.izhikevich_in_time, recurrent,
        )  # fmt: skip
    for name in ("IzhikevichCell", "Izhikevich"):
        yield _probe(
            "IzhikevichCell.state", name, "state", "spiking_method: 'parameters and initial state of the neuron'",
            "the first state is that very tensor, and is made to require a gradient", m.shared_potential, name,
        )  # fmt: skip
    for name, arguments in (("Izhikevich", ()), ("IzhikevichRecurrent", (2, 4)), ("IzhikevichRecurrentCell", (2, 4))):
        yield _probe(
            "Izhikevich.p", name, "documentation", "p (IzhikevichParameters): neuron parameters",
            "the argument is spiking_method, an IzhikevichSpikingBehavior: p raises TypeError",
            m.parameters_taken, name, arguments,
        )  # fmt: skip
    yield _probe(
        "create_izhikevich_spiking_behavior.u_rest", "functional.izhikevich.create_izhikevich_spiking_behavior",
        "forward", "u_rest: 'resting value of the u variable'",
        "it is multiplied by b: u starts at b u_rest", m.resting_recovery,
    )  # fmt: skip
    for parameters in ("LIFExParameters", "LSNNParameters", "LIFParameters", "LIFBoxParameters"):
        yield _probe(
            "lift.pickle", "functional.lift.lift", "state",
            "'Helper class for the lift function to allow for pickling. Used in distributed execution'",
            "LIFParameters and LIFBoxParameters, and modules that hold them, cannot be pickled: their class says that "
            "it is of the module of its metaclass",
            m.pickled, parameters,
        )  # fmt: skip


def _sequences() -> Iterator[Probe]:
    for stateful in (False, True):
        yield _probe(
            "Lift.tuple", "Lift", "documentation",
            "'If the input is a tuple of two tensors, the second tuple entry will be ignored'",
            "it is the initial state of a module with a state, such as torch.nn.RNN", m.lifted_state, stateful,
        )  # fmt: skip
    for first in (True, False):
        yield _probe(
            "examples", "Lift", "documentation", "the docstring's example",
            "data of (seq_length, batch_size, 20, 30) has no channels: RuntimeError", m.lifted_example, first,
        )  # fmt: skip
    for recurrent in (False, True):
        yield _probe(
            "SequentialState.shape", "SequentialState", "documentation",
            "the example's comments: (1, 6, 4) after the RNN, (1, 4, 1) at the end",
            "the output is (1, 8, 1)", m.chained_size, recurrent,
        )  # fmt: skip
    for name in (
        *("register_forward_state_hooks", "remove_forward_state_hooks"),
        *("register_forward_state_hook", "remove_state_hooks"),
    ):
        yield _probe(
            "SequentialState.hooks", "SequentialState", "documentation",
            f"'{name}', to register hooks or remove them",
            "the methods are register_forward_state_hooks and remove_forward_state_hooks", m.chained_method, name,
        )  # fmt: skip
    yield _probe(
        "SequentialState.hooked", "SequentialState", "state", "'Registers hooks for all stateful layers'",
        "it does not", m.hooked,
    )  # fmt: skip
    for outputs in (-1, [0]):
        yield _probe(
            "RecurrentSequential.outputs", "RecurrentSequential", "forward",
            "'feeds the output of the underlying modules back as input in the following timestep', output_modules: a "
            "number or a list of them",
            "a list of outputs cannot be added to the input: the second step raises TypeError", m.fed_back, outputs,
        )  # fmt: skip


def _around() -> Iterator[Probe]:
    for padding in (0, 1, "same", "valid"):
        yield _probe(
            "LConv2d.padding", "LConv2d", "forward",
            "'a 2d-convolution applied pointwise in time'; 'padding (int, tuple or str, optional)'",
            "a str is doubled into a tuple that conv3d refuses: TypeError", m.padded, padding,
        )  # fmt: skip
    for bias in (True, False):
        yield _probe(
            "ExpFilter.filter", "module.exp_filter.ExpFilter", "forward",
            "out(t) = alpha out(t - dt) + W_in x(t) + bias", "it differs", m.smoothed, bias,
        )  # fmt: skip
    for voltage in (False, True):
        yield _probe(
            "RegularizationCell.sum", "RegularizationCell", "forward",
            "'accumulates some state (for instance number of spikes) for each forward step'", "it does not",
            m.counted, voltage,
        )  # fmt: skip
    for seconds in (True, False):
        yield _probe(
            "SpikesToTimesDecoder.times", "SpikesToTimesDecoder", "forward",
            "'Whether to return times or indices along input's time axis'", "it differs", m.spike_seconds, seconds,
        )  # fmt: skip
    for name in ("and", "xor", "or", "posedge_detector", "muller_c"):
        yield _probe(
            f"logical.{name}", "functional.logical", "forward", "'x and y are bitvectors'", "it differs",
            m.logic, name,
        )  # fmt: skip
