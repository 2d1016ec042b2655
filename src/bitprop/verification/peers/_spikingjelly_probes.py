"""Single statements of SpikingJelly's documentation about its neurons: what it says, and what the release does."""

from __future__ import annotations

from collections.abc import Iterator

from bitprop.verification.peers import _spikingjelly_measures as m
from bitprop.verification.peers._probes import Probe, linear_spike, worst_pair
from bitprop.verification.peers._spikingjelly_formulas import atan, rect, sigmoid

__all__ = ["single_probes"]

_ILC = ("ILCIFNode", "ILCLIFNode", "ILCCUBALIFNode")
_SIGMOID, _RECT, _ATAN = (sigmoid, linear_spike), (rect, linear_spike), (atan, linear_spike)


def _liaf() -> Iterator[Probe]:
    subject = "neuron.LIAFNode"
    says = "'the output passes through a continuous activation function instead of generating binary spikes'"
    found = (
        "multi-step mode emits the binary spikes of LIFNode and never calls act (LIFNode.multi_step_functional_forward "
        "is inherited); single-step mode does as documented"
    )
    yield Probe("spikingjelly.LIAFNode.multi-step", subject, "forward", says, found, m.liaf_multi_step)
    yield Probe(
        "spikingjelly.LIAFNode.multi-step-gradient",
        subject,
        "gradient",
        says,
        "in multi-step mode the gradient is that of the surrogate of the spike, not act'",
        m.liaf_gradient,
    )
    # threshold-related output: 's' is tested on its own, 'm' shares the cause above
    yield Probe(
        "spikingjelly.LIAFNode.threshold-related",
        subject,
        "forward",
        "threshold_related: 'the output is y = act(h - v_th)'",
        "it is not",
        m.liaf_threshold_related,
        ("s",),
    )


def _ilc() -> Iterator[Probe]:
    for name in _ILC:
        subject = f"neuron.{name}"
        decay, c_decay = (1.0 if name == "ILCIFNode" else 0.75), (0.5 if name == "ILCCUBALIFNode" else None)
        yield Probe(
            "spikingjelly.ILC.dynamics",
            subject,
            "gradient",
            "charge, fire, reset, and the spike through conn to the next input, as in the docstring",
            "spikes or gradient differ from that",
            m.ilc_dynamics,
            (name, c_decay, decay),
            (worst_pair, *_RECT),
            1e-10,
        )
        yield Probe(
            "spikingjelly.ILC.input",
            subject,
            "state",
            "x_seq is the 'input sequence'; nothing says that forward overwrites it",
            "forward adds the recurrent current to x_seq in place, so a second call on the same input gives other "
            "spikes",
            m.ilc_input_kept,
            (name,),
        )
        yield Probe(
            "spikingjelly.ILC.leaf",
            subject,
            "gradient",
            "a differentiable layer: gradients reach its input",
            "the in-place addition raises a RuntimeError for every input that is a leaf requiring a gradient",
            m.ilc_leaf,
            (name,),
        )
        yield Probe(
            "spikingjelly.ILC.soft-reset",
            subject,
            "forward",
            "v_reset: 'if None, soft reset (subtract threshold)'",
            "init_tensor fills the voltage with v_reset, and None raises a TypeError",
            m.ilc_soft_reset,
            (name,),
        )


_DSR_FOUND = (
    "backward multiplies by delta_t where it should divide: the gradient is delta_t^2 = 1/400 of what it should be at "
    "the default delta_t = 0.05"
)


def _dsr() -> Iterator[Probe]:
    for name, rate, measure, found in (
        ("DSRIFNode", 1.0, m.dsr_if_threshold, "it differs"),
        (
            "DSRLIFNode",
            0.5,
            m.dsr_lif_threshold,
            _DSR_FOUND,
        ),
    ):
        subject = f"neuron.{name}"
        yield Probe(
            f"spikingjelly.{name}.threshold",
            subject,
            "gradient",
            "v_threshold is learnable; v_threshold_grad_scaling (default 1) is the 'scaling factor applied to the "
            "gradient'; where every step fires the output is proportional to v_threshold, with no surrogate involved",
            found,
            measure,
        )
        yield Probe(
            f"spikingjelly.{name}.input",
            subject,
            "gradient",
            "'differentiation on spike representation': the rate is the input's rate (over tau) below saturation",
            "the gradient differs",
            m.dsr_input,
            (name, rate),
        )
        yield Probe(
            "spikingjelly.DSR.dtype",
            subject,
            "dtype",
            "nothing is said of a fixed precision; every other neuron keeps the dtype of its input",
            "forward ends in .float(): the output is float32 in a network of any other dtype",
            m.dsr_bits,
            (name,),
        )


