"""One process at a time writes into a folder: the next one is told who has it, a killed one is in nobody's way."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bitprop._lock import LOCK, has_lock, hold_folder
from bitprop.errors import ArtifactError, BitpropWarning, FolderInUseError
from helpers.command_line import refused, run


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the folder ``run``, as one that is training does."""
    code = (
        "import sys; from pathlib import Path; from bitprop._lock import hold_folder\n"
        "with hold_folder(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_folder_is_as_it_was_afterwards(tmp_path: Path) -> None:
    with hold_folder(tmp_path / "new" / "run"):
        assert has_lock(tmp_path / "new" / "run")
    assert not (tmp_path / "new" / "run").exists()
    (tmp_path / "run").mkdir()
    with hold_folder(tmp_path / "run"):
        (tmp_path / "run" / "file").write_bytes(b"")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["file"]


def test_the_next_one_is_told_who_has_it_until_it_ends(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    with (
        pytest.raises(FolderInUseError, match=rf"process {other.pid} on .*; wait for it, stop it, or choose another"),
        hold_folder(tmp_path / "run"),
    ):
        pass
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    assert has_lock(tmp_path / "run")
    with hold_folder(tmp_path / "run"):
        assert (tmp_path / "run" / LOCK).read_text(encoding="utf-8").startswith(f"process {os.getpid()} on ")
    assert not has_lock(tmp_path / "run")


def test_a_file_that_was_removed_meanwhile_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who had the folder left between the opening of its file and the lock on it."""
    lock, removed = fcntl.flock, []

    def late(handle: int, how: int) -> None:
        if not removed:
            removed.append((tmp_path / LOCK).unlink())
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with hold_folder(tmp_path), pytest.raises(FolderInUseError), hold_folder(tmp_path):
        pass
    assert not has_lock(tmp_path)


def test_where_nothing_can_be_locked_work_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(_handle: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with pytest.warns(BitpropWarning, match="No locks available; see that no other process"), hold_folder(tmp_path):
        pass
    assert not has_lock(tmp_path)


def test_what_cannot_be_held_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "run" / LOCK).mkdir(parents=True)
    for folder, message in (
        (tmp_path / "file" / "x", "choose a folder you may write to"),
        (tmp_path / ("x" * 300), "choose a folder"),
        (tmp_path / "run", "remove the folder"),
    ):
        assert not has_lock(folder)
        with pytest.raises(ArtifactError, match=f"cannot write .*{message}"), hold_folder(folder):
            pass


def test_commands_leave_a_folder_to_who_has_it(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bitprop import demo

    monkeypatch.setattr(demo, "_working_simulators", list)
    (work / "demo" / "half-written.part").mkdir(parents=True)
    for folder in ("run", "demo", "new"):
        with hold_folder(work / folder):
            before = sorted(path.as_posix() for path in work.rglob("*"))
            command = ["demo"] if folder == "demo" else ["train", "c.toml"]
            assert f"held by process {os.getpid()}" in refused(*command, "-o", folder)
            if folder == "run":
                assert "is held by" in refused("train", "c.toml", "-o", folder, "--resume")
                assert run("evaluate", folder).exit_code == 0
            assert sorted(path.as_posix() for path in work.rglob("*")) == before
    # what a killed process left
    (work / "run" / LOCK).write_text("process 1 on earth\n", encoding="utf-8")
    assert run("train", "run/config.toml", "-o", "run", "--resume").exit_code == 0
    (work / "new").mkdir()
    (work / "new" / LOCK).write_text("process 1 on earth\n", encoding="utf-8")
    assert run("train", "c.toml", "-o", "new").exit_code == 0
    assert not has_lock(work / "new")
