"""Networks of spiking neurons: dense and convolutional, with a readout that does not spike."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bitprop._checks import check_choice, check_integer
from bitprop.errors import RangeError, ShapeError
from bitprop.nn.neuron import (
    LIF,
    AbstractNeuron,
    AdaptiveLIF,
    LeakyIntegrator,
    RecurrentAdaptiveLIF,
    RecurrentLIF,
    RecurrentSynaptic,
    Synaptic,
)
from bitprop.nn.neuron._layer import dense
from bitprop.seeds import derive_seed

__all__ = ["NEURONS", "READOUTS", "SpikingConvNetwork", "SpikingNetwork", "SpikingOutput"]

NEURONS: dict[str, Callable[..., AbstractNeuron[Any]]] = {
    "lif": LIF,
    "synaptic": Synaptic,
    "adaptive_lif": AdaptiveLIF,
    "recurrent_lif": RecurrentLIF,
    "recurrent_synaptic": RecurrentSynaptic,
    "recurrent_adaptive_lif": RecurrentAdaptiveLIF,
}
"""Hidden neurons by name."""
READOUTS = ("mean", "last", "max")


class SpikingOutput(NamedTuple):
    """What a spiking network gives.

    Attributes:
        logits: ``[B, classes]``: the mean, last or largest potential of the readout.
        trace: potentials of the readout, ``[T, B, classes]``.
        spikes: of every hidden layer, ``[T, B, ...]`` each.
    """

    logits: Tensor
    trace: Tensor
    spikes: tuple[Tensor, ...]


def _initialise(module: nn.Module, seed: int, name: str) -> None:
    """Uniform weights in +-1/sqrt(fan-in) from an explicit generator, as PyTorch's own layers draw them."""
    generator = torch.Generator().manual_seed(derive_seed(seed, name))
    weight = module.weight
    assert isinstance(weight, Tensor)  # noqa: S101 - linear and convolutional layers only
    bound = 1.0 / math.sqrt(weight[0].numel())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_((2.0 * torch.rand(parameter.shape, generator=generator) - 1.0) * bound)


def _quiet_layer(make: Callable[[], nn.Module]) -> nn.Module:
    """A layer made without moving the user's random generator."""
    state = torch.get_rng_state()
    try:
        return make()
    finally:
        torch.set_rng_state(state)


def _neuron(name: str, features: int, seed: int, options: dict[str, Any]) -> AbstractNeuron[Any]:
    if name.startswith("recurrent"):
        return NEURONS[name](features, seed=seed, **options)
    return NEURONS[name](**options)


class _Network(nn.Module):
    """Layers in turn, each over all time steps; the first is evaluated once for a constant input."""

    def __init__(self, readout: str, readout_beta: float, steps: int | None) -> None:
        super().__init__()
        self.readout = check_choice("readout", readout, READOUTS)
        self.steps = None if steps is None else check_integer("steps", steps, 1, 1 << 20)
        self.integrator = LeakyIntegrator(readout_beta)

    def _over_time(self, layer: nn.Module, x: Tensor) -> Tensor:
        """A layer on every step at once: ``[T, B, ...]``."""
        return layer(x.flatten(0, 1)).unflatten(0, x.shape[:2])  # type: ignore[no-any-return]

    def _stage(self, layer: nn.Module, neuron: nn.Module, x: Tensor) -> Tensor:
        """A dense layer on every step, then its neurons: ``[T, B, ...]``."""
        together = dense(layer, neuron, x)
        if together is not None:
            return together
        out: Tensor = neuron(self._over_time(layer, x))[0]
        return out

    def _first(self, layer: nn.Module, x: Tensor, axes: int) -> tuple[Tensor, int | None]:
        """Its current, and for how many steps that is held: ``None`` if it has a time axis."""
        if x.dim() == axes + 1:  # [B, ...]: a constant current
            if self.steps is None:
                raise ShapeError(
                    f"expected an input [T, B, ...], got {list(x.shape)} and no steps; give steps= for a constant input"
                )
            return layer(x), self.steps
        if x.dim() != axes + 2:
            raise ShapeError(f"expected an input of {axes + 1} or {axes + 2} axes, got {list(x.shape)}")
        return self._over_time(layer, x), None

    def _read(self, trace: Tensor, spikes: Sequence[Tensor]) -> SpikingOutput:
        logits = {"mean": lambda: trace.mean(0), "last": lambda: trace[-1], "max": lambda: trace.amax(0)}[
            self.readout
        ]()
        return SpikingOutput(logits, trace, tuple(spikes))


