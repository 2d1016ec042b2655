"""The honest baseline: quantised multiply-accumulate networks and stochastic ones of the same shape, fold and tools.

Every row is a design of one network: trained, turned into integers, emitted as Verilog, simulated (every integer of
some test samples compared with its reference), synthesised, placed and routed.  ``mac`` rows have weights and
activations of so many bits, trained quantisation-aware, with multipliers made of LUTs or in DSP blocks; ``stochastic``
rows have streams of the lengths given.  All designs of one network make the same number of products in a clock cycle,
and share control, drains, requantisation and decision.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import RESULTS, machine, markdown, run_jobs, spread

from bitprop.artifacts import EVIDENCE_SYNTHESIS, evidence, read_json, write_json, write_text
from bitprop.baseline.document import MacDocument, run_mac
from bitprop.baseline.emitter import emit_mac, mac_interval, mac_latency
from bitprop.baseline.lower import activations_of, lower_quantised
from bitprop.baseline.quantised import QuantisedNetwork, train_quantised
from bitprop.data import load_dataset
from bitprop.formats import quantise
from bitprop.graph.architecture import folded
from bitprop.graph.fold import with_architecture
from bitprop.graph.interpret import run
from bitprop.graph.spec import Document
from bitprop.graph.timing import interval_cycles, latency_cycles
from bitprop.hdl import emit
from bitprop.lower import lower
from bitprop.presets import preset_path
from bitprop.toolchain import simulator_of
from bitprop.toolchain.cache import ResultCache
from bitprop.toolchain.device import device_of
from bitprop.toolchain.flow import implement
from bitprop.toolchain.yosys import read_design
from bitprop.training.config import RunConfig, load_config
from bitprop.training.loop import train

SAMPLES = 50
# per network: data, hidden widths, (inputs, neurons) a cycle in each layer, part, epochs, stream lengths of the SC rows
NETWORKS: dict[str, dict[str, Any]] = {
    "64-32-10": {
        "data": "digits",
        "hidden": [32],
        "folds": ((8, 1), (8, 1)),
        "device": "ecp5-25k",
        "epochs": (20, 80),
        "batch": 32,
        "learning_rate": 5e-3,
        "lengths": ((8, 8),),
        "sc_epochs": 100,
    },
    "784-128-10": {
        "data": "fashion_mnist",
        "hidden": [128],
        "point": "small part",
        "epochs": (4, 8),
        "batch": 128,
        "learning_rate": 2e-3,
        "lengths": (),
    },
}
# the same network with the folds of the faster design point
NETWORKS["784-128-10, faster"] = {**NETWORKS["784-128-10"], "point": "larger part"}
BITS = (2, 3, 4, 5, 6, 7, 8)


def train_mac(network: str, bits: int) -> MacDocument:
    """A quantised network, trained, folded."""
    facts = NETWORKS[network]
    data = load_dataset(facts["data"])
    model = QuantisedNetwork([data.features, *facts["hidden"], data.classes], bits, seed=0)
    train_quantised(
        model,
        torch.from_numpy(data.train_x),
        torch.from_numpy(data.train_y),
        float_epochs=facts["epochs"][0],
        quantised_epochs=facts["epochs"][1],
        learning_rate=facts["learning_rate"],
        batch_size=facts["batch"],
    )
    return lower_quantised(model, f"mac_{bits}").folded(folds_of(network)[0])


def sc_config(network: str, lengths: tuple[int, ...]) -> RunConfig:
    """The preset's training of one fixed design, on all training samples."""
    facts = NETWORKS[network]
    config = load_config(preset_path(facts["data"]))
    design = config.network.model_copy(
        update={
            "lengths": tuple((length,) for length in lengths),
            "encodings": ("sign_magnitude",),
            "min_correlation": 0.0,
            "max_correlation": 0.0,
        }
    )
    epochs = {"warmup_epochs": 0, "joint_epochs": 0, "finish_epochs": facts["sc_epochs"]}
    return config.model_copy(
        update={
            "network": design,
            "training": config.training.model_copy(update=epochs),
            "data": config.data.model_copy(update={"validation_share": 0.0}),
        }
    )


