"""Runs the proofs of the Verilog library, and shows that each notices planted faults.

A proof holds when SymbiYosys says so for every case; a fault counts as refuted when the same assertions have a
counterexample on the faulty module.  Answers are kept by the hash of everything they depend on: harness, modules,
parameters, depth, and the versions of the tools.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from bitprop._checks import check_integer
from bitprop.artifacts import canonical_json
from bitprop.errors import RangeError, SimulationError
from bitprop.ops import OPS
from bitprop.toolchain.cache import ResultCache, cache_key
from bitprop.toolchain.symbiyosys import ProofOutcome, ProofTask, prove, prover_versions
from bitprop.verification.rtl_mutants import RTL_MUTANTS, mutated
from bitprop.verification.rtl_proof import RtlProof, module_text, rule_text
from bitprop.verification.rtl_proof_cases import PROOFS

__all__ = ["ProofReport", "ProofRow", "content_of", "mutants_of", "prove_library", "task_of"]

_MODULE = re.compile(r"^\s*(bitprop_\w+)\s+(?:#\(|\w+ \()", re.MULTILINE)
_RULE = re.compile(r"^\s*rule_(\w+)\s+#\(", re.MULTILINE)
_LANES = re.compile(r"\[\*\]")


def _stem(module: str) -> str:
    """``bitprop_lfsr`` is the operation ``lfsr``; library modules keep their name."""
    key = module.removeprefix("bitprop_")
    return key if key in OPS else module


def _modules(stem: str, fault: str | None) -> dict[str, str]:
    """The module's text and those of everything it instantiates, by stem."""
    text = module_text(stem)
    if fault is not None and RTL_MUTANTS[fault][0] == stem:
        text = mutated(fault, text)
    found = {stem: text}
    for name in _MODULE.findall(text):
        if _stem(name) not in found:
            found |= _modules(_stem(name), fault)
    return found


def task_of(name: str, fault: str | None = None) -> ProofTask:
    """The prover's task for a proof, with a planted fault or without.

    Raises:
        RegistryError: no such proof.
        RangeError: its module has no such fault, or the fault does not fit the text.
    """
    proof = PROOFS[name]
    if fault is not None and fault not in mutants_of(proof):
        raise RangeError(f"expected a planted fault among {', '.join(mutants_of(proof))}, got {fault!r}")
    if proof.network is not None:
        files = {"top.sv": proof.network.top(), **proof.network.files()}
        if fault is not None:
            file = f"{RTL_MUTANTS[fault][0]}.v"
            if file not in files:
                raise RangeError(f"expected a fault in a module that {name} has, got {fault!r} in {file}")
            files[file] = mutated(fault, files[file])
        return ProofTask("top", files, "bmc", proof.depth, whole_design=True)
    harness = proof.harness()
    # registers are looked at to close an induction only: a fault must show at the ports
    if fault is None and proof.taps:
        harness = f"`define INVARIANT\n{harness}"
    files = {"top.sv": proof.top(), f"prove_{name}.sv": harness}
    for stem in dict.fromkeys((proof.module, *map(_stem, _MODULE.findall(harness)))):
        files |= {f"{stem}.v": text for stem, text in _modules(stem, fault).items()}
    files |= {f"rule_{rule}.sv": rule_text(rule) for rule in _RULE.findall(harness)}
    if fault is not None:
        return ProofTask("top", files, "bmc", proof.refutation_depth)
    taps = {}
    for index, case in enumerate(proof.cases):
        for wire, inner in proof.taps.items():
            taps[f"case_{index}.{wire}"] = _inner(inner, index, int(case.get("INPUTS", "1")))
    return ProofTask("top", files, proof.mode, proof.depth, taps)


def content_of(name: str) -> str:
    """The SHA-256 of everything that a proof says: script, harness, cases and modules.

    Raises:
        RegistryError: no such proof.
    """
    task = task_of(name)
    return cache_key({"files": dict(task.files), "script": task.script()})


def _inner(inner: str, index: int, lanes: int) -> str:
    """A signal inside the design as Yosys names it; ``[*]`` stands for all lanes, the highest first."""
    if not _LANES.search(inner):
        return f"case_{index}.{inner}"
    return ",".join(f"case_{index}." + _LANES.sub(f"[{lane}]", inner) for lane in reversed(range(lanes)))


def mutants_of(proof: RtlProof) -> tuple[str, ...]:
    """The planted faults of a proof's module."""
    return tuple(name for name, (module, _, _) in RTL_MUTANTS.items() if module in (proof.module, *proof.covers))


@dataclass(frozen=True, slots=True)
class ProofRow:
    """What came of one proof.

    Attributes:
        proof: its name.
        outcome: the prover's answer.
        refuted: planted faults that the assertions object to, each with the assertion.
        missed: planted faults that this proof does not object to.
        mutant_seconds: time of the runs with faults.
        cached: whether every answer was there already.
    """

    proof: str
    outcome: ProofOutcome
    refuted: dict[str, str]
    missed: tuple[str, ...]
    mutant_seconds: float
    cached: bool


