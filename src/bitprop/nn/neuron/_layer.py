"""A dense layer and its neurons in one native call, where nobody could tell the difference but by its time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as _modules

from bitprop.nn import _watched
from bitprop.nn.neuron import _eager, _fused
from bitprop.nn.neuron._neuron import AbstractNeuron

__all__ = ["dense"]

_HARD = 1
_UNTOUCHED = (nn.Module.__call__, nn.Linear.forward, nn.functional.linear, AbstractNeuron.forward)
"""What runs between a network and its products; in another's place the single modules are called."""


def _is_bare(module: nn.Module) -> bool:
    """Whether calling the module is calling its class's ``forward``."""
    return not (
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or module._compiled_call_impl is not None
        or "forward" in vars(module)
    )


def _fits(tensor: Any) -> bool:
    return _fused.fits(tensor, torch.float32) and tensor.layout == torch.strided


def dense(layer: nn.Module, neuron: nn.Module, x: Tensor) -> Tensor | None:
    """Outputs ``[T, B, H]`` of neurons with the currents ``layer(x)``, or ``None``: the two have to be called."""
    if (
        _watched.is_traced()
        or not _fused.is_built()
        or _watched.is_watched()
        or type(layer) is not nn.Linear
        or not _is_bare(layer)
        or not _is_bare(neuron)
        or (nn.Module.__call__, type(layer).forward, nn.functional.linear, type(neuron).forward) != _UNTOUCHED
        or _modules._has_any_global_hook()  # type: ignore[no-untyped-call]
        or torch.is_autocast_enabled("cpu")
    ):
        return None
    weight, bias = layer.weight, layer.bias
    if not (_fits(x) and x.dim() == 3 and x.numel() and _fits(weight) and (bias is None or _fits(bias))):
        return None
    found = _fused.plan(neuron)
    if found is None or found.weight is not None or found.codes[1] == _HARD or x.shape[2] != weight.shape[1]:
        return None
    values = _fused.constants_of(found, torch.float32, weight.shape[0])
    if values is None or _eager.wants_gradient(*values):
        return None
    arguments = (x, weight, bias, *values, found.codes)
    out: Tensor = _eager.SpikingLayer.apply(*arguments)  # type: ignore[no-untyped-call]
    return out