def stochastic(network: str, lengths: tuple[int, ...]) -> Document:
    """A stochastic network, trained."""
    trained = train(sc_config(network, lengths), load_dataset(NETWORKS[network]["data"])).network
    return lower(trained, name="stochastic")


def design_point(network: str) -> dict[str, Any]:
    """The point of ``folded.py`` whose folds, products in a clock cycle and part a network's designs share."""
    stored = read_json(RESULTS / "folded.json")
    return {
        **stored["points"][NETWORKS[network]["point"]],
        "accuracy": stored["accuracy"],
        "lengths": stored["lengths"],
    }


def folds_of(network: str) -> tuple[tuple[tuple[int, int], ...], str]:
    """Inputs and neurons in a clock cycle of each layer, and the part."""
    facts = NETWORKS[network]
    if "point" not in facts:
        return facts["folds"], facts["device"]
    point = design_point(network)
    folds = tuple((fold["inputs_per_cycle"], fold["neurons_per_cycle"]) for fold in point["architecture"])
    return folds, point["device"]


def measured_point(network: str) -> dict[str, Any]:
    """The row of a design point that ``folded.py`` has trained, simulated, placed and routed."""
    point = design_point(network)
    placed = point["placed"]
    seed = next(entry for entry in placed["placements"] if entry["seed"] == 1)
    return _row(
        network,
        "stochastic",
        point["lengths"],
        False,
        accuracy=point["accuracy"],
        equal=point["verilog"]["status"] == "pass",
        simulated_latency=point["verilog"]["latency_cycles"],
        latency=point["latency_cycles"],
        interval=point["interval_cycles"],
        device=point["device"],
        cells=placed["cells"],
        fmax=seed["fmax_mhz"],
        tools=[placed["tools"]["synthesis"], placed["tools"]["place_and_route"]],
    )


def _row(
    network: str,
    kind: str,
    size: Any,
    dsp: bool,
    *,
    accuracy: float,
    equal: bool,
    simulated_latency: int,
    latency: int,
    interval: int,
    device: str,
    cells: dict[str, int],
    fmax: float,
    tools: list[str],
) -> dict[str, Any]:
    return {
        "network": network,
        "kind": kind,
        "size": size,
        "multipliers": "DSP" if dsp else "LUT",
        "device": device,
        "accuracy": accuracy,
        "simulated_equal": equal,
        "simulated_latency_cycles": simulated_latency,
        "latency_cycles": latency,
        "interval_cycles": interval,
        **cells,
        "fmax_mhz": fmax,
        "latency_us": latency / fmax,
        "lut_us": cells["lut"] * latency / fmax,
        "energy_proxy": cells["lut"] * interval,
        "tools": tools,
    }


def fold_sc(network: str, document: Document) -> Document:
    """The stochastic network with the folds of the others; whole streams of up to 16 cycles pass in one clock cycle."""
    chosen = {}
    for index, (layer, (inputs, neurons)) in enumerate(zip(document.layers, folds_of(network)[0], strict=True)):
        steps = None if layer.length <= 16 else 8
        beat = inputs if index == 0 else 1
        chosen[layer.name] = folded(inputs, neurons, length=layer.length, cycles_per_step=steps, values_per_beat=beat)
    return with_architecture(document, chosen)


