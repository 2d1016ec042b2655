"""The audits of SpikingJelly and Sinabs: what they find, what they leave alone, and that they vanish with the fault."""

from __future__ import annotations

import copy
import importlib.metadata
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("spikingjelly")
pytest.importorskip("sinabs")

from bitprop.errors import ToolNotFoundError  # noqa: E402
from bitprop.verification.peers._probes import script  # noqa: E402
from bitprop.verification.peers._run import KINDS, PeerAudit  # noqa: E402
from bitprop.verification.peers.sinabs import audit_sinabs  # noqa: E402
from bitprop.verification.peers.spikingjelly import audit_spikingjelly  # noqa: E402
from bitprop.verification.replay import check_tangent_replay  # noqa: E402
from helpers.reproducers import check_reproducers, run_as_file, run_scripts  # noqa: E402
from helpers.warm_python import WarmPython  # noqa: E402

VERSIONS = {"spikingjelly": "2.0.0", "sinabs": "3.1.3"}
AUDITS: dict[str, Callable[[], PeerAudit]] = {"spikingjelly": audit_spikingjelly, "sinabs": audit_sinabs}

KNOWN = {
    "spikingjelly": {
        "gradient": {
            "PiecewiseLeakyReLU.derivative",
            "FakeNumericalGradient.derivative",
            "LIAFNode.multi-step-gradient",
            "ILC.leaf",
            "DSRLIFNode.threshold",
        },
        "forward": {
            "PiecewiseQuadratic.finite-primal",
            "S2NN.primal",
            "SuperSpike.primal",
            "LIAFNode.multi-step",
            "ILC.soft-reset",
            "MPBNLIFNode.initial-threshold",
            "MPBNLIFNode.soft-reset",
            "MPBNLIFNode.folded-reset",
            "NoisyBaseNode.soft-reset",
            "PeriodicEncoder.spike",
            "spike_similar_loss.range",
            "DropConnectLinear.silence",
            "VotingLayer.dimensions",
        },
        "state": {"ILC.input", "neuron.shared-surrogate", "PeriodicEncoder.period"},
        "dtype": {"PoissonPass.dtype", "DSR.dtype"},
        "documentation": {
            "SpikingLSTMCell.cell-state",
            "LatencyEncoder.latency",
            "SoftSign.helper",
            "FakeNumericalGradient.helper",
            "SuperSpike.alpha",
            "SquarewaveFourierSeries.n",
            "izhikevich_multi_step.detach_reset",
            "if_multi_step.raises",
        },
    },
    "sinabs": {
        "gradient": {"NeuromorphicReLU.gradient", "ALIF.threshold-gradient", "ALIF.train_alphas-frozen"},
        "forward": {
            "MembraneReset.reset_value",
            "NeuromorphicReLU.output",
            "ExpLeak.min_v_mem",
            "ALIF.synaptic-decay",
            "LIFRecurrent.buffers",
            "get_network_activations.input",
            "get_network_activations.names",
            "from_model.batch_size",
            "from_model.bias_rescaling",
            "input_diff_hook.bias",
            "input_diff_hook.dilation",
            "conv_layer_synops_hook.padding",
            "from_nir.bound",
            "from_nir.resistance",
            "from_nir.current",
            "from_nir.convolution",
            "to_nir.LIF",
            "to_nir.train_alphas",
            "linear_layer_synops_hook.steps",
            "SNNAnalyzer.pooling",
            "Network.get_synops",
        },
        "state": {
            "LIF.shared-threshold",
            "shared-surrogate",
            "recordings",
            "recurrent.chunks",
            "recurrent.deepcopy",
            "reset_states.recurrent",
            "zero_grad.recursive",
            "ALIF.synaptic-state",
            "ALIF.deepcopy",
            "ALIF.train_alphas-repr",
            "ALIF.initial-threshold",
            "from_model.input_shape",
        },
        "dtype": {"spikes.dtype", "StochasticRounding.dtype", "LIFRecurrent.float64"},
        "documentation": {
            "Heaviside.window",
            "arguments.layer_name",
            "ExpLeak.norm_input",
            "LIFRecurrent.equation",
            "ALIF.reset",
            "ALIF.reset-adaptation",
            "ALIF.adapt_scale",
            "ALIF.synaptic-equation",
        },
    },
}
RIGHT = {
    "spikingjelly": (
        *("surrogate.Sigmoid", "surrogate.ATan", "surrogate.Erf", "surrogate.PiecewiseExp", "surrogate.SoftSign"),
        *("surrogate.NonzeroSignLogAbs", "surrogate.QPseudoSpike", "surrogate.LeakyKReLU", "surrogate.LogTailedReLU"),
        *(
            "surrogate.DeterministicPass",
            "surrogate.MultiLevelSpikeCount",
            "surrogate.Rect",
            "neuron.HalfThresholdIFNode",
        ),
        *("neuron.ActivationAwareIFNode", "neuron.IzhikevichNode", "neuron.ComplementaryLIFNode"),
        *("neuron.CUBALIFNode", "neuron.ILIFNode", "neuron.RAFNode"),
        *("neuron.PSN", "neuron.MaskedPSN", "neuron.SlidingPSN", "neuron.TernaryIFNode", "neuron.TernaryLIFNode"),
        *("neuron.OTTTLIFNode", "neuron.SLTTLIFNode", "neuron.GatedLIFNode", "layer.SynapseFilter"),
        "encoding.PoissonEncoder",
    ),
    "sinabs": (
        *("activation.Gaussian", "activation.MultiGaussian", "activation.SingleExponential"),
        *("activation.PeriodicExponential", "activation.MembraneSubtract", "activation.Quantize"),
        *("layers.IAFSqueeze", "layers.LIFSqueeze", "layers.ExpLeakSqueeze"),
    ),
}
# abstract, or tested through a subclass; inference only; variants of what is tested
UNTESTED = {
    *("BaseNode", "SimpleBaseNode", "NonSpikingBaseNode", "AdaptBaseNode", "MPBNBaseNode", "ILCBaseNode"),
    *("STBIFNode", "FewSpikeTable", "HGNode", "OutlierAwareThresholdNode"),
    *("NoisyCUBALIFNode", "NoisyILCBaseNode", "NoisyILCCUBALIFNode", "NoisyNonSpikingBaseNode"),
    "NoisyNonSpikingIFNode",
}


