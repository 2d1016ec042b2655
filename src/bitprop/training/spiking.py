"""A small training loop for spiking and conventional networks: seeded, resumable, the same bytes for the same seed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bitprop._checks import check_integer, check_real
from bitprop.artifacts import canonical_json, sha256_bytes
from bitprop.errors import DataError, ShapeError
from bitprop.seeds import derive_seed
from bitprop.training.checkpoint import read_checkpoint, write_checkpoint

__all__ = ["SpikingEpoch", "SpikingTrainConfig", "accuracy", "train_spiking"]

Loss = Callable[[Any, Tensor], Tensor]
Predict = Callable[[Any], Tensor]


@dataclass(frozen=True, slots=True)
class SpikingTrainConfig:
    """How a network is trained.

    Attributes:
        epochs: passes over the data.
        batch: samples of a step.
        learning_rate: of Adam, falling to zero along a cosine.
        weight_decay: of AdamW.
        seed: of the order of the data, 0 .. 2**63 - 1.
        clip: largest gradient norm, or 0 for none.

    Raises:
        RangeError: a value out of range.
    """

    epochs: int = 8
    batch: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    seed: int = 0
    clip: float = 0.0

    def __post_init__(self) -> None:
        check_integer("epochs", self.epochs, 1, 1_000_000)
        check_integer("batch", self.batch, 1, 1 << 24)
        check_real("learning_rate", self.learning_rate, 1e-12, 1e3)
        check_real("weight_decay", self.weight_decay, 0.0, 1e3)
        check_integer("seed", self.seed, 0, 2**63 - 1)
        check_real("clip", self.clip, 0.0, 1e9)

    def to_dict(self) -> dict[str, Any]:
        """Plain fields."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class SpikingEpoch:
    """What one epoch gave: its number from 1, mean training loss, and training accuracy before each step."""

    epoch: int
    loss: float
    accuracy: float


def _logits(output: Any) -> Tensor:
    value = getattr(output, "logits", output)
    if not isinstance(value, Tensor):
        raise ShapeError(f"expected logits or an output with logits, got {type(value).__name__}; give predict=")
    return value


def _fingerprint(model: nn.Module, x: Tensor, y: Tensor, config: SpikingTrainConfig) -> str:
    names = {name: list(p.shape) for name, p in model.named_parameters()}
    data = sha256_bytes(x.contiguous().numpy().tobytes() + y.contiguous().numpy().tobytes())
    return sha256_bytes(canonical_json({"names": names, "data": data, "config": config.to_dict()}).encode())


def train_spiking(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    loss_fn: Loss,
    config: SpikingTrainConfig,
    *,
    predict: Predict = _logits,
    checkpoint: Path | None = None,
    resume: bool = False,
    on_epoch: Callable[[SpikingEpoch], None] | None = None,
) -> list[SpikingEpoch]:
    """Train in place with AdamW; an interrupted run that is resumed ends with the same weights.

    Args:
        model: called with a batch of x.
        x: samples ``[N, ...]``, finite.
        y: labels ``[N]``, int64.
        loss_fn: ``loss_fn(output, labels)``.
        config: epochs, batch, learning rate, seed.
        predict: output to logits ``[B, classes]``; default: the output itself, or its ``logits``.
        checkpoint: file written after every epoch.
        resume: continue from that file.
        on_epoch: told of every epoch.

    Returns:
        Every epoch, those before a resume included.

    Raises:
        DataError: no samples, not finite, or not as many labels.
        ArtifactError: a checkpoint that is missing, damaged or of another run.
        ShapeError: an output without logits and no ``predict``.
    """
    # it imports PyTorch's compiler, which takes two seconds, and nothing but training needs it
    from lightning_fabric import Fabric

    if len(x) == 0 or len(x) != len(y) or not bool(torch.isfinite(x).all()):
        raise DataError(f"expected finite samples and as many labels, got {list(x.shape)} and {list(y.shape)}")
    fabric = Fabric(accelerator="cpu", devices=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    steps = -(-len(x) // config.batch)
    fingerprint = _fingerprint(model, x, y, config)
    history: list[SpikingEpoch] = []
    if resume and checkpoint is not None:
        saved = read_checkpoint(fabric, checkpoint, fingerprint)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        history = [SpikingEpoch(*row) for row in saved["history"]]
    model.train()
    for epoch in range(len(history), config.epochs):
        generator = torch.Generator().manual_seed(derive_seed(config.seed, "order", epoch))
        order = torch.randperm(len(x), generator=generator)
        total, right = 0.0, 0
        for step, chosen in enumerate(order.split(config.batch)):  # type: ignore[no-untyped-call]
            progress = (epoch * steps + step) / (config.epochs * steps)
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))
            output = model(x[chosen])
            loss = loss_fn(output, y[chosen])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            if config.clip:
                nn.utils.clip_grad_norm_(model.parameters(), config.clip)
            optimizer.step()
            total += float(loss.detach()) * len(chosen)
            right += int((predict(output).argmax(1) == y[chosen]).sum())
        history.append(SpikingEpoch(epoch + 1, total / len(x), right / len(x)))
        if checkpoint is not None:
            content = {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "history": [[item.epoch, item.loss, item.accuracy] for item in history],
            }
            write_checkpoint(fabric, checkpoint, fingerprint, content, lambda: None)
        if on_epoch is not None:
            on_epoch(history[-1])
    return history


def accuracy(model: nn.Module, x: Tensor, y: Tensor, *, predict: Predict = _logits, batch: int = 1000) -> float:
    """Share of right answers, without gradients.

    Raises:
        DataError: no samples.
    """
    if len(x) == 0:
        raise DataError("expected samples to evaluate, got none")
    was = model.training
    model.eval()
    try:
        with torch.no_grad():
            right = 0
            for start in range(0, len(x), batch):
                stop = start + batch
                right += int((predict(model(x[start:stop])).argmax(1) == y[start:stop]).sum())
    finally:
        model.train(was)
    return right / len(x)