def measure(network: str, kind: str, size: Any, dsp: bool, timeout: float) -> dict[str, Any]:
    """One design, from training to the routed netlist; ``point``: what ``folded.py`` has measured."""
    if kind == "point":
        return measured_point(network)
    facts = NETWORKS[network]
    data = load_dataset(facts["data"])
    with tempfile.TemporaryDirectory(prefix="bitprop_") as folder:
        if kind == "mac":
            mac = train_mac(network, size)
            inputs = activations_of(data.test_x, mac.bits)
            expected, name = run_mac(mac, inputs), mac.name
            latency, interval = mac_latency(mac), mac_interval(mac)
            emit_mac(mac, folder)
        else:
            document = fold_sc(network, stochastic(network, tuple(size)))
            inputs = quantise(data.test_x.astype(np.float64), document.precision_bits)
            expected, name = run(document, inputs), document.name
            latency, interval = latency_cycles(document), interval_cycles(document)
            emit(document, folder)
        simulated = simulator_of("verilator").simulate(folder, name, inputs[:SAMPLES])
        equal = all(
            np.array_equal(want[:SAMPLES], got)
            for want, got in zip(
                (*expected.layers, *expected.accumulators, expected.decision),
                (*simulated.layers, *simulated.accumulators, simulated.decision),
                strict=True,
            )
        )
        files = read_design(folder, name)
    part = device_of(folds_of(network)[1])
    if not dsp and part.family == "ecp5":
        part = replace(part, synthesise=(*part.synthesise, "-nodsp"))
    placed = implement(files, name, part, seeds=(1,), timeout=timeout, cache=ResultCache.default())
    return _row(
        network,
        kind,
        size,
        dsp,
        accuracy=float((expected.decision == data.test_y).mean()),
        equal=equal,
        simulated_latency=int(simulated.latency_cycles[0]),
        latency=latency,
        interval=interval,
        device=part.name,
        cells=placed.synthesis.cells.to_dict(),
        fmax=placed.fmax_mhz[1],
        tools=[placed.synthesis.tool, placed.placements[0].tool],
    )


def jobs_of(networks: list[str], bits: list[int], dsp_bits: list[int], timeout: float) -> list[tuple[Any, ...]]:
    """Every design, the small networks first."""
    jobs: list[tuple[Any, ...]] = []
    for network in networks:
        jobs += [(network, "stochastic", list(lengths), False, timeout) for lengths in NETWORKS[network]["lengths"]]
        if "point" in NETWORKS[network]:
            jobs.append((network, "point", None, False, timeout))
        jobs += [(network, "mac", size, False, timeout) for size in bits]
        jobs += [(network, "mac", size, True, timeout) for size in dsp_bits]
    return jobs


def _job(row: dict[str, Any]) -> tuple[Any, ...]:
    """What of a job a row answers."""
    size = str(row["size"])
    return row["network"], row["kind"], size, row["multipliers"] == "DSP"


def _order(row: dict[str, Any]) -> tuple[Any, ...]:
    size = row["size"] if isinstance(row["size"], list) else [row["size"]]
    return list(NETWORKS).index(row["network"]), row["kind"] == "mac", row["multipliers"] == "DSP", size


def _label(row: dict[str, Any]) -> str:
    if row["kind"] == "stochastic":
        return f"stochastic, L = {' and '.join(map(str, row['size']))}"
    return f"{row['size']}-bit multiply-accumulate, {row['multipliers']}"


def _rows_of(results: dict[str, Any], network: str) -> list[dict[str, Any]]:
    return [row for row in results["rows"] if row["network"] == network]


def verdict(results: dict[str, Any], network: str) -> str:
    """Who wins, in one sentence: the stochastic design against the cheapest quantised one that is as accurate."""
    rows = _rows_of(results, network)
    lines = []
    for ours in (row for row in rows if row["kind"] == "stochastic"):
        rivals = [
            r for r in rows if r["kind"] == "mac" and r["multipliers"] == "LUT" and r["accuracy"] >= ours["accuracy"]
        ]
        others = [r for r in rows if r["kind"] == "mac" and r["multipliers"] == "LUT"]
        if not others:
            lines.append(f"{network}: no quantised row was measured.")
            continue
        if not rivals:
            most = max(others, key=lambda row: row["accuracy"])
            lines.append(
                f"{network}: no quantised row measured is as accurate as {_label(ours)} "
                f"({100 * ours['accuracy']:.2f}%). Beside the most accurate one, {_label(most)} "
                f"({100 * most['accuracy']:.2f}%), it takes "
                f"{ours['lut'] / most['lut']:.2f} times the LUTs, "
                f"{ours['latency_us'] / most['latency_us']:.2f} times the latency, "
                f"{ours['lut_us'] / most['lut_us']:.2f} times the LUT x µs and "
                f"{ours['energy_proxy'] / most['energy_proxy']:.2f} times the energy proxy."
            )
            continue
        best = min(rivals, key=lambda row: row["lut_us"])
        ratios = [ours[key] / best[key] for key in ("lut", "latency_us", "lut_us", "energy_proxy")]
        words = "loses to" if ratios[2] > 1 else "beats"
        lines.append(
            f"{network}, {_label(ours)} ({100 * ours['accuracy']:.2f}%) {words} {_label(best)} "
            f"({100 * best['accuracy']:.2f}%), the cheapest quantised design measured that is at least as accurate: "
            f"{ratios[0]:.2f} times its LUTs, {ratios[1]:.2f} times its latency, {ratios[2]:.2f} times its LUT x µs, "
            f"{ratios[3]:.2f} times its energy proxy."
        )
    return "\n".join(lines)


