"""The audit: every point of the review checklist, every byte of the folder, and everything that can be derived again.

It takes a results folder (three JSON files and the handoff folder below it, under any names), a handoff folder of an
evidence set, or a folder of :func:`~bitprop.handoff.export.export_network`, and never raises on what it finds there.
The folder is read once; nothing outside it is opened, no link is followed, and no Verilog runs that differs from what
this package emits from the folder's own document.

What each layer catches:

* hashes, sizes and the list of files: any byte that changed, is missing or is extra;
* canonical form and self-digest: edits of the manifests themselves;
* derivation: edits with the hashes made to fit.  Verilog and vectors follow from the document, the trained-design
  module from the selections, and the whole evidence set from three recorded arguments: the audit trains again and
  compares every number.

What no audit of a folder can catch: a set that was made as a whole, with this package, from other arguments or, for
an exported network, from another document or inputs.  It is then evidence of *that* run; compare the manifest's
digest with one you got by another way.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bitprop.errors import ArtifactError
from bitprop.handoff._files import (
    DIGEST_FIELD,
    Snapshot,
    canonical,
    file_entries,
    parse_json,
    read_snapshot,
    self_digest,
    shown,
)
from bitprop.handoff.checks import (
    AUDIT_FILE,
    NETWORK_PARITY,
    OUTER_SCHEMAS,
    SCHEMA_PREFIX,
    SOURCE_MANIFEST_FILE,
    TRAINED_DESIGN_PARITY,
    Check,
    Evidence,
    check_document,
    check_no_hardware_claim,
    check_vectors,
    check_verilog,
    compare_entries,
    evidence_checks,
    load_network_document,
    needs_tools,
    network_parity,
    parity_checks,
    require_file,
    run_check,
    unrelated_problem,
)
from bitprop.handoff.evidence import audit_fields, build_evidence
from bitprop.handoff.export import (
    DOCUMENT_FILE,
    MANIFEST_FILE,
    MANIFEST_SCHEMA,
    SCHEMA_VERSION,
    manifest_fields,
)
from bitprop.handoff.reference_task import TaskArguments
from bitprop.handoff.trained_design import DESIGN_FILE, PARITY_FILE

__all__ = ["AuditResult", "audit_folder"]

Kind = Literal["results", "handoff", "network", "unknown"]

_HANDOFF_MARKS = (SOURCE_MANIFEST_FILE, AUDIT_FILE, DESIGN_FILE, PARITY_FILE)
_RELATIVE, _ABSOLUTE = 1e-6, 1e-9
_NOT_ASKED = "not carried out: simulation was turned off"


@dataclass(frozen=True, slots=True)
class AuditResult:
    """Outcome of an audit.

    Attributes:
        folder: what was audited, as the caller named it.
        kind: ``results``, ``handoff``, ``network``, or ``unknown`` when there is nothing to audit.
        checks: each point, in the order of the review.
    """

    folder: str
    kind: Kind
    checks: tuple[Check, ...]

    @property
    def status(self) -> Literal["pass", "fail", "incomplete"]:
        """``fail`` if any point failed, ``incomplete`` if one was skipped, ``pass`` otherwise."""
        states = {check.status for check in self.checks}
        if "fail" in states or not states:
            return "fail"
        return "incomplete" if "skipped" in states else "pass"

    @property
    def passed(self) -> bool:
        """Whether every point was carried out and passed."""
        return self.status == "pass"

    @property
    def failures(self) -> tuple[Check, ...]:
        """The points that failed."""
        return tuple(check for check in self.checks if check.status == "fail")

    def to_dict(self) -> dict[str, Any]:
        """Plain fields."""
        return {
            "folder": self.folder,
            "kind": self.kind,
            "status": self.status,
            "checks": [check.to_dict() for check in self.checks],
        }

    def to_text(self) -> str:
        """One line for each point, the verdict last."""
        width = max((len(check.name) for check in self.checks), default=0)
        lines = [f"{check.status:7} {check.name:{width}}  {check.detail}" for check in self.checks]
        counts = f"{len(self.checks)} checks, {len(self.failures)} failed"
        return "\n".join([*lines, f"{self.status}: {self.kind} folder {self.folder}, {counts}"])


def audit_folder(folder: str | os.PathLike[str], *, simulate: bool = True) -> AuditResult:
    """Audit a results folder, a handoff folder or an exported network.

    Args:
        folder: where it is.
        simulate: run the Verilog again (Icarus).  Without it the parity points are skipped and the result is
            ``incomplete``, not passed.

    Returns:
        The outcome; a folder that is missing, empty or hostile gives a failed one.
    """
    name = shown(os.fspath(folder))[1:-1]
    snapshots: list[Snapshot] = []

    def read() -> str:
        snapshots.append(read_snapshot(folder))
        if snapshots[0].problems:
            raise ArtifactError("expected plain files only: " + "; ".join(snapshots[0].problems[:5]))
        return f"{len(snapshots[0].files)} regular files read, no links"

    readable = run_check("readable", read)
    if not snapshots:
        return AuditResult(name, "unknown", (readable,))
    files = snapshots[0].files
    if MANIFEST_FILE in files or _looks_like_network(files):
        return AuditResult(name, "network", (readable, *_network_checks(files, simulate)))
    if any(mark in files for mark in _HANDOFF_MARKS):
        return AuditResult(name, "handoff", (readable, *_set_checks(files, "", "", simulate)))
    found: list[str] = []

    def locate() -> str:
        places = {path.rpartition("/")[0] for path in files if path.rpartition("/")[2] in _HANDOFF_MARKS}
        if len(places) != 1:
            raise ArtifactError(
                f"expected one handoff folder with {SOURCE_MANIFEST_FILE} below, or a {MANIFEST_FILE}, found "
                f"{len(places)}; name the folder that the command wrote"
            )
        found.extend(places)
        return f"handoff folder {shown(found[0])}"

    located = run_check("evidence_present", locate)
    if not found:
        return AuditResult(name, "unknown", (readable, located))
    return AuditResult(name, "results", (readable, located, *_set_checks(files, found[0], found[0], simulate)))


# --- an exported network --------------------------------------------------------------------------------------------


def _looks_like_network(files: Mapping[str, bytes]) -> bool:
    """A document, and none of the reference task's files: an exported network that lost its manifest."""
    return DOCUMENT_FILE in files and not any(mark in files for mark in _HANDOFF_MARKS)


