"""Bit-true layers by table against the float32 product of the same shape, and against other ways to the same integers.

    python benchmarks/bit_true_kernels.py [--quick] [--only PART ...]

Every way's integers are compared with the plain products of stream bits before anything is timed.  Runs alternate
between the ways; a ratio is the median of the ratios of neighbouring runs, so that a slower moment meets both.  Peak
memory is the high-water mark of a process of its own, less what it held before the step.  An exponent is fitted to
sizes that take turns, once for each turn; its spread over the turns says whether it means something.

sc-neurocore's layer in NumPy (`sc-neurocore`) and its Rust engine (`sc-neurocore-engine`) are contestants where they
are installed (`pip install --no-deps sc-neurocore sc-neurocore-engine`); bitprop needs neither.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _bit_true_peers import Way, installed
from _common import RESULTS, machine, markdown

from bitprop import kernels
from bitprop.artifacts import read_json, write_json
from bitprop.nn import SCNetwork, bit_true
from bitprop.nn.sources import layer_sources
from bitprop.streams import generate_stream, product_count_table, stream_products

BITS = 8
SHAPE = (64, 128, 784)
LENGTHS = (8, 16, 32, 64, 128, 255, 256, 512, 1024)
# Widths and batch of the training steps; the small one is the demo's.
LARGE, SMALL = ((784, 128, 10), 128), ((64, 32, 10), 32)
# A batch whose peak stands clear of what a process holds anyway.
MEMORY_BATCH = 8192


def times(ways: dict[str, Way], runs: int) -> dict[str, list[float]]:
    """Seconds of each way, run in turn."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for run in range(runs + 2):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if run >= 2:
                found[name].append(time.perf_counter() - start)
    return found


def ratio(found: dict[str, list[float]], name: str, base: str) -> float:
    """Median ratio of neighbouring runs."""
    return statistics.median(a / b for a, b in zip(found[name], found[base], strict=True))


def exponent(ways: dict[int, Way], runs: int) -> dict[str, float]:
    """Slope of the line through the logarithms of size and time: the median over the turns, and half of what lies
    between their quartiles."""
    found = times({str(size): way for size, way in ways.items()}, runs)
    turns = np.log(np.array(list(found.values())))
    slopes = np.polyfit(np.log(list(ways)), turns, 1)[0]
    low, middle, high = np.percentile(slopes, (25, 50, 75))
    return {"exponent": float(middle), "spread": float(high - low) / 2}


class Problem:
    """Random signed thresholds of one shape, and the ways to their sums."""

    def __init__(self, samples: int, outputs: int, inputs: int, length: int) -> None:
        generator = torch.Generator().manual_seed(0)
        one = 1 << BITS
        self.x = torch.rand(samples, inputs, generator=generator)
        self.w = (torch.rand(outputs, inputs, generator=generator) * 2 - 1) * 0.6
        self.k_x, self.k_w = (self.x * one).round().int(), (self.w * one).round().int()
        sources = layer_sources("sobol", length, BITS, 0, "independent")
        self.r, self.q = sources.activation.sequence(length), sources.weight.sequence(length)
        module = kernels.extension()
        start = time.perf_counter()
        self.table = module.CountTable(self.r, self.q, BITS)
        self.packed = module.PackedWeights(self.table, self.k_w.numpy())
        self.out = torch.empty(samples, outputs, dtype=torch.int64)
        self.dense()
        self.first_call = time.perf_counter() - start

    def gemm(self) -> torch.Tensor:
        return self.x @ self.w.t()

    def dense(self) -> torch.Tensor:
        module = kernels.extension()
        module.dense(self.packed, self.k_x.numpy(), False, self.out.numpy(), torch.get_num_threads())
        return self.out

    def dense_unpacked(self) -> torch.Tensor:
        module = kernels.extension()
        packed = module.PackedWeights(self.table, self.k_w.numpy())
        module.dense(packed, self.k_x.numpy(), False, self.out.numpy(), torch.get_num_threads())
        return self.out

    def reference(self) -> torch.Tensor:
        zeros = torch.zeros_like(self.k_x, dtype=torch.int64)
        k_w = self.k_w.long()
        sides = (self.k_x.long(), zeros), (k_w.abs(), (k_w < 0).long())
        return bit_true.stream_sum(*sides, torch.from_numpy(self.r), torch.from_numpy(self.q), "sign_magnitude")

    def gather(self) -> torch.Tensor:
        """A table gather in torch, one sample at a time."""
        table = torch.from_numpy(product_count_table(self.r, self.q, BITS)).to(torch.int32).flatten()
        sign, columns = torch.sign(self.k_w), self.k_w.abs()
        rows = self.k_x * ((1 << BITS) + 1)
        return torch.stack([(table[row + columns] * sign).sum(1) for row in rows])

    def numpy(self) -> torch.Tensor:
        """The same in NumPy."""
        table = product_count_table(self.r, self.q, BITS).astype(np.int32)
        w = self.k_w.numpy()
        return torch.from_numpy(np.stack([(table[k, abs(w)] * np.sign(w)).sum(1) for k in self.k_x.numpy()]))

    def check(self, names: Sequence[str]) -> None:
        expected = self.reference()
        for name in names:
            if not torch.equal(getattr(self, name)().to(torch.int64), expected):
                raise SystemExit(f"expected equal integers from {name}, got others; no time is worth reading")


