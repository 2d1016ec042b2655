"""Planted faults in evidence sets and handoff folders: the audit must object to every one of them.

The audit makes the evidence set again for every folder it reviews; here that result is kept between mutants with
equal arguments, since the function is deterministic (``test_seed_command`` shows it) and only the folder changes.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bitprop.artifacts import sha256_bytes
from bitprop.handoff._files import with_self_digest
from bitprop.handoff.audit import audit_folder
from bitprop.handoff.evidence import EvidencePaths, write_evidence
from bitprop.handoff.reference_task import TaskArguments
from helpers.handoffs import failed, kept_evidence, load, rejected, store

ARGUMENTS = TaskArguments(bitstream_length=64, steps=6, learning_rate=0.4)
BENCHMARK, EXPORT, REGRESSION = "benchmark.json", "export.json", "regression.json"
DOCUMENT = "handoff/scnir_document.json"
SOURCE = "handoff/scnir_source_manifest.json"
PARITY = "handoff/stochastic_backprop_trained_design_parity.json"
DESIGN = "handoff/stochastic_backprop_trained_design.v"
AUDIT = "handoff/stochastic_backprop_handoff_audit.json"
FILES = (
    BENCHMARK,
    EXPORT,
    REGRESSION,
    DOCUMENT,
    SOURCE,
    PARITY,
    DESIGN,
    AUDIT,
    "handoff/vectors/inputs.txt",
    "handoff/vectors/expected.json",
    "handoff/rtl/files.f",
    "handoff/rtl/bitprop_count.v",
    "handoff/rtl/stochastic_backprop_reference.v",
    "handoff/rtl/stochastic_backprop_reference_tb.v",
    "handoff/rtl/stochastic_backprop_reference_trained_weights.v",
    "handoff/rtl/verilator_main.cpp",
)
JSON_FILES = tuple(name for name in FILES if name.endswith(".json"))


def paths(folder: Path) -> EvidencePaths:
    return EvidencePaths(folder / BENCHMARK, folder / EXPORT, folder / REGRESSION, folder / "handoff")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory, require_tool: Callable[[str], str]) -> Path:
    require_tool("iverilog")
    folder = tmp_path_factory.mktemp("pristine")
    assert write_evidence(ARGUMENTS, paths(folder)).valid
    return folder


@pytest.fixture(scope="module", autouse=True)
def kept_results() -> Iterator[None]:
    with kept_evidence():
        yield


@pytest.fixture
def folder(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "results"))


def entry(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"sha256": sha256_bytes(content), "size": len(content)}


def seal(folder: Path) -> None:
    """Make every hash, size, list and digest fit the files as they now are: a careful forger's last step."""
    handoff = folder / "handoff"

    def listed(*left_out: str) -> list[dict[str, Any]]:
        found = sorted(path.relative_to(handoff).as_posix() for path in handoff.rglob("*") if path.is_file())
        return [{"path": name, **entry(handoff / name)} for name in found if name not in left_out]

    audit_name, source_name = Path(AUDIT).name, Path(SOURCE).name
    parity = load(folder / PARITY)
    parity["design_sha256"] = sha256_bytes((folder / DESIGN).read_bytes())
    store(folder / PARITY, parity)
    expected = load(handoff / "vectors" / "expected.json")
    expected["document_sha256"] = sha256_bytes((folder / DOCUMENT).read_bytes())
    expected["inputs_sha256"] = sha256_bytes((handoff / "vectors" / "inputs.txt").read_bytes())
    store(handoff / "vectors" / "expected.json", expected)
    source = load(folder / SOURCE)
    source["document"].update(entry(folder / DOCUMENT))
    source["files"] = listed(audit_name, source_name)
    store(folder / SOURCE, source)
    benchmark = load(folder / BENCHMARK)
    benchmark["document_sha256"] = sha256_bytes((folder / DOCUMENT).read_bytes())
    store(folder / BENCHMARK, benchmark)
    export = load(folder / EXPORT)
    for role, name in (("benchmark", BENCHMARK), ("estimator_regression", REGRESSION)):
        export["artifacts"][role].update(entry(folder / name))
    export["handoff"]["files"] = listed(audit_name)
    store(folder / EXPORT, export)
    audit = load(folder / AUDIT)
    for role, name in (("benchmark", BENCHMARK), ("export_manifest", EXPORT), ("estimator_regression", REGRESSION)):
        audit["artifacts"][role].update(entry(folder / name))
    audit["files"] = listed(audit_name)
    store(folder / AUDIT, with_self_digest({key: item for key, item in audit.items() if key != "content_sha256"}))


def at(fields: Any, path: str) -> tuple[Any, Any]:
    """The container and key of a dotted path."""
    *before, last = path.split("/")
    for key in before:
        fields = fields[int(key)] if isinstance(fields, list) else fields[key]
    return fields, int(last) if isinstance(fields, list) else last


