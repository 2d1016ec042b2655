"""The training loop: relaxed warm-up, joint training of weights and design, bit-true finish.

One epoch is one shuffled pass; its order depends on the run's seed and the epoch's number alone, so a run that was
interrupted and resumed from the checkpoint of its last whole epoch ends with the same weights as one that was not.
The loop runs on Lightning Fabric: under ``torchrun`` every process takes its share of each batch.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from bitprop._checks import one_line
from bitprop.artifacts import sha256_bytes, write_text
from bitprop.data import Dataset
from bitprop.errors import ArtifactError, ConfigError
from bitprop.nn import DesignChoice, SCNetwork
from bitprop.seeds import derive_seed
from bitprop.training.checkpoint import read_checkpoint, write_checkpoint
from bitprop.training.config import RunConfig, TrainingConfig
from bitprop.training.costs import DesignCosts
from bitprop.training.outcome import EpochMetrics, TrainResult

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = [
    "CHECKPOINT",
    "METRICS",
    "PHASES",
    "Constraint",
    "build_network",
    "evaluate",
    "train",
]

PHASES = ("warmup", "joint", "finish")
CHECKPOINT = "checkpoint.pt"
METRICS = "metrics.jsonl"
# Share of all steps over which the learning rate rises; it falls along a cosine after.
_RISE = 0.1


class Constraint(Protocol):
    """What the joint phase must keep, and the choice that is committed after it."""

    def penalty(self, network: SCNetwork) -> Tensor:
        """What the loss grows by, differentiable in the design."""

    def update(self, network: SCNetwork) -> None:
        """Look at the design after a joint epoch."""

    def settle(self, network: SCNetwork) -> None:
        """Make a design that keeps the constraint the likeliest one."""

    def state(self) -> dict[str, float]:
        """What a checkpoint keeps."""

    def load_state(self, state: dict[str, float]) -> None:
        """Take up a checkpoint's state."""


@dataclass(slots=True)
class _State:
    """What a checkpoint holds beside weights and optimiser."""

    epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best_loss: float = math.inf
    best_epoch: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    average: dict[str, Tensor] = field(default_factory=dict)
    joint_accuracy: float | None = None
    committed_accuracy: float | None = None
    stopped: bool = False


def build_network(config: RunConfig, data: Dataset) -> SCNetwork:
    """The untrained network that a configuration describes, for a data set's width, sign and classes."""
    shape = config.network
    return SCNetwork(
        (data.features, *shape.hidden, data.classes),
        signed_input=data.signed,
        activation=shape.activation,
        lengths=shape.lengths_per_layer(),
        encodings=shape.encodings_per_layer(),
        correlation_range=shape.correlations_per_layer(),
        generator=shape.generator,
        layout=shape.layout,
        precision_bits=shape.precision_bits,
        scale_bits=shape.scale_bits,
        slope=shape.slope,
        seed=config.seed,
    )


@torch.no_grad()
def evaluate(network: SCNetwork, x: Tensor, y: Tensor, *, batch: int = 1000) -> tuple[float, float]:
    """Mean cross-entropy and share right of the network in its present mode.

    Args:
        network: any mode but ``sampled``.
        x: ``[N, F]``.
        y: labels ``[N]``.
        batch: samples at a time.
    """
    loss, right = 0.0, 0
    for part, labels in zip(torch.split(x, batch), torch.split(y, batch), strict=True):
        logits = network(part)
        loss += float(nn.functional.cross_entropy(logits, labels, reduction="sum"))
        right += int((logits.argmax(1) == labels).sum())
    return loss / len(y), right / len(y)


