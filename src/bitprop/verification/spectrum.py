"""Conditioning, as three different things, and the growth of a recurrence.

*Weights*: singular values of each weight matrix.  *Output*: how many directions of the output the parameters can move,
the effective rank of the output Jacobian.  *Loss*: extremes of the Hessian, by Lanczos.  None of them is "the"
condition number, and none stands for another.

References: Roy and Vetterli, *The effective rank*, EUSIPCO 2007; Golub and Van Loan, *Matrix Computations*, section
10.1 (Lanczos); Benettin et al., Meccanica 15, 1980 (Lyapunov exponents by renormalisation).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bitprop._checks import check_integer
from bitprop.errors import RangeError, ShapeError
from bitprop.seeds import derive_seed

__all__ = [
    "HessianExtremes",
    "LyapunovResult",
    "WeightSpectrum",
    "effective_rank",
    "hessian_extremes",
    "lanczos_extremes",
    "lyapunov_exponent",
    "output_jacobian_rank",
    "weight_spectra",
]


@dataclass(frozen=True, slots=True)
class WeightSpectrum:
    """Singular values of one weight, its first axis against the others.

    Attributes:
        name: of the parameter.
        largest: singular value.
        smallest: singular value.
        condition: largest over smallest; infinite for a singular matrix.
        rank: effective rank, ``exp(entropy of normalised singular values)``.
        norm: Frobenius norm.
    """

    name: str
    largest: float
    smallest: float
    condition: float
    rank: float
    norm: float

    def to_dict(self) -> dict[str, Any]:
        """Plain fields."""
        return asdict(self)


def effective_rank(values: Tensor) -> float:
    """``exp(-sum p log p)`` with ``p`` the singular values over their sum; 0 for a zero matrix.

    Example:
        >>> effective_rank(torch.tensor([1.0, 1.0, 0.0])), effective_rank(torch.zeros(2))
        (2.0, 0.0)
    """
    total = float(values.sum())
    if total <= 0.0:
        return 0.0
    p = values.double() / values.double().sum()
    p = p[p > 0]
    return round(float(torch.exp(-(p * p.log()).sum())), 12)


def weight_spectra(model: nn.Module) -> list[WeightSpectrum]:
    """Of every finite parameter of two or more axes."""
    found = []
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2 or not bool(torch.isfinite(parameter).all()):
            continue
        values = torch.linalg.svdvals(parameter.detach().double().flatten(1))
        low, high = float(values.min()), float(values.max())
        # what is rounding beside the largest is a zero
        condition = high / low if low > high * 1e-14 else math.inf
        found.append(
            WeightSpectrum(name, high, low, condition, effective_rank(values), float(parameter.detach().norm()))
        )
    return found


def output_jacobian_rank(outputs: Tensor, parameters: Sequence[Tensor], *, probes: int = 16, seed: int = 0) -> float:
    """Effective rank of the Jacobian of the outputs by the parameters, from random vector-Jacobian products.

    ``probes`` random rows ``v^T J`` span what J can do; the effective rank of their matrix is at most ``probes``.

    Args:
        outputs: with a graph.
        parameters: that require gradients.
        probes: rows, 1 .. 4096.
        seed: of the rows.

    Raises:
        RangeError: probes out of range.
    """
    count = min(check_integer("probes", probes, 1, 4096), outputs.numel())
    generator = torch.Generator().manual_seed(derive_seed(seed, "output_jacobian"))
    rows = []
    for _ in range(count):
        v = torch.randn(outputs.shape, generator=generator, dtype=torch.float64).to(outputs.dtype)
        grads = torch.autograd.grad(outputs, list(parameters), v, retain_graph=True, allow_unused=True)
        flat = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, grads, strict=True)]
        rows.append(torch.cat([x.detach().double().flatten() for x in flat]))
    return effective_rank(torch.linalg.svdvals(torch.stack(rows)))


@dataclass(frozen=True, slots=True)
class HessianExtremes:
    """Ritz values at both ends of a symmetric operator.

    Attributes:
        smallest: eigenvalue, algebraically.
        largest: eigenvalue, algebraically.
        residual: largest Lanczos residual of the two; the eigenvalues are within it.
        steps: Lanczos steps taken.
        of: what the operator is.
    """

    smallest: float
    largest: float
    residual: float
    steps: int
    of: str


def lanczos_extremes(
    product: Callable[[Tensor], Tensor], size: int, *, steps: int = 30, seed: int = 0, of: str = "a symmetric operator"
) -> HessianExtremes:
    """Extreme eigenvalues of a symmetric operator from products with vectors, with full reorthogonalisation.

    Args:
        product: ``v`` to ``A v``, float64 ``[size]``.
        size: of the vectors.
        steps: at most; fewer where an invariant subspace is found.
        seed: of the first vector.
        of: what the operator is, for the report.

    Raises:
        RangeError: an argument out of range, or a product that is not finite.

    Example:
        >>> a = torch.diag(torch.tensor([-2.0, 0.5, 3.0], dtype=torch.float64))
        >>> found = lanczos_extremes(lambda v: a @ v, 3)
        >>> round(found.smallest, 9), round(found.largest, 9)
        (-2.0, 3.0)
    """
    count = min(check_integer("steps", steps, 1, 10_000), check_integer("size", size, 1, 1 << 31))
    generator = torch.Generator().manual_seed(derive_seed(seed, "lanczos"))
    v = torch.randn(size, generator=generator, dtype=torch.float64)
    basis = [v / v.norm()]
    alpha: list[float] = []
    beta: list[float] = []
    for k in range(count):
        w = product(basis[k])
        if w.shape != basis[k].shape or not bool(torch.isfinite(w).all()):
            raise RangeError("expected finite products of the operator's own size; check the model with finite inputs")
        alpha.append(float(w @ basis[k]))
        stacked = torch.stack(basis)
        for _ in range(2):  # twice is enough
            w = w - stacked.t() @ (stacked @ w)
        norm = float(w.norm())
        scale = max(abs(a) for a in alpha) + sum(beta[-1:])
        if k + 1 == count or norm <= 1e-12 * max(scale, 1e-300):
            beta.append(norm)
            break
        beta.append(norm)
        basis.append(w / norm)
    matrix = torch.diag(torch.tensor(alpha, dtype=torch.float64))
    for k in range(len(alpha) - 1):
        matrix[k, k + 1] = matrix[k + 1, k] = beta[k]
    values, vectors = torch.linalg.eigh(matrix)
    residual = beta[-1] * float(torch.maximum(vectors[-1, 0].abs(), vectors[-1, -1].abs()))
    return HessianExtremes(float(values[0]), float(values[-1]), residual, len(alpha), of)


def hessian_extremes(loss: Tensor, parameters: Sequence[Tensor], *, steps: int = 30, seed: int = 0) -> HessianExtremes:
    """Extremes of the derivative of the *surrogate gradient*, by double backward.

    Of a smooth model this is the Hessian.  Of a hard spiking model the loss has no Hessian; what is reported is the
    Jacobian of the surrogate gradient field, symmetrised: ``(J + J^T) / 2`` cannot be had from backward alone, so the
    products used are those of ``J^T``, and the residual says how well a symmetric operator fits them.

    Args:
        loss: one number, with a graph.
        parameters: that require gradients.
        steps: of Lanczos.
        seed: of its first vector.

    Raises:
        ShapeError: the gradient is not differentiable.
    """
    grads = torch.autograd.grad(loss, list(parameters), create_graph=True, allow_unused=True)
    used = [(p, g) for p, g in zip(parameters, grads, strict=True) if g is not None]
    flat = torch.cat([g.flatten() for _, g in used]) if used else torch.zeros(0)
    if not flat.requires_grad:
        raise ShapeError("expected a gradient that can be differentiated again, got one without a graph")
    leaves = [p for p, _ in used]

    def product(v: Tensor) -> Tensor:
        found = torch.autograd.grad(flat, leaves, v.to(flat.dtype), retain_graph=True, allow_unused=True)
        parts = [torch.zeros_like(p) if g is None else g for p, g in zip(leaves, found, strict=True)]
        return torch.cat([x.detach().double().flatten() for x in parts])

    return lanczos_extremes(product, flat.numel(), steps=steps, seed=seed, of="Jacobian of the surrogate gradient")


@dataclass(frozen=True, slots=True)
class LyapunovResult:
    """Growth of small differences in a recurrence.

    Attributes:
        exponent: mean logarithm of the growth of a tangent for one step; above 0 differences grow.
        factors: growth of the renormalised tangent at each step.
    """

    exponent: float
    factors: tuple[float, ...]


def lyapunov_exponent(
    step: Callable[[Tensor], Tensor], state: Tensor, *, steps: int = 100, discard: int = 0, seed: int = 0
) -> LyapunovResult:
    """Largest Lyapunov exponent of ``state -> step(state)``, by renormalised Jacobian-vector products.

    Args:
        step: the map, float64 ``[...]`` to the same shape; differentiable, surrogates count as slopes.
        state: where it starts.
        steps: of the trajectory, 1 .. 1,000,000.
        discard: first steps left out of the mean.
        seed: of the first tangent.

    Raises:
        RangeError: an argument out of range.
        ShapeError: the map changes the shape.

    Example:
        >>> found = lyapunov_exponent(lambda v: 0.5 * v, torch.ones(3, dtype=torch.float64), steps=20)
        >>> round(found.exponent, 9) == round(math.log(0.5), 9)
        True
    """
    count = check_integer("steps", steps, 1, 1_000_000)
    first = check_integer("discard", discard, 0, count - 1)
    generator = torch.Generator().manual_seed(derive_seed(seed, "lyapunov"))
    tangent = torch.randn(state.shape, generator=generator, dtype=torch.float64)
    tangent = tangent / tangent.norm()
    current, factors = state.detach().double(), []
    for _ in range(count):
        with warnings.catch_warnings():
            # torch loads old decompositions at the first forward-mode call of a process
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            following, moved = torch.func.jvp(step, (current,), (tangent,))[:2]
        if following.shape != current.shape:
            raise ShapeError(f"expected a map of {list(current.shape)} to itself, got {list(following.shape)}")
        growth = float(moved.detach().norm())
        factors.append(growth)
        current = following.detach()
        if growth == 0.0 or not math.isfinite(growth):
            break
        tangent = moved.detach() / growth
    kept = factors[first:] or factors[-1:]
    if all(0.0 < f < math.inf for f in kept):
        exponent = math.fsum(map(math.log, kept)) / len(kept)
    else:
        exponent = -math.inf if kept[-1] == 0.0 else math.inf
    return LyapunovResult(exponent, tuple(factors))