def in_float(network: str) -> str:
    """What a perceptron of the same size reaches in float, where ``fashion_mnist.py`` has trained one."""
    if NETWORKS[network]["data"] != "fashion_mnist":
        return ""
    runs = read_json(RESULTS / "fashion_mnist.json")["runs"]["relu"]
    return (
        f" In float a perceptron of this size reaches {spread([run['accuracy'] for run in runs])}% ({len(runs)} seeds)."
    )


def table(results: dict[str, Any]) -> str:
    """Tables and verdicts of the stored results."""
    parts = []
    for network in dict.fromkeys(row["network"] for row in results["rows"]):
        rows = _rows_of(results, network)
        columns = [
            f"{network} on {rows[0]['device']}",
            "accuracy",
            "LUT",
            "FF",
            "BRAM",
            "DSP",
            "Fmax, MHz",
            "cycles",
            "latency, µs",
            "LUT x µs",
            "LUT x cycles, million",
        ]
        body = [
            [
                _label(row),
                f"{100 * row['accuracy']:.2f}%",
                f"{row['lut']:,}",
                f"{row['ff']:,}",
                str(row["bram"]),
                str(row["dsp"]),
                f"{row['fmax_mhz']:.0f}",
                f"{row['latency_cycles']:,}",
                f"{row['latency_us']:.2f}",
                f"{row['lut_us']:,.0f}",
                f"{row['energy_proxy'] / 1e6:.2f}",
            ]
            for row in rows
        ]
        parts.append(f"{markdown(columns, body)}\n{verdict(results, network)}{in_float(network)}\n")
    return "\n".join(parts)


