"""A budget of hardware as a constraint of training: so many tables and microseconds, met or shown to be impossible.

Every combination of candidate lengths and encodings is tried with every fold worth having (or, for the `parallel`
family, without any); the cost model (:mod:`bitprop.cost`) says what it takes, the timing formulas how long. The
*violation* of a combination is how far its best fold misses the tightest limit::

    V(L, e) = min over folds of max over limits of (use / limit) - 1,   at least 0

Training minimises the task's loss under E_p[V] = 0, p being the mixture over designs, by an augmented Lagrangian: the
penalty is ``a g + m g**2 / 2`` with ``g = E_p[V]``, and after every epoch ``a`` grows by ``m g``.  What is committed is
the most probable combination of no violation.  Every figure is an estimate by the model.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bitprop.artifacts import EVIDENCE_SYNTHESIS, evidence
from bitprop.cost import LayerShape, cost_model
from bitprop.errors import ConfigError, InfeasibleError
from bitprop.graph.architecture import Folded, Parallel, folded
from bitprop.graph.fold import CODING_CYCLES, fold_plan, with_architecture
from bitprop.graph.shape import shapes_of
from bitprop.graph.spec import DenseLayer, Document, Logits, Requantise, SourceEntry
from bitprop.graph.timing import GATHER_CYCLES, latency_cycles
from bitprop.layer_quantities import period_quantities
from bitprop.lower import lower
from bitprop.nn import SCNetwork
from bitprop.training.config import BudgetConfig

__all__ = ["BudgetConstraint", "DesignPoint", "plan", "planned_document"]

_MAX_COMBINATIONS = 20_000
_PARTS = ("lut", "bram", "dsp")
_FOLD_FIELDS = ("inputs_per_cycle", "neurons_per_cycle", "cycles_per_step", "values_per_beat", "pipeline")
# beyond this a design is hopeless, and how hopeless does not matter
_WORST = 8.0
_FIRST_WEIGHT, _GROWTH, _MAX_WEIGHT = 1.0, 2.0, 1e4


@dataclass(frozen=True, slots=True)
class DesignPoint:
    """A design and what it is expected to take.

    Attributes:
        lengths: per layer.
        encodings: per layer.
        folds: per layer; ``None``: parallel.
        use: ``lut``, ``bram``, ``dsp``, ``fmax_mhz``, ``cycles``, ``latency_us`` at the budget's clock.
        violation: by how much it misses the tightest limit, relative to that limit; 0 if it meets all.
    """

    lengths: tuple[int, ...]
    encodings: tuple[str, ...]
    folds: tuple[Folded | None, ...]
    use: Mapping[str, float]
    violation: float

    def describe(self) -> str:
        """One line."""
        parts = [
            f"L = {length}, {encoding}, "
            + (
                "parallel"
                if fold is None
                else f"{fold.inputs_per_cycle} inputs x {fold.neurons_per_cycle} neurons a cycle"
            )
            for length, encoding, fold in zip(self.lengths, self.encodings, self.folds, strict=True)
        ]
        use = self.use
        return (
            f"{'; '.join(parts)}: {use['lut']:.0f} LUT, {use['bram']:.0f} block RAM, {use['dsp']:.0f} multipliers, "
            f"{use['cycles']:.0f} cycles = {use['latency_us']:.2f} us, clock up to {use['fmax_mhz']:.0f} MHz"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain fields."""
        return {
            **evidence(EVIDENCE_SYNTHESIS),
            "lengths": list(self.lengths),
            "encodings": list(self.encodings),
            "folds": [None if fold is None else fold.model_dump(mode="json") for fold in self.folds],
            "use": {name: round(float(value), 4) for name, value in self.use.items()},
            "violation": round(float(self.violation), 6),
            "met": self.violation <= 0,
        }


@dataclass(frozen=True, slots=True)
class _Option:
    """One way to build one layer."""

    fold: Folded | None
    parts: tuple[float, ...]
    cycles: int
    period: Mapping[str, float]


def _powers(limit: int) -> list[int]:
    return [1 << k for k in range(limit.bit_length()) if 1 << k <= limit]


