"""What every spiking neuron shares: constants, thresholds, resets and the loop over time.

A neuron is a recurrence over time steps with its state passed in and returned.  Time is the first axis of a multi-step
input ``[T, B, ...]``; one step takes ``[B, ...]``.  The multi-step call is the loop over single steps, by a native
kernel where there is one; the two agree bit for bit.

**Reset.**  With membrane potential u, threshold theta and spike ``s = [u >= theta]``::

    soft     u <- u - theta s
    hard     u <- u (1 - s) + v_reset s
    none     u <- u

``reset_delay = 0`` applies it in the step of the spike; ``reset_delay = 1`` at the beginning of the next step, to the
potential carried over, so that the potential returned with a spike is still above the threshold.  ``reset_attached``
says whether gradients pass through the s of the reset.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, Generic, Literal, TypeVar, cast

import torch
from torch import Tensor, nn

from bitprop._checks import check_choice, check_integer, check_real
from bitprop.errors import RangeError, ShapeError
from bitprop.nn.neuron._fused import run
from bitprop.surrogate import AbstractSurrogate, make_surrogate

__all__ = ["RESETS", "AbstractNeuron", "AbstractSpikingNeuron", "Constant", "NeuronState"]

RESETS = ("soft", "hard", "none")
NeuronState = TypeVar("NeuronState", bound=tuple[Tensor, ...])


class Constant(nn.Module):
    """A decay in (0, 1) or a threshold above 0, fixed or learnable, one for all neurons or one for each.

    A learnable decay is ``sigmoid(raw)`` and a learnable threshold ``softplus(raw)``, so that no step of an optimiser
    takes them out of range; a fixed one is the number itself.

    Args:
        name: for messages.
        value: a number, or a vector ``[features]``.
        learnable: whether it is trained.
        kind: ``decay`` or ``threshold``.

    Raises:
        RangeError: a value out of range.
        ShapeError: not a number or vector.
    """

    def __init__(
        self, name: str, value: float | Tensor, *, learnable: bool, kind: Literal["decay", "threshold"]
    ) -> None:
        super().__init__()
        if isinstance(value, Tensor):
            numbers = value.detach().clone()
            if numbers.dim() > 1 or not numbers.is_floating_point() or not bool(torch.isfinite(numbers).all()):
                raise ShapeError(
                    f"expected {name} as a finite number or vector, got {numbers.dtype} {list(value.shape)}"
                )
        else:
            numbers = torch.tensor(check_real(name, value, -math.inf, math.inf))
        top = 1.0 if kind == "decay" else math.inf
        inside = (numbers >= 0.0) & (numbers <= top) if kind == "decay" else numbers > 0.0
        if not bool(inside.all()):
            bounds = "0 .. 1" if kind == "decay" else "above 0"
            raise RangeError(f"expected {name} {bounds}, got {numbers.tolist()}; choose a value in that range")
        self._kind = kind
        self._learnable = learnable
        if learnable:
            if kind == "decay" and not bool(((numbers > 0.0) & (numbers < 1.0)).all()):
                raise RangeError(f"expected a learnable {name} between 0 and 1, got {numbers.tolist()}")
            raw = torch.logit(numbers) if kind == "decay" else numbers + torch.log(-torch.expm1(-numbers))
            self.raw = nn.Parameter(raw)
        else:
            self.register_buffer("raw", numbers)

    def forward(self) -> Tensor:
        """The value, ``[]`` or ``[features]``."""
        raw = cast("Tensor", self.raw)
        if not self._learnable:
            return raw
        return torch.sigmoid(raw) if self._kind == "decay" else nn.functional.softplus(raw)


class AbstractNeuron(nn.Module, ABC, Generic[NeuronState]):
    """A recurrence with state in and state out."""

    @abstractmethod
    def initial_state(self, x: Tensor) -> NeuronState:
        """The state before the first step, for one step's input ``[B, ...]``."""

    @abstractmethod
    def step(self, x: Tensor, state: NeuronState) -> tuple[Tensor, NeuronState]:
        """One time step: input current ``[B, ...]`` and state to output and state."""

    def forward(
        self, x: Tensor, state: NeuronState | None = None, *, steps: int | None = None
    ) -> tuple[Tensor, NeuronState]:
        """Every time step in turn.

        Args:
            x: input current ``[T, B, ...]``, floating point; ``[B, ...]`` with ``steps``.
            state: before the first step; ``None``: :meth:`initial_state`.
            steps: hold a constant input for that many steps, 1 .. 2**20.

        Returns:
            Outputs ``[T, B, ...]`` and the state after the last step.

        Raises:
            ShapeError: x has too few axes, no time step, or is not floating point.
            RangeError: steps out of range.
        """
        least, expected = (2, "[T, B, ...] of at least one step") if steps is None else (1, "[B, ...] held for steps")
        if not isinstance(x, Tensor) or x.dim() < least or x.shape[0] == 0 or not x.is_floating_point():
            got = f"{x.dtype} {list(x.shape)}" if isinstance(x, Tensor) else repr(x)
            raise ShapeError(f"expected a floating-point input {expected}, got {got}")
        if steps is not None:
            check_integer("steps", steps, 1, 1 << 20)
        fast: tuple[Tensor, NeuronState] | None = run(self, x, state, steps)
        return self.by_steps(x, state, steps=steps) if fast is None else fast

    def by_steps(
        self, x: Tensor, state: NeuronState | None = None, *, steps: int | None = None
    ) -> tuple[Tensor, NeuronState]:
        """The reference of :meth:`forward`: :meth:`step` after step, whatever kernels there are."""
        inputs = list(x) if steps is None else [x] * steps
        current = self.initial_state(inputs[0]) if state is None else state
        outputs = []
        for x_t in inputs:
            output, current = self.step(x_t, current)
            outputs.append(output)
        return torch.stack(outputs), current