def _mpbn() -> Iterator[Probe]:
    subject = "neuron.MPBNLIFNode"
    yield Probe(
        "spikingjelly.MPBNLIFNode.dynamics",
        subject,
        "gradient",
        "H'[t] = BN(H[t]) in training, then firing and reset",
        "spikes or gradient differ",
        m.mpbn_training,
        (),
        (worst_pair, *_SIGMOID),
        1e-10,
    )
    yield Probe(
        "spikingjelly.MPBNLIFNode.initial-threshold",
        subject,
        "forward",
        "v_threshold: 'threshold of this neurons layer'; learnable_vth: 'whether to train a (positive) threshold'",
        "with learnable_vth the threshold starts at exp(0) = 1 whatever v_threshold is",
        m.mpbn_threshold,
    )
    yield Probe(
        "spikingjelly.MPBNLIFNode.soft-reset",
        subject,
        "forward",
        "v_reset=None: 'the neuron's voltage will subtract v_threshold after firing a spike'",
        "with learnable_vth the neuron fires at exp(a) but subtracts the constructor's v_threshold; the reset passes "
        "no gradient to the threshold either",
        m.mpbn_soft_reset,
    )
    yield Probe(
        "spikingjelly.MPBNLIFNode.folded-reset",
        subject,
        "forward",
        "one threshold for each channel after re_parameterize_v_threshold, and soft reset by the threshold",
        "the reset broadcasts the channels' thresholds along the image width (or fails where width != channels)",
        m.mpbn_folded_reset,
    )


