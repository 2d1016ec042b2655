"""The numbers that a layer's comparators see: contract sections 1 and 2, as arrays of plain integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bitprop.formats import IntArray
from bitprop.ops import AbstractSource

__all__ = ["LayerNumbers", "layer_numbers"]


@dataclass(frozen=True, slots=True)
class LayerNumbers:
    """What the comparators of one layer compare with, cycle by cycle.

    Attributes:
        activation: ``R_t``, shape ``[L]``.
        weight: ``Q_t``, shape ``[L]``: the weight source, or the activation's number (or its complement) in the
            cycles that the selector takes for the correlation.
    """

    activation: IntArray
    weight: IntArray


def layer_numbers(
    activation_source: AbstractSource,
    weight_source: AbstractSource,
    correlation_source: AbstractSource | None,
    correlation_raw: int,
    length: int,
) -> LayerNumbers:
    """Mix the three sources of a layer::

        Q_t = R_t          where T_t < |c| and c > 0
        Q_t = one - 1 - R_t  where T_t < |c| and c < 0
        Q_t = S_t          elsewhere

    Args:
        activation_source: ``R``.
        weight_source: ``S``.
        correlation_source: ``T``; not used when ``correlation_raw`` is 0.
        correlation_raw: signed integer correlation ``c``, ``-2**n .. 2**n``.
        length: ``L``.
    """
    numbers_r = activation_source.sequence(length)
    numbers_s = weight_source.sequence(length)
    if correlation_raw == 0 or correlation_source is None:
        return LayerNumbers(numbers_r, numbers_s)
    one = 1 << activation_source.width
    shared = numbers_r if correlation_raw > 0 else one - 1 - numbers_r
    selected = correlation_source.sequence(length) < abs(correlation_raw)
    return LayerNumbers(numbers_r, np.where(selected, shared, numbers_s))
