"""Numerical stability: do gradients stay finite, of what size are they in each layer and step, and do weights drift?"""

from __future__ import annotations

import copy
import math
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from bitprop._checks import check_integer, check_real
from bitprop.verification.replay import Problem, RunError, Snapshot, random_state, with_gradients
from bitprop.verification.result import GradientVerificationResult, Status, Where
from bitprop.verification.spectrum import hessian_extremes, output_jacobian_rank, weight_spectra

__all__ = ["NumericalStabilityTester"]

_MULTI_STEP = (3, 5)  # axes of [T, B, F] and [T, B, C, H, W]; [B, C, H, W] has four
_RANGE = 1e3  # a factor over a few steps is no explosion
_QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass
class _Trace:
    """What hooks saw of one run."""

    forward: dict[str, list[Tensor]] = field(default_factory=lambda: defaultdict(list))
    norms: dict[str, dict[int, float]] = field(default_factory=lambda: defaultdict(dict))
    broken: Where | None = None
    direction: str = ""


class NumericalStabilityTester:
    """Tests of size and finiteness.

    Args:
        growth_limit: largest growth of the gradient norm for one time step backwards, geometric mean; a recurrence
            above it explodes if it spans a factor of 1,000: 1.5 over 25 steps is a factor of 25,000.
        drift_limit: largest relative change of a weight's norm in a weight test.
        seed: of random probes.

    Raises:
        RangeError: an argument out of range.
    """

    def __init__(self, *, growth_limit: float = 1.5, drift_limit: float = 10.0, seed: int = 0) -> None:
        self._growth = check_real("growth_limit", growth_limit, 1.0, 1e6)
        self._drift = check_real("drift_limit", drift_limit, 1e-6, 1e12)
        self._seed = check_integer("seed", seed, 0, 2**63 - 1)

    @with_gradients
    def check_gradient_stability(
        self,
        model: nn.Module,
        inputs: Any,
        targets: Any,
        loss_fn: Callable[..., Tensor],
        *,
        reset_state: Callable[[nn.Module], object] | None = None,
    ) -> GradientVerificationResult:
        """Sizes of the gradient that arrives at each module's output, by time step, and of each parameter.

        A module called T times has T steps; one called once with ``[T, B, F]`` or ``[T, B, C, H, W]`` has those of its
        first axis.

        Args:
            model: any module; left as it was.
            inputs: as for the replay.
            targets: second argument of the loss.
            loss_fn: one number.
            reset_state: called with the model before the run.

        Returns:
            ``FAIL`` if anything is not finite (with module, time step and direction) or the norm grows by more than
            ``growth_limit`` a step; ``VACUOUS`` for a zero gradient.  ``data``: ``layers``, ``norms`` (layer, step),
            ``quantiles`` and ``growth`` by layer, ``activity`` (dead and saturated shares), ``weights`` (singular
            values), ``output_rank``, ``hessian`` (of the surrogate gradient), ``parameters`` (gradient norms).

        Raises:
            DataError: inputs or targets are not finite.
            ShapeError: the loss is not one number.
            RunError: the model or the loss raised.

        Example:
            >>> model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
            >>> tester = NumericalStabilityTester()
            >>> tester.check_gradient_stability(model, torch.ones(2, 3), torch.zeros(2, 1), nn.MSELoss()).status
            'PASS'
        """
        start = time.perf_counter()
        problem = Problem(model, inputs, targets, loss_fn, reset_state)
        snapshot = Snapshot(model)
        trace = _Trace()
        data: dict[str, Any] = {}
        try:
            with random_state():
                loss, grads = self._run(problem, trace, data)
        finally:
            snapshot.restore()
        layers = [name for name in trace.forward if trace.norms.get(name)]
        norms = [[trace.norms[name][k] for k in sorted(trace.norms[name])] for name in layers]
        growth = {name: _growth(row) for name, row in zip(layers, norms, strict=True)}
        data |= {
            "layers": layers,
            "norms": norms,
            "growth": growth,
            "quantiles": {name: _quantiles(row) for name, row in zip(layers, norms, strict=True)},
            "activity": _activity(trace),
            "weights": [spectrum.to_dict() for spectrum in weight_spectra(model)],
            "parameters": {name: float(g.norm()) for name, g in grads.items()},
        }
        worst = max(growth.values(), default=0.0)
        exploding = [
            name
            for name, row in zip(layers, norms, strict=True)
            if growth[name] > self._growth and max(row) > _RANGE * min((v for v in row if v > 0.0), default=math.inf)
        ]
        status, detail, where = self._judge(trace, loss, grads, growth, exploding)
        return GradientVerificationResult(
            name="gradient_stability",
            claim=f"gradients are finite and grow by at most {self._growth:g} a time step",
            status=status,
            detail=detail,
            statistic=worst,
            tolerance=self._growth,
            tolerance_reason="a geometric mean above it takes the gradient out of range over many steps",
            where=where,
            evaluations=1,
            seed=self._seed,
            dtype=", ".join(sorted({str(g.dtype).removeprefix("torch.") for g in grads.values()})),
            data=data,
            seconds=time.perf_counter() - start,
        )

    def _run(self, problem: Problem, trace: _Trace, data: dict[str, Any]) -> tuple[float, dict[str, Tensor]]:
        handles = [
            module.register_forward_hook(_watch(name or "(model)", trace))
            for name, module in problem.model.named_modules()
            if name or not list(module.children())
        ]
        parameters = problem.parameters()
        try:
            for parameter in parameters.values():
                parameter.grad = None
            try:
                outputs = problem.outputs(problem.inputs)
                loss = problem.loss_of(outputs, problem.targets)
                grads: dict[str, Tensor] = {}
                if loss.requires_grad:
                    leaves = list(parameters.values())
                    found = torch.autograd.grad(loss, leaves, retain_graph=True, allow_unused=True)
                    grads = {
                        name: torch.zeros_like(p) if g is None else g.detach()
                        for (name, p), g in zip(parameters.items(), found, strict=True)
                    }
            except RuntimeError as error:
                raise RunError(f"the model or the loss raised {type(error).__name__}: {error}") from error
            finite = math.isfinite(float(loss.detach())) and all(bool(torch.isfinite(g).all()) for g in grads.values())
            if loss.requires_grad and leaves and finite:
                traces = [x for x in pytree.tree_leaves(outputs) if isinstance(x, Tensor) and x.requires_grad]
                if traces:
                    data["output_rank"] = output_jacobian_rank(traces[0], leaves, seed=self._seed)
                try:
                    extremes = hessian_extremes(loss, leaves, steps=12, seed=self._seed)
                    data["hessian"] = {
                        "smallest": extremes.smallest,
                        "largest": extremes.largest,
                        "residual": extremes.residual,
                        "of": extremes.of,
                    }
                except (RuntimeError, ValueError) as error:
                    # a custom function need not have a second derivative
                    data["hessian"] = {"unavailable": str(error).splitlines()[0]}
            return float(loss.detach()), grads
        finally:
            for handle in handles:
                handle.remove()

    def _judge(
        self,
        trace: _Trace,
        loss: float,
        grads: dict[str, Tensor],
        growth: dict[str, float],
        exploding: list[str],
    ) -> tuple[Status, str, Where]:
        if trace.broken is not None:
            step = f" at time step {trace.broken.step}" if trace.broken.step is not None else ""
            return "FAIL", f"{trace.direction} of {trace.broken.module} is not finite{step}", trace.broken
        if not math.isfinite(loss):
            return "FAIL", f"the loss is {loss}, although every module's output is finite", Where()
        bad = next((name for name, g in grads.items() if not bool(torch.isfinite(g).all())), None)
        if bad is not None:
            return "FAIL", f"the gradient of {bad} is not finite, although what arrives at every module is", Where(bad)
        if not grads or not any(bool(g.any()) for g in grads.values()):
            return "VACUOUS", "every gradient is zero" if grads else "no parameter gets a gradient", Where()
        fastest = max(exploding, key=lambda name: growth[name], default=None)
        if fastest is not None:
            detail = f"the gradient at {fastest} grows by {growth[fastest]:.3g} for each time step backwards"
            return "FAIL", detail, Where(module=fastest)
        sizes = [float(g.norm()) for g in grads.values()]
        return "PASS", f"finite everywhere; parameter gradients from {min(sizes):.2g} to {max(sizes):.2g}", Where()

    @with_gradients
    def check_weight_stability(
        self,
        model: nn.Module,
        inputs: Any,
        targets: Any,
        loss_fn: Callable[..., Tensor],
        *,
        optimizer_factory: Callable[[list[nn.Parameter]], torch.optim.Optimizer] | None = None,
        steps: int = 20,
        reset_state: Callable[[nn.Module], object] | None = None,
    ) -> GradientVerificationResult:
        """Norms and conditioning of the weights over some steps of an optimiser, on a copy of the model.

        Args:
            model: any module that can be copied; it is not touched.
            inputs: as for the replay.
            targets: second argument of the loss.
            loss_fn: one number.
            optimizer_factory: of a list of parameters; default: Adam with 1e-3.
            steps: 1 .. 100,000.
            reset_state: called with the model before each step.

        Returns:
            ``FAIL`` if a weight or the loss stops being finite (with the step), or a weight's norm changes by more than
            ``drift_limit`` times itself; ``VACUOUS`` if no weight moves.  ``data``: ``losses``, ``drift``,
            ``weights_before``, ``weights_after``.

        Raises:
            DataError: inputs or targets are not finite.
            RunError: the model or the loss raised.
        """
        start = time.perf_counter()
        count = check_integer("steps", steps, 1, 100_000)
        twin = copy.deepcopy(model)
        problem = Problem(twin, inputs, targets, loss_fn, reset_state)
        parameters = problem.parameters()
        make = optimizer_factory or (lambda p: torch.optim.Adam(p, lr=1e-3))
        before = {name: p.detach().clone() for name, p in parameters.items()}
        spectra = [spectrum.to_dict() for spectrum in weight_spectra(twin)]
        losses: list[float] = []
        where, broken = Where(), ""
        with random_state():
            optimizer = make(list(parameters.values())) if parameters else None
            for step in range(count if optimizer is not None else 0):
                assert optimizer is not None  # noqa: S101 - the loop is empty without
                try:
                    loss = problem.loss_of(problem.outputs(problem.inputs), problem.targets)
                    optimizer.zero_grad(set_to_none=True)
                    if loss.requires_grad:
                        loss.backward()  # type: ignore[no-untyped-call]
                except RuntimeError as error:
                    raise RunError(f"the model or the loss raised {type(error).__name__}: {error}") from error
                optimizer.step()
                losses.append(float(loss.detach()))
                bad = next((n for n, p in parameters.items() if not bool(torch.isfinite(p).all())), None)
                if bad is not None or not math.isfinite(losses[-1]):
                    where, broken = Where(tensor=bad, step=step), bad or "the loss"
                    break
        drift = {
            name: float((p.detach() - before[name]).norm()) / max(float(before[name].norm()), 1e-12)
            for name, p in parameters.items()
        }
        worst = max(drift.values(), default=0.0)
        status: Status = "PASS"
        if broken:
            status, detail = "FAIL", f"{broken} is not finite after step {where.step} of {count}"
        elif not worst > 0.0:
            status, detail = "VACUOUS", "no weight moved"
        elif worst > self._drift:
            name = max(drift, key=lambda n: drift[n])
            status, where = "FAIL", Where(tensor=name)
            detail = f"{name} moved by {worst:.3g} times its norm in {len(losses)} steps"
        else:
            detail = f"weights moved by at most {worst:.2g} of their norm in {len(losses)} steps"
        return GradientVerificationResult(
            name="weight_stability",
            claim=f"weights stay finite and move by at most {self._drift:g} times their norm in {count} steps",
            status=status,
            detail=detail,
            statistic=worst if math.isfinite(worst) else None,
            tolerance=self._drift,
            tolerance_reason="a weight that leaves its size behind has left what was trained",
            where=where,
            evaluations=len(losses),
            seed=self._seed,
            data={
                "losses": losses,
                "drift": drift,
                "weights_before": spectra,
                "weights_after": [spectrum.to_dict() for spectrum in weight_spectra(twin)],
            },
            seconds=time.perf_counter() - start,
        )


