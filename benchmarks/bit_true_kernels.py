"""Bit-true layers by table against the float32 product of the same shape, and against other ways to the same integers.

    python benchmarks/bit_true_kernels.py [--quick] [--only PART ...] [--output FILE]

Every way's integers are compared with the plain products of stream bits before anything is timed.  The ways take
turns; in its turn a way is called again and again for 10 ms, at least once, after a first call that is timed by itself:
that one finds the caches full of other contestants' work.  A time is that of a repeated call unless the table says
otherwise, a ratio the median of the ratios of neighbouring turns, so that a slower moment meets both.  Peak memory is
the high-water mark of a process of its own, less what it held before the step.  An exponent is fitted to sizes that
take turns, once for each turn; its spread over the turns says whether it means something.

sc-neurocore's layer in NumPy (`sc-neurocore`) and its Rust engine (`sc-neurocore-engine`) are contestants where they
are installed (`pip install --no-deps sc-neurocore sc-neurocore-engine`); bitprop needs neither.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _bit_true_peers import installed
from _bit_true_problem import BITS, LENGTHS, SHAPE, Problem
from _bit_true_scaling import scaling, step_scaling
from _common import RESULTS, machine, markdown, peak_memory
from _timing import Times, Way, milliseconds, ratio, times

from bitprop import kernels
from bitprop.artifacts import read_json, write_json
from bitprop.nn import SCNetwork
from bitprop.nn.sources import layer_sources
from bitprop.streams import generate_stream, stream_products

# Widths and batch of the training steps; the small one is the demo's.
LARGE, SMALL = ((784, 128, 10), 128), ((64, 32, 10), 32)
# A batch whose peak stands clear of what a process holds anyway.
MEMORY_BATCH = 8192
OURS = "table, in turn with these"


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
                        "milliseconds": {name: milliseconds(found[name].again) for name in ways},
                        "ratio": ratio(found, "dense", "gemm"),
                        "ratio_unpacked": ratio(found, "unpacked", "gemm"),
                        "first_call_milliseconds": 1e3 * problem.first_call,
                    }
                )
    return rows


def _rows(found: dict[str, Times]) -> list[dict[str, Any]]:
    return [
        {"way": name, "milliseconds": milliseconds(each.again), "first_milliseconds": milliseconds(each.first)}
        for name, each in found.items()
    ]


def other_ways(runs: int) -> list[dict[str, Any]]:
    """Milliseconds of every way to the integers, length 256, one thread."""
    torch.set_num_threads(1)
    problem = Problem(*SHAPE, 256)
    names = ("dense", "gather", "numpy", "reference")
    problem.check(names)
    found = times({name: getattr(problem, name) for name in names}, 3, 1)
    with kernels.use_level("portable"):
        problem.check(("dense",))
        found |= times({"portable": problem.dense}, 3)
    return _rows(found)


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
            rows += _rows({f"packed streams, {name}, {level}": each for name, each in times(ways, runs).items()})
    if peers := installed(x, problem.x.double().numpy(), outputs):
        found = times(peers | {OURS: problem.dense}, max(3, runs // 8))
        for row in _rows(found):
            rows.append(row)
            if row["way"] != OURS:
                row["over_table"] = ratio(found, row["way"], OURS)
                row["first_over_table"] = ratio(found, row["way"], OURS, first=True)
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
        found["stream bits"] = times({"once": by_bits}, 1, 0)["once"]
        rows.append(
            {
                "threads": threads,
                "slope": slope,
                "milliseconds": {name: milliseconds(each.again) for name, each in found.items()},
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
        before = peak_memory()
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(x), y).backward()
        optimiser.step()
        return (peak_memory() - before) / 2**20

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
    least = {name: min(each.again) for name, each in found.items()}
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
    found = []
    if levels[-1] != "avx2":
        found.append((f"{levels[-1]}, any L, over float32", worst(levels[-1], 1), 1.5))
    if "avx2" in levels:
        product = "float32, the best there is" if levels[-1] == "avx2" else "float32 (not forced to AVX2)"
        found.append((f"avx2, any L, over {product}", worst("avx2", 1), 4.0))
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
    rows = [[name, f"{got:.2f}", f"{bar:g}", "reached" if got <= bar else "not reached"] for name, got, bar in found]
    engine = [row for row in result["packed"] if "engine" in row["way"]]
    for name, key in (("repeated calls", "over_table"), ("single calls after other work", "first_over_table")):
        # at least so many times as fast
        times_as_fast = min((row[key] for row in engine), default=None)
        if times_as_fast is not None:
            verdict = "reached" if times_as_fast >= 50 else "not reached"
            rows.append([f"times as fast as the Rust engine, L = 256, {name}", f"{times_as_fast:.0f}", "50", verdict])
    return markdown(["one thread unless said", "figure", "bar", ""], rows)


def _threads(row: dict[str, Any]) -> str:
    return f"{row['threads']} thread{'s' if row['threads'] > 1 else ''}"


def _lengths(found: list[dict[str, Any]]) -> str:
    rows = [
        [
            f"{row['level']}, {_threads(row)}, L = {row['length']}",
            *(f"{row['milliseconds'][name]:.3f}" for name in ("gemm", "dense", "unpacked")),
            f"{row['ratio']:.2f}",
            f"{row['ratio_unpacked']:.2f}",
            f"{row['first_call_milliseconds']:.1f}",
        ]
        for row in found
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
    return markdown(columns, rows)


def _steps(result: dict[str, Any]) -> str:
    rows = [
        [
            f"{size}, {row['slope']} slope, {_threads(row)}",
            *(f"{row['milliseconds'][name]:.2f}" for name in ("float", "table", "stream bits")),
            f"{row['ratio']:.2f}",
        ]
        for size, key in (("784-128-10, batch 128", "training"), ("64-32-10, batch 32", "small_training"))
        for row in result[key]
    ]
    return markdown(["training step", "float ms", "table ms", "stream bits ms", "ratio"], rows)


def _rates(result: dict[str, Any]) -> str:
    rows = [[name, f"{value:.1f}"] for name, value in result["limits"].items()]
    return markdown(["this machine, one thread", "rate"], rows)


def summary(result: dict[str, Any]) -> str:
    """What of a second machine is shown beside the page's own one."""
    one_thread = [row for row in result["lengths"] if row["threads"] == 1]
    return "\n".join([bars(result), _lengths(one_thread), _steps(result), _rates(result)])


