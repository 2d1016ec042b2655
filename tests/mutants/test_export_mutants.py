"""Planted faults in an exported network's folder: the audit must object to every one of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bitprop.graph.random import random_document, random_inputs
from bitprop.handoff._files import with_self_digest
from bitprop.handoff.audit import audit_folder
from bitprop.handoff.export import export_network
from helpers.handoffs import failed, load, rejected, store


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    document = random_document(5, max_layers=2)
    inputs = random_inputs(document, 5)
    folder = tmp_path_factory.mktemp("exported") / "handoff"
    labels = np.zeros(5, dtype=np.int64)
    export_network(document, folder, inputs_raw=inputs, labels=labels, extra={"run": "a"})
    return folder


def test_every_file_of_an_exported_network(exported: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "copy"))
    assert audit_folder(folder, simulate=False).status == "incomplete"
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        for mutant in (bytes([content[0] ^ 1]) + content[1:], content[:-1]):
            path.write_bytes(mutant)
            rejected(folder)
        path.unlink()
        rejected(folder)
        path.write_bytes(content)
    (folder / "extra").write_text("x", encoding="utf-8")
    rejected(folder)


@pytest.mark.parametrize(
    ("path", "value", "check"),
    [
        ("hardware_measurement_claimed", True, "hardware_measurement_claimed"),
        ("extra", {"hardware_measurement_claimed": True}, "hardware_measurement_claimed"),
        ("extra", [], "manifest_derived"),
        ("samples", 6, "manifest_derived"),
        ("shape", [1], "manifest_derived"),
        ("network", "other", "manifest_derived"),
        ("schema_version", "9", "manifest"),
        ("files", [], "file_hashes"),
        ("files", {"a": 1}, "file_hashes"),
        ("surprise", 1, "manifest_derived"),
    ],
)
def test_manifest_edits_with_a_fitting_digest(
    exported: Path, tmp_path: Path, path: str, value: Any, check: str
) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "copy"))
    fields = load(folder / "handoff_manifest.json")
    fields[path] = value
    store(
        folder / "handoff_manifest.json",
        with_self_digest({key: item for key, item in fields.items() if key != "content_sha256"}),
    )
    assert check in failed(rejected(folder))


def test_an_exported_network_passes(exported: Path, require_tool: Callable[[str], str]) -> None:
    require_tool("iverilog")
    result = audit_folder(exported)
    assert result.passed, result.to_text()
    assert result.kind == "network"
