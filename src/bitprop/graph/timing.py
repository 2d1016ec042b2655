"""When an emitted network answers: contract sections 5 and 6 as arithmetic on cycle numbers.

Two forms that tests hold against each other and against simulation: :func:`schedule` follows every sample through the
layers, :func:`latency_cycles` and :func:`mean_interval` are closed formulas.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from bitprop._checks import check_integer
from bitprop.formats import IntArray
from bitprop.graph.fold import CODING_CYCLES, FoldPlan, fold_plan
from bitprop.graph.spec import DenseLayer, Document

__all__ = [
    "GATHER_CYCLES",
    "PLACES",
    "interval_cycles",
    "interval_of",
    "latencies",
    "latency_cycles",
    "latency_of",
    "mean_interval",
    "schedule",
]

PLACES = 2
"""Samples that a folded layer's input holds, and what stands behind one: a folded layer, a vector, a decision."""

GATHER_CYCLES = 2
"""From a folded layer's last value to the vector for a parallel layer, or to the decision."""


@dataclass(slots=True)
class _Stage:
    """One layer while samples pass through it; every list has one entry a sample.

    Attributes:
        plan: of a folded layer; ``None``: parallel.
        length: L.
        behind_folded: what comes before gives one value a cycle, without asking.
        starts: cycles in which a folded layer's run starts; a parallel layer's acceptances.
        taken_last: cycles in which a sample's last beat was taken.
        given_back: cycles in which the stage behind gave a place back.
    """

    plan: FoldPlan | None
    length: int
    behind_folded: bool
    starts: list[int] = field(default_factory=list)
    taken_last: list[int] = field(default_factory=list)
    given_back: list[int] = field(default_factory=list)


def _stages(layers: Sequence[DenseLayer]) -> list[_Stage]:
    plans = [None if layer.fold is None else fold_plan(layer) for layer in layers]
    return [
        _Stage(
            plan=plan,
            length=layer.length,
            behind_folded=index > 0 and plans[index - 1] is not None,
        )
        for index, (layer, plan) in enumerate(zip(layers, plans, strict=True))
    ]


def _run_of(plan: FoldPlan, stage: _Stage, offered: int) -> tuple[int, int, int]:
    """Cycles in which the sample's first beat is taken, its run starts, and its last value is handed on."""
    sample = len(stage.starts)
    if stage.behind_folded:
        first = offered - plan.beats + 1
        last = offered
    else:
        place_free = stage.starts[sample - PLACES] + plan.run_cycles + 1 if sample >= PLACES else 0
        after = stage.taken_last[-1] + 1 if sample else 0
        first = max(offered, after, place_free)
        last = first + plan.beats - 1
    start = last + CODING_CYCLES
    if sample:
        start = max(start, stage.starts[-1] + plan.run_cycles + 1)
    if sample >= PLACES:
        start = max(start, stage.given_back[sample - PLACES] + 1)
    stage.taken_last.append(last)
    stage.starts.append(start)
    return first, start, start + plan.answer_cycles


