"""The references of the arithmetic operations against independent statements of what they compute."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from math import floor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitprop.errors import RangeError, ShapeError
from bitprop.formats import ENCODINGS, encode_value
from bitprop.ops import make_source
from bitprop.ops.accumulate import accumulate
from bitprop.ops.argmax import argmax
from bitprop.ops.compare import compare
from bitprop.ops.correlate import correlate, mix_numbers
from bitprop.ops.count import contribution_bits, count
from bitprop.ops.encode import ENCODING_CODES, encode
from bitprop.ops.multiply import multiply
from bitprop.ops.requantise import requantise

BITS = st.lists(st.tuples(*[st.integers(0, 1)] * 3), min_size=1, max_size=20)


def test_compare_counts_the_numbers_below() -> None:
    for width in (3, 5, 8):
        for threshold in range((1 << width) + 1):
            assert sum(compare(number, threshold, width) for number in range(1 << width)) == threshold


@pytest.mark.parametrize(("number", "threshold", "width"), [(-1, 0, 3), (8, 0, 3), (0, 9, 3), (0, -1, 3), (0, 0, 2)])
def test_compare_refuses(number: int, threshold: int, width: int) -> None:
    with pytest.raises(RangeError, match=r"expected (number|threshold|width) in"):
        compare(number, threshold, width)


# -- correlate ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("correlation_raw", range(-8, 9))
def test_correlation_is_the_contracts_mixture_exactly(correlation_raw: int) -> None:
    """Over all triples of numbers the AND count is the mixture of product and minimum (or maximum overlap)."""
    one, kc = 8, abs(correlation_raw)
    triples = list(product(range(one), repeat=3))
    mixed = [(r, correlate(r, s, t, correlation_raw, 3)) for r, s, t in triples]
    for kx, kw in product(range(one + 1), repeat=2):
        both = sum(r < kx and q < kw for r, q in mixed)
        extreme = min(kx, kw) if correlation_raw > 0 else max(0, kx + kw - one)
        assert both == (one - kc) * kx * kw + kc * one * extreme
        assert sum(q < kw for _, q in mixed) == kw * one * one  # the weight's own share of ones never changes


@pytest.mark.parametrize("correlation_raw", range(-8, 9))
def test_a_sequence_is_mixed_as_its_cycles_are(correlation_raw: int) -> None:
    r, s, t = (list(column) for column in zip(*product(range(8), repeat=3), strict=True))
    cycles = [correlate(*numbers, correlation_raw, 3) for numbers in zip(r, s, t, strict=True)]
    assert mix_numbers(r, s, t, correlation_raw, 3).tolist() == cycles


@pytest.mark.parametrize("kind", ["sobol", "halton", "counter"])
def test_full_correlation_over_a_full_period_is_minimum_or_overlap(kind: str) -> None:
    one = 64
    r = make_source(kind, width=6, seed=5).sequence(one)
    s = make_source(kind, width=6, seed=9).sequence(one)
    shared, mirrored = mix_numbers(r, s, s, one, 6), mix_numbers(r, s, s, -one, 6)
    for kx, kw in product(range(one + 1), repeat=2):
        assert int(((r < kx) & (shared < kw)).sum()) == min(kx, kw)
        assert int(((r < kx) & (mirrored < kw)).sum()) == max(0, kx + kw - one)


def test_no_correlation_needs_no_selector() -> None:
    assert mix_numbers([1, 2], [3, 4], None, 0, 3).tolist() == [3, 4]
    assert mix_numbers([1, 2], [3, 4], [0, 0], 0, 3).tolist() == [3, 4]


def test_mix_numbers_refuses() -> None:
    with pytest.raises(RangeError, match=r"selector numbers for correlation_raw 3, got None"):
        mix_numbers([1], [1], None, 3, 3)
    with pytest.raises(ShapeError, match=r"one length, got 1, 2 and 1"):
        mix_numbers([1], [1, 2], [1], 3, 3)
    with pytest.raises(RangeError, match=r"correlation_raw in -8 .. 8, got 9"):
        mix_numbers([1], [1], [1], 9, 3)
    with pytest.raises(RangeError, match=r"weight_numbers in 0 .. 7"):
        mix_numbers([1], [8], [1], 3, 3)
    with pytest.raises(ShapeError, match=r"activation_numbers"):
        mix_numbers([0.5], [1], [1], 3, 3)
    with pytest.raises(RangeError, match=r"precision_bits"):
        mix_numbers([1], [1], [1], 0, 17)
    with pytest.raises(RangeError, match=r"selector_number in"):
        correlate(0, 0, 8, 1, 3)


# -- encode, multiply, count -------------------------------------------------------------------------------------


def test_encoding_codes_cover_the_encodings() -> None:
    assert list(ENCODING_CODES) == list(ENCODINGS)
    assert list(ENCODING_CODES.values()) == [0, 1, 2]


@given(st.integers(3, 16), st.sampled_from(sorted(ENCODINGS)), st.data())
def test_encode_is_the_formats_table(width: int, encoding: str, data: st.DataObject) -> None:
    value = data.draw(st.integers(-(2 << width), (2 << width) - 1))
    threshold, negative = encode(value, encoding, width)
    one = 1 << width
    assert 0 <= threshold <= one
    assert [[threshold], [negative]] == [a.tolist() for a in encode_value([value], encoding, width)]
    clamped = max(-one, min(one, value))
    if encoding == "unipolar":
        assert (threshold, negative) == (max(0, clamped), 0)
    elif encoding == "bipolar":
        assert (threshold, negative) == (round(Fraction(clamped + one, 2)), 0)
    else:
        assert (threshold, negative) == (abs(clamped), int(value < 0))


@pytest.mark.parametrize(("value", "width"), [(16, 3), (-17, 3), (0.5, 3), (0, 2), (True, 3)])
def test_encode_refuses(value: Any, width: int) -> None:
    with pytest.raises(RangeError, match=r"value_raw|width"):
        encode(value, "bipolar", width)
    with pytest.raises(RangeError, match=r"unipolar, bipolar, sign_magnitude; got 'ternary'"):
        encode(0, "ternary", 3)


@given(BITS)
def test_contribution_is_the_sum_of_the_signed_products(triples: list[tuple[int, int, int]]) -> None:
    negative = [sign for _, _, sign in triples]

    def contribution(encoding: str) -> int:
        return count([multiply(x, w, sign, encoding) for x, w, sign in triples], negative, encoding)

    assert contribution("unipolar") == sum(x * w for x, w, _ in triples)
    assert contribution("bipolar") == sum((2 * x - 1) * (2 * w - 1) for x, w, _ in triples)
    assert contribution("sign_magnitude") == sum((-1) ** sign * x * w for x, w, sign in triples)


@pytest.mark.parametrize("inputs", [1, 2, 3, 4, 7, 8, 9, 63, 64, 65536])
def test_contribution_bits_are_enough_and_no_more(inputs: int) -> None:
    bits = contribution_bits(inputs)
    assert inputs <= (1 << (bits - 1)) - 1
    assert inputs > (1 << (bits - 2)) - 1


def test_count_and_multiply_refuse() -> None:
    with pytest.raises(ShapeError, match=r"got 1 and 2"):
        count([1], [0, 0], "unipolar")
    with pytest.raises(ShapeError, match=r"at least one, got 0 and 0"):
        count([], [], "unipolar")
    with pytest.raises(RangeError, match=r"product_bits in 0 .. 1, got 2"):
        count([2], [0], "unipolar")
    with pytest.raises(RangeError, match=r"encoding"):
        count([1], [0], "and")
    with pytest.raises(RangeError, match=r"w_bit in 0 .. 1, got -1"):
        multiply(1, -1, 0, "unipolar")
    with pytest.raises(RangeError, match=r"encoding"):
        multiply(1, 1, 0, "xor")
    for inputs in (0, 65537):
        with pytest.raises(RangeError, match=r"inputs"):
            contribution_bits(inputs)


# -- accumulate --------------------------------------------------------------------------------------------------


@given(st.integers(8, 48), st.lists(st.tuples(st.integers(0, 1), st.integers(-100, 100)), max_size=20))
def test_accumulate_sums_modulo_its_width(width: int, steps: list[tuple[int, int]]) -> None:
    total = accumulate(0, 1, -7, 1, 100, width)  # load has priority over enable
    for enable, contribution in steps:
        total = accumulate(total, 0, 99, enable, contribution, width)
    exact = -7 + sum(contribution for enable, contribution in steps if enable)
    assert (total - exact) % (1 << width) == 0
    assert -(1 << (width - 1)) <= total < 1 << (width - 1)


def test_accumulate_refuses() -> None:
    for total, load, bias, enable, contribution, width, name in (
        (128, 0, 0, 0, 0, 8, "total"),
        (0, 2, 0, 0, 0, 8, "load"),
        (0, 0, -129, 0, 0, 8, "bias"),
        (0, 0, 0, -1, 0, 8, "enable"),
        (0, 0, 0, 0, 128, 8, "contribution"),
        (0, 0, 0, 0, 0, 49, "width"),
    ):
        with pytest.raises(RangeError, match=name):
            accumulate(total, load, bias, enable, contribution, width)


# -- requantise --------------------------------------------------------------------------------------------------


@given(
    st.integers(-(1 << 47), (1 << 47) - 1),
    st.integers(1, 65535),
    st.integers(1, 40),
    st.integers(-(1 << 17), 0),
    st.integers(0, (1 << 17) - 1),
)
def test_requantise_rounds_half_up_and_clamps(acc: int, multiplier: int, shift: int, low: int, high: int) -> None:
    exact = Fraction(acc * multiplier, 1 << shift)
    assert requantise(acc, multiplier, shift, low, high) == max(low, min(high, floor(exact + Fraction(1, 2))))


@given(st.integers(1, 65535), st.integers(1, 40), st.integers(-1000, 1000), st.integers(0, 1000))
def test_requantise_is_monotone(multiplier: int, shift: int, acc: int, step: int) -> None:
    lower, upper = (requantise(a, multiplier, shift, -256, 256) for a in (acc, acc + step))
    assert lower <= upper


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0, 0, 1, 0, 1), "multiplier in 1 .. 65535, got 0"),
        ((0, 65536, 1, 0, 1), "multiplier"),
        ((0, 1, 0, 0, 1), "shift in 1 .. 40, got 0"),
        ((0, 1, 41, 0, 1), "shift"),
        ((0, 1, 1, 2, 1), "low <= high, got low 2 and high 1"),
        ((1 << 47, 1, 1, 0, 1), "acc"),
        ((0.5, 1, 1, 0, 1), "acc"),
        ((0, 1, 1, -(1 << 17) - 1, 1), "low"),
        ((0, 1, 1, 0, 1 << 17), "high"),
    ],
)
def test_requantise_refuses(arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises(RangeError, match=words):
        requantise(*arguments)


# -- argmax ------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=12))
def test_argmax_is_the_first_of_the_largest(values: list[int]) -> None:
    assert argmax(values) == values.index(max(values))


def test_argmax_refuses() -> None:
    with pytest.raises(ShapeError, match=r"1 .. 4096 values, got 0"):
        argmax([])
    with pytest.raises(ShapeError, match=r"got 4097"):
        argmax([0] * 4097)
    with pytest.raises(RangeError, match=r"values"):
        argmax([1 << 47])
    with pytest.raises(RangeError, match=r"values"):
        argmax([0.5])  # type: ignore[list-item]