def _network_checks(files: Mapping[str, bytes], simulate: bool) -> list[Check]:
    listed = {path: content for path, content in files.items() if path != MANIFEST_FILE}

    def manifest() -> dict[str, Any]:
        return parse_json(MANIFEST_FILE, require_file(files, MANIFEST_FILE))

    def header() -> str:
        fields = manifest()
        if (fields.get("schema"), fields.get("schema_version")) != (MANIFEST_SCHEMA, SCHEMA_VERSION):
            raise ArtifactError(
                f"expected schema {MANIFEST_SCHEMA!r} version {SCHEMA_VERSION!r} in {MANIFEST_FILE}, got "
                f"{shown((fields.get('schema'), fields.get('schema_version')))}"
            )
        return _check_digest(fields, MANIFEST_FILE)

    def derived() -> str:
        fields, document = manifest(), load_network_document(files)
        extra = fields.get("extra")
        if not isinstance(extra, dict):
            raise ArtifactError(f"expected an object extra in {MANIFEST_FILE}, got {shown(extra)}")
        if manifest_fields(document, listed, extra) != fields:
            raise ArtifactError(f"expected {MANIFEST_FILE} as it follows from the files, some of its fields do not")
        return "every field but extra derived again from the files"

    points: list[tuple[str, Callable[[], str]]] = [
        ("manifest", header),
        ("file_hashes", lambda: compare_entries(manifest().get("files"), listed, MANIFEST_FILE)),
        ("hardware_measurement_claimed", lambda: check_no_hardware_claim(files)),
        ("scnir_document", lambda: check_document(files)),
        ("manifest_derived", derived),
        ("verilog", lambda: check_verilog(files)),
        ("vectors", lambda: check_vectors(files)),
    ]
    checks = [run_check(name, body) for name, body in points]
    if not simulate:
        return [*checks, Check(NETWORK_PARITY, "skipped", _NOT_ASKED)]
    return [*checks, run_check(NETWORK_PARITY, lambda: needs_tools(lambda: network_parity(files, faster=True)))]


