"""One call for both families: what it takes, what it gives, and what it refuses."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bitprop.errors import DataError, RangeError, ShapeError
from bitprop.nn import SCNetwork, SpikingNetwork
from bitprop.nn.linear import SCLinear
from bitprop.surrogate import make_surrogate
from bitprop.testing import build_planted
from bitprop.training.sc_estimators import ESTIMATORS, make_estimator
from bitprop.training.sc_estimators.score_function import ScoreFunction
from bitprop.verification.claim import Claim
from bitprop.verification.suite import BackpropagationVerificationSuite, verify
from bitprop.verification.verification_report import VerificationReport


def data(count: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(count, width, generator=torch.Generator().manual_seed(seed))


def ready(module: nn.Module, seed: int = 3) -> nn.Module:
    """Away from the symmetric start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in module.named_parameters():
            if not name.endswith("weight"):
                p.add_(torch.randn(p.shape, generator=generator) * 0.2)
    return module


# -- stochastic computing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_estimators(name: str) -> None:
    report = verify(make_estimator(name))
    assert report.status == "PASS", report.to_text()
    assert report["gradient_verification"] is report["estimator_target"]


class _Biased(ScoreFunction):
    name: ClassVar[str] = "biased"

    def _draw(self, loss: Any, logits: Tensor, samples: int, generator: torch.Generator) -> Tensor:
        return 1.1 * super()._draw(loss, logits, samples, generator)


def test_an_estimator_that_claims_too_much() -> None:
    assert verify(_Biased()).status == "FAIL"


def test_networks_and_layers_of_bits() -> None:
    network = ready(SCNetwork((5, 4, 2), lengths=(4, 16), encodings=("unipolar", "bipolar", "sign_magnitude")))
    report = verify(network, data(4, 5), data(4, 2, 1), functional.mse_loss)
    assert report.status == "PASS", report.to_text()
    assert report["gradient_verification"].name == "sc_relaxed"
    layer = ready(SCLinear(4, 3, lengths=(8,), init=torch.Generator().manual_seed(5)))
    assert verify(layer, data(4, 4), data(4, 3, 1), functional.mse_loss).status == "PASS"


def test_activations_of_exactly_zero_are_not_blamed() -> None:
    network = SCNetwork((5, 6, 2), lengths=(16,), encodings=("unipolar", "sign_magnitude"), layout="aligned")
    ready(network)
    with torch.no_grad():
        for layer in network.layers:
            layer.weight.abs_()
        network.layers[0].bias[:3] = -50.0  # these are clipped to zero for every sample
        network.layers[0].bias[3:] = 0.0
    x = data(4, 5)
    x[:, 2] = 0.0
    report = verify(network, x, data(4, 2, 1), functional.mse_loss)
    assert report.status == "PASS", report.to_text()


# -- spiking ---------------------------------------------------------------------------------------------------------


def loss_fn(out: Any, y: Tensor) -> Tensor:
    return functional.cross_entropy(out.logits, y)


def spiking(suite: str = "quick", **claim: Any) -> VerificationReport:
    network = SpikingNetwork((4, 8, 3), seed=0, steps=6)
    y = torch.tensor([0, 1, 2, 0, 1])
    return verify(network, 3 * data(5, 4), y, loss_fn, claim=Claim(**claim), suite=suite)  # type: ignore[arg-type]


def test_a_report_is_a_mapping() -> None:
    report = spiking("full", surrogate="fast_sigmoid", reset="attached")
    assert report["status"] == "PASS"
    assert report["gradient_verification"] is report["tangent_replay"]
    assert {"determinism", "surrogate_audit", "detach_audit", "smooth_taylor", "gradient_stability"} <= set(report)
    assert len(report) == len(list(report))
    with pytest.raises(KeyError):
        report["no_such_check"]


def test_the_same_seed_gives_the_same_report() -> None:
    first, second = spiking(surrogate="fast_sigmoid"), spiking(surrogate="fast_sigmoid")
    assert first == second
    assert first.digest() == second.digest()
    assert first.digest() != spiking(surrogate="atan").digest()


