"""One assertion for pytest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, Literal

from torch import Tensor, nn

from bitprop.errors import ConfigError
from bitprop.verification.claim import Claim
from bitprop.verification.suite import verify
from bitprop.verification.verification_report import VerificationReport

__all__ = ["assert_gradients"]


def assert_gradients(
    model: nn.Module,
    inputs: Any,
    targets: Any,
    loss_fn: Callable[..., Tensor],
    *,
    claim: Claim | None = None,
    suite: Literal["quick", "full"] = "quick",
    seed: int = 0,
    reset_state: Callable[[nn.Module], object] | None = None,
    **claimed: Any,
) -> VerificationReport:
    """Verify a model's gradient and raise with the whole report unless every claim holds.

    Args:
        model: any module.
        inputs: a tensor, or a tuple or dictionary of arguments.
        targets: second argument of the loss.
        loss_fn: ``loss_fn(outputs, targets)``, one number.
        claim: what is claimed; or give its fields as keywords.
        suite: ``quick`` or ``full``.
        seed: of the random directions.
        reset_state: called with the model before every run, for models that keep state.
        claimed: fields of :class:`~bitprop.verification.claim.Claim`.

    Returns:
        The report, whose status is ``PASS``.

    Raises:
        VerificationFailedError: an ``AssertionError``; a claim does not hold, or nothing was tested.
        ConfigError: a field that a claim does not have, or a wrong value.
        DataError: inputs or targets are not finite.
        ShapeError: the loss is not one number.
        RunError: the model or the loss raised.

    Example:
        >>> from bitprop.testing import build_planted
        >>> case = build_planted()
        >>> arguments = case.model, case.inputs, case.targets, case.loss_fn
        >>> assert_gradients(*arguments, surrogate="fast_sigmoid", scale=10.0, reset="attached").status
        'PASS'
    """
    chosen = claim or Claim()
    if claimed:
        known = {item.name for item in fields(Claim)}
        if unknown := sorted(set(claimed) - known):
            raise ConfigError(f"expected fields of a claim among {', '.join(sorted(known))}; got {', '.join(unknown)}")
        chosen = chosen.with_changes(**claimed)
    report = verify(model, inputs, targets, loss_fn, claim=chosen, suite=suite, seed=seed, reset_state=reset_state)
    return report.raise_if_failed()
