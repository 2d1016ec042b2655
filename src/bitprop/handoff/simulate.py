"""Run the Verilog of a handoff folder, as it lies there, against the reference interpreter."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from bitprop.handoff._files import read_snapshot, scratch_copy
from bitprop.handoff.checks import load_network_document, require_file
from bitprop.handoff.export import INPUTS_FILE, parse_inputs
from bitprop.verification.parity import ParityResult, check_parity

__all__ = ["simulate_folder"]


def simulate_folder(
    folder: str | os.PathLike[str],
    *,
    simulators: Sequence[str] | None = None,
    samples: int | Mapping[str, int] | None = None,
    timeout: float = 900.0,
    netlist: bool = False,
) -> ParityResult:
    """Simulate a handoff on its stored test vectors; every output integer is compared with the interpreter's.

    The folder's own Verilog runs, unlike in the audit, so that a changed file shows where it first goes wrong: run
    folders you trust.

    Args:
        folder: written by :func:`~bitprop.handoff.export.export_network`, or an evidence set's handoff folder.
        simulators: names in :data:`bitprop.toolchain.SIMULATORS`; ``None`` takes Icarus and Verilator, or Icarus alone
            for a netlist.
        samples: at most so many samples, for all simulators or for each; ``None``: all, Icarus 16.
        timeout: seconds for one build or run.
        netlist: synthesise, and simulate the netlist: ``icarus`` stands for ``icarus_netlist`` and so on;
            ``icarus_netlist_ice40`` is another part's.

    Raises:
        RangeError: no such simulator.
        ArtifactError: no such folder, or it lacks a file.
        DocumentError: its document is not valid.
        ToolNotFoundError: a simulator is not installed.
        SimulationError: a build failed, or a simulation gave no result.
        SynthesisError: the netlist cannot be made.
    """
    snapshot = read_snapshot(folder)
    document = load_network_document(snapshot.files)
    inputs = parse_inputs(require_file(snapshot.files, INPUTS_FILE))
    chosen = tuple(simulators) if simulators else ("icarus",) if netlist else ("icarus", "verilator")
    if netlist:
        chosen = tuple(name if "_netlist" in name else f"{name}_netlist" for name in chosen)
    limits = dict.fromkeys(chosen, samples) if isinstance(samples, int) else samples
    rtl = {path: content for path, content in snapshot.files.items() if path.startswith("rtl/")}
    require_file(rtl, "rtl/files.f")
    with scratch_copy(rtl) as scratch:
        return check_parity(
            document,
            scratch / "rtl",
            inputs,
            chosen,
            samples=limits,
            build_timeout=timeout,
            run_timeout=timeout,
        )