def _others() -> Iterator[Probe]:
    yield Probe(
        "spikingjelly.NoisyBaseNode.soft-reset",
        "neuron.NoisyBaseNode",
        "forward",
        "v_reset: Optional[float] = 0.0, and neuronal_reset has a branch for None",
        "init_tensor fills the voltage with v_reset, and None raises a TypeError",
        m.noisy_soft_reset,
    )
    yield Probe(
        "spikingjelly.izhikevich_multi_step.detach_reset",
        "functional.izhikevich_multi_step",
        "documentation",
        "detach_reset: 'the hard-reset spike*v_reset term remain[s] differentiable'",
        "the whole reset is detached, that term too, as IzhikevichNode documents it",
        m.izhikevich_detached,
    )
    yield Probe(
        "spikingjelly.if_multi_step.raises",
        "functional.if_multi_step",
        "documentation",
        "':raises RuntimeError: Inputs, states, or parameters require gradients'",
        "it does not raise and is differentiable, as the rest of the docstring says",
        m.if_functional_gradient,
    )
    yield Probe(
        "spikingjelly.SpikingLSTMCell.cell-state",
        "rnn.SpikingLSTMCell",
        "documentation",
        "c' = f * c + i * g",
        "c' is clamped to 1 in place, to keep it bounded as a comment in the source says and the docstring does not; "
        "the gradient is that of the unclamped c'",
        m.lstm_cell_state,
    )
    for what in ("PSN", "MaskedPSN", "SlidingPSN", "MaskedPSN-s", "SlidingPSN-s"):
        name = what.removesuffix("-s")
        yield Probe(
            f"spikingjelly.{name}.dynamics",
            f"neuron.{name}",
            "gradient",
            "H = W X, S = step(H - B), W masked or sliding as in the docstring (B is -bias)",
            "spikes or gradient differ",
            m.psn_of,
            (what,),
            (worst_pair, *_ATAN),
            1e-10,
        )
    for learnable in (False, True):
        yield Probe(
            "spikingjelly.SynapseFilter.dynamics",
            "layer.SynapseFilter",
            "gradient",
            "I(t) = I(t-1) - (1 - S(t)) I(t-1) / tau + S(t)",
            "output or gradient differ",
            m.synapse_filter,
            (learnable,),
            (worst_pair,),
            1e-9,
        )
    yield Probe(
        "spikingjelly.CUBALIFNode.dynamics",
        "neuron.CUBALIFNode",
        "gradient",
        "c_decay and v_decay are the 'decay factor for input current' and 'for membrane potential'",
        "spikes or gradient differ",
        m.cuba_lif,
        (),
        (worst_pair, *_RECT),
        1e-10,
    )
    for name in ("IFNode", "LIFNode", "ParametricLIFNode", "QIFNode", "EIFNode", "KLIFNode"):
        yield Probe(
            "spikingjelly.neuron.shared-surrogate",
            f"neuron.{name}",
            "state",
            "surrogate_function: a parameter of 'this neurons layer', by default surrogate.Sigmoid()",
            "the default is one module made with the class: all layers built with it share it, so set_spiking_mode or "
            "another alpha in one layer changes all of them",
            m.shared_surrogate,
            (name,),
        )
    for mode in "sm":
        yield Probe(
            "spikingjelly.FewSpikeNode.dynamics",
            "neuron.FewSpikeNode",
            "gradient",
            "the few-spikes neuron of Stoeckl and Maass, membrane subtraction h, output weights d",
            "output or gradient differ",
            m.few_spike,
            (mode,),
            (worst_pair, *_SIGMOID),
            1e-6,  # the table is kept in float32
        )
    for mode in "sm":
        yield Probe(
            "spikingjelly.FlexSN.dynamics",
            "neuron.FlexSN",
            "gradient",
            "'build a stateful spiking neuron from a pure PyTorch single-step callable'",
            "spikes or gradient differ from that step",
            m.flexible,
            (mode,),
            (worst_pair, *_SIGMOID),
            1e-10,
        )
    for name in ("NonSpikingIFNode", "NonSpikingLIFNode"):
        yield Probe(
            f"spikingjelly.{name}.dynamics",
            f"neuron.{name}",
            "forward",
            "the neuron's charge without spike or reset",
            "the voltage differs",
            m.leaky_readout,
            (name, 2.5),
            (worst_pair,),
            1e-10,
        )
    for name in ("OTTTLIFNode", "SLTTLIFNode"):
        yield Probe(
            f"spikingjelly.{name}.truncation",
            f"neuron.{name}",
            "gradient",
            "'truncates temporal gradients'",
            "a gradient passes through time",
            m.online_gradient,
            (name,),
        )
    detached = {"detach_reset": True, "v_reset": -0.2}
    for name, parameters in (
        ("IzhikevichNode", {"a": 0.2, "b": 0.3, "v_reset": -0.2}),
        ("IzhikevichNode", {"a": 0.2, "b": 0.3, "v_reset": None, "detach_reset": True}),
        ("MPBNLIFNode", {"out_features": 4}),
        ("CUBALIFNode", {}),
        ("KLIFNode", detached),
        ("RAFNode", detached),
        ("ILIFNode", {}),
    ):
        for what in ("spikes", "gradient"):
            yield Probe(
                f"spikingjelly.{name}.modes",
                f"neuron.{name}",
                "gradient" if what == "gradient" else "forward",
                "step_mode: single-step or multi-step, of one neuron",
                f"the {what} of the two modes differ",
                m.modes_of,
                (name, parameters, what),
                (worst_pair,),
                1e-6,
            )
    for key, measure, says in (
        ("SlidingPSN.weight", m.sliding_weight_size, "W = [W_0, ..., W_{k-1}]"),
        ("GatedLIFNode.linear-decay", m.gated_lif_start, "init_linear_decay 'defaults to init_v_threshold / (T * 2)'"),
        ("ParametricLIFNode.initial", m.plif_start, "init_tau: 'the initial value of membrane time constant'"),
    ):
        yield Probe(
            f"spikingjelly.{key}", f"neuron.{key.split('.')[0]}", "forward", says, "the initial value differs", measure
        )


def single_probes() -> Iterator[Probe]:
    """All of them."""
    yield from _liaf()
    yield from _ilc()
    yield from _dsr()
    yield from _mpbn()
    yield from _others()
