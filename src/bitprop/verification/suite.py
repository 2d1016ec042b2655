"""One call for the whole battery, for spiking modules, stochastic-computing layers and gradient estimators alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bitprop._checks import check_choice, check_integer, shortened
from bitprop.artifacts import sha256_bytes
from bitprop.errors import ShapeError
from bitprop.nn.linear import SCLinear
from bitprop.nn.network import SCNetwork
from bitprop.training.sc_estimators import AbstractEstimator
from bitprop.training.spiking import SpikingTrainConfig
from bitprop.verification.claim import Claim
from bitprop.verification.comparison import ComparativeBenchmark
from bitprop.verification.convergence import ConvergenceAnalyzer
from bitprop.verification.gradients import GradientVerifier
from bitprop.verification.jvp_vjp import check_jvp_vjp
from bitprop.verification.own_neurons import check_own_neurons
from bitprop.verification.paths import check_determinism, detach_audit
from bitprop.verification.replay import (
    Problem,
    RunError,
    Session,
    check_data,
    replay_result,
    replay_session,
    with_gradients,
)
from bitprop.verification.replay._tape import SpikeCall
from bitprop.verification.result import GradientVerificationResult
from bitprop.verification.smooth import check_smooth_taylor
from bitprop.verification.stability import NumericalStabilityTester
from bitprop.verification.stochastic import verify_estimator, verify_sc
from bitprop.verification.surrogate_audit import check_surrogate, identify_surrogate
from bitprop.verification.verification_report import VerificationReport, model_digest

__all__ = ["SUITES", "BackpropagationVerificationSuite", "verify"]

Suite = Literal["quick", "full"]
SUITES: tuple[Suite, ...] = ("quick", "full")
ResetState = Callable[[nn.Module], object]
Say = Callable[[str], None]


def _quiet(_message: str) -> None:
    return


@with_gradients
def verify(
    subject: nn.Module | AbstractEstimator,
    inputs: Any = None,
    targets: Any = None,
    loss_fn: Callable[..., Tensor] | None = None,
    *,
    claim: Claim | None = None,
    suite: Suite = "quick",
    seed: int = 0,
    reset_state: ResetState | None = None,
    say: Say = _quiet,
) -> VerificationReport:
    """Verify the gradient of anything this package knows, or of any PyTorch module.

    ``quick`` runs determinism, the audit of every spike function, the tangent replay and the detach audit.  ``full``
    adds a direction for every tensor alone, the smooth network, forward mode against reverse mode of every spike
    function, the model's own precision, the adjoint and the kernels of this package's neurons, and gradient stability.

    Args:
        subject: a module, or a gradient estimator.
        inputs: a tensor, or a tuple or dictionary of the module's arguments; of an estimator, logits ``[N]`` or
            ``None``.
        targets: second argument of the loss; ``None``: the loss takes the outputs alone.
        loss_fn: ``loss_fn(outputs, targets)``, one number; of an estimator, patterns to values.
        claim: what is claimed; default: slopes and resets as coded, backpropagation through time whole.
        suite: ``quick`` or ``full``.
        seed: of all random directions and draws, 0 .. 2**63 - 1.
        reset_state: called with the module before every run, for modules that keep state.
        say: told which check begins.

    Raises:
        DataError: inputs or targets are not finite.
        ShapeError: the subject is neither, there is no loss, or the loss is not one number.
        RunError: the module or the loss raised.
        RangeError: an argument out of range.

    Example:
        >>> from bitprop.nn.spiking import SpikingNetwork
        >>> net = SpikingNetwork((4, 8, 3), seed=0)
        >>> x = torch.rand(6, 5, 4, generator=torch.Generator().manual_seed(0)) * 3
        >>> verify(net, x, torch.tensor([0, 1, 2, 0, 1]), lambda out, y: nn.functional.cross_entropy(out.logits, y),
        ...        claim=Claim(surrogate="fast_sigmoid", reset="attached")).status
        'PASS'
    """
    check_choice("suite", suite, SUITES)
    check_integer("seed", seed, 0, 2**63 - 1)
    start = time.perf_counter()
    chosen = claim or Claim()
    name = type(subject).__name__
    if isinstance(subject, AbstractEstimator):
        results = verify_estimator(subject, loss=loss_fn, logits=inputs, seed=seed)
        hashes = {"configuration": sha256_bytes(repr((subject.to_dict(), suite, seed)).encode())}
        return _report(name, chosen, results, start, hashes)
    if not isinstance(subject, nn.Module):
        raise ShapeError(f"expected a torch.nn.Module or a gradient estimator, got {name}")
    if loss_fn is None:
        raise ShapeError("expected a loss function of (outputs, targets), got none; give loss_fn")
    Problem(subject, inputs, targets, loss_fn, reset_state)  # refuses what no check can be run on
    hashes = {
        "model": model_digest(subject),
        "configuration": sha256_bytes(repr((chosen.to_dict(), suite, seed)).encode()),
    }
    if isinstance(subject, SCLinear | SCNetwork):
        results = verify_sc(subject, inputs, targets, loss_fn, seed=seed)
        return _report(name, chosen, results, start, hashes)
    results, stability = _spiking(subject, inputs, targets, loss_fn, chosen, suite, seed, reset_state, say)
    return _report(name, chosen, results, start, hashes, stability)


def _report(
    subject: str,
    claim: Claim,
    results: Iterable[GradientVerificationResult],
    start: float,
    hashes: Mapping[str, str],
    stability: Mapping[str, Any] | None = None,
) -> VerificationReport:
    return VerificationReport(
        subject=subject,
        claim=claim.to_dict(),
        results=tuple(results),
        stability=stability or {},
        hashes=hashes,
        seconds=time.perf_counter() - start,
    )


def _timed(
    results: list[GradientVerificationResult], say: Say, what: str, check: Callable[[], GradientVerificationResult]
) -> GradientVerificationResult:
    say(what)
    begin = time.perf_counter()
    result = replace(check(), seconds=time.perf_counter() - begin)
    results.append(result)
    return result


def _spiking(
    model: nn.Module,
    inputs: Any,
    targets: Any,
    loss_fn: Callable[..., Tensor],
    claim: Claim,
    suite: Suite,
    seed: int,
    reset_state: ResetState | None,
    say: Say,
) -> tuple[list[GradientVerificationResult], dict[str, Any]]:
    results: list[GradientVerificationResult] = []
    stability: dict[str, Any] = {}
    full = suite == "full"

    def run(session: Session) -> None:
        if not (session.tape.spikes or session.tape.cuts or session.tape.custom):
            return
        for call in _distinct(session.tape.spikes):
            _timed(results, say, "surrogate audit", lambda call=call: _audit(session, call, seed))  # type: ignore[misc]
        _timed(
            results,
            say,
            "tangent replay",
            lambda: replay_result(session, seed=seed, directions=2 if full else None, per_tensor=full),
        )
        _timed(results, say, "detach audit", lambda: detach_audit(session, seed=seed))
        if full:
            _timed(results, say, "smooth network", lambda: check_smooth_taylor(session, seed=seed))
            for call in _distinct(call for call in session.tape.spikes if call.coded is not None and call.coded.any()):
                _timed(results, say, "forward mode", lambda call=call: _modes(call, seed))  # type: ignore[misc]

    _timed(
        results,
        say,
        "determinism",
        lambda: check_determinism(model, inputs, targets, loss_fn, claim=claim, reset_state=reset_state),
    )
    narrow = any(p.is_floating_point() and p.dtype != torch.float64 for p in model.parameters())
    try:
        with _session(model, inputs, targets, loss_fn, claim, "float64", reset_state) as session:
            run(session)
    except RunError:
        if not narrow:
            raise
        # what cannot be held in float64 is verified in its own precision
        with _session(model, inputs, targets, loss_fn, claim, "native", reset_state) as session:
            run(session)
    if len(results) == 1:
        verifier = GradientVerifier(claim=claim, seed=seed)
        _timed(
            results,
            say,
            "finite differences",
            lambda: verifier.verify_finite_difference(model, inputs, targets, loss_fn, reset_state=reset_state),
        )
    elif full and narrow:
        with _session(model, inputs, targets, loss_fn, claim, "native", reset_state) as session:
            _timed(
                results,
                say,
                "own precision",
                lambda: replace(_native(session, seed), name="tangent_replay_native"),
            )
    if full:
        say("neurons of this package")
        results.extend(check_own_neurons(Problem(model, inputs, targets, loss_fn, reset_state), seed=seed))
        tester = NumericalStabilityTester(seed=seed)
        stable = _timed(
            results,
            say,
            "gradient stability",
            lambda: tester.check_gradient_stability(model, inputs, targets, loss_fn, reset_state=reset_state),
        )
        stability["gradient"] = stable.to_dict()
    return results, stability


def _session(
    model: nn.Module,
    inputs: Any,
    targets: Any,
    loss_fn: Callable[..., Tensor],
    claim: Claim,
    dtype: str,
    reset_state: ResetState | None,
) -> Any:
    return replay_session(model, inputs, targets, loss_fn, claim=claim, dtype=dtype, reset_state=reset_state)


def _distinct(calls: Iterable[SpikeCall]) -> list[SpikeCall]:
    """One call of each spike function in each module class of use: function, place and constants."""
    found: dict[tuple[Any, ...], SpikeCall] = {}
    for call in calls:
        constants = tuple(repr(x) for x in call.arguments if not isinstance(x, Tensor))
        found.setdefault((call.function, call.place, *constants), call)
    return list(found.values())


def _native(session: Session, seed: int) -> GradientVerificationResult:
    """The replay in the model's own precision; of half precision nothing can be said."""
    half = (torch.float16, torch.bfloat16)
    spikes = [call.x0.dtype for call in session.tape.spikes] + [g.dtype for g in session.gradients.values()]
    found = next((dtype for dtype in spikes if dtype in half), None)
    if found is None:
        return replay_result(session, seed=seed)
    return GradientVerificationResult(
        name="tangent_replay",
        claim="backward() is the surrogate gradient in the model's own precision",
        status="SKIPPED",
        detail=f"it computes in {str(found).removeprefix('torch.')}, whose rounding hides every error but large ones",
        seed=seed,
    )


