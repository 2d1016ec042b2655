"""Checks that only this package's neurons allow: the adjoint by hand, and the native kernels against the reference.

A model's neurons are checked on the currents that reach them in the model.  Both checks are of single neurons; that the
network joins them rightly is what the tangent replay says.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import torch
from torch import Tensor, nn

from bitprop.nn.neuron import AbstractNeuron
from bitprop.verification.adjoint import Neuron, check_adjoint
from bitprop.verification.kernel_parity import check_native_kernels
from bitprop.verification.replay import Problem, Snapshot, random_state
from bitprop.verification.result import GradientVerificationResult

__all__ = ["check_own_neurons"]


def _currents(problem: Problem) -> dict[str, Tensor]:
    """The current ``[T, B, ...]`` that reaches each neuron first, by the neuron's dotted name."""
    found: dict[str, Tensor] = {}
    handles = []

    def watch(name: str) -> Any:
        def note(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            x = args[0] if args else kwargs.get("x")
            steps = kwargs.get("steps")
            if name in found or not isinstance(x, Tensor):
                return
            found[name] = x.detach().clone() if steps is None else x.detach().expand(int(steps), *x.shape).clone()

        return note

    for name, module in problem.model.named_modules():
        if isinstance(module, AbstractNeuron):
            handles.append(module.register_forward_pre_hook(watch(name), with_kwargs=True))
    snapshot = Snapshot(problem.model)
    try:
        with random_state(), torch.no_grad():
            problem.outputs(problem.inputs)
    finally:
        snapshot.restore()
        for handle in handles:
            handle.remove()
    return found


def check_own_neurons(problem: Problem, *, seed: int = 0) -> list[GradientVerificationResult]:
    """The adjoint and the kernels of every neuron of :mod:`bitprop.nn` in a model.

    Args:
        problem: the model and its data.
        seed: of the random cotangents.

    Returns:
        For each neuron a result of :func:`check_adjoint`, where its current is ``[T, B, N]``, and one of
        :func:`check_native_kernels`; nothing for a model without such neurons.

    Example:
        >>> from bitprop.nn import LIF
        >>> x = torch.rand(8, 2, 3, generator=torch.Generator().manual_seed(0))
        >>> problem = Problem(LIF(beta=0.8), x, None, lambda out: out[0].sum())
        >>> [result.name for result in check_own_neurons(problem)]
        ['adjoint', 'kernel_parity']
    """
    modules = dict(problem.model.named_modules())
    results = []
    for name, current in _currents(problem).items():
        neuron = modules[name]
        place = name or "(the model itself)"
        checked = []
        if isinstance(neuron, get_args(Neuron)) and current.dim() == 3:
            checked.append(check_adjoint(neuron, current, seed=seed))
        checked.append(check_native_kernels(neuron, current, seed=seed))
        results += [replace(result, detail=f"{place}: {result.detail}") for result in checked]
    return results
