"""Run folders: train into one, read it back, evaluate what is in it.

A run folder holds ``config.toml`` (what was asked, every field), ``metrics.jsonl`` (one line an epoch),
``checkpoint.pt`` (to resume), ``model.safetensors`` (the trained network) and ``summary.json`` (what came out).
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bitprop import __version__
from bitprop._checks import check_real
from bitprop._lock import LOCK, has_lock, hold_folder
from bitprop.artifacts import evidence, read_json, sha256_file, write_json, write_text
from bitprop.budget import BudgetConstraint, plan, planned_document
from bitprop.data import Dataset, is_table, load_dataset, load_held_out
from bitprop.errors import ArtifactError, BitpropError, ConfigError, DataError
from bitprop.graph.timing import latency_cycles
from bitprop.handoff.export import Manifest, export_network
from bitprop.handoff.refold import Choice
from bitprop.lower import lower
from bitprop.nn import SCNetwork
from bitprop.nn.storage import load_network, save_network
from bitprop.training.config import RunConfig, load_config, parse_config
from bitprop.training.loop import CHECKPOINT, METRICS, evaluate, train
from bitprop.training.outcome import EpochMetrics, TrainResult

__all__ = [
    "CONFIG",
    "MODEL",
    "SUMMARY",
    "Evaluation",
    "Run",
    "dataset_of",
    "evaluate_network",
    "export_run",
    "export_to",
    "float_baseline",
    "float_config",
    "held_out_data",
    "integers_of",
    "load_run",
    "override",
    "relaxed_accuracy",
    "train_run",
    "uniform_copy",
    "use_threads",
    "with_lengths",
]

CONFIG = "config.toml"
MODEL = "model.safetensors"
SUMMARY = "summary.json"
_SUMMARY_SCHEMA = "bitprop.run_summary"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a network does on held-out samples.

    Attributes:
        dataset: its name.
        samples: how many.
        accuracy: share right of the bit-true network, the integers of the hardware.
        relaxed_accuracy: share right of the same weights in the limit of endless, ideal streams.
        confusion: ``[classes][classes]`` counts, rows are labels.
        layers: per layer its shape and design.
        mean_length: stream length weighted by products, cycles.
        cycles_per_inference: latency of the circuit, cycles; ``None`` for number sources no hardware has.
    """

    dataset: str
    samples: int
    accuracy: float
    relaxed_accuracy: float
    confusion: list[list[int]]
    layers: list[dict[str, Any]]
    mean_length: float
    cycles_per_inference: int | None

    def to_dict(self) -> dict[str, Any]:
        """Plain fields."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run, read back.

    Attributes:
        folder: where it is.
        config: what was asked.
        network: the trained network, committed, in bit-true mode.
        feature_scale: what the raw features were multiplied by.
        data_sha256: digest of its data set.
    """

    folder: Path
    config: RunConfig
    network: SCNetwork
    feature_scale: float
    data_sha256: str


def use_threads(threads: int) -> None:
    """Let PyTorch compute with so many threads; 0 leaves its default."""
    if threads:
        torch.set_num_threads(threads)


def override(
    config: RunConfig, *, seed: int | None = None, data: str | None = None, length_cost: float | None = None
) -> RunConfig:
    """A configuration with some fields replaced; a data file is taken relative to the working folder.

    Raises:
        ConfigError: an unusable value.
    """
    fields = config.model_dump()
    if seed is not None:
        fields["seed"] = seed
    source = data if data is not None else config.data.source
    fields["data"]["source"] = str(Path(source).resolve()) if is_table(source) else source
    if length_cost is not None:
        fields["training"]["length_cost"] = length_cost
    return parse_config(fields, "configuration")


def dataset_of(config: RunConfig) -> Dataset:
    """The data set that a configuration names.

    Raises:
        DataError: missing or malformed.
    """
    data = config.data
    return load_dataset(data.source, folder=data.folder or None, test_share=data.test_share, seed=config.seed)


