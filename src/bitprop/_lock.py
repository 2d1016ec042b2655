"""One process at a time writes into a folder.

The lock is the kernel's, on a file in the folder, so it ends with the process that has it, however that ends.  The file
says which process that is, for the message of the next one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path

from bitprop.artifacts import cannot_write
from bitprop.errors import BitpropWarning, FolderInUseError

__all__ = ["LOCK", "has_lock", "hold_folder"]

LOCK = ".bitprop.lock"


def has_lock(folder: Path) -> bool:
    """Whether a process holds the folder, or was killed while it did."""
    try:
        return (folder / LOCK).is_file()
    except OSError:  # a name that no folder can have
        return False


@contextlib.contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Keep other processes that ask for the folder out of it.

    The folder is made if it is not there, and removed at the end if it was made here and nothing came into it.

    Args:
        folder: where the work goes.

    Raises:
        FolderInUseError: another one holds it; the message says which.
        ArtifactError: the folder cannot be made or written.
    """
    try:
        made = not folder.exists()
        handle = _locked(folder)
    except OSError as error:
        raise cannot_write(Path(error.filename or folder), error) from error
    try:
        yield
    finally:
        # removed while it is still held: who opened it meanwhile sees that it is not the folder's file any more
        with contextlib.suppress(OSError):
            (folder / LOCK).unlink()
        os.close(handle)
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _locked(folder: Path) -> int:
    """The handle of the lock's file, which says that it is ours."""
    path = folder / LOCK
    while True:
        folder.mkdir(parents=True, exist_ok=True)  # again: who made it, and had it, may have removed it
        # over NFS only a file that is open for writing can be locked
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(handle)
            os.close(handle)
            raise FolderInUseError(
                f"expected a folder that nothing else writes into, {folder} is held by {holder}; wait for it, stop it, "
                "or choose another folder"
            ) from None
        except OSError as error:
            warnings.warn(
                f"cannot lock {folder}: {error.strerror}; see that no other process writes into it",
                BitpropWarning,
                stacklevel=2,
            )
            return handle
        if _is_file_of(handle, path):
            break
        os.close(handle)
    with contextlib.suppress(OSError):  # a full disk: the lock holds all the same
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    return handle


def _is_file_of(handle: int, path: Path) -> bool:
    """Whether the open file is still the one at the path: who had it before may have removed it."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _holder(handle: int) -> str:
    """Who says that it has the lock."""
    text = os.pread(handle, 300, 0).decode("utf-8", "replace").strip()
    return text if text.startswith("process ") and text.isprintable() else "another process"
