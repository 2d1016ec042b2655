"""A design found by a search within a budget of tables and microseconds, against the best of fifty random ones in it.

Fashion-MNIST, its first 6,000 training samples; two cases, one with two hidden layers, one with three.  *Found*:
:mod:`bitprop.design_search`, joint trainings within ``[budget]``, short trainings of the designs around what they
propose, full trainings of the best four, in all fewer trainings and fewer epochs than the other side's.  *Random*:
designs drawn evenly from all combinations of lengths and encodings that meet the budget with their best folds, with an
even draw of each layer's correlation, each trained shortly; the one of least loss on held-back training samples is
kept.  Tables and clock are estimates of the cost model, cycles are exact.

The comparison, as it was laid down before it was run, for each case: the two designs that were kept are trained in
full, both with each of the case's twenty seeds, which also draw the same split and order for both, and compared on the
10,000 test samples, which nothing was chosen by.  The figure is the mean over seeds of the difference of the two with
the same seed, with Student's 95% interval; better or worse if the whole interval is on that side of zero, not decided
otherwise.  No seed is added or left out.

The case of three hidden layers was chosen after the other one had ended undecided, by a pilot of 25 random designs,
of a draw of their own, trained shortly and judged by held-back training samples: 17 of them did not learn, and the
best one's loss was 0.79, where streams of 8 cycles throughout, just beyond the budget, came to 0.59 and streams of 32
to 0.53.  So good designs are rare in it, where fifty draws of the other case have several.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from _common import benchmark, markdown, run_jobs, spread
from fashion_mnist import share_right

from bitprop.artifacts import EVIDENCE_SYNTHESIS, read_json
from bitprop.budget import BudgetConstraint
from bitprop.data import Dataset, load_dataset
from bitprop.design_search import Design, attempt_of, search_design
from bitprop.presets import preset_path
from bitprop.training.config import BudgetConfig, RunConfig, load_config
from bitprop.training.loop import build_network, train

SAMPLES = 6000
# the search's trainings, and of the other side
PROPOSALS, TRIALS, FINALISTS, REPEATS, RANDOM = 3, 23, 4, 3, 50
# epochs of a design on either side
EPOCHS = 15
# samples that choose, on either side
VALIDATION_SHARE = 0.25
# a proposal has the first two phases; a design alone the warm-up, then bit-true epochs in place of the others
TRAINING = {
    "warmup_epochs": 7,
    "joint_epochs": 6,
    "finish_epochs": 17,
    "length_cost": 0.0,
    "average_decay": 0.99,
}
SPACE = {
    "encodings": ("sign_magnitude", "bipolar"),
    "layout": "independent",
    "min_correlation": -0.25,
    "max_correlation": 0.25,
}
SIDES = {"found": "found by the search within the budget", "best_random": "best of the random designs"}


@dataclass(frozen=True, slots=True)
class Case:
    """A network, its candidates and a budget.

    Attributes:
        hidden: widths of the hidden layers.
        lengths: candidates of every layer.
        budget: the limits.
        seeds: of the comparison.
        draw: seed of the random designs.
    """

    hidden: tuple[int, ...]
    lengths: tuple[int, ...]
    budget: BudgetConfig
    seeds: tuple[int, ...]
    draw: int

    def configuration(self, seed: int) -> RunConfig:
        """The run, with its budget."""
        config = load_config(preset_path("fashion_mnist"))
        network = {**SPACE, "hidden": self.hidden, "lengths": self.lengths}
        return config.model_copy(
            update={
                "seed": seed,
                "data": config.data.model_copy(update={"validation_share": VALIDATION_SHARE}),
                "network": config.network.model_copy(update=network),
                "training": config.training.model_copy(update=TRAINING),
                "budget": self.budget,
            }
        )

    def allowed(self) -> list[tuple[tuple[int, ...], tuple[str, ...]]]:
        """Lengths and encodings of every combination that meets the budget."""
        constraint = BudgetConstraint(build_network(self.configuration(0), samples()), self.budget)
        return [(point.lengths, point.encodings) for point in constraint.feasible]


CASES = {
    "784-32-16-10": Case(
        hidden=(32, 16),
        lengths=(2, 3, 4, 6, 8, 12, 16, 24, 32),
        budget=BudgetConfig(lut=2500, latency_us=25.0, clock_mhz=50.0),
        seeds=tuple(range(100, 120)),
        draw=2026,
    ),
    "784-32-24-16-10": Case(
        hidden=(32, 24, 16),
        lengths=(2, 4, 8, 16, 32),
        budget=BudgetConfig(lut=3000, latency_us=25.0, clock_mhz=50.0),
        seeds=tuple(range(200, 220)),
        draw=2027,
    ),
}


@functools.cache
def samples() -> Dataset:
    """The first training samples, and all test samples; read once by each process."""
    data = load_dataset("fashion_mnist")
    return replace(data, train_x=data.train_x[:SAMPLES].copy(), train_y=data.train_y[:SAMPLES].copy())


def random_designs(case: Case, space: list[tuple[tuple[int, ...], tuple[str, ...]]], count: int) -> list[Design]:
    """Designs that meet the budget, drawn without replacement."""
    generator = np.random.Generator(np.random.Philox(case.draw))
    low, high = case.configuration(0).network.correlations_per_layer()[0]
    designs = []
    for k in generator.choice(len(space), size=count, replace=False):
        lengths, encodings = space[k]
        correlations = generator.uniform(low, high, len(lengths))
        designs.append(Design(lengths, encodings, tuple(round(float(value), 3) for value in correlations)))
    return designs


def _text(design: Design) -> str:
    return json.dumps(asdict(design), sort_keys=True)


def _design(text: str) -> Design:
    return Design(**{name: tuple(values) for name, values in json.loads(text).items()})


def searched(case: Case) -> dict[str, Any]:
    """The search."""
    result = search_design(
        case.configuration(0),
        samples(),
        proposals=PROPOSALS,
        trials=TRIALS,
        epochs=EPOCHS,
        finalists=FINALISTS,
        repeats=REPEATS,
        say=lambda text: print(f"  {text}", file=sys.stderr, flush=True),
    )
    return {
        **result.to_dict(),
        "kept": _text(result.best.design),
        "trainings": result.trainings,
    }


def trained(case: Case, design: str, seed: int, *, shortly: bool) -> dict[str, Any]:
    """One design, trained; the epoch of least validation loss is kept."""
    config, data = _design(design).fix(case.configuration(seed), EPOCHS if shortly else None), samples()
    result = train(config, data, constraint=lambda network: BudgetConstraint(network, case.budget))
    return {
        **attempt_of(result, case.budget).to_dict(),
        "accuracy": share_right(result.network, data),
    }


def run_case(name: str, kind: str, design: str, seed: int) -> dict[str, Any]:
    """One job: the search, or a training."""
    case = CASES[name]
    return searched(case) if kind == "search" else trained(case, design, seed, shortly=kind == "short")


def difference(results: dict[str, Any]) -> tuple[float, float]:
    """Found less random, in points, and half of its 95% interval: the mean over seeds of paired differences."""
    from scipy.stats import t

    ours, theirs = ([100 * run["accuracy"] for run in results[name]] for name in SIDES)
    pairs = [our - their for our, their in zip(ours, theirs, strict=True)]
    error = statistics.stdev(pairs) / math.sqrt(len(pairs))
    return statistics.fmean(pairs), float(t.ppf(0.975, len(pairs) - 1)) * error


def verdict(mean: float, half: float) -> str:
    """What the interval decides."""
    if abs(mean) <= half:
        return "not decided: the interval includes zero"
    return "better" if mean > 0 else "worse"


def table(results: dict[str, Any]) -> str:
    """The design that was found beside the best random one, for each case."""
    return "\n".join(_table(name, found) for name, found in results["cases"].items())


def _table(name: str, results: dict[str, Any]) -> str:
    rows = []
    for side, label in SIDES.items():
        runs = results[side]
        rows.append(
            [
                f"{label}, {results['trainings'][side]} trainings",
                f"{spread([run['accuracy'] for run in runs])} ({len(runs)} seeds)",
                runs[0]["text"],
            ]
        )
    mean, half = difference(results)
    rows.append(["difference, paired, 95% interval over seeds", f"{mean:+.2f} ± {half:.2f}", verdict(mean, half)])
    accuracies = [run["accuracy"] for run in results["random"]]
    text = f"median {100 * statistics.median(accuracies):.2f}, largest {100 * max(accuracies):.2f}"
    count = f"{len(accuracies)} of the {results['allowed']:,} designs that meet the budget"
    rows.append([f"all random designs, {count}, trained shortly", text, ""])
    limits = BudgetConfig(**results["budget"]).describe()
    return markdown([f"{name}, {limits}", "test accuracy, %", "design"], rows)


Several = Callable[[list[tuple[Any, ...]], str], list[dict[str, Any]]]


def choose(name: str, several: Several) -> dict[str, Any]:
    """Search and draw; either side keeps the design of least validation loss."""
    case = CASES[name]
    space = case.allowed()
    drawn = [_text(design) for design in random_designs(case, space, RANDOM)]
    found, *random = several([("search", "", 0), *(("short", design, 0) for design in drawn)], "chosen")
    losses = {design: run["validation_loss"] for design, run in zip(drawn, random, strict=True)}
    best = min(losses, key=lambda design: (losses[design], design))
    return {
        "budget": case.budget.model_dump(),
        "allowed": len(space),
        "trainings": {"found": found.pop("trainings"), "best_random": len(random)},
        "kept": {"found": found.pop("kept"), "best_random": best},
        "search": found,
        "random": random,
    }


def compare(name: str, chosen: dict[str, Any], several: Several) -> dict[str, Any]:
    """Both kept designs in full, with every seed."""
    seeds = CASES[name].seeds
    # both designs of a seed, then the next seed: an interrupted comparison has whole pairs
    runs = several([("long", chosen["kept"][side], seed) for seed in seeds for side in SIDES], "compared")
    sides = {side: runs[index :: len(SIDES)] for index, side in enumerate(SIDES)}
    return {**{key: value for key, value in chosen.items() if key not in sides}, **sides, "seeds": list(seeds)}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Search, draw, choose and compare; cases that are not asked for stay as they are stored."""
    stored = read_json(arguments.output)["cases"] if arguments.output.is_file() else {}
    files: list[Path] = []
    for name in arguments.cases:

        def several(jobs: list[tuple[Any, ...]], part: str, name: str = name) -> list[dict[str, Any]]:
            files.append(arguments.output.with_suffix(f".{name}.{part}.json"))
            return run_jobs(run_case, [(name, *job) for job in jobs], arguments.processes, files[-1], keep=True)

        chosen = stored[name] if arguments.compare_only else choose(name, several)
        stored[name] = compare(name, chosen, several)
    for file in files:
        file.unlink()
    return {"cases": {name: stored[name] for name in CASES if name in stored}}


def main() -> None:
    """Run the benchmark and write its results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=tuple(CASES), default=list(CASES), help="networks")
    parser.add_argument("--processes", type=int, default=2, help="trainings at once")
    parser.add_argument("--compare-only", action="store_true", help="compare the stored designs, search and draw none")
    benchmark(parser, "budget", measure, table, version="5.0", boundary=EVIDENCE_SYNTHESIS)


if __name__ == "__main__":
    main()
