"""Encodings: rounding, saturation, round trip, error bound, and what is refused."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitprop.errors import RangeError, ShapeError
from bitprop.formats import ENCODINGS, decode_threshold, encode_value, encoding_of, quantise

NAMES = sorted(ENCODINGS)


@given(st.floats(-1, 1), st.integers(3, 16))
def test_quantise_rounds_to_nearest_ties_to_even(value: float, n: int) -> None:
    raw = int(quantise(value, n))
    assert raw == round(Fraction(value) * (1 << n))
    assert -(1 << n) <= raw <= 1 << n


@pytest.mark.parametrize("value", [1.0000001, -1.5, float("nan"), float("inf"), [0.0, float("nan")]])
def test_quantise_refuses_values_outside(value: Any) -> None:
    with pytest.raises(RangeError, match=r"values in -1 \.\. 1"):
        quantise(value)


@pytest.mark.parametrize("n", [2, 17, 8.0, True, "8"])
def test_precision_is_checked_everywhere(n: Any) -> None:
    for call in (
        lambda: quantise(0.0, n),
        lambda: encode_value(0, "unipolar", n),
        lambda: decode_threshold(0, 0, "unipolar", n),
    ):
        with pytest.raises(RangeError, match="precision_bits"):
            call()


@pytest.mark.parametrize("encoding", NAMES)
@pytest.mark.parametrize("n", [3, 4, 8])
def test_encoding_is_monotone_saturates_and_round_trips(encoding: str, n: int) -> None:
    one = 1 << n
    values = np.arange(-3 * one, 3 * one + 1)
    thresholds, negative = encode_value(values, encoding, n)
    assert thresholds.shape == values.shape
    assert (int(thresholds.min()), int(thresholds.max())) == (0, one)
    assert set(negative.tolist()) == ({0, 1} if ENCODINGS[encoding].signed_stream else {0})
    decoded = decode_threshold(thresholds, negative, encoding, n)
    assert bool((np.diff(decoded) >= 0).all())
    clamped = np.clip(values / one, ENCODINGS[encoding].low, ENCODINGS[encoding].high)
    error = np.abs(decoded - clamped)
    # exact, except that bipolar halves the resolution
    assert float(error.max()) == (1 / one if encoding == "bipolar" else 0.0)


def test_bipolar_ties_go_to_even() -> None:
    n, one = 4, 16
    values = np.arange(-one, one + 1)
    thresholds, _ = encode_value(values, "bipolar", n)
    assert thresholds.tolist() == [round(Fraction(int(v) + one, 2)) for v in values]


@pytest.mark.parametrize("array", [[0.5], ["1"], [True], [None]])
def test_only_integers_are_encoded(array: Any) -> None:
    with pytest.raises(ShapeError, match=r"value_raw to hold integers, got dtype .*; quantise first"):
        encode_value(array, "unipolar")


def test_decode_refuses() -> None:
    with pytest.raises(RangeError, match=r"thresholds in 0 \.\. 256, got -1 \.\. 257"):
        decode_threshold([-1, 257], [0, 0], "bipolar")
    with pytest.raises(RangeError, match="signs of 0 or 1"):
        decode_threshold([1], [2], "sign_magnitude")
    with pytest.raises(ShapeError, match="threshold to hold integers"):
        decode_threshold([0.5], [0], "bipolar")
    with pytest.raises(RangeError, match="unipolar, bipolar, sign_magnitude; got 'gray'"):
        encoding_of("gray")


@pytest.mark.parametrize("name", NAMES)
def test_encoding_table(name: str) -> None:
    encoding = encoding_of(name)
    assert encoding.name == name
    assert encoding.high == 1.0
    assert encoding.low == (0.0 if name == "unipolar" else -1.0)
