"""No false alarm over random correct networks: every neuron, surrogate, reset, delay, loss and precision."""

from __future__ import annotations

import pytest

from bitprop.testing import random_correct_network
from bitprop.verification.suite import verify

NETWORKS = 120


@pytest.mark.parametrize("block", range(6))
def test_no_false_alarm(block: int) -> None:
    passed = 0
    for seed in range(block, NETWORKS, 6):
        case = random_correct_network(seed)
        report = verify(case.model, case.inputs, case.targets, case.loss_fn, claim=case.claim)
        # a layer whose slopes underflow to zero is said to be untested; it is never blamed
        assert report.status in ("PASS", "VACUOUS"), f"{case.name}\n{report.to_text()}"
        passed += report.status == "PASS"
    assert passed >= 18  # of 20
