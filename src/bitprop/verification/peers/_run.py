"""Run a framework's probes without leaving a trace, and put what disagrees in words."""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import random
import textwrap
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bitprop.artifacts import write_text
from bitprop.errors import RangeError, ToolNotFoundError
from bitprop.verification.peers._probes import Measurement, Probe, disagreements, run_probes, script
from bitprop.verification.result import plain

__all__ = ["KINDS", "Finding", "PeerAudit", "run_audit", "undisturbed"]

KINDS = {
    "gradient": "the gradient is not the documented one",
    "forward": "the forward pass is not the documented one",
    "state": "state, input or parameters change where they should not",
    "dtype": "the dtype is not kept",
    "documentation": "the documentation contradicts the code or itself; the gradient is that of the code",
}
"""What a finding says is wrong, the gravest first."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A disagreement between a release and its own documentation that was just measured.

    Attributes:
        key: stable name, ``framework.subject.aspect``.
        framework: distribution name.
        version: as installed.
        kind: one of :data:`KINDS`.
        subjects: everything in the framework that it was found in.
        says: what the documentation says.
        found: what the release does.
        documented: the number that the documentation gives.
        computed: the number that the release gives; NaN where it raises.
        reproducer: a script that needs the framework and torch only, prints both numbers and exits 1.

    Raises:
        RangeError: an unknown kind.
    """

    key: str
    framework: str
    version: str
    kind: str
    subjects: tuple[str, ...]
    says: str
    found: str
    documented: float
    computed: float
    reproducer: str

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise RangeError(f"expected a kind among {', '.join(KINDS)}, got {self.kind!r}")

    def to_dict(self) -> dict[str, Any]:
        """Plain fields."""
        return {name: plain(getattr(self, name)) for name in self.__slots__}

    def to_text(self) -> str:
        """A few lines for a person."""
        return "\n".join(
            [
                f"{self.key}  ({self.framework} {self.version}, {', '.join(self.subjects)})",
                f"    {KINDS[self.kind]}",
                f"    documented: {self.says}",
                f"    found:      {self.found}",
                f"    numbers:    documented {self.documented:.6g}, computed {self.computed:.6g}",
            ]
        )


@dataclass(frozen=True, slots=True)
class PeerAudit:
    """The audit of one framework.

    Attributes:
        framework: distribution name.
        version: as installed.
        findings: what disagrees, the gravest kind first.
        probes: how many statements were tested.
        skipped: probes that could not be run on this release, with the reason.
        seconds: wall time.
    """

    framework: str
    version: str
    findings: tuple[Finding, ...]
    probes: int
    skipped: tuple[str, ...]
    seconds: float

    @property
    def exit_code(self) -> int:
        """0: everything tested agrees.  1: something does not.  2: nothing could be tested."""
        if self.findings:
            return 1
        return 0 if self.probes > len(self.skipped) else 2

    def to_dict(self) -> dict[str, Any]:
        """Plain fields."""
        return {name: plain(getattr(self, name)) for name in self.__slots__}

    def to_text(self, *, reproducers: bool = True) -> str:
        """The findings, and how much was tested.

        Args:
            reproducers: add the script of each finding.
        """
        head = (
            f"{self.framework} {self.version}: {len(self.findings)} findings from {self.probes} statements of its "
            f"documentation, {self.seconds:.1f} s"
        )
        blocks = []
        for finding in self.findings:
            code = textwrap.indent(finding.reproducer, " " * 8)
            blocks.append(finding.to_text() + (f"\n    reproducer:\n\n{code}" if reproducers else ""))
        skipped = [f"not tested: {line}" for line in self.skipped]
        return "\n\n".join([head, *blocks, *skipped])

    def write_reproducers(self, folder: Path) -> None:
        """One script for each finding, named by its key, into a folder that is made if need be.

        Raises:
            OSError: it cannot be written to.
        """
        for finding in self.findings:
            write_text(folder / f"{finding.key}.py", finding.reproducer)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Leave the global random states, torch's defaults, warning filters and logging as they were; print nothing."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002 - frameworks use it
    dtype, grad, disabled = torch.get_default_dtype(), torch.is_grad_enabled(), logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.set_grad_enabled(True)
            yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        random.setstate(states[2])
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        logging.disable(disabled)


def run_audit(
    distribution: str, package: str, modules: Iterable[str], alias: str, probes: Callable[[], Iterable[Probe]]
) -> PeerAudit:
    """Run every probe of one framework.

    Args:
        distribution: as ``pip`` names it.
        package: what holds the modules.
        modules: submodules that the probes use.
        alias: what the reproducers call the package.
        probes: those of the framework.

    Raises:
        ToolNotFoundError: the framework is not installed.
    """
    start = time.perf_counter()
    try:
        version = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        raise ToolNotFoundError(
            f"expected {distribution} to audit it, found it not installed; pip install {distribution}"
        ) from None
    with undisturbed():
        framework = importlib.import_module(package)
        for module in modules:
            importlib.import_module(f"{package}.{module}")
        measurements: list[Measurement] = list(run_probes(probes(), framework))
    findings = []
    for found in disagreements(measurements):
        probe = found.worst.probe
        findings.append(
            Finding(
                key=probe.key,
                framework=distribution,
                version=version,
                kind=probe.kind,
                subjects=found.subjects,
                says=probe.says,
                found=probe.found,
                documented=found.worst.documented,
                computed=found.worst.computed,
                reproducer=script(probe, package=package, alias=alias),
            )
        )
    order = list(KINDS)
    return PeerAudit(
        framework=distribution,
        version=version,
        findings=tuple(sorted(findings, key=lambda finding: order.index(finding.kind))),
        probes=len(measurements),
        skipped=tuple(f"{item.probe.key} ({item.problem})" for item in measurements if item.problem),
        seconds=time.perf_counter() - start,
    )