def train_run(
    config: RunConfig,
    folder: str | os.PathLike[str],
    *,
    data: Dataset | None = None,
    resume: bool = False,
    on_epoch: Callable[[EpochMetrics], None] | None = None,
    on_batch: Callable[[], None] | None = None,
) -> tuple[Run, TrainResult]:
    """Train into a folder.

    A run that was stopped, even killed, and resumed ends with the same files as one that was not.  To resume a
    finished run changes nothing: it reads the result back and writes the same files again.

    Args:
        config: the run.
        folder: a new or empty folder; with ``resume`` one that holds a run of the same configuration.
        data: the data set, if it is at hand already.
        resume: continue from the last whole epoch, or from the start if there is none yet.
        on_epoch: called after every epoch.
        on_batch: called after every step.

    Raises:
        ArtifactError: the folder holds something else, there is nothing to resume, or it cannot be written.
        FolderInUseError: another process trains into the folder.
        ConfigError: the training fails (a loss that is not finite), or names a file with characters TOML has not.
        DataError: the data are missing or malformed.
        InfeasibleError: no candidate design meets the configuration's budget.
    """
    root = Path(folder)
    first = os.environ.get("RANK", "0") == "0"
    try:
        config.to_toml().encode("utf-8")
    except UnicodeEncodeError as error:
        raise ConfigError(f"expected names in Unicode, got {error.object!r}; rename the data file") from error
    config = override(config)  # a relative data file would be looked for in the run's own folder later
    if first and not has_lock(root):  # what another process is changing is looked at when it is ours
        _check_folder(root, config, resume=resume)
    data = data if data is not None else dataset_of(config)
    with hold_folder(root) if first else contextlib.nullcontext():
        if first:
            _check_folder(root, config, resume=resume)  # again: another process may have been here meanwhile
        return _train_held(config, root, data, resume=resume, first=first, on_epoch=on_epoch, on_batch=on_batch)


def _train_held(
    config: RunConfig,
    root: Path,
    data: Dataset,
    *,
    resume: bool,
    first: bool,
    on_epoch: Callable[[EpochMetrics], None] | None,
    on_batch: Callable[[], None] | None,
) -> tuple[Run, TrainResult]:
    """Train into a folder that is ours alone; ``first`` is the process of a job that writes."""
    started = first and not resume
    if started:
        config.save(root / CONFIG)
    resume = resume and (root / CHECKPOINT).is_file()
    budget = config.budget
    try:
        result = train(
            config,
            data,
            folder=root,
            resume=resume,
            on_epoch=on_epoch,
            on_batch=on_batch,
            constraint=None if budget is None else lambda network: BudgetConstraint(network, budget),
        )
    except BitpropError:
        if started and not (root / CHECKPOINT).exists():
            # a run that never had an epoch: the corrected command shall find the folder as it was
            (root / CONFIG).unlink(missing_ok=True)
        raise
    run = Run(root, config, result.network, data.scale, data.digest())
    if first:
        config.save(root / CONFIG)
        # killed between the last checkpoint and its line here, a run has no further epoch to write it in
        lines = [json.dumps(entry.to_dict(), sort_keys=True, allow_nan=False) for entry in result.history]
        write_text(root / METRICS, "".join(f"{line}\n" for line in lines))
        save_network(result.network, root / MODEL)
        write_json(root / SUMMARY, _summary(run, data, result))
    if torch.distributed.is_initialized():
        torch.distributed.barrier()  # the folder is whole when any process goes on
    return run, result


def _check_folder(root: Path, config: RunConfig, *, resume: bool) -> None:
    """Refuse a folder that training must not touch."""
    try:
        if root.exists() and not root.is_dir():
            raise ArtifactError(f"expected a folder at {root}, found a file; choose another one")
        if not resume:
            if root.is_dir() and any(path.name != LOCK for path in root.iterdir()):
                raise ArtifactError(
                    f"expected a new or empty folder, {root} holds files; resume the run or choose another one"
                )
            return
        found = (root / CONFIG).is_file() or (root / CHECKPOINT).is_file()
    except OSError as error:
        raise ArtifactError(f"cannot look at {root}: {error.strerror}; choose another folder") from error
    if not found:
        raise ArtifactError(f"expected an unfinished run in {root}, found none; train without --resume")
    if (root / CONFIG).is_file():
        changes = _changes(load_config(root / CONFIG).model_dump(), config.model_dump())
        if changes:
            raise ArtifactError(
                f"expected the configuration that {root} was started with, got another one: {'; '.join(changes[:4])}; "
                "resume with the same one or choose another folder"
            )


def _changes(old: dict[str, Any], new: dict[str, Any], where: str = "") -> list[str]:
    """What differs between two configurations, field by field."""
    found: list[str] = []
    for key, value in new.items():
        if isinstance(value, dict):
            found += _changes(old[key], value, f"{where}{key}.")
        elif old[key] != value:
            found.append(f"{where}{key} was {old[key]!r} and is {value!r}")
    return found


