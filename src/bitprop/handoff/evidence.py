"""The evidence set of the reference task: one command, three JSON files and a handoff folder.

Everything is made in memory first and checked there, so that what reaches the disk is whole; the audit calls
:func:`build_evidence` again with the recorded arguments and compares.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bitprop.artifacts import evidence as evidence_fields
from bitprop.artifacts import read_json, sha256_bytes, write_bytes
from bitprop.errors import ArtifactError, ConfigError
from bitprop.graph.spec import DenseLayer, Document, SourceEntry
from bitprop.handoff._files import canonical, check_replaceable, file_entries, new_folder, with_self_digest, write_files
from bitprop.handoff.checks import (
    AUDIT_FILE,
    OUTER_SCHEMAS,
    SCHEMA_PREFIX,
    SOURCE_MANIFEST_FILE,
    Check,
    Evidence,
    evidence_checks,
    parity_checks,
)
from bitprop.handoff.export import DOCUMENT_FILE, network_files
from bitprop.handoff.reference_task import (
    TASK_VERSION,
    Progress,
    TaskArguments,
    TrainedTask,
    one_thread,
    rounded,
    train_reference_task,
)
from bitprop.handoff.trained_design import DESIGN_FILE, PARITY_FILE, design_constants, design_parity, design_verilog
from bitprop.ops.lfsr import format_polynomial
from bitprop.seeds import derive_seed
from bitprop.training.sc_estimators.regression import estimator_regression

__all__ = [
    "DEFAULT_NAMES",
    "EvidencePaths",
    "WrittenEvidence",
    "audit_fields",
    "build_evidence",
    "is_evidence_handoff",
    "write_evidence",
]

DEFAULT_NAMES = {
    "benchmark": "stochastic_backprop_benchmark.json",
    "export_manifest": "stochastic_backprop_export_manifest.json",
    "estimator_regression": "stochastic_backprop_estimator_regression_manifest.json",
}
DEFAULT_FOLDER = "stochastic_backprop_handoff"

_ESTIMATORS = ("pathwise_relaxation", "straight_through", "score_function")
_REGRESSION_SAMPLES = 1000
_LONGEST_MEASURED = 2048
_NOT_PROVIDED = [
    "physical hardware measurement",
    "vendor timing closure",
    "board deployment",
    "board-level power, thermal or timing evidence",
]
_FIRST_NUMBERS = 8


def _header(kind: str) -> dict[str, Any]:
    return {**evidence_fields(), "schema": f"{SCHEMA_PREFIX}{kind}", "schema_version": "1.0"}


def _joint_design(trained: TrainedTask) -> dict[str, Any]:
    report, summary = trained.report, trained.fields["trained"]
    config = report.selected_config
    return {
        "enabled": True,
        "selected_bitstream_length": config.bitstream_length,
        "selected_encoding": config.encoding,
        "correlation": config.correlation,
        "correlation_raw": round(config.correlation * (1 << config.precision_bits)),
        "continuous_correlation": summary["continuous_correlation"],
        "expected_bitstream_length": summary["expected_bitstream_length"],
        "length_probabilities": summary["length_probabilities"],
        "encoding_probabilities": summary["encoding_probabilities"],
        "trained_variables": ["weight", "bias", "length_logits", "encoding_logits", "correlation_logit"],
    }


def _selections(joint: Mapping[str, Any]) -> dict[str, Any]:
    return {key: joint[key] for key in ("selected_bitstream_length", "selected_encoding", "correlation")}


def _stream(layer: DenseLayer, role: str, entry: SourceEntry) -> dict[str, Any]:
    """What hardware needs to make one stream again, and its first numbers to recognise it by."""
    source = entry.build()
    fields = entry.model_dump()
    polynomial = fields.get("polynomial")
    return {
        "layer": layer.name,
        "role": role,
        "source": fields,
        "seed": entry.seed,
        "polynomial": None if polynomial is None else format_polynomial(polynomial),
        "period": source.period,
        "bitstream_length": layer.length,
        "encoding": layer.encoding,
        "precision_bits": entry.width,
        "first_numbers": source.sequence(min(_FIRST_NUMBERS, layer.length)).tolist(),
    }


def _streams(document: Document) -> list[dict[str, Any]]:
    return [
        _stream(layer, role, entry)
        for layer in document.layers
        for role, entry in (
            ("activation", layer.activation_source),
            ("weight", layer.weight_source),
            ("correlation", layer.correlation_source),
        )
        if entry is not None
    ]


def _correlation_constraints(document: Document, low: float, high: float) -> list[dict[str, Any]]:
    constraints = []
    for layer in document.layers:
        cycles = np.flatnonzero(layer.numbers.weight != layer.weight_source.build().sequence(layer.length))
        constraints.append(
            {
                "layer": layer.name,
                "between": ["activation", "weight"],
                "measure": "SCC (Alaghi and Hayes, 2013)",
                "correlation": layer.correlation_raw / (1 << document.precision_bits),
                "correlation_raw": layer.correlation_raw,
                "allowed": [low, high],
                "mixing": "weight comparators see the activation's number, or its complement when negative, in the "
                "cycles in which the correlation source's number is below |correlation_raw|",
                "cycles_replaced": len(cycles),
            }
        )
    return constraints


def _estimator_variance(regression: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "status": regression["status"],
        "acceptance": regression["acceptance"],
        "quantity": regression["problem"]["readout"],
        "variance": {
            name: {length: cell["variance"] for length, cell in regression["estimators"][name]["readout"].items()}
            for name in _ESTIMATORS
        },
    }


def _regression(arguments: TaskArguments) -> dict[str, Any]:
    longest = min(arguments.bitstream_length, _LONGEST_MEASURED)
    lengths = (longest // 8, longest // 4, longest // 2, longest)
    with one_thread():
        fields = estimator_regression(
            lengths,
            seed=derive_seed(0, "estimator regression of the reference task"),
            samples=_REGRESSION_SAMPLES,
            estimators=_ESTIMATORS,
        )
    return {**rounded(fields), **_header("estimator_regression"), "arguments": arguments.to_dict()}


def _entry(name: str, content: bytes) -> dict[str, Any]:
    return {"file": name, "sha256": sha256_bytes(content), "size": len(content)}


def build_evidence(
    arguments: TaskArguments,
    *,
    names: Mapping[str, str] = DEFAULT_NAMES,
    folder: str = DEFAULT_FOLDER,
    parity: Callable[[Mapping[str, bytes]], list[Check]] = parity_checks,
    say: Progress | None = None,
) -> tuple[Evidence, tuple[Check, ...]]:
    """Train, lower, emit, measure and check: the whole evidence set in memory.

    Args:
        arguments: of the reference task.
        names: file name of each of the three outer files, by role.
        folder: name of the handoff folder.
        parity: gives the two parity checks of a handoff's files.
        say: receives progress lines.

    Returns:
        The set and the outcome of each check, as the handoff audit in it records them.

    Raises:
        RangeError: training diverged.
    """
    report = say or (lambda line: None)
    trained = train_reference_task(arguments, say)
    joint, document = _joint_design(trained), trained.document
    space = trained.task.design_space
    common = {
        "arguments": arguments.to_dict(),
        "task_version": TASK_VERSION,
        "joint_design": joint,
        **_selections(joint),
        "streams": _streams(document),
        "correlation_constraints": _correlation_constraints(document, space.min_correlation, space.max_correlation),
    }

    report("network: document, Verilog, test vectors")
    handoff = network_files(document, trained.inputs_raw)
    constants = design_constants(
        joint["selected_bitstream_length"],
        joint["expected_bitstream_length"],
        joint["correlation"],
        joint["selected_encoding"],
    )
    verilog = design_verilog(constants).encode("utf-8")
    handoff[DESIGN_FILE] = verilog
    handoff[PARITY_FILE] = canonical(design_parity(constants, sha256_bytes(verilog)))
    handoff[SOURCE_MANIFEST_FILE] = canonical(
        {
            **_header("scnir_source_manifest"),
            **common,
            "network": document.name,
            "document": _entry(DOCUMENT_FILE, handoff[DOCUMENT_FILE]),
            "files": file_entries(handoff),
        }
    )

    report("estimator regression")
    regression = _regression(arguments)
    outer = {"estimator_regression": canonical(regression)}
    outer["benchmark"] = canonical(
        {
            **_header("benchmark"),
            **common,
            **trained.fields,
            "task": trained.task.to_dict(),
            "estimator_variance": _estimator_variance(regression),
            "document_sha256": sha256_bytes(handoff[DOCUMENT_FILE]),
            "not_provided": _NOT_PROVIDED,
        }
    )
    outer["export_manifest"] = canonical(
        {
            **_header("export_manifest"),
            **common,
            "network": document.name,
            "shape": [document.inputs.features, *(layer.out_features for layer in document.layers)],
            "selected_config": trained.report.selected_config.to_dict(),
            "artifacts": {role: _entry(names[role], outer[role]) for role in ("benchmark", "estimator_regression")},
            "handoff": {"folder": folder, "audit": AUDIT_FILE, "files": file_entries(handoff)},
            "not_provided": _NOT_PROVIDED,
        }
    )

    report("audit: review checklist and Verilog simulation")
    draft = Evidence(outer, dict(names), folder, handoff)
    checks = (*evidence_checks(draft), *parity(handoff))
    handoff[AUDIT_FILE] = canonical(audit_fields(draft, checks))
    return draft, checks


def audit_fields(evidence: Evidence, checks: Sequence[Check]) -> dict[str, Any]:
    """The handoff audit's content: the outcome of each check, and hash and size of every other file of the set."""
    handoff = {path: content for path, content in evidence.handoff.items() if path != AUDIT_FILE}
    return with_self_digest(
        {
            **_header("handoff_audit"),
            "status": "valid" if all(check.status == "pass" for check in checks) else "invalid",
            "checks": [check.to_dict() for check in checks],
            "folder": evidence.folder,
            "artifacts": {role: _entry(evidence.names[role], evidence.outer[role]) for role in OUTER_SCHEMAS},
            "files": file_entries(handoff),
        }
    )