@pytest.fixture(scope="module")
def audits(peer_audit: Callable[[str], PeerAudit]) -> dict[str, PeerAudit]:
    return {name: peer_audit(name) for name in AUDITS}


def of_version(framework: str) -> None:
    """Skip what is known of one release only."""
    if importlib.metadata.version(framework) != VERSIONS[framework]:
        pytest.skip(f"known findings are those of {framework} {VERSIONS[framework]}")


def keys(audit: PeerAudit) -> set[str]:
    return {finding.key for finding in audit.findings}


@pytest.mark.parametrize("framework", AUDITS)
def test_what_is_known_is_found_and_nothing_else(framework: str, audits: dict[str, PeerAudit]) -> None:
    of_version(framework)
    audit = audits[framework]
    found = {kind: {f.key.removeprefix(f"{framework}.") for f in audit.findings if f.kind == kind} for kind in KINDS}
    assert found == KNOWN[framework]
    assert audit.skipped == ()
    assert audit.probes >= {"spikingjelly": 1400, "sinabs": 130}[framework]


@pytest.mark.parametrize("framework", AUDITS)
def test_nothing_right_is_blamed(framework: str, audits: dict[str, PeerAudit]) -> None:
    of_version(framework)
    blamed = {subject for finding in audits[framework].findings for subject in finding.subjects}
    assert blamed.isdisjoint(RIGHT[framework])
    gravest = {s for f in audits[framework].findings if f.kind in ("gradient", "forward") for s in f.subjects}
    assert gravest.isdisjoint({"neuron.IFNode", "neuron.LIFNode", "neuron.KLIFNode", "layers.LIF", "layers.IAF"})