class AbstractSpikingNeuron(AbstractNeuron[NeuronState]):
    """A neuron with a threshold, a surrogate and a reset; see the module for the equations.

    Args:
        threshold: theta, above 0.
        surrogate: name of a registered surrogate, or one.
        scale: of a surrogate given by name; ``None`` is its default.
        reset: ``soft``, ``hard`` or ``none``.
        reset_attached: whether gradients pass through the reset.
        reset_delay: 0 or 1 time steps.
        v_reset: potential after a hard reset.
        learn_threshold: whether the threshold is trained.

    Raises:
        RangeError: an argument out of range.
        RegistryError: an unknown surrogate.
    """

    def __init__(
        self,
        *,
        threshold: float | Tensor = 1.0,
        surrogate: str | AbstractSurrogate = "fast_sigmoid",
        scale: float | None = None,
        reset: str = "soft",
        reset_attached: bool = True,
        reset_delay: int = 0,
        v_reset: float = 0.0,
        learn_threshold: bool = False,
    ) -> None:
        super().__init__()
        if isinstance(surrogate, AbstractSurrogate):
            if scale is not None:
                raise RangeError(
                    "expected scale with a surrogate's name only, got both objects; give scale to the first"
                )
            self.surrogate = surrogate
        else:
            self.surrogate = make_surrogate(surrogate, scale)
        self.reset = check_choice("reset", reset, RESETS)
        self.reset_attached = bool(reset_attached)
        self.reset_delay = check_integer("reset_delay", reset_delay, 0, 1)
        self.v_reset = check_real("v_reset", v_reset, -1e6, 1e6)
        if reset != "hard" and v_reset != 0.0:
            raise RangeError(f"expected v_reset with a hard reset only, got {v_reset!r} with reset {reset!r}")
        self.threshold = Constant("threshold", threshold, learnable=learn_threshold, kind="threshold")

    def extra_repr(self) -> str:
        """What is not shown by the submodules."""
        attached = "attached" if self.reset_attached else "detached"
        return f"surrogate={self.surrogate}, reset={self.reset} {attached}, reset_delay={self.reset_delay}"

    def fire(self, u: Tensor) -> Tensor:
        """``[u >= theta]`` with the surrogate's slope."""
        spikes: Tensor = self.surrogate(u - self.threshold())
        return spikes

    def after_spike(self, u: Tensor, s: Tensor) -> Tensor:
        """The potential after the reset of spikes s."""
        if self.reset == "none":
            return u
        spent = s if self.reset_attached else s.detach()
        if self.reset == "soft":
            lowered: Tensor = u - self.threshold() * spent
            return lowered
        return u * (1.0 - spent) + self.v_reset * spent

    def carried(self, v: Tensor, s: Tensor) -> Tensor:
        """The potential carried into a step: a delayed reset takes place here."""
        return self.after_spike(v, s) if self.reset_delay else v

    def fired(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Spikes of potential u, and the potential that the step ends with."""
        s = self.fire(u)
        return s, u if self.reset_delay else self.after_spike(u, s)


def zeros(x: Tensor, count: int) -> Any:
    """As many tensors of zeros like x."""
    return tuple(torch.zeros_like(x) for _ in range(count))
