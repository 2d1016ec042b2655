"""Reference spiking networks: Fashion-MNIST 784-256-10 and Yin-Yang 4-120-3, beside conventional ones of the same size.

Constant input currents, T = 25 and T = 30 time steps, three seeds, the same order of samples and number of steps for
both families.  Test data are used once, after training; settings were chosen on other samples.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from _common import benchmark, markdown, run_jobs
from torch import Tensor, nn
from torch.nn import functional

from bitprop.data import load_dataset
from bitprop.nn import SpikingNetwork
from bitprop.synthetic import yin_yang
from bitprop.training.spiking import SpikingTrainConfig, accuracy, train_spiking
from bitprop.verification.comparison import ENERGY_SOURCE, count_operations

SEEDS = (0, 1, 2)
FASHION = SpikingTrainConfig(epochs=8, batch=128, learning_rate=2e-3)
YIN_YANG = SpikingTrainConfig(epochs=60, batch=200, learning_rate=1e-2)
TASKS = ("fashion_mnist", "yin_yang", "yin_yang_5000")
BARS = {"fashion_mnist": 0.88, "yin_yang": 0.99, "yin_yang_5000": None}
_TEST_SEED = 1_000_000  # of the Yin-Yang test points; no training or choice of settings drew from it


def _data(task: str, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if task == "fashion_mnist":
        data = load_dataset("fashion_mnist")
        arrays = (data.train_x, data.train_y, data.test_x, data.test_y)
    else:
        count = 5000 if task == "yin_yang_5000" else 20_000
        arrays = (*yin_yang(count, seed), *yin_yang(1000, _TEST_SEED + seed))
    return tuple(torch.from_numpy(array) for array in arrays)  # type: ignore[return-value]


def _network(task: str, family: str, seed: int) -> nn.Module:
    widths = (784, 256, 10) if task == "fashion_mnist" else (4, 120, 3)
    if family == "conventional":
        generator_state = torch.get_rng_state()
        torch.manual_seed(seed)
        made = nn.Sequential(nn.Linear(*widths[:2]), nn.ReLU(), nn.Linear(*widths[1:]))
        torch.set_rng_state(generator_state)
        return made
    steps = 25 if task == "fashion_mnist" else 30
    network = SpikingNetwork(widths, steps=steps, surrogate="atan", scale=2.0, beta=0.95, seed=seed)
    if task != "fashion_mnist":
        with torch.no_grad():
            network.layers[0].weight.mul_(3.0)  # four inputs in 0 .. 1 are weak currents
    return network


def run(task: str, family: str, seed: int) -> dict[str, Any]:
    """Train one network and evaluate it once."""
    x, y, test_x, test_y = _data(task, seed)
    model = _network(task, family, seed)
    base = FASHION if task == "fashion_mnist" else YIN_YANG
    config = SpikingTrainConfig(**{**base.to_dict(), "seed": seed})
    history = train_spiking(
        model, x, y, lambda out, t: functional.cross_entropy(getattr(out, "logits", out), t), config
    )
    operations = count_operations(model, test_x[:256])
    return {
        "task": task,
        "family": family,
        "seed": seed,
        "parameters": sum(p.numel() for p in model.parameters()),
        "train_accuracy": history[-1].accuracy,
        "test_accuracy": accuracy(model, test_x, test_y),
        "additions": operations.additions,
        "multiplications": operations.multiplications,
        "energy_proxy_pj": operations.energy_proxy_pj,
    }


def table(results: dict[str, Any]) -> str:
    """Accuracy, paired difference and operations by task and family."""
    import statistics

    from scipy import stats

    rows = []
    for task in TASKS:
        runs = {
            family: sorted(
                (r for r in results["runs"] if (r["task"], r["family"]) == (task, family)), key=lambda r: r["seed"]
            )
            for family in ("spiking", "conventional")
        }
        pairs = [
            a["test_accuracy"] - b["test_accuracy"] for a, b in zip(runs["spiking"], runs["conventional"], strict=True)
        ]
        half = float(stats.t.ppf(0.975, len(pairs) - 1)) * statistics.stdev(pairs) / len(pairs) ** 0.5
        mean = statistics.fmean(pairs)
        bar = BARS[task]
        for family, found in runs.items():
            values = [r["test_accuracy"] for r in found]
            reached = (
                ""
                if bar is None or family != "spiking"
                else f"{bar:.0%}: " + ("reached" if min(values) >= bar else "not reached")
            )
            difference = f"{100 * mean:+.2f} ({100 * (mean - half):+.2f} to {100 * (mean + half):+.2f})"
            rows.append(
                [
                    f"{task.replace('_', ' ')}, {family}",
                    ", ".join(f"{100 * v:.2f}" for v in values),
                    reached,
                    difference if family == "spiking" else "",
                    f"{statistics.fmean(r['additions'] for r in found):,.0f}",
                    f"{statistics.fmean(r['multiplications'] for r in found):,.0f}",
                    f"{statistics.fmean(r['energy_proxy_pj'] for r in found) / 1000:,.1f}",
                ]
            )
    columns = [
        "network", "accuracy %, by seed", "bar", "points to conventional (95 %)", "additions", "multiplications",
        "energy proxy, nJ",
    ]  # fmt: skip
    return markdown(columns, rows) + f"\nEnergy: {results['energy']}.\n"


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run every task, family and seed."""
    jobs = [(task, family, seed) for task in TASKS for family in ("spiking", "conventional") for seed in SEEDS]
    return {
        "energy": ENERGY_SOURCE,
        "configuration": {"fashion_mnist": FASHION.to_dict(), "yin_yang": YIN_YANG.to_dict()},
        "runs": run_jobs(run, jobs, arguments.processes, arguments.output.with_suffix(".partial.json")),
    }


def main() -> None:
    """Run the benchmark and write its results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, one thread each")
    benchmark(parser, "spiking", measure, table)


if __name__ == "__main__":
    main()