# --- nothing is wrong -----------------------------------------------------------------------------------------------


def test_the_untouched_set_passes(folder: Path) -> None:
    assert audit_folder(folder).passed
    assert audit_folder(folder / "handoff").passed
    seal(folder)
    assert audit_folder(folder).passed, "sealing an honest set changes nothing"


def test_without_simulation_it_is_incomplete(folder: Path) -> None:
    result = audit_folder(folder, simulate=False)
    assert result.status == "incomplete"
    assert not result.passed
    assert {check.name for check in result.checks if check.status == "skipped"} == {
        "trained_design_parity",
        "network_parity",
    }


# --- plain damage, file by file -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_damage(folder: Path, name: str) -> None:
    path = folder / name
    content = path.read_bytes()
    middle = len(content) // 2
    mutants = {
        "first bit flipped": bytes([content[0] ^ 1]) + content[1:],
        "middle bit flipped": content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :],
        "last byte gone": content[:-1],
        "half gone": content[:middle],
        "empty": b"",
        "a byte more": content + b"\n",
    }
    for mutant in mutants.values():
        path.write_bytes(mutant)
        rejected(folder)
    if name.startswith("handoff/"):
        rejected(folder / "handoff")
    path.unlink()
    rejected(folder)
    path.write_bytes(content)
    assert audit_folder(folder, simulate=False).status == "incomplete", "restored, nothing fails"


@pytest.mark.parametrize("name", JSON_FILES)
def test_two_values_swapped(folder: Path, name: str) -> None:
    fields = load(folder / name)
    keys = [key for key in sorted(fields) if key not in ("evidence_boundary", "hardware_measurement_claimed")]
    fields[keys[0]], fields[keys[1]] = fields[keys[1]], fields[keys[0]]
    store(folder / name, fields)
    rejected(folder)


@pytest.mark.parametrize("name", JSON_FILES)
def test_another_layout_of_the_same_json(folder: Path, name: str) -> None:
    (folder / name).write_text(json.dumps(load(folder / name)), encoding="utf-8")
    rejected(folder)


def test_an_extra_file_in_the_handoff(folder: Path) -> None:
    (folder / "handoff" / "rtl" / "extra.v").write_text("module extra; endmodule\n", encoding="utf-8")
    assert "file_hashes" in failed(rejected(folder))
    seal(folder)
    assert {"verilog", "regenerated"} <= failed(rejected(folder))


def test_an_empty_folder_in_the_handoff(folder: Path) -> None:
    (folder / "handoff" / "empty").mkdir()
    assert "readable" in failed(rejected(folder))


def test_files_beside_the_evidence(folder: Path) -> None:
    """Other results may lie there, and are named; a second copy or a hardware claim may not."""
    (folder / "other.csv").write_text("1,2\n", encoding="utf-8")
    (folder / "other.json").write_text('{"schema": "other"}', encoding="utf-8")
    result = audit_folder(folder, simulate=False)
    assert result.status == "incomplete"
    assert "'other.csv', 'other.json'" in result.to_text()
    for text in ('{"hardware_measurement_claimed": true}', "{not JSON", '{"a": [{"hardware_measurement_claimed": 1}]}'):
        (folder / "other.json").write_text(text, encoding="utf-8")
        assert "outer_files" in failed(rejected(folder))
    shutil.copy(folder / BENCHMARK, folder / "other.json")
    assert "outer_files" in failed(rejected(folder))


def test_renamed(folder: Path) -> None:
    (folder / BENCHMARK).rename(folder / "better.json")
    assert "file_hashes" in failed(rejected(folder))


# --- edits with every hash made to fit ------------------------------------------------------------------------------

