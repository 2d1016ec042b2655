"""A network of neurons with escape noise, its exact expected loss, and gradients of it by three ways.

A neuron with membrane potential u spikes with probability ``F(u - theta)``, F the cumulative function of its threshold
noise; see :mod:`bitprop.verification.escape_noise` for what is checked with it.

Reference: Gerstner et al., *Neuronal dynamics*, Cambridge, 2014, chapter 9.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bitprop._checks import check_integer, check_real
from bitprop.errors import RangeError, ShapeError
from bitprop.seeds import derive_seed
from bitprop.surrogate import AbstractSurrogate

__all__ = ["MAX_BITS", "NOISES", "EscapeNetwork", "Noise", "escape_noise_of"]

MAX_BITS = 16

Draw = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Noise:
    """A symmetric threshold noise by its density at zero, written out without the surrogates' code.

    Attributes:
        density: ``(x, f0)`` to the density at x, f0 the density at 0.
        cumulative: ``(x, f0)`` to the probability of a value below x.
    """

    density: Callable[[float, float], float]
    cumulative: Callable[[float, float], float]


def _logistic_density(x: float, f0: float) -> float:
    return f0 / math.cosh(min(2.0 * f0 * abs(x), 300.0)) ** 2


def _triangle(x: float, f0: float) -> float:
    rest = 0.5 * max(0.0, 1.0 - f0 * abs(x)) ** 2
    return 1.0 - rest if x > 0.0 else rest


NOISES: Mapping[str, Noise] = {
    "logistic": Noise(_logistic_density, lambda x, f0: 0.5 * (1.0 + math.tanh(2.0 * f0 * x))),
    "Gaussian": Noise(
        lambda x, f0: f0 * math.exp(-math.pi * (f0 * x) ** 2),
        lambda x, f0: 0.5 * math.erfc(-math.sqrt(math.pi) * f0 * x),
    ),
    "Cauchy": Noise(
        lambda x, f0: f0 / (1.0 + (math.pi * f0 * x) ** 2),
        lambda x, f0: 0.5 + math.atan(math.pi * f0 * x) / math.pi,
    ),
    "Laplace": Noise(
        lambda x, f0: f0 * math.exp(-2.0 * f0 * abs(x)),
        lambda x, f0: 0.5 * math.exp(2.0 * f0 * x) if x < 0.0 else 1.0 - 0.5 * math.exp(-2.0 * f0 * x),
    ),
    "triangular": Noise(lambda x, f0: f0 * max(0.0, 1.0 - f0 * abs(x)), _triangle),
    "uniform": Noise(
        lambda x, f0: f0 if abs(x) < 0.5 / f0 else 0.0,
        lambda x, f0: min(max(0.5 + f0 * x, 0.0), 1.0),
    ),
    "two-sided Lomax": Noise(
        lambda x, f0: f0 / (1.0 + 2.0 * f0 * abs(x)) ** 2,
        lambda x, f0: 0.5 + f0 * x / (1.0 + 2.0 * f0 * abs(x)),
    ),
}
"""Escape noises by the name that a surrogate declares."""


def escape_noise_of(surrogate: AbstractSurrogate) -> tuple[Noise, float]:
    """The noise that a surrogate declares, and its density at zero: the surrogate's peak over its area.

    Raises:
        RangeError: it declares none.
    """
    if surrogate.escape_noise is None or surrogate.escape_noise not in NOISES:
        raise RangeError(f"expected a surrogate with an escape noise, got {surrogate.name}; its area is infinite")
    return NOISES[surrogate.escape_noise], surrogate.peak / surrogate.area


@dataclass(frozen=True, slots=True)
class EscapeNetwork:
    """A feed-forward network of leaky neurons with escape noise, small enough to enumerate.

    ``u(t) = beta u(t-1) + w s_in(t) - theta s(t-1)``; a spike with probability ``F(u - theta)``; the loss is the
    squared difference of each output's rate and the target, averaged over outputs.

    Attributes:
        surrogate: its escape noise is F.
        widths: inputs first: ``(1, 1, 1)`` is a chain of two neurons.
        inputs: input spikes or currents, ``[T, I]`` as nested tuples.
        beta: leak, 0 .. 1.
        threshold: theta, above 0.
        target: rate.

    Raises:
        RangeError: a field out of range, more than 16 spikes to enumerate, or a surrogate without escape noise.
        ShapeError: inputs of the wrong width.
    """

    surrogate: AbstractSurrogate
    widths: tuple[int, ...]
    inputs: tuple[tuple[float, ...], ...]
    beta: float = 0.9
    threshold: float = 1.0
    target: float = 0.5

    def __post_init__(self) -> None:
        escape_noise_of(self.surrogate)
        if len(self.widths) < 2:
            raise RangeError(f"expected an input width and at least one layer, got {self.widths!r}")
        for width in self.widths:
            check_integer("a width", width, 1, MAX_BITS)
        check_real("beta", self.beta, 0.0, 1.0)
        check_real("threshold", self.threshold, 1e-6, 1e6)
        check_real("target", self.target, -10.0, 10.0)
        if not self.inputs or any(len(row) != self.widths[0] for row in self.inputs):
            raise ShapeError(f"expected inputs [T, {self.widths[0]}], got {self.inputs!r}")
        check_integer("spikes to enumerate", self.bits, 1, MAX_BITS)

    @property
    def bits(self) -> int:
        """Spikes of a pattern: steps times neurons."""
        return len(self.inputs) * sum(self.widths[1:])

    def weights(self, seed: int = 0, size: float = 1.0) -> dict[str, Tensor]:
        """Random positive weights in float64, by name ``layer k``, ``[out, in]``, uniform in ``size * (0.5, 1.5)``."""
        generator = torch.Generator().manual_seed(derive_seed(seed, "escape weights"))
        return {
            f"layer {k}": size * (0.5 + torch.rand(after, before, generator=generator, dtype=torch.float64))
            for k, (before, after) in enumerate(itertools.pairwise(self.widths))
        }

    def _run(self, weights: Mapping[str, Tensor], decide: Draw, detach_reset: bool = False) -> Tensor:
        """The loss ``[...]``, spikes decided by ``decide(x [..., out])``, in the order of steps, then layers."""
        layers = list(weights.values())
        u: list[Tensor | float] = [0.0] * len(layers)
        last: list[Tensor | float] = [0.0] * len(layers)
        count: Tensor | float = 0.0
        for row in self.inputs:
            s = torch.tensor(row, dtype=torch.float64)
            for k, w in enumerate(layers):
                s_before = last[k]
                if detach_reset and isinstance(s_before, Tensor):
                    s_before = s_before.detach()
                potential = self.beta * u[k] + (w @ s[..., None])[..., 0] - self.threshold * s_before
                s = decide(potential - self.threshold)
                u[k], last[k] = potential, s
            count = count + s
        return (torch.as_tensor(count) / len(self.inputs) - self.target).square().mean(-1)

    def patterns(self) -> Tensor:
        """Every pattern of spikes, float64 ``[2**bits, bits]``."""
        index = torch.arange(1 << self.bits)[:, None]
        return ((index >> torch.arange(self.bits)) & 1).double()

    def _replay(
        self, weights: Mapping[str, Tensor], bits: Tensor, surrogate: bool, detach_reset: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        """Losses of given patterns, and the probability of each of their bits.

        With ``surrogate`` the bits carry the surrogate's slope (over its area); else none.
        """
        chances: list[Tensor] = []
        place = 0

        def decide(x: Tensor) -> Tensor:
            nonlocal place
            s = bits[..., place : place + x.shape[-1]]
            place += x.shape[-1]
            # the noise is symmetric: 1 - F(x) = F(-x), without cancellation
            chances.append(self.surrogate.cdf(torch.where(s > 0.5, x, -x)).prod(-1))
            if surrogate:
                s = s + self.surrogate.derivative(x).detach() / self.surrogate.area * (x - x.detach())
            return s

        return self._run(weights, decide, detach_reset), chances

    def expected_loss(self, weights: Mapping[str, Tensor]) -> Tensor:
        """``sum_b P(b) loss(b)``, differentiable in the weights."""
        losses, chances = self._replay(weights, self.patterns(), surrogate=False)
        return (torch.stack(chances).prod(0) * losses).sum()

    def exact_gradient(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Gradient of :meth:`expected_loss`."""
        return _gradient(self.expected_loss, weights)

    def surrogate_gradient(self, weights: Mapping[str, Tensor], *, detach_reset: bool = False) -> dict[str, Tensor]:
        """Expectation of the surrogate gradient: backpropagation through every pattern, weighted by its chance."""

        def loss(leaves: Mapping[str, Tensor]) -> Tensor:
            losses, chances = self._replay(leaves, self.patterns(), surrogate=True, detach_reset=detach_reset)
            return (torch.stack(chances).prod(0).detach() * losses).sum()

        return _gradient(loss, weights)

    def recursion(self, weights: Mapping[str, Tensor]) -> float:
        """The expected loss again, without tensors, patterns or the surrogate's code: a tree of conditional chances."""
        noise, f0 = escape_noise_of(self.surrogate)
        layers = [w.tolist() for w in weights.values()]
        steps, outputs = len(self.inputs), self.widths[-1]

        def descend(
            t: int, k: int, s: Sequence[float], u: list[list[float]], last: list[list[float]], count: list[float]
        ) -> float:
            if k == len(layers):
                count = [c + spike for c, spike in zip(count, s, strict=True)]
                if t + 1 == steps:
                    return sum((c / steps - self.target) ** 2 for c in count) / outputs
                return descend(t + 1, 0, self.inputs[t + 1], u, last, count)
            potential = [
                self.beta * u[k][n] + sum(w * v for w, v in zip(row, s, strict=True)) - self.threshold * last[k][n]
                for n, row in enumerate(layers[k])
            ]
            chance = [noise.cumulative(v - self.threshold, f0) for v in potential]
            total = 0.0
            for spikes in itertools.product((0.0, 1.0), repeat=len(potential)):
                weight = math.prod(p if spike else 1.0 - p for p, spike in zip(chance, spikes, strict=True))
                if weight > 0.0:
                    below = [*u[:k], potential, *u[k + 1 :]], [*last[:k], list(spikes), *last[k + 1 :]]
                    total += weight * descend(t, k + 1, spikes, *below, count)
            return total

        zeros = [[0.0] * width for width in self.widths[1:]]
        return descend(0, 0, self.inputs[0], zeros, zeros, [0.0] * outputs)

    def score_rows(
        self, weights: Mapping[str, Tensor], samples: int, generator: torch.Generator, baseline: float = 0.0
    ) -> Tensor:
        """Independent estimates ``(loss - baseline) d log P / dw``, ``[samples, weights]``, by sampling spikes."""
        leaves = _copies(weights, samples)
        logs: list[Tensor] = []

        def decide(x: Tensor) -> Tensor:
            with torch.no_grad():
                s = (torch.rand(x.shape, generator=generator, dtype=x.dtype) < self.surrogate.cdf(x)).double()
            logs.append(self.surrogate.cdf(torch.where(s > 0.5, x, -x)).log().sum(-1))
            return s

        losses = self._run(leaves, decide)
        objective = ((losses.detach() - baseline) * torch.stack(logs).sum(0)).sum()
        return _rows(objective, leaves)

    def surrogate_rows(
        self, weights: Mapping[str, Tensor], samples: int, generator: torch.Generator, *, detach_reset: bool = False
    ) -> Tensor:
        """Independent surrogate gradients ``[samples, weights]``, by sampling spikes."""
        leaves = _copies(weights, samples)

        def decide(x: Tensor) -> Tensor:
            with torch.no_grad():
                s = (torch.rand(x.shape, generator=generator, dtype=x.dtype) < self.surrogate.cdf(x)).double()
            return s + self.surrogate.derivative(x).detach() / self.surrogate.area * (x - x.detach())

        return _rows(self._run(leaves, decide, detach_reset).sum(), leaves)


def _copies(weights: Mapping[str, Tensor], samples: int) -> dict[str, Tensor]:
    """One copy of the weights for each sample, so that one backward pass gives every sample's gradient."""
    return {n: w.detach().expand(samples, *w.shape).clone().requires_grad_(True) for n, w in weights.items()}


def _rows(objective: Tensor, leaves: Mapping[str, Tensor]) -> Tensor:
    found = torch.autograd.grad(objective, list(leaves.values()))
    return torch.cat([g.flatten(1) for g in found], dim=1)


def _gradient(loss: Callable[[Mapping[str, Tensor]], Tensor], weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    leaves = {name: w.detach().double().clone().requires_grad_(True) for name, w in weights.items()}
    return dict(zip(leaves, torch.autograd.grad(loss(leaves), list(leaves.values())), strict=True))
