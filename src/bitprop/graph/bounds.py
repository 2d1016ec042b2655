"""How far an accumulator can travel: the exact extremes over every input and every cycle, and inputs that reach them.

The weight streams of a layer are fixed by its document; only the activations are free.  Write ``w_oi(t)`` for the
weight bit, ``x_i(t) = R_t < k_i`` for the activation bit.

* ``unipolar``: every contribution is at least 0, so the extremes are ``bias`` and ``bias + sum_i sum_t w_oi(t)``.
* ``sign_magnitude``: an activation of full size takes either sign, so they are ``bias -+ sum_i sum_t w_oi(t)``.
* ``bipolar``: contributions of both signs follow each other, so that a middle cycle and a middle threshold may be
  the extreme: ``max_t ( bias + sum_i max_k sum_{u<t} (+1 if x_k(u) = w_oi(u) else -1) )``.  Inputs share no state,
  so the maximum over thresholds is taken for each input alone.  When that takes more than
  :data:`BIPOLAR_WORK_LIMIT` steps, the plain bound ``bias -+ I * L`` is used instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bitprop.formats import IntArray
from bitprop.graph.streams import LayerNumbers

__all__ = ["BIPOLAR_WORK_LIMIT", "AccumulatorBounds", "accumulator_bounds", "contribution_bits", "signed_bits"]

BIPOLAR_WORK_LIMIT = 100_000_000
"""Cycles x activation thresholds x weight thresholds above which a bipolar layer gets the plain bound."""


@dataclass(frozen=True, slots=True)
class AccumulatorBounds:
    """Extremes of a layer's accumulators and the inputs that drive them there.

    Attributes:
        low: smallest value of each neuron's accumulator, shape ``[O]``.
        high: largest, shape ``[O]``.
        low_values: value integers of an input that reaches ``low``, shape ``[O, I]``.
        high_values: the same for ``high``.
        bits: two's complement bits that hold every accumulator and every single contribution.
    """

    low: IntArray
    high: IntArray
    low_values: IntArray
    high_values: IntArray
    bits: int


def signed_bits(low: int, high: int) -> int:
    """Two's complement bits that hold ``low .. high``.

    Example:
        >>> signed_bits(-8, 7), signed_bits(0, 8), signed_bits(0, 0)
        (4, 5, 1)
    """
    return max((~low if low < 0 else low).bit_length(), (~high if high < 0 else high).bit_length()) + 1


def contribution_bits(inputs: int) -> int:
    """Two's complement bits of one cycle's contribution, ``-inputs .. inputs``.

    Example:
        >>> contribution_bits(64)
        8
    """
    return inputs.bit_length() + 1


def accumulator_bounds(
    encoding: str,
    numbers: LayerNumbers,
    thresholds: IntArray,
    negative: IntArray | None,
    bias: IntArray,
    precision_bits: int,
) -> AccumulatorBounds:
    """The extremes of every neuron's accumulator, over any input and any cycle, the preload included.

    Args:
        encoding: ``unipolar``, ``bipolar`` or ``sign_magnitude``.
        numbers: what the comparators see, ``[L]`` each.
        thresholds: weight thresholds, ``[O, I]``, ``0 .. 2**n``.
        negative: weight signs in {0, 1}, ``[O, I]``; ``sign_magnitude`` only.
        bias: preloads, ``[O]``.
        precision_bits: n.
    """
    one = 1 << precision_bits
    if encoding == "bipolar":
        low, low_values = _bipolar_maximum(numbers, thresholds, -bias, one, sign=-1)
        low = -low
        high, high_values = _bipolar_maximum(numbers, thresholds, bias, one, sign=1)
    else:
        # ones in a weight stream = numbers below its threshold
        ones = np.searchsorted(np.sort(numbers.weight), thresholds, side="left").sum(axis=1)
        high = bias + ones
        if encoding == "unipolar":
            low = bias.copy()
            low_values = np.zeros_like(thresholds)
            high_values = np.full_like(thresholds, one)
        else:
            low = bias - ones
            sign = np.ones_like(thresholds) if negative is None else 1 - 2 * negative
            high_values = sign * one
            low_values = -high_values
    bits = max(signed_bits(int(low.min()), int(high.max())), contribution_bits(thresholds.shape[1]))
    return AccumulatorBounds(low.astype(np.int64), high.astype(np.int64), low_values, high_values, bits)


def _bipolar_maximum(
    numbers: LayerNumbers, thresholds: IntArray, bias: IntArray, one: int, sign: int
) -> tuple[IntArray, IntArray]:
    """Largest ``bias + sign * sum`` of each neuron and the value integers that reach it."""
    length, inputs = len(numbers.activation), thresholds.shape[1]
    distinct, place = np.unique(thresholds, return_inverse=True)
    place = place.reshape(thresholds.shape)
    # activation thresholds that give different streams: none, or just above one of the numbers
    candidates = np.unique(np.concatenate(([0], numbers.activation + 1)))
    if length * len(candidates) * len(distinct) > BIPOLAR_WORK_LIMIT:
        matching = np.where(thresholds * 2 >= one, one, -one) * sign
        return bias + length * inputs, matching
    # how often a neuron uses each distinct threshold
    uses = np.zeros((thresholds.shape[0], len(distinct)), dtype=np.int64)
    np.add.at(uses, (np.arange(thresholds.shape[0])[:, None], place), 1)
    # +1 and -1; a stream has at most 2**16 cycles, so 32 bits hold any prefix sum
    x_bits = (2 * (numbers.activation[:, None] < candidates) - 1).astype(np.int32)  # [L, K]
    w_bits = (sign * (2 * (numbers.weight[:, None] < distinct) - 1)).astype(np.int32)  # [L, D]
    prefix = np.zeros((len(candidates), len(distinct)), dtype=np.int32)
    best, best_cycle = bias.copy(), np.zeros_like(bias)
    for cycle in range(length):
        prefix += np.multiply.outer(x_bits[cycle], w_bits[cycle])
        total = bias + uses @ prefix.max(axis=0)
        better = total > best
        best_cycle[better] = cycle + 1
        best = np.maximum(best, total)
    values = np.empty_like(thresholds)
    for cycle in np.unique(best_cycle):
        prefix = x_bits[:cycle].T @ w_bits[:cycle]
        chosen = candidates[prefix.argmax(axis=0)]  # [D]
        rows = best_cycle == cycle
        values[rows] = 2 * chosen[place[rows]] - one
    return best, values
