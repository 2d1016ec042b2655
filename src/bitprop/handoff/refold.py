"""The same program in another architecture: a handoff or a document exported again, no integer changed."""

from __future__ import annotations

import os
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from bitprop._checks import check_integer, shortened
from bitprop.errors import ArtifactError, ConfigError, RangeError
from bitprop.formats import IntArray
from bitprop.graph.architecture import Architecture, Parallel
from bitprop.graph.choose import choose_folds, fold_all, parse_fold
from bitprop.graph.fold import with_architecture
from bitprop.graph.random import random_inputs
from bitprop.graph.spec import Document, load_document
from bitprop.handoff._files import parse_json, read_snapshot
from bitprop.handoff.checks import load_network_document, require_file
from bitprop.handoff.export import (
    EXPECTED_FILE,
    INPUTS_FILE,
    MANIFEST_FILE,
    Manifest,
    export_network,
    is_network_handoff,
    parse_inputs,
)

__all__ = ["Choice", "export_again", "is_exported", "load_choice"]

_KEYS = ("inputs_per_cycle", "neurons_per_cycle", "cycles_per_step", "values_per_beat", "pipeline")


@dataclass(frozen=True, slots=True)
class Choice:
    """What was asked for: one architecture for all layers, some for named ones, or a target.

    Attributes:
        kind: for every layer that ``layers`` does not name; ``None`` leaves it as it is.
        fold: fields of the folded architecture for those.
        layers: by name: an architecture, or fields of a fold.
        cycles: choose every fold so that latency and interval are at most so many cycles; instead of the others.
        weights: ``rom`` or ``loadable`` for every folded layer; ``None`` leaves it as it is.
    """

    kind: Literal["parallel", "folded"] | None = None
    fold: Mapping[str, int] | None = None
    layers: Mapping[str, Architecture | Mapping[str, int]] | None = None
    cycles: int | None = None
    weights: Literal["rom", "loadable"] | None = None

    @property
    def is_empty(self) -> bool:
        """Nothing was asked for."""
        return self.kind is None and not self.fold and not self.layers and self.cycles is None and self.weights is None

    def apply(self, document: Document) -> Document:
        """The document in this architecture.

        Raises:
            RangeError: a target beside other wishes, or one that no fold meets; fields of a fold, or loadable weights,
            without a fold.
            DocumentError: no such layer, or a fold that does not fit.
        """
        if self.is_empty:
            return document
        folded = self._folded(document)
        if self.weights is None:
            return folded
        if self.weights == "loadable" and all(layer.fold is None for layer in folded.layers):
            raise RangeError(
                "expected a folded layer for loadable weights, got parallel ones, whose weights are gates; fold one"
            )
        changed = {
            layer.name: layer.fold.model_copy(update={"weights": self.weights}) for layer in folded.layers if layer.fold
        }
        return with_architecture(folded, changed)

    def _folded(self, document: Document) -> Document:
        if self.cycles is not None:
            if self.fold or self.layers or self.kind == "parallel":
                raise RangeError("expected a target in cycles alone, or folds, got both; leave one out")
            return choose_folds(document, self.cycles)
        wanted: dict[str, Architecture | Mapping[str, int]] = dict(self.layers or {})
        if self.kind == "parallel":
            if self.fold:
                raise RangeError("expected no fold's options for the parallel architecture; leave them out")
            wanted["*"] = Parallel()
        elif self.kind == "folded" or self.fold:
            wanted["*"] = dict(self.fold or {})
        return fold_all(document, wanted)


def load_choice(
    kind: str | None,
    fold: Mapping[str, int | None],
    layers: Sequence[str],
    cycles: int | None,
    file: str | os.PathLike[str] | None,
    weights: str | None = None,
) -> Choice:
    """Options of a command line as a choice.

    Args:
        kind: ``parallel``, ``folded`` or ``None``.
        fold: fields of a fold; those that are ``None`` were not given.
        layers: texts as :func:`bitprop.graph.choose.parse_fold` reads them.
        cycles: target, or ``None``.
        weights: ``rom``, ``loadable`` or ``None``.
        file: TOML with a table ``[layers.NAME]`` for each layer: ``kind`` and the fields of a fold; or ``None``.

    Raises:
        RangeError: an unknown kind, a text that is no layer, or a layer twice.
        ConfigError: the file cannot be read or says something else.
    """
    if kind not in (None, "parallel", "folded"):
        raise RangeError(f"expected the architecture to be parallel or folded, got {kind!r}; choose one")
    if weights not in (None, "rom", "loadable"):
        raise RangeError(f"expected weights to be rom or loadable, got {weights!r}; choose one")
    chosen: dict[str, Architecture | Mapping[str, int]] = {} if file is None else _read(file)
    asked = [parse_fold(text) for text in layers]
    twice = [name for name, count in Counter(name for name, _ in asked).items() if count > 1]
    if twice:
        raise RangeError(f"expected each layer once, got {twice[0]!r} more often; leave all but one of them out")
    chosen.update(asked)
    given = {key: value for key, value in fold.items() if value is not None}
    memory: Literal["rom", "loadable"] | None = None if weights is None else "rom" if weights == "rom" else "loadable"
    return Choice("parallel" if kind == "parallel" else "folded" if kind else None, given, chosen, cycles, memory)


