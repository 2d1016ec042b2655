"""Native kernels: whether there are any, which instruction set they use, and why not if there are none.

The extension module ``bitprop._kernels`` holds every kernel once per *level*: plain C++ (``portable``), AVX2, AVX-512
and AVX-512 with VBMI.  A level is used where the machine has it and where, on its first use, it gives the integers of
the portable one on a small problem.  The plain reference in Python (``reference``) is always there and is the truth.

The environment variable ``BITPROP_KERNELS`` names the highest level to use; ``reference`` uses no kernel at all.
"""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bitprop.errors import RangeError

__all__ = ["LEVELS", "VARIABLE", "describe", "extension", "level", "levels", "use_level", "why_not"]

LEVELS = ("reference", "portable", "avx2", "avx512", "avx512vbmi")
"""Every level, from the plainest."""

VARIABLE = "BITPROP_KERNELS"

_SOURCES = Path(__file__).resolve().parents[2] / "kernels"


def _digest(folder: Path) -> str:
    """What CMakeLists.txt computes: SHA-256 over the names and the SHA-256 of the C++ sources."""
    names = sorted(path.name for path in folder.iterdir() if path.suffix in {".cpp", ".h"})
    lines = [f"{name} {hashlib.sha256((folder / name).read_bytes()).hexdigest()}\n" for name in names]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _load() -> tuple[Any, str]:
    try:
        module = importlib.import_module("bitprop._kernels")
    except ImportError as error:
        if error.name == "bitprop._kernels" and error.path is None:
            return None, "none were built; `make kernels` builds them and says what is missing"
        return None, f"they cannot be loaded ({error}); `make kernels` builds them anew"
    # an installed package has no sources beside it
    if (_SOURCES / "module.cpp").is_file() and _digest(_SOURCES) != module.SOURCES:
        return None, "they were built from other sources; `make kernels` builds them anew"
    return module, ""


_MODULE, _WHY_NOT = _load()
_BEST: str | None = None if _MODULE is None else _MODULE.limit()
_chosen: str | None = None


def levels() -> tuple[str, ...]:
    """The levels this installation can use on this machine, from the plainest; ``reference`` is always there.

    Example:
        >>> levels()[0]
        'reference'
    """
    return ("reference",) if _MODULE is None else ("reference", *_MODULE.supported_levels())


def _choose(name: str, source: str) -> str:
    global _chosen
    if name not in levels():
        why = f" ({_WHY_NOT})" if _WHY_NOT else ""
        raise RangeError(f"expected {source} among {', '.join(levels())} on this machine, got {name!r}{why}")
    if name != "reference":
        _MODULE.set_limit(name)
    _chosen = name
    return name


def level() -> str:
    """The highest level in use, or ``reference``.

    Raises:
        RangeError: ``BITPROP_KERNELS`` names a level that this machine does not have.
    """
    if _chosen is not None:
        return _chosen
    return _choose(os.environ.get(VARIABLE, "") or _BEST or "reference", VARIABLE)


def extension() -> Any:
    """The extension module, or ``None`` where the plain reference is to be used.

    Raises:
        RangeError: ``BITPROP_KERNELS`` names a level that this machine does not have.
    """
    return None if level() == "reference" else _MODULE


def why_not() -> str:
    """Why there are no native kernels; empty if there are."""
    return _WHY_NOT


@contextmanager
def use_level(name: str) -> Iterator[None]:
    """Use no level above this one for a while, in the whole process.

    Args:
        name: one of :func:`levels`.

    Raises:
        RangeError: this machine does not have the level.

    Example:
        >>> with use_level("reference"):
        ...     print(level(), extension())
        reference None
    """
    before = level()
    _choose(name, "a level")
    try:
        yield
    finally:
        _choose(before, "a level")


def describe() -> str:
    """One line on the kernels in use, for people.

    Raises:
        RangeError: ``BITPROP_KERNELS`` names a level that this machine does not have.
    """
    here = level()
    if here == "reference":
        return f"reference (NumPy and torch): {_WHY_NOT or f'{VARIABLE}=reference'}"
    words = f"native, {here}"
    plainer = {name: used for name, used in _MODULE.families().items() if used != here}
    if plainer:
        words += " (" + ", ".join(f"{name}: {used}" for name, used in plainer.items()) + ", the best that agreed)"
    return words
