"""One small network on every part and every board: mapped, placed, routed, and a bitstream for each board.

Digits, 64-32-10 with streams of 8 cycles and the folds of ``baseline.py``; kept in ``benchmarks/data`` so that nobody
has to train it again; ``--train`` does.  What is measured is what ``bitprop synth`` with ``--device`` or ``--board``
computes, with three seeds of placement on a part and one on a board.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np
from _common import benchmark, markdown, run_jobs, store_document, stored_document, unpacked
from baseline import fold_sc, stochastic
from folded import path_text

from bitprop.artifacts import EVIDENCE_SYNTHESIS
from bitprop.data import load_dataset
from bitprop.formats import quantise
from bitprop.graph.interpret import run
from bitprop.handoff.board import build_for_board
from bitprop.handoff.synthesis import implement_path
from bitprop.toolchain.board import BOARDS
from bitprop.toolchain.cache import ResultCache
from bitprop.toolchain.device import DEVICES

NAME, NETWORK, LENGTHS = "digits_64_32_10", "64-32-10", (8, 8)
MEGAHERTZ = 100.0
# what nextpnr calls a place for a table
_LOGIC = {"ecp5": "TRELLIS_COMB", "ice40": "ICESTORM_LC"}


def measure(kind: str, name: str, seeds: list[int], timeout: float) -> dict[str, Any]:
    """The network on a part or a board."""
    common: dict[str, Any] = {
        "seeds": seeds,
        "timeout": timeout,
        "cache": ResultCache.default(),
        "say": lambda text: print(f"  {text}", file=sys.stderr, flush=True),
    }
    with unpacked(NAME) as path:
        if kind == "part":
            implementation = implement_path(path, name, frequency_mhz=MEGAHERTZ, **common)
            return {**implementation.to_dict(), "seconds": implementation.seconds}
        built = build_for_board(path, name, **common)
        return {**built.to_dict(), "seconds": built.implementation.seconds}


def _clock(placed: dict[str, Any]) -> str:
    return "; ".join(f"{placed['fmax_mhz'][key]:.1f}" for key in ("min", "median", "max"))


def _share(placed: dict[str, Any], name: str) -> str:
    used = f"{placed['cells'][name]:,}"
    return f"{used} ({100 * placed['utilisation'][name]:.1f}%)" if name in placed["utilisation"] else used


def table(results: dict[str, Any]) -> str:
    """Both tables of the results file."""
    names = ("lut", "ff", "carry", "bram", "dsp")
    parts = [
        [f"`{name}`", *(_share(placed, cell) for cell in names), _clock(placed), path_text(placed)]
        for name, placed in results["parts"].items()
    ]
    seeds = len(next(iter(results["parts"].values()))["placements"])
    clock = f"Fmax of {seeds} seeds, MHz: lowest; median; highest"
    head = f"64-32-10, L = {' and '.join(map(str, LENGTHS))}"
    first = markdown([head, "LUT", "FF", "carry", "block RAM", "multipliers", clock, "critical path"], parts)
    boards = []
    for name, placed in results["boards"].items():
        used, there = placed["placements"][0]["utilisation"][_LOGIC[BOARDS[name].device.family]]
        boards.append(
            [
                f"`{name}`",
                f"{placed['board']['clock_hz'] / 1e6:g} MHz",
                f"{placed['fmax_mhz']['max']:.1f} MHz",
                f"{used:,} of {there:,} ({100 * used / there:.1f}%)",
                f"{placed['board']['bitstream_bytes']:,}",
            ]
        )
    second = markdown(["board", "clock", "Fmax", "tables with the serial port, as placed", "bitstream, bytes"], boards)
    return f"{first}\n{second}"


def results_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure every part and every board."""
    if arguments.train:
        store_document(NAME, fold_sc(NETWORK, stochastic(NETWORK, LENGTHS)))
    document, data = stored_document(NAME), load_dataset("digits")
    jobs = [
        *(("part", name, arguments.seeds, arguments.timeout) for name in DEVICES),
        *(("board", name, arguments.board_seeds, arguments.timeout) for name in BOARDS),
    ]
    found = dict(
        zip(
            (job[:2] for job in jobs),
            run_jobs(measure, jobs, arguments.jobs, arguments.output.with_suffix(".partial.json")),
            strict=True,
        )
    )
    decisions = run(document, quantise(data.test_x.astype(np.float64), document.precision_bits)).decision
    return {
        "accuracy": float(np.mean(decisions == data.test_y)),
        "parts": {name: found["part", name] for name in DEVICES},
        "boards": {name: found["board", name] for name in BOARDS},
    }


def main() -> None:
    """Run the benchmark and write its results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", action="store_true", help="train the network again and store it")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="of the placements on parts")
    parser.add_argument("--board-seeds", type=int, nargs="+", default=[1], help="of those on boards")
    parser.add_argument("--timeout", type=float, default=3600.0, help="seconds for one step of synthesis or placement")
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side")
    benchmark(parser, "parts", results_of, table, boundary=EVIDENCE_SYNTHESIS)


if __name__ == "__main__":
    main()