def _read(file: str | os.PathLike[str]) -> dict[str, Architecture | Mapping[str, int]]:
    try:
        fields = tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"expected TOML with a table [layers.NAME] for each layer in {file}, got: {error}") from error
    tables = fields.get("layers")
    if set(fields) != {"layers"} or not isinstance(tables, dict):
        raise ConfigError(f"expected tables [layers.NAME] and nothing else in {file}, got {shortened(sorted(fields))}")
    chosen: dict[str, Architecture | Mapping[str, int]] = {}
    for name, table in tables.items():
        kind = table.pop("kind", "folded") if isinstance(table, dict) else None
        if kind == "parallel" and not table:
            chosen[name] = Parallel()
            continue
        if kind != "folded" or not set(table) <= set(_KEYS):
            raise ConfigError(
                f"layers.{name}: expected kind = 'parallel', or 'folded' and some of {', '.join(_KEYS)}, in {file}, "
                f"got {shortened(table)}; correct it"
            )
        try:
            chosen[name] = {
                key: check_integer(key, value, 0 if key == "pipeline" else 1, 1 << 16) for key, value in table.items()
            }
        except RangeError as error:
            raise ConfigError(f"layers.{name} in {file}: {error}") from error
    return chosen


def is_exported(source: str | os.PathLike[str]) -> bool:
    """Whether a path is a handoff folder or a document, rather than a run."""
    path = Path(source)
    return path.suffix == ".json" if path.is_file() else path.is_dir() and is_network_handoff(path)


def export_again(
    source: str | os.PathLike[str], output: str | os.PathLike[str], choice: Choice, *, samples: int | None = None
) -> Manifest:
    """Export a handoff folder, or an SC-NIR document, in another architecture.

    Args:
        source: a handoff folder, whose test vectors and labels are kept, or a document, which gets random vectors.
        output: the new handoff folder; not ``source``.
        choice: the architecture.
        samples: at most so many test vectors; ``None``: all of the folder's, 100 for a document.

    Raises:
        ArtifactError: no such folder, labels that are none, or an output folder that holds something else.
        DocumentError: no valid document, or a fold that does not fit.
        RangeError: see :meth:`Choice.apply`; the output is the source.
    """
    path = Path(source)
    if path.is_file():
        document = choice.apply(load_document(path))
        return export_network(document, output, inputs_raw=random_inputs(document, samples or 100))
    if Path(output).resolve() == path.resolve():
        raise RangeError("expected another folder for the new export than the one it is made from; choose a new one")
    files = read_snapshot(path).files
    document = choice.apply(load_network_document(files))
    inputs = parse_inputs(require_file(files, INPUTS_FILE))[:samples]
    labels = _labels(files)
    extra = parse_json(MANIFEST_FILE, require_file(files, MANIFEST_FILE)).get("extra")
    return export_network(
        document,
        output,
        inputs_raw=inputs,
        labels=None if labels is None else labels[: len(inputs)],
        extra=extra,
    )


def _labels(files: Mapping[str, bytes]) -> IntArray | None:
    """The labels of a handoff's test vectors, if it has any."""
    labels = parse_json(EXPECTED_FILE, require_file(files, EXPECTED_FILE)).get("labels")
    if labels is None:
        return None
    if not isinstance(labels, list) or not all(type(label) is int and 0 <= label < 1 << 31 for label in labels):
        raise ArtifactError(
            f"expected labels as a list of classes in {EXPECTED_FILE}, got {shortened(labels)}; export the run again"
        )
    return np.array(labels, dtype=np.int64)
