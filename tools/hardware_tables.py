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
    seconds = sum(row["seconds"] + row["mutant_seconds"] for row in stored["proofs"])
    return (
        f"{table}\n\n{len(refuted)} planted faults, {len(stored['survivors'])} unnoticed. {seconds / 60:.0f} minutes "
        "of provers one after the other, starts included, on two cores that were busy with much other work. "
        f"{'; '.join(stored['tools'])}."
    )
