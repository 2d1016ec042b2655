"""Random directions in which tensors of any size count alike, and steps along them are no longer than one."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["balanced", "draw_direction", "unit_scale"]


def unit_scale(gradient: Tensor) -> float:
    """``|g| / sqrt(N)``, of numbers of any size: their squares may underflow."""
    wide = gradient.double()
    largest = float(wide.abs().max()) if wide.numel() else 0.0
    if not 0.0 < largest < math.inf:
        return largest
    return largest * float((wide / largest).norm()) / math.sqrt(wide.numel())


def draw_direction(like: Tensor, generator: torch.Generator) -> Tensor:
    """A normal direction of length near sqrt(N): coordinates of size one."""
    return torch.randn(like.shape, generator=generator, dtype=torch.float64)


def balanced(gradients: Mapping[str, Tensor], generator: torch.Generator) -> tuple[dict[str, Tensor], float]:
    """A direction for each tensor in which its derivative is of one size for all, and that size.

    The tensor with the smallest gradient moves by numbers of size one and the others by less: a step that grew as a
    gradient shrinks would leave the neighbourhood in which a complex step is exact.
    """
    scales = {name: unit_scale(gradient) for name, gradient in gradients.items()}
    smallest = min((scale for scale in scales.values() if scale > 0.0), default=1.0)
    return {
        name: draw_direction(gradient, generator) * (smallest / (scales[name] or smallest))
        for name, gradient in gradients.items()
    }, smallest
