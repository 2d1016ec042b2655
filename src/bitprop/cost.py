"""What a layer costs on an FPGA: a model whose coefficients are fitted to synthesised, placed and routed designs.

Each resource is a sum over layers of named quantities (products at once, comparator bits, accumulator bits, memory
bits), each with a coefficient of its own that is not negative; the clock's period is such a sum over the quantities of
the layer in which they are largest::

    lut = sum_layers sum_k a_k x_k(layer),    period = sum_k b_k max_layers y_k(layer)

The coefficients were fitted by non-negative least squares of relative errors to the grid of
``benchmarks/cost_grid.py`` (ECP5, Yosys and nextpnr in the versions that the file of coefficients names); the errors on
designs that the fit did not see are stored with them.  An estimate for choosing between designs, and no substitute for
``bitprop synth``.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from bitprop._checks import check_choice, check_integer
from bitprop.formats import DEFAULT_PRECISION_BITS

__all__ = [
    "RESOURCES",
    "SHAPE_FIELDS",
    "CostModel",
    "LayerShape",
    "area_quantities",
    "cost_model",
    "fit",
    "model_path",
    "period_quantities",
]

RESOURCES = ("lut", "ff", "bram", "dsp")
_FILE = "cost_model.json"
_ENCODINGS = ("unipolar", "bipolar", "sign_magnitude")
# what the folded library does (bitprop.graph.fold): codes by rank up to so many levels, leaves of so many cycles
_RANKED, _LEAF = 15, 8


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


def _accumulator_bits(shape: LayerShape) -> int:
    return (shape.inputs * shape.length).bit_length() + 1


def area_quantities(shape: LayerShape) -> dict[str, float]:
    """The quantities that areas are sums of, by name.

    Example:
        >>> area_quantities(LayerShape(8, 4, 16, "bipolar"))["parallel.products.bipolar"]
        32.0
    """
    n, bits = shape.precision_bits, _accumulator_bits(shape)
    inputs, outputs = shape.inputs, shape.outputs
    if not shape.inputs_per_cycle:
        found = {
            f"parallel.products.{shape.encoding}": inputs * outputs,
            "parallel.input_bits": inputs * (n + 2),
            "parallel.weight_streams": min(inputs * outputs, 1 << n),
            "parallel.accumulator_bits": outputs * bits,
            "parallel.hidden_outputs": outputs * shape.hidden,
            "parallel.logit_bits": outputs * bits * (not shape.hidden),
            "parallel.layers": 1,
        }
        return {name: float(value) for name, value in found.items()}
    per_cycle, neurons, used = shape.inputs_per_cycle, shape.neurons_per_cycle, shape.cycles_per_step
    words, groups = -(-inputs // per_cycle), -(-outputs // neurons)
    steps = -(-shape.length // used)
    leaves = -(-used // _LEAF)
    slots = leaves * -(-used // leaves)
    levels = min(shape.length, 1 << n)
    ranked = levels <= _RANKED
    x_bits = levels.bit_length() if ranked else n + 1
    w_bits = (min(shape.length * (1 + shape.correlated), 1 << n)).bit_length()
    signed = shape.encoding == "sign_magnitude"
    row_bits = per_cycle * neurons * (w_bits + signed)
    depth = words * groups
    blocks = math.ceil(row_bits / 36) * math.ceil(depth / 512)
    in_blocks = _in_blocks(depth, row_bits)
    lanes = per_cycle * neurons * slots
    found = {
        f"folded.lanes.{shape.encoding}": lanes,
        "folded.products": per_cycle * neurons,
        "folded.x_compare_bits": per_cycle * slots * x_bits * (steps > 1),
        "folded.x_table_bits": per_cycle * slots * x_bits * (steps == 1),
        "folded.w_compare_bits": per_cycle * neurons * slots * w_bits * (steps > 1),
        "folded.w_table_bits": per_cycle * neurons * slots * w_bits * (steps == 1),
        "folded.accumulator_bits": neurons * bits,
        "folded.coder_bits": shape.values_per_beat * (levels * (n + 1) if ranked else n + 2),
        "folded.input_bits": 2 * words * per_cycle * (x_bits + 1),
        "folded.rom_bits": 0 if in_blocks else depth * row_bits,
        "folded.rom_blocks": blocks * in_blocks,
        "folded.bias_bits": outputs * bits,
        "folded.hidden": shape.hidden,
        "folded.logit_bits": outputs * bits * (not shape.hidden),
        "folded.layers": 1,
    }
    return {name: float(value) for name, value in found.items()}


def _in_blocks(depth: int, row_bits: int) -> bool:
    """Whether Yosys puts a weight memory into block RAM rather than into tables."""
    return depth * row_bits >= 2048 and depth > 32


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
        "folded.memory": math.log2(shape.inputs * shape.outputs),
        "folded.decision_bits": float(shape.outputs * (not shape.hidden)),
    }


@dataclass(frozen=True, slots=True)
class CostModel:
    """Fitted coefficients.

    Attributes:
        area: per resource of :data:`RESOURCES` a coefficient for each area quantity.
        period_ns: a coefficient for each period quantity.
        facts: where they come from: device, tools, designs, errors on held-out ones.
    """

    area: Mapping[str, Mapping[str, float]]
    period_ns: Mapping[str, float]
    facts: Mapping[str, Any]

    def layer(self, shape: LayerShape) -> dict[str, float]:
        """Expected ``lut``, ``ff``, ``bram`` and ``dsp`` of one layer."""
        found = area_quantities(shape)
        return {name: sum(self.area[name].get(key, 0.0) * value for key, value in found.items()) for name in RESOURCES}

    def network(self, shapes: Sequence[LayerShape]) -> dict[str, float]:
        """Expected resources of a chain of layers, and ``fmax_mhz``."""
        layers = [self.layer(shape) for shape in shapes]
        total = {name: sum(layer[name] for layer in layers) for name in RESOURCES}
        return {**total, "fmax_mhz": 1000.0 / self.period(shapes)}

    def period(self, shapes: Sequence[LayerShape]) -> float:
        """Expected period of the clock in nanoseconds."""
        largest = _largest(shapes)
        return sum(self.period_ns.get(key, 0.0) * value for key, value in largest.items())

    def to_dict(self) -> dict[str, Any]:
        """Plain fields, as in the package's file."""
        return {
            "area": {name: dict(self.area[name]) for name in RESOURCES},
            "period_ns": dict(self.period_ns),
            "facts": dict(self.facts),
        }


