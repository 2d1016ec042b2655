"""Convergence of training: laws with an asymptote, plateaus, divergence, patience, several seeds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from scipy import special
from torch import Tensor, nn

from bitprop._checks import check_integer, check_real
from bitprop.errors import RangeError
from bitprop.seeds import derive_seed
from bitprop.verification.replay._world import arguments_of, call_loss, with_gradients
from bitprop.verification.result import plain

__all__ = ["ConvergenceAnalyzer", "ConvergenceResult", "HistoryResult", "LawFit"]

Verdict = Literal["converged", "improving", "plateau", "diverged"]
Batches = Iterable[tuple[Any, Any]]
_BOOTSTRAP = 500


@dataclass(frozen=True, slots=True)
class LawFit:
    """A law fitted to a history, epoch e from 1.

    Attributes:
        law: ``power`` ``a + b e^-c``, ``exponential`` ``a + b exp(-c (e - 1))`` or ``constant`` ``a``.
        asymptote: a.
        amplitude: b; 0 for a constant.
        rate: c; 0 for a constant.
        aic: Akaike's criterion with the small-sample correction; lower is better.
    """

    law: str
    asymptote: float
    amplitude: float
    rate: float
    aic: float


@dataclass(frozen=True, slots=True)
class HistoryResult:
    """What one history of losses says.

    Attributes:
        verdict: ``diverged`` (not finite, or above the start by a half), ``plateau`` (95 per cent of slopes
            include zero), ``converged`` (within 5 per cent of the fitted asymptote's distance), else ``improving``.
        best: the chosen law.
        fits: every law that could be fitted, best first.
        slope: Theil-Sen slope of the last half, loss for one epoch.
        slope_interval: its bootstrap interval of 95 per cent.
        best_epoch: epoch of the smallest loss, from 1.
    """

    verdict: Verdict
    best: LawFit | None
    fits: tuple[LawFit, ...]
    slope: float | None
    slope_interval: tuple[float, float] | None
    best_epoch: int


@dataclass(frozen=True, slots=True)
class ConvergenceResult:
    """What training did.

    Attributes:
        losses: mean training loss of each epoch, by seed.
        gradient_norms: mean gradient norm of each epoch, by seed.
        histories: analysis of each.
        stopped_early: whether patience ended the run, by seed.
        final_mean: mean of the smallest losses over seeds.
        final_interval: its t interval of 95 per cent; ``None`` for one seed.
        seconds: wall time; not compared.
    """

    losses: tuple[tuple[float, ...], ...]
    gradient_norms: tuple[tuple[float, ...], ...]
    histories: tuple[HistoryResult, ...]
    stopped_early: tuple[bool, ...]
    final_mean: float
    final_interval: tuple[float, float] | None
    seconds: float = field(default=0.0, compare=False)

    @property
    def verdict(self) -> Verdict:
        """The worst of all seeds."""
        order: tuple[Verdict, ...] = ("diverged", "plateau", "improving", "converged")
        return next(v for v in order if any(h.verdict == v for h in self.histories))

    @property
    def data(self) -> dict[str, Any]:
        """Series for plots."""
        return {"losses": [list(run) for run in self.losses]}

    def to_dict(self) -> dict[str, Any]:
        """Plain fields."""
        return {
            "verdict": self.verdict,
            "losses": plain(self.losses),
            "gradient_norms": plain(self.gradient_norms),
            "histories": [
                {
                    "verdict": h.verdict,
                    "law": None if h.best is None else h.best.law,
                    "asymptote": None if h.best is None else plain(h.best.asymptote),
                    "rate": None if h.best is None else plain(h.best.rate),
                    "slope": plain(h.slope),
                    "slope_interval": plain(h.slope_interval),
                    "best_epoch": h.best_epoch,
                }
                for h in self.histories
            ],
            "stopped_early": list(self.stopped_early),
            "final_mean": plain(self.final_mean),
            "final_interval": plain(self.final_interval),
            "seconds": self.seconds,
        }


class ConvergenceAnalyzer:
    """Trains, or reads the history of a training, and says what it does.

    Args:
        patience: epochs without an improvement of ``min_delta`` after which training stops.
        min_delta: smallest decrease of the loss that counts.
        seed: of the bootstrap.

    Raises:
        RangeError: an argument out of range.

    Example:
        >>> analyzer = ConvergenceAnalyzer()
        >>> analyzer.analyze_history([0.5 + 2.0 * math.exp(-0.5 * e) for e in range(30)]).verdict
        'converged'
        >>> analyzer.analyze_history([1.0, 2.0, 5.0, 20.0, 90.0]).verdict
        'diverged'
    """

    def __init__(self, *, patience: int = 5, min_delta: float = 1e-4, seed: int = 0) -> None:
        self._patience = check_integer("patience", patience, 1, 1_000_000)
        self._delta = check_real("min_delta", min_delta, 0.0, 1e12)
        self._seed = check_integer("seed", seed, 0, 2**63 - 1)

    @with_gradients
    def analyze_convergence(
        self,
        model: nn.Module,
        loader: Batches,
        loss_fn: Callable[[Any, Any], Tensor],
        optimizer: torch.optim.Optimizer,
        *,
        epochs: int = 20,
    ) -> ConvergenceResult:
        """Train in place, record loss and gradient norm, stop with patience, analyse.

        Args:
            model: trained in place.
            loader: batches ``(inputs, targets)``; iterated once an epoch.
            loss_fn: ``loss_fn(outputs, targets)``, one number.
            optimizer: of the model's parameters.
            epochs: at most, 1 .. 1,000,000.

        Raises:
            RangeError: no batch, or epochs out of range.
        """
        start = time.perf_counter()
        losses, norms, early = self._train(model, loader, loss_fn, optimizer, epochs)
        return self._result([losses], [norms], [early], start)

    @with_gradients
    def analyze_seeds(
        self,
        factory: Callable[[int], nn.Module],
        loader: Batches,
        loss_fn: Callable[[Any, Any], Tensor],
        optimizer_factory: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
        *,
        epochs: int = 20,
        seeds: Sequence[int] = (0, 1, 2, 3, 4),
    ) -> ConvergenceResult:
        """The same over several seeds, with an interval of the smallest loss.

        Args:
            factory: seed to a fresh model.
            loader: batches; iterated once an epoch of every seed.
            loss_fn: one number.
            optimizer_factory: of a list of parameters.
            epochs: at most.
            seeds: at least five, all different.

        Raises:
            RangeError: fewer than five seeds, no batch, or epochs out of range.
        """
        if len(set(seeds)) < 5:
            raise RangeError(f"expected at least five different seeds, got {tuple(seeds)}; an interval needs them")
        start = time.perf_counter()
        runs = []
        for seed in seeds:
            model = factory(seed)
            runs.append(self._train(model, loader, loss_fn, optimizer_factory(list(model.parameters())), epochs))
        return self._result([r[0] for r in runs], [r[1] for r in runs], [r[2] for r in runs], start)

    def _train(
        self,
        model: nn.Module,
        loader: Batches,
        loss_fn: Callable[[Any, Any], Tensor],
        optimizer: torch.optim.Optimizer,
        epochs: int,
    ) -> tuple[list[float], list[float], bool]:
        count = check_integer("epochs", epochs, 1, 1_000_000)
        losses: list[float] = []
        norms: list[float] = []
        best, since = math.inf, 0
        for _ in range(count):
            total, size, batches = 0.0, 0.0, 0
            for inputs, targets in loader:
                positional, named = arguments_of(inputs)
                loss = call_loss(loss_fn, model(*positional, **named), targets)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                grads = [p.grad.norm() for p in model.parameters() if p.grad is not None]
                size += float(torch.stack(grads).norm()) if grads else 0.0
                optimizer.step()
                total, batches = total + float(loss.detach()), batches + 1
            if not batches:
                raise RangeError(
                    "expected batches in the loader, got none; an iterator can be used only once, give a list"
                )
            losses.append(total / batches)
            norms.append(size / batches)
            if not math.isfinite(losses[-1]):
                break
            if losses[-1] < best - self._delta:
                best, since = losses[-1], 0
            else:
                since += 1
                if since >= self._patience:
                    return losses, norms, True
        return losses, norms, False

    def _result(
        self, losses: list[list[float]], norms: list[list[float]], early: list[bool], start: float
    ) -> ConvergenceResult:
        finals = [min((v for v in run if math.isfinite(v)), default=math.inf) for run in losses]
        mean = math.fsum(finals) / len(finals)
        interval = None
        if len(finals) > 1 and all(map(math.isfinite, finals)):
            half = (
                float(special.stdtrit(len(finals) - 1, 0.975)) * float(np.std(finals, ddof=1)) / math.sqrt(len(finals))
            )
            interval = (mean - half, mean + half)
        return ConvergenceResult(
            losses=tuple(map(tuple, losses)),
            gradient_norms=tuple(map(tuple, norms)),
            histories=tuple(self.analyze_history(run) for run in losses),
            stopped_early=tuple(early),
            final_mean=mean,
            final_interval=interval,
            seconds=time.perf_counter() - start,
        )

    def analyze_history(self, losses: Sequence[float]) -> HistoryResult:
        """Fit laws to a history and judge its end.

        Args:
            losses: at least one, of epochs 1, 2, ...

        Raises:
            RangeError: no loss at all.
        """
        if not losses:
            raise RangeError("expected at least one loss, got none")
        values = np.asarray(losses, dtype=np.float64)
        finite = bool(np.isfinite(values).all())
        best_epoch = int(np.nanargmin(np.where(np.isfinite(values), values, np.inf))) + 1
        if not finite or (len(values) > 1 and values[-1] > values[0] + 0.5 * abs(values[0])):
            return HistoryResult("diverged", None, (), None, None, best_epoch)
        fits = _fit(values)
        slope, interval = self._slope(values)
        best = fits[0] if fits else None
        verdict: Verdict = "improving"
        if best is not None and best.law != "constant":
            travelled = abs(values[0] - best.asymptote)
            if travelled > 0 and abs(values[-1] - best.asymptote) <= 0.05 * travelled:
                verdict = "converged"
        if verdict == "improving" and interval is not None and interval[0] <= 0.0 <= interval[1]:
            verdict = "plateau"
        return HistoryResult(verdict, best, tuple(fits), slope, interval, best_epoch)

    def _slope(self, values: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float | None, tuple[float, float] | None]:
        """Theil-Sen slope of the last half and its bootstrap interval."""
        tail = values[len(values) // 2 :]
        if len(tail) < 4:
            return None, None
        epochs = np.arange(len(tail), dtype=np.float64)
        i, j = np.triu_indices(len(tail), 1)

        def slope_of(x: Any, y: Any) -> float:
            steps = x[j] - x[i]
            apart = steps != 0
            return float(np.median((y[j] - y[i])[apart] / steps[apart])) if apart.any() else 0.0

        generator = np.random.default_rng(derive_seed(self._seed, "theil_sen"))
        draws = []
        for _ in range(_BOOTSTRAP):
            chosen = np.sort(generator.integers(0, len(tail), len(tail)))
            draws.append(slope_of(epochs[chosen], tail[chosen]))
        low, high = np.quantile(draws, [0.025, 0.975])
        return slope_of(epochs, tail), (float(low), float(high))


# Smallest and largest rate of a law, and how many between them are tried before the best is refined.
_RATES = np.geomspace(1e-6, 50.0, 160)


def _fit(values: np.ndarray[Any, np.dtype[np.float64]]) -> list[LawFit]:
    """Laws in order of Akaike's criterion; too short a history has only a constant.

    Once its rate is chosen a law is linear in the other two parameters, so that only the rate is searched for
    (variable projection: Golub and Pereyra, SIAM J. Numer. Anal. 10, 1973).
    """
    from scipy import optimize

    epochs = np.arange(1, len(values) + 1, dtype=np.float64)
    size = max(float(np.ptp(values)), abs(float(values[0])) * 1e-12, 1e-300)
    mean = float(values.mean())
    around = values - mean

    def aic(square: float, parameters: int) -> float:
        n, k = len(values), parameters + 1
        # below rounding of the values themselves a better fit means nothing
        error = max(square, (1e-9 * size) ** 2)
        return n * math.log(error) + 2 * k + (2 * k * (k + 1) / (n - k - 1) if n > k + 1 else math.inf)

    def projected(time: Any, rate: float) -> tuple[float, float, float]:
        """Mean square that is left, and the least-squares a and b of ``a + b exp(-rate time)``."""
        basis = np.expm1(-rate * time)  # less 1, so that a small rate loses no digits
        centre = float(basis.mean())
        basis -= centre
        b = float(basis @ around) / float(basis @ basis)
        return float(((around - b * basis) ** 2).mean()), mean - b * (1.0 + centre), b

    fits = [LawFit("constant", mean, 0.0, 0.0, aic(float((around**2).mean()), 1))]
    if len(values) >= 6:
        for law, time in (("power", np.log(epochs)), ("exponential", epochs - 1.0)):
            left = [projected(time, rate)[0] for rate in _RATES]
            near = int(np.argmin(left))
            ends = np.log(_RATES[[max(near - 1, 0), min(near + 1, len(_RATES) - 1)]])
            found = optimize.minimize_scalar(
                lambda log, time=time: projected(time, math.exp(log))[0], bounds=ends, options={"xatol": 1e-10}
            )
            rate = min((float(_RATES[near]), math.exp(found.x)), key=lambda r: projected(time, r)[0])
            square, a, b = projected(time, rate)
            fits.append(LawFit(law, a, b, rate, aic(square, 3)))
    return sorted(fits, key=lambda fit: fit.aic)
