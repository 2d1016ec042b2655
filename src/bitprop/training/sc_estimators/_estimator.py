"""What an estimator is: per-sample estimates of the gradient of an expectation over independent bits.

The problem: ``z`` holds N independent bits with ``P(z_i = 1) = p_i = sigmoid(logit_i)``; a *loss* maps patterns
``[..., N]`` to values ``[...]``; wanted is the gradient of ``E[f(z)]`` with respect to the **logits**.  Divide
coordinate i by ``p_i (1 - p_i)`` for the gradient with respect to the probability
(:meth:`~bitprop.training.sc_estimators.StreamProductLoss.stream_gradient` does, and sums over a stream).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor

from bitprop._checks import check_integer
from bitprop._registry import Registry
from bitprop.errors import RangeError, ShapeError

__all__ = [
    "ESTIMATORS",
    "AbstractEstimator",
    "Loss",
    "check_logits",
    "evaluate_loss",
    "loss_gradient",
    "make_estimator",
]

Loss: TypeAlias = Callable[[Tensor], Tensor]
"""Patterns ``[..., N]`` to values ``[...]``; an estimator with ``needs_relaxed_loss`` also passes values in [0, 1]."""

MAX_SAMPLES = 1 << 24


def check_logits(logits: Tensor) -> Tensor:
    """Return ``logits`` detached if it is a finite floating-point vector of at least one element.

    Raises:
        ShapeError: not a one-dimensional floating-point tensor, or empty.
        RangeError: NaN or infinite.
    """
    if not isinstance(logits, Tensor) or not logits.is_floating_point() or logits.ndim != 1 or logits.numel() == 0:
        got = f"{logits.dtype} {list(logits.shape)}" if isinstance(logits, Tensor) else repr(logits)
        raise ShapeError(f"expected logits as a non-empty floating-point vector [N], got {got}; flatten them first")
    if not bool(torch.isfinite(logits).all()):
        raise RangeError("expected finite logits, got NaN or infinity; a certain bit is no parameter, leave it out")
    return logits.detach()


def evaluate_loss(loss: Loss, bits: Tensor) -> Tensor:
    """``loss(bits)``, with its shape checked: ``[..., N]`` to ``[...]``.

    Raises:
        ShapeError: the loss returned anything but one floating-point value per pattern.
    """
    value = loss(bits)
    if not isinstance(value, Tensor) or not value.is_floating_point() or value.shape != bits.shape[:-1]:
        got = f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else repr(value)
        raise ShapeError(
            f"expected the loss to map bits {list(bits.shape)} to floating-point values {list(bits.shape[:-1])}, "
            f"got {got}; reduce over the last axis only"
        )
    return value


def loss_gradient(loss: Loss, bits: Tensor) -> tuple[Tensor, Tensor]:
    """``(f(bits), df/dbits)``, detached, shapes ``[...]`` and ``[..., N]``.

    Raises:
        ShapeError: the loss has the wrong shape.
        RangeError: the loss does not depend differentiably on its input.
    """
    with torch.enable_grad():
        relaxed = bits.detach().requires_grad_(True)
        value = evaluate_loss(loss, relaxed)
        if not value.requires_grad:
            raise RangeError(
                "expected a loss that is differentiable in relaxed bits, got values without a gradient; write it in "
                "arithmetic (not comparisons or look-ups), or use an estimator that needs hard bits only"
            )
        (gradient,) = torch.autograd.grad(value.sum(), relaxed, allow_unused=True)
    # unused: the graph comes from the loss's own parameters, the bits do not matter
    return value.detach(), torch.zeros_like(bits) if gradient is None else gradient


@dataclass(frozen=True, slots=True)
class AbstractEstimator(ABC):
    """A gradient estimator and what it claims.

    A subclass declares every class attribute below, implements ``_draw``, and joins :data:`ESTIMATORS`.

    Attributes:
        name: registry key, equal to the file's stem.
        target: the gradient that the mean of the estimates equals, as a formula.
        unbiased: whether that target is the gradient of ``E[f(z)]`` for every loss.
        unbiased_if_multilinear: whether it is for a loss of degree one in each bit, such as a product of streams.
        needs_relaxed_loss: whether the loss is evaluated, and differentiated, at values between 0 and 1 (or
            differentiated at bits).
        variance_law: how the variance of a stream's gradient ``d/dp E[f(stream mean)]`` grows with the length L.
        variance_exponent: that law as the power of L, or ``None`` for a deterministic estimator.
        reference: where it comes from.
    """

    name: ClassVar[str]
    target: ClassVar[str]
    unbiased: ClassVar[bool]
    unbiased_if_multilinear: ClassVar[bool]
    needs_relaxed_loss: ClassVar[bool]
    variance_law: ClassVar[str]
    variance_exponent: ClassVar[float | None]
    reference: ClassVar[str]

    @property
    @abstractmethod
    def evaluations(self) -> int:
        """Loss evaluations (with or without a backward pass) that one sample costs."""

    def estimate(self, loss: Loss, logits: Tensor, *, samples: int, generator: torch.Generator) -> Tensor:
        """Independent estimates of ``target``, one per row.

        Args:
            loss: patterns ``[..., N]`` to values ``[...]``.
            logits: log-odds of the bits, ``[N]``, finite; its dtype and device are the result's.
            samples: rows wanted, 1 .. 2**24.
            generator: the only source of randomness; it must live on the logits' device.

        Returns:
            ``[samples, N]``, detached, independent and identically distributed rows.

        Raises:
            ShapeError: logits or the loss's values have the wrong shape or dtype.
            RangeError: logits not finite, samples out of range, no generator, or a loss without the gradient that
                ``needs_relaxed_loss`` asks for.
        """
        phi = check_logits(logits)
        count = check_integer("samples", samples, 1, MAX_SAMPLES)
        if not isinstance(generator, torch.Generator):
            raise RangeError(f"expected generator to be a torch.Generator, got {generator!r}; make one with a seed")
        with torch.no_grad():
            return self._draw(loss, phi, count, generator)

    @abstractmethod
    def _draw(self, loss: Loss, logits: Tensor, samples: int, generator: torch.Generator) -> Tensor:
        """The estimates, on checked arguments and without autograd."""

    def target_gradient(self, loss: Loss, logits: Tensor) -> Tensor:
        """``target``, exactly, float64 ``[N]``: for an unbiased estimator the gradient of ``E[f(z)]``.

        Raises:
            ShapeError: logits or the loss's values have the wrong shape or dtype.
            RangeError: too many bits for an exact sum.
        """
        from bitprop.training.sc_estimators.enumeration import exact_gradient

        return exact_gradient(loss, logits)

    def to_dict(self) -> dict[str, Any]:
        """What the estimator declares, and its own parameters."""
        return {
            "name": self.name,
            "target": self.target,
            "unbiased": self.unbiased,
            "unbiased_if_multilinear": self.unbiased_if_multilinear,
            "needs_relaxed_loss": self.needs_relaxed_loss,
            "evaluations": self.evaluations,
            "variance_law": self.variance_law,
            "variance_exponent": self.variance_exponent,
            "reference": self.reference,
            "parameters": {field.name: getattr(self, field.name) for field in fields(self)},
        }


ESTIMATORS: Registry[type[AbstractEstimator]] = Registry("estimator")
"""Every gradient estimator by name."""


def make_estimator(name: str, **parameters: Any) -> AbstractEstimator:
    """Build an estimator from its name and parameters.

    Raises:
        RegistryError: unknown name.
        RangeError: an unknown parameter, or one out of range.

    Example:
        >>> import bitprop.training.sc_estimators
        >>> make_estimator("gumbel", temperature=0.25).unbiased
        False
    """
    family = ESTIMATORS[name]
    known = {field.name for field in fields(family)}
    unknown = sorted(set(parameters) - known)
    if unknown:
        raise RangeError(f"expected {name} parameters among {sorted(known)}, got {unknown}; remove them")
    return family(**parameters)


def uniform(logits: Tensor, samples: int, generator: torch.Generator) -> Tensor:
    """Uniform numbers ``[samples, N]`` in the open interval (0, 1), in the logits' dtype."""
    draw = torch.rand((samples, logits.numel()), generator=generator, dtype=logits.dtype, device=logits.device)
    info = torch.finfo(logits.dtype)
    return draw.clamp_(info.tiny, 1.0 - info.eps)