def schedule(layers: Sequence[DenseLayer], samples: int) -> tuple[IntArray, IntArray]:
    """When each of ``samples`` samples, offered back to back, is accepted and decided; decisions are taken at once.

    A parallel layer accepts a sample in the first cycle in which it is offered and the layer's output register is free
    or being taken; its output is offered ``L + 2`` cycles later.  A folded layer takes a sample beat by beat while it
    has a place for it, runs when the sample is stored, the run before is over and the stage behind has a place for the
    results, and hands these on one a cycle.

    Args:
        layers: the chain.
        samples: how many.

    Returns:
        cycle in which the first beat is accepted and cycle of the decision, int64 ``[samples]`` each; the first
        acceptance is cycle 0.

    Raises:
        RangeError: ``samples`` is not positive.
    """
    check_integer("samples", samples, 1, 1 << 31)
    stages = _stages(layers)
    free_at = [0] * len(stages)  # first cycle in which a parallel layer can accept again
    accepted_at, decided_at = np.zeros(samples, dtype=np.int64), np.zeros(samples, dtype=np.int64)
    for sample in range(samples):
        offered = 0
        for j, stage in enumerate(stages):
            before = stages[j - 1] if j else None
            if stage.plan is None:
                accepted = first = max(offered + GATHER_CYCLES * stage.behind_folded, free_at[j])
                stage.starts.append(accepted)
                offered = accepted + stage.length + 2
                released = accepted
            else:
                first, started, offered = _run_of(stage.plan, stage, offered)
                released = started + stage.plan.run_cycles
                accepted = stage.taken_last[-1]
            if j == 0:
                accepted_at[sample] = first
            if before is not None:
                before.given_back.append(released)
                free_at[j - 1] = accepted
        last = stages[-1]
        free_at[-1] = offered
        decided_at[sample] = offered + (1 if last.plan is None else GATHER_CYCLES)
        last.given_back.append(int(decided_at[sample]))
    return accepted_at, decided_at


def latencies(layers: Sequence[DenseLayer], samples: int) -> IntArray:
    """Cycles from acceptance to decision of every sample of :func:`schedule`, int64 ``[samples]``.

    Raises:
        RangeError: ``samples`` is not positive.
    """
    accepted_at, decided_at = schedule(layers, samples)
    return decided_at - accepted_at


def latency_of(layers: Sequence[DenseLayer]) -> int:
    """Cycles from acceptance of the first beat to the decision of a sample that meets an empty chain of layers.

    Parallel layers only: ``sum(L + 2) + 1``.
    """
    total = 0
    stages = _stages(layers)
    for stage in stages:
        if stage.plan is None:
            total += stage.length + 2 + GATHER_CYCLES * stage.behind_folded
        else:
            total += 0 if stage.behind_folded else stage.plan.beats - 1
            total += CODING_CYCLES + stage.plan.answer_cycles
    return total + (1 if stages[-1].plan is None else GATHER_CYCLES)


def latency_cycles(document: Document) -> int:
    """:func:`latency_of` all layers."""
    return latency_of(document.layers)


def mean_interval(layers: Sequence[DenseLayer]) -> Fraction:
    """Cycles between decisions in the long run, samples back to back: the slowest loop of waiting.

    A loop is a chain of events each of which waits for the one before, the first one for the last one of an earlier
    sample: a layer's own run, a layer that waits for the places behind it.  Neighbours are enough: a longer loop is
    made of these and no slower than the slowest of them.
    """
    stages = _stages(layers)
    loops: list[Fraction] = []
    for j, stage in enumerate(stages):
        behind = stages[j + 1] if j + 1 < len(stages) else None
        plan = stage.plan
        if plan is None:
            beats = 1 if behind is None or behind.plan is None else behind.plan.beats
            loops.append(Fraction(stage.length + 2 + beats - 1))
            continue
        loops.append(Fraction(plan.run_cycles + 1))
        if not stage.behind_folded:
            loops += [Fraction(plan.beats), Fraction(plan.beats - 1 + CODING_CYCLES + plan.run_cycles + 1, PLACES)]
        # from the last value until the stage behind is done with the sample, and the place free in the next cycle
        held = GATHER_CYCLES if behind is None or behind.plan is None else CODING_CYCLES + behind.plan.run_cycles
        loops.append(Fraction(plan.answer_cycles + held + 1, PLACES))
    return max(loops)


def interval_of(layers: Sequence[DenseLayer]) -> int:
    """:func:`mean_interval`, rounded up to whole cycles.

    Parallel layers only: the longest layer's ``L + 2``.
    """
    return math.ceil(mean_interval(layers))


def interval_cycles(document: Document) -> int:
    """:func:`interval_of` all layers."""
    return interval_of(document.layers)
