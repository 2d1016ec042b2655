"""The main job, end to end: train digits jointly with the design, export, simulate every sample, write a page."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bitprop.artifacts import evidence, write_json
from bitprop.data import Dataset
from bitprop.errors import ArtifactError, ToolNotFoundError
from bitprop.graph.interpret import run as interpret
from bitprop.graph.spec import Document, load_document
from bitprop.handoff.export import DOCUMENT_FILE
from bitprop.presets import preset_path
from bitprop.report import (
    LengthPoint,
    NeuronStreams,
    Picture,
    ReportData,
    confusion_from_labels,
    history_from_metrics,
    layers_from_document,
    mistakes_from_labels,
    neuron_streams,
    parity_from_result,
    write_report,
)
from bitprop.runs import (
    Evaluation,
    Run,
    dataset_of,
    evaluate_network,
    export_to,
    float_baseline,
    integers_of,
    load_run,
    train_run,
    uniform_copy,
)
from bitprop.toolchain import SIMULATORS
from bitprop.training.config import RunConfig, load_config
from bitprop.training.loop import CHECKPOINT, METRICS, EpochMetrics, TrainResult, train
from bitprop.verification.parity import ParityResult, check_parity

__all__ = ["run_demo"]

Say = Callable[[str], None]

_MARK = "demo.json"
_CONVERSION_LENGTHS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_RETRAINED_LENGTHS = (1, 2, 4, 8, 16, 32)
_ICARUS_SAMPLES = 60


def run_demo(
    folder: str | os.PathLike[str],
    *,
    config: RunConfig | None = None,
    say: Say = print,
    on_epoch: Callable[[EpochMetrics], None] | None = None,
) -> dict[str, Any]:
    """Run the main job into a folder: ``run/``, ``handoff/``, ``demo.json`` and ``report.html``.

    An unfinished training in the folder is resumed; an earlier, finished demo there is replaced.

    Args:
        folder: where to.
        config: another run than the ``digits`` preset.
        say: told each step.
        on_epoch: told each epoch of the joint training.

    Returns:
        What ``demo.json`` holds.

    Raises:
        ArtifactError: the folder holds something that is not a demo.
        ToolNotFoundError: neither Verilator nor Icarus Verilog is installed.
    """
    config = config if config is not None else load_config(preset_path("digits"))
    simulators = [name for name, simulator in SIMULATORS.items() if simulator.is_available()]
    if not simulators:
        raise ToolNotFoundError(
            "expected Icarus Verilog or Verilator, found neither; install them (Debian: apt install iverilog verilator)"
        )
    root = _prepare(Path(folder))
    data = dataset_of(config)
    say(f"1/5  training {config.name} with its design: {config.training.epochs} epochs")
    run, result = _train(config, root / "run", data, on_epoch)
    evaluation = evaluate_network(run.network, data)

    say("2/5  for comparison: the same network in float, at uniform lengths, and converted after training")
    baseline = float_baseline(config, data)
    points = _length_points(config, data, evaluation)

    say("3/5  lowering to SC-NIR and Verilog")
    export_to(run, data, root / "handoff", samples=len(data.test_y))
    document = load_document(root / "handoff" / DOCUMENT_FILE)

    say(f"4/5  simulating in {' and '.join(simulators)}; comparing every output integer of every sample")
    inputs = integers_of(run.network, data.test_x)
    parity = check_parity(document, root / "handoff" / "rtl", inputs, simulators, samples={"icarus": _ICARUS_SAMPLES})

    say("5/5  writing the page")
    summary = _summary(config, evaluation, baseline, points, parity, root / "report.html")
    page = _page(config, data, run, result, document, summary, points, parity)
    write_report(page, root / "report.html")
    write_json(root / _MARK, {key: value for key, value in summary.items() if key != "page"})
    return summary


def _prepare(root: Path) -> Path:
    """An empty folder, or one with an unfinished training to resume; never somebody else's files."""
    if root.exists() and not root.is_dir():
        raise ArtifactError(f"expected a folder at {root}, found a file; choose another --output")
    if root.is_dir():
        ours = {"run", "handoff", _MARK, "report.html"}
        strange = sorted(entry.name for entry in root.iterdir() if entry.name not in ours)
        if strange:
            raise ArtifactError(f"expected a demo's folder at {root}, found {strange[0]!r}; choose another --output")
        if (root / _MARK).is_file():
            for name in ("run", "handoff"):
                shutil.rmtree(root / name, ignore_errors=True)
            (root / _MARK).unlink()
    root.mkdir(parents=True, exist_ok=True)
    return root


def _train(
    config: RunConfig, folder: Path, data: Dataset, on_epoch: Callable[[EpochMetrics], None] | None
) -> tuple[Run, TrainResult]:
    if folder.is_dir() and any(folder.iterdir()):
        try:
            load_run(folder)
        except ArtifactError:
            if (folder / CHECKPOINT).is_file():
                return train_run(config, folder, data=data, resume=True, on_epoch=on_epoch)
        shutil.rmtree(folder)  # finished, or stopped before its first epoch
    return train_run(config, folder, data=data, on_epoch=on_epoch)


