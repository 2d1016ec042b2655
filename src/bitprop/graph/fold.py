"""A folded layer in numbers: words, groups, steps, codes, widths, registers; contract section 6.

A folded layer reads P inputs and the P x N weights of N neurons in one clock cycle, and lets c stream cycles of each
product pass.  Streams are made from *codes*: a threshold's rank among the source's distinct numbers, or the threshold
itself.  Thresholds of equal rank have equal streams, so at length L at most L + 1 codes exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bitprop.errors import DocumentError
from bitprop.formats import IntArray, encode_value
from bitprop.graph.architecture import Folded, Parallel
from bitprop.graph.spec import SCHEMA_VERSION, DenseLayer, Document, Requantise, parse_document

__all__ = [
    "CODING_CYCLES",
    "MAX_RANKED",
    "FoldPlan",
    "fold_plan",
    "folded_accumulators",
    "weight_codes",
    "with_architecture",
]

CODING_CYCLES = 4
"""From the beat that completes a sample to the cycle in which the sample can be read (``bitprop_fold_buffer.v``)."""

READ_CYCLES = 2
"""From an address to what lies there: the memory's register and one behind it."""

REQUANTISE_CYCLES = 3
"""``bitprop_fold_requantise.v``."""

MAX_RANKED = 15
"""Activations are coded by rank when their source has at most so many distinct numbers; that many comparators code."""

_MAX_LEAF = 8  # stream cycles of one product that are counted before the first register
_TABLE_INPUTS = 6  # a product of so many code bits needs no register between comparing and counting


