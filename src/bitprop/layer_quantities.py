"""What a layer's hardware consists of, counted from its sizes: tables, registers, blocks, and what sets the clock.

Nothing here is fitted.  Each quantity is what one part of a layer should take, as its modules are built and Yosys maps
them to ECP5: a carry cell is two tables with two bits of an adder or a comparator, a table holds 16 bits of a memory,
distributed RAM takes six tables for 16 x 4 bits.  The coefficients that :mod:`bitprop.cost` fits say how far that is
true; a coefficient of one is what to expect.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

from bitprop._checks import check_choice, check_integer
from bitprop.formats import DEFAULT_PRECISION_BITS

__all__ = ["QUANTITIES", "RESOURCES", "SHAPE_FIELDS", "LayerShape", "area_quantities", "period_quantities"]

_ENCODINGS = ("unipolar", "bipolar", "sign_magnitude")
# what the folded library does (bitprop.graph.fold): codes by rank up to so many levels, leaves of so many cycles,
# products of so few code bits without a register, banks of so many words
_RANKED, _LEAF, _TABLE_INPUTS, _BANK = 15, 8, 6, 1024
# what Yosys holds a block RAM to be worth: bits of fixed content (it took 2,080 for too few and 2,380 for enough), or
# distributed RAMs of 16 x 4 bits (40 and 48)
_BLOCK_ROM, _BLOCK_RAMS = 2200, 43
# tables of a layer's handshake and order of work, whatever its size
_HANDSHAKE = 40


@dataclass(frozen=True, slots=True)
class LayerShape:
    """What the model looks at: sizes, encoding, length and fold of a layer; no weights.

    Attributes:
        inputs: I.
        outputs: O.
        length: L, cycles.
        encoding: ``unipolar``, ``bipolar`` or ``sign_magnitude``.
        precision_bits: n.
        correlated: a third source mixes the streams.
        hidden: the layer hands on values; else logits and a decision.
        inputs_per_cycle: P of a folded layer; 0: the layer is parallel, and what follows is not looked at.
        neurons_per_cycle: N.
        cycles_per_step: c.
        values_per_beat: values taken at once.
        pipeline: levels of the adder tree between two registers.
    """

    inputs: int
    outputs: int
    length: int
    encoding: str
    precision_bits: int = DEFAULT_PRECISION_BITS
    correlated: bool = False
    hidden: bool = False
    inputs_per_cycle: int = 0
    neurons_per_cycle: int = 1
    cycles_per_step: int = 1
    values_per_beat: int = 1
    pipeline: int = 1

    def __post_init__(self) -> None:
        check_integer("inputs", self.inputs, 1, 1 << 16)
        check_integer("outputs", self.outputs, 1, 1 << 16)
        check_integer("length", self.length, 1, 1 << 24)
        check_choice("encoding", self.encoding, _ENCODINGS)
        check_integer("precision_bits", self.precision_bits, 2, 16)
        check_integer("inputs_per_cycle", self.inputs_per_cycle, 0, 1 << 16)
        for name in ("neurons_per_cycle", "cycles_per_step", "values_per_beat"):
            check_integer(name, getattr(self, name), 1, 1 << 16)

    def to_dict(self) -> dict[str, Any]:
        """Plain fields."""
        return asdict(self)


SHAPE_FIELDS = tuple(field.name for field in fields(LayerShape))
"""Names of a shape's fields."""


