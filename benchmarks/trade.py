"""The trade: a higher price of length gives shorter streams and less accuracy, and chosen designs beat uniform ones.

Fashion-MNIST, 784-128-10, the ``fashion_mnist`` preset's budget on all 60,000 training images.  *Chosen* designs come
from one joint training per price of length; *uniform* designs have one length in both layers and are trained for it
with the same number of epochs.  Writes a results file, a table and a plot.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
import sys
from pathlib import Path
from typing import Any

from _common import RESULTS, machine, markdown, run_jobs, spread
from fashion_mnist import fixed_config, share_right

from bitprop.artifacts import evidence, write_json, write_text
from bitprop.data import load_dataset
from bitprop.presets import preset_path
from bitprop.training.config import RunConfig, load_config
from bitprop.training.loop import train

PRICES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.04, 0.015, 0.005)
UNIFORM = (1, 2, 3, 4, 5, 6, 8, 10, 16)


def _config(seed: int) -> RunConfig:
    config = load_config(preset_path("fashion_mnist"))
    data = config.data.model_copy(update={"validation_share": 0.0})
    return config.model_copy(update={"seed": seed, "data": data})


def run_chosen(price: float, seed: int) -> dict[str, Any]:
    """Joint training at one price of length."""
    config = _config(seed)
    training = config.training.model_copy(update={"length_cost": price})
    data = load_dataset("fashion_mnist")
    result = train(config.model_copy(update={"training": training}), data)
    return {
        "mean_length": result.network.mean_length(),
        "lengths": [choice.length for choice in result.choices],
        "accuracy": share_right(result.network, data),
        "joint_train_accuracy": result.joint_accuracy,
        "committed_train_accuracy": result.committed_accuracy,
    }


def run_uniform(length: int, seed: int) -> dict[str, Any]:
    """One length in both layers, bit-true from the first epoch."""
    data = load_dataset("fashion_mnist")
    network = train(fixed_config(_config(seed), (length, length)), data).network
    return {"mean_length": float(length), "accuracy": share_right(network, data)}


def run_case(kind: str, value: float, seed: int) -> dict[str, Any]:
    """One job."""
    return run_chosen(value, seed) if kind == "chosen" else run_uniform(int(value), seed)


def _mean(entries: list[dict[str, Any]], key: str) -> float:
    return statistics.fmean(entry[key] for entry in entries)


def uniform_at(points: list[tuple[float, float]], length: float) -> float:
    """Accuracy of the best uniform design that is no shorter than ``length`` rounded up to a trained one."""
    reachable = [accuracy for at, accuracy in points if at <= length]
    next_up = min((at for at, _ in points if at >= length), default=None)
    if next_up is not None:
        reachable += [accuracy for at, accuracy in points if at == next_up]
    return max(reachable)


def curves(results: dict[str, Any]) -> tuple[list[tuple[float, float, str]], list[tuple[float, float]]]:
    """Chosen designs as (mean length, accuracy, price), by length, and uniform ones as (length, accuracy)."""
    chosen = sorted(
        (_mean(entries, "mean_length"), _mean(entries, "accuracy"), price)
        for price, entries in results["chosen"].items()
    )
    uniform = sorted((float(length), _mean(entries, "accuracy")) for length, entries in results["uniform"].items())
    return chosen, uniform


def table(results: dict[str, Any]) -> str:
    """Chosen designs beside the best uniform design of at least their length, and the uniform designs."""
    chosen, uniform = curves(results)
    rows = []
    for length, accuracy, price in chosen:
        entries = results["chosen"][price]
        lengths = "; ".join(", ".join(map(str, entry["lengths"])) for entry in entries)
        best = uniform_at(uniform, length)
        rows.append(
            [
                f"chosen at price {price}",
                lengths,
                f"{length:.2f}",
                spread([entry["accuracy"] for entry in entries]),
                f"{100 * (accuracy - best):+.2f}",
            ]
        )
    for length, _ in uniform:
        entries = results["uniform"][f"{length:g}"]
        rows.append(
            [
                f"uniform {length:g}",
                f"{length:g}, {length:g}",
                f"{length:g}",
                spread([e["accuracy"] for e in entries]),
                "",
            ]
        )
    columns = ["design", "lengths (one per seed)", "mean length", "accuracy %", "points to best uniform"]
    verdict = "monotone" if all(a[1] <= b[1] for a, b in itertools.pairwise(chosen)) else "not monotone"
    return markdown(columns, rows) + f"\nAccuracy against mean length of the chosen designs: {verdict}.\n"


def plot(results: dict[str, Any]) -> str:
    """Both curves as a picture."""
    chosen, uniform = curves(results)
    width, height, left, top, right, bottom = 720, 400, 64, 24, 24, 52
    values = [accuracy for _, accuracy, _ in chosen] + [accuracy for _, accuracy in uniform]
    low, high = math.floor(200 * min(values)) / 2, math.ceil(200 * max(values)) / 2

    def x(length: float) -> float:
        return left + (width - left - right) * math.log2(length) / math.log2(18)

    def y(share: float) -> float:
        return top + (height - top - bottom) * (high - 100 * share) / (high - low)

    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
    head += 'font-size="13"><title>Accuracy against mean stream length</title>'
    parts = [f'{head}<rect width="{width}" height="{height}" fill="#ffffff"/>']
    tick = low
    while tick <= high + 1e-9:
        at = y(tick / 100)
        parts.append(f'<line x1="{left}" x2="{width - right}" y1="{at:.1f}" y2="{at:.1f}" stroke="#dddddd"/>')
        parts.append(f'<text x="{left - 8}" y="{at + 4:.1f}" text-anchor="end" fill="#444444">{tick:g} %</text>')
        tick += 0.5
    for length in (1, 2, 4, 8, 16):
        parts.append(
            f'<text x="{x(length):.1f}" y="{height - bottom + 22}" text-anchor="middle" fill="#444444">{length}</text>'
        )
    middle = (left + width - right) / 2
    parts.append(
        f'<text x="{middle}" y="{height - 10}" text-anchor="middle" fill="#444444">mean stream length, cycles per '
        "product</text>"
    )
    for name, colour, dash, series in (
        ("one length in both layers", "#d55e00", "5 4", [(a, b) for a, b in uniform]),
        ("lengths chosen in training", "#0072b2", "", [(a, b) for a, b, _ in chosen]),
    ):
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in series)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>'
        )
        parts += [f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="4" fill="{colour}"/>' for a, b in series]
        at = y((low + (0.28 if dash else 0.42) * (high - low)) / 100)
        parts.append(f'<text x="{width - right - 230}" y="{at:.1f}" fill="{colour}" font-weight="bold">{name}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    """Run the benchmark and write its results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="one network of each kind per seed")
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side, one thread each")
    parser.add_argument("--output", type=Path, default=RESULTS / "trade.json", help="results file")
    parser.add_argument("--table-only", action="store_true", help="table and plot of an existing results file")
    arguments = parser.parse_args()
    if arguments.table_only:
        results = json.loads(arguments.output.read_text(encoding="utf-8"))
    else:
        jobs = [("chosen", price, seed) for price in PRICES for seed in arguments.seeds]
        jobs += [("uniform", float(length), seed) for length in UNIFORM for seed in arguments.seeds]
        print(f"{len(jobs)} networks", file=sys.stderr)
        outcomes = run_jobs(run_case, jobs, arguments.jobs, arguments.output.with_suffix(".partial.json"))
        results = {
            "schema": "bitprop.benchmark.trade",
            "schema_version": "1.0",
            **evidence(),
            "machine": machine(),
            "chosen": {},
            "uniform": {},
        }
        for (kind, value, seed), outcome in zip(jobs, outcomes, strict=True):
            results[kind].setdefault(f"{value:g}", []).append({"seed": seed, **outcome})
        write_json(arguments.output, results)
    write_text(arguments.output.with_suffix(".svg"), plot(results))
    print(table(results))


if __name__ == "__main__":
    main()