@dataclass(frozen=True, slots=True)
class ProofReport:
    """All rows, and what they say together.

    Attributes:
        rows: one per proof.
        tools: version lines of Yosys and of the solver.
        seconds: wall-clock time of the whole.
        workers: how many provers ran at once.
    """

    rows: tuple[ProofRow, ...]
    tools: tuple[str, str]
    seconds: float
    workers: int

    def survivors(self) -> tuple[str, ...]:
        """Planted faults that no proof of their module objects to."""
        refuted = {name for row in self.rows for name in row.refuted}
        return tuple(sorted({name for row in self.rows for name in row.missed} - refuted))

    @property
    def passed(self) -> bool:
        """Whether everything is proved and every planted fault refuted."""
        return all(row.outcome.status == "pass" for row in self.rows) and not self.survivors()

    def to_dict(self) -> dict[str, Any]:
        """Plain fields."""
        return {
            "passed": self.passed,
            "seconds": round(self.seconds, 1),
            "workers": self.workers,
            "survivors": list(self.survivors()),
            "tools": list(self.tools),
            "proofs": [
                {
                    "name": row.proof,
                    "module": PROOFS[row.proof].module,
                    "property": PROOFS[row.proof].statement,
                    "scope": PROOFS[row.proof].scope,
                    "cases": len(PROOFS[row.proof].cases),
                    "content": content_of(row.proof),
                    "status": row.outcome.status,
                    "detail": row.outcome.detail,
                    "seconds": round(row.outcome.seconds, 1),
                    "mutants": len(row.refuted) + len(row.missed),
                    "refuted": row.refuted,
                    "mutant_seconds": round(row.mutant_seconds, 1),
                    "cached": row.cached,
                }
                for row in self.rows
            ],
        }


def _answer(
    task: ProofTask, tools: tuple[str, str], timeout: float, cache: ResultCache | None
) -> tuple[ProofOutcome, bool]:
    """The outcome of a task, and whether it was kept from before."""
    key = cache_key({"kind": "proof", "files": dict(task.files), "script": task.script(), "tools": list(tools)})
    kept = cache.get(key) if cache is not None else None
    if kept is not None:
        fields = json.loads(kept["outcome"])
        return ProofOutcome(fields["status"], fields["seconds"], fields["detail"]), True
    outcome = prove(task, timeout=timeout)
    if cache is not None and outcome.status != "timeout":  # a slow machine says nothing about the design
        fields = {"status": outcome.status, "seconds": round(outcome.seconds, 2), "detail": outcome.detail}
        cache.keep(key, {"outcome": canonical_json(fields).encode("utf-8")})
    return outcome, False


def prove_library(
    names: Sequence[str] = (),
    *,
    mutants: bool = True,
    workers: int = 2,
    timeout: float = 300.0,
    cache: ResultCache | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> ProofReport:
    """Prove the library's modules against their contracts, and refute the planted faults.

    Args:
        names: proofs of :data:`PROOFS`; all of them if empty.
        mutants: whether to run the planted faults too.
        workers: how many provers run at once.
        timeout: seconds for one run of the prover.
        cache: where answers are kept; ``None`` proves everything anew.
        say: gets a line for every answer.

    Raises:
        RegistryError: an unknown name.
        ToolNotFoundError: the prover is not installed; the message says how to get it.
        SimulationError: a module cannot be read by Yosys.

    Example:
        >>> from bitprop.toolchain.symbiyosys import prover_is_available
        >>> not prover_is_available() or prove_library(["compare"], mutants=False).passed
        True
    """
    chosen = [PROOFS[name] for name in names] or [PROOFS[name] for name in PROOFS]
    check_integer("workers", workers, 1, 64)
    start = time.monotonic()
    tools = prover_versions()
    if cache is not None:
        cache.check()

    def run(job: tuple[RtlProof, str | None]) -> tuple[ProofOutcome, bool]:
        proof, fault = job
        try:
            outcome, cached = _answer(task_of(proof.name, fault), tools, timeout, cache)
        except SimulationError as error:
            raise SimulationError(f"{proof.name}{f', with the fault {fault!r}' if fault else ''}: {error}") from error
        what = proof.name if fault is None else f"{proof.name} with the fault {fault!r}"
        say(f"{what}: {outcome.status}{' (kept)' if cached else f' ({outcome.seconds:.1f} s)'}")
        return outcome, cached

    jobs: list[tuple[RtlProof, str | None]] = [(proof, None) for proof in chosen]
    if mutants:
        jobs += [(proof, fault) for proof in chosen for fault in mutants_of(proof)]
    with ThreadPoolExecutor(max_workers=workers) as pool:
        answers = dict(zip(((p.name, fault) for p, fault in jobs), pool.map(run, jobs), strict=True))
    rows = []
    for proof in chosen:
        faulty = {f: answers[proof.name, f] for f in mutants_of(proof)} if mutants else {}
        outcome, cached = answers[proof.name, None]
        rows.append(
            ProofRow(
                proof.name,
                outcome,
                {f: o.detail for f, (o, _) in faulty.items() if o.status == "fail"},
                tuple(f for f, (o, _) in faulty.items() if o.status != "fail"),
                sum(o.seconds for o, _ in faulty.values()),
                cached and all(c for _, c in faulty.values()),
            )
        )
    return ProofReport(tuple(rows), tools, time.monotonic() - start, workers)
