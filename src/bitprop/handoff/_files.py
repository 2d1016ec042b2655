"""Folders as bytes: read one without following anything out of it, write one whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitprop.artifacts import canonical_json, json_value, sha256_bytes
from bitprop.errors import ArtifactError
from bitprop.toolchain._process import scratch_folder

__all__ = [
    "DIGEST_FIELD",
    "Snapshot",
    "canonical",
    "check_replaceable",
    "file_entries",
    "is_safe_path",
    "new_folder",
    "parse_json",
    "read_snapshot",
    "scratch_copy",
    "self_digest",
    "shown",
    "with_self_digest",
    "write_files",
]

DIGEST_FIELD = "content_sha256"
"""Field of a manifest that holds the SHA-256 of the manifest's canonical JSON without this field."""

_MAX_FILES = 20_000
_MAX_BYTES = 512 << 20
_MAX_DEPTH = 8
_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A folder's regular files, read once: what is checked is what is simulated.

    Attributes:
        files: content by relative path with forward slashes.
        problems: what could not be read, or must not be (a symbolic link, a device, an empty folder).
    """

    files: dict[str, bytes]
    problems: tuple[str, ...]

    def below(self, folder: str) -> Snapshot:
        """The part below a folder, with paths relative to it; ``""`` is the whole."""
        if not folder:
            return self
        prefix = f"{folder}/"
        return Snapshot(
            {path.removeprefix(prefix): content for path, content in self.files.items() if path.startswith(prefix)},
            self.problems,
        )


def shown(text: object) -> str:
    """Text from outside, safe to print: escaped, and not longer than a line."""
    escaped = ascii(text)
    return escaped if len(escaped) <= 160 else f"{escaped[:157]}..."


def is_safe_path(path: object) -> bool:
    """Whether a recorded path is relative, forward-slashed and stays inside its folder.

    Example:
        >>> [is_safe_path(path) for path in ("rtl/top.v", "../top.v", "/top.v", "rtl//top.v", 7)]
        [True, False, False, False, False]
    """
    return isinstance(path, str) and all(_SEGMENT.fullmatch(part) is not None for part in path.split("/"))


def read_snapshot(folder: str | os.PathLike[str]) -> Snapshot:
    """Read a folder.  Symbolic links, devices and pipes are reported and never opened.

    Raises:
        ArtifactError: no such folder, not a folder, or one that cannot be listed.
    """
    root = Path(folder)
    if not root.is_dir():
        what = "a file" if root.exists() else "nothing"
        raise ArtifactError(f"expected a folder at {shown(os.fspath(folder))}, got {what}; name the evidence's folder")
    files: dict[str, bytes] = {}
    problems: list[str] = []
    total = 0
    pending: list[tuple[Path, str]] = [(root, "")]
    while pending:
        place, prefix = pending.pop()
        try:
            with os.scandir(place) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            if not prefix:
                raise ArtifactError(f"cannot read {shown(os.fspath(folder))}: {error.strerror}") from error
            problems.append(f"{shown(prefix)} cannot be listed: {error.strerror}")
            continue
        if prefix and not entries:
            problems.append(f"{shown(prefix)} is an empty folder")
        for entry in entries:
            path = f"{prefix}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                if path.count("/") >= _MAX_DEPTH:
                    problems.append(f"{shown(path)} lies deeper than {_MAX_DEPTH} folders")
                else:
                    pending.append((Path(entry.path), f"{path}/"))
                continue
            if len(files) >= _MAX_FILES:
                problems.append(f"more than {_MAX_FILES} files")
                return Snapshot(files, tuple(problems))
            content = _read_regular(entry, _MAX_BYTES - total)
            if isinstance(content, str):
                problems.append(f"{shown(path)} {content}")
                continue
            total += len(content)
            files[path] = content
    return Snapshot(files, tuple(sorted(problems)))


def _read_regular(entry: os.DirEntry[str], limit: int) -> bytes | str:
    """A regular file's bytes, or why there are none."""
    try:
        if entry.is_symlink():
            return "is a symbolic link"
        handle = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as stream:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                return "is no regular file"
            if status.st_size > limit:
                return f"makes the folder larger than {_MAX_BYTES >> 20} MiB"
            return stream.read(limit + 1)
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def parse_json(name: str, content: bytes) -> dict[str, Any]:
    """A JSON object in its canonical form.

    Raises:
        ArtifactError: not JSON, a key given twice, not an object, or not byte for byte what
            :func:`~bitprop.artifacts.canonical_json` writes.
    """
    try:
        value = json_value(content.decode("utf-8"))
    except ArtifactError as error:
        raise ArtifactError(f"{shown(name)}: {error}") from error
    except (ValueError, RecursionError) as error:
        reason = "too deeply nested" if isinstance(error, RecursionError) else str(error)
        raise ArtifactError(f"expected JSON in {shown(name)}, got something else ({shown(reason)})") from error
    if not isinstance(value, dict):
        raise ArtifactError(f"expected a JSON object in {shown(name)}, got {type(value).__name__}")
    try:
        same = canonical_json(value).encode("utf-8") == content
    except (ArtifactError, RecursionError, UnicodeEncodeError) as error:
        raise ArtifactError(f"expected plain, finite JSON in {shown(name)}: {shown(str(error))}") from error
    if not same:
        raise ArtifactError(f"expected {shown(name)} in canonical form (sorted keys, fixed layout), it was edited")
    return value


