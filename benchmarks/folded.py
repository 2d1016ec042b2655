"""Folded Fashion-MNIST, 784-128-10 as trained: all 10,000 test images through the Verilog, every integer compared.

The network is the first of ``fashion_mnist.py`` at mean length 8 (7, 80), seed 0, kept in ``benchmarks/data`` so that
nobody has to train it again; ``--train`` does.  Two design points: a decision within 10,000 clock cycles (100
microseconds at 100 MHz), for a small part, and one within 2,000, for a larger one.
"""

from __future__ import annotations

import argparse
import json
import lzma
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _common import RESULTS, machine, markdown

from bitprop.artifacts import evidence, write_bytes, write_json
from bitprop.data import load_dataset
from bitprop.formats import IntArray, quantise
from bitprop.graph.choose import choose_folds
from bitprop.graph.spec import Document, parse_document
from bitprop.graph.timing import interval_cycles, latency_cycles
from bitprop.hdl import emit
from bitprop.verification.parity import check_parity

STORED = Path(__file__).with_name("data") / "fashion_mnist_784_128_10.json.xz"
TARGETS = {"small part": 10_000, "larger part": 2_000}
MEGAHERTZ = 100


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
    STORED.parent.mkdir(exist_ok=True)
    write_bytes(STORED, lzma.compress(document.to_json().encode("utf-8"), preset=9 | lzma.PRESET_EXTREME))
    return document


def stored() -> Document:
    """The trained network, without training."""
    return parse_document(json.loads(lzma.decompress(STORED.read_bytes())))


def test_images(document: Document) -> IntArray:
    """The test images as value integers."""
    return quantise(load_dataset("fashion_mnist").test_x.astype(np.float64), document.precision_bits)


def measure(document: Document, cycles: int, samples: int) -> dict[str, Any]:
    """Fold, emit, build, run, compare."""
    inputs = test_images(document)[:samples]
    started = time.perf_counter()
    folded = choose_folds(document, cycles)
    with tempfile.TemporaryDirectory(prefix="bitprop_") as folder:
        emit(folded, folder)
        emitted = time.perf_counter()
        result = check_parity(folded, folder, inputs, ("verilator",), corner_samples=0)
        compared = time.perf_counter()
    entry = result.simulators[0]
    return {
        "target_cycles": cycles,
        "architecture": [layer.to_dict()["architecture"] for layer in folded.layers],
        "latency_cycles": latency_cycles(folded),
        "interval_cycles": interval_cycles(folded),
        "measured_latency_cycles": entry.latency_cycles,
        "samples": entry.samples,
        "integers": entry.integers,
        "status": result.status,
        "simulator": entry.version,
        "mismatches": [mismatch.describe() for mismatch in result.mismatches],
        "emit_seconds": emitted - started,
        "parity_seconds": compared - emitted,
    }


def table(results: dict[str, Any]) -> str:
    """The table of the results file."""
    points = results["points"]
    folds = ["inputs_per_cycle", "neurons_per_cycle", "cycles_per_step"]

    def row(label: str, cell: Any) -> list[str]:
        return [label, *(str(cell(point)) for point in points.values())]

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
        row(f"latency at {MEGAHERTZ} MHz", lambda point: f"{point['latency_cycles'] / MEGAHERTZ:.1f} µs"),
        row("test images simulated", lambda point: f"{point['samples']:,}"),
        row(
            "integers compared; differences",
            lambda point: f"{point['integers']:,}; {'none' if point['status'] == 'pass' else 'FAILED'}",
        ),
        row("emit, build, run and compare", lambda point: f"{point['emit_seconds'] + point['parity_seconds']:.0f} s"),
    ]
    head = f"784-128-10, L = 7 and 80, {100 * results['accuracy']:.2f}% of the test images right"
    return markdown([head, *points], rows)


def main() -> None:
    """Run the benchmark and write its results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", action="store_true", help="train the network again and store it")
    parser.add_argument("--samples", type=int, default=10_000, help="test images")
    parser.add_argument("--output", type=Path, default=RESULTS / "folded.json", help="results file")
    parser.add_argument("--table-only", action="store_true", help="print the table of an existing results file")
    arguments = parser.parse_args()
    if arguments.table_only:
        print(table(json.loads(arguments.output.read_text(encoding="utf-8"))))
        return
    document = trained() if arguments.train else stored()
    results: dict[str, Any] = {
        "schema": "bitprop.benchmark.folded",
        "schema_version": "1.0",
        **evidence(),
        "machine": machine(),
        "lengths": [layer.length for layer in document.layers],
        # of the integers, on the test images, when it was trained; parity shows that the circuit gives the same ones
        "accuracy": document.training["accuracy"],
        "points": {},
    }
    for name, cycles in TARGETS.items():
        print(f"{name}: at most {cycles} cycles", file=sys.stderr, flush=True)
        results["points"][name] = measure(document, cycles, arguments.samples)
        write_json(arguments.output, results)
    print(table(results))


if __name__ == "__main__":
    main()
