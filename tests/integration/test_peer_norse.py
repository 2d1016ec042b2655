"""The audit of Norse in depth: what it covers, scripts that run alone, findings that come and go with their faults."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
nt = pytest.importorskip("norse.torch")

from bitprop.verification.peers import (  # noqa: E402
    KINDS,
    PeerAudit,
    norse,
)
from bitprop.verification.peers._probes import script  # noqa: E402
from bitprop.verification.peers.norse import audit_norse, norse_probes  # noqa: E402
from helpers.reproducers import run_as_file, run_scripts  # noqa: E402
from helpers.warm_python import WarmPython  # noqa: E402

VERSION = "1.1.0"
# tested through the modules or functions that use them, or no part of a network's dynamics
UNTESTED = {
    *("LIFFeedForwardAdjointFunction", "LIFFeedForwardSparseAdjointFunction", "LIFAdjointRefracFeedForwardFunction"),
    *("LSNNFeedForwardAdjointFunction", "correlation_based_update"),
    *("CorrelationSensorParameters", "CorrelationSensorState", "LIFCorrelationParameters"),
    *("LIFCorrelationState", "LIFAdExRefracParameters", "RecurrentSequentialState"),
    *("spatial_receptive_fields_with_derivatives", "ResetMethod", "from_nir", "to_nir"),
    *("ConvNet", "ConvNet4", "MobileNetV2", "mobilenet_v2", "VGG"),
    *("vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn"),
}
# the thresholds that these functions are the front of
FRONTS = {
    "circ_dist_fn": "CircDist",
    "heavi_circ_fn": "HeaviCirc",
    "heavi_erfc_fn": "HeaviErfc",
    "heavi_tanh_fn": "HeaviTanh",
    "heaviside": "HeaviTanh",
    "logistic_fn": "Logistic",
    "super_fn": "SuperSpike",
    "triangle_fn": "Triangle",
    "reset_value": "lif_box_feed_forward_step",
    "logical_and": "logical",
    "logical_or": "logical",
    "logical_xor": "logical",
}
RIGHT = {
    *(
        "functional.encode.gaussian_rbf",
        "functional.encode.poisson_encode_step",
        "functional.encode.spike_latency_encode",
    ),
    *("functional.encode.signed_poisson_encode_step", "functional.encode.spike_latency_lif_encode"),
    *("functional.stdp.stdp_step_linear", "functional.stdp.STDPParameters", "functional.tsodyks_makram.stp_step"),
    *("functional.correlation_sensor.correlation_sensor_step", "functional.lif_correlation.lif_correlation_step"),
    *("functional.lif_refrac.lif_refrac_step", "functional.lif_refrac.lif_refrac_feed_forward_step"),
    *("functional.lif_ex.lif_ex_step", "functional.lif_adex.lif_adex_step", "functional.lif.lif_feed_forward_integral"),
    *("functional.izhikevich.izhikevich_recurrent_step", "functional.iaf.iaf_step", "functional.logical"),
    *("module.exp_filter.ExpFilter", "RegularizationCell", "SpikesToTimesDecoder", "Lift", "TemporalReceptiveField"),
}


@pytest.fixture(scope="module")
def audit(peer_audit: Callable[[str], PeerAudit]) -> PeerAudit:
    return peer_audit("norse")


def of_version() -> None:
    """Skip what is known of one release only."""
    if importlib.metadata.version("norse") != VERSION:
        pytest.skip(f"known findings are those of norse {VERSION}")


def keys(audit: PeerAudit) -> set[str]:
    return {finding.key.removeprefix("norse.") for finding in audit.findings}


def test_every_statement_can_be_tested(audit: PeerAudit) -> None:
    of_version()
    assert audit.skipped == ()
    assert audit.probes >= 660


def test_nothing_right_is_blamed(audit: PeerAudit) -> None:
    of_version()
    grave = {"gradient", "forward", "state", "dtype"}
    assert grave < set(KINDS)
    assert RIGHT.isdisjoint({s for finding in audit.findings if finding.kind in grave for s in finding.subjects})


def test_every_public_name_is_tested() -> None:
    of_version()
    tested = {probe.subject.rpartition(".")[2] for probe in norse_probes()}
    public = {name for name in nt.__all__ if not name.startswith(("plot_", "hook_"))}
    presets = {name for name in public if isinstance(getattr(nt, name), nt.IzhikevichSpikingBehavior)}
    left = {name for name in public - presets - tested if FRONTS.get(name) not in tested}
    assert left == UNTESTED


def test_each_subject_is_told_once_for_each_finding(audit: PeerAudit) -> None:
    for finding in audit.findings:
        assert finding.subjects
        assert len(set(finding.subjects)) == len(finding.subjects)
        assert finding.found not in ("it differs", "no", "it does not"), finding.key


# -- scripts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["stdp_step_conv2d.default", "adjoint.import", "lift.pickle", "arguments.names"])
def test_a_script_that_imports_more_of_norse_runs_as_a_file(
    key: str, audit: PeerAudit, tmp_path: Path, python: WarmPython
) -> None:
    of_version()
    (finding,) = [finding for finding in audit.findings if finding.key == f"norse.{key}"]
    run_as_file(python, finding, tmp_path)


def test_the_script_of_a_statement_that_holds_exits_0(audit: PeerAudit, tmp_path: Path, python: WarmPython) -> None:
    found = keys(audit)
    probes = [probe for probe in norse_probes() if probe.key.removeprefix("norse.") not in found][::9]
    sources = [script(probe, package="norse.torch", alias="nt") for probe in probes]
    results = run_scripts(python, sources, tmp_path)
    assert [probe.key for probe, (code, _) in zip(probes, results, strict=True) if code] == []
    assert len(probes) > 25


# -- faults that are mended --------------------------------------------------------------------------------------


def resting(*arguments: Any) -> Any:
    """create_izhikevich_spiking_behavior with u_rest as it is."""
    a, b, c, d, v, u = arguments
    module = nt.functional.izhikevich
    state = module.IzhikevichState(torch.tensor(v), torch.tensor(u))
    return module.IzhikevichSpikingBehavior(module.IzhikevichParameters(a, b, c, d), state)


def turned(kernel: Any, angle: Any) -> Any:
    """derive_kernel with its first direction along the second dimension, as gaussian_kernel has it."""
    down, across = torch.gradient(kernel)
    return across * torch.cos(angle) + down * torch.sin(angle)


def masked(shape: tuple[int, ...]) -> Callable[[Any, Any], Any]:
    """pre_mask or post_mask for each sample."""
    return lambda weights, z: torch.zeros_like(weights) + z.view(z.shape[0], *shape)


def fresh(forward: Callable[..., Any]) -> Callable[..., Any]:
    """SpatialReceptiveField2d.forward with new kernels in every call."""

    def run(self: Any, x: Any) -> Any:
        self.has_updated, self.rf_parameters_previous = True, torch.full_like(self.rf_parameters, torch.nan)
        return forward(self, x)

    return run


def named(self: Any, *names: str) -> Any:
    """STDPParameters.__getattr__ for what is stored with convolutional=True only."""
    return {"stride": 1, "padding": 0, "dilation": 1}[names[0]]


def test_findings_vanish_with_their_faults(audit: PeerAudit, monkeypatch: pytest.MonkeyPatch) -> None:
    of_version()
    stdp = importlib.import_module("norse.torch.functional.stdp")
    field = nt.SpatialReceptiveField2d
    monkeypatch.setattr(nt.functional.izhikevich, "create_izhikevich_spiking_behavior", resting)
    monkeypatch.setattr(nt.functional.receptive_field, "derive_kernel", turned)
    monkeypatch.setattr(nt.functional.encode, "euclidean_distance", lambda x, y: (x - y).abs())
    monkeypatch.setattr(nt.functional.correlation_sensor, "pre_mask", masked((-1, 1)))
    monkeypatch.setattr(nt.functional.correlation_sensor, "post_mask", masked((1, -1)))
    monkeypatch.setattr(field, "forward", fresh(field.forward))
    monkeypatch.setattr(stdp.STDPParameters, "__getattr__", named, raising=False)
    mended = audit_norse()
    assert keys(audit) - keys(mended) == {
        "create_izhikevich_spiking_behavior.u_rest",
        "spatial_receptive_field.angle",
        "euclidean_distance.square",
        "correlation_sensor.batch",
        "receptive_field.accumulation",
        "stdp_step_conv2d.default",
    }
    assert keys(mended) <= keys(audit) | {"arguments.names"}
    assert mended.skipped == ()


# -- faults that are planted -------------------------------------------------------------------------------------


def scaled(backward: Callable[..., Any]) -> Any:
    return staticmethod(lambda ctx, gradient: (backward(ctx, gradient)[0] * 1.001, None))


def test_a_slope_that_is_off_by_a_thousandth_is_found(audit: PeerAudit, monkeypatch: pytest.MonkeyPatch) -> None:
    triangle = nt.functional.threshold.Triangle
    monkeypatch.setattr(triangle, "backward", scaled(triangle.backward))
    new = keys(audit_norse()) - keys(audit)
    assert {"lif_feed_forward_step.gradient", "lif_step.gradient"} <= new
    assert {"Triangle.slope", "lif_ex_step.gradient", "lif_adex_step.gradient", "iaf_step.gradient"} <= new
    assert {"lif_current_encoder.gradient", "lsnn_step.gradient", "izhikevich_recurrent_step.gradient"} <= new
    assert not any(key.endswith(".forward") for key in new)


def hastened(step: Callable[..., Any]) -> Callable[..., Any]:
    """A step of 1.001 times the time."""
    return lambda *arguments, dt=0.001: step(*arguments, dt=1.001 * dt)


STEPS = {
    "lif_ex": "lif_ex_step",
    "lif_adex": "lif_adex_step",
    "lif_refrac": "lif_refrac_step",
    "lif_adex_refrac": "lif_adex_refrac_feed_forward_step",
    "leaky_integrator_box": "li_box_step",
    "tsodyks_makram": "stp_step",
    "lsnn": "lsnn_feed_forward_step",
    "izhikevich": "izhikevich_recurrent_step",
}


@pytest.mark.parametrize("module", STEPS)
def test_a_step_of_a_thousandth_more_is_found(module: str, audit: PeerAudit, monkeypatch: pytest.MonkeyPatch) -> None:
    place, name = getattr(nt.functional, module), STEPS[module]
    monkeypatch.setattr(place, name, hastened(getattr(place, name)))
    every, wanted = norse.norse_probes, f"norse.{name}.forward"
    monkeypatch.setattr(norse, "norse_probes", lambda: (probe for probe in every() if probe.key == wanted))
    new = keys(audit_norse()) - keys(audit)
    assert f"{name}.forward" in new


def unhooked(cls: Any) -> Callable[..., None]:
    """A constructor that leaves out the hook on the gradient of self-connections."""
    build = cls.__init__

    def construct(self: Any, *arguments: Any, **keywords: Any) -> None:
        build(self, *arguments, **keywords)
        self.recurrent_weights = torch.nn.Parameter(self.recurrent_weights.detach())

    return construct


def test_faults_of_modules_are_found(audit: PeerAudit, monkeypatch: pytest.MonkeyPatch) -> None:
    encode, recurrent = nt.functional.encode, nt.module.snn.SNNRecurrent
    draw, latencies = encode.poisson_encode_step, encode.spike_latency_encode
    monkeypatch.setattr(encode, "poisson_encode_step", lambda x, **k: draw(1.05 * x, **k))
    monkeypatch.setattr(encode, "spike_latency_encode", lambda x: latencies(x.flip(0)).flip(0))
    monkeypatch.setattr(recurrent, "__init__", unhooked(recurrent))
    monkeypatch.setattr(nt.module.snn, "_merge_states", lambda states: states[-1])
    new = keys(audit_norse()) - keys(audit)
    assert {"poisson_encode_step.rate", "spike_latency_encode.example", "LIFRecurrent.autapses"} <= new
    assert {"LIF.record_states", "LSNNRecurrent.record_states", "LI.record_states"} <= new


# -- traces ------------------------------------------------------------------------------------------------------


def test_an_audit_leaves_parameters_and_presets_as_they_are() -> None:
    audit_norse()
    assert not nt.IAFParameters().v_reset.requires_grad
    for name in nt.__all__:
        item = getattr(nt, name)
        if isinstance(item, nt.IzhikevichSpikingBehavior):
            assert item.s.v.grad is None, name
        elif name.endswith("Parameters") and hasattr(item, "_field_defaults"):
            tensors = [value for value in item._field_defaults.values() if isinstance(value, torch.Tensor)]
            assert not any(tensor.requires_grad for tensor in tensors), name