def _watch(name: str, trace: _Trace) -> Callable[..., None]:
    def hook(_module: nn.Module, _inputs: Any, outputs: Any) -> None:
        tensors = [x for x in pytree.tree_leaves(outputs) if isinstance(x, Tensor) and x.is_floating_point()]
        if not tensors:
            return
        output = tensors[0]
        if output.dim() == 0:
            return  # a constant
        call = len(trace.forward[name])
        trace.forward[name].append(output.detach())
        if trace.broken is None and not bool(torch.isfinite(output).all()):
            trace.broken, trace.direction = Where(module=name, step=_step_of(output, call)), "the output"
        if output.requires_grad:
            output.register_hook(lambda grad: _arrived(name, call, grad, trace))  # type: ignore[no-untyped-call]

    return hook


def _step_of(x: Tensor, call: int) -> int:
    """The call, or, for the first call of a multi-step module, the first step that is not finite."""
    if call == 0 and x.dim() in _MULTI_STEP:
        return int((~torch.isfinite(x)).flatten(1).any(1).nonzero()[0])
    return call


def _arrived(name: str, call: int, grad: Tensor, trace: _Trace) -> None:
    if trace.broken is None and not bool(torch.isfinite(grad).all()):
        where = Where(module=name, step=_step_of(grad, call))
        trace.broken, trace.direction = where, "the gradient that arrives at the output"
    many = len(trace.forward[name]) == 1 and grad.dim() in _MULTI_STEP
    rows = grad.detach().double()
    if many:
        for t, row in enumerate(rows):
            trace.norms[name][t] = float(row.norm())
    else:
        trace.norms[name][call] = float(rows.norm())


