"""The face that people know: compare a model's gradient with an independent one, whatever the model is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from bitprop._checks import check_integer
from bitprop.surrogate import AbstractSurrogate
from bitprop.verification.claim import Claim
from bitprop.verification.replay import replay_result, replay_session, with_gradients
from bitprop.verification.result import GradientVerificationResult
from bitprop.verification.surrogate_audit import check_surrogate
from bitprop.verification.taylor import check_finite_difference

__all__ = ["GradientVerifier"]


class GradientVerifier:
    """Checks gradients of models and of spike functions.

    Args:
        claim: what is claimed of spiking models; default: slopes and resets as coded.
        directions: random directions; ``None`` lets each check choose.
        seed: of those directions, 0 .. 2**63 - 1.

    Raises:
        RangeError: an argument out of range.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
        >>> x, y = torch.ones(2, 3), torch.zeros(2, 1)
        >>> result = GradientVerifier().verify_finite_difference(model, x, y, nn.functional.mse_loss)
        >>> result.status, result.name
        ('PASS', 'finite_difference')
    """

    def __init__(self, *, claim: Claim | None = None, directions: int | None = None, seed: int = 0) -> None:
        self._claim = claim or Claim()
        self._directions = None if directions is None else check_integer("directions", directions, 1, 100)
        self._seed = check_integer("seed", seed, 0, 2**63 - 1)

    @with_gradients
    def verify_finite_difference(
        self,
        model: nn.Module,
        inputs: Any,
        targets: Any,
        loss_fn: Callable[..., Tensor],
        *,
        claim: Claim | None = None,
        reset_state: Callable[[nn.Module], object] | None = None,
    ) -> GradientVerificationResult:
        """Compare ``backward()`` with an independent directional derivative.

        A smooth model is compared with finite differences.  The loss of a hard spiking model is constant almost
        everywhere, so that finite differences are zero for right and wrong gradients alike; such a model is compared
        with its tangent replay instead, and the result's name says so.

        Args:
            model: any module; left as it was.
            inputs: a tensor, or a tuple or dictionary of arguments.
            targets: second argument of the loss.
            loss_fn: ``loss_fn(outputs, targets)``, one number.
            claim: replaces the verifier's.
            reset_state: called with the model before every run, for models that keep state.

        Returns:
            ``finite_difference`` or ``tangent_replay``, with maximum, mean and relative error.

        Raises:
            DataError: inputs or targets are not finite.
            ShapeError: the loss is not one number.
            RunError: the model or the loss raised.
        """
        start = time.perf_counter()
        chosen = claim or self._claim
        with replay_session(
            model, inputs, targets, loss_fn, claim=chosen, dtype="float64", reset_state=reset_state
        ) as session:
            hard = bool(session.tape.spikes or session.tape.cuts or session.tape.custom)
            if hard:
                result = replay_result(session, seed=self._seed, directions=self._directions, per_tensor=True)
                note = "finite differences of a step are zero, so this is the tangent replay: "
                return replace(result, detail=note + result.detail, seconds=time.perf_counter() - start)
        if reset_state is not None:
            reset_state(model)
        more = {} if self._directions is None else {"directions": self._directions}
        return check_finite_difference(model, inputs, targets, loss_fn, seed=self._seed, **more)

    @with_gradients
    def verify_surrogate_gradient(
        self,
        spike_fn: Callable[[Tensor], Tensor],
        surrogate_fn: Callable[[Tensor], Tensor] | AbstractSurrogate,
        *,
        primal: Callable[[Tensor], Tensor] | None = None,
        name: str = "spike function",
    ) -> GradientVerificationResult:
        """Compare the backward pass of a spike function with a surrogate derivative.

        The surrogate is compared with what ``backward()`` gives, and with the slope of its own primal where there is
        one; never with finite differences of the step.

        Args:
            spike_fn: elementwise, such as ``FastSigmoid.apply``.
            surrogate_fn: the derivative, such as ``SurrogateGradient.fast_sigmoid``, or a registered surrogate.
            primal: the function whose derivative it is.
            name: for the report.

        Raises:
            RangeError: spikes without a gradient.
            ShapeError: a function does not keep the shape.

        Example:
            >>> from bitprop.surrogate import FastSigmoid, SurrogateGradient
            >>> verifier = GradientVerifier()
            >>> verifier.verify_surrogate_gradient(FastSigmoid.apply, SurrogateGradient.fast_sigmoid).status
            'PASS'
            >>> verifier.verify_surrogate_gradient(FastSigmoid.apply, SurrogateGradient.triangular).status
            'FAIL'
        """
        return check_surrogate(spike_fn, surrogate_fn, primal=primal, name=name, seed=self._seed)