def table(result: dict[str, Any]) -> str:
    """The tables of the benchmark's page."""
    others = [
        [row["way"], f"{row['milliseconds']:.2f}", f"{row['first_milliseconds']:.2f}"]
        for row in result["other_ways"] + result["packed"]
    ]
    exponents = [[name, f"{row['exponent']:.2f}", f"{row['spread']:.2f}"] for name, row in result["exponents"].items()]
    sections = [
        bars(result),
        _lengths(result["lengths"]),
        _steps(result),
        markdown(
            [f"training step, batch {MEMORY_BATCH}", "MiB added at the peak"],
            [[name, f"{value:.1f}"] for name, value in result["memory"].items()],
        ),
        markdown(["way, L = 256, one thread", "ms", "first call of a turn, ms"], others),
        markdown(["time against", "fitted exponent", "spread"], exponents),
        _rates(result),
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
    """Measure, write the results, print the tables."""
    parser = argparse.ArgumentParser(description="Benchmark the bit-true kernels; see the top of this file.")
    parser.add_argument("--quick", action="store_true", help="few runs; writes nothing")
    parser.add_argument("--only", nargs="+", default=[], help="parts to measure; the others' stored figures stay")
    parser.add_argument("--output", type=Path, default=RESULTS / "bit_true_kernels.json", help="results file")
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
    result = read_json(arguments.output) if arguments.only and arguments.output.is_file() else {}
    result |= {"machine": machine(), "kernels": kernels.describe()}
    result |= {name: way() for name, way in ways.items() if not arguments.only or name in arguments.only}
    if not arguments.quick:
        write_json(arguments.output, result)
    if set(ways) <= set(result):
        print(table(result))


if __name__ == "__main__":
    main()