@pytest.mark.parametrize("framework", AUDITS)
def test_a_finding_can_be_read_and_kept(framework: str, audits: dict[str, PeerAudit]) -> None:
    audit = audits[framework]
    kept = json.loads(json.dumps(audit.to_dict()))
    assert [item["key"] for item in kept["findings"]] == [finding.key for finding in audit.findings]
    text = audit.to_text()
    for finding in audit.findings:
        assert finding.key in text
        assert finding.says in text
        assert finding.found in text
        assert len(finding.reproducer.splitlines()) < 100


@pytest.mark.parametrize("framework", AUDITS)
def test_every_reproducer_shows_its_numbers_without_us(
    framework: str, audits: dict[str, PeerAudit], tmp_path: Path, python: WarmPython
) -> None:
    check_reproducers(python, audits[framework], tmp_path)


@pytest.mark.parametrize("framework", AUDITS)
def test_a_reproducer_runs_as_a_file(
    framework: str, audits: dict[str, PeerAudit], tmp_path: Path, python: WarmPython
) -> None:
    run_as_file(python, audits[framework].findings[0], tmp_path)


def test_the_script_of_a_statement_that_holds_exits_0(tmp_path: Path, python: WarmPython) -> None:
    from bitprop.verification.peers._spikingjelly_neurons import neuron_probes

    probes = [probe for probe in neuron_probes() if probe.subject in ("neuron.LIFNode", "neuron.KLIFNode")][::13]
    sources = [script(probe, package="spikingjelly.activation_based", alias="sj") for probe in probes]
    assert [code for code, _ in run_scripts(python, sources, tmp_path)] == [0] * len(probes)


def keep_inputs(self: Any, x_seq: Any) -> Any:
    """ILCBaseNode.forward without its in-place addition."""
    self.init_tensor(x_seq[0].data)
    spikes: list[Any] = []
    for t in range(x_seq.shape[0]):
        x = x_seq[t]
        if t > 0:
            x = x + self.conn(spikes[-1].view(-1, self.act_dim, self.dec_pop_dim)).view(-1, self.out_pop_dim)
        self.neuronal_charge(x)
        spikes.append(self.neuronal_fire())
        self.neuronal_reset(spikes[-1])
    return torch.stack(spikes)


def within(grad_output: Any, x: Any, w: float, c: float) -> Any:
    """piecewise_leaky_relu_backward with its edges inside."""
    inside = (x.abs() <= w).to(x)
    return grad_output * (inside / (2 * w) + (1 - inside) * c), None, None


def clipped(grad_output: Any, x: Any, alpha: float) -> Any:
    """fake_numerical_gradient_backward with the sign of the numerator."""
    return grad_output * torch.clamp_max(1 / x.abs(), alpha), None


def floored(self: Any, inp: Any) -> Any:
    """NeuromorphicReLU.forward as documented for evaluation."""
    from sinabs.activation import Quantize

    return Quantize.apply(torch.relu(inp))


def reset_to(self: Any, spikes: Any, state: dict[str, Any], spike_threshold: Any) -> dict[str, Any]:
    """MembraneReset for those that spiked."""
    return {**state, "v_mem": torch.where(spikes == 0, state["v_mem"], self.reset_value)}


def averaged(self: Any, x: Any) -> Any:
    """VotingLayer.single_step_forward over the last of any number of dimensions."""
    return x.unflatten(-1, (-1, self.voting_size)).mean(-1)


