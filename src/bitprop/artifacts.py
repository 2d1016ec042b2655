"""Deterministic files: canonical JSON, content hashes, atomic writes, and the evidence they claim.

Same content, same bytes: keys are sorted, floats print as Python's shortest round-trip form, lines end in a
newline, and nothing records a clock, a host or a path of this machine.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitprop._checks import shortened
from bitprop.errors import ArtifactError

__all__ = [
    "EVIDENCE_LOCAL_PARITY",
    "EVIDENCE_SYNTHESIS",
    "cannot_write",
    "canonical_json",
    "check_target",
    "evidence",
    "json_value",
    "read_json",
    "sha256_bytes",
    "sha256_file",
    "write_bytes",
    "write_json",
    "write_text",
]

EVIDENCE_LOCAL_PARITY = "local_simulation_and_executable_hdl_parity"
"""Evidence class of everything simulated here: software and executable HDL agree; nothing was measured on a chip."""

EVIDENCE_SYNTHESIS = "open_source_synthesis_and_place_and_route_estimate"
"""Evidence class of area and timing: an estimate by named tools and versions; nothing was measured on a chip."""


_MAKE_READABLE = "check the path and your rights"

_ADVICE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.ELOOP: "remove the symbolic link that is in its place, or choose another folder",
    errno.EISDIR: "remove the folder that is in its place, or choose another one",
}


def evidence(boundary: str = EVIDENCE_LOCAL_PARITY) -> dict[str, Any]:
    """The fields every artefact carries: what kind of evidence it is, and that no hardware was measured."""
    return {"evidence_boundary": boundary, "hardware_measurement_claimed": False}


def _reject_non_finite(value: Any, where: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ArtifactError(f"expected finite numbers in an artefact, got {value!r} at {where}; fix the producer")
    if isinstance(value, Mapping):
        for key, item in value.items():
            _reject_non_finite(item, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _reject_non_finite(item, f"{where}[{index}]")


def _render(value: Any, indent: int) -> str:
    """Render with two-space indentation; a list of scalars stays on one line so that matrices read as rows."""
    pad = " " * indent
    if isinstance(value, Mapping):
        if not value:
            return "{}"
        rows = (
            f"{pad}  {json.dumps(str(key), ensure_ascii=False)}: {_render(value[key], indent + 2)}"
            for key in sorted(value, key=str)
        )
        return "{\n" + ",\n".join(rows) + f"\n{pad}}}"
    if isinstance(value, list | tuple):
        if any(isinstance(item, Mapping | list | tuple) for item in value):
            rows = (f"{pad}  {_render(item, indent + 2)}" for item in value)
            return "[\n" + ",\n".join(rows) + f"\n{pad}]"
        return json.dumps(list(value), ensure_ascii=False, allow_nan=False)
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def canonical_json(value: Mapping[str, Any]) -> str:
    """Render ``value`` as deterministic, readable JSON text.

    Raises:
        ArtifactError: a NaN or an infinity is inside; the message names where.
    """
    _reject_non_finite(value, "$")
    return _render(value, 0) + "\n"


def write_bytes(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write ``content`` so that a reader sees the old file or the whole new one, never a part.

    Raises:
        ArtifactError: the folder cannot be made or written, or a device is there, which would be replaced.
    """
    target = Path(path)
    try:
        if target.exists() and not (target.is_file() or target.is_dir()):
            raise ArtifactError(f"expected a file at {target}, found a device or a pipe; choose another path")
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            Path(name).chmod(0o644)
            os.replace(name, target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise cannot_write(target, error) from error
    return target


def cannot_write(target: Path, error: OSError) -> ArtifactError:
    """The error to raise where a file or folder could not be written, with advice."""
    advice = _ADVICE.get(error.errno or 0, "choose a folder you may write to")
    return ArtifactError(f"cannot write {target}: {error.strerror}; {advice}")


def check_target(path: str | os.PathLike[str]) -> None:
    """Refuse a path that :func:`write_bytes` could not write, before hours are spent on its content; nothing is made.

    Raises:
        ArtifactError: it is no file's name, something else lies there, or its folder cannot be made or written.

    Example:
        >>> check_target("results/area.json")
    """
    target = Path(path)
    try:
        if target.name in ("", "..") or (target.exists() and not target.is_file()):
            raise ArtifactError(
                f"expected the path of a file to write, got {os.fspath(path)!r}, which is none; add a file's name"
            )
        folder = next(parent for parent in target.absolute().parents if parent.exists())
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            raise ArtifactError(f"cannot write {target}: {folder} is no folder to write to; choose another one")
    except OSError as error:
        raise ArtifactError(f"cannot write {target}: {error.strerror}; choose another path") from error


def write_text(path: str | os.PathLike[str], content: str) -> Path:
    """UTF-8 form of :func:`write_bytes`."""
    return write_bytes(path, content.encode("utf-8"))


def write_json(path: str | os.PathLike[str], value: Mapping[str, Any]) -> Path:
    """Write :func:`canonical_json` of ``value`` atomically."""
    return write_text(path, canonical_json(value))


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for key, value in pairs:
        if key in fields:
            raise ArtifactError(f"expected each key of a JSON object once, got {shortened(key)} twice; leave one")
        fields[key] = value
    return fields


def json_value(text: str | bytes) -> Any:
    """The value of a JSON text; of a key that is given twice, Python's own loader would take the last value in silence.

    Raises:
        ArtifactError: a key is given twice in one object; the message names it.
        ValueError: not JSON.
        RecursionError: too deeply nested.

    Example:
        >>> json_value('{"lut": 900, "lut": 90}')
        Traceback (most recent call last):
        bitprop.errors.ArtifactError: expected each key of a JSON object once, got 'lut' twice; leave one
    """
    return json.loads(text, object_pairs_hook=_each_key_once)


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read one JSON object.

    Raises:
        ArtifactError: missing, unreadable, not JSON, a key given twice, or not an object.
    """
    target = Path(path)
    try:
        value = json_value(target.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"expected a JSON file at {target}, found none; write it again") from None
    except OSError as error:
        raise ArtifactError(f"cannot read {target}: {error.strerror}; {_MAKE_READABLE}") from error
    except ArtifactError as error:
        raise ArtifactError(f"{target}: {error}") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or an integer of thousands of digits
        raise ArtifactError(f"expected JSON in {target}, got something else ({error}); write it again") from error
    if not isinstance(value, dict):
        raise ArtifactError(f"expected a JSON object in {target}, got {type(value).__name__}; write it again")
    return value


def sha256_bytes(content: bytes) -> str:
    """The SHA-256 digest of ``content`` in lower-case hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: str | os.PathLike[str]) -> str:
    """The SHA-256 digest of a file's bytes.

    Raises:
        ArtifactError: the file cannot be read.
    """
    try:
        return sha256_bytes(Path(path).read_bytes())
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror}; {_MAKE_READABLE}") from error
