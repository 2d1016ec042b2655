"""Two checks of what surrounds a gradient: is the run repeatable, and do gradients stop where the claim says.

**Determinism.**  Two forward passes after a reset must be equal bit for bit, and their gradients equal to rounding: a
potential that is kept changes the gradient before it changes a spike.  If they are not, the model keeps state between
calls, or draws random numbers; either makes every other figure a figure of one accident.

**Detach audit.**  The places where the code stops gradients (``detach``, ``.data``, ``no_grad``, a comparison used as a
number) are found by running it.  A place counts if letting the gradient pass changes the gradient.  A tensor that
becomes numbers of Python or NumPy stops it too: such a place counts if the loss changes with those numbers.  What it
does not see: numbers made from a tensor that was detached and computed with before.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from bitprop.errors import BitpropError
from bitprop.seeds import derive_seed
from bitprop.verification.claim import Claim
from bitprop.verification.replay import OpaqueSpikesError, Problem, RunError, Session, Snapshot, random_state
from bitprop.verification.replay._directions import balanced, unit_scale
from bitprop.verification.replay._tape import CutSite, SpikeCall
from bitprop.verification.replay._world import with_gradients
from bitprop.verification.result import GradientVerificationResult, Where

__all__ = ["check_determinism", "detach_audit"]

_ROUNDING = 64.0
"""Units in the last place of float32 by which gradients of two runs may differ."""


@with_gradients
def check_determinism(
    model: nn.Module,
    inputs: Any,
    targets: Any = None,
    loss_fn: Callable[..., Tensor] | None = None,
    *,
    claim: Claim | None = None,
    reset_state: Callable[[nn.Module], object] | None = None,
) -> GradientVerificationResult:
    """Run the model twice and compare every output bit for bit, and the gradients where there is a loss.

    Args:
        model: the module under test; its state is put back.
        inputs: as for the replay.
        targets: second argument of the loss.
        loss_fn: one number; ``None``: outputs alone are compared.
        claim: ``stochastic`` says that random draws are meant; the two runs then draw the same numbers.
        reset_state: called with the model before each run.

    Returns:
        ``FAIL``: state is left over.  ``ILL_POSED``: random numbers are drawn, and nobody said so.  Else ``PASS``.

    Raises:
        DataError: inputs are not finite.
        ShapeError: the loss is not one number.
        RunError: the model or the loss raised.

    Example:
        >>> check_determinism(nn.Linear(2, 1), torch.ones(3, 2)).status
        'PASS'
        >>> check_determinism(nn.Dropout(), torch.ones(64)).status
        'ILL_POSED'
    """
    chosen = claim or Claim()
    problem = Problem(model, inputs, targets, loss_fn or _no_loss, reset_state)
    snapshot = Snapshot(model)
    try:
        with random_state() as rewind:
            first = _run(problem)
            if chosen.stochastic:
                rewind()
            free = _compare(first, _again(problem))
            snapshot.restore()
            rewind()
            third = _run(problem)
            snapshot.restore()
            rewind()
            repeated = _compare(third, _run(problem))
        is_random = free is not None and repeated is None and _is_random(problem, snapshot)
    finally:
        snapshot.restore()
    status: Any = "PASS"
    detail = f"{len(first.outputs)} outputs are equal bit for bit in two runs"
    if first.gradients:
        detail += ", gradients to rounding"
    if free is not None:
        if repeated is not None:
            status = "FAIL"
            detail = f"{free}, even from the same state and random numbers: something outside the model changes"
        elif is_random:
            status = "ILL_POSED"
            detail = (
                f"{free}: the model draws random numbers; its gradient is that of one draw, say stochastic = true in "
                "the claim if that is meant"
            )
        else:
            status = "FAIL"
            detail = (
                f"{free}: the model keeps state between calls; give what resets it (reset_state, or reset in a file), "
                "or reset it in forward"
            )
    return GradientVerificationResult(
        name="determinism",
        claim="two runs after a reset are equal bit for bit",
        status=status,
        detail=detail,
        statistic=0.0 if free is None else 1.0,
        tolerance=0.0,
        tolerance_reason="the same program on the same data: nothing may differ",
        null_error=0.0,
        evaluations=4,
    )


@dataclass(frozen=True)
class _Run:
    """What one run gave."""

    outputs: list[Tensor]
    gradients: dict[str, Tensor | None]
    problem: str = ""


def _no_loss(outputs: Any) -> Any:
    return outputs


def _run(problem: Problem) -> _Run:
    with torch.set_grad_enabled(problem.loss_fn is not _no_loss):
        try:
            outputs = problem.outputs(problem.inputs)
        except (Exception, SystemExit) as error:
            raise RunError(f"the forward pass raised {type(error).__name__}: {error}") from error
        found = [x.detach().clone() for x in pytree.tree_leaves(outputs) if isinstance(x, Tensor)]
        parameters = problem.parameters()
        if problem.loss_fn is _no_loss or not parameters:
            return _Run(found, {})
        try:
            loss = problem.loss_of(outputs, problem.targets)
        except BitpropError:
            raise
        except (Exception, SystemExit) as error:
            raise RunError(f"the loss raised {type(error).__name__}: {error}") from error
        if not loss.requires_grad:
            return _Run(found, {})
        try:
            gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        except (Exception, SystemExit) as error:
            raise RunError(f"the backward pass raised {type(error).__name__}: {error}") from error
    return _Run(found, dict(zip(parameters, gradients, strict=True)))


def _again(problem: Problem) -> _Run:
    """A second run; that it cannot go backwards through the state of the first is what it finds."""
    try:
        return _run(problem)
    except RunError as error:
        return _Run([], {}, f"a second run failed: {error}")


def _compare(first: _Run, second: _Run) -> str | None:
    if second.problem:
        return second.problem
    if len(first.outputs) != len(second.outputs):
        return f"two runs gave {len(first.outputs)} and {len(second.outputs)} outputs"
    for k, (a, b) in enumerate(zip(first.outputs, second.outputs, strict=True)):
        if a.shape != b.shape or not torch.equal(torch.nan_to_num(a), torch.nan_to_num(b)):
            off = "shapes" if a.shape != b.shape else f"{int((a != b).sum())} of {a.numel()} values"
            return f"output {k} differs between two runs in {off}"
    for name, g in first.gradients.items():
        h = second.gradients.get(name)
        if (g is None) != (h is None) or (g is not None and h is not None and not _close(g, h)):
            return f"outputs are equal, but the gradient of {name} differs between two runs"
    return None


def _close(a: Tensor, b: Tensor) -> bool:
    """Equal to the rounding of sums that threads may order differently."""
    a, b = torch.nan_to_num(a.double()), torch.nan_to_num(b.double())
    tolerance = _ROUNDING * torch.finfo(torch.float32).eps
    return unit_scale(a - b) <= tolerance * max(unit_scale(a), unit_scale(b)) if a.numel() else True


def _is_random(problem: Problem, snapshot: Snapshot) -> bool:
    """Whether two runs from one state differ unless the random numbers are the same."""
    with random_state():
        snapshot.restore()
        first = _run(problem)
        snapshot.restore()
        return _compare(first, _run(problem)) is not None


def detach_audit(session: Session, *, seed: int = 0) -> GradientVerificationResult:
    """Compare where the code stops gradients with where the claim says it does.

    Args:
        session: an open recording, from ``replay_session``.
        seed: of the random direction.

    Returns:
        ``FAIL`` with module and line if the code stops a gradient that the claim lets pass, or if a detached reset is
        claimed and none is; ``VACUOUS`` if a detached reset is claimed and makes no difference on these data.
    """
    claim = session.claim
    sites = [site for site in session.tape.cuts if not site.granted]
    describe = {"attached": "the reset is attached", "detached": "the reset is detached"}
    said = describe.get(claim.reset, "the reset is as coded")
    stops = f"stop at {', '.join(claim.cuts)}" if claim.cuts else "stop nowhere else"
    generator = torch.Generator().manual_seed(derive_seed(seed, "detach_audit"))
    chosen, size = balanced(session.gradients, generator)
    unit = max(math.sqrt(len(chosen)), 1.0) * size

    def tangent(passes: Callable[[CutSite], bool] | None) -> float:
        return session.replay(chosen, passes=passes).tangent / unit

    def result(status: Any, detail: str, site: CutSite | None = None) -> GradientVerificationResult:
        lines = {f"{x.kind} {x.line}": x for x in sites}
        return GradientVerificationResult(
            name="detach_audit",
            claim=f"{said}; gradients {stops}",
            status=status,
            detail=detail,
            where=Where() if site is None else Where(module=site.module, line=site.line, step=site.step),
            evaluations=session.evaluations,
            seed=seed,
            tolerance=1e-9,
            tolerance_reason="a cut that changes the gradient by less than rounding is no cut",
            data={
                "sites": [
                    {"kind": x.kind, "line": x.line, "module": x.module, "discrete": x.discrete} for x in lines.values()
                ]
            },
        )

    if not chosen or not session.tape.spikes:
        return result("SKIPPED", "no spike function was seen" if chosen else "no trainable parameters")
    try:
        as_claimed = tangent(None)
        if claim.reset == "detached":
            found = _detached(sites, as_claimed, tangent, session)
            if found is not None:
                return result(*found)
        for site in {(x.line, x.kind): x for x in sites if session.passes(x)}.values():
            if abs(tangent(_cutting(session, site)) - as_claimed) > 1e-9:
                thing = "a spike or mask" if site.discrete else "a state"
                what = f"the code stops the gradient of {thing} at {site.line} ({site.kind})"
                return result("FAIL", f"{what}, in module {site.module or '(the model itself)'}: not claimed", site)
        numbers = session.values_that_return()
        for site in numbers:
            if not session.passes(site):
                continue
            thing = "a spike or mask" if site.discrete else "a state"
            what = f"{thing} becomes a number at {site.line}, which the loss depends on: the gradient stops there"
            return result("FAIL", f"{what}, in module {site.module or '(the model itself)'}: not claimed", site)
    except (OpaqueSpikesError, RunError) as error:
        return result("SKIPPED", str(error))
    sites += numbers
    listed = ", ".join(dict.fromkeys(f"{x.line} ({x.kind})" for x in sites if not session.passes(x)))
    return result("PASS", f"gradients stop at {listed}, as claimed" if listed else "no gradient is stopped anywhere")


def _cutting(session: Session, site: CutSite) -> Callable[[CutSite], bool]:
    return lambda other: session.passes(other) and (other.line, other.kind) != (site.line, site.kind)


def _detached(
    sites: list[CutSite],
    as_claimed: float,
    tangent: Callable[[Callable[[CutSite], bool] | None], float],
    session: Session,
) -> tuple[Any, ...] | None:
    spiking = list(dict.fromkeys(call.module for call in session.tape.spikes))
    held = [site for site in sites if site.discrete]
    places = list(dict.fromkeys((call.module, call.line) for call in session.tape.spikes))
    without = [place for place in places if _resets_attached(session, place, _nearest(place[0], held, spiking))]
    if without:
        call = next(c for c in session.tape.spikes if (c.module, c.line) == without[0])
        place = CutSite(0, "detach", call.module, call.line, call.step, discrete=True, in_loss=False)
        name = call.module or "(the model itself)"
        detail = f"module {name} detaches no spike of {call.line}: its reset is attached"
        return "FAIL", f"a detached reset is claimed, but {detail}", place
    if held and abs(tangent(lambda site: session.passes(site) or site.discrete) - as_claimed) <= 1e-12:
        return "VACUOUS", "a detached reset is claimed, but attaching it makes no difference on these data", held[0]
    return None


def _nearest(module: str, held: list[CutSite], spiking: list[str]) -> list[CutSite]:
    """The sites of a module and its parts; else of the closest module around it: its spikes may be a part of it."""
    within = f"{module}." if module else ""
    own = [x for x in held if x.module == module or (x.module.startswith(within) and x.module not in spiking)]
    while not own and module:
        module = module.rpartition(".")[0]
        own = [x for x in held if x.module == module]
    return own


def _resets_attached(session: Session, place: tuple[str, str], held: list[CutSite]) -> bool:
    """Whether tangents at the spikes of a module's line reach their next inputs, and no cut of its own stops any.

    A recurrent connection carries them there too, past a detached reset; a cut of something else, such as a constant,
    stops none of them.
    """
    calls = [call for call in session.tape.spikes if (call.module, call.line) == place]
    pairs = [
        (call, following)
        for call in calls
        for following in calls
        if following.line == call.line and following.step == call.step + 1 and following.x0.shape == call.s0.shape
    ]
    if not pairs:
        return False
    injections = {call.index: torch.ones_like(call.s0, dtype=torch.float64) for call, _ in pairs}
    arrived = _arrivals(session, pairs, injections, None)
    if all(bool((x == 0).all()) for x in arrived):
        return False
    if not held:
        return True
    keys = {(site.line, site.kind) for site in held}
    opened = _arrivals(session, pairs, injections, lambda site: session.passes(site) or (site.line, site.kind) in keys)
    return all(torch.equal(x, y) for x, y in zip(arrived, opened, strict=True))


def _arrivals(
    session: Session,
    pairs: list[tuple[SpikeCall, SpikeCall]],
    injections: dict[int, Tensor],
    passes: Callable[[CutSite], bool] | None,
) -> list[Tensor]:
    session.replay({}, injections=injections, passes=passes)
    return [session.seen.get(following.index, torch.zeros(())) for _, following in pairs]
