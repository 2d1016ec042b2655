"""A network's handoff folder: document, Verilog, test vectors, and a manifest of every byte.

::

    scnir_document.json      the integer program
    rtl/files.f, rtl/*.v     everything to synthesise, in order; the testbench beside it
    vectors/inputs.txt       value integers, one sample a line, as the testbench reads them
    vectors/expected.json    every integer the reference interpreter gives for them
    handoff_manifest.json    SHA-256 and size of every file, and of the manifest's own content

Same arguments, same bytes: nothing records a clock, a host, a path or a tool's version.  The folder appears whole or
not at all.
"""

from __future__ import annotations

import functools
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bitprop._checks import check_integer
from bitprop.artifacts import evidence, read_json, sha256_bytes
from bitprop.errors import ArtifactError, ShapeError
from bitprop.formats import IntArray
from bitprop.graph.interpret import check_inputs, run
from bitprop.graph.spec import Document, parse_document
from bitprop.graph.timing import latencies
from bitprop.handoff._files import (
    DIGEST_FIELD,
    canonical,
    file_entries,
    new_folder,
    self_digest,
    write_files,
)
from bitprop.hdl import emit

__all__ = [
    "DOCUMENT_FILE",
    "EXPECTED_FILE",
    "INPUTS_FILE",
    "MANIFEST_FILE",
    "MANIFEST_SCHEMA",
    "SCHEMA_VERSION",
    "VECTORS_SCHEMA",
    "Manifest",
    "expected_vectors",
    "export_network",
    "manifest_fields",
    "network_files",
    "parse_inputs",
    "rtl_files",
]

MANIFEST_SCHEMA = "bitprop.handoff.manifest"
VECTORS_SCHEMA = "bitprop.handoff.vectors"
SCHEMA_VERSION = "1.0"
DOCUMENT_FILE = "scnir_document.json"
INPUTS_FILE = "vectors/inputs.txt"
EXPECTED_FILE = "vectors/expected.json"
MANIFEST_FILE = "handoff_manifest.json"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an exported folder holds.

    Attributes:
        folder: where it lies (not recorded in the file).
        fields: the manifest file's content.
    """

    folder: Path
    fields: Mapping[str, Any]

    @property
    def network(self) -> str:
        """The network's name, also its top module."""
        return str(self.fields["network"])

    @property
    def files(self) -> tuple[str, ...]:
        """Relative paths of every file but the manifest."""
        return tuple(entry["path"] for entry in self.fields["files"])

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest's content: it stands for every byte of the folder."""
        return str(self.fields[DIGEST_FIELD])

    def to_dict(self) -> dict[str, Any]:
        """Plain fields, as in the file."""
        return dict(self.fields)


def rtl_files(document: Document) -> dict[str, bytes]:
    """The Verilog of a network as ``rtl/<name>`` and bytes: design, testbench, ``files.f``.

    Raises:
        NotExportableError: a source has no hardware.
    """
    return dict(_rtl_of(document.to_json()))


@functools.lru_cache(maxsize=4)
def _rtl_of(text: str) -> tuple[tuple[str, bytes], ...]:
    """Emission is a function of the document's text; a review asks for the same one several times."""
    document = parse_document(json.loads(text))
    with tempfile.TemporaryDirectory(prefix="bitprop_") as scratch:
        emit(document, scratch)
        return tuple((f"rtl/{path.name}", path.read_bytes()) for path in sorted(Path(scratch).iterdir()))


def render_inputs(inputs_raw: IntArray) -> bytes:
    """One sample a line, decimal integers with one space between them."""
    return "".join(" ".join(map(str, row)) + "\n" for row in inputs_raw.tolist()).encode("ascii")


def parse_inputs(content: bytes) -> IntArray:
    """Read ``vectors/inputs.txt`` back, int64 ``[B, features]``.

    Raises:
        ArtifactError: not integers in rows of one length, or not laid out as written.
    """
    try:
        rows = [[int(word) for word in line.split(" ")] for line in content.decode("ascii").splitlines()]
        array = np.array(rows, dtype=np.int64)
        if array.ndim == 2 and array.size and render_inputs(array) == content:
            return array
    except (ValueError, OverflowError):
        pass
    raise ArtifactError(f"expected rows of decimal integers of one length in {INPUTS_FILE}, got something else")


