"""Random spiking networks that are right, to see that a check raises no false alarm."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bitprop.nn.spiking import NEURONS, READOUTS, SpikingConvNetwork, SpikingNetwork, SpikingOutput
from bitprop.seeds import derive_seed
from bitprop.surrogate import SURROGATES
from bitprop.testing.planted import PlantedCase
from bitprop.verification.claim import Claim

__all__ = ["random_correct_network"]

_WIDE = ("sigmoid", "atan", "erf", "exponential")  # whose slope reaches every neuron of a small network
LOSSES: dict[str, Callable[[SpikingOutput, Tensor], Tensor]] = {
    "cross_entropy": lambda out, y: functional.cross_entropy(out.logits, y),
    "mse": lambda out, y: functional.mse_loss(out.logits, functional.one_hot(y, out.logits.shape[1]).to(out.logits)),
    "trace": lambda out, y: functional.cross_entropy(out.trace.flatten(0, 1), y.repeat(out.trace.shape[0])),
    "rate": lambda out, y: functional.cross_entropy(out.logits, y) + sum(s.mean() for s in out.spikes),
}
"""Losses on logits, on the trace of the readout and on activity."""


def random_correct_network(seed: int) -> PlantedCase:
    """A network of random kind, neuron, surrogate, reset, delay, sizes, loss and precision, with a true claim.

    Args:
        seed: 0 .. 2**63 - 1; decides everything.

    Raises:
        RangeError: the seed is out of range.
    """
    draw = random.Random(derive_seed(seed, "random_correct_network"))  # noqa: S311 - no secret
    conv = draw.random() < 0.25
    neuron = draw.choice([name for name in NEURONS if not (conv and name.startswith("recurrent"))])
    surrogate = draw.choice([name for name in SURROGATES if name not in ("rectangular", "triangular")])
    scale = draw.uniform(0.5, 2.0) if surrogate in _WIDE else draw.uniform(0.2, 1.0)
    attached = draw.random() < 0.6
    reset = draw.choice(["soft", "hard", "none"])
    options: dict[str, Any] = {
        "neuron": neuron,
        "surrogate": surrogate,
        "scale": scale,
        "reset": reset,
        "reset_attached": attached,
        "reset_delay": draw.choice([0, 1]),
        "threshold": draw.uniform(0.3, 1.0),
        "beta": draw.uniform(0.5, 0.95),
        "readout": draw.choice(READOUTS),
        "seed": draw.randrange(1 << 30),
    }
    dtype = draw.choice([torch.float32, torch.float64])
    steps, batch, classes = draw.randint(3, 12), draw.randint(2, 6), draw.randint(2, 4)
    generator = torch.Generator().manual_seed(derive_seed(seed, "data"))
    if conv:
        model: SpikingNetwork | SpikingConvNetwork = SpikingConvNetwork(
            (2, 4, 4), (draw.randint(2, 4),), classes, **options
        )
        shape: tuple[int, ...] = (steps, batch, 2, 4, 4)
    else:
        widths = [draw.randint(3, 8), *(draw.randint(4, 14) for _ in range(draw.randint(1, 2))), classes]
        model = SpikingNetwork(widths, **options)
        shape = (steps, batch, widths[0])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("weight") and parameter.dim() > 1:
                parameter.mul_(draw.uniform(1.5, 2.5))
    inputs = (3.0 * torch.rand(shape, generator=generator, dtype=torch.float64)).to(dtype)
    targets = torch.randint(0, classes, (batch,), generator=generator)
    loss = draw.choice(sorted(LOSSES))
    detached = not attached and reset != "none"
    claim = Claim(surrogate=surrogate, scale=scale, reset="as_coded" if detached else "attached")
    name = f"{seed}: {neuron} {surrogate} {reset} {'detached' if detached else 'attached'} {loss} {dtype}"
    return PlantedCase(name, model.to(dtype), inputs, targets, LOSSES[loss], claim, None)