def lengths_table(threads: int, runs: int) -> list[dict[str, Any]]:
    """The layer against the float product for every level and length."""
    torch.set_num_threads(threads)
    rows = []
    for level in [name for name in kernels.levels() if name not in ("reference", "portable")]:
        with kernels.use_level(level):
            for length in LENGTHS:
                problem = Problem(*SHAPE, length)
                problem.check(("dense", "dense_unpacked"))
                ways = {"gemm": problem.gemm, "dense": problem.dense, "unpacked": problem.dense_unpacked}
                found = times(ways, runs)
                rows.append(
                    {
                        "threads": threads,
                        "level": level,
                        "length": length,
                        "milliseconds": {name: 1e3 * statistics.median(found[name]) for name in ways},
                        "ratio": ratio(found, "dense", "gemm"),
                        "ratio_unpacked": ratio(found, "unpacked", "gemm"),
                        "first_call_milliseconds": 1e3 * problem.first_call,
                    }
                )
    return rows


def other_ways(runs: int) -> dict[str, float]:
    """Milliseconds of every way to the integers, length 256, one thread."""
    torch.set_num_threads(1)
    problem = Problem(*SHAPE, 256)
    names = ("dense", "gather", "numpy", "reference")
    problem.check(names)
    found = times({name: getattr(problem, name) for name in names}, 3)
    with kernels.use_level("portable"):
        problem.check(("dense",))
        found.update(times({"portable": problem.dense}, 3))
    return {name: 1e3 * statistics.median(seconds) for name, seconds in found.items()}


def scaling(runs: int) -> dict[str, dict[str, float]]:
    """Fitted exponents of the time against length, batch and width, one thread."""
    torch.set_num_threads(1)
    sizes, lengths = (64, 128, 256, 512), (64, 128, 256, 512, 1024)
    samples, outputs, inputs = SHAPE
    return {
        "length, 64 to 1024": exponent({n: Problem(*SHAPE, n).dense for n in lengths}, runs),
        "batch": exponent({n: Problem(n, outputs, inputs, 256).dense for n in sizes}, runs),
        "width": exponent({n: Problem(samples, n, inputs, 256).dense for n in sizes}, runs),
        "inputs": exponent({n: Problem(samples, outputs, n, 256).dense for n in sizes}, runs),
    }


