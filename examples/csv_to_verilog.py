# ruff: noqa: T201
"""A table of your own, trained, exported as Verilog, simulated and audited, in one file.

Everything goes into the folder ``iris_like`` below the present one.  Icarus Verilog has to be installed.

    python examples/csv_to_verilog.py
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch

from bitprop.handoff.audit import audit_folder
from bitprop.handoff.simulate import simulate_folder
from bitprop.runs import dataset_of, evaluate_network, export_run, train_run
from bitprop.training.config import parse_config

FOLDER = Path("iris_like")


def write_table(path: Path) -> None:
    """Three classes of four measurements each, the label last."""
    generator = np.random.default_rng(3)
    centres = np.array([[0.2, 0.3, 0.8, 0.1], [0.7, 0.2, 0.3, 0.6], [0.4, 0.8, 0.2, 0.3]])
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["a", "b", "c", "d", "class"])
        for label in np.repeat(np.arange(3), 200).tolist():
            row = np.clip(centres[label] + generator.normal(0, 0.13, 4), 0, 1)
            table.writerow([*(f"{value:.3f}" for value in row), label])


def main() -> None:
    """Table, training, handoff, simulation, audit."""
    torch.set_num_threads(1)  # the layers are small
    FOLDER.mkdir()
    write_table(FOLDER / "table.csv")
    config = parse_config(
        {
            "name": "iris_like",
            "data": {"source": str((FOLDER / "table.csv").resolve())},
            "network": {"hidden": [8], "lengths": [2, 4, 8, 16]},
            "training": {"warmup_epochs": 10, "joint_epochs": 10, "finish_epochs": 20, "batch_size": 32},
        }
    )
    run, _ = train_run(config, FOLDER / "run")
    evaluation = evaluate_network(run.network, dataset_of(config))
    for layer in evaluation.layers:
        print(f"layer {layer['in_features']} x {layer['out_features']}: {layer['length']} cycles, {layer['encoding']}")
    print(f"bit-true accuracy {evaluation.accuracy:.3f} in {evaluation.cycles_per_inference} cycles")

    manifest = export_run(FOLDER / "run", FOLDER / "handoff", samples=40)
    print(f"{len(manifest.files)} files, top module {manifest.network}")
    parity = simulate_folder(FOLDER / "handoff", simulators=["icarus"]).raise_if_failed()
    print(f"parity {parity.status}: {parity.integers} integers equal, {parity.expected_latency_cycles} cycles")
    audit = audit_folder(FOLDER / "handoff")
    print(f"audit {audit.status}: {len(audit.checks)} checks")


if __name__ == "__main__":
    main()
