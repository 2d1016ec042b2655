"""A design found by training within a budget of tables and microseconds, against the best of fifty random ones in it.

Digits, 64-32-16-10, the ``digits`` preset with more candidate lengths.  *Found*: a few short trainings of weights and
design together within ``[budget]`` each propose a design; then the designs that are one step longer in one layer, as
far as the budget allows, are tried from the best one on.  *Random*: designs drawn evenly from all combinations of
lengths and encodings that meet the budget with their best folds, with an even draw of each layer's correlation.  Every
design of either side gets its weights by the same short training, and either side keeps the one of least loss on
held-back training samples.  Only the two that were kept are trained longer, with several seeds, and compared on test
samples.  Tables and clock are estimates of the cost model, cycles are exact.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import RESULTS, machine, markdown, run_jobs, spread
from fashion_mnist import share_right

from bitprop.artifacts import EVIDENCE_SYNTHESIS, evidence, write_json
from bitprop.budget import BudgetConstraint, plan
from bitprop.data import load_dataset
from bitprop.nn import SCNetwork
from bitprop.presets import preset_path
from bitprop.training.config import BudgetConfig, RunConfig, load_config
from bitprop.training.loop import build_network, train

BUDGET = BudgetConfig(lut=2000, latency_us=5.0, clock_mhz=50.0)
HIDDEN = (32, 16)
LENGTHS = (2, 3, 4, 6, 8, 12, 16, 24, 32)
DESIGNS, SEARCHES, SEEDS, ROUNDS = 50, (0, 1, 2), (0, 1, 2, 3, 4), 2
# samples that choose, on either side
VALIDATION_SHARE = 0.25
SEARCH = {"warmup_epochs": 6, "joint_epochs": 6, "finish_epochs": 0}
WEIGHTS = {"warmup_epochs": 0, "joint_epochs": 0, "finish_epochs": 15}
# of the two designs that are compared
FINAL = {"warmup_epochs": 7, "joint_epochs": 0, "finish_epochs": 23}
# the budget is what bounds the length
PRICES = {"length_cost": 0.0}


def _config(seed: int, epochs: dict[str, int]) -> RunConfig:
    config = load_config(preset_path("digits"))
    return config.model_copy(
        update={
            "seed": seed,
            "data": config.data.model_copy(update={"validation_share": VALIDATION_SHARE}),
            "network": config.network.model_copy(update={"lengths": LENGTHS, "hidden": HIDDEN}),
            "training": config.training.model_copy(update={**epochs, **PRICES}),
        }
    )


class _Given:
    """A constraint that knows its design: layer by layer the encoding, of lengths there is one."""

    def __init__(self, encodings: Sequence[str]) -> None:
        self._encodings = encodings

    def penalty(self, network: SCNetwork) -> torch.Tensor:
        """None."""
        return torch.zeros(())

    def update(self, network: SCNetwork) -> None:
        """Nothing to learn."""

    def state(self) -> dict[str, float]:
        """Nothing to keep."""
        return {}

    def load_state(self, state: dict[str, float]) -> None:
        """Nothing was kept."""

    @torch.no_grad()
    def settle(self, network: SCNetwork) -> None:
        """Make the design the likeliest one."""
        for layer, encoding in zip(network.sc_layers(), self._encodings, strict=True):
            layer.design.encoding_logits[layer.design.encodings.index(encoding)] += 1.0


def feasible() -> list[tuple[tuple[int, ...], tuple[str, ...]]]:
    """Lengths and encodings of every combination that meets the budget."""
    constraint = BudgetConstraint(build_network(_config(0, SEARCH), load_dataset("digits")), BUDGET)
    return [(point.lengths, point.encodings) for point in constraint.feasible]


def _text(lengths: Sequence[int], encodings: Sequence[str], correlations: Sequence[float]) -> str:
    return json.dumps(
        {"lengths": list(lengths), "encodings": list(encodings), "correlations": list(correlations)}, sort_keys=True
    )


def random_designs(space: list[tuple[tuple[int, ...], tuple[str, ...]]], count: int) -> list[str]:
    """Designs that meet the budget, drawn without replacement."""
    generator = np.random.Generator(np.random.Philox(2026))
    low, high = _config(0, SEARCH).network.correlations_per_layer()[0]
    designs = []
    for k in generator.choice(len(space), size=count, replace=False):
        lengths, encodings = space[k]
        correlations = generator.uniform(low, high, len(lengths))
        designs.append(_text(lengths, encodings, [round(float(value), 3) for value in correlations]))
    return designs


def longer(design: str, space: list[tuple[tuple[int, ...], tuple[str, ...]]]) -> list[str]:
    """The designs of the budget that are one candidate longer in one layer."""
    given, found, allowed = json.loads(design), [], set(space)
    for layer, length in enumerate(given["lengths"]):
        position = LENGTHS.index(length) + 1
        if position < len(LENGTHS):
            lengths = [*given["lengths"]]
            lengths[layer] = LENGTHS[position]
            if (tuple(lengths), tuple(given["encodings"])) in allowed:
                found.append(_text(lengths, given["encodings"], given["correlations"]))
    return found


def search(seed: int) -> dict[str, Any]:
    """Weights and design together, within the budget: the design it ends with."""
    start = time.monotonic()
    result = train(
        _config(seed, SEARCH), load_dataset("digits"), constraint=lambda network: BudgetConstraint(network, BUDGET)
    )
    choices = result.choices
    design = _text(
        [choice.length for choice in choices],
        [choice.encoding for choice in choices],
        [choice.correlation for choice in choices],
    )
    return {"design": design, "seconds": round(time.monotonic() - start, 1)}


def weights(design: str, seed: int, epochs: dict[str, int]) -> dict[str, Any]:
    """Weights alone, for one design; the epoch of least validation loss is kept."""
    start = time.monotonic()
    chosen = json.loads(design)
    config = _config(seed, epochs)
    correlations = tuple(chosen["correlations"])
    network = config.network.model_copy(
        update={
            "lengths": tuple((length,) for length in chosen["lengths"]),
            "min_correlation": correlations,
            "max_correlation": correlations,
        }
    )
    data = load_dataset("digits")
    result = train(
        config.model_copy(update={"network": network}), data, constraint=lambda _: _Given(chosen["encodings"])
    )
    point = plan(result.network, BUDGET)
    finish = [entry for entry in result.history if entry.phase == "finish"]
    best = min(finish, key=lambda entry: math.inf if entry.validation_loss is None else entry.validation_loss)
    return {
        "accuracy": share_right(result.network, data),
        "validation_loss": best.validation_loss,
        "validation_accuracy": best.validation_accuracy,
        "design": chosen,
        "violation": point.violation,
        "text": point.describe(),
        "seconds": round(time.monotonic() - start, 1),
    }


def run_case(kind: str, what: str, seed: int) -> dict[str, Any]:
    """One training."""
    return search(seed) if kind == "search" else weights(what, seed, FINAL if kind == "final" else WEIGHTS)


def _best(runs: dict[str, dict[str, Any]]) -> str:
    return min(runs, key=lambda design: (runs[design]["validation_loss"], design))


def difference(results: dict[str, Any]) -> tuple[float, float]:
    """Found less random, in points, and half of its 95% interval over seeds (Welch)."""
    from scipy.stats import t

    ours, theirs = ([100 * run["accuracy"] for run in results[name]] for name in ("found", "best_random"))
    parts = [statistics.variance(values) / len(values) for values in (ours, theirs)]
    error = math.sqrt(sum(parts))
    mean = statistics.fmean(ours) - statistics.fmean(theirs)
    if error == 0:
        return mean, 0.0
    freedom = sum(parts) ** 2 / sum(part**2 / (len(ours) - 1) for part in parts)
    return mean, float(t.ppf(0.975, freedom)) * error


def table(results: dict[str, Any]) -> str:
    """The design that was found beside the best random one."""
    rows = []
    for name, label in (
        ("found", "found by training within the budget"),
        ("best_random", "best of the random designs"),
    ):
        runs = results[name]
        spent = results["spent"][name]
        rows.append(
            [
                f"{label}: {spent['trainings']} trainings, {spent['seconds'] / 60:.1f} minutes",
                f"{spread([run['accuracy'] for run in runs])} ({len(runs)} seeds)",
                runs[0]["text"],
            ]
        )
    mean, half = difference(results)
    rows.append(["difference, 95% interval over seeds", f"{mean:+.2f} ± {half:.2f}", ""])
    accuracies = [run["accuracy"] for run in results["random"]]
    text = f"median {100 * statistics.median(accuracies):.2f}, largest {100 * max(accuracies):.2f}"
    count = f"{len(accuracies)} of the {results['feasible']:,} designs that meet the budget"
    rows.append([f"all random designs, {count}, one seed", text, ""])
    return markdown([BUDGET.describe(), "test accuracy, %", "design"], rows)


def main() -> None:
    """Train everything, or print the table of what was trained."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=RESULTS / "budget.json", help="results file")
    parser.add_argument("--processes", type=int, default=2, help="trainings at once")
    parser.add_argument("--table-only", action="store_true", help="print the table of an existing results file")
    arguments = parser.parse_args()
    if arguments.table_only:
        print(table(json.loads(arguments.output.read_text(encoding="utf-8"))))
        return

    def several(jobs: list[tuple[Any, ...]], part: str) -> list[dict[str, Any]]:
        return run_jobs(run_case, jobs, arguments.processes, arguments.output.with_suffix(f".{part}.json"))

    space = feasible()
    proposals = several([("search", "", seed) for seed in SEARCHES], "search")
    tried: dict[str, dict[str, Any]] = {}
    waiting = list(dict.fromkeys(entry["design"] for entry in proposals))
    for number in range(ROUNDS + 1):
        found = several([("weights", design, SEEDS[0]) for design in waiting], f"round{number}")
        tried |= dict(zip(waiting, found, strict=True))
        waiting = [design for design in longer(_best(tried), space) if design not in tried]
        if not waiting:
            break
    designs = random_designs(space, DESIGNS)
    random = several([("weights", design, SEEDS[0]) for design in designs], "random")
    kept = {"found": _best(tried), "best_random": _best(dict(zip(designs, random, strict=True)))}
    results = {
        "schema": "bitprop.benchmark.budget",
        "schema_version": "2.0",
        **evidence(EVIDENCE_SYNTHESIS),
        "machine": machine(),
        "budget": BUDGET.model_dump(),
        "feasible": len(space),
        "proposals": proposals,
        "tried": list(tried.values()),
        "random": random,
        "spent": {
            "found": {
                "trainings": len(proposals) + len(tried),
                "seconds": sum(entry["seconds"] for entry in [*proposals, *tried.values()]),
            },
            "best_random": {"trainings": len(random), "seconds": sum(entry["seconds"] for entry in random)},
        },
        **{name: several([("final", kept[name], seed) for seed in SEEDS], name) for name in kept},
    }
    write_json(arguments.output, results)
    print(table(results))


if __name__ == "__main__":
    main()
