"""Digits, 64-32-10: the demo's own job, timed, with the table of what it gave.

The job is ``bitprop demo`` without set-up: joint training, comparison networks, export, simulation of all 360 held-out
samples in Verilator and 60 in Icarus Verilog, and the page.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _common import benchmark, markdown

from bitprop.demo import run_demo


def table(results: dict[str, Any]) -> str:
    """What the demo gave."""
    demo = results["demo"]
    accuracy = demo["accuracy"]
    rows = [
        ["float accuracy, same network and epochs", f"{accuracy['float']:.2%}"],
        ["bit-true accuracy, 360 held-out samples", f"{accuracy['bit_true']:.2%}"],
    ]
    for layer in demo["layers"]:
        design = f"L = {layer['length']}, {layer['encoding']}, correlation {layer['correlation']:+.3f}"
        rows.append([f"layer {layer['in_features']} x {layer['out_features']}", f"{design}, {layer['generator']}"])
    rows.append(["mean stream length, weighted by products", f"{demo['mean_length']:.2f} cycles"])
    rows.append(["cycles per inference", str(demo["cycles_per_inference"])])
    for entry in demo["parity"]["simulators"]:
        name = entry["simulator"]
        different = sum(mismatch["simulator"] == name for mismatch in demo["parity"]["mismatches"])
        compared = f"{entry['integers'] + entry['corner_integers']:,}"
        samples = f"{entry['samples']} + {entry['corner_samples']} directed"
        rows.append([f"{name}: samples; integers compared; differences", f"{samples}; {compared}; {different}"])
    rows.append(["the demo's job, without set-up", f"{results['seconds']:.0f} s"])
    return markdown(["", "digits, 64-32-10"], rows)


def measure(_: argparse.Namespace) -> dict[str, Any]:
    """Run the demo once: what it took and gave."""
    with tempfile.TemporaryDirectory() as scratch:
        started = time.perf_counter()
        demo = run_demo(Path(scratch) / "demo", say=lambda text: print(text, file=sys.stderr, flush=True))
        seconds = time.perf_counter() - started
    return {"seconds": seconds, "demo": {key: value for key, value in demo.items() if key != "page"}}


if __name__ == "__main__":
    benchmark(argparse.ArgumentParser(description=__doc__.splitlines()[0]), "digits", measure, table)
