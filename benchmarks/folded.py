"""Folded Fashion-MNIST, 784-128-10 as trained: simulated, every integer compared, then placed and routed.

The network is the first of ``fashion_mnist.py`` at mean length 8 (7, 80), seed 0, kept in ``benchmarks/data`` so that
nobody has to train it again; ``--train`` does.  Two design points: a decision within 10,000 clock cycles (100
microseconds at 100 MHz), for a small part, and one within 2,000, for a larger one.  Of each, all 10,000 test images go
through the Verilog, and it is placed and routed with several seeds; 100 images go through the netlist of the small one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from typing import Any

import numpy as np
from _common import benchmark, markdown, run_jobs, store_document, stored_document

from bitprop.artifacts import EVIDENCE_SYNTHESIS, read_json
from bitprop.data import load_dataset
from bitprop.formats import IntArray, quantise
from bitprop.graph.choose import choose_folds
from bitprop.graph.interpret import run
from bitprop.graph.spec import Document
from bitprop.graph.timing import interval_cycles, latency_cycles
from bitprop.handoff.synthesis import emitted
from bitprop.hdl import emit
from bitprop.toolchain.cache import ResultCache
from bitprop.toolchain.flow import implement
from bitprop.verification.parity import check_parity

NAME = "fashion_mnist_784_128_10"
# clock cycles to a decision, and the part
POINTS: dict[str, tuple[int, str]] = {"small part": (10_000, "ecp5-25k"), "larger part": (2_000, "ecp5-85k")}
MEGAHERTZ = 100.0


def trained() -> Document:
    """Train the network again and store it."""
    from fashion_mnist import LENGTHS, base_config, fixed_config, share_right

    from bitprop.lower import lower
    from bitprop.training.loop import train

    data = load_dataset("fashion_mnist")
    network = train(fixed_config(base_config(0, 12), LENGTHS[8]), data).network
    facts: dict[str, str | int | float] = {
        "dataset": "fashion_mnist",
        "seed": 0,
        "accuracy": share_right(network, data),
    }
    document = lower(network, name="fashion", training=facts)
    store_document(NAME, document)
    return document


def stored() -> Document:
    """The trained network, without training."""
    return stored_document(NAME)


def test_images(document: Document) -> IntArray:
    """The test images as value integers."""
    return quantise(load_dataset("fashion_mnist").test_x.astype(np.float64), document.precision_bits)


def check(point: str, simulator: str, samples: int) -> dict[str, Any]:
    """Fold, emit, build, run, compare."""
    document = stored()
    inputs = test_images(document)[:samples]
    started = time.perf_counter()
    folded = choose_folds(document, POINTS[point][0])
    with tempfile.TemporaryDirectory(prefix="bitprop_") as folder:
        emit(folded, folder)
        result = check_parity(folded, folder, inputs, (simulator,), corner_samples=0)
    entry = result.simulators[0]
    return {
        "simulator": entry.version,
        "samples": entry.samples,
        "integers": entry.integers,
        "latency_cycles": entry.latency_cycles,
        "status": result.status,
        "mismatches": [mismatch.describe() for mismatch in result.mismatches],
        "seconds": time.perf_counter() - started,
    }


def place(point: str, seeds: list[int], timeout: float) -> dict[str, Any]:
    """Synthesise, place and route."""
    cycles, part = POINTS[point]
    folded = choose_folds(stored(), cycles)
    result = implement(
        emitted(folded),
        folded.name,
        part,
        seeds=seeds,
        frequency_mhz=MEGAHERTZ,
        timeout=timeout,
        cache=ResultCache.default(),
        say=lambda text: print(f"  {text}", file=sys.stderr, flush=True),
    )
    return {
        **result.to_dict(),
        "synthesis_seconds": result.synthesis.seconds,
        "placement_seconds": [placement.seconds for placement in result.placements],
    }


def answers(job: tuple[Any, ...], entry: dict[str, Any] | None) -> bool:
    """Whether a stored entry is what a job would measure: as many samples, the same seeds of placement."""
    if entry is None:
        return False
    if job[0] == "placed":
        return [placement["seed"] for placement in entry["placements"]] == job[2]
    return bool(entry["samples"] == job[3])


def facts(point: str) -> dict[str, Any]:
    """What the formulas say of a point."""
    cycles, part = POINTS[point]
    folded = choose_folds(stored(), cycles)
    return {
        "target_cycles": cycles,
        "device": part,
        "architecture": [layer.architecture.model_dump() for layer in folded.layers],
        "latency_cycles": latency_cycles(folded),
        "interval_cycles": interval_cycles(folded),
    }


def step(kind: str, point: str, *arguments: Any) -> dict[str, Any]:
    """One step of the benchmark, by name."""
    return place(point, *arguments) if kind == "placed" else check(point, *arguments)


def _equal(entry: dict[str, Any] | None) -> str:
    """What a comparison came to."""
    if entry is None:
        return "not simulated"
    integers = f"{entry['integers']:,} integers of {entry['samples']:,} images"
    return f"{integers}, {'all equal' if entry['status'] == 'pass' else 'DIFFERENT'}"


def path_text(placed: dict[str, Any]) -> str:
    """The critical path of the median placement: module and delay of each stretch."""
    middle = sorted(placed["placements"], key=lambda entry: (entry["fmax_mhz"], entry["seed"]))
    path = middle[(len(middle) - 1) // 2]["critical_path"]
    return " → ".join(f"`{part['module']}` {part['logic_ns'] + part['routing_ns']:.1f} ns" for part in path)


def _seconds(placed: dict[str, Any]) -> str:
    return f"{placed['synthesis_seconds']:.0f} s; {max(placed['placement_seconds']):.0f} s at most"


def table(results: dict[str, Any]) -> str:
    """The table of the results file."""
    points = results["points"]
    folds = ["inputs_per_cycle", "neurons_per_cycle", "cycles_per_step"]

    def row(label: str, cell: Any) -> list[str]:
        return [label, *(str(cell(point)) for point in points.values())]

    def share(point: dict[str, Any], name: str) -> str:
        placed = point["placed"]
        return f"{placed['cells'][name]:,} ({100 * placed['utilisation'].get(name, 0.0):.0f}%)"

    def microseconds(point: dict[str, Any]) -> str:
        return f"{point['latency_cycles'] / point['placed']['fmax_mhz']['min']:.1f} µs"

    rows = [
        row("target, clock cycles", lambda point: f"{point['target_cycles']:,}"),
        *(
            row(
                f"layer {index}: inputs x neurons x stream cycles a clock cycle",
                lambda point, index=index: " x ".join(str(point["architecture"][index][key]) for key in folds),
            )
            for index in range(2)
        ),
        row("latency, formula and simulation", lambda point: f"{point['latency_cycles']:,} cycles"),
        row("back to back, one decision every", lambda point: f"{point['interval_cycles']:,} cycles"),
        row("Verilog against the reference", lambda point: _equal(point["verilog"])),
        row("emit, build, run and compare", lambda point: f"{point['verilog']['seconds'] / 60:.1f} minutes"),
        row("netlist against the reference, at the ports", lambda point: _equal(point.get("netlist"))),
        row("LUT4 (share of the part)", lambda point: share(point, "lut")),
        row("flip-flops", lambda point: share(point, "ff")),
        row("block RAMs", lambda point: share(point, "bram")),
        row("multipliers", lambda point: share(point, "dsp")),
        row(
            "Fmax, MHz: "
            + "; ".join(f"seed {entry['seed']}" for entry in next(iter(points.values()))["placed"]["placements"]),
            lambda point: "; ".join(f"{entry['fmax_mhz']:.1f}" for entry in point["placed"]["placements"]),
        ),
        row("critical path", lambda point: path_text(point["placed"])),
        row("latency at the lowest Fmax", microseconds),
        row("synthesis; placement and routing of a seed", lambda point: _seconds(point["placed"])),
    ]
    head = f"784-128-10, L = 7 and 80, {100 * results['accuracy']:.2f}% of the test images right"
    columns = [f"{name}, {point['device']}" for name, point in points.items()]
    return markdown([head, *columns], rows)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Simulate, place and route both points; what the results file has already is kept."""
    document = trained() if arguments.train else stored()
    jobs: list[tuple[Any, ...]] = []
    for point in POINTS:
        jobs += [
            ("verilog", point, "verilator", arguments.samples),
            ("placed", point, arguments.seeds, arguments.timeout),
        ]
        if point in arguments.netlists:
            jobs.append(("netlist", point, "verilator_netlist", arguments.netlist_samples))
    partial = arguments.output.with_suffix(".partial.json")
    kept = {} if arguments.again or arguments.train or not arguments.output.is_file() else read_json(arguments.output)
    points: dict[str, dict[str, Any]] = {
        name: {**kept.get("points", {}).get(name, {}), **facts(name)} for name in POINTS
    }
    jobs = [job for job in jobs if not answers(job, points[job[1]].get(job[0]))]
    for job, entry in zip(jobs, run_jobs(step, jobs, arguments.jobs, partial), strict=True):
        points[job[1]][job[0]] = entry
    decisions = run(document, test_images(document)).decision
    return {
        "lengths": [layer.length for layer in document.layers],
        "accuracy": float(np.mean(decisions == load_dataset("fashion_mnist").test_y)),
        "points": points,
    }


def main() -> None:
    """Run the benchmark and write its results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", action="store_true", help="train the network again and store it")
    parser.add_argument("--samples", type=int, default=10_000, help="test images through the Verilog")
    parser.add_argument("--netlist-samples", type=int, default=100, help="test images through the netlist")
    parser.add_argument(
        "--netlists", nargs="*", choices=tuple(POINTS), default=list(POINTS), help="points whose netlist is simulated"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2], help="of the placements")
    parser.add_argument("--timeout", type=float, default=3600.0, help="seconds for one step of synthesis or placement")
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side")
    parser.add_argument("--again", action="store_true", help="measure what the results file has already, too")
    benchmark(parser, "folded", measure, table, boundary=EVIDENCE_SYNTHESIS)


if __name__ == "__main__":
    main()
