"""What one run of the hard network leaves behind: spikes, places where gradients are cut, decisions."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import torch
from torch import Tensor, nn

__all__ = [
    "CustomCall",
    "CutSite",
    "ModulePath",
    "SpikeCall",
    "Tape",
    "in_parametrization",
    "is_discrete",
    "source_line",
]

_TORCH = str(Path(torch.__file__).parent)
_GRAD_MODE = tuple(f"{_TORCH}/{name}.py" for name in ("autograd/grad_mode", "utils/_contextlib", "overrides"))
_PARAMETRIZATIONS = f"{_TORCH}/nn/utils/"
_HERE = str(Path(__file__).parent)
_SURROGATES = str(Path(__file__).parents[2] / "surrogate")
CutKind = Literal["detach", "data", "no_grad", "comparison", "value"]


def source_line() -> str:
    """``path/file.py:12`` of the innermost caller outside PyTorch and this package."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith((_TORCH, _HERE, _SURROGATES)) and not file.startswith("<"):
            return f"{file}:{frame.f_lineno}"
        if frame.f_back is None:
            break
        frame = frame.f_back
    return ""


def in_parametrization() -> bool:
    """Whether the caller is a weight's parametrization that comes with PyTorch."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith((_HERE, *_GRAD_MODE)):
        frame = frame.f_back
    return frame is not None and frame.f_code.co_filename.startswith(_PARAMETRIZATIONS)


def is_discrete(x: Tensor) -> bool:
    """Whether a tensor holds decisions rather than measured values: whole numbers, or at most four distinct ones."""
    values = x.detach()
    if not values.is_floating_point():
        return not values.is_complex()
    if bool((values == values.round()).all()):
        return True
    return values.numel() > 8 and torch.unique(values).numel() <= 4


class ModulePath:
    """The dotted name of the module that is running, followed by hooks."""

    def __init__(self, model: nn.Module) -> None:
        self._stack: list[str] = []
        self._handles = []
        for name, module in model.named_modules():
            self._handles.append(module.register_forward_pre_hook(self._enter(name)))
            self._handles.append(module.register_forward_hook(self._leave, always_call=True))

    def _enter(self, name: str) -> Callable[..., None]:
        def enter(_module: nn.Module, _inputs: Any) -> None:
            self._stack.append(name)

        return enter

    def _leave(self, _module: nn.Module, _inputs: Any, _outputs: Any) -> None:
        self._stack.pop()

    @property
    def current(self) -> str:
        """Of the innermost running module; empty for the model itself and for the loss."""
        return self._stack[-1] if self._stack else ""

    @property
    def outside(self) -> bool:
        """Whether no module is running: in the loss."""
        return not self._stack

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()


@dataclass
class SpikeCall:
    """One call of a spike function.

    Attributes:
        index: in order of execution.
        module: dotted name of the module it was called in.
        line: source line.
        step: how many calls of that line in that module came before: the time step of a loop over time.
        function: the spike function's name.
        place: where that function is defined.
        x0: its input, detached.
        s0: its output, detached.
        arguments: its positional arguments, ``x`` included, tensors detached.
        position: of ``x`` among them.
        output: the output in the recorded graph.
        evaluate: calls the function on other arguments, with its own backward.
        coded: slope that its backward gives at ``x0``; filled in after the run.
        slope: slope that is claimed at ``x0``; filled in after the run.
        others: slopes by further tensor arguments, by position: the claimed slope with the other sign for a threshold,
            as coded for anything else; filled in after the run.
        coded_others: the same as coded, where they can be had; filled in after the run.
    """

    index: int
    module: str
    line: str
    step: int
    function: str
    place: str
    x0: Tensor
    s0: Tensor
    arguments: tuple[Any, ...]
    position: int
    output: Tensor
    evaluate: Callable[..., Tensor]
    coded: Tensor | None = None
    slope: Tensor | None = None
    others: dict[int, Tensor] = field(default_factory=dict)
    coded_others: dict[int, Tensor] = field(default_factory=dict)

    def thresholds(self) -> list[int]:
        """Positions of arguments that the spike depends on by their difference to the input alone."""
        positions = [i for i, x in enumerate(self.arguments) if isinstance(x, Tensor) and x.is_floating_point()]
        return [position for position in positions if position != self.position and self._is_threshold(position)]

    def _is_threshold(self, position: int) -> bool:
        def fired(shift: float, other: float) -> Tensor:
            return self.at(self.x0 + shift, {position: self.arguments[position] + other})

        far = 4.0 * float(self.x0.abs().max()) + 4.0 if self.x0.numel() else 4.0
        try:
            with torch.no_grad():
                # nearly all: what lies within rounding of the threshold may go over
                same = all(bool((fired(d, d) == self.s0).double().mean() > 0.99) for d in (0.375, -1.125))
                return same and bool((fired(0.0, far) < fired(0.0, -far)).any())
        except Exception:  # somebody else's function refuses other arguments: nothing is known of it
            return False

    def at(self, x: Tensor, others: Mapping[int, Tensor] | None = None) -> Tensor:
        """The spike function at another input, with its other arguments as they were, but for those by position."""
        changed = {**(others or {}), self.position: x}
        return self.evaluate(*(changed.get(i, value) for i, value in enumerate(self.arguments)))


@dataclass
class CustomCall:
    """One call of a custom autograd function that is no spike function.

    Attributes:
        name: of the class.
        place: where it is defined.
        module: dotted name of the module it was called in.
        line: source line of the call.
        arguments: positional, tensors detached.
        opaque: it spikes inside, so its forward pass cannot be differentiated and its slope cannot be replaced.
        evaluate: calls it on other arguments, with its own backward.
    """

    name: str
    place: str
    module: str
    line: str
    arguments: tuple[Any, ...]
    opaque: bool
    evaluate: Callable[..., Any]


@dataclass
class CutSite:
    """A place where the code stops a gradient.

    Attributes:
        index: in order of execution.
        kind: ``detach``, ``data``, ``no_grad``, ``comparison`` (a step taken by comparing, which has no slope), or
            ``value`` (a tensor became numbers of Python or NumPy).
        module: dotted name.
        line: source line.
        step: calls of that line in that module before this one.
        discrete: the tensor held decisions (spikes, masks).
        in_loss: it happened outside every module.
        straight_through: part of a construct whose value is a spike and whose slope is that of a soft function.
        by_pytorch: one of PyTorch's own, as in its spectral norm, whose vectors are constants by definition.
    """

    index: int
    kind: CutKind
    module: str
    line: str
    step: int
    discrete: bool
    in_loss: bool
    straight_through: bool = False
    by_pytorch: bool = False

    @property
    def granted(self) -> bool:
        """Whether gradients may stop here whatever is claimed."""
        return self.in_loss or self.straight_through or self.by_pytorch


class Tape:
    """Everything recorded, in order of execution."""

    def __init__(self) -> None:
        self.spikes: list[SpikeCall] = []
        self.custom: list[CustomCall] = []
        self.cuts: list[CutSite] = []
        self.values: list[CutSite] = []  # tensors under the gradient that became numbers; some only to be logged
        self.decisions: list[Tensor] = []
        self.steps: set[int] = set()  # decisions that compare tensors under the gradient
        self.narrowed: list[str] = []  # source lines where a tensor lost precision
        self._calls: Counter[tuple[str, str]] = Counter()

    def step(self, module: str, line: str) -> int:
        """How often that line ran in that module before."""
        count = self._calls[module, line]
        self._calls[module, line] += 1
        return count
