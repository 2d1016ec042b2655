"""What a parallel dense layer costs, for a loss: tables times cycles of one inference.

``synthesis`` is the model that is fitted to placed and routed designs (:mod:`bitprop.cost`). ``gates`` counts: its
per-product figures are iCE40 LUT4 counts of ``bitprop_multiply`` and ``bitprop_count`` together at 64 inputs
(Yosys 0.23, ``synth_ice40``; ``benchmarks/gate_cost.py`` measures them again).  The others count what the modules
instantiate: a comparator of n + 1 LUT per activation and per distinct weight threshold, two LUT per accumulator
bit.  Both are estimates for choosing between designs of one shape.
"""

from __future__ import annotations

from collections.abc import Sequence

from bitprop._checks import check_choice, check_integer
from bitprop.cost import LayerShape, cost_model
from bitprop.formats import DEFAULT_PRECISION_BITS, encoding_of

__all__ = ["LUT_PER_PRODUCT", "RESOURCE_MODELS", "area_time_table", "dense_area", "dense_area_time"]

RESOURCE_MODELS = ("synthesis", "gates")
"""What an area is estimated by."""

LUT_PER_PRODUCT: dict[str, float] = {"unipolar": 159 / 64, "bipolar": 164 / 64, "sign_magnitude": 162 / 64}
"""LUT4 per product: gate, sign and its share of the parallel counter."""


def dense_area(
    in_features: int,
    out_features: int,
    encoding: str,
    length: int,
    *,
    correlated: bool = False,
    precision_bits: int = DEFAULT_PRECISION_BITS,
) -> float:
    """LUT4 of a layer with every product in parallel.

    ``O I k_e + O 2 b + (n + 1) (I + min(O I, 2**n)) + s n`` with ``b`` the accumulator's bits for ``I L`` counts and
    ``s`` the number of sources: two, and a third with a mixer of n LUT when correlated.

    Args:
        in_features: I.
        out_features: O.
        encoding: encoding name.
        length: L, cycles.
        correlated: a third source mixes the streams.
        precision_bits: n.

    Raises:
        RangeError: an argument out of range.
    """
    inputs, outputs = (
        check_integer("in_features", in_features, 1, 1 << 16),
        check_integer("out_features", out_features, 1, 1 << 16),
    )
    name = encoding_of(encoding).name
    accumulator_bits = (inputs * check_integer("length", length, 1, 1 << 24)).bit_length() + 1
    comparators = inputs + min(outputs * inputs, 1 << precision_bits)
    sources = precision_bits * (4 if correlated else 2)
    products = outputs * inputs * LUT_PER_PRODUCT[name]
    return products + outputs * 2 * accumulator_bits + (precision_bits + 1) * comparators + sources


def dense_area_time(
    in_features: int,
    out_features: int,
    encoding: str,
    length: int,
    *,
    correlated: bool = False,
    precision_bits: int = DEFAULT_PRECISION_BITS,
) -> float:
    """LUT4 times cycles of one inference: area occupied while the layer's streams run, an energy proxy."""
    area = dense_area(in_features, out_features, encoding, length, correlated=correlated, precision_bits=precision_bits)
    return area * length


def area_time_table(
    in_features: int,
    out_features: int,
    encodings: Sequence[str],
    lengths: Sequence[int],
    *,
    correlated: bool = False,
    hidden: bool = False,
    precision_bits: int = DEFAULT_PRECISION_BITS,
    model: str = "synthesis",
) -> list[list[float]]:
    """LUT4 times cycles of one inference of every candidate design, ``[E][K]``.

    ``synthesis``: the fitted LUT4 of the parallel layer times the L + 2 cycles that a sample occupies it;
    ``gates``: :func:`dense_area_time`.

    Args:
        in_features: I.
        out_features: O.
        encodings: candidate encodings.
        lengths: candidate lengths in cycles.
        correlated: a third source mixes the streams.
        hidden: the layer hands on values, else logits and a decision.
        precision_bits: n.
        model: one of :data:`RESOURCE_MODELS`.

    Raises:
        RangeError: an argument out of range.

    Example:
        >>> [short, long] = area_time_table(64, 32, ["bipolar"], [8, 16])[0]
        >>> 1.7 < long / short < 2.2
        True
    """
    if check_choice("the resource model", model, RESOURCE_MODELS) == "gates":
        return [
            [
                dense_area_time(
                    in_features, out_features, encoding, length, correlated=correlated, precision_bits=precision_bits
                )
                for length in lengths
            ]
            for encoding in encodings
        ]
    shapes = [
        [
            LayerShape(
                in_features,
                out_features,
                length,
                encoding,
                precision_bits=precision_bits,
                correlated=correlated,
                hidden=hidden,
            )
            for length in lengths
        ]
        for encoding in encodings
    ]
    return [[cost_model().layer(shape)["lut"] * (shape.length + 2) for shape in row] for row in shapes]
