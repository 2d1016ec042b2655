"""The points of the review checklist, each a function from bytes to a pass or a reason.

The command that makes the evidence and the audit that reviews it run the same functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from bitprop.artifacts import EVIDENCE_LOCAL_PARITY, json_value, sha256_bytes
from bitprop.errors import ArtifactError, BitpropError, ToolNotFoundError
from bitprop.graph.spec import Document, parse_document
from bitprop.graph.timing import interval_cycles
from bitprop.handoff._files import canonical, is_safe_path, parse_json, scratch_copy, shown
from bitprop.handoff.export import DOCUMENT_FILE, EXPECTED_FILE, INPUTS_FILE, expected_vectors, parse_inputs, rtl_files
from bitprop.handoff.trained_design import (
    DESIGN_FILE,
    PARITY_FILE,
    design_constants,
    design_parity,
    design_verilog,
    run_design,
)
from bitprop.toolchain import SIMULATORS
from bitprop.verification.parity import check_parity

__all__ = [
    "AUDIT_FILE",
    "NETWORK_PARITY",
    "OUTER_SCHEMAS",
    "SCHEMA_PREFIX",
    "SOURCE_MANIFEST_FILE",
    "TRAINED_DESIGN_PARITY",
    "Check",
    "Evidence",
    "check_document",
    "check_no_hardware_claim",
    "check_vectors",
    "check_verilog",
    "compare_entries",
    "evidence_checks",
    "joint_fields",
    "load_network_document",
    "needs_tools",
    "network_parity",
    "parity_checks",
    "require_file",
    "run_check",
    "unrelated_problem",
]

Status = Literal["pass", "fail", "skipped"]

SCHEMA_PREFIX = "bitprop.stochastic_backprop."
SOURCE_MANIFEST_FILE = "scnir_source_manifest.json"
AUDIT_FILE = "stochastic_backprop_handoff_audit.json"
OUTER_SCHEMAS = {
    "benchmark": f"{SCHEMA_PREFIX}benchmark",
    "export_manifest": f"{SCHEMA_PREFIX}export_manifest",
    "estimator_regression": f"{SCHEMA_PREFIX}estimator_regression",
}
"""The three files beside the handoff folder: role and schema."""

_REQUIRED: dict[str, tuple[str, ...]] = {
    "benchmark": (
        "arguments",
        "joint_design",
        "loss_reduction",
        "initial",
        "trained",
        "ablations",
        "estimator_variance",
        "streams",
        "correlation_constraints",
    ),
    "export_manifest": ("arguments", "joint_design", "selected_config", "streams", "artifacts", "handoff"),
    "estimator_regression": ("status", "acceptance", "estimators", "bitstream_lengths"),
}
_SELECTIONS = ("selected_bitstream_length", "selected_encoding", "correlation")
_ACCEPTANCE = (
    "all_variances_finite_nonnegative",
    "pathwise_variance_zero",
    "score_function_longest_below_shortest",
)
_ICARUS_PRODUCTS = 10_000_000  # products times cycles: some ten seconds

TRAINED_DESIGN_PARITY = "trained_design_parity"
NETWORK_PARITY = "network_parity"


@dataclass(frozen=True, slots=True)
class Check:
    """One point of a review.

    Attributes:
        name: short identifier.
        status: ``pass``, ``fail``, or ``skipped`` when the caller asked not to carry it out.
        detail: what was found, one line.
    """

    name: str
    status: Status
    detail: str

    def to_dict(self) -> dict[str, str]:
        """Plain fields."""
        return asdict(self)


def run_check(name: str, body: Callable[[], str]) -> Check:
    """Carry out one point; whatever goes wrong inside is its failure, never a traceback."""
    try:
        return Check(name, "pass", body())
    except BitpropError as error:
        return Check(name, "fail", _one_line(str(error)))
    except (Exception, RecursionError) as error:  # files may hold anything; a review must end with a verdict
        return Check(name, "fail", _one_line(f"expected usable content, got {type(error).__name__}: {error}"))


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    printable = "".join(character if character.isprintable() else "?" for character in line)
    return printable if len(printable) <= 600 else f"{printable[:597]}..."


@dataclass(frozen=True, slots=True)
class Evidence:
    """An evidence set as bytes.

    Attributes:
        outer: role (a key of :data:`OUTER_SCHEMAS`) to content.
        names: role to file name.
        folder: name of the handoff folder.
        handoff: the handoff folder's files by relative path.
        parsed: JSON objects read so far; nobody changes them.
    """

    outer: Mapping[str, bytes]
    names: Mapping[str, str]
    folder: str
    handoff: Mapping[str, bytes]
    parsed: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False, compare=False)

    def json(self, name: str) -> dict[str, Any]:
        """A role's or a handoff file's JSON object.

        Raises:
            ArtifactError: missing, or not canonical JSON.
        """
        if name not in self.parsed:
            if name not in OUTER_SCHEMAS:
                self.parsed[name] = parse_json(name, require_file(self.handoff, name))
            elif name in self.outer:
                self.parsed[name] = parse_json(self.names.get(name, name), self.outer[name])
            else:
                raise ArtifactError(f"expected the {name} file, found none; run the command again")
        return self.parsed[name]


def require_file(files: Mapping[str, bytes], name: str) -> bytes:
    """A file's bytes.

    Raises:
        ArtifactError: it is missing.
    """
    if name not in files:
        raise ArtifactError(f"expected the file {name}, found none; export again")
    return files[name]


def load_network_document(files: Mapping[str, bytes]) -> Document:
    """The SC-NIR document of a handoff, valid and canonical.

    Raises:
        ArtifactError: missing or not canonical.
        DocumentError, NotExportableError: not valid.
    """
    content = require_file(files, DOCUMENT_FILE)
    document = parse_document(parse_json(DOCUMENT_FILE, content))
    if document.to_json().encode("utf-8") != content:
        raise ArtifactError(f"expected {DOCUMENT_FILE} as it is written from its own fields, got other bytes")
    return document


def check_document(files: Mapping[str, bytes]) -> str:
    """The document follows its schema and every relation between its fields."""
    document = load_network_document(files)
    return f"{document.name}: {len(document.layers)} layers, {document.precision_bits}-bit thresholds"


def check_verilog(files: Mapping[str, bytes]) -> str:
    """The Verilog is, byte for byte, what the document emits."""
    wanted = rtl_files(load_network_document(files))
    found = {path: content for path, content in files.items() if path.startswith("rtl/")}
    _same_files(wanted, found, "the Verilog emitted from the document")
    return f"{len(wanted)} files emitted again from the document, equal byte for byte"


def _same_files(wanted: Mapping[str, bytes], found: Mapping[str, bytes], what: str) -> None:
    wrong = [f"missing {shown(path)}" for path in sorted(wanted.keys() - found.keys())]
    wrong += [f"extra {shown(path)}" for path in sorted(found.keys() - wanted.keys())]
    wrong += [f"altered {shown(path)}" for path in sorted(wanted.keys() & found.keys()) if wanted[path] != found[path]]
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise ArtifactError(f"expected {what}, got differences: {', '.join(wrong[:5])}{more}")


def check_vectors(files: Mapping[str, bytes]) -> str:
    """The expected integers are those of the reference interpreter on the stored inputs."""
    document = load_network_document(files)
    inputs = parse_inputs(require_file(files, INPUTS_FILE))
    stored = parse_json(EXPECTED_FILE, require_file(files, EXPECTED_FILE))
    fields = expected_vectors(document, inputs, stored.get("labels"))
    if canonical(fields) != files[EXPECTED_FILE]:
        different = sorted(key for key in fields.keys() | stored.keys() if fields.get(key) != stored.get(key))
        raise ArtifactError(
            f"expected the integers the reference interpreter gives in {EXPECTED_FILE}, got others in "
            f"{shown(', '.join(different))}"
        )
    return f"{len(inputs)} samples interpreted again, every integer equal"


def check_no_hardware_claim(contents: Mapping[str, bytes]) -> str:
    """Every JSON file names the evidence boundary and claims no measurement, at any depth."""
    seen = 0
    for name, content in sorted(contents.items()):
        if not name.endswith(".json"):
            continue
        fields = parse_json(name, content)
        if fields.get("hardware_measurement_claimed") is not False:
            raise ArtifactError(
                f"expected hardware_measurement_claimed false in {shown(name)}, got "
                f"{shown(fields.get('hardware_measurement_claimed'))}"
            )
        if fields.get("evidence_boundary") != EVIDENCE_LOCAL_PARITY:
            raise ArtifactError(
                f"expected evidence_boundary {EVIDENCE_LOCAL_PARITY!r} in {shown(name)}, got "
                f"{shown(fields.get('evidence_boundary'))}"
            )
        if claims_hardware(fields):
            raise ArtifactError(f"expected no hardware claim inside {shown(name)}, found one")
        seen += 1
    return f"false in {seen} JSON files, boundary {EVIDENCE_LOCAL_PARITY}"


def claims_hardware(value: Any) -> bool:
    """Whether ``hardware_measurement_claimed`` is anything but false, anywhere inside."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, Mapping):
            if item.get("hardware_measurement_claimed", False) is not False:
                return True
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
    return False


