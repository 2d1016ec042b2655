"""The adjoint: backpropagation through time derived by hand, in NumPy, against autograd.

For a loss ``sum_t c_t s_t + d v_T`` the reverse recursion carries the derivatives by what a step hands to the next.  Of
the leaky integrate-and-fire neuron with a soft reset in the same step, with ``g_t`` the surrogate slope at
``u_t - theta``::

    dv_T = d
    ds_t = c_t - theta dv_t          (the reset; absent when detached)
    du_t = dv_t + g_t ds_t
    dx_t = du_t,    dv_{t-1} = beta du_t

and so on for the other resets, delays and neurons.  It shares no code with the neurons but the surrogate's derivative,
and has no graph.

References: Werbos, *Backpropagation through time: what it does and how to do it*, Proceedings of the IEEE 78(10), 1990.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bitprop._checks import check_integer
from bitprop.errors import ShapeError
from bitprop.nn.neuron import (
    LIF,
    AdaptiveLIF,
    Constant,
    RecurrentAdaptiveLIF,
    RecurrentLIF,
    RecurrentSynaptic,
    Synaptic,
)
from bitprop.seeds import derive_seed
from bitprop.verification.result import GradientVerificationResult, Where

__all__ = ["AdjointGradients", "adjoint", "check_adjoint"]

Array = npt.NDArray[np.float64]
Neuron = LIF | Synaptic | AdaptiveLIF | RecurrentLIF | RecurrentSynaptic | RecurrentAdaptiveLIF
_TOLERANCE = 1e-12


@dataclass
class AdjointGradients:
    """Derivatives of the loss, by hand.

    Attributes:
        x: by the input, ``[T, B, N]``.
        decays: by each decay, summed over batch and, for a single number, over neurons.
        threshold: by the threshold, likewise.
        recurrent: by the recurrent weights, or ``None``.
        spikes: of the forward recursion, to see that it is the same network.
    """

    x: Array
    decays: dict[str, Array] = field(default_factory=dict)
    threshold: Array = field(default_factory=lambda: np.zeros(()))
    recurrent: Array | None = None
    spikes: Array = field(default_factory=lambda: np.zeros(()))


@dataclass
class _Plain:
    """A neuron's numbers, outside torch."""

    kind: str
    alpha: Array
    beta: Array
    rho: Array
    kappa: float
    theta: Array
    reset: str
    attached: bool
    delay: int
    v_reset: float
    recurrent: Array | None


class _Step(NamedTuple):
    """What the forward recursion leaves of one step."""

    v0: Array
    i0: Array
    a0: Array
    s0: Array
    held: Array
    u: Array
    g: Array
    s: Array


def _read(neuron: Neuron) -> tuple[_Plain, LIF | Synaptic | AdaptiveLIF]:
    recurrent = isinstance(neuron, RecurrentLIF | RecurrentSynaptic | RecurrentAdaptiveLIF)
    inner = neuron.neuron if recurrent else neuron
    kinds = ((LIF, "lif"), (Synaptic, "synaptic"), (AdaptiveLIF, "adaptive"))
    kind = next((name for family, name in kinds if isinstance(inner, family)), None)
    if kind is None or not isinstance(inner, LIF | Synaptic | AdaptiveLIF):
        raise ShapeError(f"expected a spiking neuron of this package, got {type(neuron).__name__}")

    def number(name: str) -> Array:
        constant = getattr(inner, name, None)
        if not isinstance(constant, Constant):
            return np.zeros(())
        value: Tensor = constant()
        return np.asarray(value.detach().double().numpy())

    weight = neuron.get_parameter("recurrence.weight").detach().double().numpy() if recurrent else None
    plain = _Plain(
        kind=kind,
        alpha=number("alpha"),
        beta=number("beta"),
        rho=number("rho"),
        kappa=float(getattr(inner, "kappa", 0.0)),
        theta=number("threshold"),
        reset=inner.reset,
        attached=inner.reset_attached,
        delay=inner.reset_delay,
        v_reset=inner.v_reset,
        recurrent=weight,
    )
    return plain, inner


