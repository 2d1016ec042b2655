"""The smooth network: every spike function replaced by the primal ``F`` whose derivative is the claimed slope.

That is an ordinary differentiable program, on which finite differences and Taylor remainders mean something.  They test
everything in the model but the surrogate itself: the wiring, the leak, the loss.

There is no such network behind a detached reset: what is detached is not the derivative of any function of the
parameters.  The check says ``ILL_POSED`` then, and does not invent a pass.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from bitprop.surrogate import make_surrogate
from bitprop.verification.replay import Session
from bitprop.verification.result import GradientVerificationResult
from bitprop.verification.taylor import check_taylor

__all__ = ["check_smooth_taylor"]


def check_smooth_taylor(session: Session, *, seed: int = 0, directions: int = 1) -> GradientVerificationResult:
    """Taylor remainders of the smooth network: slope 2 against the gradient that autograd computes of it.

    Args:
        session: an open recording, from ``replay_session``.
        seed: of the directions.
        directions: random directions.

    Returns:
        As :func:`bitprop.verification.taylor.check_taylor`; ``SKIPPED`` without a claimed surrogate, ``ILL_POSED``
        where gradients are stopped inside the model.
    """
    claim = session.claim

    def no(status: str, detail: str) -> GradientVerificationResult:
        return GradientVerificationResult(
            name="smooth_taylor",
            claim="autograd differentiates the smooth network",
            status=status,  # type: ignore[arg-type]
            detail=detail,
            seed=seed,
        )

    if claim.surrogate is None or claim.sites:
        return no("SKIPPED", "no surrogate with a primal is claimed for all sites: there is no smooth network")
    stopped = [site for site in session.tape.cuts if not site.in_loss]
    if stopped:
        return no(
            "ILL_POSED",
            f"the code stops a gradient at {stopped[0].line} ({stopped[0].kind}): what is left is the derivative of no "
            "function, so there is nothing to expand",
        )
    if not session.gradients or not session.tape.spikes:
        return no("SKIPPED", "no spike function or no trainable parameter")
    primal = make_surrogate(claim.surrogate, claim.scale).primal
    dtype = torch.float64 if all(p.dtype == torch.float64 for p in session.gradients.values()) else None
    if dtype is None:
        return no("SKIPPED", "the model could not be held in float64; remainders are all rounding in float32")

    def loss(parameters: Mapping[str, Tensor]) -> Tensor:
        return session.smooth_loss(parameters, primal)

    parameters = {name: session.parameter(name) for name in session.gradients}
    return check_taylor(loss, parameters, directions=directions, seed=seed)