def compare_entries(entries: Any, files: Mapping[str, bytes], where: str) -> str:
    """A manifest's list of files against the files: every path, size and hash, nothing missing, nothing extra.

    Raises:
        ArtifactError: a path that is unsafe or listed twice, or any difference.
    """
    if not isinstance(entries, list):
        raise ArtifactError(f"expected a list of files in {where}, got {type(entries).__name__}")
    wanted: dict[str, Mapping[str, Any]] = {}
    for entry in entries:
        if not isinstance(entry, Mapping) or set(entry) != {"path", "sha256", "size"}:
            raise ArtifactError(f"expected path, sha256 and size in each file of {where}, got {shown(entry)}")
        path = entry["path"]
        if not is_safe_path(path):
            raise ArtifactError(f"expected relative paths inside the folder in {where}, got {shown(path)}")
        if path in wanted:
            raise ArtifactError(f"expected each file once in {where}, got {shown(path)} twice")
        wanted[path] = entry
    wrong = [f"{shown(path)} is missing" for path in sorted(wanted.keys() - files.keys())]
    wrong += [f"{shown(path)} is not listed" for path in sorted(files.keys() - wanted.keys())]
    for path in sorted(wanted.keys() & files.keys()):
        content, entry = files[path], wanted[path]
        if entry["size"] != len(content) or type(entry["size"]) is not int:
            wrong.append(f"{shown(path)} has {len(content)} bytes, listed {shown(entry['size'])}")
        elif entry["sha256"] != sha256_bytes(content):
            wrong.append(f"{shown(path)} has another SHA-256")
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise ArtifactError(f"expected the files that {where} lists: {'; '.join(wrong[:5])}{more}")
    return f"{len(wanted)} files: path, size and SHA-256 as {where} lists them"


