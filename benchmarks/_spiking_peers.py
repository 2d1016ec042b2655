"""One spiking network, 784-H-10, as each framework would write it: the same weights, constants and, where the framework
has it, the same surrogate.

Leaky integrate-and-fire, ``u = 0.9 v + x``, threshold 1, soft reset in the step of the spike, detached; the readout is
the mean over time of a leaky integrator.  For the peers that mean is written as what it is, a weighted sum of currents,
which costs them next to nothing; bitprop runs its own integrator.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bitprop.nn import SpikingNetwork

__all__ = ["BETA", "CONTESTANTS", "EXACT", "build", "gemms"]

BETA = 0.9
SLOPE = 25.0
EXACT = ("plain torch",)
"""Peers whose gradients are compared.  SpikingJelly and Sinabs run their default slopes, Norse attaches the reset, and
snnTorch resets a second time where the potential was twice the threshold: their spikes are compared."""


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad / (1.0 + SLOPE * x.abs()) ** 2


class _Peer(nn.Module):
    """Two layers and the readout as a weighted sum; ``hidden`` gives the spikes."""

    def __init__(self, weights: list[Tensor], steps: int, gain: float = 1.0) -> None:
        super().__init__()
        (w1, b1), (w2, b2) = weights[:2], weights[2:]
        self.enter, self.leave = nn.Linear(w1.shape[1], w1.shape[0]), nn.Linear(w2.shape[1], w2.shape[0])
        with torch.no_grad():
            for parameter, value in zip(self.parameters(), (gain * w1, gain * b1, w2, b2), strict=True):
                parameter.copy_(value)
        share = [(1.0 - BETA ** (steps - t)) / (1.0 - BETA) / steps for t in range(steps)]
        self.register_buffer("share", torch.tensor(share)[:, None, None])
        self.spikes: Tensor | None = None

    def hidden(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        spikes = self.hidden(x)
        self.spikes = spikes.detach()
        logits: Tensor = (self.leave(spikes) * self.share).sum(0)
        return logits


class _Plain(_Peer):
    def hidden(self, x: Tensor) -> Tensor:
        current = self.enter(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        v, spikes = torch.zeros_like(current[0]), []
        for x_t in current:
            u = BETA * v + x_t
            s = _Spike.apply(u - 1.0)
            v = u - s.detach()
            spikes.append(s)
        return torch.stack(spikes)


class _SnnTorch(_Peer):
    def __init__(self, weights: list[Tensor], steps: int) -> None:
        import snntorch

        super().__init__(weights, steps)
        self.neuron = snntorch.Leaky(
            beta=BETA, threshold=1.0, reset_mechanism="subtract", reset_delay=False,
            spike_grad=snntorch.surrogate.fast_sigmoid(slope=SLOPE),
        )  # fmt: skip

    def hidden(self, x: Tensor) -> Tensor:
        mem, spikes = self.neuron.reset_mem(), []
        for x_t in x:
            s, mem = self.neuron(self.enter(x_t), mem)
            spikes.append(s)
        return torch.stack(spikes)


class _SpikingJelly(_Peer):
    def __init__(self, weights: list[Tensor], steps: int) -> None:
        from spikingjelly.activation_based import functional, neuron, surrogate

        super().__init__(weights, steps)
        self.reset = functional.reset_net
        self.neuron = neuron.LIFNode(
            tau=1.0 / (1.0 - BETA), decay_input=False, v_threshold=1.0, v_reset=None,
            surrogate_function=surrogate.ATan(alpha=2.0), detach_reset=True, step_mode="m",
        )  # fmt: skip

    def hidden(self, x: Tensor) -> Tensor:
        self.reset(self.neuron)
        spikes: Tensor = self.neuron(self.enter(x.flatten(0, 1)).unflatten(0, x.shape[:2]))
        return spikes


class _Norse(_Peer):
    def __init__(self, weights: list[Tensor], steps: int) -> None:
        import norse.torch as nt

        super().__init__(weights, steps, gain=1.0 / (1.0 - BETA))  # it scales its input by the step
        parameters = nt.LIFBoxParameters(
            tau_mem_inv=torch.tensor(1000.0 * (1.0 - BETA)), v_th=torch.tensor(1.0), method="super",
            alpha=torch.tensor(SLOPE), reset_method=nt.functional.reset.reset_subtract,
        )  # fmt: skip
        self.neuron = nt.LIFBoxCell(parameters, dt=0.001)

    def hidden(self, x: Tensor) -> Tensor:
        state, spikes = None, []
        for x_t in self.enter(x.flatten(0, 1)).unflatten(0, x.shape[:2]):
            s, state = self.neuron(x_t, state)
            spikes.append(s)
        return torch.stack(spikes)


class _Sinabs(_Peer):
    def __init__(self, weights: list[Tensor], steps: int) -> None:
        import sinabs
        import sinabs.layers

        super().__init__(weights, steps)
        self.neuron = sinabs.layers.LIF(
            tau_mem=-1.0 / math.log(BETA), norm_input=False, min_v_mem=None,
            spike_fn=sinabs.activation.SingleSpike, reset_fn=sinabs.activation.MembraneSubtract(),
        )  # fmt: skip

    def hidden(self, x: Tensor) -> Tensor:
        self.neuron.reset_states()
        current = self.enter(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        spikes: Tensor = self.neuron(current.transpose(0, 1)).transpose(0, 1)
        return spikes


class _Own(nn.Module):
    """bitprop's network; the same answer as the peers'."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = SpikingNetwork(
            (784, width, 10), beta=BETA, reset_attached=False, surrogate="fast_sigmoid", scale=SLOPE, seed=0
        )
        self.spikes: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        out = self.net(x)
        self.spikes = out.spikes[0].detach()
        logits: Tensor = out.logits
        return logits


_PEERS: dict[str, Callable[..., nn.Module]] = {
    "plain torch": _Plain,
    "snntorch": _SnnTorch,
    "spikingjelly": _SpikingJelly,
    "norse": _Norse,
    "sinabs": _Sinabs,
}
CONTESTANTS = ("bitprop", *_PEERS)


def build(name: str, width: int, steps: int) -> nn.Module:
    """A contestant, with the weights of bitprop's network of seed 0."""
    own = _Own(width)
    if name == "bitprop":
        return own
    weights = [part.detach() for layer in own.net.layers for part in (layer.weight, layer.bias)]
    return _PEERS[name](weights, steps)


def gemms(width: int, x: Tensor, *, kept: bool = False) -> Callable[[], None]:
    """The matrix products of a training step and nothing else: both layers forward and, without a gradient by the
    input, backward; each over all time steps at once.  Results are newly allocated as autograd's are, or written into
    the same memory every time (``kept``)."""
    rows = x.flatten(0, -2)
    generator = torch.Generator().manual_seed(3)
    w1, w2 = torch.randn(width, rows.shape[1], generator=generator), torch.randn(10, width, generator=generator)
    steps = len(rows)
    spikes = (torch.rand(steps, width, generator=generator) < 0.1).float()
    g_hidden, g_out = torch.randn(steps, width, generator=generator), torch.randn(steps, 10, generator=generator)

    pairs = ((rows, w1.t()), (spikes, w2.t()), (g_out, w2), (g_out.t(), spikes), (g_hidden.t(), rows))
    results = [a @ b if kept else None for a, b in pairs]

    def products() -> None:
        for (a, b), result in zip(pairs, results, strict=True):
            torch.mm(a, b, out=result)

    return products