def within_one(spikes: Any, labels: Any, kernel: str, loss: str) -> Any:
    """spike_similar_loss of the linear kernel with similarities that end at 1."""
    unit = torch.nn.functional.normalize(spikes.flatten(1))
    similar = (labels @ labels.t()).clamp(0, 1)
    function = {"mse": "mse_loss", "l1": "l1_loss", "bce": "binary_cross_entropy"}[loss]
    return getattr(torch.nn.functional, function)((unit @ unit.t()).clamp(0, 1), similar)


def zero_all(model: Any) -> None:
    """sinabs.zero_grad for every spiking layer, however deep."""
    import sinabs

    for layer in model.modules():
        if isinstance(layer, sinabs.layers.StatefulLayer):
            layer.zero_grad()


def unbounded(node: Any, *arguments: Any) -> Any:
    """What from_nir makes of a node, an IF without a lower bound."""
    from sinabs import nir

    layer = _READ_NODE(node, *arguments)
    if isinstance(node, nir.nir.IF):
        layer.min_v_mem = None
    return layer


def average_over_time(module: Any, input_: Any, output: Any) -> None:
    """linear_layer_synops_hook averaged over every dimension but the last."""
    mean = input_[0].flatten(0, -2).mean(0).sum()
    module.hook_data = {"layer_synops_per_timestep": mean * module.out_features}


def input_difference(module: Any, input_: Any, output: Any) -> None:
    """input_diff_hook with everything that the layer has."""
    positive = copy.deepcopy(module)
    positive._forward_hooks.clear()
    with torch.no_grad():
        positive.weight.abs_()
        module.hook_data = {"diff_output": positive(input_[0]) - output.abs()}


_READ_NODE = pytest.importorskip("sinabs.nir")._import_sinabs_module
_COMPUTE_SHAPES = pytest.importorskip("sinabs").network.Network._compute_shapes


def without_states(self: Any, *args: Any, **more: Any) -> None:
    """Network._compute_shapes that leaves the states as they were."""
    import sinabs

    _COMPUTE_SHAPES(self, *args, **more)
    for layer in self.modules():
        if isinstance(layer, sinabs.layers.StatefulLayer):
            layer.reset_states()


FIXES = {
    "LIAFNode.multi-step": ("neuron.LIAFNode", "multi_step_functional_forward", None),
    "LIAFNode.multi-step-gradient": ("neuron.LIAFNode", "multi_step_functional_forward", None),
    "ILC.input": ("neuron.ILCBaseNode", "forward", keep_inputs),
    "ILC.leaf": ("neuron.ILCBaseNode", "forward", keep_inputs),
    "PiecewiseLeakyReLU.derivative": ("surrogate", "piecewise_leaky_relu_backward", within),
    "FakeNumericalGradient.derivative": ("surrogate", "fake_numerical_gradient_backward", clipped),
    "VotingLayer.dimensions": ("layer.VotingLayer", "single_step_forward", averaged),
    "spike_similar_loss.range": ("functional", "spike_similar_loss", within_one),
}


def test_a_finding_vanishes_with_its_fault_in_spikingjelly(
    audits: dict[str, PeerAudit], monkeypatch: pytest.MonkeyPatch
) -> None:
    of_version("spikingjelly")
    import spikingjelly.activation_based as sj

    for place, name, fixed in FIXES.values():
        target: Any = sj
        for part in place.split("."):
            target = getattr(target, part)
        fixed = sj.base.MemoryModule.multi_step_functional_forward if fixed is None else fixed
        monkeypatch.setattr(target, name, fixed)
    audit = audit_spikingjelly()
    assert keys(audits["spikingjelly"]) - keys(audit) == {f"spikingjelly.{key}" for key in FIXES}
    assert keys(audit) <= keys(audits["spikingjelly"])