EDITS = (
    (BENCHMARK, "hardware_measurement_claimed", True, "hardware_measurement_claimed"),
    (EXPORT, "hardware_measurement_claimed", True, "hardware_measurement_claimed"),
    (REGRESSION, "hardware_measurement_claimed", True, "hardware_measurement_claimed"),
    (SOURCE, "hardware_measurement_claimed", True, "hardware_measurement_claimed"),
    (PARITY, "hardware_measurement_claimed", True, "hardware_measurement_claimed"),
    (AUDIT, "hardware_measurement_claimed", True, "hardware_measurement_claimed"),
    (DOCUMENT, "hardware_measurement_claimed", True, "hardware_measurement_claimed"),
    (BENCHMARK, "evidence_boundary", "measured_on_hardware", "hardware_measurement_claimed"),
    (EXPORT, "evidence_boundary", "measured_on_hardware", "hardware_measurement_claimed"),
    (BENCHMARK, "schema_version", "2.0", "schemas"),
    (EXPORT, "schema", "bitprop.other", "outer_files"),
    (BENCHMARK, "joint_design/enabled", False, "joint_design_enabled"),
    (EXPORT, "joint_design/enabled", "true", "joint_design_enabled"),
    (BENCHMARK, "selected_bitstream_length", 32, "selections_match"),
    (BENCHMARK, "joint_design/selected_encoding", "bipolar", "selections_match"),
    (EXPORT, "correlation", 0.25, "selections_match"),
    (EXPORT, "joint_design/correlation", 0.25, "selections_match"),
    (EXPORT, "selected_config/bitstream_length", 512, "selections_match"),
    (SOURCE, "joint_design/expected_bitstream_length", 40.0, "selections_match"),
    (REGRESSION, "status", "fail", "estimator_regression"),
    (REGRESSION, "acceptance/pathwise_variance_zero", False, "estimator_regression"),
    (REGRESSION, "estimators/pathwise_relaxation/readout/64/variance", 0.5, "estimator_regression"),
    (REGRESSION, "estimators/score_function/readout/64/variance", 1e6, "estimator_regression"),
    (REGRESSION, "estimators/straight_through/readout/16/variance", 0.001, "regenerated"),
    (AUDIT, "status", "invalid", "handoff_audit"),
    (AUDIT, "folder", "elsewhere", "handoff_audit"),
    (AUDIT, "checks/0/detail", "all is well", "regenerated"),
    (BENCHMARK, "loss_reduction/relative", 0.9999, "regenerated"),
    (BENCHMARK, "ablations/correlation/objective_excess", 0.5, "regenerated"),
    (BENCHMARK, "task/seed", 8, "regenerated"),
    (BENCHMARK, "trained_parameters/correlation_logit", 0.5, "regenerated"),
    (BENCHMARK, "arguments/steps", 7, "regenerated"),
    (SOURCE, "arguments/steps", 7, "regenerated"),
    (SOURCE, "arguments/steps", -1, "regenerated"),
    (SOURCE, "streams/0/seed", 5, "regenerated"),
    (SOURCE, "correlation_constraints/0/allowed/1", 1.0, "regenerated"),
    (DOCUMENT, "layers/0/activation_source/seed", 5, "verilog"),
    (DOCUMENT, "layers/0/bias_raw/1", 3, "vectors"),
    (DOCUMENT, "layers/0/length", 8, "trained_design"),
    (DOCUMENT, "layers/0/accumulator_bits", 30, "verilog"),
    (DOCUMENT, "layers/0/accumulator_bits", 3, "scnir_document"),
    (DOCUMENT, "name", "other", "verilog"),
    (PARITY, "expected/encoding_flag", 1, "trained_design"),
    (PARITY, "expected/correlation_q16", -1, "trained_design"),
    ("handoff/vectors/expected.json", "layers/0/outputs/3/1", 1, "vectors"),
    ("handoff/vectors/expected.json", "decision/0", 7, "vectors"),
    ("handoff/vectors/expected.json", "latency_cycles/0", 1, "vectors"),
    ("handoff/vectors/expected.json", "labels", [0] * 64, "vectors"),
)