def canonical(value: Mapping[str, Any]) -> bytes:
    """UTF-8 bytes of the canonical JSON."""
    return canonical_json(value).encode("utf-8")


def self_digest(value: Mapping[str, Any]) -> str:
    """SHA-256 of a manifest's canonical JSON without :data:`DIGEST_FIELD`."""
    return sha256_bytes(canonical({key: item for key, item in value.items() if key != DIGEST_FIELD}))


def with_self_digest(value: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest with its own digest."""
    return {**value, DIGEST_FIELD: self_digest(value)}


def file_entries(files: Mapping[str, bytes]) -> list[dict[str, Any]]:
    """``path``, ``sha256`` and ``size`` of every file, by path."""
    return [
        {"path": path, "sha256": sha256_bytes(content), "size": len(content)} for path, content in sorted(files.items())
    ]


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a folder that nobody else uses."""
    for path, content in sorted(files.items()):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(0o644)


@contextlib.contextmanager
def scratch_copy(files: Mapping[str, bytes]) -> Iterator[Path]:
    """A temporary folder with these files, removed at the end."""
    with scratch_folder() as folder:
        write_files(folder, files)
        yield folder


@contextlib.contextmanager
def new_folder(target: str | os.PathLike[str], is_ours: Callable[[Path], bool]) -> Iterator[Path]:
    """A temporary sibling that becomes ``target`` when the block ends well, and vanishes otherwise.

    A folder that is there already is replaced only if it is empty or ``is_ours`` says so.

    Raises:
        ArtifactError: ``target`` is something else, or cannot be written.
    """
    final = Path(target)
    check_replaceable(final, is_ours)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}.", suffix=".part"))
        try:
            fresh = scratch / "new"
            fresh.mkdir(mode=0o755)
            yield fresh
            if final.exists():
                final.rename(scratch / "old")
            try:
                fresh.rename(final)
            except BaseException:
                if (scratch / "old").exists():
                    (scratch / "old").rename(final)
                raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise ArtifactError(
            f"cannot write the folder {final}: {error.strerror or error}; choose a place you may write to"
        ) from error


def check_replaceable(target: Path, is_ours: Callable[[Path], bool], what: str = "a handoff folder") -> None:
    """Refuse to replace anything but nothing, an empty folder, or a folder of ours.

    Args:
        target: what would be replaced.
        is_ours: whether a folder is of the kind that would be written.
        what: what such a folder is called.

    Raises:
        ArtifactError: it is something else.
    """
    try:
        if target.is_symlink() or (target.exists() and not target.is_dir()):
            raise ArtifactError(f"expected a folder or nothing at {target}, got a file or a link; choose another name")
        if target.is_dir() and any(target.iterdir()) and not is_ours(target):
            raise ArtifactError(
                f"expected {what}, an empty one or nothing at {target}, got a folder with other files; "
                "choose another name"
            )
    except OSError as error:
        raise ArtifactError(f"cannot look at {target}: {error.strerror}; choose another place") from error