def _check_digest(fields: Mapping[str, Any], where: str) -> str:
    if fields.get(DIGEST_FIELD) != self_digest(fields):
        raise ArtifactError(f"expected {where} to have the digest of its own content, got another; it was edited")
    return f"digest of its own content {self_digest(fields)[:16]}..."


# --- an evidence set ------------------------------------------------------------------------------------------------


def _set_checks(files: Mapping[str, bytes], prefix: str, folder: str, simulate: bool) -> list[Check]:
    """Points of an evidence set whose handoff folder lies at ``prefix`` (``""``: the handoff folder alone)."""
    handoff = Snapshot(dict(files), ()).below(prefix).files
    evidence = Evidence({}, {}, folder, handoff)
    checks: list[Check] = []
    if prefix:
        beside = {path: content for path, content in files.items() if not path.startswith(f"{prefix}/")}
        evidence, found = _outer_files(beside, folder, handoff)
        checks.append(found)

    parity = parity_checks(handoff) if simulate else []
    again: list[Evidence] = []
    regenerated = run_check("regenerated", lambda: _regenerate(evidence, parity, again, alone=not prefix))
    if not prefix and again:
        # the three outer files lie elsewhere; what they must have been is known
        evidence = Evidence(again[0].outer, again[0].names, folder, handoff)
    checks += evidence_checks(evidence)
    checks.append(run_check("file_hashes", lambda: _check_entries(evidence, alone=not prefix)))
    checks.append(run_check("handoff_audit", lambda: _check_audit(evidence, folder if prefix else None)))
    checks.append(regenerated)
    if not simulate:
        parity = [Check(name, "skipped", _NOT_ASKED) for name in (TRAINED_DESIGN_PARITY, NETWORK_PARITY)]
    return checks + parity


def _outer_files(beside: Mapping[str, bytes], folder: str, handoff: Mapping[str, bytes]) -> tuple[Evidence, Check]:
    """Find the three outer files by their schemas."""
    outer: dict[str, bytes] = {}
    names: dict[str, str] = {}
    roles = {schema: role for role, schema in OUTER_SCHEMAS.items()}
    problems: list[str] = []
    unrelated: list[str] = []
    for path, content in sorted(beside.items()):
        role = roles.get(_schema_of(content)) if path.endswith(".json") or b'"schema"' in content else None
        if role is None:
            problem = unrelated_problem(path, content)
            if problem is None:
                unrelated.append(shown(path))
            else:
                problems.append(problem)
        elif role in outer:
            problems.append(f"{shown(path)} is a second {role}")
        else:
            outer[role], names[role] = content, path
    problems += [f"no {role} (schema {schema})" for role, schema in OUTER_SCHEMAS.items() if role not in outer]

    def found() -> str:
        if problems:
            raise ArtifactError("expected one file of each kind beside the handoff folder: " + "; ".join(problems[:6]))
        note = f"; no part of the evidence and not reviewed: {', '.join(unrelated[:8])}" if unrelated else ""
        return ", ".join(f"{role} {shown(names[role])}" for role in OUTER_SCHEMAS) + note

    return Evidence(outer, names, folder, handoff), run_check("outer_files", found)


def _schema_of(content: bytes) -> str:
    try:
        return str(parse_json("", content).get("schema"))
    except ArtifactError:
        # an edited layout is found by canonical form later; the role must still be known
        for schema in OUTER_SCHEMAS.values():
            if f'"schema": "{schema}"'.encode() in content or f'"schema":"{schema}"'.encode() in content:
                return schema
        return ""


