"""A grid of small designs synthesised, placed and routed: the data of the cost model, and its error on held-out ones.

``python benchmarks/cost_grid.py`` measures what is not measured yet, or was measured of another Verilog than is emitted
now, and stores every design as it is done; ``--fit`` fits the model to the stored designs, writes its coefficients into
the package and its errors into the results.  The ridge is chosen by leaving out each fitted design in turn;
the held-out designs have no part in it.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Iterable
from typing import Any

import folded as folded_benchmark
import numpy as np
from _common import RESULTS, machine, markdown

from bitprop.artifacts import EVIDENCE_SYNTHESIS, evidence, read_json, sha256_bytes, write_json
from bitprop.cost import SHAPE_FIELDS, CostModel, LayerShape, fit, model_path
from bitprop.errors import SynthesisError, ToolTimeoutError
from bitprop.graph.architecture import Folded, folded
from bitprop.graph.choose import choose_folds
from bitprop.graph.fold import with_architecture
from bitprop.graph.random import make_document
from bitprop.graph.shape import shapes_of
from bitprop.graph.spec import Document
from bitprop.graph.timing import latency_cycles
from bitprop.handoff.synthesis import emitted
from bitprop.seeds import derive_seed
from bitprop.toolchain.cache import ResultCache, cache_key
from bitprop.toolchain.flow import implement

DEVICE = "ecp5-25k"
DESIGNS = 72
HELD_OUT_EVERY = 5
STORE = RESULTS / "cost_grid.json"
RIDGES = (0.05, 0.1, 0.2, 0.4, 0.8)
ENCODINGS = ("unipolar", "sign_magnitude", "bipolar")
# a network of this many products in parallel, or products times cycles at once, takes a minute or two
PARALLEL_PRODUCTS = 260
LANES = 130


def _fold(generator: np.random.Generator, inputs: int, outputs: int, length: int, behind: bool) -> Folded:
    """A random fold of a layer whose work per clock cycle is small enough to be synthesised quickly."""
    whole = length <= 16 and bool(generator.random() < 0.7)
    cycles = length if whole else 1
    while True:
        per_cycle = int(generator.choice([p for p in (1, 2, 4, 8, 16, 32) if p <= inputs]))
        neurons = int(generator.choice([q for q in (1, 2, 4, 8) if q <= outputs]))
        if per_cycle * neurons * cycles <= LANES:
            break
        cycles = 1
    beat = 1 if behind else int(generator.choice([b for b in (1, 2, 4) if per_cycle % b == 0]))
    return folded(
        per_cycle,
        neurons,
        length=length,
        cycles_per_step=cycles,
        values_per_beat=beat,
        pipeline=int(generator.choice([1, 1, 1, 2])),
    )


def design(number: int) -> Document:
    """Design ``number`` of the grid: every third parallel, the others folded; one or two layers."""
    generator = np.random.default_rng(derive_seed(number, "cost_grid"))
    n = 8
    depth = 1 + number % 2
    parallel = number % 3 == 0
    sizes = [int(2 ** generator.uniform(3, 6.6 if not parallel else 5))]
    for index in range(depth):
        last = index == depth - 1
        sizes.append(int(2 ** generator.uniform(1.5, 3.6 if last or parallel else 5)))
    if parallel:
        while sum(a * b for a, b in itertools.pairwise(sizes)) > PARALLEL_PRODUCTS:
            sizes[0] -= 1
    layers, folds = [], {}
    for index, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        encoding = ENCODINGS[int(generator.integers(3))]
        length = int(generator.choice([2, 3, 4, 6, 8, 12, 16, 32, 64]))
        weights = np.clip(np.round(generator.normal(0, 80, size=(outputs, inputs))), -256, 256).astype(np.int64)
        correlation = int(generator.choice([0, 0, 0, -40, 40]))
        layer: dict[str, Any] = {
            "name": f"layer{index}",
            "length": length,
            "encoding": encoding,
            "activation_source": {"kind": "sobol", "width": n, "seed": 17 * index, "dimension": 1},
            "weight_source": {"kind": "sobol", "width": n, "seed": 40 + index, "dimension": 2},
            "weights_raw": np.abs(weights) if encoding == "unipolar" else weights,
            "bias_raw": generator.integers(-2 * length, 2 * length + 1, size=outputs).tolist(),
            "correlation_raw": correlation,
            "output": {"kind": "logits"},
        }
        if correlation:
            layer["correlation_source"] = {"kind": "sobol", "width": n, "seed": 7, "dimension": 3}
        if index < depth - 1:
            layer["output"] = {"kind": "requantise", "multiplier": 181, "shift": 8, "low": 0, "high": 256}
        layers.append(layer)
        if not parallel:
            folds[f"layer{index}"] = _fold(generator, inputs, outputs, length, index > 0)
    return with_architecture(make_document(f"grid_{number}", n, (0, 256), layers), folds)


def sources(files: dict[str, bytes]) -> str:
    """The digest of a design's Verilog."""
    return cache_key({name: sha256_bytes(content) for name, content in files.items()})