def _summary(run: Run, data: Dataset, result: TrainResult) -> dict[str, Any]:
    return {
        "schema": _SUMMARY_SCHEMA,
        "schema_version": "1.0",
        **evidence(),
        "bitprop_version": __version__,
        "name": run.config.name,
        "epochs": len(result.history),
        "stopped_early": result.stopped_early,
        "joint_train_accuracy": result.joint_accuracy,
        "committed_train_accuracy": result.committed_accuracy,
        "feature_scale": run.feature_scale,
        "data_sha256": run.data_sha256,
        "evaluation": evaluate_network(run.network, data).to_dict(),
        "sha256": {name: sha256_file(run.folder / name) for name in (CONFIG, MODEL)},
        **({} if run.config.budget is None else {"budget": plan(run.network, run.config.budget).to_dict()}),
    }


def load_run(folder: str | os.PathLike[str]) -> Run:
    """Read a finished run.

    Raises:
        ArtifactError: not a run folder, not finished, or files that its summary does not vouch for.
        ConfigError: the configuration is unusable.
    """
    root = Path(folder)
    if not (root / CONFIG).is_file():
        raise ArtifactError(f"expected a run folder with {CONFIG} at {root}, found none; train one first")
    if not (root / MODEL).is_file() or not (root / SUMMARY).is_file():
        again = shlex.join(["bitprop", "train", str(root / CONFIG), "--output", str(root), "--resume"])
        raise ArtifactError(f"expected a finished run in {root}; continue it: {again}")
    summary = read_json(root / SUMMARY)
    hashes = summary.get("sha256")
    if summary.get("schema") != _SUMMARY_SCHEMA or not isinstance(hashes, dict):
        raise ArtifactError(f"expected a run summary in {root / SUMMARY}; train again")
    for name in (CONFIG, MODEL):
        if sha256_file(root / name) != hashes.get(name):
            raise ArtifactError(f"expected {root / name} as its run wrote it, it was changed since; train again")
    scale = check_real("feature_scale", summary.get("feature_scale"), 0.0, 1e300)
    return Run(root, load_config(root / CONFIG), load_network(root / MODEL), scale, str(summary.get("data_sha256")))


def held_out_data(run: Run, source: str | None = None) -> Dataset:
    """What to evaluate a run on.

    Args:
        run: the finished run.
        source: ``None`` for the held-out part of its own data; the path of a ``.npz`` or ``.csv`` file, all of which is
            held out, scaled as the training data were; or the name of a data set.

    Raises:
        DataError: missing, malformed, or labels the network does not have.
    """
    if source is None:
        data = dataset_of(run.config)
        if data.digest() != run.data_sha256:
            raise DataError(
                f"expected {data.name} as the run was trained on it, it was changed since, so its held-out samples are "
                "others; put it back, or evaluate on a file of its own with --data"
            )
        return data
    if is_table(source):
        network = run.network
        return load_held_out(source, scale=run.feature_scale, signed=network.signed_input, classes=network.features[-1])
    return dataset_of(override(run.config, data=source))


@torch.no_grad()
def evaluate_network(network: SCNetwork, data: Dataset) -> Evaluation:
    """Evaluate on the held-out samples, bit-true and relaxed.

    Raises:
        DataError: the data do not fit the network.
    """
    if data.features != network.features[0] or data.classes > network.features[-1]:
        raise DataError(
            f"expected {network.features[0]} features and at most {network.features[-1]} classes, got "
            f"{data.features} and {data.classes}; evaluate on the data it was trained for"
        )
    if data.signed and not network.signed_input:
        raise DataError("expected features in 0 .. 1, the network was trained on such; got negative ones")
    x, y = torch.from_numpy(data.test_x), torch.from_numpy(data.test_y)
    predicted = network.predict(x)
    confusion = np.zeros((network.features[-1],) * 2, dtype=np.int64)
    np.add.at(confusion, (data.test_y, predicted.numpy()), 1)
    exportable = all(layer.exportable for layer in network.sc_layers())
    return Evaluation(
        dataset=data.name,
        samples=len(y),
        accuracy=int((predicted == y).sum()) / len(y),
        relaxed_accuracy=relaxed_accuracy(network, data),
        confusion=confusion.tolist(),
        layers=[
            {
                "in_features": layer.in_features,
                "out_features": layer.out_features,
                "generator": layer.generator,
                **layer.design.choice().to_dict(),
            }
            for layer in network.sc_layers()
        ],
        mean_length=network.mean_length(),
        cycles_per_inference=latency_cycles(lower(network)) if exportable else None,
    )


