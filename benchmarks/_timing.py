"""Times of contestants that take turns, and what is made of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Way = Callable[[], Any]
# A turn lasts at least so long: a clock read once around a short call, with cold caches, times those too.
LEAST_SECONDS = 0.01
WARM_UP = 2


class Times(NamedTuple):
    """Seconds a call, one for each turn.

    Attributes:
        first: of the turn's first call, after the other contestants' work.
        again: of the calls after it, as many as fill ``LEAST_SECONDS``, at least one.
    """

    first: list[float]
    again: list[float]


def times(ways: dict[str, Way], runs: int, warm_up: int = WARM_UP) -> dict[str, Times]:
    """Seconds a call of each way, in turn; the first turns do not count."""
    found = {name: Times([], []) for name in ways}
    for run in range(runs + warm_up):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            begin = now = time.perf_counter()
            calls = 0
            while not calls or now - begin < LEAST_SECONDS:
                way()
                calls += 1
                now = time.perf_counter()
            if run >= warm_up:
                found[name].first.append(begin - start)
                found[name].again.append((now - begin) / calls)
    return found


def milliseconds(seconds: list[float]) -> float:
    """Their median."""
    return 1e3 * statistics.median(seconds)


def ratio(found: dict[str, Times], name: str, base: str, *, first: bool = False) -> float:
    """Median ratio of neighbouring turns; ``first``: of their first calls."""
    ours, theirs = (found[way].first if first else found[way].again for way in (name, base))
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def exponent(ways: dict[int, Way], runs: int) -> dict[str, float]:
    """Slope of the line through the logarithms of size and time: the median over the turns, and half of what lies
    between their quartiles."""
    found = times({str(size): way for size, way in ways.items()}, runs)
    turns = np.log(np.array([each.again for each in found.values()]))
    slopes = np.polyfit(np.log(list(ways)), turns, 1)[0]
    low, middle, high = np.percentile(slopes, (25, 50, 75))
    return {"exponent": float(middle), "spread": float(high - low) / 2}