# --- the evidence set of the reference task -------------------------------------------------------------------------


def joint_fields(evidence: Evidence, role: str) -> dict[str, Any]:
    """The ``joint_design`` object of a file.

    Raises:
        ArtifactError: there is none.
    """
    joint = evidence.json(role).get("joint_design")
    if not isinstance(joint, dict):
        raise ArtifactError(f"expected an object joint_design in {role}, got {shown(joint)}")
    return joint


def _check_schemas(evidence: Evidence) -> str:
    for role, schema in OUTER_SCHEMAS.items():
        _check_header(evidence.json(role), role, schema)
        missing = [key for key in _REQUIRED[role] if key not in evidence.json(role)]
        if missing:
            raise ArtifactError(
                f"expected the fields {', '.join(missing)} in {role}, found none; run the command again"
            )
    _check_header(evidence.json(SOURCE_MANIFEST_FILE), SOURCE_MANIFEST_FILE, f"{SCHEMA_PREFIX}scnir_source_manifest")
    _check_header(evidence.json(PARITY_FILE), PARITY_FILE, f"{SCHEMA_PREFIX}trained_design_parity")
    return "schema and schema_version of every file are known, required fields are there"


def _check_header(fields: Mapping[str, Any], where: str, schema: str) -> None:
    found = (fields.get("schema"), fields.get("schema_version"))
    if found != (schema, "1.0"):
        raise ArtifactError(f"expected schema {schema!r} version '1.0' in {where}, got {shown(found)}")


