"""Where a wrong gradient comes from: the tensor, the coordinate, the module, the source line, the time step.

Four questions, the cheap ones first:

1. which tensors are off (one replay each);
2. is it a spike function whose backward pass is not the claimed slope (no replay: both are known at every call);
3. is it a place where the code cuts a gradient that the claim lets pass (one replay, and one for each place);
4. otherwise, between which two spike calls does the error enter: the derivative by a spike's *output* is compared at
   calls chosen by bisection.

The coordinate is found by bisection too: random signs on half of the remaining coordinates, about log2 N replays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bitprop.verification.replay._directions import balanced, draw_direction, unit_scale
from bitprop.verification.replay._run import Session
from bitprop.verification.replay._tape import CutSite, SpikeCall
from bitprop.verification.replay._world import RunError
from bitprop.verification.result import Where

__all__ = ["Finding", "localise"]

_CLEARLY = 50.0  # times the rounding left by matching tensors


@dataclass(frozen=True)
class Finding:
    """What was found.

    Attributes:
        detail: for a person.
        where: the place.
        tensors: claimed and computed derivative of every tensor in one direction each.
    """

    detail: str
    where: Where
    tensors: tuple[dict[str, Any], ...]


def localise(session: Session, generator: torch.Generator, missing: Sequence[str]) -> Finding:
    """Narrow an error down; see the module."""
    rows, errors = _by_tensor(session, generator)
    wrong = missing[0] if missing else max(errors, key=lambda name: errors[name])
    index, claimed, computed = _coordinate(session, wrong, generator)
    cause, module, line, step = _cause(session, generator)
    many = sum(1 for error in errors.values() if error > 1e-9)
    where = Where(wrong, index, module, line, step, claimed, computed)
    spread = f"{many} of {len(errors)} tensors are off"
    return Finding(f"{cause}; {spread}, most {wrong}", where, tuple(rows))


def _by_tensor(session: Session, generator: torch.Generator) -> tuple[list[dict[str, Any]], dict[str, float]]:
    rows: list[dict[str, Any]] = []
    errors = {}
    for name, gradient in session.gradients.items():
        direction = draw_direction(gradient, generator)
        claimed = session.replay({name: direction}).tangent
        computed = float((gradient.double() * direction).sum())
        unit = max(unit_scale(gradient), abs(claimed) / math.sqrt(gradient.numel()), session.rounding())
        errors[name] = abs(claimed - computed) / unit
        rows.append({"name": name, "claimed": claimed, "computed": computed, "r": errors[name]})
    return rows, errors


def _coordinate(session: Session, name: str, generator: torch.Generator) -> tuple[tuple[int, ...], float, float]:
    """The coordinate with most of the error, and both derivatives there."""
    gradient = session.gradients[name].double()
    flat = gradient.flatten()
    # one draw of signs can cancel; the larger of two says more
    draws = torch.randint(0, 2, (2, flat.numel()), generator=generator).double() * 2 - 1

    def errors_of(chosen: Tensor) -> list[float]:
        errors = []
        for signs in draws:
            direction = torch.zeros_like(flat)
            direction[chosen] = signs[chosen]
            claimed = session.replay({name: direction.reshape(gradient.shape)}).tangent
            errors.append(claimed - float(flat @ direction))
        return errors

    remaining = torch.arange(flat.numel())
    whole = errors_of(remaining) if len(remaining) > 1 else []
    while len(remaining) > 1:
        halves = remaining[: len(remaining) // 2], remaining[len(remaining) // 2 :]
        # an error is linear in the direction: the second half has what the first one leaves
        first = errors_of(halves[0])
        errors = first, [both - one for both, one in zip(whole, first, strict=True)]
        sizes = [
            max(abs(error) for error in found) / math.sqrt(len(half))
            for half, found in zip(halves, errors, strict=True)
        ]
        larger = int(sizes[0] < sizes[1])
        remaining, whole = halves[larger], errors[larger]
    direction = torch.zeros_like(flat)
    direction[remaining] = 1.0
    claimed = session.replay({name: direction.reshape(gradient.shape)}).tangent
    at = int(remaining[0])
    index = tuple(int(i) for i in torch.unravel_index(torch.tensor(at), gradient.shape)) if gradient.dim() else ()
    return index, claimed, float(flat[at])


_DOING = {
    "detach": "detaches",
    "data": "reads or writes .data of",
    "no_grad": "runs under no_grad over",
    "comparison": "takes by comparison, without a slope,",
}
Cause = tuple[str, str | None, str | None, int | None]


def _cause(session: Session, generator: torch.Generator) -> Cause:
    return (
        _wrong_slope(session)
        or _wrong_cut(session, generator)
        or _lost_precision(session)
        or _wrong_custom(session, generator)
        or _behind_autograd(session)
        or _wrong_threshold(session)
        or _between_spikes(session, generator)
    )


def _wrong_slope(session: Session) -> Cause | None:
    """A spike function whose backward pass is not the claimed slope."""
    worst: tuple[float, SpikeCall] | None = None
    for call in session.tape.spikes:
        if call.slope is None or call.coded is None or call.slope is call.coded or not call.slope.numel():
            continue
        peak = max(float(call.slope.abs().max()), 1e-300)
        off = float((call.slope - call.coded).abs().max()) / peak
        if worst is None or off > worst[0]:
            worst = off, call
    narrow = any(g.dtype != torch.float64 for g in session.gradients.values())
    if worst is None or worst[0] <= (1e-5 if narrow else 1e-12):
        return None
    call = worst[1]
    assert call.slope is not None and call.coded is not None  # noqa: S101, PT018 - seen above
    at = int((call.slope - call.coded).abs().argmax())
    claimed, coded = float(call.slope.flatten()[at]), float(call.coded.flatten()[at])
    ratio = f", ratio {coded / claimed:.6g}" if claimed else ""
    x = float(call.x0.flatten()[at])
    text = (
        f"the spike function {call.function} (defined at {call.place}) has the slope {coded:.6g} at x = {x:.4g} where "
        f"{claimed:.6g} is claimed{ratio}"
    )
    return text, call.module, call.line, call.step


def _agrees(session: Session, generator: torch.Generator, passes: Any) -> bool:
    """Whether the replay with another rule for cuts gives the computed gradient."""
    for _ in range(2):
        chosen, unit = balanced(session.gradients, generator)
        computed = math.fsum(float((session.gradients[n].double() * d).sum()) for n, d in chosen.items())
        claimed = session.replay(chosen, passes=passes).tangent
        narrow = any(g.dtype != torch.float64 for g in session.gradients.values())
        if not abs(claimed - computed) <= (1e-3 if narrow else 1e-9) * math.sqrt(len(chosen)) * unit:
            return False
    return True


def _wrong_threshold(session: Session) -> Cause | None:
    """A spike function whose backward pass has another slope by its threshold than by its input."""
    for call in session.tape.spikes:
        for position, slope in call.others.items():
            coded = call.coded_others.get(position, torch.zeros(()))
            if coded is slope or float((slope - coded).abs().max()) <= 1e-5 * float(slope.abs().max()):
                continue
            text = (
                f"the spike function {call.function} (defined at {call.place}) depends on argument {position} as on a "
                "threshold, and its backward pass does not give it the slope by the input with the other sign"
            )
            return text, call.module, call.line, call.step
    return None


def _wrong_cut(session: Session, generator: torch.Generator) -> Cause | None:
    """A place where the code stops a gradient that the claim lets pass."""
    passing = [site for site in session.tape.cuts if session.passes(site)]
    if not passing or not _agrees(session, generator, lambda _site: False):
        return None
    lines = list(dict.fromkeys((site.line, site.kind) for site in passing))

    def alone(line: str) -> Any:
        return lambda site: session.passes(site) and site.line != line

    single = [(line, kind) for line, kind in lines if len(lines) == 1 or _agrees(session, generator, alone(line))]
    line, kind = single[0] if single else lines[0]
    site: CutSite = next(x for x in passing if x.line == line)
    what = _DOING[kind]
    spike = site.discrete and kind in ("detach", "comparison")
    thing = "a spike, as a detached reset does" if spike else "a state: backpropagation through time is cut"
    also = "" if single else f" (with {len(lines) - 1} more places that cut)"
    return f"the code {what} {thing}, at {line}{also}", site.module, line, site.step


def _lost_precision(session: Session) -> Cause | None:
    if not session.tape.narrowed:
        return None
    line = session.tape.narrowed[0]
    return f"a tensor under the gradient is cast to fewer digits, at {line}", None, line, None


def _behind_autograd(session: Session) -> Cause | None:
    for site in session.tape.cuts:
        if site.kind == "data" and session.passes(site):
            text = f"the code changes .data of a state at {site.line}: autograd does not see it"
            return text, site.module, site.line, site.step
    return None


def _wrong_custom(session: Session, generator: torch.Generator) -> Cause | None:
    """A custom function whose backward pass is not the derivative of its forward pass."""
    seen: set[str] = set()
    for call in session.tape.custom:
        if call.opaque or call.place + call.name in seen:
            continue
        seen.add(call.place + call.name)
        tensors = [i for i, x in enumerate(call.arguments) if isinstance(x, Tensor) and x.is_floating_point()]
        points = {i: call.arguments[i].double().requires_grad_(True) for i in tensors}

        def evaluate(points: dict[int, Tensor], call: Any = call) -> Any:
            arguments = (points.get(i, x) for i, x in enumerate(call.arguments))
            out = call.evaluate(*arguments)
            return out[0] if isinstance(out, tuple) else out

        out = evaluate(points)
        if not out.requires_grad:
            continue
        weights = torch.randn(out.shape, generator=generator, dtype=torch.float64).to(out.dtype)
        grads = torch.autograd.grad((out * weights).sum(), list(points.values()), allow_unused=True)
        for i, grad in zip(tensors, grads, strict=True):
            direction = torch.randn(points[i].shape, generator=generator, dtype=torch.float64)
            h = 1e-5
            moved = [
                float((evaluate({**points, i: (points[i] + sign * h * direction).detach()}) * weights).sum())
                for sign in (1, -1)
            ]
            slope = (moved[0] - moved[1]) / (2 * h)
            computed = 0.0 if grad is None else float((grad.double() * direction).sum())
            unit = max(abs(slope), float(weights.norm()), 1e-300)
            if abs(slope - computed) > 1e-5 * unit:
                ratio = f", ratio {computed / slope:.6g}" if slope else ""
                text = (
                    f"the custom function {call.name} (defined at {call.place}) has a backward pass that is not the "
                    f"derivative of its forward pass with respect to argument {i}{ratio}"
                )
                return text, call.module, call.line, None
    return None


def _between_spikes(session: Session, generator: torch.Generator) -> Cause:
    """Between which two spike calls the error enters, by bisection over the derivative by spike outputs."""
    calls = session.tape.spikes
    try:
        grads = session.site_gradients()
    except RunError:
        grads = []
    if not grads or len(grads) != len(calls):
        return "the error is outside every spike function", None, None, None

    def off(k: int) -> bool:
        direction = draw_direction(calls[k].s0, generator)
        claimed = session.replay({}, injections={k: direction}).tangent
        computed = float((grads[k].double() * direction).sum())
        unit = max(unit_scale(grads[k]), abs(claimed) / math.sqrt(max(direction.numel(), 1)))
        narrow = grads[k].dtype != torch.float64
        return unit > 0 and abs(claimed - computed) > (1e-3 if narrow else 1e-8) * unit

    if not off(0) and not any(off(k) for k in range(1, len(calls), max(1, len(calls) // 8))):
        return "the derivatives by every spike are right: the error is where a parameter enters", None, None, None
    low, high = 0, len(calls)  # calls[low] is off as far as known; calls from high on are right
    while high - low > 1:
        middle = (low + high) // 2
        if off(middle):
            low = middle
        else:
            high = middle
    before = calls[low]
    after = f"the call at {calls[high].line}, step {calls[high].step}" if high < len(calls) else "the loss"
    text = (
        f"the error enters between the spikes of module {before.module or '(the model itself)'} at step "
        f"{before.step} and {after}: in the leak, the reset or what lies between"
    )
    return text, before.module, before.line, before.step
