"""A cocotb test bench for a handoff: Python tests of the emitted network that a user runs, reads and extends."""

from __future__ import annotations

import os
from pathlib import Path

from bitprop.errors import ArtifactError, RangeError
from bitprop.handoff._files import check_replaceable, new_folder, read_snapshot, write_files
from bitprop.handoff.checks import load_network_document
from bitprop.hdl.bench import cocotb_bench

__all__ = ["BENCHES", "bench_folder", "check_bench", "write_bench"]

BENCHES = ("cocotb",)
"""Kinds of benches."""


def _is_bench(folder: Path) -> bool:
    return (folder / "run.py").is_file() and any(folder.glob("test_*.py"))


def bench_folder(handoff: str | os.PathLike[str], kind: str = "cocotb") -> Path:
    """Where the bench of a handoff lies: beside it, since the handoff's own files are accounted for one by one.

    Raises:
        ArtifactError: nothing can lie beside it.

    Example:
        >>> str(bench_folder("out/handoff"))
        'out/handoff_cocotb'
    """
    path = Path(handoff)
    if path.name in ("", ".."):  # "." and the like have a name only as a whole path
        path = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links
    if not path.name:
        raise ArtifactError(f"expected a handoff folder with a place beside it, got {path}; choose another folder")
    return path.with_name(f"{path.name}_{kind}")


def check_bench(kind: str, handoff: str | os.PathLike[str]) -> None:
    """Refuse a bench that :func:`write_bench` would not write.

    Raises:
        RangeError: an unknown kind.
        ArtifactError: its folder holds other files.
    """
    if kind not in BENCHES:
        raise RangeError(f"expected a bench of {', '.join(BENCHES)}, got {kind!r}; choose one")
    check_replaceable(bench_folder(handoff, kind), _is_bench, "a bench's folder")


def write_bench(kind: str, handoff: str | os.PathLike[str]) -> Path:
    """Write the bench of a handoff folder beside it: ``test_<network>.py`` and ``run.py``, which builds and runs it.

    It streams the handoff's test vectors through the ports with cocotb and Icarus Verilog, back to back and with
    back-pressure, and compares every logit and decision.

    Args:
        kind: ``cocotb``.
        handoff: the folder that :func:`~bitprop.handoff.export.export_network` wrote.

    Returns:
        The bench's folder.

    Raises:
        RangeError: an unknown kind.
        ArtifactError: no such handoff, or the bench's folder holds other files or cannot be written.
        DocumentError: its document is not valid.
    """
    check_bench(kind, handoff)
    document = load_network_document(read_snapshot(handoff).files)
    folder = bench_folder(handoff, kind)
    files = cocotb_bench(document, os.path.relpath(handoff, folder))
    with new_folder(folder, _is_bench) as fresh:
        write_files(fresh, {name: text.encode("utf-8") for name, text in files.items()})
    return folder
