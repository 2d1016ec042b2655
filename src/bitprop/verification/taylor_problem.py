"""A smooth loss over its parameters in float64, the gradient under test, and numeric derivatives."""

from __future__ import annotations

import copy
import itertools
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from bitprop.errors import RangeError, ShapeError
from bitprop.seeds import derive_seed
from bitprop.verification.replay._world import arguments_of, call_loss, map_floats

__all__ = [
    "ZERO",
    "DirectionalDerivative",
    "ParameterLoss",
    "SmoothProblem",
    "estimate_noise",
    "loss_of_model",
    "numeric_derivative",
    "random_direction",
    "unit_direction",
]

ParameterLoss: TypeAlias = Callable[[Mapping[str, Tensor]], Tensor]
"""Named parameters to a scalar loss."""

_STENCIL = (4.0 / 5.0, -1.0 / 5.0, 4.0 / 105.0, -1.0 / 280.0)
_FIRST_STEP = 0.02  # of the parameters' size: the stencil then reaches 8% of it
_LADDER = 9  # steps, each a quarter of the one before
ZERO = 1e-13
"""Of the loss: a derivative times the parameters' size below it is rounding."""

_EPS = torch.finfo(torch.float64).eps


@dataclass(frozen=True, slots=True)
class DirectionalDerivative:
    """A numeric derivative along one direction.

    Attributes:
        value: the derivative.
        error: estimate of its error: change against the next larger step, and rounding.
        step: h that it was taken at.
        evaluations: of the loss.
        flat: the loss was equal to the last bit at every point of the smallest step tried.
    """

    value: float
    error: float
    step: float
    evaluations: int
    flat: bool


def estimate_noise(line: Callable[[float], float], size: float) -> float:
    """Rounding of a value of ``line`` near 0, by fourth differences over eight close points at two spacings.

    A smooth function leaves nothing in a fourth difference of such points; rounding leaves ``sqrt(70)`` times its
    standard deviation.  The wider spacing sees the coarser grid of a float32 step inside.
    """
    noise = 0.0
    for spacing in (size * 2.0**-40, size * 2.0**-22):
        values = [line(index * spacing) for index in range(8)]
        differences = values
        for _ in range(4):
            differences = [after - before for before, after in itertools.pairwise(differences)]
        noise = max(noise, 2.0 * max(map(abs, differences)) / math.sqrt(70.0), _EPS * abs(values[0]))
    return noise


def numeric_derivative(
    line: Callable[[float], float], size: float, *, noise: float = 0.0, wanted: float = 0.0
) -> DirectionalDerivative:
    """Derivative at 0 of a function of one number by eight-point differences at falling steps.

    Args:
        line: ``h -> L(p + h d)``.
        size: length over which ``line`` changes; the first step is 2% of it.
        noise: rounding of a value of ``line``.
        wanted: stop as soon as the estimated error is below this.

    Example:
        >>> found = numeric_derivative(math.sin, 1.0, noise=1e-16)
        >>> abs(found.value - 1.0) < 1e-12
        True
    """
    best: tuple[float, float, float] | None = None
    previous: float | None = None
    evaluations, flat = 0, False
    for rung in range(_LADDER):
        step = _FIRST_STEP * size * 4.0**-rung
        pairs = [(line(k * step), line(-k * step)) for k in range(1, 5)]
        evaluations += 8
        flat = len({value for pair in pairs for value in pair}) == 1
        estimate = sum(c * (ahead - behind) for c, (ahead, behind) in zip(_STENCIL, pairs, strict=True)) / step
        if previous is not None:
            error = abs(estimate - previous) / 8.0 + noise / step
            if best is None or error < best[1]:
                best = (estimate, error, step)
            if best[1] <= wanted:
                break
        previous = estimate
    assert best is not None  # noqa: S101  # the ladder has more than one rung
    return DirectionalDerivative(*best, evaluations, flat)


def _copies(model: nn.Module) -> Callable[[], nn.Module]:
    """Deep copies of a model that nobody changes; its empty tables, of hooks mostly, would take most of the time."""
    tables = [
        value
        for module in model.modules()
        for value in vars(module).values()
        if type(value) in (dict, OrderedDict, set, list) and not value
    ]
    return lambda: copy.deepcopy(model, {id(table): type(table)() for table in tables})


