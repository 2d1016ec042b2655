"""The audits of snnTorch and Norse: what they find, what they leave alone, and that they vanish with the fault."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("snntorch")
pytest.importorskip("norse")

from bitprop.verification.peers import KINDS, PeerAudit, audit_peer  # noqa: E402
from bitprop.verification.peers._probes import script  # noqa: E402
from bitprop.verification.peers.norse import audit_norse  # noqa: E402
from bitprop.verification.peers.snntorch import audit_snntorch, snntorch_probes  # noqa: E402
from helpers.reproducers import check_reproducers, run_scripts  # noqa: E402
from helpers.warm_python import WarmPython  # noqa: E402

VERSIONS = {"snntorch": "1.0.0", "norse": "1.1.0"}

KNOWN = {
    "snntorch": {
        "gradient": {"Sigmoid.finite", "LeakySpikeOperator.derivative", "SpikeTime.silent", "TBPTT.truncation"},
        "forward": {
            "Leaky.zero",
            "inhibition.reset",
            "inhibition.lstm",
            "Lapicque.multi-valued",
            "LeakyParallel.multi-valued",
            "LeakyParallel.single-valued",
            "LeakyParallel.dropout",
            "RSynaptic.reset_delay",
            "reset_delay.repeated",
            "SpikeTime.multi_spike",
            "SLSTM.state",
            "StateLeaky.graded_spikes_factor",
            "DeltaLeaky.graded_spikes_factor",
            "DeltaLeaky.beta",
            "AssociativeLeaky.state",
            "inhibition.graded_spikes_factor",
            "kernel_size.even",
            "TBPTT.time_var",
            "TBPTT.average",
            "TBPTT.targets",
            "rate.offset",
            "targets_rate.incorrect_rate",
            "targets_convert.latency",
            "GradedSpikes.batch",
            "Lapicque.clipped",
            "LeakyParallel.beta",
            "import_from_nir.leak",
            "import_from_nir.groups",
        },
        "state": {
            "Lapicque.learn_beta",
            "Alpha.learn_alpha",
            "SpikingNeuron.reset_mechanism",
            "SpikingNeuron.zeros",
            "RSynaptic.reset_hidden",
            "RSynaptic.detach_hidden",
            "StateLeaky.learnable",
            "AssociativeLeaky.num_spiking_neurons",
            "mse_temporal_loss.targets",
            "utils.reset",
        },
        "dtype": {"surrogate.dtype", "SLSTM.dtype"},
        "documentation": {
            "surrogate.threshold",
            "ATan.derivative",
            "neurons.delay",
            "SpikeRateEscape.place",
            "Lapicque.default",
            "Lapicque.zero-input",
            "Lapicque.decay",
            "Synaptic.spike_grad",
            "Alpha.tau",
            "LeakyParallel.shape",
            "AssociativeLeaky.value",
            "AssociativeLeaky.shape",
            "latency.threshold",
            "losses.scale",
            "ce_rate_loss.accumulated",
            "mse_count_loss.incorrect_rate",
            "mse_membrane_loss.target",
        },
    },
    "norse": {
        "gradient": {
            "SuperSpike.slope",
            "HeaviTanh.slope",
            "Logistic.slope",
            "HeaviCirc.slope",
            "CircDist.slope",
            "HeaviErfc.slope",
            "ToSpikeTimes.gradient",
            "adjoint.potential",
            "adjoint.input-weights",
            "adjoint.recurrent-weights",
            "adjoint.refractory",
            "adjoint.sparse",
            "receptive_field.accumulation",
            "recurrent.deepcopy",
        },
        "forward": {
            "nir.time_constants",
            "nir.convolution",
            "from_nir.reset_method",
            "from_nir.leak",
            "coba_lif_step.input",
            "lsnn.decay",
            "lsnn.threshold",
            "ada_lif_step.sign",
            "ada_lif_step.reset",
            "lif_adex_current_encoder.adaptation",
            "lif_step_integral.shape",
            "LIFMC.coupling",
            "stdp_sensor.constant",
            "adjoint.method",
            "refractory.spikes",
            "LIFAdExRefrac.adaptation",
            "CobaLIFCell.input",
            "adjoint.import",
            "population_encode.scale",
            "spatial_receptive_field.angle",
            "SpatialReceptiveField2d.aggregate",
            "stdp_step_conv2d.default",
            "correlation_sensor.batch",
            "LIFRefracRecurrent.sparse-input",
            "create_izhikevich_spiking_behavior.u_rest",
            "RecurrentSequential.outputs",
            "LConv2d.padding",
        },
        "state": {
            "IAF.v_reset",
            "SequentialState.states",
            "LIF.parameters",
            "IzhikevichCell.state",
            "lift.pickle",
        },
        "dtype": {
            "LIF.dtype",
            "receptive_field.dtype",
        },
        "documentation": {
            "HeaviErfc.primal",
            "lif_step.detached",
            "lsnn_step.detached",
            "LIFAdEx.equation",
            "lif.current",
            "iaf.growth",
            "LIFRefrac.start",
            "sparse",
            "examples",
            "refractory.dt",
            "LIFAdExParameters.tau_ada_inv",
            "constant_current_lif_encode.example",
            "population_encode.kernel",
            "euclidean_distance.square",
            "covariance_matrix.variance",
            "spatial_receptive_field.domain",
            "spatial_receptive_field.scale",
            "temporal_scale_distribution.scale",
            "TemporalReceptiveField.time_constants",
            "parameters.inverse",
            "Izhikevich.p",
            "Lift.tuple",
            "SequentialState.shape",
            "SequentialState.hooks",
            "arguments.names",
            "arguments.state",
            "arguments.sequence_length",
        },
    },
}
GRAVE = ("gradient", "forward")
RIGHT = {
    "snntorch": {
        *("surrogate.straight_through_estimator", "surrogate.triangular", "surrogate.fast_sigmoid", "surrogate.atan"),
        *("surrogate.heaviside", "surrogate.spike_rate_escape", "surrogate.SSO", "surrogate.SFS"),
        *("surrogate.custom_surrogate", "Alpha"),
    },
    "norse": {
        *("functional.threshold.Triangle", "functional.lif.lif_feed_forward_step", "functional.lif.lif_step"),
        *("functional.lif_box.lif_box_feed_forward_step", "functional.iaf.iaf_feed_forward_step"),
        *("functional.lif_ex.lif_ex_feed_forward_step", "functional.lif_adex.lif_adex_feed_forward_step"),
        *("functional.leaky_integrator.li_feed_forward_step", "functional.izhikevich.izhikevich_feed_forward_step"),
        *("functional.coba_lif.coba_lif_feed_forward_step", "LSNN", "LIFEx", "LIFAdEx", "LI"),
    },
}


@pytest.fixture(scope="module")
def audits(peer_audit: Callable[[str], PeerAudit]) -> dict[str, PeerAudit]:
    return {name: peer_audit(name) for name in VERSIONS}


def of_version(framework: str) -> None:
    """Skip what is known of one release only."""
    if importlib.metadata.version(framework) != VERSIONS[framework]:
        pytest.skip(f"known findings are those of {framework} {VERSIONS[framework]}")


def keys(audit: PeerAudit) -> set[str]:
    return {finding.key.partition(".")[2] for finding in audit.findings}


@pytest.mark.parametrize("framework", VERSIONS)
def test_what_is_known_is_found_and_nothing_else(framework: str, audits: dict[str, PeerAudit]) -> None:
    of_version(framework)
    audit = audits[framework]
    found = {kind: {f.key.partition(".")[2] for f in audit.findings if f.kind == kind} for kind in KINDS}
    assert found == KNOWN[framework]
    assert audit.skipped == ()
    assert audit.exit_code == 1
    assert audit.probes >= 170


@pytest.mark.parametrize("framework", VERSIONS)
def test_nothing_right_is_blamed(framework: str, audits: dict[str, PeerAudit]) -> None:
    of_version(framework)
    blamed = {s for finding in audits[framework].findings if finding.kind in GRAVE for s in finding.subjects}
    assert blamed.isdisjoint(RIGHT[framework])


@pytest.mark.parametrize("framework", VERSIONS)
def test_every_reproducer_shows_its_numbers_without_us(
    framework: str, audits: dict[str, PeerAudit], tmp_path: Path, python: WarmPython
) -> None:
    check_reproducers(python, audits[framework], tmp_path)


@pytest.mark.parametrize("framework", VERSIONS)
def test_findings_can_be_read_and_written(framework: str, audits: dict[str, PeerAudit], tmp_path: Path) -> None:
    audit = audits[framework]
    audit.write_reproducers(tmp_path / "found")
    text, short = audit.to_text(), audit.to_text(reproducers=False)
    for finding in audit.findings:
        assert (tmp_path / "found" / f"{finding.key}.py").read_text(encoding="utf-8") == finding.reproducer
        assert finding.key in short
        assert "raise SystemExit" not in short
        assert len(finding.reproducer.splitlines()) < 100
    assert text.count("raise SystemExit") == len(audit.findings)


def test_an_audit_leaves_no_trace() -> None:
    import snntorch

    mine = snntorch.RSynaptic(0.5, 0.5, all_to_all=False, init_hidden=True)
    mine(torch.full((1, 1), 5.0))
    before = list(snntorch.SpikingNeuron.instances)
    rng = torch.get_rng_state()
    audit_peer("snnTorch")
    assert snntorch.SpikingNeuron.instances == before
    assert float(mine.syn.detach()) == 5.0  # the class method that clears every neuron's state did not reach it
    assert torch.equal(rng, torch.get_rng_state())


def test_the_script_of_a_statement_that_holds_exits_0(tmp_path: Path, python: WarmPython) -> None:
    probes = [
        probe
        for probe in snntorch_probes()
        if probe.key in ("snntorch.Synaptic.zero", "snntorch.FastSigmoid.derivative")
    ]
    sources = [script(probe, package="snntorch", alias="snntorch") for probe in probes]
    assert [code for code, _ in run_scripts(python, sources, tmp_path)] == [0] * len(probes)
    assert len(probes) >= 3


# -- faults that are mended --------------------------------------------------------------------------------------


def mended_sigmoid(ctx: Any, grad_output: Any) -> Any:
    (x,) = ctx.saved_tensors
    return grad_output * ctx.slope * torch.sigmoid(ctx.slope * x) * torch.sigmoid(-ctx.slope * x), None


def zeroed(*states: Any) -> None:
    for state in states:
        state.zero_()


def test_findings_vanish_with_their_faults_in_snntorch(
    audits: dict[str, PeerAudit], monkeypatch: pytest.MonkeyPatch
) -> None:
    of_version("snntorch")
    import snntorch

    def lstm(self: Any, x: Any, syn: Any = None, mem: Any = None) -> Any:
        """SLSTM.forward with a state of the hidden size."""
        shape = (x.shape[0], self.hidden_size)
        self.syn = syn if syn is not None else self.syn if self.syn.shape == shape else x.new_zeros(shape)
        self.mem = mem if mem is not None else self.mem if self.mem.shape == shape else x.new_zeros(shape)
        self.reset = self.mem_reset(self.mem)
        self.syn, self.mem = self.state_function(x)
        self.spk = self.fire_inhibition(len(x), self.mem) if self.inhibition else self.fire(self.mem)
        return self.spk if self.init_hidden and not self.output else (self.spk, self.syn, self.mem)

    def base_zero(self: Any, x: Any) -> Any:
        return (1 - self.reset) * self._base_state_function(x)

    monkeypatch.setattr(snntorch.surrogate.Sigmoid, "backward", staticmethod(mended_sigmoid))
    monkeypatch.setattr(snntorch.SpikingNeuron, "zeros", staticmethod(zeroed))
    monkeypatch.setattr(snntorch.SLSTM, "forward", lstm)
    monkeypatch.setattr(snntorch.Leaky, "_base_zero", base_zero)
    fire, rate, look = snntorch.SpikingNeuron.fire_inhibition, snntorch.spikegen.rate, snntorch.utils._layer_check

    def fire_scaled(self: Any, batch: int, mem: Any) -> Any:
        return fire(self, batch, mem) * self.graded_spikes_factor

    def rate_scaled(data: Any, num_steps: Any = False, gain: float = 1, offset: float = 0, **more: Any) -> Any:
        return rate(data * gain + offset, num_steps, **more)

    def detach_all(cls: Any) -> None:
        for neuron in cls.instances:
            for _, state in neuron.named_buffers():
                state.detach_()

    def reset_all(net: Any) -> None:
        look(net=net)
        for module in net.modules():
            if hasattr(module, "reset_mem"):
                module.reset_mem()

    monkeypatch.setattr(snntorch.SpikingNeuron, "fire_inhibition", fire_scaled)
    monkeypatch.setattr(snntorch.spikegen, "rate", rate_scaled)
    monkeypatch.setattr(snntorch.Synaptic, "detach_hidden", classmethod(detach_all))
    monkeypatch.setattr(snntorch.utils, "_layer_check", reset_all)
    audit = audit_snntorch()
    gone = {"Sigmoid.finite", "SpikingNeuron.zeros", "SLSTM.state", "SLSTM.dtype", "Leaky.zero", "utils.reset"}
    gone |= {"inhibition.graded_spikes_factor", "rate.offset", "TBPTT.truncation"}
    assert keys(audits["snntorch"]) - keys(audit) == gone
    assert keys(audit) <= keys(audits["snntorch"])
    (lstm_left,) = [finding for finding in audit.findings if finding.key == "snntorch.inhibition.lstm"]
    assert lstm_left.subjects == ("SConv2dLSTM",)


def test_findings_vanish_with_their_faults_in_norse(
    audits: dict[str, PeerAudit], monkeypatch: pytest.MonkeyPatch
) -> None:
    of_version("norse")
    import norse.torch as nt

    def slope(ctx: Any, grad_output: Any) -> Any:
        (x,) = ctx.saved_tensors
        return grad_output / (1.0 + ctx.alpha * x.abs()) ** 2, None

    step = nt.functional.coba_lif.coba_lif_step

    def with_input(x: Any, state: Any, w: Any, back: Any, p: Any, dt: float = 0.001) -> Any:
        """coba_lif_step with the conductances of the input kept."""
        linear, relu = torch.nn.functional.linear, torch.relu
        charged = state._replace(g_e=state.g_e + linear(x, relu(w)), g_i=state.g_i + linear(x, relu(-w)))
        return step(x, charged, w, back, p, dt)

    monkeypatch.setattr(nt.functional.superspike.SuperSpike, "backward", staticmethod(slope))
    from norse.torch.utils import import_nir

    read = import_nir._import_norse_module

    def without_leak(node: Any, *arguments: Any, **more: Any) -> Any:
        """What from_nir makes of a node, the current of a CubaLIF decaying to 0."""
        module = read(node, *arguments, **more)
        if isinstance(node, import_nir.nir.CubaLIF):
            module.synapse.p = module.synapse.p._replace(v_leak=torch.zeros(1))
        return module

    monkeypatch.setattr(nt.functional.coba_lif, "coba_lif_step", with_input)
    monkeypatch.setattr(import_nir, "_import_norse_module", without_leak)
    audit = audit_norse()
    assert keys(audits["norse"]) - keys(audit) == {"SuperSpike.slope", "coba_lif_step.input", "from_nir.leak"}
    assert keys(audit) <= keys(audits["norse"])


# -- faults that are planted -------------------------------------------------------------------------------------


def test_a_slope_that_is_off_by_a_thousandth_is_found(
    audits: dict[str, PeerAudit], monkeypatch: pytest.MonkeyPatch
) -> None:
    import snntorch

    right = snntorch.surrogate.ATan.backward
    monkeypatch.setattr(
        snntorch.surrogate.ATan, "backward", staticmethod(lambda ctx, g: (right(ctx, g)[0] * 1.001, None))
    )
    new = keys(audit_snntorch()) - keys(audits["snntorch"])
    assert {"ATan.primal", "Leaky.subtract", "Synaptic.zero", "RLeaky.none", "StateLeaky.dynamics"} <= new
    assert not any(key.startswith(("FastSigmoid", "Sigmoid", "Triangular")) for key in new)


def test_a_reset_that_carries_a_gradient_is_found(
    audits: dict[str, PeerAudit], monkeypatch: pytest.MonkeyPatch
) -> None:
    import snntorch

    monkeypatch.setattr(snntorch.SpikingNeuron, "mem_reset", lambda self, mem: self.spike_grad(mem - self.threshold))
    new = keys(audit_snntorch()) - keys(audits["snntorch"])
    assert {"Leaky.subtract", "Synaptic.subtract", "Lapicque.subtract", "RLeaky.subtract"} <= new
    assert "Leaky.none" not in new


def test_a_leak_of_the_wrong_sign_is_found(audits: dict[str, PeerAudit], monkeypatch: pytest.MonkeyPatch) -> None:
    import norse.torch as nt

    li = nt.functional.leaky_integrator
    step = li.li_feed_forward_step
    monkeypatch.setattr(li, "li_feed_forward_step", lambda x, s, *p, dt=0.001: step(x, s, *p, dt=-dt))
    new = keys(audit_norse()) - keys(audits["norse"])
    assert new == {"li_feed_forward_step.forward", "li_feed_forward_step.gradient"}
