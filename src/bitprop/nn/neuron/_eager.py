"""The native spiking kernels as plain functions of autograd: what the operators do, without a dispatcher between.

    Spiking          a neuron over all time steps, as ``bitprop::spiking``
    SpikingLayer     ``x W^T + b`` and a neuron over all time steps

A layer has its currents to itself: going forward the surrogate's slopes take their place, going back the gradients
take that of the slopes.  So one tensor ``[T, B, H]`` is kept besides the spikes, and nothing is computed twice.  Where
hooks take what is saved (``torch.autograd.graph.saved_tensors_hooks``) it stays as it is, and nothing is kept besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import Function

from bitprop import kernels
from bitprop.nn import _watched
from bitprop.nn.neuron import _operators, _sparse
from bitprop.nn.neuron._operators import handed, lent

__all__ = ["Spiking", "SpikingLayer", "wants_gradient"]

_INTEGRATOR = 3


def wants_gradient(*tensors: Tensor | None) -> bool:
    """Whether autograd has to know of a call with these."""
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


def _is_seen(grads: Sequence[Tensor | None]) -> bool:
    """Whether the backward pass is compiled, traced or watched."""
    return _watched.is_traced() or _watched.has_mode() or any(g is not None and type(g) is not Tensor for g in grads)


def _keeps_graph() -> bool:
    """Whether this backward pass may run again; where PyTorch does not say, it may."""
    ask = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", None)
    return ask is None or bool(ask())


class Spiking(Function):
    """``bitprop::spiking``, with its arguments and results."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Outputs and the state after the last step."""
        _operators.set_up(ctx, arguments, ())
        return _operators.forward(*arguments)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Gradients by the arguments."""
        back = torch.ops.bitprop.spiking_backward if _is_seen(grads) else _operators.backward
        return _operators.pulled(ctx, grads, back)


def _plain_layer(
    x: Tensor, weight: Tensor, bias: Tensor | None, beta: Tensor, second: Any, theta: Any, codes: Any
) -> Sequence[Tensor]:
    """The layer in plain operations."""
    current = nn.functional.linear(x, weight, bias)
    return _operators.SECOND_ORDER[0](False, current, None, beta, second, theta, None, None, None, *codes)[:1]


class SpikingLayer(Function):
    """Outputs ``[T, B, H]`` of neurons with the currents ``x W^T + b``, in float32; constants are not learned."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        beta: Tensor,
        second: Tensor | None,
        theta: Tensor | None,
        codes: tuple[Any, ...],
    ) -> Tensor:
        """The product over all steps at once, then the neurons."""
        ctx.set_materialize_grads(False)
        shape = (*x.shape[:2], weight.shape[0])
        current = _operators.room_for(shape, x)
        rows = _sparse.linear(x.flatten(0, 1), weight, bias, current.view(-1, shape[2]))
        ctx.is_hooked, ctx.is_listed = _watched.has_saving_hooks(), rows is not None
        ctx.rows = rows if ctx.needs_input_grad[1] and not ctx.is_hooked else None
        out = _operators.room_for(shape, x)
        constants = (beta, second, theta)
        slope = None
        given = (lent(current), lent(out), len(x), codes, *map(handed, constants))
        if codes[0] == _INTEGRATOR:
            kernels.extension().spiking_forward_f32(*given, *(None,) * 6, torch.get_num_threads())
        else:
            kernels.extension().spiking_fire(*given, torch.get_num_threads())
            slope = current
        ctx.save_for_backward(x, weight, bias, *constants, slope)
        ctx.codes = codes
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Gradients by input, weight and bias."""
        (grad,) = grads
        *arguments, slope = ctx.saved_tensors
        if grad is None:
            return (None,) * 7
        if _operators.differentiable(grads) or _is_seen(grads):
            return tuple(_operators.by_reference(_plain_layer, (*arguments, ctx.codes), grads))
        x, weight, _, *constants = arguments
        by_x, by_weight, by_bias, *_ = ctx.needs_input_grad
        width = weight.shape[0]
        is_last = not (ctx.is_hooked or _keeps_graph())
        pulled = slope if slope is not None and is_last else _operators.room_for(grad.shape, grad)
        sums = grad.new_empty(grad.shape[1:]) if by_bias else None
        kernels.extension().spiking_pull(
            handed(grad),
            handed(slope),
            len(x),
            ctx.codes,
            *map(handed, constants),
            lent(pulled),
            lent(sums),
            torch.get_num_threads(),
        )
        flat = pulled.view(-1, width)
        g_x = _operators.room_for(x.shape, x) if by_x else None
        if g_x is not None:
            torch.mm(flat, weight, out=g_x.view(-1, x.shape[2]))
        g_weight = None
        if by_weight:
            x = x.flatten(0, 1)
            rows = _sparse.lists(x) if ctx.is_hooked and ctx.is_listed else ctx.rows
            g_weight = _sparse.weight_gradient(rows, flat, x)
        if is_last:
            ctx.rows = None  # as autograd frees what it saved
        return (
            g_x,
            g_weight,
            sums.sum(0) if sums is not None else None,
            *(None,) * 4,
        )
