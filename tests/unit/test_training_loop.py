"""The loop: it learns, it resumes to the same bytes, and it refuses what it cannot use."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from safetensors import safe_open
from safetensors.torch import save

from bitprop.data import Dataset
from bitprop.errors import ArtifactError, ConfigError, RangeError
from bitprop.nn import SCNetwork
from bitprop.nn.storage import load_network, save_network
from bitprop.training.checkpoint import _digest
from bitprop.training.config import RunConfig, load_config, parse_config
from bitprop.training.loop import CHECKPOINT, METRICS, train
from bitprop.training.outcome import EpochMetrics


def blobs(samples: int = 120, seed: int = 3) -> Dataset:
    """Four well separated clusters in six dimensions."""
    generator = np.random.Generator(np.random.Philox(seed))
    centres = np.array([[1, 0, 0, 1, 0, 1], [0, 1, 0, 1, 1, 0], [0, 0, 1, 0, 1, 1], [1, 1, 1, 0, 0, 0]])
    y = np.arange(samples) % 4
    x = np.clip(0.15 + 0.7 * centres[y] + generator.normal(0, 0.1, (samples, 6)), 0, 1).astype(np.float32)
    half = samples // 2
    return Dataset("blobs", x[:half], y[:half].astype(np.int64), x[half:], y[half:].astype(np.int64), 4)


def config(**training: object) -> RunConfig:
    settings = {
        "warmup_epochs": 3,
        "joint_epochs": 3,
        "finish_epochs": 3,
        "batch_size": 16,
        "learning_rate": 0.02,
        **training,
    }
    return parse_config(
        {
            "name": "blobs",
            "data": {"validation_share": 0.2},
            "network": {"hidden": [16], "lengths": [2, 4, 8]},
            "training": settings,
        }
    )


class StopError(Exception):
    pass


def stop_after(epoch: int) -> Callable[[EpochMetrics], None]:
    def callback(metrics: EpochMetrics) -> None:
        if metrics.epoch == epoch:
            raise StopError

    return callback


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left"), RuntimeError("unexpected pos: No space left")]
)
def test_a_full_disk_leaves_no_half_of_a_checkpoint(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fabric: Fabric, path: Path, _state: object) -> None:
        path.write_bytes(b"PK")
        raise error

    train(config(warmup_epochs=1), blobs(), folder=tmp_path)
    before = (tmp_path / CHECKPOINT).read_bytes()
    monkeypatch.setattr(Fabric, "save", full)
    with pytest.raises(ArtifactError, match="No space left; free some space and resume"):
        train(config(warmup_epochs=2), blobs(), folder=tmp_path)
    assert (tmp_path / CHECKPOINT).read_bytes() == before
    assert not list(tmp_path.glob("*.part"))


def test_it_learns_and_commits() -> None:
    data = blobs()
    result = train(config(warmup_epochs=30, finish_epochs=30), data)
    right = result.network.predict(torch.from_numpy(data.test_x)) == torch.from_numpy(data.test_y)
    assert float(right.float().mean()) > 0.9
    assert [entry.phase for entry in result.history[29:34]] == ["warmup", "joint", "joint", "joint", "finish"]
    assert all(layer.design.is_committed for layer in result.network.sc_layers())
    assert result.joint_accuracy is not None
    assert result.committed_accuracy is not None


@pytest.mark.parametrize(("average", "dither"), [(0.0, 0), (0.9, 0), (0.9, 5)])
@pytest.mark.parametrize("stops", [(1,), (3, 4), (7,)])
def test_resuming_ends_with_the_same_weights_and_log(
    tmp_path: Path, stops: tuple[int, ...], average: float, dither: int
) -> None:
    data, settings = blobs(), config(average_decay=average, dither_epochs=dither)
    whole = train(settings, data, folder=tmp_path / "whole")
    for index, epoch in enumerate(stops):
        with pytest.raises(StopError):
            train(settings, data, folder=tmp_path / "parts", resume=index > 0, on_epoch=stop_after(epoch))
    resumed = train(settings, data, folder=tmp_path / "parts", resume=True)
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, resumed.network.state_dict()[name]), name
    assert (tmp_path / "whole" / METRICS).read_bytes() == (tmp_path / "parts" / METRICS).read_bytes()
    assert (
        save_network(whole.network, tmp_path / "a").read_bytes()
        == save_network(resumed.network, tmp_path / "b").read_bytes()
    )


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_generator_alone() -> None:
    data = blobs()
    before = torch.get_rng_state()
    first, second = train(config(), data).network, train(config(), data).network
    assert torch.equal(before, torch.get_rng_state())
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    other = train(config().model_copy(update={"seed": 1}), data).network
    assert not torch.equal(first.sc_layers()[0].weight, other.sc_layers()[0].weight)


def test_dither_moves_the_levels_in_its_epochs_only() -> None:
    seen: dict[int, set[float]] = {}
    data = blobs()
    networks = []
    from bitprop.training import loop

    build = loop.build_network
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "build_network", lambda *a: networks.append(build(*a)) or networks[-1])
        epoch = [1]

        def on_batch() -> None:
            seen.setdefault(epoch[0], set()).add(networks[0].sc_layers()[0].dither)

        train(
            config(warmup_epochs=1, joint_epochs=2, finish_epochs=2, dither_epochs=2),
            data,
            on_batch=on_batch,
            on_epoch=lambda metrics: epoch.__setitem__(0, metrics.epoch + 1),
        )
    assert seen[1] == seen[4] == seen[5] == {0.0}
    for dithered in (2, 3):
        assert len(seen[dithered]) == 3
        assert max(abs(value) for value in seen[dithered]) <= 0.5
    layer = networks[0].sc_layers()[0]
    layer.dither = 0.25
    r, moved = layer.numbers(8)[0], layer._training_numbers(8)[0]
    assert torch.equal((r + 8) % 256, moved)


def test_a_higher_price_gives_shorter_streams() -> None:
    data = blobs()
    cheap = train(config(length_cost=0.0, joint_epochs=12), data).network.mean_length()
    dear = train(config(length_cost=3.0, joint_epochs=12), data).network.mean_length()
    assert dear < cheap


def test_patience_stops_and_the_best_weights_are_kept() -> None:
    data = blobs()
    result = train(config(finish_epochs=200, patience=3, learning_rate=0.05), data)
    assert result.stopped_early
    assert len(result.history) < 206
    finish = [entry for entry in result.history if entry.phase == "finish"]
    best = min(finish, key=lambda entry: entry.validation_loss or math.inf)
    assert finish[-1].epoch - best.epoch == 3


def test_bad_checkpoints_are_refused(tmp_path: Path) -> None:
    data = blobs()
    with pytest.raises(ArtifactError, match="none"):
        train(config(), data, folder=tmp_path, resume=True)
    with pytest.raises(StopError):
        train(config(), data, folder=tmp_path, on_epoch=stop_after(2))
    good = (tmp_path / CHECKPOINT).read_bytes()
    with pytest.raises(ArtifactError, match="very configuration"):
        train(config(batch_size=8), data, folder=tmp_path, resume=True)
    with pytest.raises(ArtifactError, match="very configuration"):
        train(config(), blobs(seed=4), folder=tmp_path, resume=True)
    flipped = bytearray(good)
    place = good.index(
        torch.load(tmp_path / CHECKPOINT, weights_only=True)["network"]["layers.0.weight"].numpy().tobytes()
    )
    flipped[place + 5] ^= 1  # a weight in the middle of the file: still a loadable archive
    for content in (b"", b"torn", good[: len(good) // 2], b"not a checkpoint", bytes(flipped)):
        (tmp_path / CHECKPOINT).write_bytes(content)
        with pytest.raises(ArtifactError, match="cannot read"):
            train(config(), data, folder=tmp_path, resume=True)


def test_checkpoints_of_other_versions_are_refused_in_a_line(tmp_path: Path) -> None:
    """Whole and of this configuration, but other weights, another optimiser, another state, no plain values."""
    data = blobs()
    with pytest.raises(StopError):
        train(config(), data, folder=tmp_path, on_epoch=stop_after(1))
    path = tmp_path / CHECKPOINT
    good = path.read_bytes()

    def refused(change: Callable[[dict[str, Any]], object]) -> str:
        path.write_bytes(good)
        saved = torch.load(path, weights_only=True)
        del saved["digest"]
        change(saved)
        torch.save({**saved, "digest": _digest(saved)}, path)
        with pytest.raises(ArtifactError) as raised:
            train(config(), data, folder=tmp_path, resume=True)
        assert "\n" not in str(raised.value)
        return str(raised.value)

    changes: list[Callable[[dict[str, Any]], object]] = [
        lambda saved: saved["network"].update({"layers.0.weight": torch.zeros(1)}),
        lambda saved: saved["network"].pop("layers.0.weight"),
        lambda saved: saved["optimizer"]["param_groups"].pop(),
        lambda saved: saved["optimizer"]["param_groups"][0].pop("peak"),
        lambda saved: saved["optimizer"]["param_groups"][0].update(peak=0.5),
        lambda saved: saved["optimizer"].pop("state"),
        lambda saved: saved["optimizer"]["state"][0].pop("exp_avg"),
        lambda saved: saved["optimizer"]["state"][0].update(exp_avg=torch.zeros(3)),
        lambda saved: saved["optimizer"]["state"][0].pop("step"),
        lambda saved: saved["state"].update(surprise=1),
        lambda saved: saved["state"].update(epoch="one"),
        lambda saved: saved.pop("state"),
    ]
    for change in changes:
        assert "resume with the versions that it was made with" in refused(change)
    said = refused(lambda saved: saved.update(module=torch.nn.Linear(1, 1)))
    assert "more than tensors and plain values; delete it" in said
    assert "weights_only" not in said


def test_a_checkpoint_that_may_not_be_read_is_not_to_be_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    (tmp_path / CHECKPOINT).write_bytes(b"")
    monkeypatch.setattr(Fabric, "load", forbidden)
    with pytest.raises(ArtifactError, match="Permission denied; make it readable"):
        train(config(), blobs(), folder=tmp_path, resume=True)


def test_inputs_that_are_not_finite_are_said() -> None:
    data = blobs()
    data.train_x[0, 0] = np.nan
    with pytest.raises(RangeError, match="finite inputs"):
        train(config(), data)


def test_a_diverging_loss_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from bitprop.training import loop

    build = loop.build_network

    def broken(*arguments: Any) -> SCNetwork:
        network = build(*arguments)
        network.sc_layers()[-1].log_gain.data.fill_(200.0)  # the logits overflow
        return network

    monkeypatch.setattr(loop, "build_network", broken)
    with pytest.raises(ConfigError, match="finite loss"):
        train(config(), blobs())


def test_networks_on_disk(tmp_path: Path) -> None:
    network = train(config(), blobs()).network
    path = save_network(network, tmp_path / "model.safetensors")
    back = load_network(path)
    x = torch.rand(30, 6, generator=torch.Generator().manual_seed(0))
    raw = network.input_integers(x)
    assert all(torch.equal(a, b) for a, b in zip(network.forward_raw(raw), back.forward_raw(raw), strict=True))
    assert back.arguments() == network.arguments()
    content = path.read_bytes()
    for damaged in (b"", content[:40], content[:-5], b"x" * 100):
        path.write_bytes(damaged)
        with pytest.raises(ArtifactError):
            load_network(path)
    with pytest.raises(ArtifactError, match="none"):
        load_network(tmp_path / "nowhere")
    with safe_open(save_network(network, path), framework="pt") as stream:
        metadata = stream.metadata()
    path.write_bytes(save({"layers.0.weight": torch.zeros(1)}, metadata))
    with pytest.raises(ArtifactError, match=r"Error\(s\) in loading .*the file is damaged$"):
        load_network(path)
    broken = SCNetwork((6, 5, 4))
    broken.sc_layers()[0].weight.data[0, 0] = math.nan
    save_network(broken, path)
    with pytest.raises(ArtifactError, match="finite"):
        load_network(path)


def test_configuration_round_trip(tmp_path: Path) -> None:
    original = config()
    assert load_config(original.save(tmp_path / "c.toml")) == original
    per_layer = parse_config({"network": {"hidden": [5], "lengths": [[2, 4], [64]]}})
    assert load_config(per_layer.save(tmp_path / "d.toml")).network.lengths_per_layer() == ((2, 4), (64,))
    (tmp_path / "e.toml").write_text('[data]\nsource = "mine.csv"\n', encoding="utf-8")
    assert load_config(tmp_path / "e.toml").data.source == str((tmp_path / "mine.csv").resolve())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "TOML"),
        ('name = "Has Space"', "name"),
        ('name = "module"', "name"),
        ('name = "bitprop_mine"', "prefix"),
        (f"[network]\nhidden = {[2] * 64}\nlengths = [4]", "hidden"),
        ("surprise = 1", "surprise"),
        ("[network]\nlengths = []", "lengths"),
        ("[network]\nlengths = [8, 4]", "increasing"),
        ("[network]\nlengths = [[4], [8], [16]]", "2 layers"),
        ('[network]\nencodings = ["ternary"]', "unipolar"),
        ('[network]\ngenerator = "mersenne"', "sobol"),
        ('[network]\nactivation = "relu"', "activation"),
        ("[network]\nmin_correlation = 0.5\nmax_correlation = -0.5", "smallest"),
        ("[training]\nlearning_rate = 0", "learning_rate"),
        ("[training]\nlearning_rate = nan", "learning_rate"),
        ("[training]\nwarmup_epochs = 0\njoint_epochs = 0\nfinish_epochs = 0", "epoch"),
        ("[data]\ntest_share = 1.5", "test_share"),
    ],
)
def test_bad_configurations_name_the_field(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_config(path)


def test_missing_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none"):
        load_config(tmp_path / "nowhere.toml")
