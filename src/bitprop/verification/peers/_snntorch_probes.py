"""Statements about snnTorch's neurons that are called step by step: recurrences, resets, defaults, states."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from bitprop.verification.peers import _snntorch_measures as m
from bitprop.verification.peers import _snntorch_neurons as n
from bitprop.verification.peers._probes import Probe, linear_spike, worst_pair

__all__ = ["neuron_probes"]

_TRACE = (n.atan_slope, linear_spike, worst_pair)
_ONE_TO_ONE = {"V": 0.4, "all_to_all": False}

_NEURONS: tuple[tuple[str, dict[str, Any], Callable[..., tuple[Tensor, Tensor]]], ...] = (
    ("Leaky", {"beta": 0.7}, n.leaky_step),
    ("Synaptic", {"alpha": 0.6, "beta": 0.7}, n.synaptic_step),
    ("Lapicque", {"R": 2.0, "C": 3.0}, n.lapicque_step),
    ("RLeaky", {"beta": 0.7, **_ONE_TO_ONE}, n.recurrent_leaky_step),
    ("RSynaptic", {"alpha": 0.6, "beta": 0.7, **_ONE_TO_ONE}, n.recurrent_synaptic_step),
)
_RESETS = {
    "subtract": "; - R U_thr",
    "zero": "; - R times all of it: with reset_mechanism='zero', U[t+1] 'will be set to 0 whenever the neuron "
    "emits a spike'",
    "none": "",
}


def neuron_probes() -> Iterator[Probe]:
    """Recurrences first, then what is said of arguments and states."""
    for name, arguments, step in _NEURONS:
        for reset, tail in _RESETS.items():
            for what in ("potentials", "gradient"):
                yield Probe(
                    f"snntorch.{name}.{reset}",
                    name,
                    "forward",
                    str(step.__doc__).rstrip(".").replace(" before the reset", "") + tail,
                    "the reset is applied to the potential carried over, before the input is added: U[t+1] = "
                    "beta (1 - R) "
                    "U[t] + I_in, so that the step of a reset keeps its input"
                    if reset == "zero"
                    else "potentials or gradients differ",
                    n.run_of,
                    (name, arguments, step, reset, what),
                    _TRACE,
                    1e-5,
                )
        yield Probe(
            "snntorch.neurons.delay",
            name,
            "documentation",
            "'For U[T] > U_thr => S[T+1] = 1'; reset_delay: 'If True, a spike is returned with a one-step delay "
            "after the "
            "threshold is reached'",
            "the spike is returned in the step in which the threshold is passed; what comes one step later is "
            "the reset",
            m.first_spike,
            (name, arguments),
        )
    for what in ("excitatory", "inhibitory"):
        yield Probe(
            "snntorch.Alpha.currents",
            "Alpha",
            "forward",
            "I_exc[t+1] = (1 - R) (alpha I_exc[t] + I_in[t+1]), I_inh[t+1] = (1 - R) (beta I_inh[t] - I_in[t+1])",
            "the currents differ",
            n.alpha_run,
            (what,),
            (worst_pair,),
            1e-5,
        )
    yield from _inhibition()
    yield from _arguments()
    yield from _states()


def _inhibition() -> Iterator[Probe]:
    for name, arguments in (("Leaky", {"beta": 1.0}), ("RLeaky", {"beta": 1.0, **_ONE_TO_ONE})):
        yield Probe(
            "snntorch.inhibition.reset",
            name,
            "forward",
            "inhibition: 'suppresses all spiking other than the neuron with the highest state'; 'threshold "
            "subtracted from "
            "it whenever the neuron emits a spike'",
            "mem_reset compares every potential with the threshold: suppressed neurons are reset without having spiked",
            m.suppressed,
            (name, arguments),
        )
    yield Probe(
        "snntorch.inhibition.lstm",
        "SLSTM",
        "forward",
        "inhibition: 'If True, suppresses all spiking other than the neuron with the highest state'",
        "the argument is accepted and not used: every neuron above the threshold spikes",
        m.inhibited,
        ("SLSTM", (3, 3), (1, 3)),
    )
    yield Probe(
        "snntorch.inhibition.lstm",
        "SConv2dLSTM",
        "forward",
        "inhibition: 'If True, suppresses all spiking other than the neuron with the highest state'",
        "the argument is accepted and not used: every neuron above the threshold spikes",
        m.inhibited,
        ("SConv2dLSTM", (1, 2, 3), (1, 1, 2, 2)),
    )

    for inhibition in (False, True):
        yield Probe(
            "snntorch.inhibition.graded_spikes_factor",
            "Leaky",
            "forward",
            "graded_spikes_factor: 'output spikes are scaled this value, if specified'",
            "with inhibition=True they are not",
            m.graded_inhibited,
            (inhibition,),
        )


def _arguments() -> Iterator[Probe]:
    for name, more in (("RLeaky", {}), ("RSynaptic", {"alpha": 0.5}), ("SConv2dLSTM", {})):
        for size in (3, 2):
            yield Probe(
                "snntorch.kernel_size.even",
                name,
                "forward",
                "kernel_size: 'int or tuple', 'with padding to ensure the output matches the size of the input'; "
                "SConv2dLSTM: 'Padding is automatically applied to ensure consistent sizes for hidden states'",
                "both sides are padded with half the size: an even one makes the output larger by one, which raises",
                m.kernel_run,
                (name, size, more),
            )
    yield Probe(
        "snntorch.SpikeRateEscape.place",
        "surrogate.spike_rate_escape",
        "documentation",
        "dS/dU = k exp(-beta |U - 1|), largest at U = 1, the default threshold",
        "the function is given U - U_thr, so that the threshold is subtracted twice: a neuron of threshold 1 has "
        "its largest "
        "slope at U = 2",
        m.peak_place,
        tolerance=1e-2,
    )
    yield Probe(
        "snntorch.Lapicque.default",
        "Lapicque",
        "documentation",
        "reset_mechanism: 'Defaults to \"none\"'",
        "the default is 'subtract'",
        m.reset_default,
        tolerance=1e-4,
    )
    yield Probe(
        "snntorch.Lapicque.zero-input",
        "Lapicque",
        "documentation",
        "with reset_mechanism='zero', U[t+1] = I_in[t+1] T / tau + (1 - T / tau) U[t] - ...",
        "the input counts T / C, as in the equation for 'subtract'; T / tau is that divided by R",
        m.lapicque_input,
        tolerance=1e-4,
    )
    yield Probe(
        "snntorch.Lapicque.learn_beta",
        "Lapicque",
        "state",
        "learn_beta: 'Option to enable learnable beta' (while a note says that beta is 'not learnable')",
        "C is computed from beta once, in the constructor: what an optimiser does to beta has no effect",
        m.lapicque_beta,
        tolerance=1e-4,
    )
    yield Probe(
        "snntorch.Lapicque.decay",
        "Lapicque",
        "documentation",
        "'membrane potential which decays exponentially with a rate of beta'; beta: 'RC potential decay rate'",
        "a step multiplies the potential by 1 - T / tau = 1 + ln(beta), as the equation says: 0.307 at beta = 0.5",
        m.lapicque_leak,
        (0.5,),
    )
    for beta in (1.0 - 2**-20, 1.5):
        yield Probe(
            "snntorch.Lapicque.clipped",
            "Lapicque",
            "forward",
            "beta: 'RC potential decay rate. Clipped between 0 and 1 during the forward-pass'",
            "it is not clipped: above 1 the capacitance that is computed from it is negative, and the potential grows",
            m.lapicque_leak,
            (beta,),
            tolerance=1e-5,
        )
    for name, problem in (
        ("Leaky", ""),
        ("Lapicque", "a beta of more than one value raises RuntimeError: its truth value is asked for"),
        ("LeakyParallel", "a beta of more than one value is ignored: the random initial weights stay"),
    ):
        yield Probe(
            f"snntorch.{name}.multi-valued",
            name,
            "forward",
            "beta: 'May be a single-valued tensor ..., or multi-valued (one weight per neuron)'",
            problem or "it may not",
            m.multi_valued,
            (name,),
        )
    yield Probe(
        "snntorch.Synaptic.spike_grad",
        "Synaptic",
        "documentation",
        "spike_grad: 'Defaults to None (corresponds to Heaviside surrogate gradient)'",
        "the default is atan(alpha=2), whose slope is not zero below the threshold",
        m.default_slope,
    )
    yield Probe(
        "snntorch.Alpha.tau",
        "Alpha",
        "documentation",
        "tau_alpha = log(alpha) / log(beta) - log(alpha) + 1",
        "the code has log(alpha) / (log(beta) - log(alpha)) + 1",
        m.alpha_tau,
        tolerance=1e-4,
    )
    yield Probe(
        "snntorch.Alpha.learn_alpha",
        "Alpha",
        "state",
        "learn_alpha: 'Option to enable learnable alpha'",
        "the constructor assigns a clamped tensor to the parameter and raises TypeError",
        m.learnable_alpha,
    )
    for name, arguments in (
        ("Leaky", {"beta": 0.5}),
        ("Synaptic", {"alpha": 0.5, "beta": 0.5}),
        ("RLeaky", {"beta": 0.5, **_ONE_TO_ONE}),
        ("RSynaptic", {"alpha": 0.5, "beta": 0.5, **_ONE_TO_ONE}),
    ):
        yield Probe(
            f"snntorch.{name}.reset_delay",
            name,
            "forward",
            "reset_delay=False: the potential is reset in the step of the spike, as Leaky describes it",
            "forward uses its arguments in place of the state: TypeError with init_hidden=True; otherwise no "
            "reset at once",
            m.reset_at_once,
            (name, arguments),
        )
    for name, more in (("Leaky", {}), ("Synaptic", {"alpha": 0.0}), ("RLeaky", {"V": 0.0, "all_to_all": False})):
        yield Probe(
            "snntorch.reset_delay.repeated",
            name,
            "forward",
            "threshold: 'for mem to reach in order to generate a spike'; 'threshold subtracted from it whenever the "
            "neuron emits a spike', with reset_delay=False in the step of the spike",
            "a potential above the threshold after its reset is reset again at the start of the next step; where that "
            "brings it below, it does not spike and gets the threshold back: it stays above the threshold, silent",
            m.reset_carried,
            (name, more),
        )


def _states() -> Iterator[Probe]:
    yield Probe(
        "snntorch.SpikingNeuron.reset_mechanism",
        "Leaky.reset_mechanism",
        "state",
        "reset_mechanism: 'Defines the reset mechanism applied to mem each time the threshold is met'; it can be set: "
        "'If reset_mechanism is modified, reset_mechanism_val is triggered to update'",
        "the state function chosen in the constructor stays: the neuron goes on subtracting",
        m.reset_switched,
    )
    yield Probe(
        "snntorch.SpikingNeuron.zeros",
        "SpikingNeuron.zeros",
        "state",
        "'Used to clear hidden state variables to zero'",
        "a local name is bound to zeros; the state is untouched",
        m.zeroed,
    )
    for name, arguments in (("RLeaky", {"beta": 0.5}), ("RSynaptic", {"alpha": 0.5, "beta": 0.5})):
        for what, says in (
            ("reset", "reset_hidden: 'Used to clear hidden state variables to zero'"),
            ("detach", "detach_hidden: 'Returns the hidden states, detached from the current graph'"),
        ):
            yield Probe(
                f"snntorch.{name}.{what}_hidden",
                name,
                "state",
                says,
                "the spike that is fed back is left as it was: it enters the next sequence"
                if what == "reset"
                else "the spike that is fed back keeps its graph",
                m.hidden_spike,
                (name, arguments, what),
            )
    yield Probe(
        "snntorch.Leaky.graded_spikes_factor",
        "Leaky",
        "forward",
        "graded_spikes_factor: 'output spikes are scaled this value, if specified'",
        "they are not",
        m.graded,
        ("Leaky", {"beta": 0.5}),
    )
