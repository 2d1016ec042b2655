"""Two checks of what surrounds a gradient: is the run repeatable, and do gradients stop where the claim says.

**Determinism.**  Two forward passes after a reset must be equal bit for bit.  If they are not, the model keeps state
between calls, or draws random numbers; either makes every other figure a figure of one accident.

**Detach audit.**  The places where the code stops gradients (``detach``, ``.data``, ``no_grad``, a comparison used as a
number) are found by running it.  A place counts if letting the gradient pass changes the gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from bitprop.seeds import derive_seed
from bitprop.verification.claim import Claim
from bitprop.verification.replay import OpaqueSpikesError, Problem, RunError, Session, Snapshot, random_state
from bitprop.verification.replay._tape import CutSite
from bitprop.verification.result import GradientVerificationResult, Where

__all__ = ["check_determinism", "detach_audit"]


def check_determinism(
    model: nn.Module,
    inputs: Any,
    *,
    claim: Claim | None = None,
    reset_state: Callable[[nn.Module], object] | None = None,
) -> GradientVerificationResult:
    """Run the model twice and compare every output bit for bit.

    Args:
        model: the module under test; its state is put back.
        inputs: as for the replay.
        claim: ``stochastic`` says that random draws are meant; the two runs then draw the same numbers.
        reset_state: called with the model before each run.

    Returns:
        ``FAIL``: state is left over.  ``ILL_POSED``: random numbers are drawn, and nobody said so.  Else ``PASS``.

    Raises:
        DataError: inputs are not finite.
        RunError: the model raised.

    Example:
        >>> check_determinism(nn.Linear(2, 1), torch.ones(3, 2)).status
        'PASS'
        >>> check_determinism(nn.Dropout(), torch.ones(64)).status
        'ILL_POSED'
    """
    chosen = claim or Claim()
    problem = Problem(model, inputs, None, lambda outputs: outputs, reset_state)
    snapshot = Snapshot(model)
    try:
        with random_state() as rewind, torch.no_grad():
            first = _tensors(problem)
            if chosen.stochastic:
                rewind()
            second = _tensors(problem)
            free = _compare(first, second)
            snapshot.restore()
            rewind()
            third = _tensors(problem)
            snapshot.restore()
            rewind()
            repeated = _compare(third, _tensors(problem))
    finally:
        snapshot.restore()
    status: Any = "PASS"
    detail = f"{len(first)} outputs are equal bit for bit in two runs"
    if free is not None:
        if repeated is not None:
            status = "FAIL"
            detail = f"{free}, even from the same state and random numbers: something outside the model changes"
        elif _is_random(problem, snapshot):
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


def _tensors(problem: Problem) -> list[Tensor]:
    try:
        outputs = problem.outputs(problem.inputs)
    except Exception as error:
        raise RunError(f"the forward pass raised {type(error).__name__}: {error}") from error
    return [x.detach().clone() for x in pytree.tree_leaves(outputs) if isinstance(x, Tensor)]


def _compare(first: list[Tensor], second: list[Tensor]) -> str | None:
    if len(first) != len(second):
        return f"two runs gave {len(first)} and {len(second)} outputs"
    for k, (a, b) in enumerate(zip(first, second, strict=True)):
        if a.shape != b.shape or not torch.equal(torch.nan_to_num(a), torch.nan_to_num(b)):
            off = "shapes" if a.shape != b.shape else f"{int((a != b).sum())} of {a.numel()} values"
            return f"output {k} differs between two runs in {off}"
    return None


def _is_random(problem: Problem, snapshot: Snapshot) -> bool:
    """Whether two runs from one state differ unless the random numbers are the same."""
    with random_state(), torch.no_grad():
        snapshot.restore()
        first = _tensors(problem)
        snapshot.restore()
        return _compare(first, _tensors(problem)) is not None


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
    sites = [site for site in session.tape.cuts if not site.in_loss and not site.straight_through]
    describe = {"attached": "the reset is attached", "detached": "the reset is detached"}
    said = describe.get(claim.reset, "the reset is as coded")
    stops = f"stop at {', '.join(claim.cuts)}" if claim.cuts else "stop nowhere else"
    generator = torch.Generator().manual_seed(derive_seed(seed, "detach_audit"))
    chosen = {
        name: torch.randn(g.shape, generator=generator, dtype=torch.float64) / (_scale(g) or 1.0)
        for name, g in session.gradients.items()
    }
    unit = max(math.sqrt(len(chosen)), 1.0)

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
    except (OpaqueSpikesError, RunError) as error:
        return result("SKIPPED", str(error))
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
    without = [m for m in spiking if not any(site.module == m for site in held) and _passes_reset(session, m)]
    if without:
        call = next(c for c in session.tape.spikes if c.module == without[0])
        place = CutSite(0, "detach", call.module, call.line, call.step, discrete=True, in_loss=False)
        name = without[0] or "(the model itself)"
        return "FAIL", f"a detached reset is claimed, but module {name} detaches no spike: its reset is attached", place
    if held and abs(tangent(lambda site: session.passes(site) or site.discrete) - as_claimed) <= 1e-12:
        return "VACUOUS", "a detached reset is claimed, but attaching it makes no difference on these data", held[0]
    return None


def _passes_reset(session: Session, module: str) -> bool:
    """Whether a tangent at a module's spikes reaches the next input of the same spike function."""
    calls = [call for call in session.tape.spikes if call.module == module]
    for call in calls:
        following = [x for x in calls if x.line == call.line and x.step == call.step + 1]
        if following and following[0].x0.shape == call.s0.shape:
            session.replay({}, injections={call.index: torch.ones_like(call.s0, dtype=torch.float64)})
            arrived = session.seen.get(following[0].index)
            if arrived is not None and bool((arrived != 0).any()):
                return True
    return False


def _scale(gradient: Tensor) -> float:
    return float(gradient.double().norm()) / math.sqrt(gradient.numel())
