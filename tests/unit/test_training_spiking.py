"""The loop: learns, is deterministic, resumes to equal weights, refuses bad data and other runs' checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bitprop.errors import ArtifactError, DataError, RangeError, ShapeError
from bitprop.nn import SpikingNetwork, SpikingOutput
from bitprop.training.spiking import SpikingEpoch, SpikingTrainConfig, accuracy, train_spiking

CONFIG = SpikingTrainConfig(epochs=4, batch=25, learning_rate=0.02, seed=3, clip=5.0)


def data() -> tuple[Tensor, Tensor]:
    x = torch.rand(100, 4, generator=torch.Generator().manual_seed(1))
    return x, (x[:, 0] > x[:, 1]).long()


def network() -> SpikingNetwork:
    return SpikingNetwork((4, 20, 2), steps=6, surrogate="atan", seed=1)


def loss(output: SpikingOutput, y: Tensor) -> Tensor:
    return functional.cross_entropy(output.logits, y)


def weights(model: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in model.parameters()]


def test_it_learns_and_repeats() -> None:
    x, y = data()
    state = torch.get_rng_state()
    first, second = network(), network()
    a, b = train_spiking(first, x, y, loss, CONFIG), train_spiking(second, x, y, loss, CONFIG)
    assert a == b
    assert all(torch.equal(p, q) for p, q in zip(weights(first), weights(second), strict=True))
    assert a[-1].loss < a[0].loss
    assert accuracy(first, x, y) > 0.8
    assert torch.equal(state, torch.get_rng_state())


def test_an_interrupted_run_resumes_to_equal_weights(tmp_path: Path) -> None:
    x, y = data()
    whole = network()
    history = train_spiking(whole, x, y, loss, CONFIG)
    path = tmp_path / "checkpoint.pt"

    def interrupt(epoch: SpikingEpoch) -> None:
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_spiking(network(), x, y, loss, CONFIG, checkpoint=path, on_epoch=interrupt)
    resumed = network()
    assert train_spiking(resumed, x, y, loss, CONFIG, checkpoint=path, resume=True) == history
    assert all(torch.equal(p, q) for p, q in zip(weights(whole), weights(resumed), strict=True))


def test_checkpoints_of_other_runs_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    x, y = data()
    path = tmp_path / "checkpoint.pt"
    train_spiking(network(), x, y, loss, SpikingTrainConfig(epochs=1), checkpoint=path)
    with pytest.raises(ArtifactError, match="this very configuration"):
        train_spiking(network(), x, y, loss, SpikingTrainConfig(epochs=2), checkpoint=path, resume=True)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ArtifactError, match="cannot read the checkpoint"):
        train_spiking(network(), x, y, loss, SpikingTrainConfig(epochs=1), checkpoint=path, resume=True)
    with pytest.raises(ArtifactError, match="found none"):
        train_spiking(network(), x, y, loss, CONFIG, checkpoint=tmp_path / "none.pt", resume=True)


@pytest.mark.parametrize(
    "arguments", [{"epochs": 0}, {"batch": 0}, {"learning_rate": float("nan")}, {"seed": -1}, {"weight_decay": -1.0}]
)
def test_bad_configurations(arguments: dict[str, Any]) -> None:
    with pytest.raises(RangeError):
        SpikingTrainConfig(**arguments)


def test_bad_data() -> None:
    x, y = data()
    for bad in (x[:0], x * float("nan")):
        with pytest.raises(DataError, match="finite samples"):
            train_spiking(network(), bad, y[: len(bad)], loss, CONFIG)
    with pytest.raises(DataError, match="as many labels"):
        train_spiking(network(), x, y[:5], loss, CONFIG)
    with pytest.raises(DataError, match="samples to evaluate"):
        accuracy(network(), x[:0], y[:0])

    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 2)

        def forward(self, v: Tensor) -> tuple[Tensor, int]:
            return self.fc(v), 1

    with pytest.raises(ShapeError, match="give predict="):
        train_spiking(Pair(), x, y, lambda out, t: functional.cross_entropy(out[0], t), CONFIG)
    history = train_spiking(
        Pair(), x, y, lambda out, t: functional.cross_entropy(out[0], t), CONFIG, predict=lambda out: out[0]
    )
    assert len(history) == 4
