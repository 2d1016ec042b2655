"""Stochastic computing through the suite: right layers, streams and estimators pass, planted wrong ones fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from bitprop import kernels
from bitprop.errors import RangeError
from bitprop.nn.bit_true import encode, stream_sum
from bitprop.nn.linear import SCLinear
from bitprop.nn.mixture import _Mixed
from bitprop.nn.network import SCNetwork
from bitprop.nn.slope import local_slope
from bitprop.training.sc_estimators import ESTIMATORS, StreamProductLoss, make_estimator
from bitprop.training.sc_estimators.score_function import ScoreFunction
from bitprop.verification.result import GradientVerificationResult
from bitprop.verification.stochastic import _check_replay, verify_estimator, verify_sc
from bitprop.verification.stochastic_streams import check_stream_closed_form, check_stream_counts, pathwise_gap

# -- streams


@pytest.mark.parametrize("length", [1, 3, 6])
@pytest.mark.parametrize(
    ("encoding", "first", "second", "negative"),
    [("unipolar", 0.4, 0.5, False), ("bipolar", 0.4, -0.6, False), ("sign_magnitude", -0.4, 0.7, True)],
)
def test_closed_forms_equal_enumeration(
    length: int, encoding: str, first: float, second: float, negative: bool
) -> None:
    result = check_stream_closed_form(StreamProductLoss(length, encoding, 0.45, negative), first, second)
    assert result.status == "PASS", result.to_text()


@dataclass(frozen=True)
class _WithoutVariance(StreamProductLoss):
    def expected(self, first: Tensor, second: Tensor) -> Tensor:
        return self.relaxed(first, second)


@dataclass(frozen=True)
class _DetachedVariance(StreamProductLoss):
    def expected(self, first: Tensor, second: Tensor) -> Tensor:
        mean = self.relaxed(first, second)
        return mean + (StreamProductLoss.expected(self, first, second) - mean).detach()


@pytest.mark.parametrize("family", [_WithoutVariance, _DetachedVariance])
def test_a_dropped_variance_fails(family: type[StreamProductLoss]) -> None:
    assert check_stream_closed_form(family(6, "unipolar", 0.5), 0.4, 0.5).status == "FAIL"


def test_the_pathwise_gap_is_a_fifth_at_six_cycles_and_falls_with_length() -> None:
    assert pathwise_gap(StreamProductLoss(6, "unipolar", 0.5), 0.4, 0.5) == pytest.approx(0.2, abs=1e-12)
    assert pathwise_gap(StreamProductLoss(600, "unipolar", 0.5), 0.4, 0.5) < 0.002


@pytest.mark.parametrize("generator", ["lfsr", "sobol", "halton", "counter"])
@pytest.mark.parametrize("encoding", ["unipolar", "bipolar", "sign_magnitude"])
def test_counts_of_deterministic_streams(generator: str, encoding: str) -> None:
    for correlation_raw in (0, 20, -33):
        result = check_stream_counts(generator, encoding, 16, correlation_raw=correlation_raw)
        assert result.status == "PASS", result.to_text()


def test_wrong_counts_fail() -> None:
    def inclusive(x: Tensor, w: Tensor, r: Tensor, q: Tensor, encoding: str, n: int) -> Tensor:
        return stream_sum(encode(x, encoding, n), encode(w, encoding, n), r, q - 1, encoding)

    result = check_stream_counts("sobol", "unipolar", 16, counts=inclusive)
    assert result.status == "FAIL"
    assert result.where.tensor == "count"
    with pytest.raises(RangeError, match="deterministic"):
        check_stream_counts("bernoulli", "unipolar", 16)


# -- estimators


@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_every_registered_estimator_keeps_its_claim(name: str) -> None:
    results = verify_estimator(name, samples=4000)
    assert [result.status for result in results] == ["PASS"] * (1 + make_estimator(name).unbiased), results
    for result in results:
        assert result.statistic is not None
        assert result.tolerance is not None
        assert result.statistic <= result.tolerance


class _FalseClaim(ScoreFunction):
    """The score without its baseline's half: wrong by 10%."""

    name: ClassVar[str] = "false_claim"

    def _draw(self, loss: Any, logits: Tensor, samples: int, generator: torch.Generator) -> Tensor:
        return 1.1 * super()._draw(loss, logits, samples, generator)


def test_an_estimator_that_claims_too_much_fails() -> None:
    results = verify_estimator(_FalseClaim(), samples=200_000)
    assert [result.status for result in results] == ["FAIL", "FAIL"]
    assert results[1].statistic is not None
    assert results[1].tolerance is not None
    assert results[1].statistic > results[1].tolerance
    assert results[1].data["p_value"] < 1e-3


