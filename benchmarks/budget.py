"""Training within a budget of tables and microseconds, against the best of fifty random designs within the same budget.

Digits, 64-32-10, the ``digits`` preset with more candidate lengths and fewer epochs.  *Trained* designs come from
``[budget]``: weights and design together.  *Random* designs are drawn evenly from all combinations of lengths and
encodings (one encoding for both layers) that meet the budget with their best folds, with an even draw of the
correlation of each layer, and are trained for their design from the first epoch, as long.  The best one is chosen by
held-back training samples, as a user would, and trained with the other seeds too; the largest test accuracy of all of
them, which nobody could choose without looking at the test data, is reported beside it.  Tables and clock are
estimates of the cost model, cycles are exact.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from _common import RESULTS, machine, markdown, run_jobs, spread
from fashion_mnist import share_right

from bitprop.artifacts import EVIDENCE_SYNTHESIS, evidence, write_json
from bitprop.budget import BudgetConstraint, plan
from bitprop.data import load_dataset
from bitprop.presets import preset_path
from bitprop.training.config import BudgetConfig, RunConfig, load_config
from bitprop.training.loop import build_network, train

BUDGET = BudgetConfig(lut=1200, latency_us=4.0, clock_mhz=50.0)
LENGTHS = (2, 3, 4, 6, 8, 12, 16, 24, 32)
DESIGNS, SEEDS = 50, (0, 1, 2)
# a third of the preset's epochs, in all runs
EPOCHS = {"warmup_epochs": 7, "joint_epochs": 8, "finish_epochs": 15}


def _config(seed: int) -> RunConfig:
    config = load_config(preset_path("digits"))
    network = config.network.model_copy(update={"lengths": LENGTHS})
    training = config.training.model_copy(update=EPOCHS)
    return config.model_copy(update={"seed": seed, "network": network, "training": training})


def random_designs(count: int) -> list[dict[str, Any]]:
    """Designs that meet the budget, drawn without replacement where there are enough."""
    config = _config(0)
    data = load_dataset("digits")
    feasible = BudgetConstraint(build_network(config, data), BUDGET).feasible
    common = [point for point in feasible if len(set(point.encodings)) == 1]
    generator = np.random.Generator(np.random.Philox(2026))
    picked = generator.choice(len(common), size=count, replace=len(common) < count)
    low, high = config.network.correlations_per_layer()[0]
    return [
        {
            "lengths": list(common[k].lengths),
            "encoding": common[k].encodings[0],
            "correlations": [round(float(value), 3) for value in generator.uniform(low, high, 2)],
        }
        for k in picked
    ]


def run_trained(seed: int) -> dict[str, Any]:
    """Weights and design together, within the budget."""
    data = load_dataset("digits")
    result = train(_config(seed), data, constraint=lambda network: BudgetConstraint(network, BUDGET))
    point = plan(result.network, BUDGET)
    return {
        "accuracy": share_right(result.network, data),
        "validation_accuracy": result.history[-1].validation_accuracy,
        "design": point.to_dict(),
        "text": point.describe(),
    }


def run_random(design: str, seed: int) -> dict[str, Any]:
    """Weights alone, for one design."""
    chosen = json.loads(design)
    config = _config(seed)
    correlations = tuple(chosen["correlations"])
    network = config.network.model_copy(
        update={
            "lengths": tuple((length,) for length in chosen["lengths"]),
            "encodings": (chosen["encoding"],),
            "min_correlation": correlations,
            "max_correlation": correlations,
        }
    )
    training = config.training.model_copy(
        update={"warmup_epochs": 0, "joint_epochs": 0, "finish_epochs": config.training.epochs}
    )
    data = load_dataset("digits")
    result = train(config.model_copy(update={"network": network, "training": training}), data)
    point = plan(result.network, BUDGET)
    return {
        "accuracy": share_right(result.network, data),
        "validation_accuracy": result.history[-1].validation_accuracy,
        "design": chosen,
        "violation": point.violation,
        "text": point.describe(),
    }


def run_case(kind: str, what: str, seed: int) -> dict[str, Any]:
    """One training."""
    return run_trained(seed) if kind == "trained" else run_random(what, seed)


def table(results: dict[str, Any]) -> str:
    """Trained beside the best random design."""
    rows = []
    for name, label in (("trained", "trained within the budget"), ("best_random", "best of the random designs")):
        runs = results[name]
        rows.append([label, spread([run["accuracy"] for run in runs]), runs[0]["text"]])
    accuracies = [run["accuracy"] for run in results["random"]]
    text = f"median {100 * float(np.median(accuracies)):.2f}, largest {100 * max(accuracies):.2f}"
    rows.append([f"all {len(accuracies)} random designs, one seed", text, ""])
    return markdown([BUDGET.describe(), "test accuracy, %", "design of the first seed"], rows)


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
    partial = arguments.output.with_suffix(".partial.json")
    designs = [json.dumps(design, sort_keys=True) for design in random_designs(DESIGNS)]
    jobs = [("trained", "", seed) for seed in SEEDS] + [
        ("random", design, SEEDS[0]) for design in dict.fromkeys(designs)
    ]
    found = run_jobs(run_case, jobs, arguments.processes, partial)
    trained, random = found[: len(SEEDS)], found[len(SEEDS) :]
    best = max(range(len(random)), key=lambda k: (random[k]["validation_accuracy"], -k))
    again = run_jobs(
        run_case, [("random", jobs[len(SEEDS) + best][1], seed) for seed in SEEDS[1:]], arguments.processes, partial
    )
    results = {
        "schema": "bitprop.benchmark.budget",
        "schema_version": "1.0",
        **evidence(EVIDENCE_SYNTHESIS),
        "machine": machine(),
        "budget": BUDGET.model_dump(),
        "trained": trained,
        "best_random": [random[best], *again],
        "random": random,
    }
    write_json(arguments.output, results)
    print(table(results))


if __name__ == "__main__":
    main()
