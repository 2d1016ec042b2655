"""Random networks from document to parity: every one is emitted, read by linters, simulated, compared, and stalled.

A network is a function of its number alone, so that a failure is seen again by its number.  Finished numbers stand in
a file, one JSON object a line, and are not done twice.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from bitprop._checks import check_integer
from bitprop.errors import ArtifactError, BitpropError
from bitprop.graph.random import random_architecture, random_document, random_inputs
from bitprop.graph.spec import Document
from bitprop.hdl import emit
from bitprop.seeds import derive_seed
from bitprop.toolchain.lint import lint_design
from bitprop.verification.parity import check_parity

__all__ = ["RandomParity", "check_network", "composition", "random_network", "run_random_parity"]

_VERILATOR_EVERY = 25  # its builds take ten times as long as all the rest


@dataclass(frozen=True, slots=True)
class RandomParity:
    """What became of the networks.

    Attributes:
        networks: how many were checked, earlier runs included.
        integers: integers compared in simulation.
        failures: by number, what went wrong.
    """

    networks: int
    integers: int
    failures: dict[int, str]

    @property
    def passed(self) -> bool:
        """Whether nothing went wrong."""
        return not self.failures

    def to_text(self) -> str:
        """One line, and one for each failure with what to type to see it again."""
        lines = [f"{self.networks} random networks, {self.integers} integers compared, {len(self.failures)} failures"]
        for number, text in sorted(self.failures.items()):
            lines.append(
                f"network {number}: {text}\n  again: python tools/random_parity.py --first {number} --networks 1"
            )
        return "\n".join(lines)


def random_network(number: int) -> Document:
    """Network ``number``: widths, lengths, encodings, correlations, sources and architectures are random.

    Example:
        >>> random_network(3) == random_network(3)
        True
    """
    generator = np.random.default_rng(derive_seed(number, "random_network"))
    document = random_document(
        number,
        max_features=int(generator.choice([3, 8, 14, 24])),
        max_layers=int(generator.integers(1, 5)),
        max_length=int(generator.choice([1, 7, 16, 40])),
        max_precision_bits=int(generator.choice([4, 8, 10])),
    )
    return random_architecture(document, number)


def composition(numbers: Iterable[int]) -> dict[str, Any]:
    """What networks are made of: how many layers there are of each kind, encoding and source, correlated, how long.

    Example:
        >>> composition([3])["networks"]
        1
    """
    documents = [random_network(number) for number in numbers]
    layers = [layer for document in documents for layer in document.layers]
    sources = [source.kind for layer in layers for source in (layer.activation_source, layer.weight_source)]
    lengths = [layer.length for layer in layers]
    return {
        "networks": len(documents),
        "layers": len(layers),
        "architectures": dict(
            sorted(Counter("parallel" if layer.fold is None else "folded" for layer in layers).items())
        ),
        "encodings": dict(sorted(Counter(layer.encoding for layer in layers).items())),
        "sources": dict(sorted(Counter(sources).items())),
        "correlated": sum(layer.correlation_raw != 0 for layer in layers),
        "lengths": [min(lengths, default=0), max(lengths, default=0)],
        "precision_bits": sorted({document.precision_bits for document in documents}),
    }


def check_network(number: int, *, lint: bool = False, samples: int = 6) -> dict[str, Any]:
    """One network from document to parity; every 25th also in Verilator.

    Args:
        number: its number.
        lint: let every linter that is installed read it first; any word of theirs is a failure.
        samples: samples through the whole network.

    Returns:
        ``number``, ``layers`` (architectures), ``integers`` compared, and ``failure``: empty, or what went wrong.
    """
    document = random_network(number)
    record: dict[str, Any] = {
        "number": number,
        "layers": [layer.architecture.kind if layer.architecture is not None else "" for layer in document.layers],
        "integers": 0,
        "failure": "",
    }
    simulators = ["icarus"] if number % _VERILATOR_EVERY else ["icarus", "verilator"]
    try:
        with tempfile.TemporaryDirectory(prefix="bitprop_") as folder:
            design = emit(document, folder)
            if lint:
                files = {name: (Path(folder) / name).read_bytes() for name in design.design_files}
                said = [f"{tool}: {text}" for tool, text in lint_design(files, document.name).items() if text]
                if said:
                    return {**record, "failure": "\n".join(said)}
            result = check_parity(
                document,
                folder,
                random_inputs(document, samples, number),
                simulators,
                corner_samples=4,
                stall=number + 1,
                evidence_dir=folder,
            )
    except BitpropError as error:
        return {**record, "failure": f"{type(error).__name__}: {error}"}
    record["integers"] = result.integers
    record["failure"] = "" if result.status == "pass" else result.mismatches[0].describe()
    return record


def run_random_parity(
    numbers: Iterable[int],
    *,
    jobs: int = 2,
    lint: bool = False,
    log: str | os.PathLike[str] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> RandomParity:
    """Check networks side by side.

    Args:
        numbers: which.
        jobs: processes.
        lint: see :func:`check_network`.
        log: file of finished networks; those that passed there are not done again.  ``None``: none.
        say: gets a line for every network.

    Raises:
        ArtifactError: the log cannot be read or written.
        RangeError: no process.
    """
    check_integer("jobs", jobs, 1, 64)
    done = {} if log is None else _read_log(Path(log))
    wanted = list(dict.fromkeys(numbers))
    records = {number: done[number] for number in wanted if number in done}
    left = [number for number in wanted if number not in records]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(check_network, number, lint=lint) for number in left]
        for future in as_completed(futures):
            record = future.result()
            records[record["number"]] = record
            if log is not None:
                _append(Path(log), record)
            state = record["failure"] or "pass"
            kinds = ", ".join(record["layers"])
            say(f"{len(records)} of {len(wanted)}: network {record['number']} ({kinds}): {state}")
    return RandomParity(
        networks=len(records),
        integers=sum(record["integers"] for record in records.values()),
        failures={number: record["failure"] for number, record in records.items() if record["failure"]},
    )


def _read_log(path: Path) -> dict[int, dict[str, Any]]:
    """Networks that passed; a line that an interruption cut off counts as none."""
    if not path.exists():
        return {}
    found = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"expected a log of random networks in {path}, got: {error}; name another file") from error
    for line in lines:
        try:
            record = json.loads(line)
            if record["failure"] == "":
                found[int(record["number"])] = {"integers": int(record["integers"]), **record}
        except (ValueError, KeyError, TypeError):
            continue
    return found


def _append(path: Path, record: dict[str, Any]) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
    except OSError as error:
        raise ArtifactError(f"expected to write {path}, got: {error}; name another file") from error