def test_estimator_edges() -> None:
    logits = torch.linspace(-0.5, 0.5, 5, dtype=torch.float64)
    results = verify_estimator("gumbel", loss=lambda z: z.prod(-1), logits=logits, samples=1000)
    assert [result.status for result in results] == ["SKIPPED"]
    assert verify_estimator("arm", loss=lambda z: z[..., 0] * 0.0 + 1.0, logits=logits)[0].status == "VACUOUS"
    with pytest.raises(RangeError, match="both loss and logits"):
        verify_estimator("arm", logits=logits)


# -- layers

NAMES = ["sc_relaxed", "sc_relaxed_taylor", "sc_bit_true_integers", "sc_bit_true_gradient", "sc_sampled_gradient"]


def _jitter(module: SCNetwork | SCLinear, seed: int) -> None:
    """Away from the symmetric start: biases, design logits, correlation."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in module.named_parameters():
            if not name.endswith("weight"):
                p.add_(torch.randn(p.shape, generator=generator) * 0.2)


def _data(width: int, outputs: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    x = torch.rand(4, width, generator=torch.Generator().manual_seed(seed + 1))
    return x, torch.rand(4, outputs, generator=torch.Generator().manual_seed(seed + 2)) * 2.0


def _verify(
    module: SCNetwork | SCLinear, width: int, outputs: int, seed: int = 0
) -> dict[str, GradientVerificationResult]:
    x, target = _data(width, outputs, seed)
    results = verify_sc(module, x, target, nn.functional.mse_loss, seed=seed, directions=1)
    assert [result.name for result in results] == NAMES
    return {result.name: result for result in results}


@pytest.mark.parametrize(
    "options",
    [
        {"lengths": (4, 16), "encodings": ("unipolar", "bipolar", "sign_magnitude")},
        {"lengths": (8, 64), "encodings": ("bipolar",), "generator": "lfsr"},
        {"lengths": (16,), "correlation_range": (-0.5, 1.0), "generator": "halton", "encodings": ("bipolar",)},
        {"lengths": (16,), "correlation_range": (-1.0, 1.0), "slope": "relaxed"},
        {"lengths": (8,), "layout": "aligned", "activation": "hardtanh", "encodings": ("bipolar",)},
    ],
    ids=lambda options: ",".join(options),
)
def test_right_networks_pass_in_every_mode(options: dict[str, Any]) -> None:
    network = SCNetwork((5, 4, 2), **options)
    _jitter(network, 3)
    before = {name: p.clone() for name, p in network.state_dict().items()}
    results = _verify(network, 5, 2)
    for result in results.values():
        assert result.status == "PASS", result.to_text()
    assert all(torch.equal(p, before[name]) for name, p in network.state_dict().items())


def test_a_committed_network_passes() -> None:
    network = SCNetwork((5, 4, 2), lengths=(4, 16), encodings=("unipolar", "bipolar"), correlation_range=(0.0, 0.5))
    _jitter(network, 3)
    network.commit()
    results = _verify(network, 5, 2)
    assert all(result.status == "PASS" for result in results.values()), [r.to_text() for r in results.values()]


def test_single_layers_pass() -> None:
    for activation in ("logits", "hardtanh"):
        layer = SCLinear(4, 3, activation=activation, lengths=(8,), init=torch.Generator().manual_seed(5))
        _jitter(layer, 1)
        results = _verify(layer, 4, 3)
        assert all(result.status == "PASS" for result in results.values()), [r.to_text() for r in results.values()]


class _WrongSoft(SCLinear):
    def _soft(self, x: Tensor, encoding: str) -> Tensor:
        return 1.001 * super()._soft(x, encoding)


class _WrongRelaxed(SCLinear):
    def _relaxed(self, x: Tensor) -> Tensor:
        value = super()._relaxed(x)
        return value + 1e-3 * (self.bias - self.bias.detach())


class _WrongIntegers(SCLinear):
    @torch.no_grad()
    def forward_raw(self, x_raw: Tensor) -> Tensor:
        return (super().forward_raw(x_raw) + 1).clamp_max(1 << self.precision_bits)


class _WrongForward(SCLinear):
    def _finish(self, total: Tensor, length: int) -> Tensor:
        return super()._finish(total + 1, length)


class _WrongMask(SCLinear):
    def _activate(self, pre_activation: Tensor) -> Tensor:
        if self.mode == "relaxed":
            return super()._activate(pre_activation)
        return pre_activation + (super()._activate(pre_activation) - pre_activation).detach()  # clamp forgotten


class _StaleWeight(SCLinear):
    def _mixture(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        return super()._mixture(x.detach(), generator)


@pytest.mark.parametrize(
    ("planted", "options", "caught"),
    [
        (_WrongSoft, {"lengths": (64,)}, {"sc_bit_true_gradient", "sc_sampled_gradient"}),
        (_WrongRelaxed, {}, {"sc_relaxed", "sc_relaxed_taylor"}),
        (_WrongIntegers, {}, {"sc_bit_true_integers"}),
        (_WrongForward, {}, {"sc_bit_true_integers", "sc_bit_true_gradient", "sc_sampled_gradient"}),
        (_WrongMask, {}, {"sc_bit_true_gradient"}),
        (_StaleWeight, {}, {"sc_bit_true_gradient", "sc_sampled_gradient"}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_planted_layers_fail(planted: type[SCLinear], options: dict[str, Any], caught: set[str]) -> None:
    network = SCNetwork((6, 8, 2), lengths=options.get("lengths", (8,)), slope=options.get("slope", "local"))
    _jitter(network, 3)
    index = 1 if planted in (_StaleWeight, _WrongSoft) else 0
    old = network.layers[index]
    assert isinstance(old, SCLinear)
    activation = "logits" if index else "clamp01"
    layer = planted(
        old.in_features, old.out_features, activation=activation, lengths=old.design.lengths, slope=old.slope
    )
    layer.load_state_dict(old.state_dict())
    network.layers[index] = layer
    with kernels.use_level("reference"):  # what is planted is the plain layer's
        results = _verify(network, 6, 2)
    failed = {name for name, result in results.items() if result.status == "FAIL"}
    assert caught <= failed, {name: result.to_text() for name, result in results.items()}
    assert failed <= caught | {"sc_sampled_gradient"}


def test_a_wrong_local_slope_fails(monkeypatch: pytest.MonkeyPatch) -> None:

    def wrong(x: Tensor, w: Tensor, hard: Tensor, streams: Any) -> Tensor:
        return local_slope(x, 1.001 * w - 0.001 * w.detach(), hard, streams)

    monkeypatch.setattr("bitprop.nn.linear.local_slope", wrong)
    network = SCNetwork((5, 4, 2), lengths=(8,))
    _jitter(network, 3)
    with kernels.use_level("reference"):
        results = _verify(network, 5, 2)
    assert results["sc_bit_true_gradient"].status == "FAIL"
    assert results["sc_bit_true_gradient"].where.tensor in ("layers.0.weight", "layers.1.weight")
    assert results["sc_sampled_gradient"].status == "PASS"


def _with_a_wrong_gradient(monkeypatch: pytest.MonkeyPatch, place: int) -> SCNetwork:
    right = _Mixed.backward

    def wrong(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        found = list(right(ctx, *gradients))
        gradient = found[place]
        if gradient is not None:
            found[place] = 1.001 * gradient
        return tuple(found)

    monkeypatch.setattr(_Mixed, "backward", staticmethod(wrong))
    network = SCNetwork((5, 4, 2), lengths=(8, 64), encodings=("bipolar", "unipolar"), correlation_range=(-0.2, 0.2))
    _jitter(network, 3)
    return network


@pytest.mark.skipif(not kernels.levels()[1:], reason=kernels.why_not() or "none")
@pytest.mark.parametrize("place", range(1, 8))
def test_a_wrong_gradient_of_the_native_mixture_fails(monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    x, target = _data(5, 2)
    network = _with_a_wrong_gradient(monkeypatch, place)
    assert _check_replay(network, "bit_true", x, target, nn.functional.mse_loss, 1, 0).status == "FAIL"


@pytest.mark.skipif(not kernels.levels()[1:], reason=kernels.why_not() or "none")
def test_a_wrong_gradient_of_the_native_mixture_fails_in_its_mode_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    results = _verify(_with_a_wrong_gradient(monkeypatch, 1), 5, 2)
    assert {name for name, result in results.items() if result.status == "FAIL"} == {"sc_bit_true_gradient"}


def test_ideal_bits_cannot_be_lowered_and_that_is_said() -> None:
    network = SCNetwork((4, 3, 2), lengths=(8,), generator="bernoulli")
    _jitter(network, 3)
    results = _verify(network, 4, 2)
    assert results["sc_bit_true_integers"].status == "SKIPPED"
    assert "lowered" in results["sc_bit_true_integers"].detail
