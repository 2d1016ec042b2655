"""What the audits of other frameworks share: probes, and findings made of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from bitprop.errors import RangeError
from bitprop.verification.peers._probes import Probe, disagreements, run_probes
from bitprop.verification.peers._run import Finding


def probe(measure: Callable[..., tuple[float, float]], key: str = "x.y") -> Probe:
    return Probe(key, "a.B", "forward", "says", "found", measure)


def both(_framework: Any) -> tuple[float, float]:
    return 2.0, 2.0


def off(_framework: Any) -> tuple[float, float]:
    return 2.0, 3.0


def lost(_framework: Any) -> tuple[float, float]:
    return 2.0, math.nan


def broken(_framework: Any) -> tuple[float, float]:
    raise AttributeError("moved")


def test_a_probe_that_does_not_run_is_no_finding() -> None:
    measured = list(run_probes([probe(both), probe(off), probe(lost), probe(broken)], None))
    assert [item.agrees for item in measured] == [True, False, False, True]
    assert measured[3].problem == "AttributeError: moved"
    (found,) = disagreements(measured)
    assert (found.probes, found.subjects, math.isinf(found.worst.error)) == (2, ("a.B",), True)


def test_a_finding_has_a_kind() -> None:
    with pytest.raises(RangeError, match="expected a kind among gradient"):
        Finding("k", "f", "1", "nonsense", (), "", "", 0.0, 0.0, "")