def adjoint(neuron: Neuron, x: Array, by_spikes: Array, by_potential: Array) -> AdjointGradients:
    """Forward and reverse recursion for the loss ``sum(by_spikes * s) + sum(by_potential * v_T)``.

    Args:
        neuron: whose numbers and options are used; its code is not.
        x: input current, float64 ``[T, B, N]``.
        by_spikes: ``dL/ds_t``, ``[T, B, N]``.
        by_potential: ``dL/dv_T``, ``[B, N]``.

    Raises:
        ShapeError: another kind of neuron, or other shapes.
    """
    if x.ndim != 3 or by_spikes.shape != x.shape or by_potential.shape != x.shape[1:]:
        raise ShapeError(f"expected x and by_spikes [T, B, N], by_potential [B, N]; got {x.shape}, {by_spikes.shape}")
    p, inner = _read(neuron)
    steps = x.shape[0]
    v, i, a, s = (np.zeros_like(x[0]) for _ in range(4))
    tape = []
    for t in range(steps):
        v0, i0, a0, s0 = v, i, a, s
        h = x[t] + (s @ p.recurrent.T if p.recurrent is not None else 0.0)
        i = p.alpha * i + h if p.kind == "synaptic" else h
        a = p.rho * a + s if p.kind == "adaptive" else a
        held = _reset(p, v, s) if p.delay else v
        u = p.beta * held + i
        z = u - p.kappa * a - p.theta
        s = (z >= 0).astype(np.float64)
        g = inner.surrogate.derivative(torch.from_numpy(z)).numpy()
        v = u if p.delay else _reset(p, u, s)
        tape.append(_Step(v0, i0, a0, s0, held, u, g, s))
    return _reverse(p, tape, x, by_spikes, by_potential)


def _reset(p: _Plain, u: Array, s: Array) -> Array:
    if p.reset == "soft":
        return u - p.theta * s
    return u * (1.0 - s) + p.v_reset * s if p.reset == "hard" else u


def _reset_reverse(p: _Plain, u: Array, s: Array, dv: Array) -> tuple[Array, Array, Array]:
    """``(du, ds, dtheta)`` of :func:`_reset` for the derivative dv of its value."""
    nothing = np.zeros_like(dv)
    if p.reset == "soft":
        return dv, -p.theta * dv if p.attached else nothing, -s * dv
    if p.reset == "hard":
        return dv * (1.0 - s), (p.v_reset - u) * dv if p.attached else nothing, nothing
    return dv, nothing, nothing


def _reverse(p: _Plain, tape: list[_Step], x: Array, by_spikes: Array, dv: Array) -> AdjointGradients:
    zero = np.zeros_like(x[0])
    di, da, ds_next = zero, zero, zero
    dx = np.zeros_like(x)
    dbeta, dalpha, drho, dtheta = zero, zero, zero, zero
    drecurrent = None if p.recurrent is None else np.zeros_like(p.recurrent)
    for t in reversed(range(len(x))):
        v0, i0, a0, s0, held, u, g, s = tape[t]
        ds = by_spikes[t] + ds_next
        if p.delay:
            du = dv
        else:
            du, by_reset, by_theta = _reset_reverse(p, u, s, dv)
            ds, dtheta = ds + by_reset, dtheta + by_theta
        dz = g * ds
        du, dtheta = du + dz, dtheta - dz
        da = da - p.kappa * dz
        dbeta = dbeta + held * du
        dheld = p.beta * du
        di = di + du
        dalpha = dalpha + i0 * di if p.kind == "synaptic" else dalpha
        dx[t] = di
        ds_next = zero
        if p.recurrent is not None:
            assert drecurrent is not None  # noqa: S101 - made above
            drecurrent += dx[t].T @ s0
            ds_next = dx[t] @ p.recurrent
        di = p.alpha * di if p.kind == "synaptic" else zero
        if p.kind == "adaptive":
            drho = drho + a0 * da
            ds_next = ds_next + da
            da = p.rho * da
        if p.delay:
            dv, by_reset, by_theta = _reset_reverse(p, v0, s0, dheld)
            ds_next, dtheta = ds_next + by_reset, dtheta + by_theta
        else:
            dv = dheld
    decays = {"beta": _summed(dbeta, p.beta)}
    if p.kind == "synaptic":
        decays["alpha"] = _summed(dalpha, p.alpha)
    if p.kind == "adaptive":
        decays["rho"] = _summed(drho, p.rho)
    spikes = np.stack([entry.s for entry in tape])
    return AdjointGradients(dx, decays, _summed(dtheta, p.theta), drecurrent, spikes)


def _summed(values: Array, like: Array) -> Array:
    """Over the batch, and over neurons where they share one number."""
    return values.sum(axis=0) if like.ndim else np.asarray(values.sum())


