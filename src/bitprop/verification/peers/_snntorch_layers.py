"""Statements about snnTorch's layers with weights of their own, and those that are given all time steps at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bitprop.verification.peers import _snntorch_measures as m
from bitprop.verification.peers import _snntorch_neurons as n
from bitprop.verification.peers._probes import Probe, linear_spike, worst_pair

__all__ = ["layer_probes"]

_TRACE = (n.atan_slope, linear_spike, worst_pair)
_ONE: dict[str, dict[str, Any]] = {"StateLeaky": {"channels": 1}, "LinearLeaky": {"in_features": 1, "out_features": 1}}


def layer_probes() -> Iterator[Probe]:
    """LSTM cells, layers over all time steps, associative memory."""
    yield from _lstm()
    yield from _state()
    yield from _parallel()
    yield from _delta()
    yield from _associative()


def _lstm() -> Iterator[Probe]:
    says = "syn_t = f_t * syn_{t-1} + i_t * g_t, mem_t = o_t * tanh(syn_t), gates of x_t and mem_{t-1}"
    for inputs in (3, 5):
        for reset in ("none", "subtract", "zero"):
            for what in ("potentials", "gradient"):
                yield Probe(
                    "snntorch.SLSTM.dynamics" if inputs == 3 else "snntorch.SLSTM.state",
                    "SLSTM",
                    "forward",
                    says,
                    "the states are compared with the shape of the input and set to zero in every step where "
                    "input_size is not "
                    "hidden_size: the cell has no memory"
                    if inputs == 5
                    else "potentials or gradients differ",
                    n.lstm_run,
                    (inputs, reset, what),
                    (worst_pair,),
                    1e-4,
                )
    for reset in ("none", "subtract", "zero"):
        for what in ("potentials", "gradient"):
            yield Probe(
                "snntorch.SConv2dLSTM.dynamics",
                "SConv2dLSTM",
                "forward",
                says,
                "potentials or gradients differ",
                n.conv_lstm_run,
                (reset, what),
                (worst_pair,),
                1e-4,
            )
    yield Probe(
        "snntorch.SLSTM.dtype",
        "SLSTM",
        "dtype",
        "an nn.Module on an nn.LSTMCell, which works in float64 after .double()",
        "the initial states are float32 whatever the input is: the first step raises RuntimeError",
        m.lstm_dtype,
    )


def _state() -> Iterator[Probe]:
    for name, arguments in _ONE.items():
        for taps in (None, 3):
            for what in ("potentials", "gradient"):
                yield Probe(
                    f"snntorch.{name}.dynamics",
                    name,
                    "forward",
                    "h[t] = exp(-t / tau), tau = 1 / (1 - beta), the kernel_truncation_steps most recent taps",
                    "potentials or gradients differ",
                    n.state_run,
                    (name, taps, what),
                    _TRACE,
                    1e-5,
                )
        yield Probe(
            "snntorch.StateLeaky.graded_spikes_factor",
            name,
            "forward",
            "graded_spikes_factor: 'Output spikes are scaled by this value'",
            "fire scales the spikes and forward scales them again: they are scaled by its square",
            m.graded,
            (name, {"beta": 0.5, **arguments}),
        )
        yield Probe(
            "snntorch.StateLeaky.learnable",
            name,
            "state",
            "learnable parameters: 'StateLeaky.beta (via tau) - optional learnable per-channel parameter'",
            "beta is registered as a parameter beside tau; it is used for nothing and never gets a gradient",
            m.learnable_count,
            (name, arguments),
        )


def _parallel() -> Iterator[Probe]:
    for what in ("spikes", "gradient", "beta"):
        yield Probe(
            "snntorch.LeakyParallel.dynamics",
            "LeakyParallel",
            "forward",
            "U[t+1] = beta U[t] + I_in[t+1] with a linear layer for I_in, negative states clipped, a diagonal "
            "hidden matrix",
            "spikes or gradients differ",
            n.parallel_run,
            (what,),
            _TRACE,
            1e-4,
        )
    yield Probe(
        "snntorch.LeakyParallel.single-valued",
        "LeakyParallel",
        "forward",
        "beta: 'May be a single-valued tensor'",
        "len of a tensor without dimensions raises TypeError",
        m.single_valued,
    )
    yield Probe(
        "snntorch.LeakyParallel.dropout",
        "LeakyParallel",
        "forward",
        "dropout: 'If non-zero, introduces a Dropout layer on the RNN output with dropout probability equal to "
        "dropout'",
        "it is handed to an nn.RNN of one layer, which has dropout between layers only: nothing is dropped",
        m.dropped,
    )
    yield Probe(
        "snntorch.LeakyParallel.shape",
        "LeakyParallel",
        "documentation",
        "spk of shape (L, batch, input_size)",
        "the last dimension is hidden_size",
        m.parallel_width,
    )


def _delta() -> Iterator[Probe]:
    says = "'It accepts the same arguments as the standard Leaky class'"
    yield Probe(
        "snntorch.DeltaLeaky.graded_spikes_factor",
        "DeltaLeaky",
        "forward",
        says + ": graded_spikes_factor scales the spikes",
        "it is accepted and not used",
        m.graded,
        ("DeltaLeaky", {"beta": 0.5, "init_hidden": True}),
    )
    yield Probe(
        "snntorch.DeltaLeaky.beta",
        "DeltaLeaky",
        "forward",
        says + ": beta is 'clipped between 0 and 1 during the forward-pass'",
        "it is not clipped: the potential grows without bound",
        m.delta_beta,
    )


def _associative() -> Iterator[Probe]:
    for steps in (1, 10, 100):
        yield Probe(
            "snntorch.AssociativeLeaky.state",
            "AssociativeLeaky",
            "forward",
            "the state S_t is a sum of 'outer-product writes per step: v_t k_t^T', decayed by what follows them",
            "each write is divided by its prefix product of decays + 1e-8 and multiplied by that product: once "
            "the product is "
            "below 1e-8, after 27 steps at a decay of 0.5, nothing is written any more",
            m.associative_state,
            (steps,),
        )
    yield Probe(
        "snntorch.AssociativeLeaky.value",
        "AssociativeLeaky",
        "documentation",
        "use_q_projection: 'if False, return flattened S_t'",
        "the spikes of S_t are returned, zeros and ones",
        m.associative_value,
    )
    yield Probe(
        "snntorch.AssociativeLeaky.num_spiking_neurons",
        "AssociativeLeaky",
        "state",
        "num_spiking_neurons: 'if None, set to d_value * d_key'",
        "the inferred number stays inside the check of the arguments; the constructor raises TypeError",
        m.associative_count,
    )
    yield Probe(
        "snntorch.AssociativeLeaky.shape",
        "AssociativeLeaky",
        "documentation",
        "y: (T, B, num_spiking_neurons) where num_spiking_neurons = d_value * d_key",
        "with use_q_projection the last dimension is d_value * d_value",
        m.associative_width,
    )
