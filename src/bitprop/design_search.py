"""A design within a budget, found by trying neighbours: joint training proposes, trainings of one design decide.

Joint training (:mod:`bitprop.budget`) ends with one design that meets the budget. It judges all candidates by one
set of weights that serves them all, so a design that is better once it has weights of its own can be missed. The
search goes on from there: the designs of the budget one step from one tried so far are trained by themselves for a
few epochs, a few at a time, until as many were tried as were allowed. Those come first whose layers' lengths and
encodings did well in the designs that had them.

What learns fast is not what learns best, and one training says little of a design.  So the best ones of the short
trainings are finalists: they are trained in full, as the result will be, with several seeds, and the one of least mean
loss is what was found.

With a folder every training is kept there as it ends, under a digest of all that it depends on.  A search that was
interrupted, even killed, and started again goes on after them and ends with the same result; one that is started again
with more trials goes on from those it had.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitprop import __version__
from bitprop._checks import check_integer
from bitprop.artifacts import canonical_json, sha256_bytes, sha256_file
from bitprop.budget import BudgetConstraint, DesignPoint, plan
from bitprop.cost import model_path
from bitprop.data import Dataset
from bitprop.errors import ConfigError
from bitprop.graph.architecture import Folded
from bitprop.seeds import derive_seed
from bitprop.toolchain.cache import ResultCache, cache_key
from bitprop.training.config import BudgetConfig, NetworkConfig, RunConfig
from bitprop.training.loop import build_network, train
from bitprop.training.outcome import TrainResult

__all__ = ["Attempt", "Design", "SearchResult", "attempt", "attempt_of", "neighbours", "search_design"]

# neighbours that are tried before the next one is chosen
_TOGETHER = 4
# of the fit to the losses tried, in trainings
_RIDGE = 0.1
# of an entry in the folder
_PART = "training"
_ANOTHER_FOLDER = "choose another one"

Combination = tuple[tuple[int, ...], tuple[str, ...]]
RunAll = Callable[[Sequence[RunConfig]], Sequence["Attempt"]]


@dataclass(frozen=True, slots=True)
class Design:
    """Length, encoding and correlation of every layer.

    Example:
        >>> design = Design((4, 8), ("sign_magnitude", "bipolar"), (0.0, -0.1))
        >>> fixed = design.fix(RunConfig())
        >>> fixed.network.lengths, fixed.network.is_fixed, fixed.training.epochs == RunConfig().training.epochs
        (((4,), (8,)), True, True)
    """

    lengths: tuple[int, ...]
    encodings: tuple[str, ...]
    correlations: tuple[float, ...]

    def fix(self, config: RunConfig, epochs: int | None = None) -> RunConfig:
        """A configuration with this design and no other; the joint epochs become bit-true ones of that design.

        Args:
            config: what to start from.
            epochs: so many in place of the configuration's; warm-up keeps its share, and one of them is bit-true.
        """
        training = config.training
        total, warmup = training.epochs, training.warmup_epochs
        if epochs is not None:
            total, warmup = epochs, min(round(epochs * warmup / total), epochs - 1)
        phases = {"warmup_epochs": warmup, "joint_epochs": 0, "finish_epochs": total - warmup}
        design = {
            "lengths": tuple((length,) for length in self.lengths),
            "encodings": tuple((encoding,) for encoding in self.encodings),
            "min_correlation": self.correlations,
            "max_correlation": self.correlations,
        }
        return config.model_copy(
            update={
                "network": config.network.model_copy(update=design),
                "training": training.model_copy(update=phases),
            }
        )


@dataclass(frozen=True, slots=True)
class Attempt:
    """A training of the search.

    Attributes:
        design: what it ended with.
        point: the same with its folds, and what it is expected to take.
        validation_loss: least one of an epoch in which the design was committed; ``None`` if there was no such epoch.
        validation_accuracy: of that epoch.
    """

    design: Design
    point: DesignPoint
    validation_loss: float | None
    validation_accuracy: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain fields."""
        return {
            **self.point.to_dict(),
            "text": self.point.describe(),
            "correlations": list(self.design.correlations),
            "validation_loss": self.validation_loss,
            "validation_accuracy": self.validation_accuracy,
        }


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found.

    Attributes:
        proposals: the joint trainings.
        tried: the short trainings of one design, in order.
        finalists: full trainings of the designs of least loss there, best first; none if one finalist was asked for.
        best: the short training of the design that was found.
        config: the run's configuration with the best design and no other.
    """

    proposals: tuple[Attempt, ...]
    tried: tuple[Attempt, ...]
    finalists: tuple[tuple[Attempt, ...], ...]
    best: Attempt
    config: RunConfig

    @property
    def trainings(self) -> int:
        """How many there were, of every kind."""
        return len(self.proposals) + len(self.tried) + sum(map(len, self.finalists))

    def to_dict(self) -> dict[str, Any]:
        """Plain fields."""
        return {
            "best": self.best.to_dict(),
            "proposals": [entry.to_dict() for entry in self.proposals],
            "tried": [entry.to_dict() for entry in self.tried],
            "finalists": [[entry.to_dict() for entry in trainings] for trainings in self.finalists],
        }


def attempt(config: RunConfig, data: Dataset) -> Attempt:
    """Train within the configuration's budget, and say which design came out and how good it is.

    Raises:
        ConfigError: there is no budget, or the training fails.
        InfeasibleError: no candidate meets the budget.
    """
    budget = config.budget
    if budget is None:
        raise ConfigError("expected a section [budget], which a search needs; got none")
    return attempt_of(train(config, data, constraint=lambda network: BudgetConstraint(network, budget)), budget)


def attempt_of(result: TrainResult, budget: BudgetConfig) -> Attempt:
    """What a training within a budget came to."""
    scored = [
        (entry.validation_loss, entry.validation_accuracy)
        for entry in result.history
        if entry.phase == "finish" and entry.validation_loss is not None
    ]
    loss, accuracy = min(scored, default=(None, None))
    return Attempt(
        Design(
            tuple(choice.length for choice in result.choices),
            tuple(choice.encoding for choice in result.choices),
            tuple(choice.correlation for choice in result.choices),
        ),
        plan(result.network, budget),
        loss,
        accuracy,
    )


def neighbours(design: Design, network: NetworkConfig, allowed: Collection[Combination]) -> list[Design]:
    """The allowed designs one step away, likely ones first.

    A step makes one layer longer by one candidate, or gives it another encoding; or it does that and makes some layer
    shorter, which may be what the budget asks for; or it makes one layer shorter.  Correlations stay.

    Args:
        design: where to start.
        network: its candidates.
        allowed: combinations of lengths and encodings that may be tried.
    """
    here = design.lengths, design.encodings
    gains = [*_moved(here, network, 1), *_recoded(here, network)]
    shorter = list(_moved(here, network, -1))
    steps = [*gains, *(other for gain in gains for other in _moved(gain, network, -1)), *shorter]
    return [Design(*step, design.correlations) for step in dict.fromkeys(steps) if step in allowed and step != here]


def _moved(start: Combination, network: NetworkConfig, step: int) -> Iterator[Combination]:
    """One layer's length so many candidates on."""
    lengths, encodings = start
    for layer, candidates in enumerate(network.lengths_per_layer()):
        place = candidates.index(lengths[layer]) + step
        if 0 <= place < len(candidates):
            yield (*lengths[:layer], candidates[place], *lengths[layer + 1 :]), encodings