def _work(document: Document) -> float:
    """Stream bits made in a cycle, roughly: what the time of synthesis grows with."""
    total = 0.0
    for shape in shapes_of(document):
        lanes = shape.inputs_per_cycle * shape.neurons_per_cycle * shape.cycles_per_step
        total += lanes or 2 * shape.inputs * shape.outputs
    return total


def measure(number: int, cache: ResultCache) -> dict[str, Any]:
    """Cells, clock and cycles of a design."""
    document = design(number)
    files = emitted(document)
    start = time.monotonic()
    result = implement(files, document.name, DEVICE, seeds=(1,), timeout=1200, cache=cache)
    return {
        "number": number,
        "sources": sources(files),
        "layers": [shape.to_dict() for shape in shapes_of(document)],
        "cells": result.synthesis.cells.to_dict(),
        # where they are, the design's own modules by what is left of their names without the design's
        "modules": {
            name.removeprefix(f"{document.name}_"): {"lut": cells.lut, "ff": cells.ff}
            for name, cells in result.synthesis.by_module.items()
        },
        "fmax_mhz": round(result.fmax_mhz[1], 3),
        "critical_module": max(
            result.typical.critical_path, key=lambda segment: segment.logic_ns + segment.routing_ns
        ).module,
        "latency_cycles": latency_cycles(document),
        "tools": [result.synthesis.tool, result.typical.tool],
        "seconds": round(time.monotonic() - start, 1),
    }


def load() -> dict[str, Any]:
    """The stored grid."""
    return read_json(STORE) if STORE.is_file() else {"device": DEVICE, "designs": [], **evidence(EVIDENCE_SYNTHESIS)}


def shapes(entry: dict[str, Any]) -> list[LayerShape]:
    """The layers of a stored design."""
    return [LayerShape(**{field: layer[field] for field in SHAPE_FIELDS}) for layer in entry["layers"]]


def run(numbers: Iterable[int], seconds: float) -> None:
    """Measure designs that are not stored, for at most so long."""
    stored, stop = load(), time.monotonic() + seconds
    stored["machine"] = machine()
    stored["designs"] = [
        entry for entry in stored["designs"] if entry.get("sources") == sources(emitted(design(entry["number"])))
    ]
    done = {entry["number"] for entry in stored["designs"]} | {entry["number"] for entry in stored.get("failed", [])}
    # small ones first: an interrupted grid has as many designs as the time allowed
    for number in sorted(numbers, key=lambda number: (_work(design(number)), number)):
        if number in done or time.monotonic() > stop:
            continue
        try:
            entry = measure(number, ResultCache.default())
        except (SynthesisError, ToolTimeoutError) as error:
            stored.setdefault("failed", []).append({"number": number, "reason": str(error)[:300]})
            print(f"  {number}: {error}", file=sys.stderr, flush=True)
        else:
            stored["designs"].append(entry)
            stored["designs"].sort(key=lambda item: item["number"])
            print(
                f"  {number}: {entry['cells']['lut']} LUT, {entry['fmax_mhz']} MHz, {entry['seconds']} s",
                file=sys.stderr,
                flush=True,
            )
        write_json(STORE, stored)


def held_out(entry: dict[str, Any]) -> bool:
    """Whether a design is kept from the fit."""
    return bool(entry["number"] % HELD_OUT_EVERY == 4)


