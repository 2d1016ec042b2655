"""Numbers to spikes: rate, latency and direct encoding of features in [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor

from bitprop._checks import check_integer, check_real
from bitprop.errors import RangeError, ShapeError

__all__ = ["direct_encode", "latency_encode", "rate_encode"]

_MAX_STEPS = 1 << 20


def _features(x: Tensor, *, unit: bool) -> Tensor:
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise ShapeError(f"expected a floating-point tensor of features, got {getattr(x, 'dtype', type(x).__name__)}")
    if not bool(torch.isfinite(x).all()):
        raise RangeError("expected finite features, got NaN or infinity; clean the data")
    if unit and not bool(((x >= 0) & (x <= 1)).all()):
        raise RangeError(f"expected features in 0 .. 1, got {float(x.min()):g} .. {float(x.max()):g}; scale them")
    return x


def rate_encode(x: Tensor, steps: int, *, generator: torch.Generator) -> Tensor:
    """Independent spikes with probability x at every step: ``P(s_t = 1) = x``.

    Args:
        x: ``[B, ...]`` in [0, 1].
        steps: T, 1 .. 2**20.
        generator: the only source of randomness.

    Returns:
        ``[T, B, ...]`` of zeros and ones in the dtype of x.

    Raises:
        ShapeError: not floating point.
        RangeError: not finite or outside [0, 1], or steps out of range.

    Example:
        >>> s = rate_encode(torch.tensor([0.0, 1.0]), 3, generator=torch.Generator().manual_seed(0))
        >>> s.tolist()
        [[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]
    """
    p = _features(x, unit=True)
    count = check_integer("steps", steps, 1, _MAX_STEPS)
    draws = torch.rand((count, *p.shape), generator=generator, dtype=torch.float64, device=p.device)
    return (draws < p.double()).to(x.dtype)


def latency_encode(x: Tensor, steps: int, *, law: str = "linear", tau: float = 5.0, threshold: float = 0.01) -> Tensor:
    """One spike each, the earlier the larger x; none below the threshold.

    Linear: ``t = round((T - 1) (1 - x))``.  Logarithmic, the charging time of a leaky membrane under the current x
    (Zenke): ``t = round(tau log(x / (x - threshold)))``, held to T - 1.

    Args:
        x: ``[B, ...]`` in [0, 1].
        steps: T, 1 .. 2**20.
        law: ``linear`` or ``logarithmic``.
        tau: time constant of the logarithmic law in steps, above 0.
        threshold: features at or below it do not spike, 0 .. 1.

    Returns:
        ``[T, B, ...]`` of zeros and ones.

    Raises:
        ShapeError: not floating point.
        RangeError: an argument out of range.

    Example:
        >>> latency_encode(torch.tensor([1.0, 0.5, 0.0]), 3).tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """
    value = _features(x, unit=True)
    count = check_integer("steps", steps, 1, _MAX_STEPS)
    low = check_real("threshold", threshold, 0.0, 1.0)
    if law == "linear":
        time = ((count - 1) * (1.0 - value.double())).round()
    elif law == "logarithmic":
        scale = check_real("tau", tau, 1e-6, 1e9)
        wide = value.double()
        ratio = wide / (wide - low).clamp_min(torch.finfo(torch.float64).tiny)
        time = (scale * torch.log(ratio)).round().clamp(0, count - 1)
    else:
        raise RangeError(f"expected law to be linear or logarithmic, got {law!r}")
    steps_axis = torch.arange(count, dtype=torch.float64, device=value.device).reshape(-1, *[1] * value.dim())
    return ((steps_axis == time) & (value > low)).to(x.dtype)


def direct_encode(x: Tensor, steps: int) -> Tensor:
    """The features themselves as a constant current: ``[T, B, ...]``, a view without copies.

    Args:
        x: ``[B, ...]``, finite.
        steps: T, 1 .. 2**20.

    Raises:
        ShapeError: not floating point.
        RangeError: not finite, or steps out of range.

    Example:
        >>> direct_encode(torch.ones(2, 3), 4).shape
        torch.Size([4, 2, 3])
    """
    value = _features(x, unit=False)
    return value.expand(check_integer("steps", steps, 1, _MAX_STEPS), *value.shape)
