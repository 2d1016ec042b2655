"""Number sources: recurrence, period, balance, seeds, and what they refuse."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import qmc

from bitprop.errors import NotExportableError, RangeError
from bitprop.ops import SOURCES, make_source
from bitprop.ops.bernoulli import BernoulliSource
from bitprop.ops.counter import CounterSource
from bitprop.ops.halton import GUARD_BITS, HaltonSource, ternary_digits
from bitprop.ops.lfsr import LFSR_POLYNOMIALS, LfsrSource, format_polynomial, is_maximal, parse_polynomial
from bitprop.ops.sobol import SOBOL_DIMENSIONS, SobolSource, direction_numbers

WIDTHS = tuple(range(3, 17))
SMALL = tuple(range(3, 9))


def ones_of_every_threshold(sequence: Any, width: int) -> list[int]:
    return np.bincount(sequence + 1, minlength=(1 << width) + 1).cumsum().tolist()


# -- all sources -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", tuple(SOURCES))
@given(width=st.integers(3, 16), seed=st.integers(1, 7), length=st.integers(1, 300), more=st.integers(1, 100))
def test_numbers_are_in_range_and_a_prefix_is_the_shorter_stream(
    kind: str, width: int, seed: int, length: int, more: int
) -> None:
    source = make_source(kind, width=width, seed=seed)
    long = source.sequence(length + more)
    assert long.dtype == np.int64
    assert long.shape == (length + more,)
    assert long.min() >= 0
    assert long.max() < 1 << width
    assert source.sequence(length).tolist() == long[:length].tolist()


@pytest.mark.parametrize("kind", tuple(SOURCES))
def test_fields_round_trip(kind: str) -> None:
    source = make_source(kind, width=5, seed=6)
    fields = source.to_dict()
    assert next(iter(fields)) == "kind"
    assert make_source(**fields) == source
    from_numpy = {name: np.int64(value) if isinstance(value, int) else value for name, value in fields.items()}
    assert all(type(value) is not np.int64 for value in make_source(**from_numpy).to_dict().values())


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("lfsr", {}),
        ("sobol", {"dimension": 0}),
        ("sobol", {"dimension": 7}),
        ("halton", {"base": 2}),
        ("halton", {"base": 3}),
        ("counter", {"stride": 1}),
        ("counter", {"stride": 6}),
    ],
)
@pytest.mark.parametrize("width", SMALL)
def test_period_is_exact(kind: str, fields: dict[str, int], width: int) -> None:
    source = make_source(kind, width=width, seed=3, **fields)
    period = source.period
    assert period is not None
    sequence = source.sequence(2 * period)
    assert sequence[:period].tolist() == sequence[period:].tolist()
    shorter = [p for p in range(1, period) if period % p == 0]
    assert all(sequence[:period].tolist() != sequence[p : p + period].tolist() for p in shorter)


@pytest.mark.parametrize("kind", tuple(SOURCES))
def test_every_seed_gives_its_own_sequence(kind: str) -> None:
    seeds = range(1, 64)
    sequences = {tuple(make_source(kind, width=6, seed=seed).sequence(64).tolist()) for seed in seeds}
    assert len(sequences) == len(seeds)


@pytest.mark.parametrize("kind", tuple(SOURCES))
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"width": 2, "seed": 1}, "width.*2"),
        ({"width": 17, "seed": 1}, "width.*17"),
        ({"width": 8.0, "seed": 1}, "width.*8.0"),
        ({"width": True, "seed": 1}, "width.*True"),
        ({"width": 8, "seed": -1}, "seed.*-1"),
        ({"width": 8, "seed": "1"}, "seed.*'1'"),
        ({"width": 8, "seed": 1 << 70}, "seed"),
    ],
)
def test_bad_common_fields_are_refused(kind: str, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(RangeError, match=words):
        make_source(kind, **fields)


@pytest.mark.parametrize("kind", tuple(SOURCES))
@pytest.mark.parametrize("length", [0, -5, 1.5, True])
def test_bad_length_is_refused(kind: str, length: Any) -> None:
    with pytest.raises(RangeError, match=r"length"):
        make_source(kind, width=4, seed=1).sequence(length)


# -- lfsr --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [*WIDTHS, 32])
def test_table_polynomials_are_maximal(width: int) -> None:
    assert LFSR_POLYNOMIALS[width].bit_length() - 1 == width
    assert is_maximal(LFSR_POLYNOMIALS[width])


@pytest.mark.parametrize("width", WIDTHS)
def test_threshold_k_has_exactly_k_ones_over_a_period(width: int) -> None:
    sequence = LfsrSource(width=width, seed=1).sequence((1 << width) - 1)
    assert ones_of_every_threshold(sequence, width)[:-1] == list(range(1 << width))
    assert sorted(sequence.tolist()) == list(range((1 << width) - 1))


def test_is_maximal_agrees_with_walking_the_states() -> None:
    for polynomial in range(5, 1 << 8, 2):
        degree = polynomial.bit_length() - 1
        state, steps = 1, 0
        while True:
            state = ((state << 1) | ((state & (polynomial >> 1)).bit_count() & 1)) & ((1 << degree) - 1)
            steps += 1
            if state in (0, 1) or steps > 1 << degree:
                break
        walked = state == 1 and steps == (1 << degree) - 1
        assert is_maximal(polynomial) == walked, format_polynomial(polynomial)


@pytest.mark.parametrize("polynomial", [0, 1, 0b11, 0b110, 0x11C, (1 << 33) | 1])
def test_polynomials_without_constant_or_of_unsupported_degree_are_not_maximal(polynomial: int) -> None:
    assert not is_maximal(polynomial)


def test_wide_lfsr_matches_its_recurrence() -> None:
    source = LfsrSource(width=32, seed=0xDEADBEEF)
    bits = [(0xDEADBEEF >> (31 - i)) & 1 for i in range(32)]  # oldest first: the shift register as a bit recurrence
    for _ in range(100):
        bits.append(bits[-32] ^ bits[-22] ^ bits[-2] ^ bits[-1])
    expected = [int("".join(map(str, bits[t : t + 32])), 2) - 1 for t in range(100)]
    assert source.sequence(100).tolist() == expected


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"width": 8, "seed": 0}, "non-zero LFSR seed"),
        ({"width": 8, "seed": 256}, "seed in 0 .. 255, got 256"),
        ({"width": 17, "seed": 1}, "3 .. 16 or 32, got 17"),
        ({"width": 8, "seed": 1, "polynomial": 0x11B}, r"maximal-length polynomial, got x\^8\+x\^4\+x\^3\+x\+1"),
        ({"width": 8, "seed": 1, "polynomial": 0x25}, r"degree 8, got x\^5\+x\^2\+1"),
        ({"width": 8, "seed": 1, "polynomial": -1}, "polynomial"),
    ],
)
def test_bad_lfsr_is_refused(fields: dict[str, int], words: str) -> None:
    with pytest.raises(RangeError, match=words):
        LfsrSource(**fields)


def test_user_polynomial_is_used() -> None:
    polynomial = parse_polynomial("x^8+x^4+x^3+x^2+1")
    source = LfsrSource(width=8, seed=1, polynomial=polynomial)
    assert source.verilog_parameters()["POLYNOMIAL"] == "9'h11d"
    assert source.sequence(60).tolist() != LfsrSource(width=8, seed=1).sequence(60).tolist()
    assert ones_of_every_threshold(source.sequence(255), 8)[:-1] == list(range(256))


@given(st.integers(1, (1 << 33) - 1))
def test_polynomial_text_round_trips(polynomial: int) -> None:
    assert parse_polynomial(format_polynomial(polynomial)) == polynomial


@pytest.mark.parametrize("text", ["", "y^2+1", "x^2+x^2", "x^33+1", "x^-1", "x^2 - 1", "2", "x^²+1"])
def test_bad_polynomial_text_is_refused(text: str) -> None:
    with pytest.raises(RangeError, match=r"polynomial"):
        parse_polynomial(text)


# -- sobol -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [3, 4, 5, 6, 8, 10, 16])
def test_sobol_is_scipys(width: int) -> None:
    count = min(1 << width, 1024)
    points = qmc.Sobol(d=SOBOL_DIMENSIONS, scramble=False, bits=30).random(count)
    for dimension in range(SOBOL_DIMENSIONS):
        sequence = SobolSource(width=width, seed=0, dimension=dimension).sequence(count)
        assert sequence.tolist() == (points[:, dimension] * (1 << width)).astype(int).tolist()


@given(st.integers(3, 10), st.integers(0, SOBOL_DIMENSIONS - 1), st.data())
def test_sobol_seed_is_an_xor(width: int, dimension: int, data: st.DataObject) -> None:
    seed = data.draw(st.integers(0, (1 << width) - 1))
    plain = SobolSource(width=width, seed=0, dimension=dimension).sequence(200)
    scrambled = SobolSource(width=width, seed=seed, dimension=dimension).sequence(200)
    assert scrambled.tolist() == (plain ^ seed).tolist()


@pytest.mark.parametrize("dimension", range(SOBOL_DIMENSIONS))
@pytest.mark.parametrize("width", SMALL)
def test_every_aligned_block_of_sobol_is_balanced(width: int, dimension: int) -> None:
    sequence = SobolSource(width=width, seed=(1 << width) - 3, dimension=dimension).sequence(1 << width)
    for j in range(width + 1):
        leading = (sequence >> (width - j)).reshape(-1, 1 << j)
        assert all(sorted(block) == list(range(1 << j)) for block in leading.tolist())
    assert ones_of_every_threshold(sequence, width) == list(range((1 << width) + 1))


def test_direction_numbers_are_triangular() -> None:
    for dimension in range(SOBOL_DIMENSIONS):
        for index, v in enumerate(direction_numbers(16, dimension)):
            assert v % (1 << (15 - index)) == 0
            assert v >> (15 - index) & 1  # odd m


@pytest.mark.parametrize("dimension", [-1, SOBOL_DIMENSIONS, 1.0])
def test_bad_sobol_dimension_is_refused(dimension: Any) -> None:
    with pytest.raises(RangeError, match=r"dimension"):
        SobolSource(width=8, seed=0, dimension=dimension)
    with pytest.raises(RangeError, match=r"dimension"):
        direction_numbers(8, dimension)


# -- halton ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", SMALL)
def test_halton_base_two_is_scipys(width: int) -> None:
    points = qmc.Halton(d=1, scramble=False).random(1 << width)[:, 0]
    sequence = HaltonSource(width=width, seed=0, base=2).sequence(1 << width)
    assert sequence.tolist() == (points * (1 << width)).astype(int).tolist()


@pytest.mark.parametrize("width", [3, 4, 8, 12, 16])
def test_halton_base_three_is_the_radical_inverse_within_its_guard_bits(width: int) -> None:
    digits = ternary_digits(width)
    assert 3 ** (digits - 1) < 1 << width <= 3**digits
    sequence = HaltonSource(width=width, seed=0, base=3).sequence(400)
    slack = 1 + Fraction(2 * digits, 1 << GUARD_BITS)
    for index, number in enumerate(sequence.tolist()):
        inverse, rest, place = Fraction(0), index % 3**digits, Fraction(1, 3)
        while rest:
            inverse += rest % 3 * place
            rest, place = rest // 3, place / 3
        assert 0 <= inverse * (1 << width) - number < slack


@pytest.mark.parametrize("base", [2, 3])
def test_halton_seed_skips(base: int) -> None:
    whole = HaltonSource(width=7, seed=0, base=base).sequence(300).tolist()
    assert HaltonSource(width=7, seed=100, base=base).sequence(200).tolist() == whole[100:]


@pytest.mark.parametrize("base", [0, 1, 4, 5, True, "3", None])
def test_bad_halton_base_is_refused(base: Any) -> None:
    with pytest.raises(RangeError, match=r"base of 2 or 3"):
        HaltonSource(width=8, seed=0, base=base)


# -- counter -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", SMALL)
def test_odd_strides_are_balanced(width: int) -> None:
    for stride in range(1, 1 << width, 2):
        sequence = CounterSource(width=width, seed=2, stride=stride).sequence(1 << width)
        assert ones_of_every_threshold(sequence, width) == list(range((1 << width) + 1))


@pytest.mark.parametrize("stride", [0, -1, 256, 1.5])
def test_bad_stride_is_refused(stride: Any) -> None:
    with pytest.raises(RangeError, match=r"stride"):
        CounterSource(width=8, seed=0, stride=stride)


# -- bernoulli ---------------------------------------------------------------------------------------------------


def test_bernoulli_has_no_hardware() -> None:
    source = BernoulliSource(width=8, seed=1)
    assert source.period is None
    assert not source.exportable
    with pytest.raises(NotExportableError, match=r"bernoulli.*use lfsr, sobol, halton or counter"):
        source.verilog_parameters()


def test_bernoulli_numbers_are_fixed_uniform_and_independent_between_seeds() -> None:
    length = 40000
    first, second = (BernoulliSource(width=8, seed=seed).sequence(length) for seed in (0, 1))
    assert first[:4].tolist() == [int(w) >> 56 for w in np.random.Philox(key=0).random_raw(4)]
    # chi-square with 255 degrees of freedom: mean 255, standard deviation 22.6; the bounds are 5 deviations
    for sequence in (first, second):
        counts = np.bincount(sequence, minlength=256)
        assert 142 < float(((counts - length / 256) ** 2).sum() / (length / 256)) < 368
    covariance = float(np.corrcoef(first, second)[0, 1])
    assert abs(covariance) < 5 / length**0.5