# --- on disk --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EvidencePaths:
    """Where the evidence set goes.

    Attributes:
        benchmark: benchmark report.
        export_manifest: export manifest.
        estimator_regression: estimator-regression manifest.
        handoff: handoff folder.

    Raises:
        ConfigError: two of them are the same, or a file lies inside the handoff folder.
    """

    benchmark: Path
    export_manifest: Path
    estimator_regression: Path
    handoff: Path

    def __post_init__(self) -> None:
        files = [self.benchmark, self.export_manifest, self.estimator_regression]
        places = [Path(os.path.abspath(path)) for path in (*files, self.handoff)]  # noqa: PTH100 - links stay as named
        if len(set(places)) != len(places):
            raise ConfigError("expected four different outputs, got the same path twice; give each its own name")
        for path, place in zip(files, places, strict=False):
            if places[-1] in place.parents:
                raise ConfigError(
                    f"expected {path} outside the handoff folder {self.handoff}; the folder holds only "
                    "what the hardware needs"
                )
            if place in places[-1].parents:
                raise ConfigError(f"expected {self.handoff} not to lie below the file {path}; choose another name")

    def files(self) -> dict[str, Path]:
        """The three files by role."""
        return {
            "benchmark": self.benchmark,
            "export_manifest": self.export_manifest,
            "estimator_regression": self.estimator_regression,
        }


