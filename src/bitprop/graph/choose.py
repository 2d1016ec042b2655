"""Choosing folds: the cheapest architecture that answers within so many clock cycles, and the text form of a fold."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bitprop._checks import check_integer
from bitprop.errors import RangeError
from bitprop.graph.architecture import MAX_LANES, UNROLLED_CYCLES, Architecture, Folded, Parallel, folded
from bitprop.graph.fold import FoldPlan, fold_plan, with_architecture
from bitprop.graph.spec import DenseLayer, Document
from bitprop.graph.timing import interval_of, latency_of

__all__ = ["choose_folds", "fold_all", "parse_fold"]

_WIDEST_BEAT = 32
_FIELDS = {
    "inputs": "inputs_per_cycle",
    "neurons": "neurons_per_cycle",
    "cycles": "cycles_per_step",
    "beat": "values_per_beat",
    "pipeline": "pipeline",
}


@dataclass(frozen=True, slots=True)
class _Point:
    """One fold of one layer: what it costs and how long it works."""

    fold: Folded
    cycles: int
    cost: float


def _beat(per_cycle: int, first: bool) -> int:
    """The widest beat that divides P and is not too wide; behind another folded layer one value comes at a time."""
    if not first:
        return 1
    return max(lanes for lanes in range(1, min(per_cycle, _WIDEST_BEAT) + 1) if per_cycle % lanes == 0)


def _cost(plan: FoldPlan) -> float:
    """LUT4, roughly: compare, gate and count of every stream bit made in a cycle, adders, accumulators, coding.

    It orders folds of one layer; what a design takes, synthesis says.
    """
    fold = plan.fold
    products = fold.inputs_per_cycle * fold.neurons_per_cycle
    bit = 1.7 + (0.9 * plan.w_code_bits if plan.steps > 1 else 0.0)
    lanes = products * (plan.leaves * plan.leaf * bit + 5.0)
    coding = fold.values_per_beat * (max(1, len(plan.levels)) * 2.5 + 12.0)
    return lanes + fold.neurons_per_cycle * 2.0 * plan.accumulator_bits + coding


def _halves(size: int) -> list[int]:
    """Sizes that divide the work evenly: ``ceil(size / k)`` for every k, without repetition."""
    return sorted({-(-size // parts) for parts in range(1, size + 1)})


def _front(layer: DenseLayer, first: bool) -> list[_Point]:
    """The folds of a layer that no other one beats in both cycles and cost, cheapest first."""
    points = []
    cycles = {layer.length} if layer.length <= UNROLLED_CYCLES else {1, 2, 4, 8}
    for per_cycle in _halves(layer.in_features):
        for neurons in _halves(layer.out_features):
            for step in sorted(cycles):
                if per_cycle * neurons * step > MAX_LANES:
                    continue
                fold = folded(
                    per_cycle,
                    neurons,
                    length=layer.length,
                    cycles_per_step=step,
                    values_per_beat=_beat(per_cycle, first),
                )
                plan = fold_plan(layer.model_copy(update={"architecture": fold}))
                fill = plan.beats if first else 0
                points.append(_Point(fold, fill + plan.answer_cycles, _cost(plan)))
    points.sort(key=lambda point: (point.cost, point.cycles))
    front: list[_Point] = []
    for point in points:
        if not front or point.cycles < front[-1].cycles:
            front.append(point)
    return front


def choose_folds(document: Document, cycles: int) -> Document:
    """Fold every layer so that latency and interval are at most ``cycles``, at about the least cost.

    From the cheapest fold of each layer on, the step that saves most cycles for its cost is taken until the target is
    met, then every layer goes back as far as the target allows.

    Args:
        document: the program; its architectures are replaced.
        cycles: clock cycles from the first beat to the decision, and between decisions.

    Raises:
        RangeError: ``cycles`` is not positive, or no fold is fast enough; the message says what is.

    Example:
        >>> from bitprop.graph.random import random_document
        >>> from bitprop.graph.timing import latency_cycles
        >>> document = choose_folds(random_document(7), 400)
        >>> latency_cycles(document) <= 400
        True
    """
    check_integer("cycles", cycles, 1, 1 << 40)
    fronts = [_front(layer, index == 0) for index, layer in enumerate(document.layers)]
    chosen = [0] * len(fronts)

    def slowest(places: Sequence[int]) -> int:
        layers = [
            layer.model_copy(update={"architecture": front[place].fold})
            for layer, front, place in zip(document.layers, fronts, places, strict=True)
        ]
        return max(latency_of(layers), interval_of(layers))

    def total(places: Sequence[int]) -> int:
        return sum(front[place].cycles for front, place in zip(fronts, places, strict=True))

    while slowest(chosen) > cycles:
        steps = [
            ((front[place].cycles - point.cycles) / (point.cost - front[place].cost), index, later)
            for index, (front, place) in enumerate(zip(fronts, chosen, strict=True))
            for later, point in enumerate(front[place + 1 :], start=place + 1)
        ]
        if not steps:
            raise RangeError(
                f"expected a target of at least {slowest(chosen)} cycles, which the widest folds reach, got {cycles}; "
                "ask for more cycles or fewer layers"
            )
        _, index, later = max(steps)
        # no further than the target needs
        excess = total(chosen) - cycles
        front, place = fronts[index], chosen[index]
        enough = [k for k in range(place + 1, later + 1) if front[place].cycles - front[k].cycles >= excess]
        chosen[index] = min([later, *enough]) if excess > 0 else place + 1
    for index in range(len(chosen)):
        while chosen[index] > 0:
            trial = [place - (k == index) for k, place in enumerate(chosen)]
            if slowest(trial) > cycles:
                break
            chosen = trial
    folds = {layer.name: front[place].fold for layer, front, place in zip(document.layers, fronts, chosen, strict=True)}
    return with_architecture(document, folds)


def fold_all(document: Document, architectures: Mapping[str, Architecture | Mapping[str, int]]) -> Document:
    """Give layers an architecture; ``"*"`` stands for every layer that is not named.

    Args:
        document: the program.
        architectures: by layer name: an architecture, or the fields of a fold that were asked for.  What was not is
            filled in, and P and N are cut to the layer's size.

    Raises:
        DocumentError: no such layer, or a fold that does not fit.
    """
    chosen: dict[str, Parallel | Folded] = {name: Parallel() for name in architectures if name != "*"}
    behind_folded = False
    for layer in document.layers:
        wanted = architectures.get(layer.name, architectures.get("*"))
        if wanted is None:
            behind_folded = layer.fold is not None
            continue
        if isinstance(wanted, Mapping):
            per_cycle = min(wanted.get("inputs_per_cycle", layer.in_features), layer.in_features)
            wanted = folded(
                per_cycle,
                min(wanted.get("neurons_per_cycle", 1), layer.out_features),
                length=layer.length,
                cycles_per_step=wanted.get("cycles_per_step"),
                values_per_beat=wanted.get("values_per_beat", _beat(per_cycle, not behind_folded)),
                pipeline=wanted.get("pipeline", 1),
            )
        chosen[layer.name] = wanted
        behind_folded = isinstance(wanted, Folded)
    return with_architecture(document, chosen)


def parse_fold(text: str) -> tuple[str, Architecture | dict[str, int]]:
    """``NAME:inputs=16,neurons=2`` or ``NAME:parallel`` to a layer's name and its architecture.

    Raises:
        RangeError: anything else.

    Example:
        >>> parse_fold("layer0:inputs=16,neurons=2")
        ('layer0', {'inputs_per_cycle': 16, 'neurons_per_cycle': 2})
    """
    name, colon, rest = text.partition(":")
    if colon and rest == "parallel":
        return name, Parallel()
    fields: dict[str, int] = {}
    for part in rest.split(",") if colon else [""]:
        match = re.fullmatch(rf"({'|'.join(_FIELDS)})=(\d{{1,6}})", part)
        if match is None or _FIELDS[match[1]] in fields:
            raise RangeError(
                f"expected a layer as NAME:parallel or NAME:{','.join(f'{key}=…' for key in _FIELDS)} (some of them, "
                f"each once), got {text!r}; inputs and neurons are those of a clock cycle"
            )
        fields[_FIELDS[match[1]]] = check_integer(match[1], int(match[2]), 0 if match[1] == "pipeline" else 1, 1 << 16)
    return name, fields