def _validation_split(data: Dataset, share: float, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x, y = torch.from_numpy(data.train_x), torch.from_numpy(data.train_y)
    count = round(len(y) * share)
    if count == len(y) or len(y) == 0:
        raise ConfigError(f"expected training samples beside {count} for validation, got {len(y)}; lower the share")
    order = torch.from_numpy(np.random.Generator(np.random.Philox(derive_seed(seed, "validation"))).permutation(len(y)))
    kept, aside = order[count:], order[:count]
    return x[kept], y[kept], x[aside], y[aside]


class _Trainer:
    """One run; :func:`train` is its face."""

    def __init__(
        self,
        config: RunConfig,
        data: Dataset,
        folder: Path | None,
        fabric: Fabric,
        constraint_of: Callable[[SCNetwork], Constraint] | None,
    ) -> None:
        self.config, self.folder, self.fabric = config, folder, fabric
        self.settings: TrainingConfig = config.training
        self.network = build_network(config, data)
        self.x, self.y, self.validation_x, self.validation_y = _validation_split(
            data, config.data.validation_share, config.seed
        )
        self.costs = DesignCosts(self.network, self.settings)
        self.constraint = None if constraint_of is None else constraint_of(self.network)
        self.state = _State()
        self.optimizer = self._make_optimizer()
        self.steps_per_epoch = math.ceil(len(self.y) / self.settings.batch_size)
        self.fingerprint = sha256_bytes(config.to_toml().encode() + data.train_x.tobytes() + data.train_y.tobytes())

    def _make_optimizer(self) -> torch.optim.Optimizer:
        layers = self.network.sc_layers()
        settings = self.settings
        groups: list[dict[str, Any]] = [
            {"params": [layer.weight for layer in layers], "weight_decay": settings.weight_decay},
            {"params": [p for layer in layers for p in (layer.bias, layer.log_gain)]},
            {
                "params": [p for layer in layers for p in layer.design.parameters()],
                "lr": settings.design_learning_rate,
            },
        ]
        optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=0.0, fused=True)
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
        return optimizer

    # -- checkpoints -----------------------------------------------------------------------------------------

    def save_checkpoint(self) -> None:
        """Write the state after a whole epoch, the log first."""
        if self.folder is None:
            return
        root = self.folder
        lines = [json.dumps(entry, sort_keys=True, allow_nan=False) for entry in self.state.history]
        content = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "state": {name: getattr(self.state, name) for name in _State.__slots__},
            "constraint": {} if self.constraint is None else self.constraint.state(),
        }
        log = "".join(f"{line}\n" for line in lines)
        write_checkpoint(
            self.fabric, root / CHECKPOINT, self.fingerprint, content, lambda: write_text(root / METRICS, log)
        )

    def resume(self) -> None:
        """Continue from the folder's checkpoint.

        Raises:
            ArtifactError: none there, damaged, or of another configuration or other data.
        """
        if self.folder is None:
            raise ArtifactError("expected a folder with a checkpoint to resume from, got none; train afresh")
        path = self.folder / CHECKPOINT
        saved = read_checkpoint(self.fabric, path, self.fingerprint)
        try:
            self._take_up(saved)
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise ArtifactError(
                f"expected a checkpoint of this version of bitprop and PyTorch in {path}, got another one "
                f"({one_line(error)}); resume with the versions that it was made with, or train in another folder"
            ) from error

    def _take_up(self, saved: dict[str, Any]) -> None:
        """Go on from a checkpoint's content; what does not fit raises whatever it makes torch or Python raise."""
        self.network.load_state_dict(saved["network"])
        peaks = [group["peak"] for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(saved["optimizer"])
        if [group["peak"] for group in self.optimizer.param_groups] != peaks:
            raise ValueError("the optimiser has other learning rates")
        for parameter, kept in self.optimizer.state.items():
            # the fused step does not look at what it is given
            if any(kept[name].shape != parameter.shape for name in ("exp_avg", "exp_avg_sq")) or "step" not in kept:
                raise ValueError("the optimiser's state has other shapes")
        for name, value in saved["state"].items():
            fresh = getattr(self.state, name)
            if fresh is not None and not isinstance(value, type(fresh)):
                raise TypeError(f"expected {name} as {type(fresh).__name__}, got {type(value).__name__}")
            setattr(self.state, name, value)
        if self.constraint is not None:
            self.constraint.load_state(saved["constraint"])
        if all(layer.design.is_committed for layer in self.network.sc_layers()):
            self.network.commit()

    # -- one epoch -------------------------------------------------------------------------------------------

    def phase_of(self, epoch: int) -> str:
        """Phase of an epoch counted from 1."""
        settings = self.settings
        if epoch <= settings.warmup_epochs:
            return "warmup"
        return "joint" if epoch <= settings.warmup_epochs + settings.joint_epochs else "finish"

    def _enter(self, epoch: int) -> str:
        """Set mode, temperature and commitment for an epoch."""
        phase, settings = self.phase_of(epoch), self.settings
        self.network.set_mode("relaxed" if phase == "warmup" else "bit_true")
        if phase == "joint":
            done = (epoch - 1 - settings.warmup_epochs) / max(1, settings.joint_epochs - 1)
            ratio = settings.temperature_end / settings.temperature_start
            self.network.set_temperature(settings.temperature_start * ratio**done)
        if phase == "finish":
            self.network.set_temperature(
                settings.temperature_end
            )  # a resumed run has not lived through the joint phase
        if phase == "finish" and not self.network.sc_layers()[0].design.is_committed:
            self._commit(after_joint=settings.joint_epochs > 0)
        return phase

    def _commit(self, *, after_joint: bool) -> None:
        if after_joint:
            self.state.joint_accuracy = evaluate(self.network, self.x, self.y)[1]
        self._choose()
        if after_joint:
            self.state.committed_accuracy = evaluate(self.network, self.x, self.y)[1]
        self.state.average.clear()  # averages of the mixture's weights are not the choice's

    def _choose(self) -> list[DesignChoice]:
        """Commit the likeliest design, that of the constraint if there is one."""
        if self.constraint is not None and not all(layer.design.is_committed for layer in self.network.sc_layers()):
            self.constraint.settle(self.network)
        return self.network.commit()

    def _learning_rates(self, step: int) -> None:
        total = self.settings.epochs * self.steps_per_epoch
        rise = max(1, round(_RISE * total))
        share = (step + 1) / rise if step < rise else 0.5 * (1 + math.cos(math.pi * (step - rise) / (total - rise)))
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * share

    def _batches(self, epoch: int) -> Iterator[Tensor]:
        """Index batches of an epoch; every process gets an equal share of each."""
        order = np.random.Generator(np.random.Philox(derive_seed(self.config.seed, "order", epoch))).permutation(
            len(self.y)
        )
        world, rank = self.fabric.world_size, self.fabric.global_rank
        for batch in torch.split(torch.from_numpy(order), self.settings.batch_size):
            share = batch[: len(batch) - len(batch) % world]
            if len(share):
                yield share[rank::world]

    def _costs(self) -> Tensor:
        cost = self.costs(self.network)
        return cost if self.constraint is None else cost + self.constraint.penalty(self.network)

    def run_epoch(self, module: nn.Module, optimizer: Any, on_batch: Callable[[], None]) -> EpochMetrics:
        """Train one epoch and measure it."""
        epoch = self.state.epoch + 1
        phase = self._enter(epoch)
        losses = torch.zeros(2, dtype=torch.float64)
        right = seen = 0
        settings = self.settings
        dithered = phase != "warmup" and epoch <= settings.warmup_epochs + settings.dither_epochs
        seed = derive_seed(self.config.seed, "dither", epoch)
        dither = np.random.Generator(np.random.Philox(seed)) if dithered else None
        for index, batch in enumerate(self._batches(epoch)):
            self._learning_rates((epoch - 1) * self.steps_per_epoch + index)
            self._set_dither(dither)
            labels = self.y[batch]
            logits = module(self.x[batch])
            task = nn.functional.cross_entropy(logits, labels, label_smoothing=self.settings.label_smoothing)
            loss = task + self._costs() if phase == "joint" else task
            if not bool(torch.isfinite(loss.detach())):
                raise ConfigError(
                    f"expected a finite loss, got {float(loss.detach())} in epoch {epoch}; lower learning_rate"
                )
            optimizer.zero_grad()
            self.fabric.backward(loss)
            if phase == "warmup":
                self._freeze_design()
            optimizer.step()
            self.network.project_()
            self._average(epoch, index)
            with torch.no_grad():
                losses += torch.stack([loss.detach(), task.detach()]).double() * len(batch)
                right += int((logits.argmax(1) == labels).sum())
                seen += len(batch)
            on_batch()
        self._set_dither(None)
        if phase == "joint" and self.constraint is not None:
            self.constraint.update(self.network)
        totals = self.fabric.all_reduce(
            torch.tensor([*losses.tolist(), right, seen], dtype=torch.float64), reduce_op="sum"
        )
        sums = totals if isinstance(totals, Tensor) else torch.tensor([*losses.tolist(), right, seen])
        return self._measure(epoch, phase, sums)

    def _set_dither(self, generator: np.random.Generator | None) -> None:
        for layer in self.network.sc_layers():
            layer.dither = 0.0 if generator is None else float(generator.uniform(-0.5, 0.5))

    def _freeze_design(self) -> None:
        """Drop the design's gradients: relaxed streams have no length, so the choice would be made half blind."""
        for layer in self.network.sc_layers():
            for parameter in layer.design.parameters():
                parameter.grad = None

    def _average(self, epoch: int, index: int) -> None:
        decay = self.settings.average_decay
        if not decay:
            return
        average, step = self.state.average, (epoch - 1) * self.steps_per_epoch + index
        # a window of a tenth of the run so far, at most: streams are tuned to their gains, and an average that reaches
        # back to other gains belongs to neither
        weight = max(1 - decay, 9 / (10 + step))
        for name, parameter in self.network.named_parameters():
            if ".design." not in name:
                value = parameter.detach()
                average[name] = average[name].lerp_(value, weight) if name in average else value.clone()

    def _measure(self, epoch: int, phase: str, sums: Tensor) -> EpochMetrics:
        loss, task, right, seen = sums.tolist()
        validation_loss = validation_accuracy = None
        if len(self.validation_y):
            with self._averaged():
                validation_loss, validation_accuracy = evaluate(self.network, self.validation_x, self.validation_y)
        return EpochMetrics(
            epoch=epoch,
            phase=phase,
            loss=loss / seen,
            task_loss=task / seen,
            train_accuracy=right / seen,
            validation_loss=validation_loss,
            validation_accuracy=validation_accuracy,
            mean_length=float(self.network.expected_mean_length().detach()),
            design=self.network.design_state(),
        )

    def _averaged(self) -> _Swapped:
        return _Swapped(self.network, self.state.average)

    def remember_best(self, metrics: EpochMetrics) -> None:
        """Keep the best weights of the finish phase; note when patience runs out."""
        if metrics.phase != "finish" or metrics.validation_loss is None:
            return
        if metrics.validation_loss < self.state.best_loss:
            self.state.best_loss, self.state.best_epoch = metrics.validation_loss, metrics.epoch
            with self._averaged():
                self.state.best_weights = {k: v.clone() for k, v in self.network.state_dict().items()}
        elif self.settings.patience and metrics.epoch - self.state.best_epoch >= self.settings.patience:
            self.state.stopped = True

    def finish(self) -> TrainResult:
        """Put the kept weights in place and commit what is not."""
        if self.state.best_weights:
            self.network.load_state_dict(self.state.best_weights)
        elif self.state.average:
            self.network.load_state_dict(self.state.average, strict=False)
        choices = self._choose()
        self.network.set_mode("bit_true")
        return TrainResult(
            network=self.network,
            history=[EpochMetrics(**entry) for entry in self.state.history],
            choices=choices,
            joint_accuracy=self.state.joint_accuracy,
            committed_accuracy=self.state.committed_accuracy,
            stopped_early=self.state.stopped,
        )


class _Swapped:
    """Averaged weights for the length of a block, the trained ones after it."""

    def __init__(self, network: SCNetwork, average: dict[str, Tensor]) -> None:
        self._network, self._average = network, average
        self._kept: dict[str, Tensor] = {}

    def __enter__(self) -> None:
        self._kept = {k: v.clone() for k, v in self._network.state_dict().items() if k in self._average}
        self._network.load_state_dict(self._average, strict=False)

    def __exit__(self, *_: object) -> None:
        self._network.load_state_dict(self._kept, strict=False)


def train(
    config: RunConfig,
    data: Dataset,
    *,
    folder: str | os.PathLike[str] | None = None,
    resume: bool = False,
    on_epoch: Callable[[EpochMetrics], None] | None = None,
    on_batch: Callable[[], None] | None = None,
    constraint: Callable[[SCNetwork], Constraint] | None = None,
) -> TrainResult:
    """Train a network with its design.

    Args:
        config: the run; its budget is not looked at here.
        data: the data set; its held-out part is not looked at.
        folder: where ``checkpoint.pt`` and ``metrics.jsonl`` go after every epoch; nowhere if ``None``.
        resume: continue from the folder's checkpoint.
        on_epoch: called after every epoch.
        on_batch: called after every step.
        constraint: makes what the design must keep from the untrained network.

    Returns:
        The committed network and its history.

    Raises:
        ConfigError: no training samples left, or a loss that is not finite.
        ArtifactError: no usable checkpoint to resume from.
    """
    # it imports PyTorch's compiler, which takes two seconds, and nothing but training needs it
    from lightning_fabric import Fabric

    root = None if folder is None else Path(folder)
    if root is not None:
        root.mkdir(parents=True, exist_ok=True)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    fabric = Fabric(
        accelerator="cpu",
        devices=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
        # a phase uses some of the variables only: relaxed mode no lengths, a committed design no logits
        strategy="ddp_find_unused_parameters_true" if world > 1 else "auto",
    )
    fabric.launch()
    trainer = _Trainer(config, data, root, fabric, constraint)
    if resume:
        trainer.resume()
    module, optimizer = fabric.setup(trainer.network, trainer.optimizer)
    while trainer.state.epoch < config.training.epochs and not trainer.state.stopped:
        metrics = trainer.run_epoch(module, optimizer, on_batch or (lambda: None))
        trainer.state.epoch = metrics.epoch
        trainer.state.history.append(metrics.to_dict())
        trainer.remember_best(metrics)
        trainer.save_checkpoint()
        if on_epoch is not None and fabric.is_global_zero:
            on_epoch(metrics)
    return trainer.finish()
