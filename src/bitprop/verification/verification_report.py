"""All results of one verification, in one frozen object that is a mapping, a text, JSON and an exit code."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from bitprop import __version__
from bitprop.artifacts import sha256_bytes
from bitprop.verification.result import (
    GradientVerificationResult,
    Status,
    VerificationFailedError,
    plain,
)

__all__ = ["DECISIVE", "EXIT_CODES", "SCHEMA_VERSION", "VerificationReport", "model_digest", "software"]

SCHEMA_VERSION = "1.0"
EXIT_CODES: dict[Status, int] = {"PASS": 0, "FAIL": 1, "VACUOUS": 2, "ILL_POSED": 2, "SKIPPED": 2}
"""Exit codes of the command line; 3 is an error."""
DECISIVE = frozenset({"determinism", "surrogate_audit", "tangent_replay", "detach_audit", "finite_difference"})
"""Checks without which there is no pass.  Others can only fail a report: a smooth network, say, does not exist behind a
detached reset, which is no fault of the model's."""


_GRADIENT = ("tangent_replay", "finite_difference", "estimator_target", "sc_relaxed")
"""What ``report["gradient_verification"]`` is: the first of these that was carried out."""


def model_digest(model: nn.Module) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of every parameter and buffer."""
    digest = hashlib.sha256()
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        value = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {list(value.shape)} ".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b"")
    return digest.hexdigest()


def software() -> dict[str, str]:
    """Versions a figure may depend on."""
    return {
        "bitprop": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
    }


@dataclass(frozen=True)
class VerificationReport(Mapping[str, Any]):
    """What a verification found.

    As a mapping it has the keys ``status``, ``results``, ``gradient_verification``, ``stability``, ``convergence``,
    ``comparison``, ``environment``, ``hashes``, ``claim`` and ``schema_version``, and every result under its own name.

    Attributes:
        subject: what was verified, in words.
        claim: what was claimed, as plain fields.
        results: every check, in order of execution.
        stability: gradient and weight stability, by name.
        convergence: of training, or ``None``.
        comparison: spiking against conventional, or ``None``.
        hashes: SHA-256 of the model and of the configuration.
        environment: versions.
        seconds: wall time; not compared.
    """

    subject: str
    claim: Mapping[str, Any]
    results: tuple[GradientVerificationResult, ...]
    stability: Mapping[str, Any] = field(default_factory=dict)
    convergence: Any = None
    comparison: Any = None
    hashes: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=software)
    seconds: float = field(default=0.0, compare=False)

    @property
    def status(self) -> Status:
        """``FAIL`` if any check failed; else the worst of the decisive ones; ``VACUOUS`` if none was carried out."""
        if any(result.status == "FAIL" for result in self.results):
            return "FAIL"
        decisive = [result for result in self.results if result.name in DECISIVE] or list(self.results)
        for status in ("VACUOUS", "ILL_POSED"):
            if any(result.status == status for result in decisive):
                return status
        skipped = [result for result in decisive if result.status == "SKIPPED" and result.name == "tangent_replay"]
        if skipped or not any(result.status == "PASS" for result in decisive):
            return "VACUOUS"
        return "PASS"

    @property
    def exit_code(self) -> int:
        """0 pass, 1 fail, 2 vacuous or ill-posed."""
        return EXIT_CODES[self.status]

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON holds it."""
        return {
            "schema_version": SCHEMA_VERSION,
            "subject": self.subject,
            "status": self.status,
            "claim": plain(self.claim),
            "results": [result.to_dict() for result in self.results],
            "stability": plain(self.stability),
            "convergence": plain(self.convergence),
            "comparison": plain(self.comparison),
            "hashes": dict(self.hashes),
            "environment": dict(self.environment),
            "seconds": self.seconds,
        }

    def to_text(self) -> str:
        """The report for a person."""
        lines = [f"{self.subject}: {self.status}", ""]
        lines += [result.to_text() for result in self.results]
        counts = {status: sum(r.status == status for r in self.results) for status in EXIT_CODES}
        shown = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        lines += ["", f"{len(self.results)} checks: {shown or 'none'}; {self.seconds:.2f} s"]
        return "\n".join(lines)

    def raise_if_failed(self) -> VerificationReport:
        """Return this report if its status is ``PASS``.

        Raises:
            VerificationFailedError: it is anything else; the message is the whole report.
        """
        if self.status != "PASS":
            raise VerificationFailedError(self.to_text())
        return self

    def digest(self) -> str:
        """SHA-256 of the report less its times: the same for the same model, data, claim and seed."""
        values = self.to_dict()
        values.pop("seconds")
        for result in values["results"]:
            result.pop("seconds")
        return sha256_bytes(repr(values).encode())

    def _values(self) -> dict[str, Any]:
        named: dict[str, Any] = {result.name: result for result in self.results}
        gradient = [named[name] for name in _GRADIENT if name in named] or list(self.results)
        return {
            "gradient_verification": gradient[0] if gradient else None,
            **named,
            "schema_version": SCHEMA_VERSION,
            "status": self.status,
            "claim": self.claim,
            "results": self.results,
            "stability": self.stability,
            "convergence": self.convergence,
            "comparison": self.comparison,
            "environment": self.environment,
            "hashes": self.hashes,
        }

    def __getitem__(self, key: str) -> Any:
        return self._values()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values())

    def __len__(self) -> int:
        return len(self._values())
