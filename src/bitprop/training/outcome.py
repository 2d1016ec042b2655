"""What an epoch of training, and a whole run of it, leave behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bitprop.nn import DesignChoice, SCNetwork

__all__ = ["EpochMetrics", "TrainResult"]


@dataclass(frozen=True, slots=True)
class EpochMetrics:
    """What one epoch gave.

    Attributes:
        epoch: from 1.
        phase: ``warmup``, ``joint`` or ``finish``.
        loss: mean training loss, costs included.
        task_loss: mean cross-entropy of the training samples.
        train_accuracy: share right while training.
        validation_loss: mean cross-entropy of the validation samples in the epoch's mode, or ``None`` without any.
        validation_accuracy: share right of those samples in the epoch's mode, or ``None``.
        mean_length: expected stream length, weighted by products, in cycles.
        design: per layer, probabilities, expected length, correlation, gain.
    """

    epoch: int
    phase: str
    loss: float
    task_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    mean_length: float
    design: list[dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """Plain fields, in order."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class TrainResult:
    """The end of a run.

    Attributes:
        network: committed, in bit-true mode, with the best (or last) weights.
        history: one entry per epoch.
        choices: the design of every layer.
        joint_accuracy: training accuracy of the mixture at the end of the joint phase, or ``None`` without one.
        committed_accuracy: the same weights with the choice committed, before the finish, or ``None``.
        stopped_early: whether patience ran out.
    """

    network: SCNetwork
    history: list[EpochMetrics]
    choices: list[DesignChoice]
    joint_accuracy: float | None
    committed_accuracy: float | None
    stopped_early: bool
