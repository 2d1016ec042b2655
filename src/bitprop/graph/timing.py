"""When an emitted network answers: contract section 5 as arithmetic on cycle numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bitprop._checks import check_integer
from bitprop.formats import IntArray
from bitprop.graph.spec import Document

__all__ = ["interval_cycles", "latencies", "latency_cycles", "schedule"]


def latency_cycles(document: Document) -> int:
    """Cycles from acceptance to the decision of a sample that meets an empty circuit: ``sum(L + 2) + 1``."""
    return sum(layer.length + 2 for layer in document.layers) + 1


def interval_cycles(document: Document) -> int:
    """Cycles between decisions when samples follow back to back: the longest layer's ``L + 2``."""
    return max(layer.length + 2 for layer in document.layers)


def schedule(lengths: Sequence[int], samples: int) -> tuple[IntArray, IntArray]:
    """When each of ``samples`` samples, offered back to back, is accepted and decided; decisions are taken at once.

    A layer accepts a sample in the first cycle in which it is offered and the layer's output register is free or
    being taken; its output is offered ``L + 2`` cycles later.

    Args:
        lengths: stream length of each layer.
        samples: how many.

    Returns:
        cycle of acceptance and cycle of the decision, int64 ``[samples]`` each; the first acceptance is cycle 0.

    Raises:
        RangeError: ``samples`` is not positive.
    """
    check_integer("samples", samples, 1, 1 << 31)
    taken = [0] * len(lengths)  # first cycle in which layer j can accept again
    accepted_at, decided_at = np.zeros(samples, dtype=np.int64), np.zeros(samples, dtype=np.int64)
    for sample in range(samples):
        offered = 0
        for j, length in enumerate(lengths):
            accepted = max(offered, taken[j])
            if j == 0:
                accepted_at[sample] = accepted
            else:
                taken[j - 1] = accepted
            offered = accepted + length + 2
        taken[-1] = offered
        decided_at[sample] = offered + 1
    return accepted_at, decided_at


def latencies(lengths: Sequence[int], samples: int) -> IntArray:
    """Cycles from acceptance to decision of every sample of :func:`schedule`, int64 ``[samples]``.

    Raises:
        RangeError: ``samples`` is not positive.
    """
    accepted_at, decided_at = schedule(lengths, samples)
    return decided_at - accepted_at
