"""What Norse's documentation says of its threshold functions, neurons, adjoint steps and modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from bitprop.verification.peers import _norse_measures as m
from bitprop.verification.peers import _norse_neurons as n
from bitprop.verification.peers import _norse_surrogates as s
from bitprop.verification.peers._norse_steps import FORWARD_ONLY, MORE_MODELS
from bitprop.verification.peers._probes import Probe, linear_spike, worst_pair

__all__ = ["norse_probes"]

_POINTS = (-9.1, -2.9, -1.9, -0.83, -0.47, -0.21, -0.07, 0.07, 0.21, 0.47, 0.83, 1.9, 2.9, 9.1)
_ALPHA = "alpha: 'hyper parameter to use in surrogate gradient computation'; "

# name, title, slope, kind, documented, found
_SLOPES: tuple[tuple[str, str, Callable[[Tensor, float], Tensor], str, str, str], ...] = (
    (
        "super", "SuperSpike", s.super_spike, "gradient",
        _ALPHA + "SuperSpike 'as described in Section 3.3.2' of Zenke and Ganguli: 1 / (1 + alpha |x|)^2",
        "alpha is kept and not used: backward divides by (1 + |x|)^2 whatever it is, 100 by default",
    ),
    (
        "triangle", "Triangle", s.triangle, "gradient",
        "'Triangular/piecewise linear surrogate gradient' of Bellec et al. 2020: alpha max(0, 1 - |x|)", "it differs",
    ),
    (
        "tanh", "HeaviTanh", s.tanh, "gradient",
        "approximation of the step as 1/2 + 1/2 tanh(k x)",
        "backward is 1 - tanh(k x)^2: the factor k / 2 of that function's slope is missing",
    ),
    (
        "logistic_fn", "Logistic", s.tanh, "gradient",
        "z ~ p(1/2 + 1/2 tanh(k x))",
        "backward is 1 - tanh(k x)^2: the factor k / 2 of that probability's slope is missing",
    ),
    (
        "circ", "HeaviCirc", s.circ, "gradient",
        "approximation of the step as 1/2 + 1/2 x / (x^2 + alpha^2)^(1/2)",
        "backward is 2 alpha times the slope of that function",
    ),
    (
        "circ_dist_fn", "CircDist", s.circ, "gradient",
        "h(x, alpha) = 0.5 + 0.5 x / sqrt(x^2 + alpha^2)",
        "backward is 2 alpha times the slope of that function",
    ),
    (
        "heavi_erfc", "HeaviErfc", s.erf, "gradient",
        "approximation of the step as 1/2 + 1/2 erfc(k x); a rising one has erf in its place",
        "backward is 2 / sqrt(pi) exp(-(k x)^2): the factor k / 2 is missing",
    ),
)  # fmt: skip
_CELLS = (
    ("LIF", "LIFCell", ()),
    ("LIFRecurrent", "LIFRecurrentCell", (3, 4)),
    ("LIFEx", "LIFExCell", ()),
    ("LIFExRecurrent", "LIFExRecurrentCell", (3, 4)),
    ("LIFAdEx", "LIFAdExCell", ()),
    ("LIFAdExRecurrent", "LIFAdExRecurrentCell", (3, 4)),
    ("LIFRefracRecurrent", "LIFRefracRecurrentCell", (3, 4)),
    ("LSNN", "LSNNCell", ()),
    ("LSNNRecurrent", "LSNNRecurrentCell", (3, 4)),
    ("LI", "LICell", ()),
)


def norse_probes() -> Iterator[Probe]:
    """Threshold functions first, then neurons, adjoint steps and modules."""
    yield from _thresholds()
    yield from _dynamics()
    yield from _adaptation()
    yield from _statements()
    yield from _adjoint()
    yield from _modules()


def _thresholds() -> Iterator[Probe]:
    for name, title, formula, kind, says, found in _SLOPES:
        subject, uses = f"functional.threshold.{title}", (s.threshold_of, worst_pair)
        for alpha in (0.5, 1.0, 2.0, 100.0):
            arguments = (name, alpha, formula, _POINTS)
            yield Probe(f"norse.{title}.slope", subject, kind, says, found, s.surrogate_slope, arguments, uses)
        text = "the gradient is multiplied by the slope"
        arguments_up = (name, 1.0, _POINTS)
        yield Probe(f"norse.{title}.upstream", subject, "gradient", text, "no", s.upstream_slope, arguments_up, uses)
        for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            text = "a slope that is finite everywhere"
            yield Probe(f"norse.{title}.finite", subject, "gradient", text, "no", s.finite_slope, (name, dtype), uses)
            if name in ("logistic_fn", "circ_dist_fn"):
                continue  # drawn
            text = "H[n] = 1 for n > 0, in the dtype of its input"
            yield Probe(f"norse.{title}.step", subject, "forward", text, "no", s.fired, (name, dtype), uses)
        if name not in ("logistic_fn", "circ_dist_fn"):
            text = "H[n] = 0 for n <= 0"
            yield Probe(f"norse.{title}.zero", subject, "forward", text, "no", s.spike_at_zero, (name,), uses)
    yield Probe(
        "norse.HeaviErfc.primal", "functional.threshold.HeaviErfc", "documentation",
        "approximation of the step as 1/2 + 1/2 erfc(k x)",
        "erfc falls from 2 to 0: the formula goes from 3/2 to 1/2, the step from 0 to 1; erf is meant",
        s.heavi_erfc_limit, (), (s.threshold_of,),
    )  # fmt: skip
    subject = "functional.spikes_to_times_decoder.ToSpikeTimes"
    yield Probe(
        "norse.ToSpikeTimes.forward", subject, "forward",
        "'indices of first spike_count spikes'; 'remaining entries are set to inf'", "no",
        s.spike_times, (), (worst_pair,),
    )  # fmt: skip
    for count in (1, 2):
        yield Probe(
            "norse.ToSpikeTimes.gradient", subject, "gradient",
            "'Local gradient is set -1 for spike whose index was returned by forward, and 0 for no spike'",
            "where a neuron has fewer spikes than asked for, the gradients of the infinite times are not left out: "
            "the shapes do not match and backward raises RuntimeError",
            s.spike_times_gradient, (count,),
        )  # fmt: skip


def _dynamics() -> Iterator[Probe]:
    for name, (call, step, states) in {**n.MODELS, **MORE_MODELS}.items():
        uses: tuple[Callable[..., object], ...] = (n.spike, linear_spike, n.weights_of, worst_pair)
        uses = (*uses, n.lif_step) if step is n.recurrent_step else uses
        coba = name == "coba_lif.coba_lif_step"
        says = str(step.__doc__).rstrip(".")
        for what in ("forward",) if name in FORWARD_ONLY else ("forward", "gradient"):
            cut = name in ("lif.lif_step", "lsnn.lsnn_step") and what == "gradient"
            yield Probe(
                f"norse.{name.partition('.')[2]}.{'input' if coba else what}", f"functional.{name}",
                "forward" if what == "forward" or coba else "gradient",
                says + (", the reset detached" if cut else ""),
                "the conductances that the input adds are overwritten by those of the recurrent spikes: the input has "
                "no effect and gets no gradient" if coba else "it differs",
                n.run_of, (call, step, states, what, cut), uses, 1e-5,
            )  # fmt: skip
        if name == "lif.lif_step":
            yield Probe(
                "norse.lif_step.detached", f"functional.{name}", "documentation",
                "the equations of lif_feed_forward_step, whose gradient passes through the reset: " + says,
                "the spike is detached in the reset, of which nothing is said; lif_feed_forward_step and "
                "lif_step_sparse do not detach it",
                n.run_of, (call, step, states, "gradient", False), uses, 1e-5,
            )  # fmt: skip
        if name == "lsnn.lsnn_step":
            yield Probe(
                "norse.lsnn_step.detached", f"functional.{name}", "documentation",
                "the equations of lsnn_feed_forward_step, whose gradient passes through the reset: " + says,
                "the spike is detached in the reset and in the jump of b, of which nothing is said; "
                "lsnn_feed_forward_step does not detach it",
                n.run_of, (call, step, states, "gradient", False), uses, 1e-5,
            )  # fmt: skip


def _adaptation() -> Iterator[Probe]:
    for name in ("lsnn_step", "lsnn_feed_forward_step"):
        subject = f"functional.lsnn.{name}"
        yield Probe(
            "norse.lsnn.decay", subject, "forward", "b' = -b / tau_b",
            "b decays to v_th and not to 0: it is the threshold itself", m.adaptation_decay, (name,),
        )  # fmt: skip
        yield Probe(
            "norse.lsnn.threshold", subject, "forward",
            "z = H(v - v_th + b), so that an adaptation makes spikes likelier",
            "z = H(v - b): spikes raise the threshold, as in the paper", m.adaptation_sign, (name,),
        )  # fmt: skip
    subject = "functional.lsnn.ada_lif_step"
    yield Probe(
        "norse.ada_lif_step.decay", subject, "forward", "b' = -b / tau_b", "no", m.adaptation_decay, ("ada_lif_step",)
    )
    yield Probe(
        "norse.ada_lif_step.sign", subject, "forward", "v' = (v_leak - v + b + i) / tau_mem",
        "b is subtracted", m.adaptive_current, (), (), 1e-5,
    )  # fmt: skip
    yield Probe(
        "norse.ada_lif_step.reset", subject, "forward", "v = (1 - z) v + z v_reset",
        "v - z (v_th - v_reset): what is above the threshold stays", m.adaptive_reset, (), (), 1e-5,
    )  # fmt: skip
    yield Probe(
        "norse.lif_adex_current_encoder.adaptation", "functional.lif_adex.lif_adex_current_encoder", "forward",
        "'single euler-integration step' of a' = (a_current (v - v_leak) - a) / tau_ada",
        "the derivative is returned in the place of the state: neither the old value nor dt is in it",
        m.adaptive_encoder, (), (), 1e-5,
    )  # fmt: skip
    for name in ("LIFAdExCell", "LIFAdExRecurrentCell", "LIFAdExRefracCell"):
        yield Probe(
            "norse.LIFAdEx.equation", name, "documentation",
            "v' = (v_leak - v + i + D exp((v - v_th) / D)) / tau_mem, without a",
            "a is subtracted, as the equation of lif_adex_step says", m.adex_adaptation, (name,),
        )  # fmt: skip


def _statements() -> Iterator[Probe]:
    yield Probe(
        "norse.lif.current", "functional.lif", "documentation", "module docstring: i' = i / tau_syn, a growing current",
        "i' = -i / tau_syn, as the docstrings of the functions say", m.current_decay, (), (), 1e-5,
    )  # fmt: skip
    yield Probe(
        "norse.lif_step_integral.shape", "functional.lif.lif_step_integral", "forward",
        "'Returns: A tuple of (spike output from all timesteps, neuron state from the final timestep)'",
        "the spikes of the last step alone are returned", m.integral_shape,
    )  # fmt: skip
    yield Probe(
        "norse.iaf.growth", "functional.iaf.iaf_feed_forward_step", "documentation", "v' = v, an exponential growth",
        "v' is the input: the potential stays without one", m.fire_growth, (), (), 1e-5,
    )  # fmt: skip
    yield Probe(
        "norse.LIFMC.coupling", "LIFMCRecurrentCell", "forward", "v' = (v_leak - g_coupling v + i) / tau_mem",
        "a LIF step with its own leak, and then v + dt g_coupling v: the sign is the other one, tau_mem is not in it",
        m.compartments, (), (), 1e-5,
    )  # fmt: skip
    yield Probe(
        "norse.LIFRefrac.start", "LIFRefracCell", "documentation", "rho = rho + z_r rho_reset, z_r = H(-rho)",
        "rho is set to rho_reset where the neuron spikes, and counts down to 0; by the formula no spike starts it",
        m.refractory_start,
    )  # fmt: skip
    yield Probe(
        "norse.LIFRefrac.steps", "LIFRefracCell", "forward",
        "rho_reset: 'refractory state (count towards zero)', 5 steps",
        "another number of steps", m.refractory_steps,
    )  # fmt: skip
    yield Probe(
        "norse.stdp_sensor.constant", "functional.stdp_sensor.stdp_sensor_step", "forward",
        "tau_ac_inv: 'anti-correlation sensor time constant'",
        "both traces decay with tau_c_inv; tau_ac_inv is not used", m.stdp_decay, (), (), 1e-5,
    )  # fmt: skip


def _adjoint() -> Iterator[Probe]:
    says = "'single euler forward and adjoint backward step'; "
    for name in ("lif_feed_forward_adjoint_step", "lsnn_feed_forward_adjoint_step"):
        yield Probe(
            "norse.adjoint.potential", f"functional.adjoint.{name}", "gradient",
            says + "of Euler steps without a spike, which are linear, the adjoint is the transpose",
            "the current's adjoint takes dt / tau_syn of the potential's, where the step has dt / tau_mem",
            m.adjoint_gradient, (name,), (worst_pair,), 1e-5,
        )  # fmt: skip
    for name in ("lif_adjoint_step", "lsnn_adjoint_step"):
        uses = (m._adjoint,)
        subject = f"functional.adjoint.{name}"
        yield Probe(
            "norse.adjoint.input-weights", subject, "gradient",
            says + "input enters as w x only, so that <dL/dw, w> = <dL/dx, x>",
            "the weights' gradient is taken before the decay of the step, the input's after it",
            m.adjoint_weights, (name,), uses, 1e-5,
        )  # fmt: skip
        yield Probe(
            "norse.adjoint.recurrent-weights", subject, "gradient",
            says + "the current has w_rec z added, with the z of the step before",
            "the gradient of w_rec is taken with the spikes that the step puts out",
            m.adjoint_recurrent_weights, (name,), uses,
        )  # fmt: skip
    for name in ("lif_refrac_adjoint_step", "lif_refrac_feed_forward_adjoint_step"):
        yield Probe(
            "norse.adjoint.refractory", f"functional.adjoint.{name}", "gradient", says.rstrip("; "),
            "backward reads tau_syn_inv from LIFRefracParameters, which has it under lif, and raises AttributeError",
            m.adjoint_runs, (name,),
        )  # fmt: skip
    for name in ("LIFCell", "LIF", "LIFRecurrentCell", "LIFRecurrent", "LIFRefracCell"):
        yield Probe(
            "norse.adjoint.method", name, "forward",
            "LIFParameters(method='adjoint') selects the adjoint step in the constructor",
            "the adjoint step hands the method on to threshold, which does not know it and raises ValueError",
            m.adjoint_chosen, (name,),
        )  # fmt: skip


def _modules() -> Iterator[Probe]:
    for name in ("LIFCell", "LIF", "LIFRecurrentCell", "LIFRecurrent", "LIFRefracRecurrent"):
        yield Probe(
            "norse.sparse", name, "documentation",
            "'sparse (bool): Whether to apply sparse activation functions (True) or not (False)'",
            "there is no such argument: TypeError; sparse inputs choose the sparse step by themselves",
            m.sparse_argument, (name,),
        )  # fmt: skip
    for subject, name, arguments in (
        ("LIFCell", "LIFCell", (2, 4)),
        ("LIFExCell", "LIFExCell", (10, 20)),
        ("Izhikevich", "Izhikevich", ()),
        ("IzhikevichRecurrentCell", "IzhikevichRecurrentCell", (2, 4)),
        ("LIFAdEx", "LIFAdExLayer", (2, 4)),
        ("RegularizationCell", "LIFCell", (2, 4)),
        ("SpikeLatencyEncoder", "ConstantCurrentLIFEncoder", ()),
    ):
        yield Probe(
            "norse.examples", subject, "documentation", "the constructor call of the docstring's example",
            "it raises", m.example, (name, arguments),
        )  # fmt: skip
    for name in ("IAFCell", "IAF"):
        yield Probe(
            "norse.IAF.v_reset", name, "state", "v_reset: 'reset potential', a given tensor",
            "the initial state is that very tensor and is made to require a gradient; by default it is shared by every "
            "IAF neuron of the process",
            m.shared_reset_value, (name,),
        )  # fmt: skip
    yield Probe(
        "norse.SequentialState.states", "SequentialState", "state",
        "'state: Either a list of states for each module or None'; the states are returned",
        "the caller's list is overwritten: the same list does not start a second sequence", m.sequential_states,
    )  # fmt: skip
    for name in (
        *("LIFCell", "LIF", "LIFRecurrentCell", "LIFRecurrent", "LI", "LIFRefracRecurrent"),
        *("LSNN", "LIFEx", "LIFAdEx", "LIFBoxCell", "LICell", "LIBoxCell", "LIFRefracCell"),
        *("LIFRefracRecurrentCell", "LIFExRecurrent", "LIFAdExRecurrent", "LSNNRecurrent"),
        *("LIFAdExRefracCell", "LIFAdExRefracRecurrent", "LIFMCRecurrentCell", "LIFMCRefracRecurrentCell"),
        *("CobaLIFCell",),
    ):
        yield Probe(
            "norse.LIF.dtype", name, "dtype", "spikes to be passed to the next layer, as LSNN and LIFAdEx return them",
            "the initial state is float32 whatever the input is: spikes of a bfloat16 network are float32, which the "
            "next linear layer refuses",
            m.half_precision, (name,),
        )  # fmt: skip
    for name, cell, arguments in _CELLS:
        yield Probe(
            f"norse.{name}.time", name, "forward", f"'wraps a {cell} in time'", "it differs",
            m.cells_in_time, (name, cell, arguments), (worst_pair,), 1e-5,
        )  # fmt: skip
    for name in ("LIFRecurrent", "LSNNRecurrent", "LIFExRecurrent"):
        yield Probe(
            f"norse.{name}.autapses", name, "forward",
            "autapses: 'Allow self-connections in the recurrence? Defaults to False'",
            "it differs", m.autapses, (name,),
        )  # fmt: skip