def _check_joint_enabled(evidence: Evidence) -> str:
    for role in ("benchmark", "export_manifest"):
        if joint_fields(evidence, role).get("enabled") is not True:
            raise ArtifactError(f"expected joint_design.enabled true in {role}, got something else")
    return "true in the benchmark and the export manifest"


def _check_selections(evidence: Evidence) -> str:
    benchmark, manifest = evidence.json("benchmark"), evidence.json("export_manifest")
    joint = joint_fields(evidence, "benchmark")
    config = manifest["selected_config"]
    for key in _SELECTIONS:
        values = [
            joint[key],
            benchmark[key],
            joint_fields(evidence, "export_manifest")[key],
            manifest[key],
            joint_fields(evidence, SOURCE_MANIFEST_FILE)[key],
            config[key.removeprefix("selected_")],
        ]
        if any(value != values[0] or type(value) is not type(values[0]) for value in values):
            raise ArtifactError(f"expected one {key} in every file, got {shown(values)}")
    if joint != joint_fields(evidence, "export_manifest") or joint != joint_fields(evidence, SOURCE_MANIFEST_FILE):
        raise ArtifactError("expected the same joint_design in benchmark, export manifest and source manifest")
    return ", ".join(f"{key} {joint[key]}" for key in _SELECTIONS)


def _check_design(evidence: Evidence) -> str:
    """The document's own integers are the selections, and the constants follow from them."""
    document = load_network_document(evidence.handoff)
    joint = joint_fields(evidence, "benchmark")
    (layer,) = document.layers
    one = 1 << document.precision_bits
    found = (layer.length, layer.encoding, layer.correlation_raw / one)
    wanted = tuple(joint[key] for key in _SELECTIONS)
    if found != wanted:
        raise ArtifactError(f"expected the document's layer to have the selected design {shown(wanted)}, got {found}")
    constants = design_constants(layer.length, joint["expected_bitstream_length"], found[2], layer.encoding)
    verilog = design_verilog(constants).encode("utf-8")
    if require_file(evidence.handoff, DESIGN_FILE) != verilog:
        raise ArtifactError(f"expected {DESIGN_FILE} as it is written from the selected design, got other bytes")
    parity = canonical(design_parity(constants, sha256_bytes(verilog)))
    if require_file(evidence.handoff, PARITY_FILE) != parity:
        raise ArtifactError(f"expected {PARITY_FILE} as it follows from the selected design, got other bytes")
    return "document, trained-design module and its parity file hold the selected design"


def _check_regression(evidence: Evidence) -> str:
    fields = evidence.json("estimator_regression")
    if fields["status"] != "pass":
        raise ArtifactError(f"expected estimator-regression status 'pass', got {shown(fields['status'])}")
    acceptance = fields["acceptance"]
    failed = [key for key in (*_ACCEPTANCE, *acceptance) if acceptance.get(key) is not True]
    if failed:
        raise ArtifactError(f"expected every acceptance field true, got {shown(', '.join(failed))} otherwise")
    table, lengths = fields["estimators"], [str(length) for length in fields["bitstream_lengths"]]
    variances = {
        (name, quantity): [float(table[name][quantity][length]["variance"]) for length in lengths]
        for name in table
        for quantity in ("readout", "stream_loss")
    }
    flat = [value for row in variances.values() for value in row]
    if not all(math.isfinite(value) and value >= 0.0 for value in flat):
        raise ArtifactError("expected finite, nonnegative variances, the table holds others")
    if any(value != 0.0 for key, row in variances.items() if key[0] == "pathwise_relaxation" for value in row):
        raise ArtifactError("expected a pathwise variance of zero, the table holds others")
    score = variances["score_function", "readout"]
    if not score[-1] < score[0]:
        raise ArtifactError("expected the longest stream's score-function variance below the shortest's, it is not")
    return f"pass; {len(acceptance)} acceptance fields true, three derived again from {len(flat)} variances"