def _ceil_div(value: int, divisor: int) -> int:
    return -(-value // divisor)


@dataclass(frozen=True, slots=True)
class FoldPlan:
    """What follows from a layer and its fold.

    Attributes:
        fold: the architecture.
        words: reads of P inputs that make a sample.
        beats: beats of ``values_per_beat`` value integers that make a sample.
        groups: passes of N neurons.
        rest: neurons of the last group.
        steps: clock cycles of one word: ``ceil(L / c)``.
        leaves: counts into which the c cycles of a product are split.
        leaf: stream cycles of each of them.
        levels: the activation source's distinct numbers, ascending; empty where activations are not coded by rank.
        x_code_bits: bits of an activation's code.
        w_code_bits: bits of a weight's code.
        x_numbers: the activation source's numbers as codes, ``[steps, leaves * leaf]``; the highest code fills up.
        w_numbers: the weight source's.
        compare_register: 1 if there is a register between comparing and counting.
        tree_cycles: registers of the adder tree.
        accumulator_bits: of the registers: the document's, or more where one cycle's sum needs more.
        preload: what the accumulators start from, ``[O]``; bipolar: the bias less what is counted too much.
        output_cycles: registers between an accumulator's value and what is handed on.
    """

    fold: Folded
    words: int
    beats: int
    groups: int
    rest: int
    steps: int
    leaves: int
    leaf: int
    levels: IntArray
    x_code_bits: int
    w_code_bits: int
    x_numbers: IntArray
    w_numbers: IntArray
    compare_register: int
    tree_cycles: int
    accumulator_bits: int
    preload: IntArray
    output_cycles: int

    @property
    def work(self) -> int:
        """Clock cycles of one group's products."""
        return self.words * self.steps

    @property
    def wait(self) -> int:
        """Idle cycles after each group, so that N results have left before the next ones come."""
        return max(0, self.fold.neurons_per_cycle - self.work)

    @property
    def run_cycles(self) -> int:
        """Cycles that one sample occupies the layer: ``groups * max(words * steps, N)``."""
        return self.groups * (self.work + self.wait)

    @property
    def depth(self) -> int:
        """Registers from the memories' output to a sum."""
        return self.compare_register + 1 + self.tree_cycles

    @property
    def answer_cycles(self) -> int:
        """Cycles from the start of a run to the cycle in which the last value is handed on."""
        last_address = (self.groups - 1) * (self.work + self.wait) + self.work
        # the accumulator, the drain's two, then one neuron a cycle
        return last_address + READ_CYCLES + self.depth + 2 + self.rest - 1 + self.output_cycles


def _codes(thresholds: IntArray, levels: IntArray) -> IntArray:
    return np.searchsorted(levels, thresholds, side="left").astype(np.int64)


def _numbers(numbers: IntArray, code_bits: int, steps: int, per_step: int, used: int) -> IntArray:
    """Numbers by step; the highest code, which no code exceeds, stands where there is no cycle."""
    table = np.full((steps, per_step), (1 << code_bits) - 1, dtype=np.int64)
    for step in range(steps):
        part = numbers[step * used : (step + 1) * used]
        table[step, : len(part)] = part
    return table


def fold_plan(layer: DenseLayer) -> FoldPlan:
    """The plan of a folded layer.

    Raises:
        DocumentError: the layer is parallel.
    """
    fold = layer.fold
    if fold is None:
        raise DocumentError(f"expected layer {layer.name} to be folded, it is parallel; choose an architecture")
    n = layer.activation_source.width
    per_cycle, neurons, used = fold.inputs_per_cycle, fold.neurons_per_cycle, fold.cycles_per_step
    words, groups = _ceil_div(layer.in_features, per_cycle), _ceil_div(layer.out_features, neurons)
    steps = _ceil_div(layer.length, used)
    leaves = _ceil_div(used, _MAX_LEAF)
    leaf = _ceil_div(used, leaves)
    numbers = layer.numbers
    x_levels, w_levels = np.unique(numbers.activation), np.unique(numbers.weight)
    w_bits = len(w_levels).bit_length()
    if len(x_levels) <= MAX_RANKED:
        x_bits, x_numbers = len(x_levels).bit_length(), _codes(numbers.activation, x_levels)
    else:
        x_bits, x_numbers, x_levels = n + 1, numbers.activation, np.zeros(0, dtype=np.int64)
    register = int(steps > 1 or x_bits + w_bits > _TABLE_INPUTS)
    tree_levels = (per_cycle * leaves - 1).bit_length()
    bipolar = layer.encoding == "bipolar"
    sum_bits = leaf.bit_length() + 1 + int(bipolar) + tree_levels
    preload = layer.bias
    if bipolar:
        # every place where there is no input or no cycle counts as equal bits
        counted = per_cycle * words * steps * leaves * leaf
        preload = layer.bias - 2 * counted + layer.in_features * layer.length
    return FoldPlan(
        fold=fold,
        words=words,
        beats=_ceil_div(layer.in_features, fold.values_per_beat),
        groups=groups,
        rest=layer.out_features - (groups - 1) * neurons,
        steps=steps,
        leaves=leaves,
        leaf=leaf,
        levels=x_levels,
        x_code_bits=x_bits,
        w_code_bits=w_bits,
        x_numbers=_numbers(x_numbers, x_bits, steps, leaves * leaf, used),
        w_numbers=_numbers(_codes(numbers.weight, w_levels), w_bits, steps, leaves * leaf, used),
        compare_register=register,
        tree_cycles=_ceil_div(tree_levels, fold.pipeline) if fold.pipeline else 0,
        accumulator_bits=max(layer.accumulator_bits, sum_bits),
        preload=preload,
        output_cycles=REQUANTISE_CYCLES if isinstance(layer.output, Requantise) else 0,
    )


def weight_codes(layer: DenseLayer) -> IntArray:
    """The weights' codes: the ranks of their thresholds among the weight source's numbers, ``[O, I]``."""
    return _codes(layer.thresholds, np.unique(layer.numbers.weight))


def folded_accumulators(layer: DenseLayer, values_raw: IntArray, neuron: int) -> IntArray:
    """One neuron's accumulator after every step of its group, as the folded circuit's register shows it.

    Args:
        layer: a folded layer.
        values_raw: one sample's value integers, ``[I]``.
        neuron: its index.

    Returns:
        int64 ``[words * steps]``, in two's complement of the plan's ``accumulator_bits``.

    Raises:
        DocumentError: the layer is parallel.
    """
    plan = fold_plan(layer)
    k, x_negative = encode_value(values_raw, layer.encoding, layer.activation_source.width)
    width = plan.words * plan.fold.inputs_per_cycle
    x_codes, w_codes = np.zeros(width, dtype=np.int64), np.zeros(width, dtype=np.int64)
    sign = np.ones(width, dtype=np.int64)
    x_codes[: layer.in_features] = _codes(k, plan.levels) if len(plan.levels) else k
    w_codes[: layer.in_features] = weight_codes(layer)[neuron]
    sign[: layer.in_features] = 1 - 2 * (x_negative ^ layer.negative[neuron])
    total, history = int(plan.preload[neuron]), []
    for word in range(plan.words):
        chosen = slice(word * plan.fold.inputs_per_cycle, (word + 1) * plan.fold.inputs_per_cycle)
        for step in range(plan.steps):
            x = plan.x_numbers[step] < x_codes[chosen, None]
            w = plan.w_numbers[step] < w_codes[chosen, None]
            if layer.encoding == "bipolar":
                total += 2 * int((x == w).sum())
            else:
                total += int(((x & w) * sign[chosen, None]).sum())
            history.append(total)
    modulus = 1 << plan.accumulator_bits
    wrapped = np.array(history, dtype=np.int64) % modulus
    return np.where(wrapped >= modulus // 2, wrapped - modulus, wrapped)


def with_architecture(document: Document, layers: Mapping[str, Parallel | Folded]) -> Document:
    """The same program with other architectures: no integer changes.

    Args:
        document: the program; version 1.0 becomes the present one.
        layers: architecture by layer name; layers that are not named keep theirs.

    Raises:
        DocumentError: no such layer, or a fold that does not fit its layer.
    """
    names = [layer.name for layer in document.layers]
    unknown = sorted(set(layers) - set(names))
    if unknown:
        raise DocumentError(
            f"expected layers among {', '.join(names)}, got {', '.join(map(repr, unknown))}; name those of the list"
        )
    fields = document.to_dict()
    fields.pop("architecture", None)
    fields["schema_version"] = SCHEMA_VERSION
    for name, entry in zip(names, fields["layers"], strict=True):
        chosen = layers.get(name)
        if chosen is not None:
            entry["architecture"] = chosen.model_dump(mode="json")
        else:
            entry.setdefault("architecture", {"kind": "parallel"})
    return parse_document(fields)