@pytest.mark.parametrize(("name", "path", "value", "check"), EDITS, ids=[f"{e[0]}:{e[1]}={e[2]}"[:90] for e in EDITS])
def test_edits_with_fitting_hashes(folder: Path, name: str, path: str, value: Any, check: str) -> None:
    fields = load(folder / name)
    container, key = at(fields, path)
    if key != "labels":
        assert container[key] != value
    container[key] = value
    store(folder / name, fields)
    seal(folder)
    assert check in failed(rejected(folder))
    if name.startswith("handoff/") and name != AUDIT:
        rejected(folder / "handoff")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (BENCHMARK, "document_sha256"),
        (SOURCE, "document/sha256"),
        (SOURCE, "document/size"),
        (SOURCE, "files/0/sha256"),
        (EXPORT, "handoff/files/3/sha256"),
        (EXPORT, "artifacts/benchmark/size"),
        (EXPORT, "artifacts/benchmark/file"),
        (PARITY, "design_sha256"),
        ("handoff/vectors/expected.json", "document_sha256"),
        ("handoff/vectors/expected.json", "inputs_sha256"),
    ],
)
def test_a_wrong_hash_inside_files_whose_own_hashes_fit(
    folder: Path, name: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = load(folder / name)
    container, key = at(fields, path)
    container[key] = container[key] + 1 if isinstance(container[key], int) else "0" * 64
    store(folder / name, fields)
    wrong = (folder / name).read_bytes()
    real = store

    def keep(target: Path, content: Mapping[str, Any]) -> None:
        real(target, content)
        if target == folder / name:
            target.write_bytes(wrong)

    monkeypatch.setitem(globals(), "store", keep)
    seal(folder)
    monkeypatch.undo()
    assert (folder / name).read_bytes() == wrong
    rejected(folder)


def test_inputs_and_expected_integers_of_another_run(folder: Path) -> None:
    """Consistent with the document, so that only making the set again can tell."""
    from bitprop.graph.spec import load_document
    from bitprop.handoff.export import network_files

    document = load_document(folder / DOCUMENT)
    for name, content in network_files(document, np.zeros((64, 12), dtype=np.int64)).items():
        (folder / "handoff" / name).write_bytes(content)
    seal(folder)
    assert failed(rejected(folder)) == {"regenerated"}


def test_a_design_and_its_constants_changed_together(folder: Path) -> None:
    from bitprop.handoff.trained_design import design_verilog

    parity = load(folder / PARITY)
    parity["expected"]["selected_bitstream_length"] = 32
    store(folder / PARITY, parity)
    (folder / DESIGN).write_text(design_verilog(parity["expected"]), encoding="utf-8")
    seal(folder)
    assert {"trained_design", "regenerated"} <= failed(rejected(folder))


def test_a_handoff_folder_of_another_run(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert write_evidence(TaskArguments(64, 5, 0.4), paths(other)).valid
    shutil.rmtree(folder / "handoff")
    shutil.copytree(other / "handoff", folder / "handoff")
    assert {"file_hashes", "regenerated"} <= failed(rejected(folder))
    # as a whole the other set is evidence, of the other run
    assert audit_folder(other).passed


# --- Verilog is run, and only the package's own ---------------------------------------------------------------------


def test_no_simulator_is_a_failure(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITPROP_IVERILOG", str(folder / "absent"))
    result = rejected(folder, simulate=True)
    assert {"trained_design_parity", "network_parity"} == failed(result)
    assert "parity was not run" in result.to_text()


def test_foreign_verilog_never_runs(folder: Path) -> None:
    mark = folder / "mark"
    spy = f'module spy; integer f; initial begin f = $fopen("{mark}", "w"); $fclose(f); end endmodule\n'
    for name in (DESIGN, "handoff/rtl/bitprop_count.v"):
        path = folder / name
        path.write_text(path.read_text(encoding="utf-8") + spy, encoding="utf-8")
    seal(folder)
    assert {"trained_design_parity", "network_parity"} <= failed(rejected(folder, simulate=True))
    assert not mark.exists()


# --- hostile folders ------------------------------------------------------------------------------------------------


def test_nothing_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    for name in ("absent", "file", "empty"):
        assert rejected(tmp_path / name).kind == "unknown"


@pytest.mark.parametrize("path", ["../benchmark.json", "/etc/passwd", "rtl/../../export.json", "rtl\\x", "", "a//b", 7])
def test_paths_that_leave_the_folder(folder: Path, path: object) -> None:
    audit = load(folder / AUDIT)
    audit["files"][0]["path"] = path
    store(folder / AUDIT, with_self_digest({key: item for key, item in audit.items() if key != "content_sha256"}))
    result = rejected(folder)
    assert "file_hashes" in failed(result)
    assert any("relative paths inside" in check.detail for check in result.failures)


def test_links_and_pipes_are_not_opened(folder: Path) -> None:
    outside = folder.parent / "outside.json"
    shutil.move(folder / PARITY, outside)
    (folder / PARITY).symlink_to(outside)
    (folder / "handoff" / "loop").symlink_to(folder)
    os.mkfifo(folder / "handoff" / "pipe")
    result = rejected(folder)
    text = next(check.detail for check in result.checks if check.name == "readable")
    assert "symbolic link" in text
    assert "no regular file" in text
    assert "trained_design" in failed(result), "what the link points to was not read"


@pytest.mark.parametrize(
    "content",
    [
        b'{"a":' * 100_000,
        b"[" * 990 + b"]" * 990,
        b'{"schema": NaN}',
        b'{"schema": ' + b"9" * 10_000 + b"}",
        b"\xff\xfe\x00",
        b"null",
        b'{"schema": "bitprop.stochastic_backprop.benchmark", "schema": 1}',
        b'{"joint_design": {"enabled": true}, "schema": "bitprop.stochastic_backprop.benchmark"}',
    ],
    ids=range(8),
)
@pytest.mark.parametrize("name", [BENCHMARK, DOCUMENT, SOURCE, AUDIT])
def test_content_that_is_no_artefact(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    rejected(folder)


def test_folders_nested_too_deep(folder: Path) -> None:
    deep = folder.joinpath(*["d"] * 40)
    deep.mkdir(parents=True)
    (deep / "x").write_text("x", encoding="utf-8")
    assert "readable" in failed(rejected(folder))