def _modes(call: SpikeCall, seed: int) -> GradientVerificationResult:
    """Forward mode against reverse mode of one spike function, at the inputs that it had."""
    try:
        return check_jvp_vjp(call.at, call.x0, seed=seed, name=call.function)
    except (
        RuntimeError,
        NotImplementedError,
        TypeError,
        ValueError,
    ) as error:  # made for reverse mode
        return GradientVerificationResult(
            name="jvp_vjp",
            claim=f"{call.function}: forward mode and reverse mode agree",
            status="SKIPPED",
            detail=f"it does not run in forward mode: {str(error).splitlines()[0] if str(error) else error!r}",
            seed=seed,
        )


def _audit(session: Session, call: SpikeCall, seed: int) -> GradientVerificationResult:
    """The audit of one spike function as it was called."""
    rest = [x for i, x in enumerate(call.arguments) if i != call.position]
    wide = [x for x in rest if isinstance(x, Tensor) and x.dim() > 0 and x.numel() > 1]
    claimed = session.claim.slope_for(call.module)
    said = session.claim.describe() if claimed is not None else "the slope is as coded"
    if wide:
        return GradientVerificationResult(
            name="surrogate_audit",
            claim=f"{call.function}: {said}",
            status="SKIPPED",
            detail="it takes another tensor per element, so there is no grid for it; the replay compares it at every "
            "recorded input",
        )
    dtype = call.x0.dtype
    if claimed is None:
        matches = identify_surrogate(call.at)
        names = ", ".join(f"{match.name} with scale {match.scale:.6g}" for match in matches)
        found = f"to rounding it is {names}" if names else "it is none of the registered surrogates"
        return GradientVerificationResult(
            name="surrogate_audit",
            claim=f"{call.function}: {said}",
            status="SKIPPED",
            detail=f"no slope is claimed; {found}",
            data={"matches": [{"name": match.name, "scale": match.scale} for match in matches]},
        )
    return check_surrogate(
        call.at,
        lambda x: claimed(x, *rest),
        primal=session.claim.primal_for(call.module),
        name=call.function,
        dtypes=(dtype,),
        keep_dtype=dtype == torch.float64 and not session.lifted,
        seed=seed,
    )


