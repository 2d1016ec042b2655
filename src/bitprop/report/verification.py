"""The page of a verification: every check with its numbers, the figures behind them, nothing fetched, no script."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from bitprop import __version__
from bitprop.artifacts import EVIDENCE_LOCAL_PARITY, write_text
from bitprop.report.chart_verification import Series, curves, heat_map, short
from bitprop.report.page import EVIDENCE_LINE, page_environment, page_style
from bitprop.verification.result import GradientVerificationResult
from bitprop.verification.verification_report import VerificationReport

__all__ = ["render_verification", "write_verification_page"]

_BADGES = {"PASS": "pass", "FAIL": "fail", "VACUOUS": "none", "ILL_POSED": "none", "SKIPPED": "none"}
_HEADLINES = {
    "PASS": "Every claim holds",
    "FAIL": "A claim does not hold",
    "VACUOUS": "Nothing was tested",
    "ILL_POSED": "There is no truth to compare with",
    "SKIPPED": "Not carried out",
}


def render_verification(report: VerificationReport) -> str:
    """The page as HTML; equal reports give equal text.

    Args:
        report: of :func:`bitprop.verification.suite.verify` or of a suite.
    """
    named: dict[str, GradientVerificationResult] = {}
    for result in report.results:
        named.setdefault(result.name, result)
    figures = [figure for figure in _figures(report, named) if figure is not None]
    return (
        page_environment()
        .get_template("verification.html.j2")
        .render(
            style=page_style(),
            version=__version__,
            report=report,
            badges=_BADGES,
            headline=_HEADLINES[report.status],
            figures=figures,
            rows=[_row(result) for result in report.results],
            claim={key: _words(value) for key, value in report.claim.items() if value not in (None, [], (), False)},
            evidence=EVIDENCE_LOCAL_PARITY,
            evidence_line=EVIDENCE_LINE,
        )
    )


def write_verification_page(report: VerificationReport, path: str | os.PathLike[str]) -> Path:
    """Write :func:`render_verification` atomically.

    Raises:
        ArtifactError: the file cannot be written.
    """
    return write_text(path, render_verification(report))


def _words(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_words(item) for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_words(item)}" for key, item in value.items() if item is not None)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return short(value) if math.isfinite(value) else str(value)


def _row(result: GradientVerificationResult) -> dict[str, Any]:
    return {
        "result": result,
        "statistic": _number(result.statistic),
        "tolerance": _number(result.tolerance),
        "detectable": _number(result.smallest_detectable),
        "coverage": ", ".join(f"{100 * share:.0f}% of {name}" for name, share in result.coverage.items()),
        "where": str(result.where) if result.status == "FAIL" else "",
    }


def _finite(values: Any) -> list[float]:
    return [float(value) if isinstance(value, int | float) else math.nan for value in values or ()]


def _figures(
    report: VerificationReport, named: Mapping[str, GradientVerificationResult]
) -> list[dict[str, Any] | None]:
    return [
        _replay(named.get("tangent_replay")),
        *(_surrogate(result) for result in report.results if result.name == "surrogate_audit"),
        _taylor(named.get("smooth_taylor")),
        _heat(named.get("gradient_stability")),
        _loss(report.convergence),
        _comparison(report.comparison),
    ]


def _figure(name: str, sentence: str, picture: Markup) -> dict[str, Any]:
    return {"name": name, "sentence": sentence, "picture": picture}


def _replay(result: GradientVerificationResult | None) -> dict[str, Any] | None:
    rows: Sequence[Mapping[str, Any]] = result.data.get("tensors", ()) if result is not None else ()
    if not rows:
        return None
    claimed, computed = _finite(row["claimed"] for row in rows), _finite(row["computed"] for row in rows)
    ends = [value for value in (*claimed, *computed) if math.isfinite(value)] or [0.0]
    line = Series("equal", [min(ends), max(ends)], [min(ends), max(ends)], "dashes")
    dots = Series("directional derivatives", claimed, computed, "dots", labels=[str(row["name"]) for row in rows])
    return _figure(
        "Computed against claimed",
        "Each mark is a directional derivative: what backward() gave, against the replay of the claim. On the line "
        "they are equal.",
        curves([dots, line], "Computed against claimed derivatives", "claimed", "computed"),
    )


def _surrogate(result: GradientVerificationResult) -> dict[str, Any] | None:
    data = result.data
    x = _finite(data.get("x"))
    if not x or not data.get("computed"):
        return None
    keep = [i for i, value in enumerate(x) if abs(value) <= 2.0] or list(range(len(x)))
    keep = keep[:: max(1, len(keep) // 400)]
    series = [
        Series("backward()", [x[i] for i in keep], [_finite(data["computed"])[i] for i in keep]),
        Series("claimed", [x[i] for i in keep], [_finite(data["claimed"])[i] for i in keep], "dashes"),
    ]
    primal = _finite(data.get("primal"))
    if primal:
        lowest, highest = min(primal), max(primal)
        span = (highest - lowest) or 1.0
        cdf = [(primal[i] - lowest) / span for i in keep]
        series.append(Series("its cumulative function, 0 to 1", [x[i] for i in keep], cdf))
    return _figure(
        "Surrogate",
        f"{result.claim}. The slope that backward() has, the claimed one, and the function whose slope it is.",
        curves(series, "Surrogate slope against its claim", "membrane potential less threshold", "slope"),
    )


def _taylor(result: GradientVerificationResult | None) -> dict[str, Any] | None:
    if result is None or not result.data.get("steps"):
        return None
    steps, remainders = _finite(result.data["steps"]), _finite(result.data["remainders"])
    first = next((i for i, value in enumerate(remainders) if value > 0), None)
    if first is None:
        return None
    guide = [remainders[first] * (h / steps[first]) ** 2 for h in steps]
    floor = min(value for value in remainders if value > 0)
    shown = [(h, g) for h, g in zip(steps, guide, strict=True) if g >= floor / 10]
    return _figure(
        "Taylor remainders of the smooth network",
        f"The remainder after the first-order term falls with slope {_number(result.data.get('slope'))}; 2 is right. "
        "Where it bends, rounding begins.",
        curves(
            [
                Series("remainder", steps, remainders, "dots"),
                Series("slope 2", [h for h, _ in shown], [g for _, g in shown], "dashes"),
            ],
            "Taylor remainders against step",
            "step",
            "remainder",
            log_x=True,
            log_y=True,
        ),
    )


def _heat(result: GradientVerificationResult | None) -> dict[str, Any] | None:
    if result is None or not result.data.get("layers"):
        return None
    pairs = list(zip(result.data["layers"], result.data["norms"], strict=True))
    longer = [(name, row) for name, row in pairs if len(row) > 1]
    layers, norms = zip(*(longer or pairs), strict=True)
    return _figure(
        "Gradient by layer and time step",
        "The norm of the gradient that arrives at each module's output, on a logarithmic scale; darker is larger.",
        heat_map([str(name) for name in layers], [_finite(row) for row in norms], "Gradient norms", "time step"),
    )


def _loss(convergence: Any) -> dict[str, Any] | None:
    data = getattr(convergence, "data", None) or {}
    losses = [_finite(run) for run in data.get("losses", ())]
    if not losses or not losses[0]:
        return None
    epochs = list(range(1, min(len(run) for run in losses) + 1))
    mean = [math.fsum(run[e - 1] for run in losses) / len(losses) for e in epochs]
    low = [min(run[e - 1] for run in losses) for e in epochs]
    high = [max(run[e - 1] for run in losses) for e in epochs]
    seeds = f"{len(losses)} seeds" if len(losses) > 1 else "one seed"
    return _figure(
        "Loss",
        f"Mean over {seeds}; the band reaches from the lowest to the highest.",
        curves([Series("mean loss", epochs, mean, low=low, high=high)], "Loss by epoch", "epoch", "loss"),
    )


def _comparison(comparison: Any) -> dict[str, Any] | None:
    data = getattr(comparison, "data", None) or {}
    rows = [row for row in data.get("rows", ()) if row.get("synaptic_operations") and row.get("accuracy") is not None]
    if not rows:
        return None
    series = [
        Series(str(row["name"]), [float(row["synaptic_operations"])], [100 * float(row["accuracy"])], "dots")
        for row in rows
    ]
    return _figure(
        "Accuracy against synaptic operations",
        "Operations for one inference: spikes times fan-out; multiplications of analogue inputs are counted as such.",
        curves(series, "Accuracy against operations", "operations per inference", "accuracy, %", log_x=True),
    )
