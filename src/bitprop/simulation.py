"""Simulate a handoff folder: its Verilog, on its test vectors, against the reference interpreter."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from bitprop.errors import ArtifactError
from bitprop.graph.spec import load_document
from bitprop.handoff.export import DOCUMENT_FILE, INPUTS_FILE, parse_inputs
from bitprop.toolchain import SIMULATORS
from bitprop.verification.parity import ParityResult, check_parity

__all__ = ["simulate_folder"]


def simulate_folder(
    folder: str | os.PathLike[str],
    *,
    simulators: Sequence[str] | None = None,
    samples: int | None = None,
    timeout: float = 900.0,
) -> ParityResult:
    """Compare every output integer of a handoff's Verilog with the reference interpreter.

    Args:
        folder: what ``bitprop export`` wrote.
        simulators: names in :data:`bitprop.toolchain.SIMULATORS`; all of them if ``None``.
        samples: at most so many of the folder's samples; all, and 16 in Icarus, if ``None``.
        timeout: seconds for one build or run.

    Raises:
        ArtifactError: not a handoff folder, or damaged vectors.
        DocumentError: the program is not valid.
        RangeError: an unknown simulator.
        ToolNotFoundError: a simulator is not installed.
        ToolTimeoutError: a build or a run took too long.
    """
    root = Path(folder)
    document = load_document(root / DOCUMENT_FILE)
    try:
        inputs = parse_inputs((root / INPUTS_FILE).read_bytes())
    except OSError as error:
        raise ArtifactError(f"expected test vectors at {root / INPUTS_FILE}: {error.strerror}; export again") from error
    names = tuple(simulators) if simulators else tuple(SIMULATORS)
    limits = None if samples is None else dict.fromkeys(names, samples)
    return check_parity(
        document,
        root / "rtl",
        inputs,
        names,
        samples=limits,
        build_timeout=timeout,
        run_timeout=timeout,
    )
