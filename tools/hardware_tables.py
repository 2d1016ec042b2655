"""Tables of the hardware pages of the documentation, from stored results."""

from __future__ import annotations

import json
from pathlib import Path

from gradient_tables import markdown

__all__ = ["rtl_proofs"]

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
    return (
        f"{table}\n\n{len(refuted)} planted faults, {len(stored['survivors'])} unnoticed. {stored['seconds']:.0f} s in "
        f"all with two provers at once, on two cores that were busy with other work too. {'; '.join(stored['tools'])}."
    )