def _largest(shapes: Sequence[LayerShape]) -> dict[str, float]:
    largest: dict[str, float] = {}
    for shape in shapes:
        for key, value in period_quantities(shape).items():
            largest[key] = max(value, largest.get(key, 0.0))
    return largest


def model_path() -> Path:
    """Where the package's coefficients lie."""
    return Path(str(resources.files("bitprop").joinpath(_FILE)))


@functools.cache
def cost_model() -> CostModel:
    """The model with the package's coefficients."""
    stored = json.loads(model_path().read_text(encoding="utf-8"))
    return CostModel(stored["area"], stored["period_ns"], stored["facts"])


def fit(
    designs: Sequence[Sequence[LayerShape]],
    cells: Sequence[Mapping[str, float]],
    fmax_mhz: Sequence[float],
    facts: Mapping[str, Any],
    *,
    ridge: float = 0.4,
) -> CostModel:
    """Coefficients by non-negative least squares of relative errors.

    Args:
        designs: the layers of each design.
        cells: measured resources of each design.
        fmax_mhz: measured clock of each design.
        facts: to be kept with the coefficients.
        ridge: weight of the coefficients' own size beside the errors; it keeps quantities that the designs cannot tell
            apart from trading places.
    """
    sums: list[dict[str, float]] = []
    for shapes in designs:
        total: dict[str, float] = {}
        for shape in shapes:
            for key, value in area_quantities(shape).items():
                total[key] = total.get(key, 0.0) + value
        sums.append(total)
    area = {name: _solve(sums, [float(entry[name]) for entry in cells], ridge) for name in RESOURCES}
    period = _solve([_largest(shapes) for shapes in designs], [1000.0 / value for value in fmax_mhz], ridge)
    return CostModel(area, period, dict(facts))


def _solve(rows: Sequence[Mapping[str, float]], target: Sequence[float], ridge: float) -> dict[str, float]:
    """Non-negative coefficients that make relative errors small; an absolute error counts where the target is 0."""
    from scipy.optimize import nnls

    names = sorted({key for row in rows for key in row})
    scale = np.array([1.0 / max(value, 1.0) for value in target])
    matrix = np.array([[row.get(name, 0.0) for name in names] for row in rows]) * scale[:, None]
    spread = np.maximum(np.abs(matrix).max(axis=0), 1e-12)
    solved, _ = nnls(
        np.vstack([matrix / spread, ridge * np.eye(len(names))]),
        np.concatenate([np.array(target) * scale, np.zeros(len(names))]),
    )
    return {name: float(f"{value:.6g}") for name, value in zip(names, solved / spread, strict=True) if value > 0}
