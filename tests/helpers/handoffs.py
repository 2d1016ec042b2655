"""Folders that the handoff's audit reviews: their JSON read and written, and the audit's objections."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitprop.artifacts import canonical_json
from bitprop.handoff.audit import AuditResult, audit_folder


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