def packed(runs: int) -> list[dict[str, Any]]:
    """The same sums from packed streams, and the Rust engine's, length 256, one thread."""
    torch.set_num_threads(1)
    samples, outputs, inputs = SHAPE
    length = 256
    problem = Problem(samples, outputs, inputs, length)
    sources = layer_sources("sobol", length, BITS, 0, "independent")
    k_x, k_w = problem.k_x.numpy(), problem.k_w.numpy()
    x, w = generate_stream(sources.activation, k_x, length), generate_stream(sources.weight, abs(k_w), length)
    signs = (k_x < 0).astype(np.uint8), (k_w < 0).astype(np.uint8)
    if not np.array_equal(stream_products(x, w, "sign_magnitude", *signs), problem.reference().numpy()):
        raise SystemExit("expected equal integers from packed streams, got others; no time is worth reading")
    rows = []
    for level in kernels.levels()[1:]:
        with kernels.use_level(level):
            ways: dict[str, Way] = {
                "AND": lambda: stream_products(x, w, "unipolar"),
                "XNOR": lambda: stream_products(x, w, "bipolar"),
                "signed": lambda: stream_products(x, w, "sign_magnitude", *signs),
            }
            found = times(ways, runs)
            rows += [
                {"way": f"packed streams, {name}, {level}", "milliseconds": 1e3 * statistics.median(found[name])}
                for name in ways
            ]
    if peers := installed(x, problem.x.double().numpy(), outputs):
        found = times(peers | {"table": problem.dense}, max(3, runs // 8))
        rows += [
            {
                "way": name,
                "milliseconds": 1e3 * statistics.median(found[name]),
                "over_table": ratio(found, name, "table"),
            }
            for name in peers
        ]
    return rows


def training_step(threads: int, runs: int, features: tuple[int, int, int], batch: int) -> list[dict[str, Any]]:
    """A step with four lengths mixed, by table and by stream bits, against the float network's."""
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    inputs, hidden, classes = features
    x = torch.rand(batch, inputs, generator=generator)
    y = torch.randint(0, classes, (batch,), generator=generator)
    plain = torch.nn.Sequential(torch.nn.Linear(inputs, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, classes))
    rows = []
    for slope in ("relaxed", "local"):
        network = SCNetwork(features, lengths=(8, 16, 32, 64), slope=slope)

        def step(model: torch.nn.Module, optimiser: torch.optim.Optimizer) -> None:
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(model(x), y).backward()
            optimiser.step()

        optimisers = {model: torch.optim.Adam(model.parameters(), 1e-4) for model in (plain, network)}

        def by_bits(model: SCNetwork = network, optimisers: Any = optimisers) -> None:
            with kernels.use_level("reference"):
                step(model, optimisers[model])

        ways = {
            "float": lambda optimisers=optimisers: step(plain, optimisers[plain]),
            "table": lambda model=network, optimisers=optimisers: step(model, optimisers[model]),
        }
        check_gradients(network, x, y)
        found = times(ways, runs)
        found["stream bits"] = times({"once": by_bits}, 1)["once"]
        rows.append(
            {
                "threads": threads,
                "slope": slope,
                "milliseconds": {name: 1e3 * statistics.median(seconds) for name, seconds in found.items()},
                "ratio": ratio(found, "table", "float"),
            }
        )
    return rows


def check_gradients(network: SCNetwork, x: torch.Tensor, y: torch.Tensor) -> None:
    """Kernels and stream bits must give equal outputs, and gradients within 1e-6 of the largest."""
    found = []
    for level in ("reference", kernels.level()):
        with kernels.use_level(level):
            network.zero_grad()
            output = network(x)
            torch.nn.functional.cross_entropy(output, y).backward()
        found.append((output.detach(), network.sc_layers()[0].weight.grad.clone()))
    (output, grad), (got_output, got_grad) = found
    if not torch.equal(output, got_output) or float((grad - got_grad).abs().max()) > 1e-6 * float(grad.abs().max()):
        raise SystemExit("expected equal outputs and gradients within 1e-6 by kernels and by stream bits, got others")


def peak(kind: str) -> dict[str, float]:
    """MiB that one training step adds to the high-water mark of this process; ``float`` or a slope."""
    torch.set_num_threads(1)
    features, _ = LARGE
    network: torch.nn.Module
    if kind == "float":
        inputs, hidden, classes = features
        layers = torch.nn.Linear(inputs, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, classes)
        network = torch.nn.Sequential(*layers)
    else:
        network = SCNetwork(features, lengths=(8, 16, 32, 64), slope=kind)
    optimiser = torch.optim.Adam(network.parameters(), 1e-4)

    def step(batch: int) -> float:
        x, y = torch.rand(batch, features[0]), torch.zeros(batch, dtype=torch.int64)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(x), y).backward()
        optimiser.step()
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024

    step(LARGE[1])  # what is there whatever the batch
    return {"added": step(MEMORY_BATCH)}


def memory() -> dict[str, float]:
    """:func:`peak` of every contestant, each in a process of its own."""
    found = {}
    for kind in ("float", "relaxed", "local"):
        command = [sys.executable, str(Path(__file__).resolve()), "--peak", kind]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
        found[kind] = float(json.loads(done.stdout)["added"])
    return found


def step_scaling(runs: int) -> dict[str, dict[str, float]]:
    """Fitted exponents of a training step's time (784-W-10) against batch, width, length and threads.

    Against length with the relaxed slope for all: the local one is another algorithm, for short streams only.
    """
    generator = torch.Generator().manual_seed(0)

    def step_of(batch: int, width: int, lengths: tuple[int, ...], slope: str) -> Way:
        x = torch.rand(batch, 784, generator=generator)
        y = torch.randint(0, 10, (batch,), generator=generator)
        network = SCNetwork((784, width, 10), lengths=lengths, slope=slope)

        def step() -> None:
            network.zero_grad()
            torch.nn.functional.cross_entropy(network(x), y).backward()

        return step

    def on_threads(count: int, step: Way) -> Way:
        def several() -> None:
            # a team of other size is made anew, so that one step alone would time that
            torch.set_num_threads(count)
            for _ in range(8):
                step()

        return several

    torch.set_num_threads(1)
    lengths, sizes, single = LENGTHS[:4], (64, 128, 256, 512), (8, 16, 32, 64, 128, 256)
    found = {
        "step: batch": exponent({n: step_of(n, 128, lengths, "local") for n in sizes}, runs),
        "step: width": exponent({n: step_of(128, n, lengths, "local") for n in sizes}, runs),
        "step: length, one for each layer, 8 to 256": exponent(
            {n: step_of(128, 128, (n,), "relaxed") for n in single}, 2 * runs
        ),
    }
    step = step_of(128, 128, lengths, "local")
    if os.cpu_count() != 1:
        found["step: threads, 1 and 2"] = exponent({n: on_threads(n, step) for n in (1, 2)}, runs)
    torch.set_num_threads(1)
    return found


def limits() -> dict[str, float]:
    """Rates of this machine, one thread: multiply-adds of a float32 product, counts, byte shuffles, copy in memory."""
    torch.set_num_threads(1)
    a = torch.rand(768, 768)
    words = np.arange(1 << 15, dtype=np.uint64).reshape(64, 512)
    counts = np.empty(64, np.int64)
    source, target = np.ones(1 << 26, np.uint8), np.empty(1 << 26, np.uint8)
    native, shuffles = kernels.extension(), 1 << 20
    found = times(
        {
            "product": lambda: a @ a,
            "count": lambda: native.count_ones(words, counts, 1),
            "shuffle": lambda: native.shuffle_bytes(shuffles),
            "copy": lambda: np.copyto(target, source),
        },
        10,
    )
    least = {name: min(seconds) for name, seconds in found.items()}
    return {
        "float32 product, 1e9 multiply-adds a second": 768**3 / least["product"] / 1e9,
        "population count, 1e9 bits a second": 64 * words.size / least["count"] / 1e9,
        "byte shuffle in registers, 1e9 bytes a second": native.shuffle_bytes(shuffles) / least["shuffle"] / 1e9,
        "copy in memory, GB read and written a second": 2 * source.size / least["copy"] / 1e9,
    }


def bars(result: dict[str, Any]) -> str:
    """Each bar with the figure of the stored run."""

    def worst(level: str, threads: int) -> float:
        return max(row["ratio"] for row in result["lengths"] if (row["level"], row["threads"]) == (level, threads))

    def flat(level: str) -> float:
        rows = [row for row in result["lengths"] if row["level"] == level and row["threads"] == 1]
        short = [row["milliseconds"]["dense"] for row in rows if row["length"] <= 255]
        return max(short) / min(short)

    levels = list(dict.fromkeys(row["level"] for row in result["lengths"]))
    found = [(f"{levels[-1]}, any L, over float32", worst(levels[-1], 1), 1.5)]
    if "avx2" in levels:
        found.append(("avx2, any L, over float32 (not forced to AVX2)", worst("avx2", 1), 4.0))
    found.append((f"{levels[-1]}, slowest over fastest L up to 255", flat(levels[-1]), 1.5))
    found += [
        (f"training step over float, {row['slope']} slope, {_threads(row)}", row["ratio"], 2.0)
        for row in result["training"]
    ]
    added = result["memory"]
    found += [
        (f"peak memory of the step over float, {slope} slope, batch {MEMORY_BATCH}", added[slope] / added["float"], 2.0)
        for slope in ("relaxed", "local")
    ]
    # at least so many times as fast
    peers = [row["over_table"] for row in result["packed"] if "engine" in row["way"]]
    rows = [[name, f"{got:.2f}", f"{bar:g}", "reached" if got <= bar else "not reached"] for name, got, bar in found]
    if peers:
        times_as_fast = min(peers)
        verdict = "reached" if times_as_fast >= 50 else "not reached"
        rows.append(["times as fast as the Rust engine, L = 256", f"{times_as_fast:.0f}", "50", verdict])
    return markdown(["one thread unless said", "figure", "bar", ""], rows)


def _threads(row: dict[str, Any]) -> str:
    return f"{row['threads']} thread{'s' if row['threads'] > 1 else ''}"


def table(result: dict[str, Any]) -> str:
    """The tables of the benchmark's page."""
    rows = [
        [
            f"{row['level']}, {_threads(row)}, L = {row['length']}",
            *(f"{row['milliseconds'][name]:.3f}" for name in ("gemm", "dense", "unpacked")),
            f"{row['ratio']:.2f}",
            f"{row['ratio_unpacked']:.2f}",
            f"{row['first_call_milliseconds']:.1f}",
        ]
        for row in result["lengths"]
    ]
    columns = [
        "784-128, batch 64",
        "float32 ms",
        "table ms",
        "weights not packed ms",
        "ratio",
        "not packed",
        "first ms",
    ]
    steps = [
        [
            f"{size}, {row['slope']} slope, {_threads(row)}",
            *(f"{row['milliseconds'][name]:.2f}" for name in ("float", "table", "stream bits")),
            f"{row['ratio']:.2f}",
        ]
        for size, key in (("784-128-10, batch 128", "training"), ("64-32-10, batch 32", "small_training"))
        for row in result[key]
    ]
    others = [[name, f"{value:.2f}"] for name, value in result["other_ways"].items()]
    others += [[row["way"], f"{row['milliseconds']:.2f}"] for row in result["packed"]]
    exponents = [[name, f"{row['exponent']:.2f}", f"{row['spread']:.2f}"] for name, row in result["exponents"].items()]
    rates = [[name, f"{value:.1f}"] for name, value in result["limits"].items()]
    sections = [
        bars(result),
        markdown(columns, rows),
        markdown(["training step", "float ms", "table ms", "stream bits ms", "ratio"], steps),
        markdown(
            [f"training step, batch {MEMORY_BATCH}", "MiB added at the peak"],
            [[name, f"{value:.1f}"] for name, value in result["memory"].items()],
        ),
        markdown(["way, L = 256, one thread", "ms"], others),
        markdown(["time against", "fitted exponent", "spread"], exponents),
        markdown(["this machine, one thread", "rate"], rates),
    ]
    return "\n".join(sections)


def parts(runs: int, threads: Sequence[int]) -> dict[str, Callable[[], Any]]:
    """What is measured, by name in the result."""
    steps = max(5, runs // 2)
    found: dict[str, Callable[[], Any]] = {
        "lengths": lambda: [row for count in threads for row in lengths_table(count, runs)],
        "training": lambda: [row for count in threads for row in training_step(count, steps, *LARGE)],
        "small_training": lambda: training_step(1, steps, *SMALL),
        "packed": lambda: packed(runs),
        "memory": memory,
        "other_ways": lambda: other_ways(runs),
        "exponents": lambda: scaling(runs) | step_scaling(max(5, runs // 3)),
        "limits": limits,
    }
    return found


def main() -> None:
    """Measure, write ``results/bit_true_kernels.json``, print the tables."""
    parser = argparse.ArgumentParser(description="Benchmark the bit-true kernels; see the top of this file.")
    parser.add_argument("--quick", action="store_true", help="few runs; writes nothing")
    parser.add_argument("--only", nargs="+", default=[], help="parts to measure; the others' stored figures stay")
    parser.add_argument("--peak", choices=("float", "relaxed", "local"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        print(json.dumps(peak(arguments.peak)))
        return
    runs = 10 if arguments.quick else 40
    ways = parts(runs, [1] if torch.get_num_threads() == 1 else [1, 2])
    unknown = sorted(set(arguments.only) - set(ways))
    if unknown:
        parser.error(f"expected parts among {', '.join(ways)}, got {', '.join(unknown)}")
    stored = RESULTS / "bit_true_kernels.json"
    result = read_json(stored) if arguments.only else {}
    result |= {"machine": machine(), "kernels": kernels.describe()}
    result |= {name: way() for name, way in ways.items() if not arguments.only or name in arguments.only}
    if not arguments.quick:
        write_json(stored, result)
    if set(ways) <= set(result):
        print(table(result))


if __name__ == "__main__":
    main()
