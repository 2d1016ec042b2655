"""Probes of a peer framework: what its documentation says against what the installed release does.

A probe is a plain function that is handed the framework, needs nothing else but torch, and returns two numbers: what
the documentation says and what the release computes.  Its own source text is the reproducer: what the audit measured
and what a maintainer runs are the same lines.
"""

from __future__ import annotations

import importlib.util
import inspect
import math
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "Disagreement",
    "Measurement",
    "Probe",
    "disagreements",
    "linear_spike",
    "run_probes",
    "script",
    "worst_pair",
]


@dataclass(frozen=True, slots=True)
class Probe:
    """One statement of a framework's documentation, and how to test it.

    Attributes:
        key: short name; probes of one key are one finding, that of the largest disagreement.
        subject: dotted name inside the framework.
        kind: what a disagreement is: see ``KINDS`` of the audit.
        says: what the documentation says, quoted or closely paraphrased.
        found: what the release does instead, once the two numbers disagree.
        measure: ``(framework, *arguments)`` to (documented, computed).
        arguments: plain values, and functions that the script repeats.
        uses: further functions that ``measure`` needs.
        tolerance: largest difference of a pass, relative to the documented number where that is above one.
    """

    key: str
    subject: str
    kind: str
    says: str
    found: str
    measure: Callable[..., tuple[float, float]]
    arguments: tuple[Any, ...] = ()
    uses: tuple[Callable[..., Any], ...] = ()
    tolerance: float = 1e-6


@dataclass(frozen=True, slots=True)
class Measurement:
    """A probe that was run."""

    probe: Probe
    documented: float
    computed: float
    problem: str = ""
    """Why the probe could not be run on this release; it says nothing then."""

    @property
    def error(self) -> float:
        """Difference relative to the larger of one and the documented number; infinite if either is not finite."""
        difference = abs(self.documented - self.computed)
        return difference / max(1.0, abs(self.documented)) if math.isfinite(difference) else math.inf

    @property
    def agrees(self) -> bool:
        """Whether the release does what its documentation says."""
        return bool(self.problem) or self.error <= self.probe.tolerance


def worst_pair(documented: Tensor, computed: Tensor) -> tuple[float, float]:
    """The entries of two tensors that differ most."""
    left, right = documented.detach().flatten(), computed.detach().flatten()
    difference = (left - right).abs()
    worst = int(torch.where(difference.isfinite(), difference, math.inf).argmax())
    return float(left[worst]), float(right[worst])


def linear_spike(x: Tensor, slope: Callable[[Tensor], Tensor]) -> Tensor:
    """A step at 0 (1 at 0) whose derivative is slope(x)."""
    return (x.detach() >= 0).to(x) + slope(x.detach()) * (x - x.detach())


def run_probes(probes: Iterable[Probe], framework: Any) -> Iterator[Measurement]:
    """Run probes one after the other."""
    for probe in probes:
        try:
            documented, computed = probe.measure(framework, *probe.arguments)
        except Exception as error:  # another release may have moved what the probe uses: that is no finding
            yield Measurement(probe, math.nan, math.nan, f"{type(error).__name__}: {error}")
        else:
            yield Measurement(probe, documented, computed)


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Probes of one key that disagree.

    Attributes:
        worst: the measurement with the largest error.
        subjects: everything that it was found in, in the order of the probes.
        probes: how many of that key disagree.
    """

    worst: Measurement
    subjects: tuple[str, ...]
    probes: int


def disagreements(measurements: Iterable[Measurement]) -> list[Disagreement]:
    """What disagrees, one entry for each key, in the order of the probes."""
    groups: dict[str, list[Measurement]] = {}
    for measurement in measurements:
        if not measurement.agrees:
            groups.setdefault(measurement.probe.key, []).append(measurement)
    return [
        Disagreement(
            worst=max(group, key=lambda item: item.error),
            subjects=tuple(dict.fromkeys(item.probe.subject for item in group)),
            probes=len(group),
        )
        for group in groups.values()
    ]


def _literal(value: Any) -> str:
    if callable(value):
        return str(value.__name__)
    if isinstance(value, torch.dtype):
        return str(value)
    if isinstance(value, tuple):
        return "(" + "".join(_literal(item) + ", " for item in value).rstrip() + ")"
    return repr(value)


def _functions(values: Iterable[Any]) -> Iterator[Callable[..., Any]]:
    for value in values:
        if isinstance(value, tuple):
            yield from _functions(value)
        elif callable(value):
            yield value


_NAMES = (
    ("copy.", "import copy"),
    ("math.", "import math"),
    ("warnings.", "import warnings"),
    ("Callable", "from collections.abc import Callable"),
    ("Any", "from typing import Any"),
)


def script(probe: Probe, *, package: str, alias: str) -> str:
    """The probe as a script that needs the framework and torch only, prints both numbers, and exits 1 if they differ.

    Args:
        probe: to be written out.
        package: to be imported, such as ``sinabs``; of its submodules, those that the probe uses.
        alias: what the probe calls it.
    """
    functions = [*probe.uses, *_functions(probe.arguments), probe.measure]
    sources = [textwrap.dedent(inspect.getsource(function)).strip() for function in dict.fromkeys(functions)]
    body = re.sub(r"  # type: ignore\[[^]]*\]", "", "\n\n\n".join(sources))
    named = sorted(set(re.findall(rf"\b{alias}\.([a-z]\w*)", body)))
    used = [name for name in named if importlib.util.find_spec(f"{package}.{name}")]
    call = ", ".join([alias, *(_literal(value) for value in probe.arguments)])
    return "\n".join(
        [
            f"# {probe.subject}: {probe.says}",
            "from __future__ import annotations",
            "",
            *(line for name, line in _NAMES if name in body),
            "",
            f"import {package}" + ("" if alias == package else f" as {alias}"),
            *(f"import {package}.{module}" for module in used),
            "import torch",
            *(["from torch import Tensor"] if "Tensor" in body else []),
            "",
            "",
            body,
            "",
            "",
            f"documented, computed = {probe.measure.__name__}({call})",
            'print(f"documented {documented:.9g}")',
            'print(f"computed   {computed:.9g}")',
            f"raise SystemExit(not abs(documented - computed) <= {probe.tolerance!r} * max(1.0, abs(documented)))",
            "",
        ]
    )
