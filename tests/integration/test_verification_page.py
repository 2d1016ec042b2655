"""The page of a verification: every figure where its data are, nothing fetched, escaped, the same each time."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_report_page import HOSTILE, check_page
from torch import Tensor, nn
from torch.nn import functional

from bitprop.errors import ArtifactError
from bitprop.nn import SpikingNetwork
from bitprop.report.verification import render_verification, write_verification_page
from bitprop.synthetic import yin_yang
from bitprop.testing import build_planted
from bitprop.training.sc_estimators import make_estimator
from bitprop.verification.claim import Claim
from bitprop.verification.result import GradientVerificationResult, Where
from bitprop.verification.suite import BackpropagationVerificationSuite, verify
from bitprop.verification.verification_report import VerificationReport

FIGURES = (
    "Computed against claimed",
    "Surrogate",
    "Taylor remainders of the smooth network",
    "Gradient by layer and time step",
    "Loss",
    "Accuracy against synaptic operations",
)


def snn(seed: int) -> SpikingNetwork:
    return SpikingNetwork((4, 20, 3), steps=8, surrogate="atan", scale=2.0, seed=seed)


def ann(seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 20), nn.ReLU(), nn.Linear(20, 3))


def loss_fn(output: object, y: Tensor) -> Tensor:
    return functional.cross_entropy(getattr(output, "logits", output), y)


@pytest.fixture(scope="module")
def report() -> VerificationReport:
    (x, y), test = (tuple(torch.from_numpy(a) for a in yin_yang(count, seed)) for count, seed in ((100, 0), (60, 1)))
    batches = [(x[:50], y[:50]), (x[50:], y[50:])]
    model = snn(0)
    suite = BackpropagationVerificationSuite(
        claim=Claim(surrogate="atan", scale=2.0, reset="attached"), suite="full", epochs=6
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return suite.run_full_verification(model, batches, loss_fn, optimizer, ann_factory=ann, snn_factory=snn, test=test)


def test_the_whole_suite_fills_every_figure(report: VerificationReport) -> None:
    assert report.status == "PASS", report.to_text()
    page = render_verification(report)
    parsed = check_page(page)
    assert len([tag for tag, _ in parsed.tags if tag == "svg"]) >= len(FIGURES)
    for name in FIGURES:
        assert name in parsed.words
    for result in report.results:
        assert result.name.replace("_", "-") in parsed.words
        assert result.claim in parsed.words
    assert report.hashes["model"] in parsed.words


def test_equal_reports_give_equal_pages(report: VerificationReport) -> None:
    again = replace(
        report, seconds=report.seconds + 1, results=tuple(replace(item, seconds=99.0) for item in report.results)
    )
    assert again == report
    assert render_verification(again) == render_verification(report)


def test_a_failure_says_where() -> None:
    case = build_planted("dead_weight")
    page = render_verification(verify(case.model, case.inputs, case.targets, case.loss_fn, claim=case.claim))
    words = check_page(page).words
    assert "A claim does not hold" in words
    assert "weight" in words
    assert "FAIL" in words


def test_what_was_not_tested_is_not_called_right() -> None:
    net = snn(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    found = verify(net, torch.rand(3, 4), torch.tensor([0, 1, 2]), loss_fn, claim=Claim(surrogate="atan", scale=2.0))
    words = check_page(render_verification(found)).words
    assert found.exit_code == 2
    assert "Nothing was tested" in words
    assert "Every claim holds" not in words


def test_an_estimator_has_a_page() -> None:
    words = check_page(render_verification(verify(make_estimator("arm")))).words
    assert "Every claim holds" in words


def test_hostile_words_and_numbers_stay_words_and_numbers() -> None:
    series = {"tensors": [{"name": HOSTILE, "claimed": math.inf, "computed": math.nan}]}
    stability = {"layers": [HOSTILE, HOSTILE], "norms": [[math.nan, 1e308], [math.inf, -0.0]]}
    results = (
        GradientVerificationResult(
            name="tangent_replay", claim=HOSTILE, status="FAIL", detail=HOSTILE, statistic=math.inf, tolerance=math.nan,
            where=Where(tensor=HOSTILE, module=HOSTILE), coverage={HOSTILE: math.nan}, dtype=HOSTILE, data=series,
        ),
        GradientVerificationResult(
            name="gradient_stability", claim=HOSTILE, status="PASS", detail=HOSTILE, data=stability
        ),
        GradientVerificationResult(
            name="smooth_taylor", claim=HOSTILE, status="PASS", detail=HOSTILE,
            data={"steps": [1e-3, 1e-2], "remainders": [math.nan, 0.0], "slope": math.nan},
        ),
    )  # fmt: skip
    claim = {"surrogate": HOSTILE, "cuts": [HOSTILE], "scale": math.nan}
    report = VerificationReport(subject=HOSTILE, claim=claim, results=results, hashes={HOSTILE: HOSTILE})
    check_page(render_verification(report))


def test_a_page_that_cannot_be_written_is_an_error(report: VerificationReport, tmp_path: Path) -> None:
    written = write_verification_page(report, tmp_path / "page.html")
    assert written.read_text(encoding="utf-8") == render_verification(report)
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ArtifactError, match="file"):
        write_verification_page(report, tmp_path / "file" / "page.html")
