"""Area and clock of a handoff folder or a document: synthesis, placement and routing, one call."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from bitprop.graph.spec import Document, load_document
from bitprop.handoff._files import read_snapshot, scratch_copy
from bitprop.handoff.checks import load_network_document, require_file
from bitprop.hdl import emit
from bitprop.toolchain._process import scratch_folder
from bitprop.toolchain.cache import ResultCache
from bitprop.toolchain.flow import Implementation, implement
from bitprop.toolchain.yosys import read_design

__all__ = ["emitted", "implement_path", "rtl_of"]


def rtl_of(path: str | os.PathLike[str]) -> tuple[Document, dict[str, bytes]]:
    """Document and design files of a handoff folder, as they lie there, or of a document, emitted now.

    Raises:
        ArtifactError: no such folder, or it lacks a file.
        DocumentError: the document is not valid.
        NotExportableError: a source has no hardware.
        SynthesisError: a design file is missing.
    """
    if not Path(path).is_dir():
        document = load_document(path)
        return document, emitted(document)
    snapshot = read_snapshot(path)
    document = load_network_document(snapshot.files)
    rtl = {file: content for file, content in snapshot.files.items() if file.startswith("rtl/")}
    require_file(rtl, "rtl/files.f")
    with scratch_copy(rtl) as scratch:
        return document, read_design(scratch / "rtl", document.name)


def emitted(document: Document) -> dict[str, bytes]:
    """The design files of a document."""
    with scratch_folder() as folder:
        emit(document, folder)
        return read_design(folder, document.name)


def implement_path(
    path: str | os.PathLike[str],
    device: str,
    *,
    seeds: Sequence[int] = (1, 2, 3),
    frequency_mhz: float = 100.0,
    timeout: float = 3600.0,
    cache: ResultCache | None = None,
    say: Callable[[str], None] | None = None,
    on_step: Callable[[str, int, int], None] | None = None,
) -> Implementation:
    """:func:`~bitprop.toolchain.flow.implement` of a handoff folder or a document's file.

    Raises:
        ArtifactError: no such folder, it lacks a file, or the cache cannot be written.
        DocumentError: the document is not valid.
        NotExportableError: a source has no hardware.
        RangeError: an argument out of range.
        ToolNotFoundError: a program is not installed.
        ToolTimeoutError: a step did not finish in time.
        SynthesisError: the design does not fit, cannot be routed, or a program failed.
    """
    document, files = rtl_of(path)
    return implement(
        files,
        document.name,
        device,
        seeds=seeds,
        frequency_mhz=frequency_mhz,
        timeout=timeout,
        cache=cache,
        say=say,
        on_step=on_step,
    )
