"""Quantisation-aware training of dense networks: weights and activations of b bits, with learned steps.

A number is replaced by ``step * clamp(round(value / step), low, high)`` in the forward pass; backward, rounding is
passed straight through inside the range, and the step gets the derivative of that expression.  Weights are symmetric,
one step a layer; activations, behind a ReLU, are ``0 .. 2**b - 1`` steps; inputs in [0, 1] have the fixed step
``1 / (2**b - 1)``.

Reference: Esser et al., *Learned step size quantization*, ICLR 2020.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from bitprop._checks import check_integer
from bitprop.errors import ShapeError

__all__ = ["QuantisedLinear", "QuantisedNetwork", "quantise_steps", "train_quantised"]


def quantise_steps(value: Tensor, step: Tensor, low: int, high: int) -> Tensor:
    """``step * clamp(round(value / step), low, high)``, differentiable in both by the straight-through rule.

    Example:
        >>> quantise_steps(torch.tensor([0.4, 9.0]), torch.tensor(0.5), 0, 3).tolist()
        [0.5, 1.5]
    """
    # the gradient of a step is a sum over all elements: scaled so that it moves as a weight does
    scale = 1.0 / math.sqrt(value.numel() * high)
    step = (step * scale) + (step - step * scale).detach()
    levels = torch.clamp(value / step, low, high)
    return (levels + (torch.round(levels) - levels).detach()) * step


class QuantisedLinear(nn.Module):
    """A dense layer whose weights are b-bit integers times a learned step.

    Attributes:
        weight: ``[O, I]``.
        bias: ``[O]``.
        weight_step: the step of the weights, positive.
        output_step: the step of what the layer gives; not used in the last.
    """

    def __init__(self, in_features: int, out_features: int, bits: int, generator: torch.Generator) -> None:
        super().__init__()
        bound = math.sqrt(6.0 / in_features)
        self.weight = nn.Parameter((torch.rand(out_features, in_features, generator=generator) * 2 - 1) * bound)
        self.bias = nn.Parameter(torch.zeros(out_features))
        self.weight_step = nn.Parameter(torch.tensor(1.0))
        self.output_step = nn.Parameter(torch.tensor(1.0))
        self.high = (1 << (bits - 1)) - 1

    def begin(self, output: Tensor | None, levels: int) -> None:
        """Set the steps from the present weights and a batch of what the layer gives."""
        with torch.no_grad():
            self.weight_step.fill_(float(2 * self.weight.abs().mean() / math.sqrt(self.high)))
            if output is not None:
                self.output_step.fill_(float(2 * output.mean() / math.sqrt(levels)) or 1.0)

    def quantised_weight(self) -> Tensor:
        """The weights as the hardware has them, ``[O, I]``."""
        return quantise_steps(self.weight, self.weight_step, -self.high, self.high)


class QuantisedNetwork(nn.Module):
    """A perceptron of b-bit weights and activations.

    Args:
        sizes: features of the input, of each hidden layer, and classes.
        bits: b, 2 .. 8.
        seed: of the initial weights.

    Raises:
        RangeError: bits out of range.
        ShapeError: fewer than two sizes.

    Example:
        >>> QuantisedNetwork([4, 3, 2], bits=4, seed=0)(torch.rand(5, 4, generator=torch.Generator())).shape
        torch.Size([5, 2])
    """

    def __init__(self, sizes: Sequence[int], bits: int, seed: int) -> None:
        super().__init__()
        self.bits = check_integer("bits", bits, 2, 8)
        if len(sizes) < 2:
            raise ShapeError(f"expected the sizes of an input and an output at least, got {list(sizes)}")
        generator = torch.Generator().manual_seed(seed)
        self.layers = nn.ModuleList(QuantisedLinear(i, o, bits, generator) for i, o in itertools.pairwise(sizes))
        self.quantising = False

    @property
    def levels(self) -> int:
        """``2**b - 1``, the largest activation integer."""
        return (1 << self.bits) - 1

    def begin(self, inputs: Tensor) -> None:
        """Start to quantise: the steps are set from the weights as they are and a batch of inputs ``[B, I]``."""
        value = inputs
        with torch.no_grad():
            for index, layer in enumerate(self.layers):
                assert isinstance(layer, QuantisedLinear)  # noqa: S101 - tells mypy what the list holds
                last = index == len(self.layers) - 1
                value = functional.linear(value, layer.weight, layer.bias)
                value = value if last else functional.relu(value)
                layer.begin(None if last else value, self.levels)
        self.quantising = True

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits ``[B, classes]`` of inputs ``[B, I]`` in [0, 1]."""
        value = torch.round(inputs * self.levels) / self.levels if self.quantising else inputs
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, QuantisedLinear)  # noqa: S101 - tells mypy what the list holds
            weight = layer.quantised_weight() if self.quantising else layer.weight
            value = functional.linear(value, weight, layer.bias)
            if index < len(self.layers) - 1:
                value = functional.relu(value)
                if self.quantising:
                    value = quantise_steps(value, layer.output_step, 0, self.levels)
        return value


def train_quantised(
    network: QuantisedNetwork,
    inputs: Tensor,
    targets: Tensor,
    *,
    float_epochs: int,
    quantised_epochs: int,
    learning_rate: float = 2e-3,
    batch_size: int = 128,
    seed: int = 0,
) -> list[float]:
    """Train in float first, then quantised; Adam, a cosine schedule in each part.

    Args:
        network: changed in place.
        inputs: ``[samples, I]`` in [0, 1].
        targets: classes ``[samples]``.
        float_epochs: without quantisation.
        quantised_epochs: with it.
        learning_rate: at the start of each part; the second starts at a half of it.
        batch_size: samples per update.
        seed: of the order of the samples.

    Returns:
        the mean loss of each epoch.

    Raises:
        RangeError: a number of epochs or a batch size out of range.
    """
    check_integer("float_epochs", float_epochs, 0, 10_000)
    check_integer("quantised_epochs", quantised_epochs, 0, 10_000)
    check_integer("batch_size", batch_size, 1, 1 << 20)
    generator = torch.Generator().manual_seed(seed)
    history: list[float] = []
    for epochs, rate, quantised in (
        (float_epochs, learning_rate, False),
        (quantised_epochs, learning_rate / 2, True),
    ):
        if quantised:
            network.begin(inputs[:1024])
        if epochs == 0:
            continue
        optimiser = torch.optim.Adam(network.parameters(), lr=rate)
        updates = epochs * -(-len(inputs) // batch_size)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, updates)
        for _ in range(epochs):
            total = 0.0
            order = torch.randperm(len(inputs), generator=generator)
            for batch in torch.split(order, batch_size):
                loss = functional.cross_entropy(network(inputs[batch]), targets[batch])
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                schedule.step()
                total += loss.item() * len(batch)
            history.append(total / len(inputs))
    return history