def _ceil_div(value: int, divisor: int) -> int:
    return -(-value // divisor)


def _address_bits(size: int) -> int:
    return (size - 1).bit_length()


def _carry(bits: int) -> int:
    """Tables of an adder or a comparator: a carry cell has two bits."""
    return 2 * _ceil_div(bits, 2)


def _against_constant(bits: int) -> int:
    """Tables that compare a code with a constant."""
    return 1 if bits <= 4 else _carry(bits)


def _tree(values: int, bits: int, every: int) -> tuple[int, int]:
    """Tables and flip-flops of a tree of adders with a register after every so many levels and at its root."""
    tables = registers = level = 0
    last = _address_bits(values)
    while values > 1:
        bits, level = bits + 1, level + 1
        tables += values // 2 * _carry(bits)
        values = _ceil_div(values, 2)
        if every and (level == last or level % every == 0):
            registers += values * bits
    return tables, registers


def _distinct(count: int, kinds: float) -> float:
    """Expected number of different ones among so many, drawn evenly from so many kinds."""
    return kinds * -math.expm1(-count / kinds)


def _columns(depth: int, bits: int) -> float:
    """Different columns of a memory of fixed content: equal ones are one, constant ones none."""
    return _distinct(bits, max(1.0, 2.0 ** min(depth, 40) - 2)) if depth > 1 else 0.0


def _rom(depth: int, bits: int) -> tuple[float, int]:
    """Tables and block RAMs of a memory of fixed content, by bank whichever Yosys holds to be cheaper."""
    tables, blocks = 0.0, 0
    for bank in [_BANK] * (depth // _BANK) + [depth % _BANK]:
        needed = _ceil_div(bits, 36 if bank <= 512 else 18)
        if bank * bits > _BLOCK_ROM * needed:
            blocks += needed
        elif bank > 1:
            # beyond 16 words, one table more for each choice between two
            tables += _columns(bank, bits) * max(1.0, 2 * bank / 16 - 1)
    return tables + bits * max(0, _ceil_div(depth, _BANK) - 1), blocks


def _ram(depth: int, bits: int) -> tuple[float, int]:
    """Tables and block RAMs of a memory that is written."""
    rows, columns = _ceil_div(depth, 16), _ceil_div(bits, 4)
    blocks = _ceil_div(bits, 36) * _ceil_div(depth, 512)
    if rows * columns >= _BLOCK_RAMS * blocks:
        return 0.0, blocks
    return 6.0 * rows * columns + bits * (rows - 1), 0


@dataclass(frozen=True, slots=True)
class _Fold:
    """Widths and counts of a folded layer: what ``bitprop.graph.fold`` plans, from sizes alone."""

    products: int
    groups: int
    steps: int
    words: int
    leaves: int
    slots: int
    levels: int
    x_bits: int
    w_bits: int
    tally: int
    count_bits: int
    signed: bool
    ranked: bool
    direct: bool
    buffer: tuple[float, int]
    weights: tuple[float, int]
    biases: tuple[float, int]


def _fold(shape: LayerShape) -> _Fold:
    n, per_cycle, neurons, used = (
        shape.precision_bits,
        shape.inputs_per_cycle,
        shape.neurons_per_cycle,
        shape.cycles_per_step,
    )
    words, groups = _ceil_div(shape.inputs, per_cycle), _ceil_div(shape.outputs, neurons)
    steps, leaves = _ceil_div(shape.length, used), _ceil_div(used, _LEAF)
    leaf = _ceil_div(used, leaves)
    levels = min(shape.length, 1 << n)
    w_bits = levels.bit_length()
    x_bits = w_bits if levels <= _RANKED else n + 1
    signed = shape.encoding == "sign_magnitude"
    products = per_cycle * neurons
    return _Fold(
        products=products,
        groups=groups,
        steps=steps,
        words=words,
        leaves=leaves,
        slots=leaves * leaf,
        levels=levels,
        x_bits=x_bits,
        w_bits=w_bits,
        tally=leaf.bit_length(),
        count_bits=leaf.bit_length() + 1 + (shape.encoding == "bipolar"),
        signed=signed,
        ranked=levels <= _RANKED,
        direct=steps == 1 and x_bits + w_bits <= _TABLE_INPUTS,
        buffer=_ram(2 << max(1, _address_bits(words)), per_cycle * (x_bits + signed)),
        weights=_rom(words * groups, products * (w_bits + signed)),
        biases=_rom(groups, neurons * _accumulator_bits(shape)),
    )


def _accumulator_bits(shape: LayerShape) -> int:
    return (shape.inputs * shape.length).bit_length() + 1


def _encode_tables(shape: LayerShape) -> int:
    """Of one value: two comparisons with the ends of the range; a sign is taken off, or an offset added."""
    return (1 if shape.encoding == "unipolar" else 2) * (shape.precision_bits + 2)


def _tables(shape: LayerShape) -> dict[str, float]:
    if not shape.inputs_per_cycle:
        return _parallel_tables(shape)
    n, bits, plan = shape.precision_bits, _accumulator_bits(shape), _fold(shape)
    per_cycle, neurons = shape.inputs_per_cycle, shape.neurons_per_cycle
    table_codes = plan.steps == 1 and not plan.direct
    counters = sum(
        _address_bits(size)
        for size in (
            plan.steps,
            plan.words,
            plan.groups,
            plan.groups * plan.words,
            _ceil_div(shape.inputs, shape.values_per_beat),
        )
    )
    return {
        "folded.handshake": _HANDSHAKE,
        "folded.counters": 2 * counters,
        "folded.coder": shape.values_per_beat * plan.levels * (n + 1) * plan.ranked,
        f"folded.encode.{shape.encoding}": shape.values_per_beat * _encode_tables(shape),
        "folded.pack": per_cycle * (plan.x_bits + plan.signed) * (shape.values_per_beat < per_cycle),
        "folded.buffer": plan.buffer[0],
        "folded.weights": plan.weights[0],
        "folded.biases": plan.biases[0],
        # sums modulo two of a few bits of the step, mostly; twice as many where two sources are mixed
        "folded.numbers": plan.slots * (plan.x_bits + plan.w_bits * (1 + shape.correlated)) * (plan.steps > 1),
        # streams: comparators of two variables, or of a code with constants, or products straight from two codes
        "folded.compare": (per_cycle * _carry(plan.x_bits) + plan.products * _carry(plan.w_bits))
        * plan.slots
        * (plan.steps > 1),
        "folded.codes": (per_cycle * _against_constant(plan.x_bits) + plan.products * _against_constant(plan.w_bits))
        * plan.slots
        * table_codes,
        "folded.direct": 2 * plan.products * plan.tally * plan.direct,
        "folded.gates": plan.products * plan.slots * (not plan.direct),
        "folded.count": 2 * plan.products * plan.leaves * plan.tally * (plan.tally > 1 and not plan.direct),
        "folded.signs": plan.products * plan.leaves * plan.count_bits * plan.signed,
        "folded.tree": neurons * _tree(per_cycle * plan.leaves, plan.count_bits, shape.pipeline)[0],
        "folded.accumulate": 2 * neurons * bits,
        "folded.drain": (neurons - 1) * bits,
        "folded.requantise": 2 * (bits + 2 * n) * shape.hidden,
        "folded.decision": 2 * bits * (not shape.hidden),
    }


def _parallel_tables(shape: LayerShape) -> dict[str, float]:
    n, bits = shape.precision_bits, _accumulator_bits(shape)
    inputs, outputs = shape.inputs, shape.outputs
    return {
        "parallel.handshake": _HANDSHAKE,
        "parallel.sources": 4 * n * (3 if shape.correlated else 2),
        # a product's gate and its share of the counter
        f"parallel.products.{shape.encoding}": 2.5 * inputs * outputs,
        "parallel.compare": inputs * _carry(n + 1),
        f"parallel.encode.{shape.encoding}": inputs * _encode_tables(shape),
        # weights of equal threshold share a comparator
        "parallel.weights": _distinct(inputs * outputs, 1 << n) * _carry(n + 1),
        "parallel.accumulate": 2 * outputs * bits,
        "parallel.requantise": 3 * outputs * (bits + 2 * n) * shape.hidden,
        "parallel.decision": 3 * outputs * bits * (not shape.hidden),
    }


def _registers(shape: LayerShape) -> dict[str, float]:
    n, bits = shape.precision_bits, _accumulator_bits(shape)
    outputs, logits = shape.outputs, shape.outputs * bits * (not shape.hidden)
    signed = shape.encoding == "sign_magnitude"
    if not shape.inputs_per_cycle:
        return {
            "parallel.handshake": _HANDSHAKE,
            "parallel.sources": 2 * n * (3 if shape.correlated else 2),
            "parallel.inputs": shape.inputs * (n + 1 + signed),
            "parallel.accumulators": outputs * bits,
            "parallel.outputs": outputs * (n + 2) * shape.hidden + 2 * logits,
        }
    plan = _fold(shape)
    per_cycle, neurons = shape.inputs_per_cycle, shape.neurons_per_cycle
    lane = per_cycle * (plan.x_bits + plan.signed)
    row = _columns(plan.words * plan.groups, plan.products * (plan.w_bits + plan.signed))
    numbers = plan.slots * (plan.x_bits + plan.w_bits) * (plan.steps > 1)
    tree = _tree(per_cycle * plan.leaves, plan.count_bits, shape.pipeline)[1]
    return {
        "folded.handshake": _HANDSHAKE,
        "folded.coder": shape.values_per_beat * (n + 1 + 2 * signed + (plan.levels if plan.ranked else n + 1)),
        # a block RAM has the first of a memory's two registers inside
        "folded.buffer": lane * (3 - (plan.buffer[1] > 0)),
        "folded.weights": row * (2 - (plan.weights[1] > 0)),
        "folded.biases": 2 * _columns(plan.groups, neurons * bits),
        "folded.numbers": 2 * numbers,
        "folded.streams": (per_cycle + plan.products) * plan.slots * (not plan.direct),
        "folded.counts": plan.products * plan.leaves * (plan.count_bits - (not signed)),
        "folded.tree": neurons * tree,
        # the drain holds a copy
        "folded.accumulators": 2 * neurons * bits,
        "folded.requantise": (bits + 2 * n + n) * shape.hidden,
        "folded.decision": 2 * logits + bits * (not shape.hidden),
    }


def _blocks(shape: LayerShape) -> dict[str, float]:
    if not shape.inputs_per_cycle:
        return {}
    plan = _fold(shape)
    return {"folded.blocks": plan.buffer[1] + plan.weights[1] + plan.biases[1]}


def _multipliers(shape: LayerShape) -> dict[str, float]:
    if not shape.hidden:
        return {}
    return {"folded.requantise": 1} if shape.inputs_per_cycle else {"parallel.requantise": shape.outputs}


QUANTITIES: dict[str, Callable[[LayerShape], dict[str, float]]] = {
    "lut": _tables,
    "ff": _registers,
    "bram": _blocks,
    "dsp": _multipliers,
}
"""What each resource is a sum of."""

RESOURCES = tuple(QUANTITIES)
"""Names of the resources."""


def area_quantities(shape: LayerShape, resource: str = "lut") -> dict[str, float]:
    """The quantities that a layer's share of a resource is a sum of, by name.

    Args:
        shape: the layer.
        resource: one of :data:`RESOURCES`.

    Raises:
        RangeError: an unknown resource.

    Example:
        >>> area_quantities(LayerShape(8, 4, 16, "bipolar"))["parallel.products.bipolar"]
        80.0
    """
    found = QUANTITIES[check_choice("resource", resource, RESOURCES)](shape)
    return {name: float(value) for name, value in found.items() if value}


def period_quantities(shape: LayerShape) -> dict[str, float]:
    """The quantities that the clock's period is a sum of, by name; of several layers the largest counts."""
    bits = _accumulator_bits(shape)
    if not shape.inputs_per_cycle:
        return {
            "parallel.any": 1.0,
            "parallel.tree_levels": math.log2(shape.inputs + 1),
            "parallel.accumulator_bits": float(bits),
            "parallel.decision_bits": float(shape.outputs * bits * (not shape.hidden)),
            "parallel.fan_out": math.log2(shape.inputs * shape.outputs),
            "parallel.hidden": float(shape.hidden),
        }
    lanes = shape.inputs_per_cycle * shape.neurons_per_cycle * shape.cycles_per_step
    return {
        "folded.any": 1.0,
        "folded.lanes": math.log2(lanes),
        "folded.tree_levels": float(shape.pipeline) if shape.pipeline else math.log2(lanes + 1),
        "folded.accumulator_bits": float(bits),
        "folded.requantise": float(shape.hidden),
        "folded.memory": math.log2(shape.inputs * shape.outputs),
        "folded.decision_bits": float(shape.outputs * (not shape.hidden)),
    }
