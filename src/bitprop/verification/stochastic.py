"""Stochastic computing in the same suite: estimators and layers as results beside those of spiking networks.

* An estimator's mean is compared with its declared target and, if it claims to be unbiased, with the enumerated
  gradient (Hotelling's test of :mod:`bitprop.verification.estimators`).
* A layer in ``relaxed`` mode is smooth: finite differences and Taylor remainders, in float64.
* In ``bit_true`` mode its integers are compared with the reference interpreter, and its backward pass with a replay of
  the slopes it declares (:mod:`bitprop.verification.stochastic_replay`); in ``sampled`` mode likewise, for one
  generator.

What it cannot show: that a straight-through slope is a good stand-in; it is compared with what it claims to be.

Reference: Bengio, Léonard and Courville, *Estimating or propagating gradients through stochastic neurons*,
arXiv:1308.3432.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy import special
from torch import Tensor

from bitprop.errors import BitpropError, RangeError
from bitprop.graph import interpret
from bitprop.lower import lower
from bitprop.nn.linear import Mode, SCLinear
from bitprop.nn.network import SCNetwork
from bitprop.seeds import derive_seed
from bitprop.training.sc_estimators import AbstractEstimator, Loss, make_estimator
from bitprop.verification.estimators import UnbiasednessResult, check_unbiased
from bitprop.verification.replay._world import call_loss
from bitprop.verification.result import GradientVerificationResult, Status, Where
from bitprop.verification.stochastic_replay import NetworkReplay
from bitprop.verification.taylor import check_finite_difference, check_parameter_gradients, check_taylor
from bitprop.verification.taylor_problem import loss_of_model

__all__ = ["unbiasedness_to_result", "verify_estimator", "verify_sc"]

LossFunction = Callable[[Tensor, Any], Tensor]

_FORWARD = 1e-12


def unbiasedness_to_result(
    found: UnbiasednessResult, *, name: str = "unbiasedness", tensor: str = "logits"
) -> GradientVerificationResult:
    """The verdict of :mod:`bitprop.verification.estimators` as a result of the suite.

    The statistic is Hotelling's T^2 and the tolerance its critical value at ``alpha``; an estimator without variance
    is compared by its relative bias.  ``tensor`` names what the gradient is with respect to.
    """
    bias, exact = torch.tensor(found.bias), torch.tensor(found.exact)
    statistic: float | None = found.statistic
    if found.rank > 0 and found.statistic > 0.0:
        n, rank = found.samples, found.rank
        tolerance = rank * (n - 1) / (n - rank) * float(special.fdtri(rank, n - rank, 1.0 - found.alpha))
        reason = f"exceeded with probability {found.alpha:g} by a true claim; retested once on fresh draws"
    else:
        statistic, tolerance, reason = found.relative_bias, 1e-10, "no variance: equality to rounding"
    norms = float(bias.add(exact).norm() * exact.norm())
    k = found.worst_index
    return GradientVerificationResult(
        name=name,
        claim=f"{found.name}: the mean of the estimates is {found.claim}",
        status=found.status,
        detail=f"{found.detail} (p = {found.p_value:.3g}, {found.samples} samples)",
        statistic=statistic,
        tolerance=tolerance,
        tolerance_reason=reason,
        null_error=float(found.rank) if found.rank else 0.0,
        smallest_detectable=found.smallest_detectable_scale_error,
        where=Where(tensor, (k,), claimed=found.exact[k], computed=found.exact[k] + found.bias[k]),
        maximum_error=float(bias.abs().max()),
        mean_error=float(bias.abs().mean()),
        relative_error=found.relative_bias,
        cosine=float((bias + exact) @ exact) / norms if norms > 0.0 else None,
        coverage={"directions": found.rank / len(found.exact)},
        evaluations=found.evaluations,
        seed=found.seed,
        dtype=found.dtype,
        data={"p_value": found.p_value, "smallest_detectable_bias": found.smallest_detectable_bias},
        seconds=found.seconds,
    )


def _default_problem() -> tuple[Loss, Tensor]:
    """Four bits, every order of interaction, no symmetry."""
    weights = torch.tensor([0.8, -0.6, 0.5, 0.9], dtype=torch.float64)
    return (lambda z: torch.exp(z @ weights.to(z))), torch.tensor([0.3, -0.5, 0.8, -1.2], dtype=torch.float64)


def verify_estimator(
    estimator: AbstractEstimator | str,
    *,
    loss: Loss | None = None,
    logits: Tensor | None = None,
    samples: int = 20_000,
    seed: int = 0,
) -> list[GradientVerificationResult]:
    """Test what an estimator claims: its declared mean and, if it says it is unbiased, the enumerated gradient.

    Args:
        estimator: instance, or registry key.
        loss: patterns ``[..., N]`` to values ``[...]``; a fixed one over four bits if ``None``.
        logits: log-odds ``[N]``, N at most 16; given with ``loss``.
        samples: rows of each test.
        seed: 0 .. 2**63 - 1.

    Returns:
        ``estimator_target``, and ``unbiasedness`` of an estimator that claims it.  A target without an exact value
        (a quadrature in too many dimensions) is SKIPPED.

    Raises:
        RangeError: an argument out of range, or only one of ``loss`` and ``logits``.

    Example:
        >>> [result.status for result in verify_estimator("disarm", samples=5000)]
        ['PASS', 'PASS']
    """
    chosen = make_estimator(estimator) if isinstance(estimator, str) else estimator
    if (loss is None) != (logits is None):
        raise RangeError("expected both loss and logits, or neither; got one of them")
    if loss is None or logits is None:
        loss, logits = _default_problem()
    results = []
    try:
        found = check_unbiased(chosen, loss, logits, samples=samples, seed=seed, against="declared")
        results.append(unbiasedness_to_result(found, name="estimator_target"))
    except RangeError as error:
        if logits.numel() <= 4:
            raise
        results.append(
            GradientVerificationResult(
                "estimator_target", f"{chosen.name}: the mean is {chosen.target}", "SKIPPED", f"{error}", seed=seed
            )
        )
    if chosen.unbiased:
        found = check_unbiased(chosen, loss, logits, samples=samples, seed=derive_seed(seed, "expectation"))
        results.append(unbiasedness_to_result(found))
    return results


def _in_mode(module: SCNetwork | SCLinear, mode: Mode) -> SCNetwork | SCLinear:
    """A copy in float64, in this mode."""
    moved = copy.deepcopy(module).double()
    for layer in moved.sc_layers() if isinstance(moved, SCNetwork) else (moved,):
        layer.mode = mode
    return moved


def _check_relaxed(
    module: SCNetwork | SCLinear, inputs: Tensor, targets: Any, loss_fn: LossFunction, directions: int, seed: int
) -> list[GradientVerificationResult]:
    relaxed = _in_mode(module, "relaxed")
    difference = check_finite_difference(relaxed, inputs, targets, loss_fn, directions=directions, seed=seed)
    loss, parameters = loss_of_model(relaxed, inputs, targets, loss_fn, seed=seed)
    moved = []
    for name, layer in relaxed.named_modules():
        if not isinstance(layer, SCLinear) or not layer.design.learns_correlation:
            continue
        if abs(float(layer.design.correlation().detach())) < 1e-3:
            key = f"{name}.design.correlation_logit".removeprefix(".")
            parameters[key] = parameters[key] + 0.25
            moved.append(key)
    taylor = check_taylor(loss, parameters, directions=directions, seed=seed, name="sc_relaxed_taylor")
    if moved:
        where = f"; {', '.join(moved)} moved by 0.25, away from the kink at correlation 0"
        taylor = replace(taylor, detail=taylor.detail + where)
    return [replace(difference, name="sc_relaxed", claim="relaxed mode: backward is the derivative"), taylor]


def _check_integers(module: SCNetwork | SCLinear, inputs: Tensor) -> GradientVerificationResult:
    """Bit-true integers of every layer against the lowered program, carried out by the reference interpreter."""
    start = time.perf_counter()
    claim = "bit-true mode: integers equal the reference interpreter's"
    network: SCNetwork
    if isinstance(module, SCNetwork):
        network = copy.deepcopy(module)
    else:
        # a program ends in logits: a layer alone is the first of two, or the only one
        ends = () if module.activation == "logits" else (1,)
        network = SCNetwork(
            (module.in_features, module.out_features, *ends), signed_input=True, precision_bits=module.precision_bits
        )
        network.layers[0] = copy.deepcopy(module)
    try:
        document = lower(network)
    except BitpropError as error:
        return GradientVerificationResult("sc_bit_true_integers", claim, "SKIPPED", f"it cannot be lowered: {error}")
    x_raw = network.input_integers(inputs)
    expected = interpret.run(document, x_raw.numpy()).layers
    status: Status = "PASS"
    detail = f"{sum(layer.size for layer in expected)} integers of {len(expected)} layers equal"
    where, wrong = Where(), 0
    for number, (got, truth) in enumerate(zip(network.forward_raw(x_raw), expected, strict=True)):
        places = np.argwhere(got.numpy() != truth)
        if len(places) and not wrong:
            status = "FAIL"
            index = tuple(int(i) for i in places[0])
            claimed, computed = float(truth[index]), float(got[index].item())
            where = Where("output", index, f"layers.{number}", claimed=claimed, computed=computed)
            detail = f"{len(places)} of {truth.size} integers of layer {number} differ"
        wrong += len(places)
    if status == "PASS" and all(len(np.unique(layer)) < 2 for layer in expected):
        status, detail = "VACUOUS", "every integer is the same"
    return GradientVerificationResult(
        name="sc_bit_true_integers",
        claim=claim,
        status=status,
        detail=detail,
        statistic=float(wrong),
        tolerance=0.0,
        tolerance_reason="integers",
        null_error=0.0,
        where=where,
        evaluations=1,
        dtype="int64",
        seconds=time.perf_counter() - start,
    )


def _check_replay(
    module: SCNetwork | SCLinear,
    mode: Mode,
    inputs: Tensor,
    targets: Any,
    loss_fn: LossFunction,
    directions: int,
    seed: int,
) -> GradientVerificationResult:
    """Output and gradient of a hard mode against the replay of its declared slopes."""
    name = f"sc_{mode}_gradient"
    claim = f"{mode} mode: backward is the declared straight-through derivative"
    hard = _in_mode(module, mode)
    x = inputs.detach().double()

    def generator() -> torch.Generator | None:
        return torch.Generator().manual_seed(derive_seed(seed, "sampled")) if mode == "sampled" else None

    replay = NetworkReplay(hard, x, generator())
    wanted = {key: p for key, p in hard.named_parameters() if p.requires_grad}
    output = hard(x, generator())
    targets = targets.double() if isinstance(targets, Tensor) and targets.is_floating_point() else targets
    loss = call_loss(loss_fn, output, targets)
    gradients = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True)
    result = check_parameter_gradients(
        lambda parameters: call_loss(loss_fn, replay(parameters), targets),
        wanted,
        gradient=dict(zip(wanted, gradients, strict=True)),
        directions=directions,
        seed=seed,
        name=name,
        claim=claim,
    )
    off = (output.detach() - replay({})).abs()
    size = max(float(output.detach().abs().max()), 1.0)
    if not float(off.max()) <= _FORWARD * size:
        index = tuple(int(i) for i in torch.unravel_index(off.argmax(), off.shape))
        claimed, computed = float(replay({})[index]), float(output.detach()[index])
        return replace(
            result,
            status="FAIL",
            statistic=float(off.max()) / size,
            tolerance=_FORWARD,
            tolerance_reason="sums of integers, scaled, in float64",
            where=Where("output", index, claimed=claimed, computed=computed),
            detail="the output differs from plain counting of the same streams",
        )
    return result


def verify_sc(
    module: SCNetwork | SCLinear,
    inputs: Tensor,
    targets: Any,
    loss_fn: LossFunction,
    *,
    directions: int = 2,
    seed: int = 0,
) -> list[GradientVerificationResult]:
    """Verify a stochastic-computing layer or network in all three modes.

    Args:
        module: not changed; float32 modules are verified on copies in float64.
        inputs: ``[B, F]``.
        targets: handed to ``loss_fn``.
        loss_fn: ``(output [B, O], targets)`` to a scalar.
        directions: random directions per tensor.
        seed: of the directions and of the sampled mode's bits.

    Returns:
        ``sc_relaxed`` (finite differences), ``sc_relaxed_taylor``, ``sc_bit_true_integers``,
        ``sc_bit_true_gradient`` and ``sc_sampled_gradient``.

    Raises:
        RangeError: an argument out of range.
        ShapeError: inputs that do not fit, or a loss that is not a scalar.

    Example:
        >>> network = SCNetwork((4, 3, 2), lengths=(8,))
        >>> x = torch.rand(5, 4, generator=torch.Generator().manual_seed(0))
        >>> results = verify_sc(network, x, torch.ones(5, 2), torch.nn.functional.mse_loss)
        >>> [result.status for result in results]
        ['PASS', 'PASS', 'PASS', 'PASS', 'PASS']
    """
    return [
        *_check_relaxed(module, inputs, targets, loss_fn, directions, seed),
        _check_integers(module, inputs),
        _check_replay(module, "bit_true", inputs, targets, loss_fn, directions, seed),
        _check_replay(module, "sampled", inputs, targets, loss_fn, directions, seed),
    ]
