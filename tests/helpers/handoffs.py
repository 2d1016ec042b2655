"""Folders that the handoff's audit reviews: their JSON read and written, and the audit's objections."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from bitprop.artifacts import canonical_json
from bitprop.handoff import audit as audit_module
from bitprop.handoff.audit import AuditResult, audit_folder
from bitprop.handoff.checks import Check, Evidence
from bitprop.handoff.evidence import build_evidence
from bitprop.handoff.reference_task import TaskArguments


@contextlib.contextmanager
def kept_evidence() -> Iterator[None]:
    """What the audit makes again for every folder it reviews is kept, and serves folders of equal arguments."""
    kept: dict[str, tuple[Evidence, tuple[Check, ...]]] = {}

    def build(arguments: TaskArguments, **options: Any) -> tuple[Evidence, tuple[Check, ...]]:
        parity = options["parity"]({})
        key = repr((arguments, sorted(options["names"].items()), options["folder"], parity))
        if key not in kept:
            kept[key] = build_evidence(arguments, **{**options, "parity": lambda handoff: parity})
        return kept[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit_module, "build_evidence", build)
        yield


def rejected(folder: Path, *, simulate: bool = False) -> AuditResult:
    result = audit_folder(folder, simulate=simulate)
    assert result.status == "fail", result.to_text()
    assert not result.passed
    return result


def failed(result: AuditResult) -> set[str]:
    return {check.name for check in result.failures}


def load(path: Path) -> dict[str, Any]:
    fields = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(fields, dict)
    return fields


def store(path: Path, fields: Mapping[str, Any]) -> None:
    path.write_text(canonical_json(fields), encoding="utf-8")