def _uniform_config(config: RunConfig, length: int) -> RunConfig:
    """The same budget with one length everywhere, sign-magnitude, uncorrelated."""
    training = config.training
    return config.model_copy(
        update={
            "network": config.network.model_copy(
                update={
                    "lengths": (length,),
                    "encodings": ("sign_magnitude",),
                    "min_correlation": 0.0,
                    "max_correlation": 0.0,
                }
            ),
            "training": training.model_copy(
                update={"joint_epochs": 0, "finish_epochs": training.joint_epochs + training.finish_epochs}
            ),
        }
    )


def _length_points(config: RunConfig, data: Dataset, evaluation: Evaluation) -> tuple[LengthPoint, ...]:
    """Accuracy against length: the chosen design, uniform designs trained for it, and plain conversions."""
    x, y = torch.from_numpy(data.test_x), torch.from_numpy(data.test_y)

    def share(decisions: torch.Tensor) -> float:
        return int((decisions == y).sum()) / len(y)

    chosen = LengthPoint(
        "trained with its design", evaluation.mean_length, evaluation.accuracy, "this network", exported=True
    )
    uniform = [
        LengthPoint(
            "one length, trained for it",
            float(length),
            share(train(_uniform_config(config, length), data).network.predict(x)),
        )
        for length in _RETRAINED_LENGTHS
    ]
    relaxed = config.model_copy(
        update={
            "training": config.training.model_copy(
                update={"warmup_epochs": config.training.epochs, "joint_epochs": 0, "finish_epochs": 0}
            ),
            "network": _uniform_config(config, 1).network,
        }
    )
    in_float = train(relaxed, data).network
    converted = [
        LengthPoint("trained in float, converted", float(length), share(uniform_copy(in_float, length).predict(x)))
        for length in _CONVERSION_LENGTHS
    ]
    return (chosen, *uniform, *converted)


def _summary(
    config: RunConfig,
    evaluation: Evaluation,
    baseline: float,
    points: tuple[LengthPoint, ...],
    parity: ParityResult,
    page: Path,
) -> dict[str, Any]:
    mismatches = [{k: v for k, v in asdict(m).items() if k != "command"} for m in parity.mismatches]
    return {
        "schema": "bitprop.demo",
        "schema_version": "1.0",
        **evidence(),
        "name": config.name,
        "dataset": evaluation.dataset,
        "samples": evaluation.samples,
        "accuracy": {
            "float": baseline,
            "bit_true": evaluation.accuracy,
            "relaxed": evaluation.relaxed_accuracy,
        },
        "layers": evaluation.layers,
        "mean_length": evaluation.mean_length,
        "cycles_per_inference": evaluation.cycles_per_inference,
        "lengths": [asdict(point) for point in points],
        "parity": {**parity.to_dict(), "mismatches": mismatches},
        "page": str(page),
    }


def _page(
    config: RunConfig,
    data: Dataset,
    run: Run,
    result: TrainResult,
    document: Document,
    summary: dict[str, Any],
    points: tuple[LengthPoint, ...],
    parity: ParityResult,
) -> ReportData:
    inputs = integers_of(run.network, data.test_x)
    decisions = interpret(document, inputs).decision
    metrics = [json.loads(line) for line in (run.folder / METRICS).read_text(encoding="utf-8").splitlines()]
    sample = int(np.flatnonzero(decisions == data.test_y)[0]) if (decisions == data.test_y).any() else 0
    return ReportData(
        title=f"{config.name}: a network that computes in bits",
        network=config.name,
        dataset=data.name,
        seed=config.seed,
        test_samples=len(data.test_y),
        bit_true_accuracy=summary["accuracy"]["bit_true"],
        layers=layers_from_document(document),
        float_accuracy=summary["accuracy"]["float"],
        float_label="the same network trained in float with the same epochs",
        facts=(("epochs", str(len(metrics))), ("training samples", f"{len(data.train_y):,}")),
        lengths=points,
        history=history_from_metrics(
            metrics,
            config.network.lengths_per_layer(),
            config.network.encodings,
            joint_accuracy=result.joint_accuracy,
            committed_accuracy=result.committed_accuracy,
        ),
        neurons=_neurons(document, inputs[sample], int(decisions[sample])),
        picture=_picture(data, sample),
        picture_label=str(int(data.test_y[sample])),
        parity=parity_from_result(parity),
        confusion=confusion_from_labels(data.test_y, decisions, document.layers[-1].out_features),
        mistakes=()
        if data.image_shape is None
        else mistakes_from_labels(data.test_x, data.test_y, decisions, data.image_shape),
    )


def _neurons(document: Document, input_raw: np.ndarray[Any, Any], decision: int) -> tuple[NeuronStreams, ...]:
    """The most active neuron of the first layer, and the winning one of the last."""
    first = interpret(document, input_raw[None]).layers[0][0]
    shown = [neuron_streams(document, input_raw, 0, int(np.argmax(first)))]
    if len(document.layers) > 1:
        shown.append(neuron_streams(document, input_raw, len(document.layers) - 1, decision))
    return tuple(shown)


def _picture(data: Dataset, sample: int) -> Picture | None:
    if data.image_shape is None:
        return None
    rows, columns = data.image_shape
    return Picture(rows, columns, tuple(float(value) for value in data.test_x[sample]))
