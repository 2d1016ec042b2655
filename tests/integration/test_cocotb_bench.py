"""The bench in Python that export writes passes on a sound circuit, objects to a faulty one, says what it lacks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bitprop.errors import ArtifactError, RangeError
from bitprop.graph.random import random_architecture, random_document, random_inputs
from bitprop.graph.spec import Document
from bitprop.handoff.audit import audit_folder
from bitprop.handoff.bench import bench_folder, check_bench, write_bench
from bitprop.handoff.export import export_network
from bitprop.handoff.refold import Choice


def small(number: int) -> Document:
    return random_document(number, max_features=5, max_layers=2, max_length=6, max_precision_bits=6)


def run_bench(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *options, str(folder / "run.py")]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("kind", ["parallel", "loadable"])
def test_the_bench_passes_and_objects_to_a_fault(kind: str, tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    require_tool("iverilog")
    require_tool("cocotb-config")
    document = small(2)
    if kind == "loadable":
        document = Choice(weights="loadable").apply(random_architecture(document, 4))
        assert any(layer.fold is not None for layer in document.layers)
    handoff = tmp_path / "handoff"
    export_network(document, handoff, inputs_raw=random_inputs(document, 5))
    folder = write_bench("cocotb", handoff)
    done = run_bench(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 tests passed" in done.stdout
    # once when samples come back to back, once when they come with pauses
    assert done.stdout.count(f"{5 * (document.layers[-1].out_features + 1)} integers of 5 samples are equal") == 2
    # the bench lies beside the handoff, whose files are accounted for
    assert audit_folder(handoff, simulate=False).status == "incomplete"

    name = "bitprop_decision.v" if kind == "parallel" or document.layers[-1].fold is None else "bitprop_fold_decision.v"
    decision = handoff / "rtl" / name
    text = decision.read_text(encoding="utf-8")
    changed = text.replace("out_logits <= ", "out_logits <= ~")
    assert changed != text
    decision.write_text(changed, encoding="utf-8")
    done = run_bench(folder)
    assert done.returncode == 1
    assert "0 of 2 tests passed" in done.stdout
    assert "sample 0: expected" in done.stdout + done.stderr


def test_the_bench_says_what_it_lacks(tmp_path: Path) -> None:
    document = small(2)
    handoff = tmp_path / "handoff"
    export_network(document, handoff, inputs_raw=random_inputs(document, 1))
    folder = write_bench("cocotb", handoff)
    # without any installed package
    done = run_bench(folder, "-I", "-S")
    assert done.returncode == 1
    assert done.stderr.startswith("expected the Python package cocotb, 2.0 or newer")
    assert "Traceback" not in done.stderr


def test_a_bench_replaces_nothing_but_a_bench(tmp_path: Path) -> None:
    document = small(2)
    handoff = tmp_path / "handoff"
    export_network(document, handoff, inputs_raw=random_inputs(document, 1))
    assert write_bench("cocotb", handoff) == write_bench("cocotb", handoff) == bench_folder(handoff)
    with pytest.raises(RangeError, match="cocotb, got 'uvm'"):
        check_bench("uvm", handoff)
    other = tmp_path / "other"
    bench_folder(other).mkdir()
    (bench_folder(other) / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(ArtifactError, match="other files"):
        check_bench("cocotb", other)
    with pytest.raises(ArtifactError, match="expected a folder"):
        write_bench("cocotb", tmp_path / "nothing")