def _check_entries(evidence: Evidence, *, alone: bool) -> str:
    """Audit, export manifest and source manifest list the files as they are."""
    audit = evidence.json(AUDIT_FILE)
    listed = {path: content for path, content in evidence.handoff.items() if path != AUDIT_FILE}
    text = compare_entries(audit.get("files"), listed, AUDIT_FILE)
    derived = {path: content for path, content in listed.items() if path != SOURCE_MANIFEST_FILE}
    compare_entries(evidence.json(SOURCE_MANIFEST_FILE).get("files"), derived, SOURCE_MANIFEST_FILE)
    wanted = {"file": DOCUMENT_FILE, **file_entries({"": require_file(listed, DOCUMENT_FILE)})[0]}
    del wanted["path"]
    if evidence.json(SOURCE_MANIFEST_FILE).get("document") != wanted:
        raise ArtifactError(f"expected hash and size of the document in {SOURCE_MANIFEST_FILE}, got others")
    if evidence.json("benchmark").get("document_sha256") != wanted["sha256"]:
        raise ArtifactError("expected the hash of the document in benchmark, got another")
    if not alone:
        _check_artifacts(audit.get("artifacts"), evidence, tuple(OUTER_SCHEMAS), AUDIT_FILE)
        manifest = evidence.json("export_manifest")
        _check_artifacts(manifest.get("artifacts"), evidence, ("benchmark", "estimator_regression"), "export manifest")
        compare_entries(manifest["handoff"]["files"], listed, "the export manifest")
    return text


def _check_artifacts(artifacts: Any, evidence: Evidence, roles: tuple[str, ...], where: str) -> None:
    if not isinstance(artifacts, Mapping) or set(artifacts) != set(roles):
        raise ArtifactError(f"expected {', '.join(roles)} among the artifacts of {where}, got {shown(artifacts)}")
    for role in roles:
        entry = dict(artifacts[role])
        name = entry.pop("file", None)
        if name != evidence.names[role].rpartition("/")[2]:
            raise ArtifactError(f"expected {role} under the name {where} records, {shown(name)}; rename it back")
        compare_entries([{**entry, "path": role}], {role: evidence.outer[role]}, where)


def _check_audit(evidence: Evidence, folder: str | None) -> str:
    """The stored audit says valid, has its own digest, and is what its files give."""
    fields = evidence.json(AUDIT_FILE)
    if fields.get("schema") != f"{SCHEMA_PREFIX}handoff_audit" or fields.get("status") != "valid":
        raise ArtifactError(f"expected status 'valid' in {AUDIT_FILE}, got {shown(fields.get('status'))}")
    text = _check_digest(fields, AUDIT_FILE)
    checks = [Check(str(entry["name"]), entry["status"], str(entry["detail"])) for entry in fields["checks"]]
    if any(check.status != "pass" for check in checks):
        raise ArtifactError(f"expected every recorded check to have passed in {AUDIT_FILE}")
    if folder is not None and fields.get("folder") != folder.rpartition("/")[2]:
        raise ArtifactError(
            f"expected the handoff folder under the name its audit records, {shown(fields.get('folder'))}; rename it "
            "back"
        )
    if {*evidence.outer} == {*OUTER_SCHEMAS} and folder is not None:
        names = {role: path.rpartition("/")[2] for role, path in evidence.names.items()}
        wanted = audit_fields(Evidence(evidence.outer, names, str(fields["folder"]), evidence.handoff), checks)
        if canonical(wanted) != evidence.handoff[AUDIT_FILE]:
            raise ArtifactError(f"expected {AUDIT_FILE} as it follows from the files, some of its fields do not")
    return f"valid, {len(checks)} recorded checks, {text}"