def plot(results: dict[str, Any]) -> str:
    """Accuracy against LUT x microseconds, one panel a network."""
    networks = list(dict.fromkeys(row["network"] for row in results["rows"]))
    panel, height, left, top, right, bottom = 400, 384, 64, 64, 20, 52
    width = panel * len(networks)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
    head += 'font-size="13"><title>Accuracy against area times time</title>'
    parts = [f'{head}<rect width="{width}" height="{height}" fill="#ffffff"/>']
    colours = {"stochastic LUT": "#0072b2", "mac LUT": "#d55e00", "mac DSP": "#009e73"}
    for place, network in enumerate(networks):
        rows = _rows_of(results, network)
        start, end = panel * place + left, panel * (place + 1) - right
        logs = [math.log10(row["lut_us"]) for row in rows]
        low_x, high_x = min(logs) - 0.1, max(logs) + 0.1
        shares = [100 * row["accuracy"] for row in rows]
        low_y, high_y = math.floor(min(shares)) - 0.5, math.ceil(max(shares))

        def x(value: float, start: float = start, end: float = end, low: float = low_x, high: float = high_x) -> float:
            return start + (end - start) * (math.log10(value) - low) / (high - low)

        def y(share: float, low: float = low_y, high: float = high_y) -> float:
            return top + (height - top - bottom) * (high - share) / (high - low)

        parts.append(f'<text x="{start}" y="46" fill="#222222" font-weight="bold">{network}</text>')
        for tick in range(math.ceil(low_y), math.floor(high_y) + 1):
            parts.append(f'<line x1="{start}" x2="{end}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="#dddddd"/>')
            parts.append(
                f'<text x="{start - 8}" y="{y(tick) + 4:.1f}" text-anchor="end" fill="#444444">{tick} %</text>'
            )
        for exponent in range(math.floor(low_x), math.ceil(high_x) + 1):
            for digit in (1, 2, 5):
                value = digit * 10.0**exponent
                if low_x <= math.log10(value) <= high_x:
                    parts.append(
                        f'<text x="{x(value):.1f}" y="{height - bottom + 20}" text-anchor="middle" fill="#444444">'
                        f"{value:,.0f}</text>"
                    )
        parts.append(
            f'<text x="{(start + end) / 2}" y="{height - 10}" text-anchor="middle" fill="#444444">LUT x µs of one '
            "decision</text>"
        )
        for row in rows:
            colour = colours[f"{row['kind']} {row['multipliers']}"]
            at_x, at_y = x(row["lut_us"]), y(100 * row["accuracy"])
            name = "L " + "/".join(map(str, row["size"])) if row["kind"] == "stochastic" else str(row["size"])
            # numbers of bits above or below their point: points lie closer than words are wide
            label_y = at_y + (17 if row["multipliers"] == "DSP" else -9)
            parts.append(f'<circle cx="{at_x:.1f}" cy="{at_y:.1f}" r="5" fill="{colour}"/>')
            parts.append(
                f'<text x="{at_x:.1f}" y="{label_y:.1f}" text-anchor="middle" fill="{colour}" '
                f'font-size="11">{name}</text>'
            )
    for index, (key, words) in enumerate(
        (
            ("stochastic LUT", "stochastic, L of its layers"),
            ("mac LUT", "bits, multipliers in LUTs"),
            ("mac DSP", "bits, multipliers in DSPs"),
        )
    ):
        parts.append(
            f'<text x="{left + 190 * index}" y="20" fill="{colours[key]}" font-size="11" font-weight="bold">'
            f"{words}</text>"
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    """Run the benchmark and write its results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=tuple(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--bits", type=int, nargs="*", default=list(BITS), help="with multipliers made of LUTs")
    parser.add_argument("--dsp-bits", type=int, nargs="*", default=list(BITS), help="with multipliers in DSP blocks")
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side, one thread each")
    parser.add_argument("--timeout", type=float, default=3600.0, help="seconds for one step of synthesis or placement")
    parser.add_argument("--again", action="store_true", help="measure rows that the results file has already, too")
    parser.add_argument("--output", type=Path, default=RESULTS / "baseline.json", help="results file")
    parser.add_argument("--table-only", action="store_true", help="table and plot of an existing results file")
    arguments = parser.parse_args()
    if arguments.table_only:
        results = json.loads(arguments.output.read_text(encoding="utf-8"))
    else:
        jobs = jobs_of(arguments.networks, arguments.bits, arguments.dsp_bits, arguments.timeout)
        kept = [] if arguments.again or not arguments.output.is_file() else read_json(arguments.output)["rows"]
        # a design point costs nothing to read again
        read = {network for network in arguments.networks if "point" in NETWORKS[network]}
        kept = [row for row in kept if row["kind"] == "mac" or row["network"] not in read]
        done = {_job(row) for row in kept}
        jobs = [job for job in jobs if (job[0], job[1], str(job[2]), job[3]) not in done]
        print(f"{len(jobs)} designs to measure", file=sys.stderr)
        found = run_jobs(measure, jobs, arguments.jobs, arguments.output.with_suffix(".partial.json"))
        results = {
            "schema": "bitprop.benchmark.baseline",
            "schema_version": "1.0",
            **evidence(EVIDENCE_SYNTHESIS),
            "machine": machine(),
            "samples_simulated": SAMPLES,
            "rows": sorted([*kept, *found], key=_order),
        }
        write_json(arguments.output, results)
    write_text(arguments.output.with_suffix(".svg"), plot(results))
    print(table(results))


if __name__ == "__main__":
    main()
