"""What every simulator offers: compile an emitted network once, then stream samples through it.

The emitted testbench (:mod:`bitprop.hdl`) reads one sample a line and writes one record a line::

    accumulator <layer> <sample> <integer> ...  a layer's accumulators after its last cycle
    layer <layer> <sample> <integer> ...        every integer a layer hands on
    trace <layer> <cycle> <integer> ...         the accumulators of the traced sample after <cycle> cycles
    decision <sample> <class> <latency> <cycle> the answer, the cycles since acceptance, the cycle number
    done <samples> <cycles>                     last line; without it the output is truncated
    error <text>                                the testbench gave up

An ``x`` in place of an integer, an unknown value that a register had, is read as :data:`UNKNOWN`.
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bitprop._checks import check_identifier, check_integer
from bitprop.errors import ShapeError, SimulationError
from bitprop.formats import IntArray
from bitprop.toolchain._process import run_tool, scratch_folder
from bitprop.toolchain.file_list import listed_files

__all__ = ["PORTS_ONLY", "UNKNOWN", "AbstractSimulator", "CompiledDesign", "SimulationResult", "parse_results"]

PORTS_ONLY = "BITPROP_PORTS_ONLY"
"""Macro of the emitted testbench: look at the ports alone."""

_EMIT_AGAIN = "see that the samples fit and the disk is not full, or emit the network again"

UNKNOWN = -(1 << 63)
"""Stands for an unknown value (``x``) in results: no register is 64 bits wide, so it equals no expected integer."""


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """Every integer a simulated network printed.

    Attributes:
        layers: per layer ``[B, O]`` int64; the last one holds the logits.
        decision: ``[B]`` int64.
        latency_cycles: per sample, cycles from acceptance to the decision, ``[B]`` int64.
        decision_cycles: per sample, cycles from the first acceptance of the run to its decision, ``[B]`` int64.
        cycles: clock cycles of the whole run.
        accumulators: per layer the accumulators after the last cycle, ``[B, O]``.
        traces: for a traced run, per layer the accumulators after 0 .. L cycles, ``[L + 1, O]``; else empty.
    """

    layers: tuple[IntArray, ...]
    decision: IntArray
    latency_cycles: IntArray
    decision_cycles: IntArray
    cycles: int
    accumulators: tuple[IntArray, ...]
    traces: tuple[IntArray, ...] = ()


@dataclass(frozen=True, slots=True)
class CompiledDesign:
    """A design ready to run; lives until its :meth:`AbstractSimulator.compile` context ends.

    Attributes:
        command: program and arguments, without the testbench's own.
        folder: scratch folder it was built in.
        timeout: seconds for one run.
        runs: how many runs there have been (names the result files).
    """

    command: tuple[str, ...]
    folder: Path
    timeout: float
    runs: list[int] = field(default_factory=list)

    def run(
        self,
        inputs_raw: npt.ArrayLike,
        trace_sample: int | None = None,
        stall: int = 0,
        reload_sample: int | None = None,
    ) -> SimulationResult:
        """Stream samples through the design, back to back or with pauses.

        Args:
            inputs_raw: value integers, ``[B, features]``, at least one sample.
            trace_sample: also record the accumulators of this sample, cycle by cycle.
            stall: seed of random pauses in offering and in taking; 0: none.
            reload_sample: before this sample, load the words of the files ``…_reload.hex`` in :attr:`folder`; for
                loadable weights.

        Raises:
            ShapeError: not integers of rank 2.
            RangeError: no such sample to trace, or no such seed.
            SimulationError: the simulator failed or its output is not a whole result.
            ToolTimeoutError: it did not finish in time.
        """
        inputs = np.asarray(inputs_raw)
        if inputs.ndim != 2 or inputs.dtype.kind not in "iu" or len(inputs) < 1:
            raise ShapeError(
                f"expected integers of shape [samples, features], got {inputs.dtype} of shape {list(inputs.shape)}; "
                "give value integers, a row for each sample"
            )
        self.runs.append(len(self.runs))
        input_file = self.folder / f"inputs_{len(self.runs)}.txt"
        result_file = self.folder / f"results_{len(self.runs)}.txt"
        input_file.write_text("".join(" ".join(map(str, row)) + "\n" for row in inputs.tolist()), encoding="ascii")
        arguments = [f"+inputs={input_file.name}", f"+results={result_file.name}", f"+samples={len(inputs)}"]
        if trace_sample is not None:
            arguments.append(f"+trace={check_integer('trace_sample', trace_sample, 0, len(inputs) - 1)}")
        if check_integer("stall", stall, 0, (1 << 31) - 1):
            arguments.append(f"+stall={stall}")
        if reload_sample is not None:
            arguments.append(f"+reload={check_integer('reload_sample', reload_sample, 0, len(inputs) - 1)}")
        printed = run_tool([*self.command, *arguments], cwd=self.folder, timeout=self.timeout)
        try:
            text = result_file.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise SimulationError(
                f"expected the simulation to write results, got none ({error}); {_EMIT_AGAIN}; it printed: "
                f"{printed.strip()[-500:]}"
            ) from error
        return parse_results(text, len(inputs))


def parse_results(text: str, samples: int) -> SimulationResult:
    """Read what the testbench wrote.

    Raises:
        SimulationError: truncated, malformed, or an ``error`` record.
    """
    lines = text.splitlines()
    if not lines or not text.endswith("\n") or not lines[-1].startswith("done "):
        last = lines[-1] if lines else "(nothing)"
        why = last if last.startswith("error ") else f"its last line is {last[:120]!r}"
        raise SimulationError(
            f"expected simulation results that end in a 'done' line, got a truncated file: {why}; {_EMIT_AGAIN}"
        )
    tables: dict[str, dict[int, dict[int, list[int]]]] = {"accumulator": {}, "layer": {}, "trace": {}}
    decision: dict[int, tuple[int, int, int]] = {}
    cycles = 0
    for number, line in enumerate(lines, start=1):
        kind, *words = line.split()
        try:
            integers = [UNKNOWN if word in ("x", "X") else int(word) for word in words]
            if kind in tables:
                row = tables[kind].setdefault(integers[0], {})
                if integers[1] in row:
                    raise ValueError("this record came before")
                row[integers[1]] = integers[2:]
            elif kind == "decision":
                decision[integers[0]] = (integers[1], integers[2], integers[3])
            elif kind == "done":
                if integers[0] != samples:
                    raise ValueError(f"expected {samples} samples")
                cycles = integers[1]
            else:
                raise ValueError("unknown record")
        except (ValueError, IndexError) as error:
            raise SimulationError(
                f"expected integers in the simulation's results, got line {number}: {line[:160]!r} ({error}); "
                f"{_EMIT_AGAIN}"
            ) from error
    expected = list(range(samples))
    layers, accumulators, traces = tables["layer"], tables["accumulator"], tables["trace"]
    if sorted(decision) != expected or sorted(layers) != list(range(len(layers))) or not layers:
        raise SimulationError(
            f"expected a decision for each of {samples} samples, got {len(decision)}, some are lost; {_EMIT_AGAIN}"
        )
    for index in layers:
        for rows in (layers[index], accumulators.get(index, {})):
            if sorted(rows) != expected or len({len(row) for row in rows.values()}) != 1:
                raise SimulationError(
                    f"expected {samples} rows from layer {index}, got {len(rows)}, some are lost; {_EMIT_AGAIN}"
                )
    start = decision[0][2] - decision[0][1]
    return SimulationResult(
        layers=tuple(_table(layers[j], samples) for j in range(len(layers))),
        decision=np.array([decision[s][0] for s in expected], dtype=np.int64),
        latency_cycles=np.array([decision[s][1] for s in expected], dtype=np.int64),
        decision_cycles=np.array([decision[s][2] - start for s in expected], dtype=np.int64),
        cycles=cycles,
        accumulators=tuple(_table(accumulators[j], samples) for j in range(len(layers))),
        traces=tuple(_table(traces[j], len(traces[j])) for j in sorted(traces)),
    )


def _table(rows: dict[int, list[int]], count: int) -> IntArray:
    try:
        return np.array([rows[index] for index in range(count)], dtype=np.int64)
    except (KeyError, ValueError) as error:
        raise SimulationError(
            f"expected rows 0 .. {count - 1} of equal length, got others ({error}); {_EMIT_AGAIN}"
        ) from error


class AbstractSimulator(ABC):
    """One external simulator.  Stateless: everything a build leaves behind lives in a scratch folder.

    A new one declares :attr:`name`, :meth:`is_available`, :meth:`version` and :meth:`commands` and enters
    :data:`bitprop.toolchain.SIMULATORS`.
    """

    name: ClassVar[str]
    sees_inside: ClassVar[bool] = True
    """Whether the testbench can look at the layers; else it looks at the ports alone."""

    @property
    def defines(self) -> tuple[str, ...]:
        """Macros that the sources are compiled with."""
        return () if self.sees_inside else (PORTS_ONLY,)

    @abstractmethod
    def is_available(self) -> bool:
        """Whether every program it needs is installed."""

    @abstractmethod
    def version(self) -> str:
        """The tool's own version line.

        Raises:
            ToolNotFoundError: it is not installed.
        """

    @abstractmethod
    def commands(self, name: str, folder: Path) -> tuple[list[str], list[str]]:
        """Arguments that build the network ``name``, and arguments that run it, both from inside ``folder``.

        Raises:
            ToolNotFoundError: a program is not installed.
            SimulationError: files are missing from the folder.
        """

    def environment(self) -> dict[str, str]:
        """Variables that building and running need.

        Raises:
            ToolNotFoundError: a program is not installed.
        """
        return {}

    def prepare(self, name: str, folder: Path, timeout: float) -> None:
        """Change a copy of the design, in ``folder``, before it is built; a simulator of netlists puts one there.

        Raises:
            BitpropError: what the tools that it uses raise.
        """
        del name, folder, timeout

    def build(self, name: str, folder: Path, timeout: float) -> list[str]:
        """Build the design in ``folder``; returns the arguments that run it.

        Raises:
            ToolNotFoundError: a program is not installed.
            SimulationError: files are missing from the folder, or the build failed.
            ToolTimeoutError: it did not finish in time.
        """
        build, execute = self.commands(name, folder)
        run_tool(build, cwd=folder, timeout=timeout, environment=self.environment())
        return execute

    def keep(self, folder: Path) -> None:
        """Store parts of a build in ``folder`` that other designs' builds can use."""
        del folder

    def shell_command(self, name: str, folder: Path, arguments: Sequence[str]) -> str:
        """What to type to build and run a design by hand; ``arguments`` are the testbench's own."""
        build, execute = self.commands(name, folder)
        variables = "".join(f"{key}={shlex.quote(value)} " for key, value in self.environment().items())
        return (
            f"cd {shlex.quote(str(folder))} && {variables}{shlex.join(build)} && {shlex.join([*execute, *arguments])}"
        )

    @contextlib.contextmanager
    def compile(
        self,
        rtl_dir: Path | str,
        name: str,
        *,
        build_timeout: float = 600.0,
        run_timeout: float = 600.0,
    ) -> Iterator[CompiledDesign]:
        """Build an emitted network in a scratch folder, removed when the context ends.

        Args:
            rtl_dir: folder that :func:`bitprop.hdl.emit` wrote; its path may contain anything.
            name: the network's name.
            build_timeout: seconds for each build step.
            run_timeout: seconds for each run.

        Raises:
            ToolNotFoundError: the simulator is not installed.
            SimulationError: no such network in the folder, or the build failed.
            ToolTimeoutError: the build did not finish in time.
        """
        check_identifier("name", name)
        source = Path(rtl_dir)
        if not (source / f"{name}_tb.v").is_file():
            raise SimulationError(
                f"expected the emitted network {name!r} in {source}, found no {name}_tb.v; emit it there first"
            )
        with scratch_folder() as folder:
            for path in sorted(source.iterdir()):
                if path.suffix in (".v", ".f", ".cpp", ".hex", ".mem") and path.is_file():
                    shutil.copyfile(path, folder / path.name)
            self.prepare(name, folder, build_timeout)
            execute = self.build(name, folder, build_timeout)
            self.keep(folder)
            yield CompiledDesign(tuple(execute), folder, run_timeout)

    def simulate(
        self,
        rtl_dir: Path | str,
        name: str,
        inputs_raw: npt.ArrayLike,
        *,
        trace_sample: int | None = None,
        stall: int = 0,
        build_timeout: float = 600.0,
        run_timeout: float = 600.0,
    ) -> SimulationResult:
        """Build and run once; see :meth:`compile` and :meth:`CompiledDesign.run` for arguments and errors."""
        with self.compile(rtl_dir, name, build_timeout=build_timeout, run_timeout=run_timeout) as design:
            return design.run(inputs_raw, trace_sample, stall)


def design_files(name: str, folder: Path) -> list[str]:
    """The files that a simulation of ``name`` compiles: those of ``files.f``, the top if it is none of them, and the
    testbench.

    Raises:
        SimulationError: there is no usable ``files.f``.
    """
    listed = listed_files(folder, SimulationError)
    top = [] if f"{name}.v" in listed else [f"{name}.v"]
    return [*listed, *top, f"{name}_tb.v"]