def expected_vectors(
    document: Document, inputs_raw: npt.ArrayLike, labels: npt.ArrayLike | None = None
) -> dict[str, Any]:
    """Every integer the reference interpreter gives: accumulators, outputs, decisions, latencies.

    Args:
        document: the program.
        inputs_raw: value integers, ``[B, features]``.
        labels: class of each sample, ``[B]``; adds ``labels`` and ``correct``.

    Raises:
        ShapeError: inputs or labels of another shape.
        RangeError: an input or a label out of range.
    """
    inputs = check_inputs(document, inputs_raw)
    result = run(document, inputs)
    fields: dict[str, Any] = {
        **evidence(),
        "schema": VECTORS_SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "network": document.name,
        "samples": len(inputs),
        "inputs_sha256": sha256_bytes(render_inputs(inputs)),
        "document_sha256": sha256_bytes(document.to_json().encode("utf-8")),
        "layers": [
            {"name": layer.name, "accumulators": accumulators.tolist(), "outputs": outputs.tolist()}
            for layer, accumulators, outputs in zip(document.layers, result.accumulators, result.layers, strict=True)
        ],
        "decision": result.decision.tolist(),
        "latency_cycles": latencies(document.layers, len(inputs)).tolist(),
    }
    if labels is not None:
        truth = np.asarray(labels)
        if truth.shape != (len(inputs),) or truth.dtype.kind not in "iu":
            raise ShapeError(
                f"expected labels as integers of shape [{len(inputs)}], got {truth.dtype} of shape "
                f"{list(truth.shape)}; give one for each sample"
            )
        classes = document.layers[-1].out_features
        fields["labels"] = [check_integer("a label", label, 0, classes - 1) for label in truth.tolist()]
        fields["correct"] = int((truth == result.decision).sum())
    return fields


def network_files(
    document: Document, inputs_raw: npt.ArrayLike, labels: npt.ArrayLike | None = None
) -> dict[str, bytes]:
    """Everything of a handoff but its manifest, by relative path.

    Raises:
        ShapeError, RangeError: see :func:`expected_vectors`.
        NotExportableError: a source has no hardware.
    """
    inputs = check_inputs(document, inputs_raw)
    return {
        DOCUMENT_FILE: document.to_json().encode("utf-8"),
        INPUTS_FILE: render_inputs(inputs),
        EXPECTED_FILE: canonical(expected_vectors(document, inputs, labels)),
        **rtl_files(document),
    }


def manifest_fields(document: Document, files: Mapping[str, bytes], extra: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of a handoff folder; all of it but ``extra`` follows from the files."""
    name = document.name
    fields = {
        **evidence(),
        "schema": MANIFEST_SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "network": name,
        "shape": [document.inputs.features, *(layer.out_features for layer in document.layers)],
        "precision_bits": document.precision_bits,
        "samples": files[INPUTS_FILE].count(b"\n"),
        "top_module": name,
        "testbench": f"rtl/{name}_tb.v",
        "file_list": "rtl/files.f",
        "files": file_entries(files),
        "extra": dict(extra),
    }
    return {**fields, DIGEST_FIELD: self_digest(fields)}


def is_network_handoff(folder: Path) -> bool:
    """Whether a folder was written by :func:`export_network`."""
    try:
        return read_json(folder / MANIFEST_FILE).get("schema") == MANIFEST_SCHEMA
    except ArtifactError:
        return False


def export_network(
    document: Document,
    folder: str | os.PathLike[str],
    *,
    inputs_raw: npt.ArrayLike,
    labels: npt.ArrayLike | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Manifest:
    """Write a network's handoff folder.

    Args:
        document: the program.
        folder: where; nothing, an empty folder, or an earlier handoff, which is replaced.
        inputs_raw: value integers of the test vectors, ``[B, features]``, at least one sample.
        labels: class of each sample, ``[B]``.
        extra: further facts for the manifest, plain JSON values; the audit cannot derive them again.

    Raises:
        ShapeError: inputs or labels of another shape.
        RangeError: an input or a label out of range.
        NotExportableError: a source has no hardware.
        ArtifactError: the folder holds other files or cannot be written, or ``extra`` is not plain finite JSON.
    """
    files = network_files(document, inputs_raw, labels)
    try:
        manifest = manifest_fields(document, files, extra or {})
    except (TypeError, ValueError, RecursionError) as error:
        raise ArtifactError(f"expected plain JSON values in extra, got {error}; convert them") from error
    with new_folder(folder, is_network_handoff) as fresh:
        write_files(fresh, {**files, MANIFEST_FILE: canonical(manifest)})
    return Manifest(Path(folder), manifest)
