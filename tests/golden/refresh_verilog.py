"""Rewrite the golden Verilog and the published JSON Schema: ``PYTHONPATH=src python tests/golden/refresh_verilog.py``.

Look at the difference before committing it: the snapshots exist so that every change of generated text is seen.
"""

from __future__ import annotations

from pathlib import Path

from bitprop.artifacts import write_json, write_text
from bitprop.graph.spec import json_schema, load_document
from bitprop.hdl import generate, generate_alone

GOLDEN = Path(__file__).with_name("verilog")
SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "scnir-1.1.schema.json"


def expected_files() -> dict[Path, str]:
    """Golden path to the text that the present code generates for it."""
    document = load_document(GOLDEN / "golden.json")
    return {GOLDEN / name: text for name, text in {**generate(document), **generate_alone(document, 1)}.items()}


if __name__ == "__main__":
    for path, text in expected_files().items():
        write_text(path, text)
    write_json(SCHEMA, json_schema())
