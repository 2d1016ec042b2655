"""A folder of results by content: what was computed once from the same sources, options and tools is read again.

An entry is one file, written whole or not at all.  Its first line says how long each of its parts is and what digest
the rest has; an entry that does not agree with its first line is removed, and its work is done again.
"""

from __future__ import annotations

import contextlib
import json
import os
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bitprop.artifacts import canonical_json, sha256_bytes, write_bytes
from bitprop.errors import ArtifactError, BitpropWarning

__all__ = ["CACHE_VARIABLE", "ResultCache", "cache_key"]

CACHE_VARIABLE = "BITPROP_CACHE_DIR"
"""Environment variable: the folder of the cache, if not ``bitprop`` in the user's cache folder."""

_ANOTHER_FOLDER = f"set {CACHE_VARIABLE} to another one"
_MAGIC = "bitprop cache 1"


def cache_key(fields: Mapping[str, object]) -> str:
    """The key of a result: the SHA-256 of everything it depends on, plain JSON values."""
    return sha256_bytes(canonical_json(fields).encode("utf-8"))


@dataclass(frozen=True, slots=True)
class ResultCache:
    """Results by key.

    Attributes:
        folder: where they lie; made when the first is stored.
    """

    folder: Path

    @classmethod
    def default(cls) -> ResultCache:
        """The user's: ``BITPROP_CACHE_DIR``, else ``bitprop`` below ``XDG_CACHE_HOME`` or ``~/.cache``.

        Raises:
            ArtifactError: none of the variables is set, and the user has no home folder.
        """
        chosen = os.environ.get(CACHE_VARIABLE)
        if chosen:
            return cls(Path(chosen))
        try:
            return cls(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bitprop")
        except RuntimeError as error:
            raise ArtifactError(f"expected a home folder for the cache, got none; set {CACHE_VARIABLE}") from error

    def check(self, otherwise: str = _ANOTHER_FOLDER) -> None:
        """Make sure that results can be stored, before hours are spent on one.

        Args:
            otherwise: what to do about a folder that will not do.

        Raises:
            ArtifactError: the folder cannot be made or written; the message says what to do.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            usable = os.access(self.folder, os.W_OK | os.X_OK)
        except OSError as error:
            raise ArtifactError(f"cannot make the cache folder {self.folder}: {error.strerror}; {otherwise}") from error
        if not usable:
            raise ArtifactError(f"expected a cache folder that can be written, got {self.folder}; {otherwise}")

    def path(self, key: str) -> Path:
        """Where the entry of a key lies."""
        return self.folder / f"{key}.entry"

    def get(self, key: str) -> dict[str, bytes] | None:
        """The parts of an entry by name, or ``None``: there is none, or a damaged one, removed if it can be."""
        path = self.path(key)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        parts = _unpack(key, content)
        if parts is None:
            # what cannot be removed is not believed the next time either
            with contextlib.suppress(OSError):
                path.unlink()
        return parts

    def put(self, key: str, parts: Mapping[str, bytes]) -> None:
        """Store an entry.

        Raises:
            ArtifactError: the folder cannot be written.
        """
        body = zlib.compress(b"".join(parts[name] for name in sorted(parts)), 1)
        head = {
            "kind": _MAGIC,
            "key": key,
            "parts": {name: len(parts[name]) for name in sorted(parts)},
            "sha256": sha256_bytes(body),
        }
        write_bytes(self.path(key), json.dumps(head, sort_keys=True).encode("ascii") + b"\n" + body)

    def keep(self, key: str, parts: Mapping[str, bytes], otherwise: str = _ANOTHER_FOLDER) -> None:
        """:meth:`put` after work that must not be lost with its entry: what cannot be stored is a warning.

        Args:
            key: of the entry.
            parts: of the entry.
            otherwise: what to do about a folder that will not do.
        """
        try:
            self.put(key, parts)
        except ArtifactError as error:
            path = self.path(key)
            if path.is_dir():
                why = f"a folder is in the place of {path}; remove it"
            else:
                # of the folder, not the entry: steps that fail for one reason are then told once
                cause = error.__cause__
                reason = cause.strerror if isinstance(cause, OSError) else str(error)
                why = f"cannot write to {self.folder}: {reason}; free some space there, or {otherwise}"
            warnings.warn(f"finished work is not kept, so it is done again: {why}", BitpropWarning, stacklevel=2)


def _unpack(key: str, content: bytes) -> dict[str, bytes] | None:
    """The parts, or ``None`` if anything about the entry is not as it was stored."""
    line, _, body = content.partition(b"\n")
    try:
        head = json.loads(line)
        if head["kind"] != _MAGIC or head["key"] != key or head["sha256"] != sha256_bytes(body):
            return None
        plain, parts, start = zlib.decompress(body), {}, 0
        for name, size in head["parts"].items():
            parts[str(name)] = plain[start : start + size]
            start += size
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error, RecursionError):
        return None
    return parts if start == len(plain) else None