def _growth(norms: list[float]) -> float:
    """Geometric mean of the growth for one step backwards, over the steps that have a gradient."""
    positive = [(t, norm) for t, norm in enumerate(norms) if norm > 0.0 and math.isfinite(norm)]
    if len(positive) < 3:
        return 1.0
    (first, early), (last, late) = positive[0], positive[-1]
    return math.exp((math.log(early) - math.log(late)) / (last - first))


def _quantiles(norms: list[float]) -> list[float]:
    finite = torch.tensor([norm for norm in norms if math.isfinite(norm)], dtype=torch.float64)
    if not finite.numel():
        return []
    return [float(v) for v in torch.quantile(finite, torch.tensor(_QUANTILES, dtype=torch.float64))]


def _activity(trace: _Trace) -> dict[str, dict[str, float]]:
    """Shares of dead and saturated units of modules whose outputs are zeros and ones."""
    found = {}
    for name, outputs in trace.forward.items():
        same = [x for x in outputs if x.shape == outputs[0].shape]
        if not all(bool(((x == 0) | (x == 1)).all()) for x in same) or same[0].dim() < 2:
            continue
        stacked = torch.stack(same) if len(same) > 1 else same[0]
        units = stacked.flatten(0, stacked.dim() - 2)
        found[name] = {
            "dead": float((units == 0).all(0).double().mean()),
            "saturated": float((units == 1).all(0).double().mean()),
            "rate": float(units.double().mean()),
        }
    return found
