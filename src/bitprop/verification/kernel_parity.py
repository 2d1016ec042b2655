"""A fast kernel against its reference: the same spikes, the same gradients.

Both run on the same inputs; a random cotangent v turns their outputs y into one scalar, whose gradients are compared
tensor by tensor (inputs, and parameters by name)::

    L = sum v * y,      r = |g_fast - g_reference| / |g_reference|

Outputs that are whole numbers (spikes, counts) must be equal; others (membrane potentials) within the tolerance.
What it cannot show: that the reference is right, or agreement at inputs that were not tried.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bitprop import kernels
from bitprop._checks import check_real
from bitprop.errors import ShapeError
from bitprop.seeds import derive_seed
from bitprop.verification.result import GradientVerificationResult, Status, Where

__all__ = ["TOLERANCES", "check_kernel_parity", "check_native_kernels"]

TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""Largest relative difference of two gradients, by dtype: different orders of the same sums."""


def _tensors(value: Any) -> list[Tensor]:
    """The tensors of a nested output, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        return [tensor for item in value.values() for tensor in _tensors(item)]
    if isinstance(value, tuple | list):
        return [tensor for item in value for tensor in _tensors(item)]
    if hasattr(value, "__dataclass_fields__"):
        return [tensor for name in value.__dataclass_fields__ for tensor in _tensors(getattr(value, name))]
    return []


def _run(function: Callable[..., Any], inputs: Sequence[Tensor], seed: int) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Outputs and gradients by name, for one random cotangent that depends on nothing but the outputs' shapes."""
    leaves = [x.detach().clone().requires_grad_(x.is_floating_point()) for x in inputs]
    wanted = {f"input {i}": leaf for i, leaf in enumerate(leaves) if leaf.requires_grad}
    if isinstance(function, nn.Module):
        wanted |= {name: p for name, p in function.named_parameters() if p.requires_grad}
    with torch.enable_grad():
        outputs = _tensors(function(*leaves))
        generator = torch.Generator().manual_seed(derive_seed(seed, "kernel_parity"))
        live, cotangents = [], []
        for output in outputs:
            cotangent = torch.randn(output.shape, generator=generator, dtype=torch.float64)
            if output.requires_grad:
                live.append(output)
                cotangents.append(cotangent.to(output))
        found = torch.autograd.grad(live, list(wanted.values()), cotangents, allow_unused=True) if live else ()
    gradients = dict(zip(wanted, found, strict=False))
    return [output.detach() for output in outputs], {
        name: torch.zeros_like(tensor) if gradients.get(name) is None else gradients[name].detach()
        for name, tensor in wanted.items()
    }


def _place(error: Tensor) -> tuple[int, ...]:
    return tuple(int(i) for i in torch.unravel_index(error.argmax(), error.shape)) if error.ndim else ()


def _compare_outputs(reference: list[Tensor], fast: list[Tensor], tolerance: float) -> tuple[str | None, Where]:
    if [tuple(a.shape) for a in reference] != [tuple(b.shape) for b in fast]:
        shapes = [[list(item.shape) for item in side] for side in (reference, fast)]
        return f"output shapes differ: {shapes[0]} and {shapes[1]}", Where()
    for number, (a, b) in enumerate(zip(reference, fast, strict=True)):
        if a.dtype != b.dtype:
            return f"output {number} is {a.dtype} in the reference and {b.dtype} in the fast kernel", Where()
        exact, error = a.double(), (b.double() - a.double()).abs()
        error = torch.where(torch.isnan(error), math.inf, error)
        whole = torch.equal(exact, exact.round())
        limit = 0.0 if whole else tolerance * float(exact.abs().max())
        if error.numel() and not float(error.max()) <= limit:
            index = _place(error)
            share = float((error > limit).double().mean())
            kind = "whole numbers" if whole else "values"
            where = Where(tensor=f"output {number}", index=index, claimed=float(a[index]), computed=float(b[index]))
            return f"output {number} ({kind}) differs in {share:.3%} of its elements", where
    return None, Where()


