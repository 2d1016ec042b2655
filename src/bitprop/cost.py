"""What a layer costs on an FPGA: a model whose coefficients are fitted to synthesised, placed and routed designs.

Each resource is a sum over layers of named quantities (:mod:`bitprop.layer_quantities`: comparators, adders, registers
and memories as the circuit has them), each with a coefficient of its own that is not negative; the clock's period is
such a sum over the quantities of the layer in which they are largest::

    lut = sum_layers sum_k a_k x_k(layer),    period = sum_k b_k max_layers y_k(layer)

The coefficients were fitted by non-negative least squares of relative errors to the grid of
``benchmarks/cost_grid.py`` (ECP5, Yosys and nextpnr in the versions that the file of coefficients names), drawn towards
one, which is what the circuit's structure says; the errors on designs that the fit did not see are stored with them.
An estimate for choosing between designs, and no substitute for ``bitprop synth``.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from bitprop.layer_quantities import RESOURCES, SHAPE_FIELDS, LayerShape, area_quantities, period_quantities

__all__ = ["RESOURCES", "SHAPE_FIELDS", "CostModel", "LayerShape", "cost_model", "fit", "model_path"]

_FILE = "cost_model.json"


@dataclass(frozen=True, slots=True)
class CostModel:
    """Fitted coefficients.

    Attributes:
        area: per resource of :data:`~bitprop.layer_quantities.RESOURCES` a coefficient for each of its quantities.
        period_ns: a coefficient for each period quantity.
        facts: where they come from: device, tools, designs, errors on held-out ones.
    """

    area: Mapping[str, Mapping[str, float]]
    period_ns: Mapping[str, float]
    facts: Mapping[str, Any]

    def layer(self, shape: LayerShape) -> dict[str, float]:
        """Expected ``lut``, ``ff``, ``bram`` and ``dsp`` of one layer."""
        return {
            name: sum(self.area[name].get(key, 0.0) * value for key, value in area_quantities(shape, name).items())
            for name in RESOURCES
        }

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
        ridge: weight of the coefficients' distance from one (of the period: from zero) beside the errors; it keeps
            quantities that the designs cannot tell apart from trading places.
    """
    area = {}
    for name in RESOURCES:
        sums: list[dict[str, float]] = []
        for shapes in designs:
            total: dict[str, float] = {}
            for shape in shapes:
                for key, value in area_quantities(shape, name).items():
                    total[key] = total.get(key, 0.0) + value
            sums.append(total)
        area[name] = _solve(sums, [float(entry[name]) for entry in cells], ridge, 1.0)
    period = _solve([_largest(shapes) for shapes in designs], [1000.0 / value for value in fmax_mhz], ridge, 0.0)
    return CostModel(area, period, dict(facts))


def _solve(
    rows: Sequence[Mapping[str, float]], target: Sequence[float], ridge: float, expected: float
) -> dict[str, float]:
    """Non-negative coefficients that make relative errors small; an absolute error counts where the target is 0."""
    from scipy.optimize import nnls

    names = sorted({key for row in rows for key in row})
    if not names:
        return {}
    scale = np.array([1.0 / max(value, 1.0) for value in target])
    matrix = np.array([[row.get(name, 0.0) for name in names] for row in rows]) * scale[:, None]
    spread = np.maximum(np.abs(matrix).max(axis=0), 1e-12)
    solved, _ = nnls(
        np.vstack([matrix / spread, ridge * np.eye(len(names))]),
        np.concatenate([np.array(target) * scale, ridge * expected * spread]),
    )
    return {name: float(f"{value:.6g}") for name, value in zip(names, solved / spread, strict=True) if value > 0}