def test_a_finding_vanishes_with_its_fault_in_sinabs(
    audits: dict[str, PeerAudit], monkeypatch: pytest.MonkeyPatch
) -> None:
    of_version("sinabs")
    import sinabs

    monkeypatch.setattr(sinabs.layers.NeuromorphicReLU, "forward", floored)
    monkeypatch.setattr(sinabs.activation.MembraneReset, "__call__", reset_to)
    monkeypatch.setattr(sinabs, "zero_grad", zero_all)
    monkeypatch.setattr(sinabs.hooks, "linear_layer_synops_hook", average_over_time)
    monkeypatch.setattr(sinabs.hooks, "input_diff_hook", input_difference)
    monkeypatch.setattr(sinabs.network.Network, "_compute_shapes", without_states)
    monkeypatch.setattr("sinabs.nir._import_sinabs_module", unbounded)
    gone = keys(audits["sinabs"]) - keys(audit_sinabs())
    assert gone == {
        "sinabs.MembraneReset.reset_value",
        "sinabs.NeuromorphicReLU.gradient",
        "sinabs.from_model.input_shape",
        "sinabs.from_nir.bound",
        "sinabs.input_diff_hook.bias",
        "sinabs.input_diff_hook.dilation",
        "sinabs.NeuromorphicReLU.output",
        "sinabs.linear_layer_synops_hook.steps",
        "sinabs.zero_grad.recursive",
    }


def scaled(function: Callable[..., Any], factor: float) -> Callable[..., Any]:
    return lambda grad_output, *arguments: (function(grad_output, *arguments)[0] * factor, None)


def test_a_slope_that_is_off_by_a_thousandth_is_found(
    audits: dict[str, PeerAudit], monkeypatch: pytest.MonkeyPatch
) -> None:
    import spikingjelly.activation_based as sj

    monkeypatch.setattr(sj.surrogate, "atan_backward", scaled(sj.surrogate.atan_backward, 1.001))
    monkeypatch.setattr(sj.surrogate, "sigmoid_backward", scaled(sj.surrogate.sigmoid_backward, 1.001))
    new = keys(audit_spikingjelly()) - keys(audits["spikingjelly"])
    assert {"spikingjelly.ATan.derivative", "spikingjelly.Sigmoid.derivative"} <= new
    assert {"spikingjelly.LIFNode.gradient", "spikingjelly.KLIFNode.gradient", "spikingjelly.PSN.dynamics"} <= new
    assert not any(key.endswith(".spikes") for key in new)


def test_a_reset_that_ignores_detach_is_found(audits: dict[str, PeerAudit], monkeypatch: pytest.MonkeyPatch) -> None:
    from spikingjelly._ops import reset
    from spikingjelly._ops.lif import reference

    monkeypatch.setattr(
        reference, "voltage", lambda v, s, threshold, to, _detach: reset.voltage(v, s, threshold, to, False)
    )
    new = keys(audit_spikingjelly()) - keys(audits["spikingjelly"])
    assert new == {"spikingjelly.LIFNode.gradient"}


def test_planted_faults_in_sinabs_are_found(audits: dict[str, PeerAudit], monkeypatch: pytest.MonkeyPatch) -> None:
    import sinabs

    slope = sinabs.activation.SingleExponential.__call__
    subtract = sinabs.activation.MembraneSubtract.__call__
    monkeypatch.setattr(sinabs.activation.SingleExponential, "__call__", lambda *a: slope(*a) * 1.001)
    new = keys(audit_sinabs()) - keys(audits["sinabs"])
    assert {"sinabs.SingleExponential.slope", "sinabs.LIF.gradient", "sinabs.IAF.gradient"} <= new
    monkeypatch.undo()
    monkeypatch.setattr(
        sinabs.activation.MembraneSubtract, "__call__", lambda self, s, *rest: subtract(self, s.detach(), *rest)
    )
    new = keys(audit_sinabs()) - keys(audits["sinabs"])
    assert {"sinabs.LIF.gradient", "sinabs.IAF.gradient", "sinabs.LIFRecurrent.gradient"} <= new
    assert "sinabs.LIF.spikes" not in new