def loss_of_model(
    model: nn.Module, inputs: Any, targets: Any, loss_fn: Callable[[Any, Any], Tensor], *, seed: int = 0
) -> tuple[ParameterLoss, dict[str, Tensor]]:
    """``p -> loss_fn(model(inputs), targets)`` in float64, and the trainable parameters p by name.

    Every evaluation runs on a fresh deep copy under one fixed seed of torch's global generator (restored afterwards),
    so neither state that the model keeps nor dropout that it draws changes from one evaluation to the next.

    Raises:
        RangeError: the model cannot be copied because it holds tensors of an earlier graph.
    """
    try:
        master = copy.deepcopy(model).double()
    except RuntimeError as error:
        raise RangeError("expected a model that can be copied; reset its state (detach it) before the check") from error
    inputs, targets = (map_floats(lambda x: x.detach().double(), value) for value in (inputs, targets))
    positional, named = arguments_of(inputs)
    fixed = derive_seed(seed, "model randomness")
    copied = _copies(master)
    # torch.manual_seed takes longer than a small model: it notes the stack for devices that may come yet
    on_cpu = all(tensor.is_cpu for tensor in (*master.parameters(), *master.buffers()))
    seeded = torch.default_generator.manual_seed if on_cpu else torch.manual_seed

    def loss(parameters: Mapping[str, Tensor]) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            seeded(fixed)
            output = torch.func.functional_call(copied(), dict(parameters), positional, named)
            return call_loss(loss_fn, output, targets)

    parameters = {name: p.detach().clone() for name, p in master.named_parameters() if p.requires_grad}
    return loss, parameters


class SmoothProblem:
    """A loss, its parameters in float64 and the gradient under test; counts evaluations."""

    def __init__(
        self,
        loss: ParameterLoss,
        parameters: Mapping[str, Tensor],
        gradient: Mapping[str, Tensor | None] | None = None,
    ) -> None:
        self.loss = loss
        self.point = {name: value.detach().double() for name, value in parameters.items()}
        self.evaluations = 1
        leaves = {name: value.clone().requires_grad_(True) for name, value in self.point.items()}
        with torch.enable_grad():
            value = loss(leaves)
            if not isinstance(value, Tensor) or value.numel() != 1:
                got = list(value.shape) if isinstance(value, Tensor) else repr(value)
                raise ShapeError(f"expected a scalar loss, got {got}; reduce it with mean() or sum()")
            self.value = float(value.detach())
            if gradient is None:
                tracked = value.requires_grad and bool(leaves)
                found = torch.autograd.grad(value.sum(), list(leaves.values()), allow_unused=True) if tracked else ()
                gradient = dict(zip(leaves, found, strict=False))
        self.gradient = {name: self._filled(gradient.get(name), leaf) for name, leaf in leaves.items()}
        self.finite = math.isfinite(self.value) and all(bool(torch.isfinite(g).all()) for g in self.gradient.values())
        self.norm = math.sqrt(sum(float(g.square().sum()) for g in self.gradient.values()))
        self.count = sum(value.numel() for value in self.point.values())

    @staticmethod
    def _filled(gradient: Tensor | None, leaf: Tensor) -> Tensor:
        return torch.zeros_like(leaf.detach()) if gradient is None else gradient.detach().double()

    def at(self, direction: Mapping[str, Tensor], h: float) -> float:
        self.evaluations += 1
        moved = {n: p + h * direction[n] if n in direction else p for n, p in self.point.items()}
        with torch.no_grad():
            return float(self.loss(moved))

    def line(self, direction: Mapping[str, Tensor]) -> Callable[[float], float]:
        return lambda h: self.at(direction, h)

    def slope(self, direction: Mapping[str, Tensor]) -> float:
        return sum(float((self.gradient[n] * d).sum()) for n, d in direction.items())

    def size(self, names: Sequence[str]) -> float:
        """A length over which these parameters change noticeably; not zero for parameters that start at zero."""
        square = sum(float(self.point[n].square().sum()) for n in names)
        return max(math.sqrt(square), 0.1 * math.sqrt(sum(self.point[n].numel() for n in names)))

    @property
    def is_zero(self) -> bool:
        return self.norm * self.size(list(self.point)) <= ZERO * abs(self.value)


def unit_direction(parts: dict[str, Tensor]) -> dict[str, Tensor]:
    norm = math.sqrt(sum(float(part.square().sum()) for part in parts.values()))
    return {name: part / norm for name, part in parts.items()}


def random_direction(problem: SmoothProblem, names: Sequence[str], generator: torch.Generator) -> dict[str, Tensor]:
    return unit_direction(
        {n: torch.randn(problem.point[n].shape, generator=generator, dtype=torch.float64) for n in names},
    )
