"""Exported folders: what is in them, same bytes, never half written, never over somebody's files."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bitprop.artifacts import sha256_file
from bitprop.errors import ArtifactError, RangeError, ShapeError
from bitprop.graph.interpret import run
from bitprop.graph.random import random_document, random_inputs
from bitprop.graph.spec import Document, load_document
from bitprop.handoff import _files
from bitprop.handoff.export import export_network, parse_inputs, rtl_files
from bitprop.handoff.simulate import simulate_folder


@pytest.fixture(scope="module")
def document() -> Document:
    return random_document(3, max_features=5, max_layers=2, max_length=20)


def test_the_folder_stands_on_its_own(document: Document, tmp_path: Path) -> None:
    inputs = random_inputs(document, 4)
    labels = run(document, inputs).decision
    manifest = export_network(document, tmp_path / "out", inputs_raw=inputs, labels=labels, extra={"seed": 3})
    folder = tmp_path / "out"
    assert manifest.folder == folder
    assert manifest.network == document.name
    stored = json.loads((folder / "handoff_manifest.json").read_text(encoding="utf-8"))
    assert stored == manifest.to_dict()
    assert stored["schema"] == "bitprop.handoff.manifest"
    assert stored["schema_version"] == "1.0"
    assert stored["evidence_boundary"] == "local_simulation_and_executable_hdl_parity"
    assert stored["hardware_measurement_claimed"] is False
    assert stored["extra"] == {"seed": 3}
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {*manifest.files, "handoff_manifest.json"} == found
    assert {"scnir_document.json", "rtl/files.f", "vectors/inputs.txt", "vectors/expected.json"} <= found
    for entry in stored["files"]:
        assert entry["sha256"] == sha256_file(folder / entry["path"])
        assert entry["size"] == (folder / entry["path"]).stat().st_size
    assert load_document(folder / "scnir_document.json") == document
    np.testing.assert_array_equal(parse_inputs((folder / "vectors" / "inputs.txt").read_bytes()), inputs)
    expected = json.loads((folder / "vectors" / "expected.json").read_text(encoding="utf-8"))
    result = run(document, inputs)
    for stored_layer, outputs, accumulators in zip(expected["layers"], result.layers, result.accumulators, strict=True):
        assert stored_layer["outputs"] == outputs.tolist()
        assert stored_layer["accumulators"] == accumulators.tolist()
    assert expected["decision"] == result.decision.tolist()
    assert expected["correct"] == 4
    assert str(tmp_path) not in "".join(
        path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file()
    )


def test_the_listed_files_compile_as_they_lie(
    document: Document, tmp_path: Path, require_tool: Callable[[str], str]
) -> None:
    compiler = require_tool("iverilog")
    export_network(document, tmp_path / "out", inputs_raw=random_inputs(document, 1))
    command = [compiler, "-g2012", "-t", "null", "-s", document.name, "-c", "files.f"]
    subprocess.run(command, cwd=tmp_path / "out" / "rtl", check=True, timeout=60)


def test_same_arguments_same_bytes(document: Document, tmp_path: Path) -> None:
    inputs = random_inputs(document, 2)
    digests = {export_network(document, tmp_path / name, inputs_raw=inputs).digest for name in ("a", "b", "a")}
    assert len(digests) == 1
    first, second = (
        {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in ("a", "b")
    )
    assert first == second
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"], "no temporary folder stays"


def test_an_earlier_handoff_is_replaced_whole(document: Document, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    export_network(document, folder, inputs_raw=random_inputs(document, 2))
    (folder / "stale.txt").write_text("old", encoding="utf-8")
    export_network(document, folder, inputs_raw=random_inputs(document, 3))
    assert not (folder / "stale.txt").exists()
    assert (folder / "vectors" / "inputs.txt").read_text(encoding="ascii").count("\n") == 3


def test_other_folders_are_left_alone(document: Document, tmp_path: Path) -> None:
    inputs = random_inputs(document, 1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine", encoding="utf-8")
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    for name in ("mine", "file", "link", "file/below"):
        with pytest.raises(ArtifactError):
            export_network(document, tmp_path / name, inputs_raw=inputs)
    assert (tmp_path / "mine" / "thesis.txt").read_text(encoding="utf-8") == "mine"
    (tmp_path / "empty").mkdir()
    export_network(document, tmp_path / "empty", inputs_raw=inputs)
    assert (tmp_path / "empty" / "handoff_manifest.json").is_file()


def test_a_failure_leaves_the_earlier_folder(
    document: Document, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    before = export_network(document, folder, inputs_raw=random_inputs(document, 2)).digest

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ArtifactError, match="No space left"):
        export_network(document, folder, inputs_raw=random_inputs(document, 3))
    monkeypatch.undo()
    assert json.loads((folder / "handoff_manifest.json").read_text(encoding="utf-8"))["content_sha256"] == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_rename_that_fails_puts_the_earlier_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").write_text("old", encoding="utf-8")
    real = Path.rename

    def rename(self: Path, other: Path) -> Path:
        if self.name == "new":
            raise OSError(5, "Input/output error")
        return real(self, other)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(ArtifactError, match="Input/output"), _files.new_folder(target, lambda _: True):
        pass
    assert (target / "old").read_text(encoding="utf-8") == "old"


@pytest.mark.parametrize(
    ("labels", "error"),
    [([0], ShapeError), ([[0, 0]], ShapeError), ([0.0, 1.0], ShapeError), ([0, 99], RangeError), ([-1, 0], RangeError)],
)
def test_labels_that_do_not_fit(document: Document, tmp_path: Path, labels: list[int], error: type[Exception]) -> None:
    with pytest.raises(error):
        export_network(document, tmp_path / "out", inputs_raw=random_inputs(document, 2), labels=labels)
    assert not (tmp_path / "out").exists()


def test_inputs_and_extras_that_do_not_fit(document: Document, tmp_path: Path) -> None:
    inputs = random_inputs(document, 2)
    with pytest.raises(ShapeError):
        export_network(document, tmp_path / "out", inputs_raw=inputs[:, :-1])
    with pytest.raises(RangeError):
        export_network(document, tmp_path / "out", inputs_raw=inputs + 100_000)
    for extra in ({"a": float("nan")}, {"a": object()}):
        with pytest.raises(ArtifactError):
            export_network(document, tmp_path / "out", inputs_raw=inputs, extra=extra)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "content", [b"", b"1 2\n3\n", b"1  2\n", b"1 2", b"1.0 2\n", b"01 2\n", b"+1 2\n", b"1_0 2\n", b"9" * 30 + b"\n"]
)
def test_inputs_are_read_as_written_only(content: bytes) -> None:
    with pytest.raises(ArtifactError):
        parse_inputs(content)


def test_emission_is_kept_but_not_shared(document: Document) -> None:
    first = rtl_files(document)
    first.clear()
    assert rtl_files(document)


def test_a_folder_is_simulated_as_it_lies(
    document: Document, tmp_path: Path, require_tool: Callable[[str], str]
) -> None:
    require_tool("iverilog")
    folder = tmp_path / "out"
    export_network(document, folder, inputs_raw=random_inputs(document, 3))
    assert simulate_folder(folder, simulators=["icarus"]).status == "pass"
    with pytest.raises(ArtifactError):
        simulate_folder(tmp_path / "absent")
    (folder / "rtl" / "files.f").unlink()
    with pytest.raises(ArtifactError):
        simulate_folder(folder, simulators=["icarus"])