def test_every_surrogate_and_neuron_is_tested() -> None:
    import sinabs
    import spikingjelly.activation_based as sj

    from bitprop.verification.peers._sinabs_probes import sinabs_probes
    from bitprop.verification.peers.spikingjelly import _probes

    tested = {probe.subject.split(".")[1] for probe in _probes()}
    base = sj.surrogate.SurrogateFunctionBase
    surrogates = {
        n for n, c in vars(sj.surrogate).items() if isinstance(c, type) and issubclass(c, base) and c is not base
    }
    assert surrogates <= tested
    assert {name for name, item in vars(sj.neuron).items() if isinstance(item, type)} - tested == UNTESTED
    tested = {probe.subject.split(".")[1] for probe in sinabs_probes()}
    functions = {"Quantize", "StochasticRounding", "MembraneReset", "MembraneSubtract", "MaxSpike", "MultiSpike"}
    slopes = {"SingleSpike", "Gaussian", "Heaviside", "MultiGaussian", "PeriodicExponential", "SingleExponential"}
    layers = {"ALIF", "ALIFRecurrent", "ExpLeak", "IAF", "IAFRecurrent", "LIF", "LIFRecurrent", "NeuromorphicReLU"}
    assert {name for name in functions | slopes if hasattr(sinabs.activation, name)} <= tested
    assert layers | {"IAFSqueeze", "LIFSqueeze", "ExpLeakSqueeze", "ALIFSqueeze"} <= tested


class _Net(torch.nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self, neuron: Any, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.linspace(-0.5, 1.0, 4 * math.prod(shape)).view(4, -1))
        self.neuron, self.shape = neuron, shape

    def forward(self, x: Any) -> Any:
        self.neuron.reset()
        return self.neuron((x @ self.weight).view(*x.shape[:2], *self.shape))


def test_replay_agrees_with_the_audit_where_the_docstring_has_no_equations() -> None:
    from spikingjelly.activation_based import neuron

    x = torch.rand(6, 3, 4, generator=torch.Generator().manual_seed(0))
    for node, shape in (
        (neuron.GatedLIFNode(T=6, inplane=2), (2, 2, 2)),
        (neuron.IzhikevichNode(a=0.2, b=0.3, step_mode="m"), (8,)),
        (neuron.IzhikevichNode(a=0.2, b=0.3, detach_reset=True, v_reset=None, step_mode="m"), (8,)),
    ):
        weights = torch.linspace(-1, 2, x.shape[0] * 3 * 8)
        result = check_tangent_replay(_Net(node, shape), x, None, lambda y, w=weights: (y.flatten() * w.to(y)).sum())
        assert result.status == "PASS", result.to_text()


QUIET = """
import random, warnings, logging
import numpy as np, torch
from bitprop.verification.peers.sinabs import audit_sinabs
from bitprop.verification.peers.spikingjelly import audit_spikingjelly

def seen():
    return (torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate(), warnings.filters[:],
            torch.get_default_dtype(), torch.is_grad_enabled(), logging.root.manager.disable, logging.root.level,
            logging.root.handlers[:], torch.get_num_threads())

before = seen()
with torch.no_grad():
    audits = [audit_spikingjelly(), audit_sinabs()]
assert all(audit.findings and not audit.skipped for audit in audits)
assert seen() == before
import sinabs
assert float(sinabs.layers.LIF(10.0).spike_threshold) == 1.0
"""


def test_nothing_is_printed_and_nothing_is_left_behind(tmp_path: Path, python: WarmPython) -> None:
    (tmp_path / "quiet.py").write_text(QUIET, encoding="utf-8")
    run = python.run(tmp_path / "quiet.py", folder=tmp_path, timeout=300)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


@pytest.mark.parametrize("framework", AUDITS)
def test_a_missing_framework_is_an_error(framework: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(ToolNotFoundError, match=f"pip install {framework}"):
        AUDITS[framework]()