def _recoded(start: Combination, network: NetworkConfig) -> Iterator[Combination]:
    """One layer's encoding replaced."""
    lengths, encodings = start
    for layer, candidates in enumerate(network.encodings_per_layer()):
        for encoding in candidates:
            if encoding != encodings[layer]:
                yield lengths, (*encodings[:layer], encoding, *encodings[layer + 1 :])


def _promising(
    losses: Mapping[Design, float], network: NetworkConfig, allowed: Collection[Combination]
) -> list[Design]:
    """Combinations one step from those tried, none of them tried, in the order in which to try them.

    What is expected of a design is a sum over layers, ``l(d) = m + sum_k (a_k[length] + b_k[encoding])``, fitted to the
    losses of those tried by least squares with a ridge: what was never tried is neither good nor bad.  Of designs that
    promise the same, those next to the best one tried come first.

    Args:
        losses: of the designs tried, best first.
        network: its candidates.
        allowed: combinations that may be tried.
    """
    columns = {
        choice: column
        for column, choice in enumerate(
            (layer, value)
            for candidates in (network.lengths_per_layer(), network.encodings_per_layer())
            for layer, values in enumerate(candidates)
            for value in values
        )
    }

    def rows(designs: Collection[Design]) -> NDArray[np.float64]:
        found = np.zeros((len(designs), len(columns)))
        for row, design in zip(found, designs, strict=True):
            row[[columns[choice] for choice in (*enumerate(design.lengths), *enumerate(design.encodings))]] = 1.0
        return found

    tried = {(design.lengths, design.encodings) for design in losses}
    found: dict[Combination, Design] = {}
    for design in losses:
        for other in neighbours(design, network, allowed):
            if (other.lengths, other.encodings) not in tried:
                found.setdefault((other.lengths, other.encodings), other)
    seen, values = rows(losses), np.array(list(losses.values()))
    gram = seen.T @ seen + _RIDGE * np.eye(len(columns))
    effects = np.linalg.solve(gram, seen.T @ (values - values.mean()))
    # equal sums may differ in their last digits
    expected = np.round(rows(found.values()) @ effects, 6)
    return [design for _, design in sorted(zip(expected.tolist(), found.values(), strict=True), key=itemgetter(0))]