class BackpropagationVerificationSuite:
    """Every component in one run: gradients, stability, convergence, comparison, and a report.

    Args:
        claim: what is claimed of the model.
        suite: ``quick`` or ``full``.
        seed: of everything random.
        patience: epochs without improvement after which training stops.
        epochs: longest training of the convergence analysis.

    Example:
        >>> from bitprop.nn.spiking import SpikingNetwork
        >>> x = 3 * torch.rand(20, 4, generator=torch.Generator().manual_seed(0))
        >>> y = torch.arange(20) % 3
        >>> suite = BackpropagationVerificationSuite(claim=Claim(surrogate="fast_sigmoid"), epochs=2)
        >>> def loss(output, target):
        ...     return nn.functional.cross_entropy(output.logits, target)
        >>> net = SpikingNetwork((4, 8, 3), steps=6, seed=0)
        >>> report = suite.run_full_verification(net, [(x, y)], loss, torch.optim.Adam(net.parameters()))
        >>> report["tangent_replay"].status, "weight" in report["stability"]
        ('PASS', True)
    """

    def __init__(
        self,
        *,
        claim: Claim | None = None,
        suite: Suite = "full",
        seed: int = 0,
        patience: int = 5,
        epochs: int = 20,
    ) -> None:
        self._claim = claim or Claim()
        self._suite: Suite = suite
        check_choice("suite", suite, SUITES)
        self._seed = check_integer("seed", seed, 0, 2**63 - 1)
        self._patience = check_integer("patience", patience, 1, 10_000)
        self._epochs = check_integer("epochs", epochs, 1, 100_000)
        self.gradient_verifier = GradientVerifier(claim=self._claim, seed=seed)
        self.stability_tester = NumericalStabilityTester(seed=seed)
        self.convergence_analyzer = ConvergenceAnalyzer(patience=patience)
        self.comparative_benchmark = ComparativeBenchmark()

    @with_gradients
    def run_full_verification(
        self,
        model: nn.Module,
        loader: Iterable[tuple[Any, Any]],
        loss_fn: Callable[[Any, Any], Tensor],
        optimizer: torch.optim.Optimizer,
        *,
        ann_factory: Callable[[int], nn.Module] | None = None,
        snn_factory: Callable[[int], nn.Module] | None = None,
        test: tuple[Tensor, Tensor] | None = None,
        reset_state: ResetState | None = None,
        say: Say = _quiet,
    ) -> VerificationReport:
        """Verify gradients and stability on the first batch, train and analyse, and compare where factories are given.

        Args:
            model: the network; gradients are verified before it is trained, **in place**, by ``optimizer``.
            loader: batches ``(inputs, targets)``, a list or a loader that can be iterated again and again.
            loss_fn: ``loss_fn(outputs, targets)``.
            optimizer: of the model's parameters.
            ann_factory: seed to a conventional network with as many parameters, for the comparison.
            snn_factory: seed to a fresh spiking network, for the comparison and for convergence over five seeds.
            test: held-out samples and labels, for the comparison.
            reset_state: called with the model before every run, for models that keep state.
            say: told which part begins.

        Returns:
            A report, which is a mapping too: ``report["tangent_replay"]``, ``report["stability"]["weight"]``,
            ``report["convergence"]``, ``report["comparison"]``.

        Raises:
            RangeError: no batch, or numbers of parameters that differ.
            DataError: data that are not finite.
            ShapeError: a loss that is not one number, or one factory without the other and ``test``.
            RunError: the model or the loss raised.
        """
        start = time.perf_counter()
        batches = list(loader)
        if not batches:
            raise ShapeError("expected batches in the loader, got none")
        given = (ann_factory is not None, snn_factory is not None, test is not None)
        if any(given) and not all(given):
            raise ShapeError("expected ann_factory, snn_factory and test together for a comparison, got some of them")
        for batch in batches:
            if not isinstance(batch, tuple | list) or len(batch) != 2:
                raise ShapeError(f"expected batches (inputs, targets) in the loader, got {shortened(batch)}")
            check_data(*batch)
        inputs, targets = batches[0]
        report = verify(
            model,
            inputs,
            targets,
            loss_fn,
            claim=self._claim,
            suite=self._suite,
            seed=self._seed,
            reset_state=reset_state,
            say=say,
        )
        say("weight stability")
        weight = self.stability_tester.check_weight_stability(model, inputs, targets, loss_fn, reset_state=reset_state)
        say("convergence")
        analyzer = self.convergence_analyzer
        convergence = analyzer.analyze_convergence(model, batches, loss_fn, optimizer, epochs=self._epochs)
        comparison = None
        if snn_factory is not None:
            convergence = analyzer.analyze_seeds(
                snn_factory,
                batches,
                loss_fn,
                lambda parameters: type(optimizer)(parameters, **optimizer.defaults),
                epochs=self._epochs,
            )
        if ann_factory is not None and snn_factory is not None and test is not None:
            say("comparison")
            train = torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])
            config = SpikingTrainConfig(
                epochs=self._epochs, batch=len(targets), learning_rate=float(optimizer.param_groups[0]["lr"])
            )
            comparison = self.comparative_benchmark.benchmark_training(
                snn_factory, ann_factory, train, test, loss_fn, config=config
            )
        trained = GradientVerificationResult(
            name="convergence",
            claim="training does not diverge",
            status="FAIL" if convergence.verdict == "diverged" else "PASS",
            detail=f"{convergence.verdict}, smallest loss {convergence.final_mean:.4g}",
            seed=self._seed,
        )
        return replace(
            report,
            results=(*report.results, weight, trained),
            stability={**report.stability, "weight": weight.to_dict()},
            convergence=convergence,
            comparison=comparison,
            seconds=time.perf_counter() - start,
        )

    def generate_report(self, results: VerificationReport) -> str:
        """The report as text for a person.

        Args:
            results: of :meth:`run_full_verification`.
        """
        lines = [results.to_text()]
        if results.convergence is not None:
            history = results.convergence
            lines.append(f"convergence: {history.verdict}, smallest loss {history.final_mean:.4g}")
        if results.comparison is not None:
            compared = results.comparison
            low, high = compared.difference_interval
            lines.append(
                f"spiking less conventional accuracy: {100 * compared.difference:+.2f} points "
                f"({100 * low:+.2f} to {100 * high:+.2f}, {len(compared.seeds)} seeds)"
            )
            for row in compared.rows:
                lines.append(
                    f"  {row['name']}: {100 * row['accuracy']:.2f} %, {row['synaptic_operations']:.3g} operations, "
                    f"{row['energy_proxy_pj'] / 1000:.3g} nJ ({compared.energy})"
                )
        return "\n".join(lines)
