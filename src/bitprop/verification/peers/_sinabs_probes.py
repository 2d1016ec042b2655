"""Statements of Sinabs's documentation: what it says, and what the release does."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch

from bitprop.verification.peers import _sinabs_measures as m
from bitprop.verification.peers._probes import Probe, linear_spike, worst_pair
from bitprop.verification.peers._sinabs_adaptive import adaptive_probes
from bitprop.verification.peers._sinabs_measures import sinabs_probe
from bitprop.verification.peers._sinabs_tools import tool_probes

__all__ = ["sinabs_probes"]

# multiples of the thresholds used below and the edges of the windows are among the points
_POINTS = (-100.0, -3.0, -1.2, -0.5, -0.1, 0.0, 0.3, 0.5, 0.9, 1.0, 1.1, 1.5, 1.9, 2.0, 2.5, 3.7, 4.0, 100.0)
_SPIKES = ("SingleSpike", "MultiSpike", "MaxSpike")
_SLOPES = ("SingleExponential", "Gaussian", "MultiGaussian", "Heaviside", "PeriodicExponential")


def _surrogates() -> Iterator[Probe]:
    uses = (worst_pair, m.normal)
    for threshold in (1.0, 0.5, 2.0):
        for name, formula, parameters in (
            ("Gaussian", m.gaussian, {}),
            ("Gaussian", m.gaussian, {"mu": 0.2, "sigma": 0.3, "grad_scale": 2.0}),
            ("MultiGaussian", m.multi_gaussian, {}),
            ("MultiGaussian", m.multi_gaussian, {"sigma": 0.4, "h": 0.2, "s": 4.0, "grad_scale": 0.5}),
            ("SingleExponential", m.exponential, {}),
            ("SingleExponential", m.exponential, {"grad_width": 0.3, "grad_scale": 2.0}),
        ):
            yield sinabs_probe(
                f"{name}.slope",
                f"activation.{name}",
                "gradient",
                "the docstring's description, and the formula of the paper that it cites",
                "the gradient differs",
                m.surrogate_at,
                name,
                parameters,
                threshold,
                formula,
                _POINTS,
                uses=uses,
            )
        for window in (1.0, 0.5):
            yield sinabs_probe(
                "Heaviside.window",
                "activation.Heaviside",
                "documentation",
                "window: 'distance between step of Heaviside surrogate gradient and threshold, relative to threshold'",
                "the step is at threshold - window, not threshold * (1 - window): an absolute distance, which agrees "
                "for a threshold of 1 only",
                m.surrogate_at,
                "Heaviside",
                {"window": window},
                threshold,
                m.heaviside,
                _POINTS,
                uses=(worst_pair,),
            )
    for name, slope in itertools.product(_SPIKES, _SLOPES):
        yield sinabs_probe(
            f"{name}.backward",
            f"activation.{name}",
            "gradient",
            "backward multiplies the upstream gradient by surrogate_grad_fn",
            "it does not",
            m.spike_backward,
            name,
            slope,
            _POINTS,
            uses=(worst_pair,),
        )
    for slope, dtype in itertools.product(_SLOPES, (torch.float16, torch.bfloat16, torch.float32, torch.float64)):
        yield sinabs_probe(
            f"{slope}.finite",
            f"activation.{slope}",
            "gradient",
            "a finite slope at potentials of +-100",
            "some are not finite",
            m.spike_finite,
            slope,
            dtype,
        )


def _activations() -> Iterator[Probe]:
    for name, largest in (("SingleSpike", 1.0), ("MultiSpike", 1e9), ("MaxSpike", 3.0)):
        yield sinabs_probe(
            f"{name}.spikes",
            f"activation.{name}",
            "forward",
            "'membrane potential integer-divided by spike threshold', at most one or max_num_spikes_per_bin",
            "the spikes differ",
            m.spikes,
            name,
            largest,
            _POINTS,
            uses=(worst_pair,),
        )
    for name, dtype in itertools.product(_SPIKES, (torch.float16, torch.bfloat16, torch.float32, torch.float64)):
        yield sinabs_probe(
            "spikes.dtype",
            f"activation.{name}",
            "dtype",
            "the potential 'integer-divided by spike threshold'; nothing is said of a fixed dtype",
            "spikes are float32 whatever the potential is (.float()): gradients through time are rounded to float32 in "
            "a float64 network, and a following layer of another dtype raises",
            m.spike_bits,
            name,
            dtype,
        )
    for name, dtype in itertools.product(("Quantize", "StochasticRounding"), (torch.float16, torch.float64)):
        yield sinabs_probe(
            f"{name}.dtype",
            f"activation.{name}",
            "dtype",
            "quantizes its input, in the dtype of the input",
            "a float16 input becomes float32",
            m.rounding_bits,
            name,
            dtype,
        )
    for spiked in (1.0, 0.0):
        yield sinabs_probe(
            "MembraneReset.reset_value",
            "activation.MembraneReset",
            "forward",
            "'reset the membrane potential v_mem to a given value after it spiked'",
            "reset_value is added to every neuron in every time step, spike or not",
            m.membrane_reset,
            spiked,
        )
    for value in (None, 0.75):
        yield sinabs_probe(
            "MembraneSubtract.value",
            "activation.MembraneSubtract",
            "forward",
            "'subtract the spiking threshold' or subtract_value for every spike",
            "it does not",
            m.membrane_subtract,
            value,
        )
    yield sinabs_probe(
        "Quantize.values",
        "activation.Quantize",
        "gradient",
        "floor(), with the gradient of a linear function",
        "it differs",
        m.quantize,
        _POINTS,
        uses=(worst_pair,),
    )
    for what, kind, found in (
        ("output", "forward", "in evaluation the value is rounded to nearest: 1.7 becomes 2"),
        ("gradient", "gradient", "in evaluation torch.round is used as it is, whose gradient is zero everywhere"),
    ):
        yield sinabs_probe(
            f"NeuromorphicReLU.{what}",
            "layers.NeuromorphicReLU",
            kind,
            "stochastic_rounding: 'only done during training. During evaluation mode, the value is simply floored'",
            found,
            m.neuromorphic_relu,
            what,
        )


def _layers() -> Iterator[Probe]:
    exponential = (worst_pair, linear_spike, m.exponential)
    for norm_input, train_alphas in itertools.product((True, False), (True, False)):
        learnable = "alpha_mem" if train_alphas else "tau_mem"
        for what in ("spikes", "gradient"):
            yield sinabs_probe(
                f"LIF.{what}",
                "layers.LIF",
                "gradient" if what == "gradient" else "forward",
                "V(t+1) = alpha V(t) + (1 - alpha) z(t), or z(t) without norm_input; reset by subtraction",
                f"the {what} differ",
                m.lif_dynamics,
                what,
                {"norm_input": norm_input, "train_alphas": train_alphas},
                learnable,
                uses=exponential,
                tolerance=1e-5,  # spikes, and so gradients through time, are float32
            )
    for what in ("spikes", "gradient"):
        yield sinabs_probe(
            f"IAF.{what}",
            "layers.IAF",
            "gradient" if what == "gradient" else "forward",
            "V(t+1) = V(t) + z(t); reset by subtraction",
            f"the {what} differ",
            m.iaf_dynamics,
            what,
            uses=exponential,
            tolerance=1e-5,
        )
    for train_alphas in (True, False):
        yield sinabs_probe(
            "ExpLeak.dynamics",
            "layers.ExpLeak",
            "gradient",
            "norm_input=True: V(t+1) = alpha V(t) + (1 - alpha) z(t)",
            "output or gradient differ",
            m.leak_dynamics,
            train_alphas,
            uses=(worst_pair,),
        )
    yield sinabs_probe(
        "ExpLeak.norm_input",
        "layers.ExpLeak",
        "documentation",
        "V(t+1) = alpha V(t) + (1 - alpha) z(t), without any condition",
        "norm_input is False by default, so the input is not scaled by (1 - alpha)",
        m.exp_leak_input,
    )
    yield sinabs_probe(
        "ExpLeak.min_v_mem",
        "layers.ExpLeak",
        "forward",
        "min_v_mem: 'lower bound for membrane potential v_mem, clipped at every time step'; v_mem is the output",
        "the output is taken before the clipping and falls below the bound",
        m.exp_leak_bound,
    )
    yield sinabs_probe(
        "LIF.min_v_mem", "layers.LIF", "forward", "min_v_mem: 'clipped at every time step'", "it is not", m.lif_bound
    )
    yield sinabs_probe(
        "LIF.tau_syn",
        "layers.LIF",
        "forward",
        "tau_syn: 'synaptic decay time constants'",
        "the current decays otherwise",
        m.lif_synapse,
    )
    for name in ("LIF", "ALIF", "ExpLeak"):
        yield sinabs_probe(
            f"{name}.train_alphas",
            f"layers.{name}",
            "forward",
            "train_alphas: 'the discrete decay factor exp(-1/tau) is used'",
            "it is not",
            m.alpha_start,
            name,
        )
    yield sinabs_probe(
        "LIF.shared-threshold",
        "layers.LIF",
        "state",
        "spike_threshold: 'by default set to 1.0'",
        "the default is one tensor, made a Parameter without a copy: all layers built with it share its storage, and "
        "load_state_dict or any in-place change in one layer changes the threshold of all, and of every later one",
        m.shared_threshold,
    )
    for name in ("IAF", "LIF", "ALIF"):
        yield sinabs_probe(
            "shared-surrogate",
            f"layers.{name}",
            "state",
            "surrogate_grad_fn: an argument of each layer, by default SingleExponential()",
            "the default is one mutable object made with the class: all layers built with it share it, so that "
            "another grad_scale or grad_width in one layer changes all of them",
            m.shared_slope,
            name,
        )
    alif = {"tau_mem": 5.0, "tau_adapt": 10.0}
    for name, parameters in (
        ("IAF", {}),
        ("LIF", {"tau_mem": 5.0}),
        ("ALIF", alif),
        ("ExpLeak", {"tau_mem": 5.0}),
    ):
        yield sinabs_probe(
            f"{name}Squeeze.output",
            f"layers.{name}Squeeze",
            "forward",
            "'same as parent class, only takes in squeezed 4D input'",
            "the output differs",
            m.squeezed,
            name,
            parameters,
            uses=(worst_pair,),
        )
    for name, parameters in (
        ("IAF", {}),
        ("LIF", {"tau_mem": 5.0, "norm_input": False}),
        ("IAFRecurrent", {}),
        ("LIFRecurrent", {"tau_mem": 5.0, "norm_input": False}),
        ("ALIF", {**alif, "norm_input": False}),
        ("ALIFRecurrent", {**alif, "norm_input": False}),
    ):
        yield sinabs_probe(
            "recordings",
            f"layers.{name}",
            "state",
            "record_states: 'will record all internal states such as v_mem'",
            "the recorded v_mem of a step is that of the next step before its reset: the recorded dictionary is "
            "overwritten by the following step",
            m.recordings,
            name,
            parameters,
        )


def _recurrent() -> Iterator[Probe]:
    lif, alif = {"tau_mem": 5.0}, {"tau_mem": 5.0, "tau_adapt": 10.0}
    yield sinabs_probe(
        "LIFRecurrent.equation",
        "layers.LIFRecurrent",
        "documentation",
        "V(t+1) = max(alpha V(t) + sum z_in(t) z_rec(t), V_min)",
        "the two currents are added, as the text below the equation says, and not multiplied",
        m.recurrent_input,
    )
    for name, parameters in (("IAFRecurrent", {}), ("LIFRecurrent", lif), ("ALIFRecurrent", alif)):
        yield sinabs_probe(
            "recurrent.chunks",
            f"layers.{name}",
            "state",
            "a stateful layer: states 'update at every time step' and persist until reset",
            "the recurrent current of the last step is dropped at the end of a call, while the other states persist: a "
            "sequence in two calls is not the sequence in one",
            m.recurrent_chunks,
            name,
            parameters,
        )
        yield sinabs_probe(
            "recurrent.deepcopy",
            f"layers.{name}",
            "state",
            "_param_dict holds 'all parameters relevant for creating a new instance with same parameters as self'",
            "copy.deepcopy raises",
            m.recurrent_copy,
            name,
            parameters,
        )
    for name, parameters in (
        *(("IAF", {}), ("LIF", lif), ("ALIF", alif), ("ExpLeak", lif)),
        *(("IAFRecurrent", {}), ("LIFRecurrent", lif), ("ALIFRecurrent", alif)),
    ):
        yield sinabs_probe(
            "reset_states.recurrent",
            f"layers.{name}",
            "state",
            "sinabs.reset_states: 'recursively reset all states of spiking layers within the model'",
            "a layer that has modules of its own, as every recurrent one has, keeps its states",
            m.reset_states,
            name,
            parameters,
        )
    for what in ("spikes", "gradient"):
        yield sinabs_probe(
            f"LIFRecurrent.{what}",
            "layers.LIFRecurrent",
            "gradient" if what == "gradient" else "forward",
            "LIF with the spikes through rec_connect added to the next input",
            f"the {what} differ",
            m.recurrent_dynamics,
            what,
            uses=(worst_pair, linear_spike, m.exponential),
            tolerance=1e-4,
        )
    yield sinabs_probe(
        "LIFRecurrent.buffers",
        "layers.LIFRecurrent",
        "forward",
        "rec_connect: 'an nn.Module which defines the recurrent connectivity'",
        "a module with buffers, such as a batch normalization, raises a KeyError: its buffers are taken for states",
        m.recurrent_buffers,
    )
    yield sinabs_probe(
        "LIFRecurrent.float64",
        "layers.LIFRecurrent",
        "dtype",
        "an nn.Module: .double() makes a float64 layer",
        "the float32 spikes meet the float64 weights of rec_connect and raise",
        m.recurrent_dtype,
    )


def sinabs_probes() -> Iterator[Probe]:
    """All of them."""
    yield from _surrogates()
    yield from _activations()
    yield from _layers()
    yield from _recurrent()
    yield from adaptive_probes()
    yield from tool_probes()