def search_design(
    config: RunConfig,
    data: Dataset,
    *,
    proposals: int = 2,
    trials: int = 24,
    epochs: int = 15,
    finalists: int = 4,
    repeats: int = 3,
    run: RunAll | None = None,
    folder: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> SearchResult:
    """Find a design that meets a budget: joint trainings propose, trainings of one design each decide.

    The same inputs and seed give the same result.

    Args:
        config: the run, with a budget, joint epochs and a validation share; a proposal is its warm-up and joint phase.
        data: the data set; its held-out part is not looked at.
        proposals: joint trainings, each with a seed of its own.
        trials: trainings of one design each, at most.
        epochs: of each of those; warm-up has the same share of them as in a full training.
        finalists: designs that are trained in full; the one of least loss in its short training is found if 1.
        repeats: full trainings of each, with seeds of their own.
        run: trains several configurations, each as :func:`attempt` does; one after the other if ``None``.
        folder: where trainings are kept as they end, and those that are there are read; nowhere if ``None``.
        say: gets a line for every training.

    Raises:
        ConfigError: no budget, no joint epochs, no validation samples, or a training that fails.
        InfeasibleError: no candidate meets the budget.
        RangeError: an argument out of range.
        ArtifactError: the folder cannot be written.
    """
    check_integer("proposals", proposals, 1, 1000)
    check_integer("trials", trials, 1, 100_000)
    check_integer("epochs", epochs, 1, 10_000)
    check_integer("finalists", finalists, 1, 1000)
    check_integer("repeats", repeats, 1, 1000)
    if config.budget is None:
        raise ConfigError("expected a section [budget], which the search looks for a design within; got none")
    if not config.training.joint_epochs or not config.data.validation_share:
        raise ConfigError(
            "expected training.joint_epochs and data.validation_share above 0: the one proposes designs, the other "
            f"judges them; got {config.training.joint_epochs} and {config.data.validation_share}"
        )
    constraint = BudgetConstraint(build_network(config, data), config.budget)
    allowed = {(point.lengths, point.encodings) for point in constraint.feasible}
    say(f"{len(allowed):,} combinations of lengths and encodings are within {config.budget.describe()}")

    def one_by_one(configs: Sequence[RunConfig]) -> list[Attempt]:
        return [found for entry in configs for found in kept([entry], lambda one: [attempt(one[0], data)])]

    kept = _Kept(folder, data)
    together = run
    run = one_by_one if together is None else lambda configs: kept(configs, together)
    first = run([_proposal(config, number) for number in range(proposals)])
    for entry in first:
        say(f"proposed: {entry.point.describe()}")
    waiting = list(dict.fromkeys(entry.design for entry in first))
    tried: dict[Design, Attempt] = {}
    while waiting and len(tried) < trials:
        batch = waiting[: trials - len(tried)]
        found = run([design.fix(config, epochs) for design in batch])
        tried |= dict(zip(batch, found, strict=True))
        for entry in found:
            say(f"loss {_loss(entry):.4f}: {entry.point.describe()}")
        ranked = sorted(tried, key=lambda design: (_loss(tried[design]), design.lengths, design.encodings))
        losses = {design: _loss(tried[design]) for design in ranked}
        waiting = _promising(losses, config.network, allowed)[:_TOGETHER]
    last = ranked[:finalists] if finalists > 1 else []
    full = run([_with_seed(design.fix(config), "finalist", number) for design in last for number in range(repeats)])
    by_design = tuple(tuple(full[k * repeats : (k + 1) * repeats]) for k in range(len(last)))
    means = [statistics.fmean(map(_loss, trainings)) for trainings in by_design]
    for mean, trainings in zip(means, by_design, strict=True):
        say(f"mean loss {mean:.4f} of {repeats} full trainings: {trainings[0].point.describe()}")
    best = last[means.index(min(means))] if last else ranked[0]
    return SearchResult(tuple(first), tuple(tried.values()), by_design, tried[best], best.fix(config))


class _Kept:
    """Trainings in a folder.

    Args:
        folder: made if it is not there; ``None``: nothing is kept.
        data: what is trained on.
    """

    def __init__(self, folder: Path | None, data: Dataset) -> None:
        self._files = None if folder is None else ResultCache(folder)
        if self._files is not None:
            self._files.check(_ANOTHER_FOLDER)
        self._world = {
            "data": sha256_bytes(data.train_x.tobytes() + data.train_y.tobytes()),
            "cost_model": sha256_file(model_path()),
            "version": __version__,
        }

    def __call__(self, configs: Sequence[RunConfig], run: RunAll) -> list[Attempt]:
        """What trainings came to; those that are not kept are run, and kept."""
        files = self._files
        if files is None:
            return list(run(configs))
        keys = [cache_key({"config": config.to_toml(), **self._world}) for config in configs]
        stored = [files.get(key) for key in keys]
        missing = [config for config, parts in zip(configs, stored, strict=True) if parts is None]
        fresh = iter(run(missing) if missing else ())
        found = []
        for key, parts in zip(keys, stored, strict=True):
            if parts is None:
                entry = next(fresh)
                files.keep(key, {_PART: canonical_json(_plain(entry)).encode("utf-8")}, _ANOTHER_FOLDER)
            else:
                entry = _attempt(json.loads(parts[_PART]))
            found.append(entry)
        return found


def _plain(entry: Attempt) -> dict[str, Any]:
    """An attempt with every digit, which :meth:`Attempt.to_dict` does not have."""
    design, point = entry.design, entry.point
    return {
        "design": [design.lengths, design.encodings, design.correlations],
        "lengths": point.lengths,
        "encodings": point.encodings,
        "folds": [None if fold is None else fold.model_dump(mode="json") for fold in point.folds],
        "use": {name: value if isinstance(value, int) else float(value) for name, value in point.use.items()},
        "violation": point.violation,
        "validation": [entry.validation_loss, entry.validation_accuracy],
    }


def _attempt(plain: dict[str, Any]) -> Attempt:
    """The attempt that :func:`_plain` was given."""
    return Attempt(
        Design(*(tuple(values) for values in plain["design"])),
        DesignPoint(
            tuple(plain["lengths"]),
            tuple(plain["encodings"]),
            tuple(None if fold is None else Folded.model_validate(fold) for fold in plain["folds"]),
            plain["use"],
            plain["violation"],
        ),
        *plain["validation"],
    )


def _proposal(config: RunConfig, number: int) -> RunConfig:
    """The warm-up and joint phase of a run; the first proposal has the run's own seed."""
    training = config.training.model_copy(update={"finish_epochs": 0})
    return _with_seed(config.model_copy(update={"training": training}), "proposal", number)


def _with_seed(config: RunConfig, purpose: str, number: int) -> RunConfig:
    """The configuration with a seed of its own; number 0 has the run's."""
    return config.model_copy(update={"seed": derive_seed(config.seed, purpose, number)}) if number else config


def _loss(entry: Attempt) -> float:
    """What designs are compared by."""
    if entry.validation_loss is None:
        raise ConfigError("expected validation samples to judge a design by, got none; raise data.validation_share")
    return entry.validation_loss