@dataclass(frozen=True, slots=True)
class WrittenEvidence:
    """What was written.

    Attributes:
        evidence: the set.
        checks: outcome of each check.
        paths: every file written, outer files first.
    """

    evidence: Evidence
    checks: tuple[Check, ...]
    paths: tuple[Path, ...]

    @property
    def valid(self) -> bool:
        """Whether every check passed."""
        return all(check.status == "pass" for check in self.checks)


def is_evidence_handoff(folder: Path) -> bool:
    """Whether a folder is the handoff folder of an earlier run."""
    try:
        return read_json(folder / SOURCE_MANIFEST_FILE).get("schema") == f"{SCHEMA_PREFIX}scnir_source_manifest"
    except ArtifactError:
        return False


def _check_writable(paths: EvidencePaths) -> None:
    """Find out before the work, not after it."""
    check_replaceable(paths.handoff, is_evidence_handoff)
    for path in paths.files().values():
        try:
            if path.exists() and not stat.S_ISREG(path.stat().st_mode):
                raise ArtifactError(
                    f"expected a file or nothing at {path}, got a folder or device; choose another name"
                )
        except OSError as error:
            raise ArtifactError(f"cannot look at {path}: {error.strerror}; choose another place") from error
    for parent in sorted({path.parent for path in (*paths.files().values(), paths.handoff)}):
        try:
            parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=parent, prefix=".bitprop.", suffix=".part"):
                pass
        except OSError as error:
            raise ArtifactError(
                f"cannot write in {parent}: {error.strerror or error}; choose a folder you may write to"
            ) from error


def write_evidence(arguments: TaskArguments, paths: EvidencePaths, *, say: Progress | None = None) -> WrittenEvidence:
    """Make the evidence set and write it: the handoff folder whole, each file whole.

    Raises:
        RangeError: training diverged.
        ArtifactError: a path cannot be written, or the handoff path holds other files.
    """
    _check_writable(paths)
    files = paths.files()
    made, checks = build_evidence(
        arguments, names={role: path.name for role, path in files.items()}, folder=paths.handoff.name, say=say
    )
    with new_folder(paths.handoff, is_evidence_handoff) as fresh:
        write_files(fresh, made.handoff)
    for role, path in files.items():
        write_bytes(path, made.outer[role])
    return WrittenEvidence(made, checks, (*files.values(), *(paths.handoff / name for name in sorted(made.handoff))))