def errors(model: CostModel, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Relative errors of a model on designs."""
    rows = []
    for entry in entries:
        found = model.network(shapes(entry))
        rows.append(
            {
                "number": entry["number"],
                "lut": found["lut"] / entry["cells"]["lut"] - 1,
                "ff": found["ff"] / entry["cells"]["ff"] - 1,
                "bram": found["bram"] - entry["cells"]["bram"],
                "dsp": found["dsp"] - entry["cells"]["dsp"],
                "fmax": found["fmax_mhz"] / entry["fmax_mhz"] - 1,
            }
        )
    result: dict[str, Any] = {"designs": len(rows)}
    for name in ("lut", "ff", "fmax"):
        sizes = sorted(abs(row[name]) for row in rows)
        result[name] = {
            "median": round(statistics.median(sizes), 4),
            "mean": round(statistics.fmean(sizes), 4),
            "worst": round(sizes[-1], 4),
        }
    for name in ("bram", "dsp"):
        result[name] = {"worst_absolute": round(max(abs(row[name]) for row in rows), 2)}
    return result


def _fit(entries: list[dict[str, Any]], facts: dict[str, Any], ridge: float) -> CostModel:
    return fit(
        [shapes(entry) for entry in entries],
        [entry["cells"] for entry in entries],
        [entry["fmax_mhz"] for entry in entries],
        facts,
        ridge=ridge,
    )


def left_out(entries: list[dict[str, Any]], ridge: float) -> float:
    """Mean relative error of LUT and clock when each design in turn is left out of the fit."""
    total = 0.0
    for index, entry in enumerate(entries):
        found = _fit(entries[:index] + entries[index + 1 :], {}, ridge).network(shapes(entry))
        total += abs(found["lut"] / entry["cells"]["lut"] - 1) + abs(found["fmax_mhz"] / entry["fmax_mhz"] - 1)
    return total / (2 * len(entries))


def beyond(model: CostModel) -> list[dict[str, Any]]:
    """The model beside the two placed designs of ``folded.py``, which are far larger than any of the grid."""
    points = read_json(RESULTS / "folded.json")["points"]
    document, rows = folded_benchmark.stored(), []
    for name, (cycles, _) in folded_benchmark.POINTS.items():
        placed = points[name]["placed"]
        found = model.network(shapes_of(choose_folds(document, cycles)))
        rows.append(
            {
                "design": name,
                "expected": {key: round(value, 2) for key, value in found.items()},
                "measured": {
                    **{key: placed["cells"][key] for key in ("lut", "ff", "bram", "dsp")},
                    "fmax_mhz": placed["fmax_mhz"]["median"],
                },
            }
        )
    return rows


def fit_stored() -> CostModel:
    """Fit to the designs that are not held out, and write coefficients and errors."""
    stored = load()
    entries = stored["designs"]
    seen = [entry for entry in entries if not held_out(entry)]
    unseen = [entry for entry in entries if held_out(entry)]
    by_ridge = {ridge: left_out(seen, ridge) for ridge in RIDGES}
    ridge = min(RIDGES, key=lambda value: by_ridge[value])
    facts = {
        **evidence(EVIDENCE_SYNTHESIS),
        "device": DEVICE,
        "ridge": ridge,
        "left_out": {str(value): round(error, 4) for value, error in by_ridge.items()},
        "tools": sorted({tool for entry in entries for tool in entry["tools"]}),
        "designs": len(seen),
    }
    model = _fit(seen, facts, ridge)
    found = {"fitted": errors(model, seen), "held_out": errors(model, unseen)}
    final = CostModel(model.area, model.period_ns, {**facts, "held_out": found["held_out"]})
    write_json(model_path(), final.to_dict())
    write_json(STORE, {**stored, "errors": found, "beyond": beyond(final)})
    return final


def table(stored: dict[str, Any]) -> str:
    """Errors as Markdown."""
    found = stored["errors"]
    rows = []
    for label, key in (("fitted", "fitted"), ("**held out**", "held_out")):
        entry = found[key]
        cells = [f"{100 * entry[name][kind]:.1f}%" for name in ("lut", "ff", "fmax") for kind in ("median", "worst")]
        rows.append([f"{label}, {entry['designs']} designs", *cells])
    columns = ["designs", "LUT, median", "worst", "FF, median", "worst", "Fmax, median", "worst"]
    return markdown(columns, rows)


def main() -> None:
    """Measure, or fit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--designs", type=int, default=DESIGNS, help="how many of the grid")
    parser.add_argument("--numbers", type=int, nargs="*", help="these of the grid instead")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop starting designs after so long")
    parser.add_argument("--fit", action="store_true", help="only fit the stored designs")
    arguments = parser.parse_args()
    if not arguments.fit:
        run(arguments.numbers or range(arguments.designs), arguments.seconds)
    fit_stored()
    print(table(load()))


if __name__ == "__main__":
    main()
