"""Files: same content, same bytes; a reader never sees half of one; bad ones are named."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitprop.artifacts import (
    EVIDENCE_LOCAL_PARITY,
    canonical_json,
    check_target,
    evidence,
    json_value,
    read_json,
    sha256_bytes,
    sha256_file,
    write_bytes,
    write_json,
    write_text,
)
from bitprop.errors import ArtifactError

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


@settings(max_examples=50)
@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=4))
def test_canonical_json_is_json_and_does_not_depend_on_order(value: dict[str, Any]) -> None:
    text = canonical_json(value)
    assert json.loads(text) == value
    assert text.endswith("}\n")
    assert canonical_json(dict(reversed(list(value.items())))) == text


def test_layout_is_fixed() -> None:
    value = {"b": [1, 2.5, True], "a": {"matrix": [[1, 0], [0, 1]], "empty": {}}, "c": []}
    expected = """{
  "a": {
    "empty": {},
    "matrix": [
      [1, 0],
      [0, 1]
    ]
  },
  "b": [1, 2.5, true],
  "c": []
}
"""
    assert canonical_json(value) == expected


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_non_finite_numbers_are_refused_with_their_place(number: float) -> None:
    with pytest.raises(ArtifactError, match=r"\$\.a\[1\]\.b"):
        canonical_json({"a": [0, {"b": number}]})


def test_writing_makes_folders_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "file.bin"
    assert write_bytes(target, b"one") == target
    assert write_bytes(target, b"two\n") == target
    assert target.read_bytes() == b"two\n"
    assert [path.name for path in target.parent.iterdir()] == ["file.bin"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    assert write_text(target, "drei €").read_text(encoding="utf-8") == "drei €"


def test_a_folder_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"cannot write .*choose a folder"):
        write_bytes(tmp_path / "file" / "below", b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ArtifactError, match=r"cannot write .*remove the folder that is in its place"):
        write_bytes(tmp_path / "folder", b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot write"):
        write_bytes(tmp_path / ("x" * 300), b"")
    assert not list(tmp_path.iterdir())


def test_json_round_trips(tmp_path: Path) -> None:
    value = {"x": [1, 2], **evidence()}
    assert read_json(write_json(tmp_path / "a.json", value)) == value


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "something else"),
        (b"[1]", "got list"),
        (b"\xff", "something else"),
        (b"[" * 100_000, "something else"),
        (b'{"a": ' + b"9" * 5000 + b"}", "something else"),
    ],
    ids=["cut", "list", "binary", "deep", "digits"],
)
def test_unreadable_json_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=words):
        read_json(path)


def test_a_key_that_is_given_twice_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"limits": [{"lut": 900, "dsp": 2, "lut": 90}]}', encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"a\.json: expected each key.* got 'lut' twice; leave one"):
        read_json(path)
    path.write_text('[{"a": 1}, {"a": {"a": 1}}]', encoding="utf-8")
    assert json_value(path.read_bytes()) == [{"a": 1}, {"a": {"a": 1}}]


def test_a_full_disk_is_named_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtifactError, match="No space left on device; free some space"):
        write_text(tmp_path / "a.json", "{}")
    assert not list(tmp_path.iterdir())


def test_a_target_that_cannot_be_written_is_refused_before_anything_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for target in ("", ".", "..", "/", tmp_path, tmp_path / "file" / "x.json", "/dev/null", "a" * 5000):
        with pytest.raises(ArtifactError, match=r"choose|add a file's name"):
            check_target(target)
    for target in (tmp_path / "file", tmp_path / "new" / "deep" / "x.json"):
        check_target(target)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="found none; write it again"):
        read_json(tmp_path / "none.json")
    with pytest.raises(ArtifactError, match="cannot read"):
        read_json(tmp_path)
    with pytest.raises(ArtifactError, match="cannot read"):
        sha256_file(tmp_path / "none.json")


def test_hashes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_file(tmp_path / "a") == sha256_bytes(b"abc") == hashlib.sha256(b"abc").hexdigest()


def test_evidence_claims_no_hardware() -> None:
    assert evidence() == {"evidence_boundary": EVIDENCE_LOCAL_PARITY, "hardware_measurement_claimed": False}
    assert EVIDENCE_LOCAL_PARITY == "local_simulation_and_executable_hdl_parity"