def check_adjoint(neuron: Neuron, x: Tensor, *, seed: int = 0) -> GradientVerificationResult:
    """Compare autograd of a neuron with the hand-derived recursion, on every input, decay, threshold and weight.

    Args:
        neuron: one of this package's; in any dtype, its float64 copy is compared.
        x: input current ``[T, B, N]``.
        seed: of the loss's random weights.

    Returns:
        ``PASS`` below 1e-12 relative; ``VACUOUS`` where nothing fires.

    Raises:
        ShapeError: another kind of neuron, or another shape.

    Example:
        >>> x = torch.rand(8, 2, 3, generator=torch.Generator().manual_seed(0))
        >>> check_adjoint(LIF(beta=0.8), x).status
        'PASS'
    """
    start = time.perf_counter()
    check_integer("seed", seed, 0, 2**63 - 1)
    _read(neuron)  # refuses other modules
    generator = torch.Generator().manual_seed(derive_seed(seed, "adjoint"))
    wide = x.detach().double().requires_grad_(True)
    by_spikes = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    by_potential = torch.randn(x.shape[1:], generator=generator, dtype=torch.float64)
    values = {name: p.detach().double().requires_grad_(True) for name, p in neuron.named_parameters()}
    constants = {name: b.detach().double().requires_grad_(True) for name, b in neuron.named_buffers()}
    leaves = {**values, **constants}
    spikes, state = torch.func.functional_call(neuron, leaves, (wide,))
    loss = (by_spikes * spikes).sum() + (by_potential * state.v).sum()
    grads = torch.autograd.grad(loss, [wide, *leaves.values()], allow_unused=True)
    # a learnable constant is a formula of what is stored: its value in float64 is not that in float32
    exact = adjoint(copy.deepcopy(neuron).double(), wide.detach().numpy(), by_spikes.numpy(), by_potential.numpy())
    pairs = [("input", grads[0], exact.x)]
    for name, leaf, grad in zip(leaves, leaves.values(), grads[1:], strict=True):
        hand = _hand(name, exact, leaf if name in values else None)
        pairs.append((name, grad, hand))
    worst, where, total = 0.0, Where(), 0.0
    for name, grad, hand in pairs:
        got = np.zeros_like(hand) if grad is None else grad.detach().numpy()
        size = max(float(np.linalg.norm(hand)), float(np.linalg.norm(got)))
        error = float(np.linalg.norm(got - hand)) / size if size else 0.0
        total = max(total, size)
        if error >= worst:
            at = np.unravel_index(int(np.abs(got - hand).argmax()), hand.shape) if hand.ndim else ()
            index = tuple(int(k) for k in at)
            worst = error
            where = Where(
                tensor=name,
                index=index,
                step=index[0] if name == "input" else None,
                claimed=float(hand[at]),
                computed=float(got[at]),
            )
    same = bool((spikes.detach().numpy() == exact.spikes).all())
    fired = float(exact.spikes.mean())
    if not same:
        status, detail = "FAIL", "the recursion fires other spikes than the neuron: they are not the same network"
    elif worst > _TOLERANCE:
        status, detail = "FAIL", f"autograd differs from the recursion derived by hand, most in {where.tensor}"
    elif fired == 0.0 or total == 0.0:
        status, detail = "VACUOUS", "no neuron fires on this input: nothing of the reset was tested"
    else:
        status, detail = (
            "PASS",
            f"{len(pairs)} gradients equal to rounding, {100 * fired:.0f}% of neurons and steps fire",
        )
    return GradientVerificationResult(
        name="adjoint",
        claim="autograd is backpropagation through time as derived by hand",
        status=status,  # type: ignore[arg-type]
        detail=detail,
        statistic=worst,
        tolerance=_TOLERANCE,
        tolerance_reason="rounding of float64; about 3e-16 is seen",
        null_error=3e-16,
        smallest_detectable=_TOLERANCE,
        where=where,
        relative_error=worst,
        evaluations=2,
        seed=seed,
        dtype="float64",
        seconds=time.perf_counter() - start,
    )


def _hand(name: str, exact: AdjointGradients, raw: Tensor | None) -> Array:
    """The hand-derived gradient by a parameter (``raw``: through the sigmoid or softplus that it passes) or buffer."""
    if name.endswith("recurrence.weight"):
        assert exact.recurrent is not None  # noqa: S101 - the neuron has it
        return exact.recurrent
    constant = name.split(".")[-2]
    gradient = exact.threshold if constant == "threshold" else exact.decays[constant]
    if raw is None:
        return gradient
    sigmoid = 1.0 / (1.0 + np.exp(-raw.detach().numpy()))
    return np.asarray(gradient * (sigmoid if constant == "threshold" else sigmoid * (1.0 - sigmoid)))
