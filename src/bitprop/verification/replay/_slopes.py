"""Slopes of spike functions as their backward passes have them, at every input that was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bitprop.verification.replay._tape import SpikeCall

__all__ = ["coded_slopes", "grouped"]


def grouped(calls: Sequence[SpikeCall]) -> list[list[SpikeCall]]:
    """Calls of one function with the same other arguments; calls with tensors among those stay alone."""
    groups: dict[tuple[Any, ...], list[SpikeCall]] = {}
    for call in calls:
        rest = call.arguments[: call.position] + call.arguments[call.position + 1 :]
        if any(isinstance(x, Tensor) for x in rest):
            key: tuple[Any, ...] = ("alone", call.index)
        else:
            key = (
                call.function,
                call.place,
                call.x0.dtype,
                *(x if isinstance(x, float | int) else id(x) for x in rest),
            )
        groups.setdefault(key, []).append(call)
    return list(groups.values())


def coded_slopes(calls: list[SpikeCall]) -> None:
    """Evaluate the backward pass of a spike function at every recorded input, once for all."""
    first = calls[0]
    x = first.x0 if len(calls) == 1 else torch.cat([call.x0.flatten() for call in calls])
    x = x.detach().clone().requires_grad_(True)
    others = {}
    for position, value in enumerate(first.arguments):
        if position != first.position and isinstance(value, Tensor) and value.is_floating_point():
            try:
                others[position] = value.expand(x.shape).clone().requires_grad_(True)
            except RuntimeError:
                continue
    try:
        grads = _gradients(first, x, others)
    except RuntimeError:
        if not others:
            raise
        # its backward pass sums over an argument of fewer dimensions, and does not know the expanded one
        others = {}
        grads = _gradients(first, x, others)
    slope = (grads[0] if grads and grads[0] is not None else torch.zeros_like(x)).detach().double()
    if len(calls) == 1:
        first.coded = slope
        found = zip(others, grads[1:], strict=False)
        first.coded_others = {k: g.detach().double() for k, g in found if g is not None}
        return
    for call, part in zip(calls, torch.split(slope, [call.x0.numel() for call in calls]), strict=True):
        call.coded = part.reshape(call.x0.shape)


def _gradients(call: SpikeCall, x: Tensor, others: dict[int, Tensor]) -> tuple[Tensor | None, ...]:
    """Derivatives of the sum of all spikes by the input and by other arguments."""
    with torch.enable_grad():
        output = call.at(x, others)
        if not output.requires_grad:
            return ()
        return torch.autograd.grad(output.sum(), [x, *others.values()], allow_unused=True)
