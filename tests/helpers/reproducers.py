"""Running the scripts of an audit's findings without this package."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bitprop.verification.peers import Finding, PeerAudit
from helpers.warm_python import WarmPython

__all__ = ["check_reproducers", "run_as_file", "run_scripts"]

RUNNER = """
import contextlib, io, json, sys
results = []
for source in json.load(open(sys.argv[1])):
    out, code = io.StringIO(), 0
    with contextlib.redirect_stdout(out):
        try:
            exec(compile(source, "reproducer", "exec"), {"__name__": "__main__"})
        except SystemExit as stop:
            code = int(stop.code)
    results.append([code, out.getvalue()])
assert not any(name.split(".")[0] == "bitprop" for name in sys.modules)
json.dump(results, open(sys.argv[2], "w"))
"""


def run_scripts(python: WarmPython, sources: list[str], folder: Path) -> list[tuple[int, dict[str, float]]]:
    """Run scripts one after the other in one process without this package, and read the numbers that they print."""
    (folder / "sources.json").write_text(json.dumps(sources), encoding="utf-8")
    (folder / "runner.py").write_text(RUNNER, encoding="utf-8")
    run = python.run(folder / "runner.py", "sources.json", "results.json", folder=folder)
    assert run.returncode == 0, run.stderr[-2000:]
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return [(code, {k: float(v) for k, v in re.findall(r"^(\w+) +(\S+)$", text, re.M)}) for code, text in results]


def check_reproducers(python: WarmPython, audit: PeerAudit, folder: Path) -> None:
    """Every script imports its framework and torch only, shows the finding's numbers, and exits 1."""
    sources = [finding.reproducer for finding in audit.findings]
    for finding, (code, numbers) in zip(audit.findings, run_scripts(python, sources, folder), strict=True):
        lines = re.findall(r"^(?:import|from) .*$", finding.reproducer, re.M)
        imports = {line.split()[1].split(".")[0] for line in lines}
        allowed = {audit.framework, "torch", "math", "copy", "typing", "collections", "warnings", "__future__"}
        assert imports <= allowed, finding.key
        assert code == 1, finding.key
        assert numbers["documented"] == pytest.approx(finding.documented, rel=1e-6), finding.key
        assert numbers["computed"] == pytest.approx(finding.computed, rel=1e-6, nan_ok=True), finding.key


def run_as_file(python: WarmPython, finding: Finding, folder: Path) -> None:
    """The finding's script runs as a file, prints its numbers, and exits 1."""
    script = folder / "reproducer.py"
    script.write_text(finding.reproducer, encoding="utf-8")
    run = python.run(script, folder=folder, timeout=120)
    assert run.returncode == 1, run.stderr[-2000:]
    assert run.stdout.startswith("documented ")
