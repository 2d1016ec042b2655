"""The oracle: expectations and gradients over all ``2**N`` bit patterns, in float64.

``E[f(z)] = sum_z f(z) P(z)`` with ``P(z) = prod_i (p_i if z_i else 1 - p_i)``, ``p = sigmoid(logits)``, and
``dE/dlogit_i = sum_z f(z) P(z) (z_i - p_i)``.  No sampling, no tolerance but rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bitprop._checks import check_integer
from bitprop.errors import RangeError
from bitprop.training.sc_estimators._estimator import Loss, check_logits, evaluate_loss

__all__ = ["MAX_BITS", "bit_patterns", "exact_expectation", "exact_gradient", "pattern_probabilities"]

MAX_BITS = 16
"""Enumeration stops here: 65,536 patterns."""

_CHUNK = 1 << 13


def _check_bits(bits: int) -> int:
    if bits > MAX_BITS:
        raise RangeError(
            f"expected at most {MAX_BITS} bits to enumerate, got {bits} (2**{bits} patterns); shorten the streams, or "
            "use the closed form of the loss"
        )
    return bits


def bit_patterns(bits: int) -> Tensor:
    """Every pattern of ``bits`` bits, float64 ``[2**bits, bits]``; row r holds bit i of the integer r in column i.

    Raises:
        RangeError: bits outside 1 .. 16.

    Example:
        >>> bit_patterns(2).tolist()
        [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    """
    count = _check_bits(check_integer("bits", bits, 1, 1 << 30))
    return ((torch.arange(1 << count).unsqueeze(-1) >> torch.arange(count)) & 1).double()


def pattern_probabilities(logits: Tensor) -> Tensor:
    """``P(z)`` of every row of :func:`bit_patterns`, float64 ``[2**N]``, differentiable in ``logits`` ``[N]``.

    Raises:
        ShapeError: logits are not a floating-point vector.
        RangeError: more than 16 bits, or logits not finite.
    """
    check_logits(logits)
    phi = logits.double()
    patterns = bit_patterns(phi.numel())
    # sigmoid(-x) is 1 - sigmoid(x) without cancellation
    return torch.where(patterns > 0.5, torch.sigmoid(phi), torch.sigmoid(-phi)).prod(dim=-1)


def _values(loss: Loss, bits: int) -> Tensor:
    patterns = bit_patterns(bits)
    chunks = range(0, patterns.shape[0], _CHUNK)
    return torch.cat([evaluate_loss(loss, patterns[start : start + _CHUNK]).double() for start in chunks])


def exact_expectation(loss: Loss, logits: Tensor) -> Tensor:
    """``E[f(z)]`` over independent bits with ``P(z_i = 1) = sigmoid(logit_i)``: a float64 scalar.

    Differentiable in the logits and in whatever the loss itself depends on.  The loss sees at most 8,192 patterns
    at a time.

    Args:
        loss: patterns ``[..., N]`` to values ``[...]``.
        logits: ``[N]``, N in 1 .. 16.

    Raises:
        ShapeError: logits or the loss's values have the wrong shape or dtype.
        RangeError: more than 16 bits, or logits not finite.

    Example:
        >>> exact_expectation(lambda z: z.prod(dim=-1), torch.zeros(3)).item()
        0.125
    """
    check_logits(logits)
    _check_bits(logits.numel())
    return pattern_probabilities(logits) @ _values(loss, logits.numel())


def exact_gradient(loss: Loss, logits: Tensor) -> Tensor:
    """``dE[f(z)]/dlogits``, float64 ``[N]``, detached: the sum ``sum_z f(z) P(z) (z - p)``.

    Written out rather than left to autograd, so that the two check each other.

    Raises:
        ShapeError: logits or the loss's values have the wrong shape or dtype.
        RangeError: more than 16 bits, or logits not finite.
    """
    phi = check_logits(logits).double()
    _check_bits(phi.numel())
    with torch.no_grad():
        values = _values(loss, phi.numel())
        # any constant may be taken off f; this one makes the gradient of a constant loss exactly zero
        weighted = pattern_probabilities(phi) * (values - values[0])
        return weighted @ (bit_patterns(phi.numel()) - torch.sigmoid(phi))