class _Loop(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 6)
        self.spike = make_surrogate("atan", 2.0)

    def forward(self, x: Tensor) -> Tensor:
        u, total = torch.zeros(x.shape[1], 6, dtype=x.dtype), torch.zeros(x.shape[1], 6, dtype=x.dtype)
        for x_t in x:
            u = 0.9 * u + self.layer(x_t)
            s = self.spike(u - 1.0)
            u = u - s.detach()
            total = total + s
        return total


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # the compiler's own doing
def test_a_compiled_module_is_verified_as_it_was_written() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = torch.compile(_Loop(), backend="aot_eager")
    x, y = 4 * torch.stack([data(5, 4, t) for t in range(6)]), torch.tensor([0, 1, 2, 3, 4])
    for reset, status in (("detached", "PASS"), ("attached", "FAIL")):
        claim = Claim(surrogate="atan", scale=2.0, reset=reset)
        report = verify(module, x, y, functional.cross_entropy, claim=claim)
        assert report.status == status, report.to_text()


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"surrogate": "fast_sigmoid", "scale": 10.0}, "PASS"),
        ({"surrogate": "fast_sigmoid", "scale": 10.01}, "FAIL"),
        ({"surrogate": "fast_sigmoid", "scale": 9.99}, "FAIL"),
        ({"surrogate": "atan", "scale": 10.0}, "FAIL"),
        ({"surrogate": "super_spike", "scale": 10.0}, "PASS"),  # the same derivative by another name
        ({"surrogate": None, "scale": None}, "PASS"),  # as coded
        ({"reset": "detached"}, "FAIL"),
        ({"reset": "as_coded"}, "PASS"),
    ],
)
def test_a_wrong_claim_fails(change: dict[str, Any], status: str) -> None:
    case = build_planted(None)
    claim = case.claim.with_changes(**change)
    report = verify(case.model, case.inputs, case.targets, case.loss_fn, claim=claim)
    assert report.status == status, report.to_text()


# -- what is refused -------------------------------------------------------------------------------------------------


def test_what_is_neither() -> None:
    with pytest.raises(ShapeError, match=r"torch.nn.Module or a gradient estimator, got str"):
        verify("a network")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="expected a loss function"):
        verify(nn.Linear(2, 2), data(2, 2))
    with pytest.raises(RangeError, match="suite"):
        verify(nn.Linear(2, 2), data(2, 2), None, lambda o: o.sum(), suite="slow")  # type: ignore[arg-type]
    with pytest.raises(RangeError, match="seed"):
        verify(nn.Linear(2, 2), data(2, 2), None, lambda o: o.sum(), seed=-1)


def test_a_caller_without_gradients_gets_the_same_report() -> None:
    net = SpikingNetwork((4, 8, 3), seed=0, steps=6)
    arguments = (net, data(5, 4), torch.tensor([0, 1, 2, 0, 1]), loss_fn)
    usual = verify(*arguments)
    with torch.no_grad():
        assert verify(*arguments).digest() == usual.digest()
        assert not torch.is_grad_enabled()
    assert usual.status == "PASS"


def test_data_of_the_whole_suite() -> None:
    suite = BackpropagationVerificationSuite()
    net = SpikingNetwork((4, 8, 3), seed=0, steps=6)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with pytest.raises(ShapeError, match="batches"):
        suite.run_full_verification(net, [], loss_fn, optimizer)
    x = data(5, 4)
    x[2, 1] = torch.nan
    with pytest.raises(DataError, match="finite"):
        suite.run_full_verification(net, [(x, torch.zeros(5, dtype=torch.long))], loss_fn, optimizer)
    with pytest.raises(ShapeError, match="together"):
        suite.run_full_verification(
            net, [(data(5, 4), torch.zeros(5).long())], loss_fn, optimizer, snn_factory=lambda s: net
        )
