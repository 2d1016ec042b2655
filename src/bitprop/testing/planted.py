"""Spiking networks with one planted gradient bug each, for people who write or use gradient checks.

Plain PyTorch from end to end, sharing no code with :mod:`bitprop.nn`.  A planted bug leaves spikes and loss exactly as
they are (but for the cast, which rounds them) and changes what ``backward()`` computes; the same network without
the bug is right.  A check is worth something if it accepts the one and refuses the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bitprop._checks import check_choice, check_integer, check_real
from bitprop.seeds import derive_seed
from bitprop.verification.claim import Claim

__all__ = ["ARCHITECTURES", "PLANTED_BUGS", "PlantedCase", "build_planted", "straight_through_spike"]

ARCHITECTURES = ("dense", "conv", "recurrent")
PLANTED_BUGS = {
    "detached_reset": "the reset is detached, where an attached one is claimed",
    "attached_reset": "the reset is attached, where a detached one is claimed",
    "wrong_sign": "the surrogate slope has the wrong sign",
    "missing_leak": "the backward pass of the leak leaves out its factor",
    "off_by_one": "the surrogate slope is taken at the potential of the step before",
    "scale_1.1": "the surrogate is steeper than claimed by 10%",
    "scale_1.001": "the surrogate is steeper than claimed by 0.1%",
    "stale_state": "the membrane potential is kept from one forward pass to the next",
    "data_in_place": "the leak is applied in place on .data, behind autograd's back",
    "dead_weight": "one coordinate of one weight gets no gradient",
    "truncated": "the membrane potential is detached every few steps",
    "float32_cast": "the membrane potential passes through float32 in a float64 network",
    "no_grad_reset": "the reset is computed under no_grad, where an attached one is claimed",
    "comparison_reset": "the reset compares anew instead of using the spike, where an attached one is claimed",
    "straight_through": "the soft function of a straight-through spike is steeper than claimed by 10%",
}
"""Every planted bug by name, with what is wrong."""

_SCALE = 10.0
_BETA = 0.85


class _Spike(torch.autograd.Function):
    """Step forward; ``factor / (1 + scale |at|)^2`` backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, at: Tensor, scale: float, factor: float) -> Tensor:
        ctx.save_for_backward(at)
        ctx.scale, ctx.factor = scale, factor
        return (x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (at,) = ctx.saved_tensors
        return grad * ctx.factor / (1.0 + ctx.scale * at.abs()) ** 2, None, None, None


class _LeakWithoutFactor(torch.autograd.Function):
    """``beta v`` forward, a gradient as of ``v`` backward."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, beta: float) -> Tensor:
        return v * beta

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def straight_through_spike(x: Tensor, scale: float) -> Tensor:
    """A spike written as ``(hard - soft).detach() + soft`` with a logistic soft function."""
    soft = torch.sigmoid(scale * x)
    return ((x >= 0).to(x.dtype) - soft).detach() + soft


class _Layer(nn.Module):
    """Leaky integrate-and-fire with one bug, step by step."""

    def __init__(self, reset: str, bug: str | None, steps_kept: int) -> None:
        super().__init__()
        self.reset, self.bug, self.kept = reset, bug, steps_kept
        self.v: Tensor | None = None
        self.before: Tensor | None = None
        self.count = 0

    def begin(self, stale: bool) -> None:
        if not stale or self.v is None:
            self.v = None
        else:
            self.v = self.v.detach()
        self.before, self.count = None, 0

    def potential(self) -> Tensor:
        assert self.v is not None  # noqa: S101 - after a step
        return self.v

    def forward(self, x: Tensor) -> Tensor:
        bug = self.bug
        v = torch.zeros_like(x) if self.v is None else self.v
        if bug == "truncated" and self.count % self.kept == self.kept - 1:
            v = v.detach()
        if bug == "missing_leak":
            u = _LeakWithoutFactor.apply(v, _BETA) + x  # type: ignore[no-untyped-call]
        elif bug == "data_in_place":
            leaked = v.clone()
            leaked.data.mul_(_BETA)
            u = leaked + x
        else:
            u = v * _BETA + x
        if bug == "float32_cast":
            u = u.float().to(x.dtype)
        s = self._fire(u - 1.0)
        self.v = self._after(u, s)
        self.before, self.count = (u - 1.0).detach(), self.count + 1
        return s

    def _fire(self, x: Tensor) -> Tensor:
        if self.bug in ("straight_through", "straight_through_right"):
            return straight_through_spike(x, _SCALE * (1.1 if self.bug == "straight_through" else 1.0))
        at = self.before if self.bug == "off_by_one" and self.before is not None else x.detach()
        scale = _SCALE * {"scale_1.1": 1.1, "scale_1.001": 1.001}.get(str(self.bug), 1.0)
        factor = -1.0 if self.bug == "wrong_sign" else 1.0
        spikes: Tensor = _Spike.apply(x, at, scale, factor)  # type: ignore[no-untyped-call]
        return spikes

    def _after(self, u: Tensor, s: Tensor) -> Tensor:
        if self.bug in ("detached_reset", "detached_right"):
            s = s.detach()
        elif self.bug == "no_grad_reset":
            with torch.no_grad():
                s = s * 1.0
        elif self.bug == "comparison_reset":
            s = (u >= 1.0).to(u.dtype)
        return u - s if self.reset == "soft" else u * (1.0 - s)


class _Net(nn.Module):
    """Two spiking layers; the first carries the bug."""

    def __init__(self, architecture: str, reset: str, bug: str | None, hidden: int, second: str | None) -> None:
        super().__init__()
        self.architecture, self.stale = architecture, bug == "stale_state"
        if architecture == "conv":
            self.first: nn.Module = nn.Conv2d(1, 3, 3, padding=1)
            self.pool = nn.MaxPool2d(2)
            self.last = nn.Linear(3 * 3 * 3, 4)
        else:
            self.first = nn.Linear(8, hidden)
            self.last = nn.Linear(hidden, 4)
        self.recurrent = nn.Linear(hidden, hidden, bias=False) if architecture == "recurrent" else None
        self.hidden, self.output = _Layer(reset, bug, 3), _Layer(reset, second, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.hidden.begin(self.stale)
        self.output.begin(False)
        total: Tensor | None = None
        s: Tensor | None = None
        for x_t in x:
            current = self.first(x_t)
            if self.recurrent is not None and s is not None:
                current = current + self.recurrent(s)
            s = self.hidden(current)
            seen = s if self.architecture != "conv" else self.pool(s).flatten(1)
            out = self.output(self.last(seen)) + 0.1 * self.output.potential()
            total = out if total is None else total + out
        assert total is not None  # noqa: S101 - there is at least one step
        return total


@dataclass(frozen=True)
class PlantedCase:
    """A network, its data, its loss, and what is claimed of it.

    Attributes:
        name: architecture, reset and bug.
        model: the network.
        inputs: ``[T, B, ...]``.
        targets: class indices ``[B]``.
        loss_fn: cross-entropy of summed outputs, scaled.
        claim: what a right network would fulfil; a planted one does not.
        bug: planted, or ``None``.
    """

    name: str
    model: nn.Module
    inputs: Tensor
    targets: Tensor
    loss_fn: Callable[[Any, Tensor], Tensor]
    claim: Claim
    bug: str | None


def build_planted(
    bug: str | None = None,
    *,
    architecture: str = "dense",
    reset: str = "soft",
    hidden: int = 12,
    steps: int = 8,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    loss_scale: float = 1.0,
) -> PlantedCase:
    """A small spiking network with or without a planted bug.

    Args:
        bug: a name of :data:`PLANTED_BUGS`, or ``None``: right.
        architecture: ``dense``, ``conv`` (with max pooling) or ``recurrent``.
        reset: ``soft`` or ``hard``.
        hidden: neurons of the hidden layer of the dense and recurrent ones.
        steps: time steps, 2 .. 1000.
        dtype: of parameters and data.
        seed: of weights and data.
        loss_scale: factor of the loss, above 0; a check that is blind to small losses passes bugs at 1e-4.

    Raises:
        RangeError: an argument out of range.

    Example:
        >>> from bitprop.verification.suite import verify
        >>> case = build_planted("wrong_sign")
        >>> verify(case.model, case.inputs, case.targets, case.loss_fn, claim=case.claim).status
        'FAIL'
    """
    if bug is not None:
        check_choice("bug", bug, tuple(PLANTED_BUGS))
    check_choice("architecture", architecture, ARCHITECTURES)
    check_choice("reset", reset, ("soft", "hard"))
    check_integer("hidden", hidden, 2, 4096)
    check_integer("steps", steps, 2, 1000)
    factor = check_real("loss_scale", loss_scale, 1e-12, 1e12)
    generator = torch.Generator().manual_seed(derive_seed(seed, "planted", architecture))
    detached = bug == "attached_reset"
    second = "detached_right" if detached else "straight_through_right" if bug == "straight_through" else None
    state = torch.get_rng_state()
    model = _Net(architecture, reset, bug, hidden, second)
    torch.set_rng_state(state)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            fan = parameter[0].numel() if parameter.dim() > 1 else 4
            size = 1.6 if "recurrent" not in name else 0.8
            draw = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(draw * size / fan**0.5 if parameter.dim() > 1 else 0.3 * draw)
    model = model.to(dtype)
    shape = (steps, 5, 1, 6, 6) if architecture == "conv" else (steps, 5, 8)
    inputs = torch.rand(shape, generator=generator, dtype=torch.float64).to(dtype)
    targets = torch.randint(0, 4, (5,), generator=generator)
    if bug == "dead_weight":
        _kill_one(model)
    claim = Claim(
        surrogate="sigmoid" if bug == "straight_through" else "fast_sigmoid",
        scale=_SCALE,
        reset="detached" if detached else "attached",
        spike=("bitprop.testing.planted:straight_through_spike",) if bug == "straight_through" else (),
    )

    def loss_fn(outputs: Tensor, wanted: Tensor) -> Tensor:
        return factor * functional.cross_entropy(outputs, wanted)

    return PlantedCase(f"{architecture} {reset} {bug or 'right'}", model, inputs, targets, loss_fn, claim, bug)


def _kill_one(model: nn.Module) -> None:
    """Let no gradient reach the middle coordinate of the first weight."""
    weight = next(model.parameters())

    def hook(grad: Tensor) -> Tensor:
        mask = torch.ones_like(grad)
        mask.view(-1)[mask.numel() // 2] = 0.0
        return grad * mask

    weight.register_hook(hook)  # type: ignore[no-untyped-call]