def check_kernel_parity(
    reference: Callable[..., Any],
    fast: Callable[..., Any],
    inputs: Tensor | Sequence[Tensor],
    *,
    tolerance: float | None = None,
    seed: int = 0,
    name: str = "kernel",
) -> GradientVerificationResult:
    """Run a reference and a fast kernel on the same inputs and compare outputs and gradients.

    Args:
        reference: callable or module: the truth.
        fast: the same, faster.  Two modules must have the same parameters by name, with the same values.
        inputs: one tensor or several; floating-point ones get gradients.
        tolerance: largest r; by the dtype of the outputs if ``None`` (1e-5 in float32, 1e-12 in float64).
        seed: of the cotangent.
        name: of the kernel, for the report.

    Returns:
        PASS, FAIL with tensor and index; VACUOUS where the reference's gradient is zero or its outputs are constant.

    Raises:
        ShapeError: no tensor among the outputs of the reference.

    Example:
        >>> x = torch.linspace(-1.0, 1.0, 5)
        >>> check_kernel_parity(lambda x: x * x * x, lambda x: x.pow(3), x).status
        'PASS'
    """
    start = time.perf_counter()
    given = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    outputs, gradients = _run(reference, given, seed)
    if not outputs:
        raise ShapeError("expected tensors among the reference's outputs, got none; return them")
    dtype = next((item.dtype for item in outputs if item.is_floating_point()), torch.float32)
    limit = check_real("tolerance", TOLERANCES[dtype] if tolerance is None else tolerance, 0.0, 1.0)
    fast_outputs, fast_gradients = _run(fast, given, seed)
    problem, where = _compare_outputs(outputs, fast_outputs, limit)

    names = sorted(set(gradients) ^ set(fast_gradients))
    if problem is None and names:
        problem = f"only one side has a gradient for {', '.join(names)}"
    whole = math.sqrt(sum(float(g.double().square().sum()) for g in gradients.values()))
    statistic, largest = 0.0, 0.0
    table = []
    for tensor in gradients.keys() & fast_gradients.keys():
        g, other = gradients[tensor].double(), fast_gradients[tensor].double()
        if g.shape != other.shape:
            problem = problem or f"{tensor} is {list(g.shape)} in the reference and {list(other.shape)} in the fast one"
            continue
        error = (other - g).abs()
        error = torch.where(torch.isnan(error), math.inf, error)
        r = float(error.norm()) / (float(g.norm()) or whole or 1.0) if error.numel() else 0.0
        table.append({"name": tensor, "r": r})
        if r > statistic:
            statistic = r
            largest = float(error.max())
            index = _place(error)
            if problem is None:
                where = Where(tensor=tensor, index=index, claimed=float(g[index]), computed=float(other[index]))
    if problem is None and not statistic <= limit:
        problem = f"the gradient of {where.tensor} is off by {statistic:.3g} of its length"
    status: Status = "FAIL" if problem is not None else "PASS"
    detail = problem or f"{len(outputs)} outputs equal, {len(table)} gradients agree"
    constant = all(item.numel() == 0 or bool((item == item.flatten()[0]).all()) for item in outputs)
    if status == "PASS" and (whole == 0.0 or constant):
        status = "VACUOUS"
        detail = "the reference's gradient is zero" if whole == 0.0 else "the reference's outputs are constant"
    return GradientVerificationResult(
        name="kernel_parity",
        claim=f"{name}: the fast kernel gives the reference's outputs and gradients",
        status=status,
        detail=detail,
        statistic=statistic,
        tolerance=limit,
        tolerance_reason="another order of the same sums, in the dtype of the outputs; spikes have no tolerance",
        null_error=torch.finfo(dtype).eps,
        smallest_detectable=limit,
        where=where,
        maximum_error=largest,
        evaluations=2,
        seed=seed,
        dtype=str(dtype).removeprefix("torch."),
        data={"tensors": sorted(table, key=lambda row: str(row["name"]))},
        seconds=time.perf_counter() - start,
    )


class _AtLevel(nn.Module):
    """A module run at one level of the native kernels."""

    def __init__(self, module: nn.Module, level: str) -> None:
        super().__init__()
        self.module, self._level = module, level

    def forward(self, *inputs: Any) -> Any:
        """As the module's."""
        with kernels.use_level(self._level):
            return self.module(*inputs)


def check_native_kernels(
    module: nn.Module,
    inputs: Tensor | Sequence[Tensor],
    *,
    tolerance: float | None = None,
    level: str | None = None,
    seed: int = 0,
) -> GradientVerificationResult:
    """Run a module of this package by its native kernels and by its plain reference and compare the two.

    The verification of a module watches single operations, and then the reference runs; this check carries what it
    says over to the kernels that training uses.

    Args:
        module: a neuron or network of :mod:`bitprop.nn`.
        inputs: of the module; floating-point ones get gradients.
        tolerance: as of :func:`check_kernel_parity`.
        level: of the kernels; ``None``: the one in use.
        seed: of the cotangent.

    Returns:
        As :func:`check_kernel_parity`; SKIPPED where the plain reference is in use.

    Raises:
        RangeError: a level that this machine does not have.

    Example:
        >>> from bitprop.nn import LIF
        >>> x = torch.rand(8, 4, 16, generator=torch.Generator().manual_seed(0))
        >>> check_native_kernels(LIF(), x).status in ("PASS", "SKIPPED")  # SKIPPED where none are built
        True
    """
    chosen = kernels.level() if level is None else level
    name = type(module).__name__
    if chosen == "reference":
        return GradientVerificationResult(
            name="kernel_parity",
            claim=f"{name}: the fast kernel gives the reference's outputs and gradients",
            status="SKIPPED",
            detail=f"the plain reference is in use: {kernels.why_not() or 'as chosen'}",
            seed=seed,
        )
    return check_kernel_parity(
        _AtLevel(module, "reference"),
        _AtLevel(module, chosen),
        inputs,
        tolerance=tolerance,
        seed=seed,
        name=f"{name}, {chosen}",
    )