def _layer(network: SCNetwork, index: int, length: int, encoding: str, fold: Folded | None) -> DenseLayer:
    """A layer of the right shape without weights: enough for plans and timing, which do not look at them."""
    layer = network.sc_layers()[index]
    sources = layer.sources(length)
    last = index == len(network.sc_layers()) - 1
    selector = sources.correlation.to_dict() if layer.design.correlation_range != (0.0, 0.0) else None
    one = 1 << network.precision_bits
    return DenseLayer.model_construct(
        kind="dense",
        name=f"layer{index}",
        in_features=layer.in_features,
        out_features=layer.out_features,
        architecture=fold or Parallel(),
        length=length,
        encoding=encoding,
        activation_source=SourceEntry.model_validate(sources.activation.to_dict()),
        weight_source=SourceEntry.model_validate(sources.weight.to_dict()),
        correlation_raw=1 if selector else 0,
        correlation_source=SourceEntry.model_validate(selector) if selector else None,
        weight_thresholds=((0,),),
        weight_negative=None,
        bias_raw=(0,),
        accumulator_bits=(layer.in_features * length).bit_length() + 1,
        output=Logits(kind="logits") if last else Requantise(kind="requantise", multiplier=1, shift=1, low=0, high=one),
    )


def _options(network: SCNetwork, index: int, length: int, encoding: str, *, parallel: bool) -> list[_Option]:
    """Ways to build a layer that no other way beats in every respect."""
    layer = network.sc_layers()[index]
    last = index == len(network.sc_layers()) - 1
    folds: list[Folded | None] = [None]
    if not parallel:
        folds = [
            folded(p, q, length=length, values_per_beat=None if index == 0 else 1)
            for p in _powers(layer.in_features)
            for q in _powers(layer.out_features)
        ]
    found = []
    for fold in folds:
        shape = LayerShape(
            inputs=layer.in_features,
            outputs=layer.out_features,
            length=length,
            encoding=encoding,
            precision_bits=network.precision_bits,
            correlated=layer.design.correlation_range != (0.0, 0.0),
            hidden=not last,
            **({} if fold is None else {key: value for key, value in fold.model_dump().items() if key in _FOLD_FIELDS}),
        )
        probe = _layer(network, index, length, encoding, fold)
        cost = cost_model().layer(shape)
        found.append(
            _Option(fold, tuple(cost[name] for name in _PARTS), _cycles(probe, index), period_quantities(shape))
        )
    return [
        one
        for position, one in enumerate(found)
        if not any(_beats(other, one) and (not _beats(one, other) or k < position) for k, other in enumerate(found))
    ]


def _columns(options: Sequence[_Option], axis: int, axes: int) -> dict[str, NDArray[np.float64]]:
    """What the options of one layer take, along that layer's axis of a grid; of size 1 where all take the same."""
    values: dict[str, list[float]] = {
        **{name: [option.parts[part] for option in options] for part, name in enumerate(_PARTS)},
        "cycles": [option.cycles for option in options],
        **{key: [option.period.get(key, 0.0) for option in options] for key in cost_model().period_ns},
    }
    return {
        name: np.array(column[:1] if len(set(column)) == 1 else column, dtype=np.float64).reshape(
            -1, *[1] * (axes - 1 - axis)
        )
        for name, column in values.items()
    }


def _beats(one: _Option, other: _Option) -> bool:
    """Whether ``one`` is at least as good in every part and in cycles (a clock's period follows the size)."""
    return all(a <= b for a, b in zip((*one.parts, one.cycles), (*other.parts, other.cycles), strict=True))


def _cycles(layer: DenseLayer, index: int) -> int:
    """What a layer adds to the latency of a chain of its own kind."""
    if layer.fold is None:
        return layer.length + 2
    plan = fold_plan(layer)
    return CODING_CYCLES + plan.answer_cycles + (plan.beats - 1 if index == 0 else 0)