def _regenerate(evidence: Evidence, parity: list[Check], again: list[Evidence], *, alone: bool) -> str:
    """Carry the command out again with the recorded arguments and compare every file."""
    source, audit = evidence.json(SOURCE_MANIFEST_FILE), evidence.json(AUDIT_FILE)
    fields = source.get("arguments")
    if not isinstance(fields, Mapping) or set(fields) != {"bitstream_length", "steps", "learning_rate"}:
        raise ArtifactError(f"expected the command's arguments in {SOURCE_MANIFEST_FILE}, got {shown(fields)}")
    arguments = TaskArguments(**fields)
    recorded = audit.get("artifacts")
    names = {role: str(recorded[role]["file"]) for role in OUTER_SCHEMAS} if isinstance(recorded, Mapping) else {}
    outcome = parity if parity and all(check.status == "pass" for check in parity) else _recorded_parity(audit)
    made, _ = build_evidence(
        arguments, names=names, folder=str(audit.get("folder")), parity=lambda handoff: list(outcome)
    )
    again.append(made)
    pairs = [(path, made.handoff.get(path), evidence.handoff.get(path)) for path in {*made.handoff, *evidence.handoff}]
    if not alone:
        pairs += [(role, made.outer[role], evidence.outer.get(role)) for role in OUTER_SCHEMAS]
    wrong = [text for path, wanted, found in sorted(pairs) if (text := _difference(path, wanted, found)) is not None]
    if wrong:
        raise ArtifactError(
            "expected what the command makes from the recorded arguments (with the same version of bitprop), got "
            f"differences in {len(wrong)} files: {'; '.join(wrong[:4])}"
        )
    if made.handoff[SOURCE_MANIFEST_FILE] == evidence.handoff[SOURCE_MANIFEST_FILE] and alone:
        # the same arithmetic to the last digit, so hashes of the files that lie elsewhere must be the same too
        wanted = parse_json(AUDIT_FILE, made.handoff[AUDIT_FILE])["artifacts"]
        if wanted != recorded:
            raise ArtifactError(f"expected hashes of the files beside this folder in {AUDIT_FILE}, got others")
    return f"{len(pairs)} files made again from the recorded arguments, every number equal"


def _recorded_parity(audit: Mapping[str, Any]) -> list[Check]:
    names = (TRAINED_DESIGN_PARITY, NETWORK_PARITY)
    return [Check(e["name"], e["status"], e["detail"]) for e in audit["checks"] if e["name"] in names]


def _difference(path: str, wanted: bytes | None, found: bytes | None) -> str | None:
    """Where a file differs from the one made again; numbers may differ in rounding, hashes of them may too."""
    if wanted is None or found is None:
        return f"{shown(path)} is {'extra' if wanted is None else 'missing'}"
    if wanted == found:
        return None
    if not (path.endswith(".json") or path in OUTER_SCHEMAS):
        return f"{shown(path)} has other bytes"
    place = _different_place(parse_json(path, wanted), parse_json(path, found), "")
    return None if place is None else f"{shown(path)} at {shown(place)}"


def _is_digest_of_files(key: str) -> bool:
    return key in ("sha256", "size", DIGEST_FIELD) or key.endswith("_sha256")


def _different_place(wanted: Any, found: Any, place: str) -> str | None:
    if isinstance(wanted, dict) and isinstance(found, dict):
        if wanted.keys() != found.keys():
            return f"{place}.{sorted(wanted.keys() ^ found.keys())[0]}"
        parts = ((wanted[key], found[key], f"{place}.{key}") for key in sorted(wanted) if not _is_digest_of_files(key))
        return next((where for part in parts if (where := _different_place(*part)) is not None), None)
    if isinstance(wanted, list) and isinstance(found, list):
        if len(wanted) != len(found):
            return place
        items = ((a, b, f"{place}[{index}]") for index, (a, b) in enumerate(zip(wanted, found, strict=True)))
        return next((where for item in items if (where := _different_place(*item)) is not None), None)
    if type(wanted) is not type(found):
        return place
    if isinstance(wanted, float):
        return None if math.isclose(wanted, found, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE) else place
    return None if wanted == found else place
