"""Parity: the Verilog of a network against the reference interpreter, every integer of every sample.

What it shows: for the samples simulated, every hidden value, every logit, every decision and every latency is equal.
What it cannot show: that unseen samples agree.  :func:`corner_inputs` and the per-layer stress of
:func:`check_parity` therefore add inputs that drive each accumulator to its extremes, so that a register that is too
narrow in any layer is caught, however deep it lies.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bitprop._checks import check_integer
from bitprop.artifacts import write_text
from bitprop.errors import ParityError, RangeError
from bitprop.formats import IntArray
from bitprop.graph.interpret import Result, check_inputs, layer_inputs, run, run_layer
from bitprop.graph.spec import DenseLayer, Document
from bitprop.graph.timing import latency_cycles, schedule
from bitprop.hdl import alone_name, generate_alone
from bitprop.toolchain import UNKNOWN, AbstractSimulator, scratch_folder, simulator_of
from bitprop.verification._parity_difference import expected_trace, first_cycle, first_difference

__all__ = [
    "Mismatch",
    "ParityResult",
    "SimulatorParity",
    "check_parity",
    "corner_inputs",
]

_DEFAULT_SAMPLES: Mapping[str, int] = {"icarus": 16, "icarus_netlist": 16, "icarus_netlist_ice40": 16}
"""Simulators that are slow get only the first so many samples, unless the caller says otherwise."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The first integer that differs.

    Attributes:
        simulator: which simulator.
        sample: index of the sample within the inputs of that run.
        layer: index of the first layer whose output differs; ``None`` for what is below.
        layer_name: its name, or ``"decision"``, ``"latency"`` or ``"decision_cycle"``.
        neuron: index of the neuron; ``None`` without a layer.
        cycle: the accumulator after this many cycles is the first wrong one (of a folded layer: the one after this
            step of the neuron's group, the first step being 0); ``None`` when all of them are right (so that the fault
            lies behind the accumulator) or when the trace could not be made.
        expected: the interpreter's integer.
        actual: the simulator's integer.
        accumulator_expected: the interpreter's accumulator at ``cycle``.
        accumulator_actual: the simulator's.
        alone: the layer was simulated alone, with its own corner inputs.
        command: what to type to see it again.
        inputs_raw: the sample's value integers.
    """

    simulator: str
    sample: int
    layer: int | None
    layer_name: str
    neuron: int | None
    cycle: int | None
    expected: int
    actual: int
    accumulator_expected: int | None
    accumulator_actual: int | None
    alone: bool
    command: str
    inputs_raw: tuple[int, ...]

    def describe(self) -> str:
        """One paragraph: where, what was expected, what came, how to see it again."""
        where = (
            f"layer {self.layer} ({self.layer_name}), neuron {self.neuron}"
            if self.layer is not None
            else (f"the {self.layer_name}")
        )
        text = f"{self.simulator}, sample {self.sample}{', layer simulated alone' if self.alone else ''}: {where}: "
        text += f"expected {self.expected}, got {_shown(self.actual)}"
        if self.cycle is not None:
            text += (
                f"; first wrong accumulator after {self.cycle} cycles: expected {self.accumulator_expected}, got "
                f"{_shown(self.accumulator_actual)}"
            )
        elif self.layer is not None:
            text += "; every accumulator is right, so the fault lies behind it"
        return f"{text}.  To see it again: {self.command}"


def _shown(value: int | None) -> str:
    return "x (a register that nothing ever set)" if value == UNKNOWN else str(value)


@dataclass(frozen=True, slots=True)
class SimulatorParity:
    """What one simulator was asked and answered.

    Attributes:
        simulator: its name.
        version: its version line.
        samples: samples through the whole network.
        integers: output integers of the whole network that were compared.
        corner_samples: samples through single layers (or directed ones through the network).
        corner_integers: integers of those that were compared.
        latency_cycles: cycles of the first sample through the whole network, measured.
    """

    simulator: str
    version: str
    samples: int
    integers: int
    corner_samples: int
    corner_integers: int
    latency_cycles: int


@dataclass(frozen=True, slots=True)
class ParityResult:
    """Outcome of a parity check.

    Attributes:
        network: the network's name.
        status: ``pass`` or ``fail``.
        simulators: one entry for each simulator.
        expected_latency_cycles: :func:`bitprop.graph.timing.latency_cycles`.
        mismatches: the first difference of each simulator that has one.
    """

    network: str
    status: Literal["pass", "fail"]
    simulators: tuple[SimulatorParity, ...]
    expected_latency_cycles: int
    mismatches: tuple[Mismatch, ...]

    @property
    def samples(self) -> int:
        """Samples compared, all simulators, corners included."""
        return sum(entry.samples + entry.corner_samples for entry in self.simulators)

    @property
    def integers(self) -> int:
        """Integers compared, all simulators, corners included."""
        return sum(entry.integers + entry.corner_integers for entry in self.simulators)

    def raise_if_failed(self) -> ParityResult:
        """Return ``self`` when it passed.

        Raises:
            ParityError: it did not; the message describes the first difference of each simulator.
        """
        if self.status != "pass":
            found = "\n".join(mismatch.describe() for mismatch in self.mismatches)
            raise ParityError(
                f"expected {self.network} and its Verilog to agree on every integer, they differ:\n{found}"
            )
        return self

    def to_dict(self) -> dict[str, Any]:
        """Plain fields for a report."""
        return asdict(self)


def corner_inputs(document: Document, limit: int | None = None) -> IntArray:
    """Directed inputs: for each first-layer neuron both accumulator extremes; zeros, all high, all low, two ramps.

    The neurons come in order of reach: those whose accumulators go furthest first, so that a prefix of the rows is
    still the best choice.  Values are clamped to the document's input range, so with ``low = 0`` a sign-magnitude
    neuron's extremes are those that non-negative inputs allow.

    Args:
        document: the network.
        limit: at most so many rows.

    Returns:
        int64 ``[samples, features]`` without repeated rows.

    Raises:
        RangeError: ``limit`` is not positive.
    """
    rows = _corner_rows(document.layers[0], document.precision_bits, document.inputs.low, document.inputs.high)
    return rows if limit is None else rows[: check_integer("limit", limit, 1, 1 << 31)]


def _corner_rows(layer: DenseLayer, precision_bits: int, low: int, high: int) -> IntArray:
    bounds = layer.bounds(precision_bits)
    rows: list[IntArray] = []
    for down, up in zip(np.argsort(bounds.low, kind="stable"), np.argsort(-bounds.high, kind="stable"), strict=True):
        rows += [bounds.high_values[up], bounds.low_values[down]]
    ramp = low + (np.arange(layer.in_features, dtype=np.int64) * (high - low)) // max(1, layer.in_features - 1)
    zeros = np.zeros(layer.in_features, dtype=np.int64)
    rows[2:2] = [zeros, zeros + high, zeros + low, ramp, ramp[::-1]]
    stacked = np.clip(np.stack(rows), low, high)
    _, first = np.unique(stacked, axis=0, return_index=True)
    return stacked[np.sort(first)]


def check_parity(
    document: Document,
    rtl_dir: str | os.PathLike[str],
    inputs_raw: npt.ArrayLike,
    simulators: Sequence[str] = ("icarus", "verilator"),
    *,
    samples: Mapping[str, int] | None = None,
    corner_samples: int = 16,
    stall: int = 0,
    evidence_dir: str | os.PathLike[str] | None = None,
    build_timeout: float = 900.0,
    run_timeout: float = 900.0,
) -> ParityResult:
    """Compare an emitted network with the reference interpreter.

    Every simulator gets the given samples through the whole network and must reproduce every accumulator, hidden
    value, logit, decision and latency.  The first of the simulators also gets every layer alone: the layer's own
    emitted module, in a testbench that reaches inputs the layers before it may never give, with the corner inputs of
    that layer.  A simulator of netlists sees the ports alone: every logit, decision and latency.

    Args:
        document: the program.
        rtl_dir: folder that :func:`bitprop.hdl.emit` wrote.
        inputs_raw: value integers, ``[samples, features]``.
        simulators: names in :data:`bitprop.toolchain.SIMULATORS`.
        samples: at most so many samples for a simulator; default 16 for ``icarus`` and all for others.
        corner_samples: corner inputs for each layer alone, those that reach furthest first; 0 leaves this part out.
        stall: seed of random pauses: every run is repeated with pauses in offering and taking, which may change
            cycles and nothing else; 0: not.
        evidence_dir: folder that gets the design and the inputs of a failure; default a new temporary folder.
        build_timeout: seconds for one build.
        run_timeout: seconds for one run.

    Raises:
        RangeError: an input out of range, an unknown simulator, or none.
        ShapeError: ``inputs_raw`` of another shape.
        ToolNotFoundError: a simulator is not installed.
        ToolTimeoutError: a build or a run took too long.
        SimulationError: a build failed, or a simulation gave no result at all (a circuit that hangs, say).
    """
    inputs = check_inputs(document, inputs_raw)
    check_integer("corner_samples", corner_samples, 0, 1 << 31)
    if not simulators:
        raise RangeError("expected at least one simulator, got none; name icarus or verilator")
    limits = {**_DEFAULT_SAMPLES, **(samples or {})}
    jobs = [_Job(document, Path(rtl_dir), simulator_of(name), build_timeout, run_timeout, stall) for name in simulators]
    entries: list[SimulatorParity] = []
    mismatches: list[Mismatch] = []
    for position, job in enumerate(jobs):
        chosen = inputs[: check_integer("samples", limits.get(job.simulator.name, len(inputs)), 1, 1 << 31)]
        outcomes = [job.whole(chosen, evidence_dir)]
        if position == 0 and corner_samples and job.simulator.sees_inside:
            outcomes += [job.alone(index, corner_samples, evidence_dir) for index in range(len(document.layers))]
        # the layer alone comes first: it names the place, where the whole network may show a consequence only
        found = [outcome.mismatch for outcome in [*outcomes[1:], outcomes[0]] if outcome.mismatch is not None]
        mismatches += found[:1]
        entries.append(
            SimulatorParity(
                simulator=job.simulator.name,
                version=job.simulator.version(),
                samples=outcomes[0].samples,
                integers=outcomes[0].integers,
                corner_samples=sum(outcome.samples for outcome in outcomes[1:]),
                corner_integers=sum(outcome.integers for outcome in outcomes[1:]),
                latency_cycles=outcomes[0].latency_cycles,
            )
        )
    return ParityResult(
        network=document.name,
        status="fail" if mismatches else "pass",
        simulators=tuple(entries),
        expected_latency_cycles=latency_cycles(document),
        mismatches=tuple(mismatches),
    )


# --- one simulator, one network -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Outcome:
    samples: int
    integers: int
    latency_cycles: int
    mismatch: Mismatch | None


@dataclass(frozen=True, slots=True)
class _Job:
    document: Document
    rtl_dir: Path
    simulator: AbstractSimulator
    build_timeout: float
    run_timeout: float
    stall: int

    def whole(self, inputs: IntArray, evidence_dir: str | os.PathLike[str] | None) -> _Outcome:
        """The given samples through the whole network."""
        return self._compare(
            self.document.name,
            self.rtl_dir,
            inputs,
            run(self.document, inputs),
            schedule(self.document.layers, len(inputs)),
            lambda sample, layer: layer_inputs(self.document, inputs[sample], layer),
            None,
            evidence_dir,
        )

    def alone(self, index: int, limit: int, evidence_dir: str | os.PathLike[str] | None) -> _Outcome:
        """One layer's module with that layer's corner inputs."""
        document = self.document
        layer, one = document.layers[index], 1 << document.precision_bits
        inputs = _corner_rows(layer, document.precision_bits, -one, one)[:limit]
        with scratch_folder() as folder:
            _copy_design(self.rtl_dir, folder)
            for file, text in generate_alone(document, index).items():
                write_text(folder / file, text)
            return self._compare(
                alone_name(document, index),
                folder,
                inputs,
                run_layer(document, index, inputs),
                schedule([layer], len(inputs)),
                lambda sample, _: inputs[sample],
                index,
                evidence_dir,
            )

    def _compare(
        self,
        name: str,
        folder: Path,
        inputs: IntArray,
        expected: Result,
        timing: tuple[IntArray, IntArray],
        values_of: Callable[[int, int], IntArray],
        alone: int | None,
        evidence_dir: str | os.PathLike[str] | None,
    ) -> _Outcome:
        with self.simulator.compile(
            folder, name, build_timeout=self.build_timeout, run_timeout=self.run_timeout
        ) as design:
            actual = design.run(inputs)
            first = 0
            if not self.simulator.sees_inside:  # the ports show the logits alone
                first = len(expected.layers) - 1
                expected = replace(expected, layers=expected.layers[first:], accumulators=expected.accumulators[first:])
            integers = sum(array.size for array in (*expected.layers, *expected.accumulators, expected.decision))
            names = (
                [layer.name for layer in self.document.layers[first:]]
                if alone is None
                else [self.document.layers[alone].name]
            )
            difference = first_difference(expected, actual, timing, names)
            if difference is None and self.stall:
                difference = first_difference(expected, design.run(inputs, stall=self.stall), None, names)
            mismatch = None
            if difference is not None:
                # the samples before it run again too: a register that one sample leaves behind may be the fault
                seen = inputs[: difference.sample + 1]
                cycle, should, did = None, None, None
                if self.simulator.sees_inside and difference.layer is not None and difference.neuron is not None:
                    layer = self.document.layers[difference.layer if alone is None else alone]
                    trace = expected_trace(layer, values_of(difference.sample, difference.layer), difference.neuron)
                    cycle, should, did = first_cycle(design, seen, difference.layer, trace)
                mismatch = Mismatch(
                    simulator=self.simulator.name,
                    sample=difference.sample,
                    layer=None if difference.layer is None else difference.layer + first if alone is None else alone,
                    layer_name=difference.name,
                    neuron=difference.neuron,
                    cycle=cycle,
                    expected=difference.expected,
                    actual=difference.actual,
                    accumulator_expected=should,
                    accumulator_actual=did,
                    alone=alone is not None,
                    command=self._keep_evidence(name, folder, seen, evidence_dir),
                    inputs_raw=tuple(int(value) for value in inputs[difference.sample]),
                )
        return _Outcome(len(inputs), integers, int(actual.latency_cycles[0]), mismatch)

    def _keep_evidence(
        self, name: str, folder: Path, inputs: IntArray, evidence_dir: str | os.PathLike[str] | None
    ) -> str:
        """Copy design and inputs where they stay; return the command that shows the failure."""
        parent = Path(tempfile.mkdtemp(prefix="bitprop_parity_")) if evidence_dir is None else Path(evidence_dir)
        kept = parent / f"{self.simulator.name}_{name}"
        kept.mkdir(parents=True, exist_ok=True)
        _copy_design(folder, kept)
        write_text(kept / "inputs.txt", "".join(" ".join(map(str, row)) + "\n" for row in inputs.tolist()))
        arguments = [
            "+inputs=inputs.txt",
            "+results=results.txt",
            f"+samples={len(inputs)}",
            f"+trace={len(inputs) - 1}",
        ]
        return f"{self.simulator.shell_command(name, kept.absolute(), arguments)} && cat results.txt"


def _copy_design(source: Path, target: Path) -> None:
    for path in sorted(source.iterdir()):
        if path.suffix in (".v", ".f", ".cpp", ".hex") and path.is_file():
            shutil.copyfile(path, target / path.name)
