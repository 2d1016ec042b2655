"""Spiking against conventional: the same data, order and budget, several seeds, paired differences with intervals."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from scipy import special
from torch import Tensor, nn

from bitprop._checks import check_integer, check_real
from bitprop.errors import DataError, RangeError
from bitprop.training.spiking import SpikingTrainConfig, accuracy, train_spiking
from bitprop.verification.replay._world import with_gradients
from bitprop.verification.result import plain

__all__ = ["ENERGY_SOURCE", "ComparativeBenchmark", "ComparisonResult", "OperationCount", "count_operations"]

MULTIPLY_ADD_PJ, ADD_PJ = 4.6, 0.9
ENERGY_SOURCE = (
    "proxy: 4.6 pJ a float32 multiply-add, 0.9 pJ an add, 45 nm (Horowitz, ISSCC 2014); nothing was measured"
)
"""What the energy figure is."""
_TOLERANCE = 0.01  # parameters may differ by so much


@dataclass(frozen=True, slots=True)
class OperationCount:
    """Synaptic operations of one inference.

    Attributes:
        additions: weights added because an input is one (a spike times its fan-out).
        multiplications: weights multiplied by an input that is neither zero nor one.
        spikes: inputs of weight layers that are one and belong to a layer that sees zeros and ones only.
    """

    additions: float
    multiplications: float
    spikes: float

    @property
    def total(self) -> float:
        """Additions and multiplications."""
        return self.additions + self.multiplications

    @property
    def energy_proxy_pj(self) -> float:
        """Energy by :data:`ENERGY_SOURCE`, in picojoules."""
        return self.additions * ADD_PJ + self.multiplications * MULTIPLY_ADD_PJ


def count_operations(model: nn.Module, x: Tensor) -> OperationCount:
    """Count what every linear and convolutional layer of a model does for one sample, on average over a batch.

    A layer whose inputs are all zeros and ones is event-driven: each one costs its fan-out in additions.  Any other
    layer multiplies: each nonzero input costs its fan-out in multiplications.

    Args:
        model: any module; it is run once without gradients.
        x: a batch, or ``[T, B, ...]`` where the model takes that; the count is divided by ``samples`` of the first
            layer's batch.

    Example:
        >>> count_operations(nn.Linear(3, 4), torch.tensor([[1.0, 0.0, 1.0]])).additions
        8.0
    """
    sums = {"additions": 0.0, "multiplications": 0.0, "spikes": 0.0}

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        given = inputs[0].detach()
        fired = given != 0
        if isinstance(module, nn.Linear):
            operations = float(fired.double().sum()) * module.out_features
        else:
            assert isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d)  # noqa: S101 - hooked for these only
            ones = torch.ones_like(module.weight)
            kind = {nn.Conv1d: torch.conv1d, nn.Conv2d: torch.conv2d, nn.Conv3d: torch.conv3d}[type(module)]
            reached = kind(
                fired.to(ones.dtype), ones, None, module.stride, module.padding, module.dilation, module.groups
            )
            operations = float(reached.double().sum())
        if bool(((given == 0) | (given == 1)).all()):
            sums["additions"] += operations
            sums["spikes"] += float(fired.double().sum())
        else:
            sums["multiplications"] += operations

    layers = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)]
    handles = [layer.register_forward_hook(hook) for layer in layers]
    was = model.training
    model.eval()
    try:
        with torch.no_grad():
            model(x)
    finally:
        model.train(was)
        for handle in handles:
            handle.remove()
    batch = max(len(x), 1)
    return OperationCount(**{name: value / batch for name, value in sums.items()})


@dataclass(frozen=True, slots=True)
class ComparisonResult:
    """Two families of networks on one task.

    Attributes:
        rows: one for each family: name, parameters, mean and every accuracy, loss, seconds, operations, energy proxy.
        difference: mean of spiking less conventional accuracy, paired by seed.
        difference_interval: its t interval of 95 per cent.
        seeds: in order.
        energy: what the energy figure is.
        seconds: wall time; not compared.
    """

    rows: tuple[dict[str, Any], ...]
    difference: float
    difference_interval: tuple[float, float]
    seeds: tuple[int, ...]
    energy: str = ENERGY_SOURCE
    seconds: float = field(default=0.0, compare=False)

    @property
    def data(self) -> dict[str, Any]:
        """Series for plots."""
        return {"rows": [dict(row) for row in self.rows]}

    def to_dict(self) -> dict[str, Any]:
        """Plain fields."""
        values: dict[str, Any] = plain(asdict(self))
        return values

    def to_text(self) -> str:
        """One line for each family, and the difference."""
        lines = [
            f"{row['name']}: {row['parameters']:,} parameters, accuracy {row['accuracy']:.2%}, "
            f"{row['synaptic_operations']:,.0f} synaptic operations, multiplications {row['multiplications']:,.0f}"
            for row in self.rows
        ]
        low, high = (100 * bound for bound in self.difference_interval)
        found = f"{100 * self.difference:+.2f} points (95%: {low:+.2f} to {high:+.2f})"
        return "\n".join([*lines, f"spiking less conventional, {len(self.seeds)} seeds: {found}"])


class ComparativeBenchmark:
    """Trains spiking and conventional networks under the same conditions.

    Args:
        tolerance: largest relative difference of the numbers of parameters, 0 .. 1.
    """

    def __init__(self, *, tolerance: float = _TOLERANCE) -> None:
        self._tolerance = check_real("tolerance", tolerance, 0.0, 1.0)

    @with_gradients
    def benchmark_training(
        self,
        snn_factory: Callable[[int], nn.Module],
        ann_factory: Callable[[int], nn.Module],
        train: tuple[Tensor, Tensor],
        test: tuple[Tensor, Tensor],
        loss_fn: Callable[[Any, Tensor], Tensor],
        *,
        config: SpikingTrainConfig | None = None,
        seeds: Sequence[int] = (0, 1, 2, 3, 4),
        ann_loss_fn: Callable[[Any, Tensor], Tensor] | None = None,
    ) -> ComparisonResult:
        """Train both families on every seed, with the same order of samples and the same number of steps.

        Args:
            snn_factory: seed to a spiking network; its output is logits, or has ``logits``.
            ann_factory: seed to a conventional network with as many parameters.
            train: samples and labels.
            test: samples and labels, used once after training.
            loss_fn: ``loss_fn(output, labels)``.
            config: epochs, batch, learning rate; its seed is replaced by each of ``seeds``.
            seeds: at least two, all different; five are advised.
            ann_loss_fn: loss of the conventional network, if another.

        Raises:
            RangeError: too few seeds, or numbers of parameters that differ by more than the tolerance.
            DataError: no samples, not finite, or not as many labels.
        """
        if len(set(seeds)) < 2 or len(set(seeds)) != len(seeds):
            raise RangeError(f"expected at least two different seeds, got {tuple(seeds)}")
        start = time.perf_counter()
        base = config or SpikingTrainConfig()
        numbers = [_size(factory(seeds[0])) for factory in (snn_factory, ann_factory)]
        if abs(numbers[0] - numbers[1]) > self._tolerance * max(numbers):
            raise RangeError(
                f"expected numbers of parameters within {self._tolerance:.0%}, got {numbers[0]:,} and {numbers[1]:,}; "
                "change a width"
            )
        if len(test[0]) == 0:
            raise DataError("expected test samples, got none")
        rows = []
        for name, factory, loss in (
            ("spiking", snn_factory, loss_fn),
            ("conventional", ann_factory, ann_loss_fn or loss_fn),
        ):
            rows.append(self._family(name, factory, loss, train, test, base, seeds))
        pairs = [a - b for a, b in zip(rows[0]["accuracies"], rows[1]["accuracies"], strict=True)]
        mean = statistics.fmean(pairs)
        half = float(special.stdtrit(len(pairs) - 1, 0.975)) * statistics.stdev(pairs) / math.sqrt(len(pairs))
        return ComparisonResult(
            rows=tuple(rows),
            difference=mean,
            difference_interval=(mean - half, mean + half),
            seeds=tuple(check_integer("a seed", seed, 0, 2**63 - 1) for seed in seeds),
            seconds=time.perf_counter() - start,
        )

    def _family(
        self,
        name: str,
        factory: Callable[[int], nn.Module],
        loss_fn: Callable[[Any, Tensor], Tensor],
        train: tuple[Tensor, Tensor],
        test: tuple[Tensor, Tensor],
        base: SpikingTrainConfig,
        seeds: Sequence[int],
    ) -> dict[str, Any]:
        accuracies, losses, seconds, counts = [], [], [], []
        size = 0
        for seed in seeds:
            model = factory(seed)
            size = _size(model)
            config = SpikingTrainConfig(**{**base.to_dict(), "seed": seed})
            begin = time.perf_counter()
            history = train_spiking(model, *train, loss_fn, config)
            seconds.append(time.perf_counter() - begin)
            losses.append(history[-1].loss)
            accuracies.append(accuracy(model, *test))
            counts.append(count_operations(model, test[0][:256]))
        return {
            "name": name,
            "parameters": size,
            "accuracy": statistics.fmean(accuracies),
            "accuracies": accuracies,
            "loss": statistics.fmean(losses),
            "seconds": statistics.fmean(seconds),
            "spikes": statistics.fmean(c.spikes for c in counts),
            "synaptic_operations": statistics.fmean(c.total for c in counts),
            "multiplications": statistics.fmean(c.multiplications for c in counts),
            "energy_proxy_pj": statistics.fmean(c.energy_proxy_pj for c in counts),
        }


def _size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())
