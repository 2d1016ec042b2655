"""Every planted gradient bug is caught, whatever the architecture, the reset and the size of the loss."""

from __future__ import annotations

import pytest
import torch

from bitprop.testing import ARCHITECTURES, PLANTED_BUGS, build_planted
from bitprop.verification.suite import verify
from bitprop.verification.verification_report import VerificationReport

GRIDS = [(architecture, reset) for architecture in ARCHITECTURES for reset in ("soft", "hard")]


def run(bug: str | None, architecture: str, reset: str, loss_scale: float) -> VerificationReport:
    case = build_planted(bug, architecture=architecture, reset=reset, loss_scale=loss_scale)
    return verify(case.model, case.inputs, case.targets, case.loss_fn, claim=case.claim)


# every bug in every network, half of them with each size of the loss: all bugs and all networks meet both
@pytest.mark.parametrize(
    ("bug", "architecture", "reset", "loss_scale"),
    [
        (bug, *grid, (1.0, 1e-4)[(number + place) % 2])
        for number, bug in enumerate(PLANTED_BUGS)
        for place, grid in enumerate(GRIDS)
    ],
)
def test_every_planted_bug_is_caught(bug: str, architecture: str, reset: str, loss_scale: float) -> None:
    report = run(bug, architecture, reset, loss_scale)
    assert report.status == "FAIL", report.to_text()
    assert report.exit_code == 1


@pytest.mark.parametrize("loss_scale", [1.0, 1e-4])
@pytest.mark.parametrize(("architecture", "reset"), GRIDS)
def test_the_same_network_without_a_bug_passes(architecture: str, reset: str, loss_scale: float) -> None:
    report = run(None, architecture, reset, loss_scale)
    assert report.status == "PASS", report.to_text()
    assert report.exit_code == 0


@pytest.mark.parametrize("bug", sorted(set(PLANTED_BUGS) - {"stale_state"}))
def test_a_planted_bug_leaves_the_forward_pass_alone(bug: str) -> None:
    for architecture, reset in GRIDS:
        if bug == "straight_through":
            continue
        planted = build_planted(bug, architecture=architecture, reset=reset)
        right = build_planted(None, architecture=architecture, reset=reset)
        a, b = planted.model(planted.inputs), right.model(right.inputs)
        assert torch.equal(planted.inputs, right.inputs)
        assert torch.allclose(a, b, atol=1e-5 if bug == "float32_cast" else 1e-12)


@pytest.mark.parametrize(
    ("bug", "check", "words"),
    [
        ("detached_reset", "detach_audit", "stops the gradient of a spike"),
        ("attached_reset", "detach_audit", "its reset is attached"),
        ("wrong_sign", "tangent_replay", "ratio -1"),
        ("missing_leak", "tangent_replay", "_LeakWithoutFactor"),
        ("off_by_one", "tangent_replay", "the spike function _Spike"),
        ("scale_1.1", "tangent_replay", "the spike function _Spike"),
        ("scale_1.001", "tangent_replay", "the spike function _Spike"),
        ("stale_state", "determinism", "keeps state between calls"),
        ("data_in_place", "tangent_replay", ".data of a state"),
        ("dead_weight", "tangent_replay", "where a parameter enters"),
        ("truncated", "tangent_replay", "backpropagation through time is cut"),
        ("float32_cast", "tangent_replay", "cast to fewer digits"),
        ("no_grad_reset", "detach_audit", "no_grad"),
        ("comparison_reset", "detach_audit", "comparison"),
        ("straight_through", "tangent_replay", "straight_through_spike"),
    ],
)
def test_the_bug_is_named(bug: str, check: str, words: str) -> None:
    report = run(bug, "dense", "soft", 1.0)
    failed = {result.name: result for result in report.results if result.status == "FAIL"}
    assert check in failed, report.to_text()
    assert words in failed[check].detail, report.to_text()