class _Space:
    """Combinations of lengths and encodings, each with its best folds; axes: layer 0, layer 1, ….

    Attributes:
        axes: candidates of each layer.
        violation: of every combination.
    """

    def __init__(self, network: SCNetwork, budget: BudgetConfig, axes: Sequence[Sequence[tuple[int, str]]]) -> None:
        self.budget, self.axes = budget, axes
        parallel = budget.architecture == "parallel"
        self._tail = 1 if parallel else GATHER_CYCLES
        self._options = [
            [_options(network, index, length, encoding, parallel=parallel) for length, encoding in axis]
            for index, axis in enumerate(axes)
        ]
        self._columns = [
            [_columns(options, index, len(axes)) for options in candidates]
            for index, candidates in enumerate(self._options)
        ]
        shape = tuple(len(axis) for axis in axes)
        self.violation = np.zeros(shape)
        self._choice: dict[tuple[int, ...], tuple[_Option, ...]] = {}
        for place in itertools.product(*(range(size) for size in shape)):
            self.violation[place], self._choice[place] = self._best(place)

    def _best(self, place: Sequence[int]) -> tuple[float, tuple[_Option, ...]]:
        """The folds of least violation; among those that meet every limit, the ones with most room."""
        layers = [self._options[index][position] for index, position in enumerate(place)]
        columns = [self._columns[index][position] for index, position in enumerate(place)]
        limits = self.budget
        worst = np.full([len(options) for options in layers], -np.inf)

        def over_layers(combine: np.ufunc, name: str) -> Any:
            return functools.reduce(combine, (column[name] for column in columns))

        for part in _PARTS:
            limit = getattr(limits, part)
            if limit is not None:
                worst = np.maximum(worst, _excess(over_layers(np.add, part), limit))
        if limits.latency_us is not None:
            cycles = self._tail + over_layers(np.add, "cycles")
            worst = np.maximum(worst, cycles / (limits.latency_us * limits.clock_mhz) - 1)
        period = sum(coefficient * over_layers(np.maximum, key) for key, coefficient in cost_model().period_ns.items())
        worst = np.maximum(worst, period * limits.clock_mhz / 1000 - 1)
        where = np.unravel_index(int(worst.argmin()), worst.shape)
        return max(0.0, float(worst[where])), tuple(
            options[position] for options, position in zip(layers, where, strict=True)
        )

    def point(self, place: Sequence[Any]) -> DesignPoint:
        """The design of a combination."""
        where = tuple(int(position) for position in place)
        options = self._choice[where]
        chosen = [axis[position] for axis, position in zip(self.axes, where, strict=True)]
        largest: dict[str, float] = {}
        for option in options:
            for key, value in option.period.items():
                largest[key] = max(value, largest.get(key, 0.0))
        period = sum(cost_model().period_ns.get(key, 0.0) * value for key, value in largest.items())
        cycles = self._tail + sum(option.cycles for option in options)
        use = {name: sum(option.parts[part] for option in options) for part, name in enumerate(_PARTS)}
        return DesignPoint(
            lengths=tuple(length for length, _ in chosen),
            encodings=tuple(encoding for _, encoding in chosen),
            folds=tuple(option.fold for option in options),
            use={**use, "fmax_mhz": 1000 / period, "cycles": cycles, "latency_us": cycles / self.budget.clock_mhz},
            violation=float(self.violation[where]),
        )


