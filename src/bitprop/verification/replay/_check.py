"""The tangent replay: is backpropagation through time the claimed surrogate gradient?

Run the hard network once and keep the input ``x0`` and output ``s0`` of every spike function.  The *replay* is the
program with ``S(x) = s0 + g(x0) (x - x0)`` in the place of every spike function, ``g`` the claimed slope, and every
decision frozen.  It equals the hard network at the parameters and is smooth there, and its derivative *is* the claimed
surrogate gradient.  In a direction d, with G the gradient that ``backward()`` left in the parameters::

    r = |replay'(d) - G.d| / (|G| / sqrt(N))

which does not change with the scale of the loss.  One direction tests every coordinate of every tensor at once: tensors
are weighted so that each contributes alike.

What it cannot show: that the surrogate is a good one, or that the forward pass is the network somebody wanted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bitprop._checks import check_choice, check_integer
from bitprop.seeds import derive_seed
from bitprop.verification.claim import Claim
from bitprop.verification.replay._carrier import DUAL
from bitprop.verification.replay._directions import balanced, draw_direction, unit_scale
from bitprop.verification.replay._localise import Finding, localise
from bitprop.verification.replay._run import OpaqueSpikesError, Session, open_session
from bitprop.verification.replay._world import Problem, RunError, with_gradients
from bitprop.verification.result import GradientVerificationResult, Where

__all__ = ["TOLERANCES", "check_tangent_replay", "replay_session"]

TOLERANCES = {"float64": 1e-10, "float32": 1e-4}
"""Largest r of a pass: float64 leaves about 1e-13 on a right network, float32 about 1e-6."""
_DETECTION = 0.95
_CONSISTENT = 1e-6  # of the loss: beyond it the replay did not follow the hard network
# a gradient below this, and the terms that it is made of, lose digits to underflow: nothing follows from a difference
_UNDERFLOW = {True: 1e-30, False: 1e-270}


@dataclass
class _Comparison:
    """Claimed and computed directional derivatives."""

    names: list[str] = field(default_factory=list)
    claimed: list[float] = field(default_factory=list)
    computed: list[float] = field(default_factory=list)
    r: list[float] = field(default_factory=list)

    def add(self, name: str, claimed: float, computed: float, scale: float) -> float:
        difference = abs(claimed - computed)
        r = difference / scale if scale > 0.0 else (0.0 if difference == 0.0 else math.inf)
        for series, value in ((self.claimed, claimed), (self.computed, computed), (self.r, r)):
            series.append(value)
        self.names.append(name)
        return r


def replay_session(
    model: nn.Module,
    inputs: Any,
    targets: Any,
    loss_fn: Callable[..., Tensor],
    *,
    claim: Claim,
    dtype: str,
    reset_state: Callable[[nn.Module], object] | None = None,
) -> Any:
    """Context manager of a recorded run, for several checks of one problem.

    Args:
        model: the module under test.
        inputs: see :class:`Problem`.
        targets: given to the loss.
        loss_fn: the loss.
        claim: what is claimed.
        dtype: ``float64`` (parameters are held in float64 meanwhile) or ``native``.
        reset_state: called with the model before every run.
    """
    check_choice("dtype", dtype, ("float64", "native"))
    problem = Problem(model, inputs, targets, loss_fn, reset_state)
    narrow = any(p.is_floating_point() and p.dtype != torch.float64 for p in model.parameters())
    return open_session(problem, claim, lift=dtype == "float64" and narrow)


@with_gradients
def check_tangent_replay(
    model: nn.Module,
    inputs: Any,
    targets: Any,
    loss_fn: Callable[..., Tensor],
    *,
    claim: Claim | None = None,
    seed: int = 0,
    directions: int | None = None,
    per_tensor: bool = False,
    dtype: Literal["float64", "native"] = "float64",
    reset_state: Callable[[nn.Module], object] | None = None,
) -> GradientVerificationResult:
    """Compare the gradient that ``backward()`` computes with the claimed surrogate gradient.

    Args:
        model: any module; it is run as it is and left as it was.
        inputs: a tensor, or a tuple or dictionary of arguments.
        targets: second argument of the loss; ``None``: the loss takes the outputs alone.
        loss_fn: ``loss_fn(outputs, targets)``, one number.
        claim: slopes and paths; default: everything as coded, backpropagation through time whole.
        seed: of the random directions, 0 .. 2**63 - 1.
        directions: random directions; default 1 in float64, 8 in float32.
        per_tensor: also one direction for each tensor alone.
        dtype: ``float64`` holds the parameters in float64 meanwhile; ``native`` leaves them.
        reset_state: called with the model before every run, for models that keep state.

    Returns:
        ``PASS``, ``FAIL`` with the place, ``VACUOUS`` (a gradient is zero or no neuron is near its threshold),
        ``SKIPPED`` (spikes inside an opaque function).

    Raises:
        DataError: inputs or targets are not finite.
        ShapeError: the loss is not one number.
        RunError: the model or the loss raised.

    Example:
        >>> from bitprop.surrogate import make_surrogate
        >>> spike = make_surrogate("atan", 2.0)
        >>> class Net(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.fc = nn.Linear(3, 2)
        ...         nn.init.constant_(self.fc.weight, 0.4)
        ...         nn.init.zeros_(self.fc.bias)
        ...     def forward(self, x):
        ...         u = torch.zeros(x.shape[1], 2, dtype=x.dtype)
        ...         total = 0.0
        ...         for x_t in x:
        ...             u = 0.9 * u + self.fc(x_t)
        ...             s = spike(u - 0.5)
        ...             u, total = u - 0.5 * s, total + s
        ...         return total
        >>> generator = torch.Generator().manual_seed(0)
        >>> x = torch.rand(5, 4, 3, generator=generator)
        >>> claim = Claim(surrogate="atan", scale=2.0, reset="attached")
        >>> check_tangent_replay(Net(), x, torch.ones(4, 2), nn.functional.mse_loss, claim=claim).status
        'PASS'
    """
    chosen = claim or Claim()
    check_integer("seed", seed, 0, 2**63 - 1)
    start = time.perf_counter()
    with replay_session(model, inputs, targets, loss_fn, claim=chosen, dtype=dtype, reset_state=reset_state) as session:
        result = replay_result(session, seed=seed, directions=directions, per_tensor=per_tensor)
    return replace(result, seconds=time.perf_counter() - start)


def replay_result(
    session: Session, *, seed: int, directions: int | None = None, per_tensor: bool = False
) -> GradientVerificationResult:
    """:func:`check_tangent_replay` on a session that is open."""
    gradients = session.gradients
    base = _Base(session, seed)
    if not gradients:
        return base.result("VACUOUS", "the model has no trainable parameter: there is no gradient to test")
    bad = [name for name, g in gradients.items() if not bool(torch.isfinite(g).all())]
    if bad or not math.isfinite(session.loss):
        what = f"the gradient of {bad[0]}" if bad else "the loss"
        return base.result(
            "FAIL",
            f"{what} is not finite; the stability tests locate the first such tensor",
            Where(tensor=bad[0] if bad else None),
        )
    narrow = any(g.dtype != torch.float64 for g in gradients.values())
    tolerance = TOLERANCES["float32" if narrow else "float64"]
    count = directions if directions is not None else (8 if narrow else 1)
    check_integer("directions", count, 1, 1 << 16)
    generator = torch.Generator().manual_seed(derive_seed(seed, "tangent_replay"))
    comparison = _Comparison()
    try:
        worst, tested, zero = _compare(session, count, per_tensor, generator, comparison, tolerance)
    except OpaqueSpikesError as error:
        return base.result("SKIPPED", str(error))
    return _verdict(base, session, worst, tested, zero, comparison, tolerance, count, generator)


def _compare(
    session: Session,
    count: int,
    per_tensor: bool,
    generator: torch.Generator,
    comparison: _Comparison,
    tolerance: float,
) -> tuple[float, list[str], dict[str, float]]:
    """Largest r; tensors with a gradient; claimed derivatives of the tensors without."""
    scales = {name: unit_scale(g) for name, g in session.gradients.items()}
    floor = session.rounding()
    tested = [name for name, scale in scales.items() if scale > floor]
    worst = 0.0
    for _ in range(count if tested else 0):
        chosen, unit = balanced({name: session.gradients[name] for name in tested}, generator)
        worst = max(worst, _measure(session, "all tensors", chosen, comparison, tolerance, unit))
    if per_tensor:
        for name in tested:
            direction = draw_direction(session.gradients[name], generator)
            worst = max(worst, _measure(session, name, {name: direction}, comparison, tolerance, scales[name]))
    zero = {}
    for name in [name for name in scales if name not in tested]:
        direction = draw_direction(session.gradients[name], generator)
        zero[name] = session.replay({name: direction}).tangent
    return worst, tested, zero


def _measure(
    session: Session,
    name: str,
    directions: Mapping[str, Tensor],
    comparison: _Comparison,
    tolerance: float,
    unit: float,
) -> float:
    """r in one direction; a second opinion on dual numbers before anything is blamed."""
    parts = [float((session.gradients[key].double() * d).sum()) for key, d in directions.items()]
    computed = math.fsum(parts)
    run = session.replay(directions)
    if not abs(run.tangent - computed) / unit <= tolerance and run.carrier != DUAL.name:
        try:
            second = session.replay(directions, carrier=DUAL)
        except RunError:
            second = run
        if abs(second.tangent - computed) < abs(run.tangent - computed):
            run = second
    return comparison.add(name, run.tangent, computed, unit)


class _Base:
    """What every result of the check has in common."""

    def __init__(self, session: Session, seed: int) -> None:
        self.session, self.seed = session, seed

    def coverage(self) -> dict[str, float]:
        """Shares of parameters with a gradient and of spiking neurons with a slope."""
        gradients = self.session.gradients
        total = sum(g.numel() for g in gradients.values())
        share = {}
        if total:
            share["parameters"] = sum(int((g != 0).sum()) for g in gradients.values()) / total
        seen: dict[tuple[str, str], Tensor] = {}
        for call in self.session.tape.spikes:
            if call.slope is None or call.slope.dim() == 0:
                continue
            live = (call.slope != 0).reshape(call.slope.shape[0], -1).any(dim=0)
            key = (call.module, call.line)
            seen[key] = live if key not in seen or seen[key].shape != live.shape else seen[key] | live
        neurons = sum(x.numel() for x in seen.values())
        if neurons:
            share["neurons"] = sum(int(x.sum()) for x in seen.values()) / neurons
        return share

    def result(
        self,
        status: Literal["PASS", "FAIL", "VACUOUS", "SKIPPED"],
        detail: str,
        where: Where | None = None,
        **more: Any,
    ) -> GradientVerificationResult:
        dtypes = sorted({str(g.dtype).removeprefix("torch.") for g in self.session.gradients.values()})
        return GradientVerificationResult(
            name="tangent_replay",
            claim=f"backward() is the surrogate gradient: {self.session.claim.describe()}",
            status=status,
            detail=detail,
            where=where or Where(),
            coverage=self.coverage(),
            evaluations=self.session.evaluations,
            seed=self.seed,
            dtype=", ".join(dtypes),
            **more,
        )


def _verdict(
    base: _Base,
    session: Session,
    worst: float,
    tested: Sequence[str],
    zero: Mapping[str, float],
    comparison: _Comparison,
    tolerance: float,
    count: int,
    generator: torch.Generator,
) -> GradientVerificationResult:
    floor = 100.0 * session.rounding()
    missing = [
        name for name, claimed in zero.items() if abs(claimed) > floor * math.sqrt(session.gradients[name].numel())
    ]
    plain_run = session.last or session.replay({})  # the value does not depend on the direction
    size = max(abs(session.loss), 1e-30)
    consistent = abs(plain_run.loss - session.loss) <= _CONSISTENT * size + 1e-12
    # in one direction a coherent error e shows as e |z| with z normal
    rare = _normal_quantile(1.0 - (1.0 - _DETECTION) ** (1.0 / max(count, 1)))
    measured = _errors(comparison)
    figures: dict[str, Any] = {
        "statistic": worst if tested else None,
        "tolerance": tolerance,
        "tolerance_reason": (
            "rounding of float64 through the network leaves about 1e-13"
            if tolerance < 1e-6
            else "rounding of float32 through the network leaves about 1e-6"
        ),
        "null_error": worst if worst <= tolerance and tested else None,
        "smallest_detectable": tolerance / rare,
        **measured,
    }
    failed = not worst <= tolerance or bool(missing)
    narrow = any(g.dtype != torch.float64 for g in session.gradients.values())
    largest = max([unit_scale(g) for g in session.gradients.values()] + [abs(claimed) for claimed in zero.values()])
    if failed and largest < _UNDERFLOW[narrow]:
        return base.result(
            "VACUOUS",
            f"every gradient is below {_UNDERFLOW[narrow]:g}, where {'float32' if narrow else 'float64'} loses digits "
            "to underflow: nothing can be said of a difference; multiply the loss by a constant",
            data=_data(comparison, ()),
            **figures,
        )
    if failed:
        finding: Finding = localise(session, generator, missing)
        return base.result(
            "FAIL",
            finding.detail,
            finding.where,
            data=_data(comparison, finding.tensors),
            **figures,
        )
    data = _data(comparison, ())
    if not consistent:
        return base.result(
            "FAIL",
            f"the replay's loss is {plain_run.loss:.9g}, the hard network's {session.loss:.9g}: "
            + (
                f"precision is lost at {session.tape.narrowed[0]}" if session.tape.narrowed else "they took other paths"
            ),
            Where(line=session.tape.narrowed[0] if session.tape.narrowed else None),
            data=data,
            **figures,
        )
    untested = [name for name in zero if not session.claim.allows_unused(name)]
    if not tested or untested:
        names = ", ".join(untested[:4]) + (", ..." if len(untested) > 4 else "")
        why = "every gradient is zero" if not tested else f"the gradient of {names} is zero, as the claim has it"
        left = ", ".join(dict.fromkeys(site.line for site in session.tape.values))
        if left:
            why += f"; tensors become numbers at {left}, and no gradient comes back from there"
        return base.result(
            "VACUOUS",
            f"{why}: nothing was tested there; choose data that make neurons fire, or name the parameters in unused",
            Where(tensor=untested[0] if untested else None),
            data=data,
            **figures,
        )
    spikes = session.tape.spikes
    unnamed = [
        site for site in session.tape.cuts if site.straight_through and session.claim.slope_for(site.module) is not None
    ]
    if unnamed:
        return base.result(
            "VACUOUS",
            f"the straight-through construct at {unnamed[0].line} has the slope of its own soft function, which was "
            "not compared with the claimed one; name the function that holds it in spike, as package.module:attribute",
            Where(module=unnamed[0].module, line=unnamed[0].line),
            data=data,
            **figures,
        )
    if spikes and not any(bool(call.s0.any()) for call in spikes):
        return base.result("VACUOUS", "no neuron fires on these data: no reset was tested", data=data, **figures)
    if spikes and base.coverage().get("neurons") == 0.0:
        return base.result("VACUOUS", "no neuron has a slope: none comes near its threshold", data=data, **figures)
    return base.result(
        "PASS",
        f"{len(spikes)} spike calls replayed by {plain_run.carrier}, {len(tested)} tensors, "
        f"{sum(session.gradients[name].numel() for name in tested)} parameters"
        + "".join(f"; the diagonal of {name} is held at zero" for name in session.held)
        + ("" if spikes else "; no spike function was seen: an ordinary smooth model, or name it in the claim"),
        data=data,
        **figures,
    )


def _errors(comparison: _Comparison) -> dict[str, float | None]:
    if not comparison.claimed:
        return {"maximum_error": None, "mean_error": None, "relative_error": None, "cosine": None}
    claimed = torch.tensor(comparison.claimed, dtype=torch.float64)
    computed = torch.tensor(comparison.computed, dtype=torch.float64)
    difference = (claimed - computed).abs()
    errors: dict[str, float | None] = {
        "maximum_error": float(difference.max()),
        "mean_error": float(difference.mean()),
    }
    size = float(claimed.abs().max())
    if 0.0 < size < math.inf:  # squares of numbers of any size neither vanish nor overflow
        claimed, computed, difference = claimed / size, computed / size, difference / size
    norms = float(claimed.norm()), float(computed.norm())
    return {
        **errors,
        "relative_error": float(difference.norm()) / norms[0] if norms[0] > 0 else None,
        "cosine": float(claimed @ computed) / (norms[0] * norms[1]) if min(norms) > 0 else None,
    }


def _data(comparison: _Comparison, tensors: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    rows = [
        {"name": n, "claimed": a, "computed": b, "r": r}
        for n, a, b, r in zip(comparison.names, comparison.claimed, comparison.computed, comparison.r, strict=True)
    ]
    rows += [dict(row) for row in tensors]
    return {"tensors": rows, "pairs": [[row["claimed"], row["computed"]] for row in rows]}


def _normal_quantile(probability_outside: float) -> float:
    """z with ``P(|Z| < z) = 1 - probability_outside``."""
    return float(torch.special.ndtri(torch.tensor(1.0 - probability_outside / 2.0, dtype=torch.float64)))
