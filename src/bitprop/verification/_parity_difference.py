"""Where the results of a simulation first differ from the interpreter's: layer, sample, neuron, cycle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bitprop.errors import SimulationError
from bitprop.formats import IntArray
from bitprop.graph.fold import folded_accumulators
from bitprop.graph.interpret import Result, layer_accumulators
from bitprop.graph.spec import DenseLayer
from bitprop.toolchain import CompiledDesign, SimulationResult

__all__ = ["Difference", "Trace", "expected_trace", "first_cycle", "first_difference"]


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two results first differ; ``layer`` counts within the simulated chain."""

    layer: int | None
    name: str
    sample: int
    neuron: int | None
    expected: int
    actual: int


def first_difference(
    expected: Result, actual: SimulationResult, timing: tuple[IntArray, IntArray] | None, names: list[str]
) -> Difference | None:
    """The earliest layer, in it the earliest sample, in that the lowest neuron; then decision, then latency.

    Without ``timing`` cycles may be any.
    """
    if len(expected.layers) != len(actual.layers):
        raise SimulationError(f"expected results of {len(expected.layers)} layers, got {len(actual.layers)}")
    for index, name in enumerate(names):
        should = np.concatenate((expected.accumulators[index], expected.layers[index]), axis=1)
        did = np.concatenate((actual.accumulators[index], actual.layers[index]), axis=1)
        if should.shape != did.shape:
            raise SimulationError(f"expected {should.shape} integers from layer {index} ({name}), got {did.shape}")
        wrong = np.argwhere(should != did)
        if len(wrong):
            sample, column = (int(value) for value in wrong[0])
            neuron = column % expected.layers[index].shape[1]
            # what the layer hands on, when that is wrong too: it is what a user sees
            shown, seen = expected.layers[index][sample, neuron], actual.layers[index][sample, neuron]
            if shown == seen:
                shown, seen = should[sample, column], did[sample, column]
            return Difference(index, name, sample, neuron, int(shown), int(seen))
    compared = [("decision", expected.decision, actual.decision)]
    if timing is not None:
        compared.append(("latency", timing[1] - timing[0], actual.latency_cycles))
        compared.append(("decision_cycle", timing[1], actual.decision_cycles))
    for name, one, other in compared:
        wrong = np.argwhere(one != other)
        if len(wrong):
            sample = int(wrong[0, 0])
            return Difference(None, name, sample, None, int(one[sample]), int(other[sample]))
    return None


@dataclass(frozen=True, slots=True)
class Trace:
    """One neuron's accumulator as it should be, and where the testbench's trace shows it."""

    first_row: int
    column: int
    expected: IntArray


def expected_trace(layer: DenseLayer, values_raw: IntArray, neuron: int) -> Trace:
    if layer.fold is None:
        history = layer_accumulators(layer, values_raw[None], layer.activation_source.width)
        return Trace(0, neuron, np.concatenate(history)[:, neuron])
    group, column = divmod(neuron, layer.fold.neurons_per_cycle)
    expected = folded_accumulators(layer, values_raw, neuron)
    return Trace(group * len(expected), column, expected)


def first_cycle(
    design: CompiledDesign, inputs: IntArray, layer: int, trace: Trace
) -> tuple[int | None, int | None, int | None]:
    """First cycle whose accumulator of the neuron is wrong, with both values; ``None`` when all are right."""
    traces = design.run(inputs, trace_sample=len(inputs) - 1).traces
    if len(traces) <= layer:
        return None, None, None
    did = traces[layer][trace.first_row : trace.first_row + len(trace.expected), trace.column]
    wrong = np.argwhere(did != trace.expected[: len(did)])
    if not len(wrong):
        return None, None, None
    cycle = int(wrong[0, 0])
    return cycle, int(trace.expected[cycle]), int(did[cycle])
