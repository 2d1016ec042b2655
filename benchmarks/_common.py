"""What every benchmark shares: the machine's name, tables, and jobs that run side by side."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from bitprop import __version__
from bitprop.artifacts import read_json, write_json

RESULTS = Path(__file__).with_name("results")


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


def run_jobs(function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], processes: int, partial: Path) -> list[Any]:
    """``function(*job)`` for every job, in order, one thread each; says what is done on standard error.

    What is done is kept in ``partial``, so that an interrupted benchmark goes on where it was; the file is removed once
    all is done.
    """
    finished: dict[str, Any] = read_json(partial) if partial.is_file() else {}
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_single_thread) as pool:
        futures = {pool.submit(function, *job): str(job) for job in jobs if str(job) not in finished}
        for future in as_completed(futures):
            finished[futures[future]] = future.result()
            write_json(partial, finished)
            print(f"  {len(finished)}/{len(jobs)}  {futures[future]}", file=sys.stderr, flush=True)
    partial.unlink(missing_ok=True)
    return [finished[str(job)] for job in jobs]
