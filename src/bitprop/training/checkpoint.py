"""Checkpoints: written whole or not at all, read without unpickling, and refused if a byte has changed."""

from __future__ import annotations

import contextlib
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from bitprop._checks import one_line
from bitprop.artifacts import sha256_bytes
from bitprop.errors import ArtifactError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["read_checkpoint", "write_checkpoint"]

_VERSION = 1
# What a damaged checkpoint makes torch, its unpickler or a look into it raise.
_UNREADABLE = (
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)


def _digest(value: Any) -> str:
    """SHA-256 over nested plain values and tensors: names, types, shapes and bytes."""
    if isinstance(value, Tensor):
        array = value.detach().cpu().contiguous()
        content = f"{array.dtype} {list(array.shape)} ".encode() + array.numpy().tobytes()
    elif isinstance(value, dict):
        content = "".join(f"{key!r}:{_digest(item)};" for key, item in value.items()).encode()
    elif isinstance(value, list | tuple):
        content = "".join(f"{_digest(item)};" for item in value).encode()
    else:
        content = f"{type(value).__name__} {value!r}".encode()
    return sha256_bytes(type(value).__name__.encode() + content)


def _reason(error: Exception) -> str:
    """One line on a checkpoint that cannot be read; torch's own, of several, advises to unpickle it."""
    if isinstance(error, pickle.UnpicklingError):
        return "it is none, or holds more than tensors and plain values"
    return one_line(error)


def write_checkpoint(
    fabric: Fabric, path: Path, fingerprint: str, content: Mapping[str, Any], first: Callable[[], object]
) -> None:
    """Write a checkpoint to a new file, then rename it.

    Args:
        fabric: every process calls this; one writes.
        path: the checkpoint.
        fingerprint: of what the checkpoint belongs to.
        content: tensors and plain values, nested.
        first: called, in the process that writes, before the new checkpoint takes the old one's place.

    Raises:
        ArtifactError: the file cannot be written.
    """
    part = path.with_suffix(".part")
    whole = {"version": _VERSION, "fingerprint": fingerprint, **content}
    try:
        fabric.save(part, {**whole, "digest": _digest(whole)})
        if fabric.is_global_zero:
            first()
            part.replace(path)
    except (OSError, RuntimeError) as error:  # torch's own writer raises the latter where the disk is full
        with contextlib.suppress(OSError):
            part.unlink()
        reason = error.strerror if isinstance(error, OSError) else error
        raise ArtifactError(f"cannot write {path}: {reason}; free some space and resume") from error


def read_checkpoint(fabric: Fabric, path: Path, fingerprint: str) -> dict[str, Any]:
    """Read a checkpoint back.

    Raises:
        ArtifactError: none there, damaged, altered, or with another fingerprint.
    """
    if not path.is_file():
        raise ArtifactError(f"expected a checkpoint at {path} to resume from, found none; train afresh")
    try:
        saved: dict[str, Any] = fabric.load(path, weights_only=True)
        digest = saved.pop("digest")
        intact = digest == _digest(saved)
    except PermissionError as error:
        raise ArtifactError(f"cannot read the checkpoint {path}: {error.strerror}; make it readable") from error
    except _UNREADABLE as error:
        raise ArtifactError(
            f"cannot read the checkpoint {path}: {_reason(error)}; delete it and train afresh"
        ) from error
    if not intact:
        raise ArtifactError(f"cannot read the checkpoint {path}: it was altered; delete it and train afresh")
    if saved.get("version") != _VERSION or saved.get("fingerprint") != fingerprint:
        raise ArtifactError(
            f"expected a checkpoint of this very configuration and data in {path}; train in another folder"
        )
    return saved