def float_config(config: RunConfig) -> RunConfig:
    """The same network and budget in real arithmetic: no streams, no design, every epoch relaxed."""
    training = config.training.model_copy(
        update={"warmup_epochs": config.training.epochs, "joint_epochs": 0, "finish_epochs": 0}
    )
    network = config.network.model_copy(
        update={
            "encodings": ("sign_magnitude",),
            "layout": "independent",
            "min_correlation": 0.0,
            "max_correlation": 0.0,
            "lengths": (1,),
        }
    )
    return config.model_copy(update={"training": training, "network": network})


def float_baseline(config: RunConfig, data: Dataset, on_batch: Callable[[], None] | None = None) -> float:
    """Held-out accuracy of the same network trained in float with the same number of epochs.

    Args:
        config: the stochastic run; its design space is ignored.
        data: the data set.
        on_batch: called after every step.
    """
    return relaxed_accuracy(train(float_config(config), data, on_batch=on_batch).network, data)


def relaxed_accuracy(network: SCNetwork, data: Dataset) -> float:
    """Share right of the held-out samples in the limit of endless, ideal streams; leaves bit-true mode on."""
    network.set_mode("relaxed")
    accuracy = evaluate(network, torch.from_numpy(data.test_x), torch.from_numpy(data.test_y))[1]
    network.set_mode("bit_true")
    return accuracy


def with_lengths(network: SCNetwork, lengths: Sequence[int], encodings: Sequence[str] | None = None) -> SCNetwork:
    """The same weights in a network of these stream lengths, uncorrelated: a conversion.

    Args:
        network: the trained network.
        lengths: cycles of each layer.
        encodings: one candidate encoding list for all layers; ``("sign_magnitude",)`` if ``None``.

    Raises:
        ConfigError: lengths for another number of layers.
    """
    arguments = network.arguments()
    arguments.update(
        lengths=[[length] for length in lengths],
        encodings=list(encodings or ("sign_magnitude",)),
        correlation_range=[[0.0, 0.0]] * len(network.sc_layers()),
    )
    copy = SCNetwork(**arguments)
    with torch.no_grad():
        for target, source in zip(copy.sc_layers(), network.sc_layers(), strict=True):
            target.weight.copy_(source.weight)
            target.bias.copy_(source.bias)
            target.log_gain.copy_(source.log_gain)
    return copy


def uniform_copy(network: SCNetwork, length: int, encodings: Sequence[str] | None = None) -> SCNetwork:
    """:func:`with_lengths` of one length in every layer."""
    return with_lengths(network, [length] * len(network.sc_layers()), encodings)


def integers_of(network: SCNetwork, x: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Samples as the network's input value integers, int64 ``[N, F]``."""
    return np.asarray(network.input_integers(torch.from_numpy(x)).numpy(), dtype=np.int64)


def export_run(
    folder: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    samples: int = 100,
    choice: Choice | None = None,
) -> Manifest:
    """Lower a finished run and write its handoff folder, with held-out samples as test vectors.

    Args:
        folder: the run.
        output: the handoff folder: new, empty, or an earlier handoff, which is replaced.
        samples: at most so many held-out samples.
        choice: the architecture; ``None``: parallel.

    Raises:
        ArtifactError: no finished run, or an output folder that holds something else.
        DocumentError: a fold that does not fit its layer.
        RangeError: a target that no fold meets.
        NotExportableError: the network draws ideal random bits.
        DataError: the run's data are gone, or were changed since.
    """
    run = load_run(folder)
    return export_to(run, held_out_data(run), output, samples=samples, choice=choice)


def export_to(
    run: Run, data: Dataset, output: str | os.PathLike[str], *, samples: int, choice: Choice | None = None
) -> Manifest:
    """:func:`export_run` of a run and data at hand."""
    document = lower(run.network, name=run.config.name, training={"dataset": data.name, "seed": run.config.seed})
    if run.config.budget is not None:
        document = planned_document(document, run.network, run.config.budget)
    document = document if choice is None else choice.apply(document)
    inputs, labels = integers_of(run.network, data.test_x[:samples]), data.test_y[:samples]
    # not the configuration's hash: it names a data file of this machine, and equal runs shall give equal handoffs
    extra = {"model_sha256": sha256_file(run.folder / MODEL)}
    return export_network(document, output, inputs_raw=inputs, labels=labels, extra=extra)
