"""Run folders: the same bytes whatever interrupted the run, and nothing believed that its summary contradicts."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from bitprop.artifacts import read_json, sha256_file, write_json
from bitprop.data import Dataset
from bitprop.errors import ArtifactError, BitpropError, ConfigError, DataError, InfeasibleError, NotExportableError
from bitprop.nn import SCNetwork
from bitprop.runs import (
    CONFIG,
    MODEL,
    SUMMARY,
    dataset_of,
    evaluate_network,
    export_run,
    float_baseline,
    float_config,
    held_out_data,
    integers_of,
    load_run,
    override,
    relaxed_accuracy,
    train_run,
    uniform_copy,
    use_threads,
)
from bitprop.training.config import BudgetConfig, RunConfig, load_config, parse_config
from bitprop.training.loop import CHECKPOINT, METRICS, train
from bitprop.training.outcome import EpochMetrics

FILES = {CONFIG, MODEL, SUMMARY, CHECKPOINT, METRICS}


def blobs(samples: int = 80, *, signed: bool = False) -> Dataset:
    """Four clusters in four dimensions."""
    generator = np.random.Generator(np.random.Philox(3))
    y = np.arange(samples, dtype=np.int64) % 4
    x = np.clip(0.15 + 0.7 * np.eye(4)[y] + generator.normal(0, 0.1, (samples, 4)), 0, 1).astype(np.float32)
    x = 2 * x - 1 if signed else x
    half = samples // 2
    return Dataset("blobs", x[:half], y[:half], x[half:], y[half:], 4)


def config(generator: str = "sobol", **training: object) -> RunConfig:
    epochs = {"warmup_epochs": 1, "joint_epochs": 2, "finish_epochs": 2, "batch_size": 16, **training}
    network = {"hidden": [5], "lengths": [2, 4], "generator": generator}
    return parse_config({"name": "blobs", "network": network, "training": epochs})


class StopError(Exception):
    pass


def stop_after(epoch: int) -> Callable[[EpochMetrics], None]:
    def callback(metrics: EpochMetrics) -> None:
        if metrics.epoch == epoch:
            raise StopError

    return callback


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the checkpoint, which records an optimiser's state as PyTorch writes it."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != CHECKPOINT}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    train_run(config(), folder, data=blobs())
    return folder


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(whole, tmp_path / "run"))


def test_a_run_folder_holds_what_it_says(whole: Path) -> None:
    assert {path.name for path in whole.iterdir()} == FILES
    summary = read_json(whole / SUMMARY)
    assert summary["epochs"] == 5
    assert summary["hardware_measurement_claimed"] is False
    assert summary["sha256"] == {name: sha256_file(whole / name) for name in (CONFIG, MODEL)}
    assert len((whole / METRICS).read_text(encoding="utf-8").splitlines()) == 5
    loaded = load_run(whole)
    assert loaded.config == config()
    assert evaluate_network(loaded.network, blobs()).to_dict() == summary["evaluation"]


def test_the_saved_configuration_drives_the_same_run(whole: Path, tmp_path: Path) -> None:
    train_run(load_config(whole / CONFIG), tmp_path / "again", data=blobs())
    assert contents(tmp_path / "again") == contents(whole)


@pytest.mark.parametrize("epoch", [1, 2, 3, 4, 5])
def test_stopped_and_resumed_is_the_same_run(whole: Path, tmp_path: Path, epoch: int) -> None:
    with pytest.raises(StopError):
        train_run(config(), tmp_path / "run", data=blobs(), on_epoch=stop_after(epoch))
    assert not (tmp_path / "run" / MODEL).exists()
    with pytest.raises(ArtifactError, match=r"bitprop train .*config\.toml --output .* --resume"):
        load_run(tmp_path / "run")
    with pytest.raises(ArtifactError, match="resume"):
        train_run(config(), tmp_path / "run", data=blobs())
    train_run(config(), tmp_path / "run", data=blobs(), resume=True)
    for name in (MODEL, METRICS, CONFIG, SUMMARY):
        assert (tmp_path / "run" / name).read_bytes() == (whole / name).read_bytes(), name


def test_stopped_in_the_first_epoch_starts_again(whole: Path, tmp_path: Path) -> None:
    """Otherwise the two messages, resume it and train afresh, would send the user in a circle."""

    def stop() -> None:
        raise StopError

    with pytest.raises(StopError):
        train_run(config(), tmp_path / "run", data=blobs(), on_batch=stop)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {CONFIG}
    with pytest.raises(ArtifactError, match="seed was 0 and is 1"):
        train_run(override(config(), seed=1), tmp_path / "run", data=blobs(), resume=True)
    train_run(config(), tmp_path / "run", data=blobs(), resume=True)
    assert contents(tmp_path / "run") == contents(whole)


def test_resuming_a_finished_run_changes_nothing(whole: Path, run: Path) -> None:
    epochs: list[EpochMetrics] = []
    _, result = train_run(config(), run, data=blobs(), resume=True, on_epoch=epochs.append)
    assert epochs == []
    assert len(result.history) == 5
    assert contents(run) == contents(whole)


@pytest.mark.parametrize("name", [METRICS, MODEL, SUMMARY, CONFIG])
def test_resuming_makes_a_lost_or_torn_file_again(whole: Path, run: Path, name: str) -> None:
    """A process may be killed between any two files."""
    (run / name).unlink()
    (run / f".{name}.abc.part").write_bytes(b"torn")
    train_run(config(), run, data=blobs(), resume=True)
    (run / f".{name}.abc.part").unlink()
    assert contents(run) == contents(whole)
    if name != CONFIG:
        (run / name).write_bytes((whole / name).read_bytes()[:40])
        train_run(config(), run, data=blobs(), resume=True)
        assert contents(run) == contents(whole)


def test_resuming_asks_for_the_same_configuration_and_data(run: Path) -> None:
    before = contents(run)
    with pytest.raises(ArtifactError, match=r"training\.batch_size was 16 and is 8"):
        train_run(config(batch_size=8), run, data=blobs(), resume=True)
    with pytest.raises(ArtifactError, match="data"):
        train_run(config(), run, data=blobs(60), resume=True)
    # a configuration that somebody edited after the fact does not fit the checkpoint
    config(batch_size=8).save(run / CONFIG)
    with pytest.raises(ArtifactError, match="configuration"):
        train_run(config(batch_size=8), run, data=blobs(), resume=True)
    config().save(run / CONFIG)
    assert contents(run) == before


@pytest.mark.parametrize("resume", [False, True])
def test_folders_that_are_none(tmp_path: Path, resume: bool) -> None:
    file = tmp_path / "file"
    file.write_text("mine", encoding="utf-8")
    for place in (file, file / "below", Path("/proc/bitprop"), tmp_path / ("n" * 300)):
        with pytest.raises(ArtifactError):
            train_run(config(), place, data=blobs(), resume=resume)
    assert file.read_text(encoding="utf-8") == "mine"


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine", encoding="utf-8")
    with pytest.raises(ArtifactError, match="holds files"):
        train_run(config(), tmp_path, data=blobs())
    with pytest.raises(ArtifactError, match="none"):
        train_run(config(), tmp_path, data=blobs(), resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_budget_that_nothing_meets_leaves_the_folder_as_it_was(tmp_path: Path, whole: Path) -> None:
    config = load_run(whole).config
    for folder in (tmp_path / "new", tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        before = folder.exists()
        with pytest.raises(InfeasibleError, match="nearest"):
            train_run(config.model_copy(update={"budget": BudgetConfig(lut=1)}), folder)
        assert folder.exists() == before
        assert not list(folder.glob("*"))


def test_an_empty_folder_will_do(tmp_path: Path, whole: Path) -> None:
    (tmp_path / "empty").mkdir()
    train_run(config(), tmp_path / "empty", data=blobs())
    assert contents(tmp_path / "empty") == contents(whole)


def test_a_tampered_run_is_not_read(run: Path) -> None:
    summary = read_json(run / SUMMARY)
    other = override(config(), seed=5)
    other.save(run / CONFIG)
    with pytest.raises(ArtifactError, match="changed since"):
        load_run(run)
    config().save(run / CONFIG)
    load_run(run)
    for broken in ({}, {**summary, "schema": "x"}, {**summary, "sha256": []}, {**summary, "sha256": {}}):
        write_json(run / SUMMARY, broken)
        with pytest.raises(ArtifactError):
            load_run(run)
    # hashes made to fit do not make a network of it
    (run / MODEL).write_bytes(b"x" * 500)
    write_json(run / SUMMARY, {**summary, "sha256": {name: sha256_file(run / name) for name in (CONFIG, MODEL)}})
    with pytest.raises(ArtifactError, match="safetensors"):
        load_run(run)


def test_torchrun_with_two_processes(tmp_path: Path) -> None:
    """One network, though each process has half of each batch; the same files as always, though they share a folder:
    whoever comes second must not take the first one's files for somebody else's."""
    script = tmp_path / "job.py"
    script.write_text(
        f"import os, sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import test_runs, test_training_loop\n"
        "from bitprop.nn.storage import save_network\n"
        "from bitprop.runs import train_run\n"
        "from bitprop.training.loop import train\n"
        f"os.chdir({str(tmp_path)!r})\n"
        "for resume in (False, True):\n"
        "    train_run(test_runs.config(), 'run', data=test_runs.blobs(), resume=resume)\n"
        "result = train(test_training_loop.config(), test_training_loop.blobs(), folder='loop')\n"
        "save_network(result.network, 'rank' + os.environ['RANK'])\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    load_run(tmp_path / "run")
    assert (tmp_path / "rank0").read_bytes() == (tmp_path / "rank1").read_bytes()
    assert len((tmp_path / "loop" / METRICS).read_text(encoding="utf-8").splitlines()) == 9


# --- evaluation, baselines, conversion ------------------------------------------------------------------------------


def test_evaluation_counts(whole: Path) -> None:
    data = blobs()
    network = load_run(whole).network
    evaluation = evaluate_network(network, data)
    confusion = np.array(evaluation.confusion)
    assert confusion.sum() == evaluation.samples == 40
    assert evaluation.accuracy == np.trace(confusion) / 40
    assert (confusion.sum(axis=1) == 10).all()
    assert [layer["in_features"] for layer in evaluation.layers] == [4, 5]
    lengths = [layer["length"] for layer in evaluation.layers]
    assert evaluation.cycles_per_inference == sum(lengths) + 2 * len(lengths) + 1
    assert evaluation.mean_length == pytest.approx((lengths[0] * 20 + lengths[1] * 20) / 40)
    # it leaves the network as it found it
    assert evaluate_network(network, data) == evaluation


def test_data_that_do_not_fit_are_refused(whole: Path) -> None:
    network, data = load_run(whole).network, blobs()
    with pytest.raises(DataError, match="negative"):
        evaluate_network(network, blobs(signed=True))
    wide = Dataset("wide", data.train_x[:, :3], data.train_y, data.test_x[:, :3], data.test_y, 4)
    with pytest.raises(DataError, match="features"):
        evaluate_network(network, wide)
    many = Dataset("many", data.train_x, data.train_y, data.test_x, data.test_y, 5)
    with pytest.raises(DataError, match="classes"):
        evaluate_network(network, many)
    fewer = Dataset("fewer", data.train_x, data.train_y, data.test_x, np.minimum(data.test_y, 1), 2)
    assert evaluate_network(network, fewer).samples == 40


def test_float_baseline_is_a_relaxed_training(whole: Path) -> None:
    data = blobs()
    network = train(float_config(config()), data).network
    assert float_baseline(config(), data) == relaxed_accuracy(network, data)
    assert [layer.design.choice().correlation for layer in network.sc_layers()] == [0.0, 0.0]
    x = torch.from_numpy(data.test_x)
    bits = network(x)
    relaxed_accuracy(network, data)
    assert torch.equal(network(x), bits)  # bit-true again


@pytest.mark.parametrize("length", [1, 7, 64])
def test_uniform_copies_keep_the_weights(whole: Path, length: int) -> None:
    network = load_run(whole).network
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    copy = uniform_copy(network, length)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert copy.mean_length() == length
    for one, other in zip(copy.sc_layers(), network.sc_layers(), strict=True):
        assert torch.equal(one.weight, other.weight)
        assert one.design.choice().encoding == "sign_magnitude"
    bipolar = uniform_copy(network, length, ["bipolar"])
    assert {layer.design.choice().encoding for layer in bipolar.sc_layers()} == {"bipolar"}


def test_integers_are_the_networks_own(whole: Path) -> None:
    network, data = load_run(whole).network, blobs()
    raw = integers_of(network, data.test_x)
    assert raw.dtype == np.int64
    assert (raw == np.rint(data.test_x * 256)).all()


def test_export_of_a_run(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitprop.runs.dataset_of", lambda _: blobs())
    manifest = export_run(whole, tmp_path / "handoff", samples=3)
    assert manifest.fields["samples"] == 3
    assert manifest.fields["extra"]["model_sha256"] == sha256_file(whole / MODEL)
    assert export_run(whole, tmp_path / "all", samples=1000).fields["samples"] == 40
    with pytest.raises(BitpropError):
        export_run(whole, tmp_path / "none", samples=0)
    assert not (tmp_path / "none").exists()


def test_ideal_bits_are_evaluated_and_not_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = train_run(config("bernoulli"), tmp_path / "run", data=blobs())
    assert evaluate_network(run.network, blobs()).cycles_per_inference is None
    monkeypatch.setattr("bitprop.runs.dataset_of", lambda _: blobs())
    with pytest.raises(NotExportableError):
        export_run(tmp_path / "run", tmp_path / "handoff")
    assert not (tmp_path / "handoff").exists()


# --- small helpers --------------------------------------------------------------------------------------------------


def test_override(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    base = config()
    assert override(base) == base
    assert override(base, data="digits").data.source == "digits"
    assert override(base, data="a/b.csv").data.source == str(tmp_path / "a" / "b.csv")
    assert override(base, data=str(tmp_path / "c.npz")).data.source == str(tmp_path / "c.npz")
    changed = override(base, seed=3, length_cost=0.0)
    assert (changed.seed, changed.training.length_cost) == (3, 0.0)
    assert base == config()
    for wrong in ({"seed": -1}, {"seed": 1 << 63}, {"length_cost": float("nan")}, {"length_cost": -0.1}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            override(base, **wrong)


def test_the_data_set_of_a_configuration(tmp_path: Path) -> None:
    data = dataset_of(config())
    assert (data.name, data.features, len(data.test_y)) == ("digits", 64, 360)
    with pytest.raises(DataError, match="none"):
        dataset_of(override(config(), data=str(tmp_path / "nowhere.csv")))


def test_threads() -> None:
    before = torch.get_num_threads()
    try:
        use_threads(2)
        assert torch.get_num_threads() == 2
        use_threads(0)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_metrics_are_json_lines(whole: Path) -> None:
    lines = [json.loads(line) for line in (whole / METRICS).read_text(encoding="utf-8").splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4, 5]
    assert [line["phase"] for line in lines] == ["warmup", "joint", "joint", "finish", "finish"]


def test_a_network_that_was_not_trained_here(tmp_path: Path) -> None:
    """An evaluation needs no run: any network and any data that fit."""
    assert evaluate_network(SCNetwork((4, 3, 4), seed=1), blobs()).samples == 40


def test_the_float_baseline_has_no_streams_and_multiplies() -> None:
    network = config().network.model_copy(update={"layout": "aligned"})
    float_run = float_config(config().model_copy(update={"network": network}))
    assert (float_run.network.layout, float_run.network.encodings) == ("independent", ("sign_magnitude",))
    assert float_run.training.warmup_epochs == float_run.training.epochs == config().training.epochs


def test_a_data_file_that_changed_is_refused(tmp_path: Path) -> None:
    rows = [f"{i % 7},{(i * 3) % 5},{i % 2}" for i in range(40)]
    table = tmp_path / "t.csv"
    table.write_text("\n".join(rows), encoding="utf-8")
    settings = override(config(), data=str(table))
    train_run(settings, tmp_path / "run")
    run = load_run(tmp_path / "run")
    assert held_out_data(run).digest() == run.data_sha256
    table.write_text("\n".join([*rows[::-1], "100,0,0"]), encoding="utf-8")
    with pytest.raises(DataError, match="changed since"):
        held_out_data(run)
    with pytest.raises(DataError, match="changed since"):
        export_run(tmp_path / "run", tmp_path / "handoff")
    assert held_out_data(run, str(table)).test_x.shape == (41, 2)  # a file of its own, whole, is fine
