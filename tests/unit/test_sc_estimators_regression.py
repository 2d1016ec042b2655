"""The estimator-regression manifest: acceptance, closed-form variances, determinism, arguments."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from bitprop.artifacts import canonical_json
from bitprop.errors import RangeError
from bitprop.training.sc_estimators import ESTIMATORS, ScoreFunction, StreamProductLoss
from bitprop.training.sc_estimators import regression as module
from bitprop.training.sc_estimators.regression import estimator_regression

LENGTHS = (4, 8, 16)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Small tensors: threads cost more than they give."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    return estimator_regression(LENGTHS, seed=7, samples=2000)


def test_status_and_acceptance(manifest: dict[str, Any]) -> None:
    assert manifest["status"] == "pass"
    assert set(manifest["acceptance"]) == {
        "all_variances_finite_nonnegative",
        "pathwise_variance_zero",
        "score_function_longest_below_shortest",
        "unbiased_claims_within_six_standard_errors",
    }
    assert all(value is True for value in manifest["acceptance"].values())
    assert manifest["hardware_measurement_claimed"] is False
    assert manifest["bitstream_lengths"] == list(LENGTHS)
    assert set(manifest["estimators"]) == set(ESTIMATORS.names())


def test_same_seed_same_bytes_and_nothing_global(manifest: dict[str, Any]) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    again = estimator_regression(LENGTHS, seed=7, samples=2000)
    assert torch.equal(torch.get_rng_state(), before)
    assert canonical_json(again) == canonical_json(manifest)
    assert json.loads(canonical_json(manifest)) == json.loads(json.dumps(manifest))
    other = estimator_regression(LENGTHS, seed=8, samples=2000)
    assert other["estimators"]["score_function"] != manifest["estimators"]["score_function"]


def test_the_thread_count_does_not_show(manifest: dict[str, Any]) -> None:
    torch.set_num_threads(2)
    try:
        assert canonical_json(estimator_regression(LENGTHS, seed=7, samples=2000)) == canonical_json(manifest)
    finally:
        torch.set_num_threads(1)


def test_a_length_or_an_estimator_more_changes_no_other_number(manifest: dict[str, Any]) -> None:
    few = estimator_regression(
        (4, 16), seed=7, samples=2000, estimators=("score_function", "straight_through", "pathwise_relaxation")
    )
    for name, entry in few["estimators"].items():
        for quantity in ("readout", "stream_loss"):
            for length, cell in entry[quantity].items():
                assert cell == manifest["estimators"][name][quantity][length]


def test_readout_variance_is_the_single_cycle_variance_over_length(manifest: dict[str, Any]) -> None:
    """Closed form for XNOR: d = +-1, so E[(d s)^2] = E[s^2] = 1 / (4 p q), and dE[D]/dx = w."""
    p = (manifest["problem"]["first"] + 1) / 2
    w = manifest["problem"]["second"]
    single = 0.25 / (p * (1 - p)) - w**2
    for length in LENGTHS:
        variance = manifest["estimators"]["score_function"]["readout"][str(length)]["variance"]
        assert abs(variance * length / single - 1.0) < 0.2  # 2000 rows: about 3% a standard error


def test_whole_stream_score_grows_and_the_relaxation_is_biased(manifest: dict[str, Any]) -> None:
    table = manifest["estimators"]
    score = [table["score_function"]["stream_loss"][str(length)]["variance"] for length in LENGTHS]
    assert score[0] < score[1] < score[2]
    bias = [abs(table["pathwise_relaxation"]["stream_loss"][str(length)]["relative_bias"]) for length in LENGTHS]
    assert bias[0] > bias[1] > bias[2] > 0.0
    assert table["arm"]["stream_loss"]["4"]["exact_gradient_source"] == "enumeration"
    assert table["arm"]["stream_loss"]["16"]["exact_gradient_source"] == "closed_form"


@pytest.mark.parametrize(
    ("encoding", "first", "second"),
    [("unipolar", 0.6, 0.7), ("bipolar", -0.3, 0.2), ("sign_magnitude", -0.6, 0.7), ("sign_magnitude", -0.6, -0.7)],
)
def test_every_encoding_passes(encoding: str, first: float, second: float) -> None:
    manifest = estimator_regression((2, 8), seed=0, samples=1000, encoding=encoding, first=first, second=second)
    assert manifest["status"] == "pass"


def test_chunks_do_not_change_the_estimates(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = estimator_regression((2, 4), seed=3, samples=500)
    monkeypatch.setattr(module, "_CHUNK", 256)
    pieces = estimator_regression((2, 4), seed=3, samples=500)
    assert pieces["status"] == whole["status"] == "pass"
    score = [m["estimators"]["score_function"]["readout"]["4"]["mean"] for m in (whole, pieces)]
    assert abs(score[0] - score[1]) < 1e-12  # one uniform after the other: the same numbers


def test_a_wrong_estimator_fails_the_regression(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclasses.dataclass(frozen=True, slots=True)
    class Flipped(ScoreFunction):
        def _draw(self, *arguments: Any) -> torch.Tensor:
            return -ScoreFunction._draw(self, *arguments)

    monkeypatch.setitem(ESTIMATORS._items, "score_function", Flipped)
    manifest = estimator_regression((4, 8), seed=0, samples=1000)
    assert manifest["status"] == "fail"
    assert manifest["acceptance"]["unbiased_claims_within_six_standard_errors"] is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lengths": (4,)}, "two lengths"),
        ({"lengths": ()}, "two lengths"),
        ({"lengths": (8, 4)}, "increasing"),
        ({"lengths": (4, 4)}, "increasing"),
        ({"lengths": (0, 4)}, "lengths"),
        ({"lengths": (4, 8.0)}, "lengths"),
        ({"lengths": (4, 1 << 15)}, "lengths"),
        ({"seed": -1}, "seed"),
        ({"seed": True}, "seed"),
        ({"samples": 10}, "samples"),
        ({"encoding": "ternary"}, "encoding"),
        ({"first": 1.5}, "first"),
        ({"first": 1.0}, "strictly between"),
        ({"first": "0.5"}, "first"),
        ({"second": True}, "second"),
        ({"target": float("nan")}, "target"),
        ({"estimators": ("arm",)}, "pathwise_relaxation"),
        ({"estimators": ("pathwise_relaxation", "straight_through", "score_function", "nothing")}, "nothing"),
        ({"estimators": ("pathwise_relaxation", "straight_through", "score_function", "arm", "arm")}, "distinct"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(RangeError, match=message):
        estimator_regression(**{"lengths": (4, 8), "seed": 0, "samples": 200, **arguments})


def test_the_problem_is_the_stream_product() -> None:
    loss = StreamProductLoss(1, "bipolar", 0.0)
    assert loss.product(torch.tensor([1.0, 0.0])).item() == -1.0