def parity_checks(handoff: Mapping[str, bytes]) -> list[Check]:
    """Run the trained-design module and the whole network in a simulator.

    Verilog is run only when it equals what its document emits: a folder from elsewhere cannot bring its own program.
    """

    def design() -> str:
        fields = parse_json(PARITY_FILE, require_file(handoff, PARITY_FILE))
        expected = fields["expected"]
        verilog = design_verilog(expected)
        if require_file(handoff, DESIGN_FILE) != verilog.encode("utf-8"):
            raise ArtifactError(f"expected {DESIGN_FILE} as it follows from {PARITY_FILE}; it was not run")
        found = run_design(verilog, expected)
        return "iverilog and vvp: " + ", ".join(f"{name} {value}" for name, value in found.items())

    return [
        run_check(TRAINED_DESIGN_PARITY, lambda: needs_tools(design)),
        run_check(NETWORK_PARITY, lambda: needs_tools(lambda: network_parity(handoff))),
    ]


def needs_tools(body: Callable[[], str]) -> str:
    try:
        return body()
    except ToolNotFoundError as error:
        raise ArtifactError(f"parity was not run, so it is not shown: {error}") from error


def network_parity(files: Mapping[str, bytes], *, faster: bool = False) -> str:
    """The whole network's Verilog against the reference interpreter on the stored inputs.

    Icarus takes as many samples as fit in some seconds, and each layer alone on its extremes.

    Args:
        files: the handoff's files.
        faster: let Verilator, if it is installed, take all samples when Icarus cannot.

    Raises:
        ParityError: an integer differs.
        ArtifactError: the Verilog is not what the document emits; it is not run then.
        ToolNotFoundError: Icarus is not installed.
    """
    check_verilog(files)
    document = load_network_document(files)
    inputs = parse_inputs(require_file(files, INPUTS_FILE))
    products = sum(layer.in_features * layer.out_features for layer in document.layers)
    samples = max(2, min(len(inputs), _ICARUS_PRODUCTS // (products * interval_cycles(document))))
    simulators = ["icarus"]
    if faster and samples < len(inputs) and SIMULATORS["verilator"].is_available():
        simulators.append("verilator")
    with scratch_copy({path: content for path, content in files.items() if path.startswith("rtl/")}) as folder:
        result = check_parity(
            document, folder / "rtl", inputs, simulators, samples={"icarus": samples}, corner_samples=4
        ).raise_if_failed()
    counts = ", ".join(f"{entry.simulator} {entry.samples} of {len(inputs)} samples" for entry in result.simulators)
    first = result.simulators[0]
    return (
        f"{counts} and {first.corner_samples} corner inputs, {result.integers} integers equal, "
        f"latency {first.latency_cycles} cycles"
    )


def evidence_checks(evidence: Evidence) -> list[Check]:
    """Every point that needs no simulator, in the order of the review."""
    handoff = evidence.handoff
    named = {evidence.names.get(role, f"{role}.json"): content for role, content in evidence.outer.items()}
    points: list[tuple[str, Callable[[], str]]] = [
        ("schemas", lambda: _check_schemas(evidence)),
        ("hardware_measurement_claimed", lambda: check_no_hardware_claim({**named, **handoff})),
        ("joint_design_enabled", lambda: _check_joint_enabled(evidence)),
        ("selections_match", lambda: _check_selections(evidence)),
        ("estimator_regression", lambda: _check_regression(evidence)),
        ("scnir_document", lambda: check_document(handoff)),
        ("trained_design", lambda: _check_design(evidence)),
        ("verilog", lambda: check_verilog(handoff)),
        ("vectors", lambda: check_vectors(handoff)),
    ]
    return [run_check(name, body) for name, body in points]


def unrelated_problem(name: str, content: bytes) -> str | None:
    """Why a file beside the evidence must not lie there: it claims a measurement, or is a second copy."""
    if not name.endswith(".json"):
        return None
    try:
        fields = json_value(content)
    except ArtifactError as error:  # the value that is not read could be a claim
        return f"{shown(name)}: {error}"
    except (ValueError, RecursionError):
        return f"{shown(name)} is not JSON"
    if isinstance(fields, dict) and str(fields.get("schema")).startswith(SCHEMA_PREFIX):
        return f"{shown(name)} is evidence of another set"
    return f"{shown(name)} claims a hardware measurement" if claims_hardware(fields) else None