class SpikingNetwork(_Network):
    """Dense layers with spiking neurons between them and a leaky integrator at the end.

    Args:
        widths: inputs, hidden layers, outputs; at least two.
        neuron: name of the hidden neurons, from :data:`NEURONS`.
        steps: time steps of a constant input ``[B, F]``; ``None``: inputs are ``[T, B, F]``.
        readout: ``mean``, ``last`` or ``max`` of the readout's potential.
        readout_beta: its decay.
        seed: of the weights, 0 .. 2**63 - 1.
        options: of the hidden neurons.

    Raises:
        RangeError: an argument out of range.

    Example:
        >>> net = SpikingNetwork((4, 8, 3), steps=5)
        >>> out = net(torch.rand(2, 4, generator=torch.Generator().manual_seed(0)))
        >>> out.logits.shape, out.spikes[0].shape
        (torch.Size([2, 3]), torch.Size([5, 2, 8]))
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        neuron: str = "lif",
        steps: int | None = None,
        readout: str = "mean",
        readout_beta: float = 0.9,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(readout, readout_beta, steps)
        check_choice("neuron", neuron, tuple(NEURONS))
        if len(widths) < 2:
            raise RangeError(f"expected at least inputs and outputs in widths, got {tuple(widths)!r}")
        self.widths = tuple(check_integer("a width", width, 1, 1 << 20) for width in widths)
        pairs = list(pairwise(self.widths))
        self.layers = nn.ModuleList(_quiet_layer(lambda a=a, b=b: nn.Linear(a, b)) for a, b in pairs)  # type: ignore[misc]
        for k, layer in enumerate(self.layers):
            _initialise(layer, seed, f"layer {k}")
        self.neurons = nn.ModuleList(
            _neuron(neuron, width, derive_seed(seed, "neuron", k), options) for k, width in enumerate(self.widths[1:-1])
        )

    def forward(self, x: Tensor) -> SpikingOutput:
        """Input current ``[T, B, F]``, or ``[B, F]`` held for ``steps``, to :class:`SpikingOutput`.

        Raises:
            ShapeError: another shape.
        """
        if x.shape[-1] != self.widths[0]:
            raise ShapeError(f"expected {self.widths[0]} features on the last axis, got {list(x.shape)}")
        outputs: list[Tensor] = []
        for layer, neuron in zip(self.layers, (*self.neurons, self.integrator), strict=True):
            if not outputs and x.dim() != 3:
                current, steps = self._first(layer, x, 1)
                x, _ = neuron(current, steps=steps)
            else:
                x = self._stage(layer, neuron, x)
            outputs.append(x)
        return self._read(outputs[-1], outputs[:-1])


class SpikingConvNetwork(_Network):
    """Convolutions with spiking neurons, average pooling after each, then one dense layer into the readout.

    Args:
        shape: channels, rows and columns of the input.
        channels: of each convolution (3 x 3, padding 1), each followed by spikes and 2 x 2 average pooling.
        classes: outputs.
        neuron: name of the hidden neurons, not a recurrent one.
        steps: time steps of a constant input ``[B, C, H, W]``.
        readout: ``mean``, ``last`` or ``max``.
        readout_beta: decay of the readout.
        seed: of the weights.
        options: of the hidden neurons.

    Raises:
        RangeError: an argument out of range, or a picture too small for that many poolings.

    Example:
        >>> net = SpikingConvNetwork((1, 8, 8), (4, 4), 3, steps=5)
        >>> net(torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))).logits.shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        channels: Sequence[int],
        classes: int,
        *,
        neuron: str = "lif",
        steps: int | None = None,
        readout: str = "mean",
        readout_beta: float = 0.9,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(readout, readout_beta, steps)
        check_choice("neuron", neuron, tuple(name for name in NEURONS if not name.startswith("recurrent")))
        if len(shape) != 3 or not channels:
            raise RangeError(f"expected shape (channels, rows, columns) and at least one convolution, got {shape!r}")
        self.shape = tuple(check_integer("a side", side, 1, 1 << 16) for side in shape)
        check_integer("classes", classes, 1, 1 << 20)
        planes = [self.shape[0], *(check_integer("channels", c, 1, 1 << 16) for c in channels)]
        rows, columns = self.shape[1] >> len(channels), self.shape[2] >> len(channels)
        if rows == 0 or columns == 0:
            raise RangeError(f"expected a picture of at least {1 << len(channels)} pixels a side, got {self.shape[1:]}")
        self.convolutions = nn.ModuleList(
            _quiet_layer(lambda a=a, b=b: nn.Conv2d(a, b, 3, padding=1))  # type: ignore[misc]
            for a, b in pairwise(planes)
        )
        self.neurons = nn.ModuleList(NEURONS[neuron](**options) for _ in channels)
        self.pool = nn.AvgPool2d(2)
        self.dense = _quiet_layer(lambda: nn.Linear(planes[-1] * rows * columns, classes))
        for k, layer in enumerate((*self.convolutions, self.dense)):
            _initialise(layer, seed, f"layer {k}")

    def forward(self, x: Tensor) -> SpikingOutput:
        """Input current ``[T, B, C, H, W]``, or ``[B, C, H, W]`` held for ``steps``.

        Raises:
            ShapeError: another shape.
        """
        if tuple(x.shape[-3:]) != self.shape:
            raise ShapeError(f"expected {self.shape} on the last axes, got {list(x.shape)}")
        spikes: list[Tensor] = []
        current, steps = self._first(self.convolutions[0], x, 3)
        for k, neuron in enumerate(self.neurons):
            fired, _ = neuron(current, steps=steps)
            spikes.append(fired)
            steps = None
            pooled = self._over_time(self.pool, fired)
            following = self.convolutions[k + 1] if k + 1 < len(self.convolutions) else None
            current = self._over_time(following, pooled) if following is not None else pooled.flatten(2)
        return self._read(self._stage(self.dense, self.integrator, current), spikes)
