"""What every benchmark shares: the machine's name, tables, and jobs that run side by side."""

from __future__ import annotations

import argparse
import json
import lzma
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from bitprop import __version__
from bitprop.artifacts import EVIDENCE_LOCAL_PARITY, evidence, read_json, write_bytes, write_json
from bitprop.graph.spec import Document, parse_document

RESULTS = Path(__file__).with_name("results")
DATA = Path(__file__).with_name("data")


def _stored(name: str) -> Path:
    return DATA / f"{name}.json.xz"


def store_document(name: str, document: Document) -> None:
    """Keep a trained network among the benchmarks' data."""
    DATA.mkdir(exist_ok=True)
    write_bytes(_stored(name), lzma.compress(document.to_json().encode("utf-8"), preset=9 | lzma.PRESET_EXTREME))


def stored_document(name: str) -> Document:
    """A trained network, without training."""
    return parse_document(json.loads(lzma.decompress(_stored(name).read_bytes())))


@contextmanager
def unpacked(name: str) -> Iterator[Path]:
    """The file of a stored network, for as long as it is needed."""
    with tempfile.TemporaryDirectory(prefix="bitprop_") as folder:
        path = Path(folder) / f"{name}.json"
        path.write_bytes(lzma.decompress(_stored(name).read_bytes()))
        yield path


def machine() -> dict[str, Any]:
    """Processor, cores and versions: what a figure of speed or a float sum may depend on."""
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "bitprop": __version__,
    }


def peak_memory() -> int:
    """Bytes of memory that this process has had at most; ``ru_maxrss`` would begin with those of its parent."""
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError("expected VmHWM in /proc/self/status, found none; peaks of memory need Linux")


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, the first column to the left."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" + "---:|" * (len(columns) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def spread(values: Sequence[float]) -> str:
    """Mean and sample standard deviation of shares, in per cent."""
    mean = f"{100 * statistics.fmean(values):.2f}"
    return f"{mean} ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else mean


def _single_thread() -> None:
    torch.set_num_threads(1)


def run_jobs(
    function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], processes: int, partial: Path, *, keep: bool = False
) -> list[Any]:
    """``function(*job)`` for every job, in order, one thread each; says what is done on standard error.

    What is done is kept in ``partial``, so that an interrupted benchmark goes on where it was; the file is removed once
    all is done, unless ``keep`` leaves that to a benchmark of several such rounds.
    """
    finished: dict[str, Any] = read_json(partial) if partial.is_file() else {}
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_single_thread) as pool:
        futures = {pool.submit(function, *job): str(job) for job in jobs if str(job) not in finished}
        for future in as_completed(futures):
            finished[futures[future]] = future.result()
            write_json(partial, finished)
            print(f"  {len(finished)}/{len(jobs)}  {futures[future]}", file=sys.stderr, flush=True)
    if not keep:
        partial.unlink(missing_ok=True)
    return [finished[str(job)] for job in jobs]


def benchmark(
    parser: argparse.ArgumentParser,
    name: str,
    measure: Callable[[argparse.Namespace], dict[str, Any]],
    table: Callable[[dict[str, Any]], str],
    *,
    version: str = "1.0",
    boundary: str = EVIDENCE_LOCAL_PARITY,
) -> None:
    """The command line of a benchmark: measure, write one results file and print its table, or only print it.

    Args:
        parser: with the benchmark's own options; ``--output`` and ``--table-only`` are added.
        name: of the benchmark, its schema and its file.
        measure: the results from the options.
        table: the results as text.
        version: of the schema.
        boundary: what the figures are evidence of.
    """
    parser.add_argument("--output", type=Path, default=RESULTS / f"{name}.json", help="results file")
    parser.add_argument("--table-only", action="store_true", help="print the table of an existing results file")
    arguments = parser.parse_args()
    if arguments.table_only:
        print(table(read_json(arguments.output)))
        return
    header = {"schema": f"bitprop.benchmark.{name}", "schema_version": version, **evidence(boundary)}
    results = {**header, "machine": machine(), **measure(arguments)}
    write_json(arguments.output, results)
    print(table(results))
