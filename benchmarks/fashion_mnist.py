"""Fashion-MNIST, 784-128-10: stochastic networks of mean length 16, 8, 4 and 2 against the same network in float.

Every network has the same budget: epochs, batches, optimiser, schedule, weight decay, averaged weights.  The rows:

``float``
    the same network (weights in [-1, 1], per-layer gain, clipped activation) in real arithmetic;
``float ReLU``
    an ordinary multilayer perceptron of the same size, nothing clamped;
``bit-true``
    trained on the integers of the hardware (``bitprop.training``), evaluated on them;
``pathwise only``
    the ``float`` row's weights, trained on expectations, evaluated bit-true;
``converted``
    the ``float ReLU`` row's weights, scaled into [-1, 1] after training, evaluated bit-true.

Mean length is weighted by products: ``(100352 L1 + 1280 L2) / 101632``.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from typing import Any, cast

import torch
from _common import benchmark, markdown, run_jobs, spread
from torch import Tensor, nn

from bitprop.data import Dataset, load_dataset
from bitprop.nn import SCNetwork
from bitprop.presets import preset_path
from bitprop.runs import float_config, with_lengths
from bitprop.training.config import RunConfig, load_config
from bitprop.training.loop import evaluate, train

LENGTHS: dict[int, tuple[int, int]] = {16: (15, 90), 8: (7, 80), 4: (3, 64), 2: (1, 80)}
# The longest streams multiply, their activations' levels dithered in the first epochs; shorter ones overlap (layout
# "aligned" in the first layer), which wastes no level.
DITHERED = {16}
DITHER_SHARE = 0.75
# target mean length: largest allowed loss against float, in points
BARS = {16: 0.0, 8: 0.25, 4: 1.0, 2: 2.5}


def fixed_config(config: RunConfig, lengths: tuple[int, ...], *, dithered: bool = False) -> RunConfig:
    """One design instead of a space of them, bit-true from the first epoch."""
    network = config.network.model_copy(
        update={
            "lengths": tuple((length,) for length in lengths),
            "encodings": ("sign_magnitude",),
            "min_correlation": 0.0,
            "max_correlation": 0.0,
            "layout": "independent" if dithered else config.network.layout,
        }
    )
    epochs = config.training.epochs
    training = config.training.model_copy(
        update={
            "warmup_epochs": 0,
            "joint_epochs": 0,
            "finish_epochs": epochs,
            "dither_epochs": round(DITHER_SHARE * epochs) if dithered else 0,
        }
    )
    return config.model_copy(update={"network": network, "training": training})


def base_config(seed: int, epochs: int) -> RunConfig:
    """The preset with this seed and budget, trained on all 60,000 images: nothing is chosen by validation."""
    config = load_config(preset_path("fashion_mnist"))
    training = config.training.model_copy(update={"warmup_epochs": epochs, "joint_epochs": 0, "finish_epochs": 0})
    data = config.data.model_copy(update={"validation_share": 0.0})
    return config.model_copy(update={"seed": seed, "training": training, "data": data})


def share_right(network: SCNetwork, data: Dataset) -> float:
    """Held-out accuracy of the integers."""
    decisions = network.predict(torch.from_numpy(data.test_x))
    return int((decisions == torch.from_numpy(data.test_y)).sum()) / len(data.test_y)


def run_bit_true(target: int, seed: int, epochs: int) -> dict[str, Any]:
    """Train and evaluate on the integers."""
    data = load_dataset("fashion_mnist")
    started, cpu = time.perf_counter(), time.process_time()
    config = fixed_config(base_config(seed, epochs), LENGTHS[target], dithered=target in DITHERED)
    network = train(config, data).network
    return {
        "accuracy": share_right(network, data),
        "mean_length": network.mean_length(),
        "layout": network.arguments()["layout"],
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu,
    }


def run_float(seed: int, epochs: int) -> dict[str, Any]:
    """The float row, and its weights at every length: training on expectations only."""
    data = load_dataset("fashion_mnist")
    started, cpu = time.perf_counter(), time.process_time()
    network = train(float_config(base_config(seed, epochs)), data).network
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    network.set_mode("relaxed")
    accuracy = evaluate(network, torch.from_numpy(data.test_x), torch.from_numpy(data.test_y))[1]
    return {
        "accuracy": accuracy,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "pathwise": {
            str(target): share_right(with_lengths(network, lengths), data) for target, lengths in LENGTHS.items()
        },
    }


class Perceptron(nn.Module):
    """Two linear layers with a ReLU between them, nothing clamped."""

    def __init__(self, features: int, hidden: int, classes: int, generator: torch.Generator) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(features, hidden), nn.Linear(hidden, classes)
        with torch.no_grad():
            for layer in (self.first, self.last):
                for parameter in layer.parameters():
                    parameter.copy_(
                        (torch.rand(parameter.shape, generator=generator) * 2 - 1) * layer.in_features**-0.5
                    )

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.last(torch.relu(self.first(x))))


def train_relu(config: RunConfig, data: Dataset) -> Perceptron:
    """An ordinary perceptron with the same optimiser, rates, decay, epochs and averaging, in plain torch."""
    settings = config.training
    generator = torch.Generator().manual_seed(config.seed)
    model = Perceptron(data.features, config.network.hidden[0], data.classes, generator)
    average = [parameter.detach().clone() for parameter in model.parameters()]
    weights = [parameter for name, parameter in model.named_parameters() if "weight" in name]
    biases = [parameter for name, parameter in model.named_parameters() if "bias" in name]
    groups: list[dict[str, Any]] = [{"params": weights}, {"params": biases, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    x, y = torch.from_numpy(data.train_x), torch.from_numpy(data.train_y)
    steps = settings.epochs * -(-len(y) // settings.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=steps, pct_start=0.1, cycle_momentum=False
    )
    step = 0
    for _ in range(settings.epochs):
        for batch in torch.split(torch.randperm(len(y), generator=generator), settings.batch_size):
            optimizer.zero_grad()
            torch.autograd.backward(nn.functional.cross_entropy(model(x[batch]), y[batch]))
            optimizer.step()
            schedule.step()
            weight = max(1 - settings.average_decay, 9 / (10 + step))
            for kept, parameter in zip(average, model.parameters(), strict=True):
                kept.lerp_(parameter.detach(), weight)
            step += 1
    with torch.no_grad():
        for kept, parameter in zip(average, model.parameters(), strict=True):
            parameter.copy_(kept)
    return model


@torch.no_grad()
def convert(model: Perceptron, x: Tensor, lengths: tuple[int, int]) -> SCNetwork:
    """Scale a trained perceptron into [-1, 1]: weights by their largest, activations by their 99.9th percentile."""
    first, last = model.first, model.last
    hidden = torch.relu(first(x[:5000]))
    top = torch.quantile(hidden.flatten()[: 1 << 19], 0.999)
    network = SCNetwork((784, 128, 10), lengths=tuple((length,) for length in lengths))
    for layer, source, gain, bias in (
        (network.sc_layers()[0], first, 1 / top, 1 / top),
        (network.sc_layers()[1], last, top, torch.tensor(1.0)),
    ):
        largest = source.weight.abs().max()
        layer.weight.copy_(source.weight / largest)
        layer.log_gain.copy_((largest * gain).log())
        layer.bias.copy_(source.bias * bias)
    return network


def run_relu(seed: int, epochs: int) -> dict[str, Any]:
    """The ordinary perceptron, and its conversion at every length."""
    data = load_dataset("fashion_mnist")
    started, cpu = time.perf_counter(), time.process_time()
    model = train_relu(base_config(seed, epochs), data)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    x, y = torch.from_numpy(data.train_x), torch.from_numpy(data.test_y)
    with torch.no_grad():
        right = int((model(torch.from_numpy(data.test_x)).argmax(1) == y).sum())
    return {
        "accuracy": right / len(y),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "converted": {
            str(target): share_right(convert(model, x, lengths), data) for target, lengths in LENGTHS.items()
        },
    }


def run_case(case: str, seed: int, epochs: int) -> dict[str, Any]:
    """One job."""
    if case == "float":
        return run_float(seed, epochs)
    return run_relu(seed, epochs) if case == "relu" else run_bit_true(int(case), seed, epochs)


def table(results: dict[str, Any]) -> str:
    """The table of the results file."""
    runs = results["runs"]
    baseline = statistics.fmean(run["accuracy"] for run in runs["float"])

    def row(name: str, length: str, values: list[float], seconds: str, bar: str) -> list[str]:
        return [name, length, spread(values), f"{100 * (statistics.fmean(values) - baseline):+.2f}", bar, seconds]

    def seconds(case: str) -> str:
        return f"{statistics.median(run['cpu_seconds'] for run in runs[case]):.0f}"

    rows = [
        row("float, same network", "", [run["accuracy"] for run in runs["float"]], seconds("float"), ""),
        row("float ReLU", "", [run["accuracy"] for run in runs["relu"]], seconds("relu"), ""),
    ]
    for target, (first, last) in LENGTHS.items():
        entries = runs[str(target)]
        values = [entry["accuracy"] for entry in entries]
        gap = 100 * (statistics.fmean(values) - baseline)
        bar = f"{0.0 - BARS[target]:+.2f}: {'reached' if gap >= -BARS[target] else 'not reached'}"
        mean = f"{entries[0]['mean_length']:.2f} ({first}, {last})"
        rows.append(row("**bit-true**", mean, values, seconds(str(target)), bar))
    for name, case in (("pathwise", "float"), ("converted", "relu")):
        for target, lengths in LENGTHS.items():
            average = (100352 * lengths[0] + 1280 * lengths[1]) / 101632
            shares = [run[name][str(target)] for run in runs[case]]
            label = "pathwise only" if name == "pathwise" else "converted"
            rows.append(row(label, f"{average:.2f} ({lengths[0]}, {lengths[1]})", shares, "", ""))
    columns = ["network", "mean length (L1, L2)", "accuracy %", "points to float", "bar", "CPU s"]
    return markdown(columns, rows)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train every network with every seed."""
    cases = [*(str(target) for target in LENGTHS), "float", "relu"]
    jobs = [(case, seed, arguments.epochs) for case in cases for seed in arguments.seeds]
    print(f"{len(jobs)} networks", file=sys.stderr)
    outcomes = run_jobs(run_case, jobs, arguments.jobs, arguments.output.with_suffix(".partial.json"))
    runs: dict[str, list[Any]] = {case: [] for case in cases}
    for (case, seed, _), outcome in zip(jobs, outcomes, strict=True):
        runs[case].append({"seed": seed, **outcome})
    return {
        "epochs": arguments.epochs,
        "lengths": {str(target): list(lengths) for target, lengths in LENGTHS.items()},
        "runs": runs,
    }


def main() -> None:
    """Run the benchmark and write its results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="one network of each kind per seed")
    parser.add_argument("--epochs", type=int, default=12, help="epochs of every network")
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side, one thread each")
    benchmark(parser, "fashion_mnist", measure, table)


if __name__ == "__main__":
    main()
