"""A first area model of a parallel dense layer, from synthesis of this package's own modules.

The per-product figures are iCE40 LUT4 counts of ``bitprop_multiply`` and ``bitprop_count`` together at 64 inputs
(Yosys 0.23, ``synth_ice40``; ``benchmarks/gate_cost.py`` measures them again).  The others count what the modules
instantiate: a comparator of n + 1 LUT per activation and per distinct weight threshold, two LUT per accumulator
bit.  It is an estimate for choosing between designs of one shape, not a placed-and-routed area.
"""

from __future__ import annotations

from bitprop._checks import check_integer
from bitprop.formats import DEFAULT_PRECISION_BITS, encoding_of

__all__ = ["LUT_PER_PRODUCT", "dense_area", "dense_area_time"]

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
