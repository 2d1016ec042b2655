"""The proofs of the Verilog library: a sample is carried out here; ``make prove`` carries out all of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

import bitprop.hdl
import bitprop.ops
from bitprop.cli import app
from bitprop.errors import RangeError, RegistryError
from bitprop.ops import OPS
from bitprop.toolchain.cache import ResultCache
from bitprop.toolchain.symbiyosys import prover_is_available
from bitprop.verification.rtl_mutants import RTL_MUTANTS, mutated
from bitprop.verification.rtl_proof import ROM_BANKS, module_text
from bitprop.verification.rtl_proof_cases import PROOFS
from bitprop.verification.rtl_proofs import content_of, mutants_of, prove_library, task_of

OPERATIONS = Path(bitprop.ops.__file__).parent
LIBRARY = Path(bitprop.hdl.__file__).parent / "library"
STORED = Path(__file__).parents[2] / "benchmarks" / "results" / "proofs.json"


def need_prover() -> None:
    if prover_is_available():
        return
    if os.environ.get("BITPROP_REQUIRE_TOOLS") == "1":
        pytest.fail("the prover is not installed, and BITPROP_REQUIRE_TOOLS=1 asks for it")
    pytest.skip("the prover is not installed")


# --- the table ------------------------------------------------------------------------------------------------------


# checked by simulation and planted faults alone (tests/agreement: test_baseline_agreement, test_board_agreement)
SIMULATED = {"bitprop_mac_buffer", "bitprop_serial_port"}


def test_every_module_has_a_proof_and_every_harness_is_used() -> None:
    modules = {key for key in OPS if OPS[key].module is not None} | {path.stem for path in LIBRARY.glob("*.v")}
    proofs = [PROOFS[name] for name in PROOFS]
    assert {module for proof in proofs for module in (proof.module, *proof.covers)} == (modules - SIMULATED) | {
        ROM_BANKS
    }
    harnesses = {path.stem for folder in (OPERATIONS, LIBRARY) for path in (folder / "formal").glob("*.sv")}
    assert harnesses == {proof.name for proof in proofs if proof.network is None}
    assert all(proof.cases for proof in proofs)


@pytest.mark.parametrize("name", RTL_MUTANTS)
def test_every_planted_fault_fits_its_module(name: str) -> None:
    text = module_text(RTL_MUTANTS[name][0])
    assert mutated(name, text) != text


def test_every_module_has_planted_faults() -> None:
    faulty = {module for module, _, _ in RTL_MUTANTS.values()}
    assert [
        module for name in PROOFS for module in (PROOFS[name].module, *PROOFS[name].covers) if module not in faulty
    ] == []
    assert [name for name in PROOFS if not mutants_of(PROOFS[name])] == []


def test_a_fault_is_sought_at_the_ports_only() -> None:
    proof, fault = task_of("halton"), task_of("halton", "halton not reversed")
    assert proof.taps
    assert "INVARIANT\n" in proof.files["prove_halton.sv"].splitlines(keepends=True)[0]
    assert not fault.taps
    assert fault.files["prove_halton.sv"] == PROOFS["halton"].harness()


def test_unknown_names_are_refused() -> None:
    with pytest.raises(RegistryError, match="halton"):
        task_of("hilton")
    with pytest.raises(RangeError, match="planted fault"):
        task_of("halton", "no such fault")
    with pytest.raises(RegistryError, match="library module"):
        module_text("bitprop_nothing")


def test_the_stored_results_are_those_of_this_library() -> None:
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    assert stored["passed"]
    rows = {row["name"]: row for row in stored["proofs"]}
    assert {name: row["content"] for name, row in rows.items()} == {name: content_of(name) for name in PROOFS}
    assert {fault for row in rows.values() for fault in row["refuted"]} == set(RTL_MUTANTS)


# --- a sample of the proofs -----------------------------------------------------------------------------------------


def test_a_sample_is_proved_and_its_faults_refuted_and_the_answers_kept(tmp_path: Path) -> None:
    need_prover()
    cache = ResultCache(tmp_path)
    report = prove_library(["compare", "bitprop_requantise_bank"], cache=cache)
    assert report.passed
    assert [row.outcome.status for row in report.rows] == ["pass", "pass"]
    assert all(len(row.refuted) >= 2 and not row.missed and not row.cached for row in report.rows)
    said: list[str] = []
    again = prove_library(["compare", "bitprop_requantise_bank"], cache=cache, say=said.append)
    assert all(row.cached for row in again.rows)
    assert all(line.endswith("(kept)") for line in said)
    assert [row.refuted for row in again.rows] == [row.refuted for row in report.rows]


def test_a_wrong_module_fails_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    need_prover()
    # the module is wrong as shipped, and its planted fault is the right one: nothing is refuted
    wrong = mutated("compare less or equal", module_text("compare"))
    monkeypatch.setattr("bitprop.verification.rtl_proofs.module_text", lambda stem: wrong)
    monkeypatch.setattr(
        "bitprop.verification.rtl_proofs.RTL_MUTANTS", {"mended": ("compare", "} <= threshold", "} < threshold")}
    )
    monkeypatch.setitem(RTL_MUTANTS, "mended", ("compare", "} <= threshold", "} < threshold"))
    done = CliRunner().invoke(app, ["prove", "compare", "--fresh", "--json", "-"])
    assert done.exit_code == 1
    report = json.loads(done.stdout)
    assert not report["passed"]
    assert report["survivors"] == ["mended"]
    assert report["proofs"][0]["status"] == "fail"
    assert "prove_compare.sv" in report["proofs"][0]["detail"]


def test_a_missing_prover_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BITPROP_SBY", str(tmp_path / "nowhere"))
    done = CliRunner().invoke(app, ["prove", "compare", "--fresh"])
    assert done.exit_code == 3
    assert "BITPROP_SBY" in done.stderr
