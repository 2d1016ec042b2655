"""Tables of the hardware pages of the documentation, from stored results."""

from __future__ import annotations

import json
from pathlib import Path

from gradient_tables import markdown

__all__ = ["cost_model_errors", "random_networks", "rtl_lint", "rtl_proofs"]

RESULTS = Path(__file__).resolve().parent.parent / "benchmarks" / "results"


def rtl_proofs() -> str:
    """Module, property, scope, time and refuted faults of every proof (``bitprop prove --json``)."""
    stored = json.loads((RESULTS / "proofs.json").read_text(encoding="utf-8"))
    rows = [
        [
            f"`{row['name']}`",
            row["property"],
            row["scope"],
            str(row["cases"]),
            row["status"],
            f"{row['seconds']:.1f}",
            f"{len(row['refuted'])} of {row['mutants']}",
        ]
        for row in stored["proofs"]
    ]
    table = markdown(["proof", "property", "scope", "cases", "answer", "seconds", "faults refuted"], rows)
    refuted = {fault for row in stored["proofs"] for fault in row["refuted"]}
    kept = sum(row["cached"] for row in stored["proofs"])
    return (
        f"{table}\n\n{len(refuted)} planted faults, {len(stored['survivors'])} unnoticed. "
        f"{stored['seconds'] / 60:.1f} minutes with {stored['workers']} provers at once, "
        + (f"without {kept} proofs whose answers were kept. " if kept else "every answer computed. ")
        + f"{'; '.join(stored['tools'])}."
    )


def random_networks() -> str:
    """What random networks are made of, and what comparing them came to (``tools/random_parity.py --json``)."""
    stored = json.loads((RESULTS / "random_parity.json").read_text(encoding="utf-8"))

    def counts(name: str) -> str:
        return ", ".join(f"{count} {kind}" for kind, count in stored[name].items())

    low, high = stored["lengths"]
    rows = [
        ["networks; layers", f"{stored['networks']:,}; {stored['layers']:,}"],
        ["layers by architecture", counts("architectures")],
        ["layers by encoding", counts("encodings")],
        ["layers with correlated streams", f"{stored['correlated']:,}"],
        ["sources", counts("sources")],
        [
            "stream lengths; bits",
            f"{low} to {high}; {min(stored['precision_bits'])} to {max(stored['precision_bits'])}",
        ],
        ["integers compared in simulation", f"{stored['integers']:,}"],
        ["networks with a mismatch", str(len(stored["failures"]))],
        ["simulators", "; ".join(stored["tools"])],
    ]
    return markdown(["random networks", ""], rows)


def rtl_lint() -> str:
    """What three front ends said about random networks (``tools/lint_rtl.py --json``)."""
    stored = json.loads((RESULTS / "rtl_lint.json").read_text(encoding="utf-8"))
    said = f"{len(stored['complaints'])} with a warning" if stored["complaints"] else "not one warning"
    return f"{stored['networks']:,} designs, {said}: {'; '.join(stored['tools'].values())}."


def cost_model_errors() -> str:
    """The cost model's relative errors, and what it expects of two designs far larger than the fitted ones."""
    stored = json.loads((RESULTS / "cost_grid.json").read_text(encoding="utf-8"))
    rows = []
    for key, label in (("fitted", "fitted"), ("held_out", "**held out**")):
        entry = stored["errors"][key]
        parts = [f"{100 * entry[name][kind]:.1f}%" for name in ("lut", "ff", "fmax") for kind in ("median", "worst")]
        rows.append([f"{label}, {entry['designs']} designs", *parts])
    columns = ["designs", "LUT, median", "worst", "FF, median", "worst", "Fmax, median", "worst"]
    errors = markdown(columns, rows)
    rows = []
    for entry in stored["beyond"]:
        expected, measured = entry["expected"], entry["measured"]
        parts = [f"{expected[name]:,.0f}; {measured[name]:,.0f}" for name in ("lut", "ff", "bram", "dsp", "fmax_mhz")]
        rows.append([f"784-128-10, {entry['design']}", *parts])
    columns = ["expected; measured", "LUT", "FF", "block RAM", "multipliers", "Fmax, MHz"]
    return f"{errors}\n\n{markdown(columns, rows)}"