class BudgetConstraint:
    """A budget during training: what :func:`bitprop.training.loop.train` takes as ``constraint``.

    Args:
        network: the untrained network, with its candidates.
        budget: the limits.

    Raises:
        ConfigError: too many combinations of candidates to try them all.
        InfeasibleError: no combination meets the budget; the message describes the one that comes nearest.
    """

    def __init__(self, network: SCNetwork, budget: BudgetConfig) -> None:
        axes = [
            [(length, encoding) for length in layer.design.lengths for encoding in layer.design.encodings]
            for layer in network.sc_layers()
        ]
        count = int(np.prod([len(axis) for axis in axes]))
        if count > _MAX_COMBINATIONS:
            raise ConfigError(
                f"expected at most {_MAX_COMBINATIONS} combinations of lengths and encodings for a budget, got "
                f"{count}; give fewer candidates"
            )
        self._space = _Space(network, budget, axes)
        violation = self._space.violation
        self._violation = torch.from_numpy(np.minimum(violation, _WORST)).float()
        self._multiplier, self._weight, self._last = 0.0, _FIRST_WEIGHT, _WORST
        if not bool((violation <= 0).any()):
            nearest = self._space.point([int(k) for k in np.unravel_index(int(violation.argmin()), violation.shape)])
            raise InfeasibleError(
                f"expected a design within {budget.describe()}, the nearest one misses it by "
                f"{nearest.violation:.0%}: {nearest.describe()}; raise the budget, or give shorter lengths or a "
                "smaller network"
            )

    @property
    def feasible(self) -> tuple[DesignPoint, ...]:
        """Every combination that meets the budget."""
        return tuple(self._space.point(place.tolist()) for place in np.argwhere(self._space.violation <= 0))

    def _probabilities(self, network: SCNetwork) -> list[Tensor]:
        return [
            (layer.design.length_probabilities()[:, None] * layer.design.encoding_probabilities()[None, :]).flatten()
            for layer in network.sc_layers()
        ]

    def expected_violation(self, network: SCNetwork) -> Tensor:
        """``E_p[V]``, a scalar, differentiable in every design logit."""
        value = self._violation
        for probabilities in reversed(self._probabilities(network)):
            value = value @ probabilities.to(value.dtype)
        return value

    def penalty(self, network: SCNetwork) -> Tensor:
        """What the loss grows by: ``a g + m g**2 / 2``."""
        excess = self.expected_violation(network)
        return self._multiplier * excess + 0.5 * self._weight * excess**2

    def update(self, network: SCNetwork) -> None:
        """Raise the multiplier after an epoch, and the weight where the violation does not shrink."""
        excess = float(self.expected_violation(network).detach())
        self._multiplier += self._weight * excess
        if excess > 0.5 * self._last and excess > 1e-3:
            self._weight = min(_MAX_WEIGHT, self._weight * _GROWTH)
        self._last = excess

    def state(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return {"multiplier": self._multiplier, "weight": self._weight, "last": self._last}

    def load_state(self, state: Mapping[str, float]) -> None:
        """Take up a checkpoint's state."""
        self._multiplier, self._weight, self._last = state["multiplier"], state["weight"], state["last"]

    @torch.no_grad()
    def settle(self, network: SCNetwork) -> None:
        """Before the choice is committed, make the most probable combination of no violation the likeliest one."""
        joint = np.ones(())
        for probabilities in self._probabilities(network):
            joint = np.multiply.outer(joint, probabilities.double().numpy())
        place = np.unravel_index(int(np.where(self._space.violation <= 0, joint, -1.0).argmax()), joint.shape)
        for layer, axis, position in zip(network.sc_layers(), self._space.axes, place, strict=True):
            length, encoding = axis[int(position)]
            design = layer.design
            for logits, index in (
                (design.length_logits, design.lengths.index(length)),
                (design.encoding_logits, design.encodings.index(encoding)),
            ):
                if int(logits.argmax()) != index:
                    logits[index] = logits.max() + 1e-3


def plan(network: SCNetwork, budget: BudgetConfig) -> DesignPoint:
    """The folds of a network's likeliest (or committed) design that meet a budget best, and what they should take.

    Cycles are those of the network's own document, exactly.

    Raises:
        NotExportableError: the network draws ideal random bits.
    """
    space = _committed(network, budget)
    point = space.point((0,) * len(space.axes))
    document = planned_document(lower(network, name="planned"), network, budget)
    cycles = latency_cycles(document)
    use = {
        **cost_model().network(shapes_of(document)),
        "cycles": float(cycles),
        "latency_us": cycles / budget.clock_mhz,
    }
    return DesignPoint(point.lengths, point.encodings, point.folds, use, _violation(use, budget))


def planned_document(document: Document, network: SCNetwork, budget: BudgetConfig) -> Document:
    """A network's document with the folds of :func:`plan`."""
    space = _committed(network, budget)
    folds = space.point((0,) * len(space.axes)).folds
    chosen = {layer.name: fold for layer, fold in zip(document.layers, folds, strict=True) if fold is not None}
    return with_architecture(document, chosen) if chosen else document


def _committed(network: SCNetwork, budget: BudgetConfig) -> _Space:
    choices = [layer.design.choice() for layer in network.sc_layers()]
    return _Space(network, budget, [[(choice.length, choice.encoding)] for choice in choices])


def _violation(use: Mapping[str, float], budget: BudgetConfig) -> float:
    worst = budget.clock_mhz / use["fmax_mhz"] - 1
    for name in _PARTS:
        limit = getattr(budget, name)
        if limit is not None:
            worst = max(worst, float(_excess(np.array(use[name]), limit)))
    if budget.latency_us is not None:
        worst = max(worst, use["latency_us"] / budget.latency_us - 1)
    return max(0.0, worst)


def _excess(use: Any, limit: int) -> Any:
    """Use beyond a limit, relative to it; in units where the limit is zero."""
    return use / limit - 1 if limit else np.where(use > 0, use, -1.0)
