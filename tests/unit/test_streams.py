"""Packed streams, their counts and correlations, against bit-by-bit statements."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitprop.errors import RangeError, ShapeError
from bitprop.ops import make_source
from bitprop.ops.correlate import mix_numbers
from bitprop.streams import PackedStreams, generate_stream, pearson, product_count_table, scc

BITS = st.lists(st.integers(0, 1), min_size=1, max_size=200)
PAIRS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=200)


def pair(bits: list[tuple[int, int]]) -> tuple[PackedStreams, PackedStreams, np.ndarray, np.ndarray]:
    a, b = (np.array(column) for column in zip(*bits, strict=True))
    return PackedStreams.pack(a), PackedStreams.pack(b), a, b


@given(BITS)
def test_cycle_k_is_bit_k_mod_64_of_word_k_div_64(bits: list[int]) -> None:
    packed = PackedStreams.pack(bits)
    assert packed.words.dtype == np.uint64
    assert [int(packed.words[k // 64]) >> (k % 64) & 1 for k in range(len(bits))] == bits
    assert sum(int(word).bit_count() for word in packed.words) == sum(bits)
    assert packed.unpack().tolist() == bits
    assert int(packed.popcount()) == sum(bits)
    assert packed.shape == ()


@pytest.mark.parametrize("length", [1, 63, 64, 65, 128, 130])
def test_shapes_are_kept(length: int) -> None:
    bits = np.random.Generator(np.random.Philox(length)).integers(0, 2, (2, 3, length))
    for array in (bits, bits.astype(bool), bits.astype(np.uint8)):
        packed = PackedStreams.pack(array)
        assert packed.words.shape == (2, 3, -(-length // 64))
        assert packed.shape == (2, 3)
        assert packed.unpack().tolist() == bits.tolist()
        assert packed.popcount().tolist() == bits.sum(-1).tolist()


@given(PAIRS)
def test_gates_act_cycle_by_cycle(bits: list[tuple[int, int]]) -> None:
    a, b, plain_a, plain_b = pair(bits)
    assert (a & b).unpack().tolist() == (plain_a & plain_b).tolist()
    assert a.xnor(b).unpack().tolist() == (plain_a == plain_b).astype(int).tolist()
    assert int(a.xnor(b).popcount()) == int((plain_a == plain_b).sum())


def test_gates_broadcast() -> None:
    a = PackedStreams.pack(np.eye(3, dtype=int)[:, None, :])
    b = PackedStreams.pack(np.ones((1, 2, 3), dtype=int))
    assert (a & b).shape == (3, 2)
    assert (a & b).popcount().tolist() == [[1, 1]] * 3
    assert a.xnor(b).popcount().tolist() == [[1, 1]] * 3


def test_gates_refuse() -> None:
    a = PackedStreams.pack(np.zeros((2, 5), dtype=int))
    with pytest.raises(ShapeError, match=r"length 5, got length 6"):
        a & PackedStreams.pack(np.zeros((2, 6), dtype=int))
    with pytest.raises(ShapeError, match=r"got \[2\] and \[3\]"):
        a.xnor(PackedStreams.pack(np.zeros((3, 5), dtype=int)))
    with pytest.raises(ShapeError, match=r"got ndarray"):
        a.xnor(np.zeros((2, 5)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("bits", "error", "words"),
    [
        ([0, 2], RangeError, "0 or 1"),
        ([0, -1], RangeError, "0 or 1"),
        ([0.0, 1.0], ShapeError, "float64"),
        (1, ShapeError, r"shape \[\.\.\., T\]"),
        (np.zeros((3, 0), dtype=int), RangeError, "length"),
    ],
)
def test_pack_refuses(bits: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        PackedStreams.pack(bits)


@pytest.mark.parametrize(
    ("words", "length", "error", "message"),
    [
        (np.zeros(1, dtype=np.int64), 5, ShapeError, "uint64"),
        ([0], 5, ShapeError, "uint64"),
        (np.zeros(2, dtype=np.uint64), 5, ShapeError, "expected 1 words"),
        (np.zeros((), dtype=np.uint64), 5, ShapeError, "expected 1 words"),
        (np.array([32], dtype=np.uint64), 5, RangeError, "beyond cycle 4"),
        (np.zeros(1, dtype=np.uint64), 0, RangeError, "length"),
    ],
)
def test_words_are_checked(words: Any, length: int, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        PackedStreams(words, length)


# -- generation --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lfsr", "sobol", "halton", "counter", "bernoulli"])
@pytest.mark.parametrize("length", [1, 64, 100])
def test_stream_bit_is_number_below_threshold(kind: str, length: int) -> None:
    source = make_source(kind, width=5, seed=3)
    thresholds = np.arange(33).reshape(3, 11)
    streams = generate_stream(source, thresholds, length)
    assert streams.shape == (3, 11)
    assert streams.length == length
    numbers = source.sequence(length).tolist()
    expected = [[[int(number < k) for number in numbers] for k in row] for row in thresholds.tolist()]
    assert streams.unpack().tolist() == expected


def test_generate_stream_refuses() -> None:
    source = make_source("lfsr", width=5, seed=3)
    with pytest.raises(RangeError, match=r"thresholds in 0 \.\. 32, got -1 \.\. 33"):
        generate_stream(source, [-1, 33], 10)
    with pytest.raises(ShapeError, match="integer thresholds, got dtype float64"):
        generate_stream(source, [0.5], 10)
    with pytest.raises(RangeError, match="length"):
        generate_stream(source, [1], 0)
    with pytest.raises(RangeError, match="number source, got 'lfsr'"):
        generate_stream("lfsr", [1], 10)  # type: ignore[arg-type]


# -- correlation -------------------------------------------------------------------------------------------------


def scc_by_definition(a: np.ndarray, b: np.ndarray) -> float:
    """Alaghi and Hayes' four joint counts, written as in the paper."""
    n11, n10 = int((a & b).sum()), int((a & (1 - b)).sum())
    n01, n00 = int(((1 - a) & b).sum()), int(((1 - a) & (1 - b)).sum())
    total = n11 + n10 + n01 + n00
    top = n11 * n00 - n10 * n01
    if top > 0:
        bottom = total * min(n11 + n10, n11 + n01) - (n11 + n10) * (n11 + n01)
    else:
        bottom = (n11 + n10) * (n11 + n01) - total * max(n11 - n00, 0)
    return top / bottom if bottom else 0.0


@given(PAIRS)
def test_scc_is_the_papers(bits: list[tuple[int, int]]) -> None:
    a, b, plain_a, plain_b = pair(bits)
    assert float(scc(a, b)) == scc_by_definition(plain_a, plain_b)
    assert float(scc(b, a)) == float(scc(a, b))
    assert -1.0 <= float(scc(a, b)) <= 1.0


@given(PAIRS)
def test_pearson_is_numpys(bits: list[tuple[int, int]]) -> None:
    a, b, plain_a, plain_b = pair(bits)
    constant = len(set(plain_a.tolist())) == 1 or len(set(plain_b.tolist())) == 1
    expected = 0.0 if constant else float(np.corrcoef(plain_a, plain_b)[0, 1])
    assert float(pearson(a, b)) == pytest.approx(expected, abs=1e-12)


def test_constant_streams_have_no_correlation() -> None:
    ones, mixed = PackedStreams.pack([1] * 8), PackedStreams.pack([1, 0] * 4)
    for a, b in ((ones, mixed), (mixed, ones), (ones, ones)):
        assert float(scc(a, b)) == 0.0
        assert float(pearson(a, b)) == 0.0


@pytest.mark.parametrize("kind", ["sobol", "counter", "halton"])
def test_correlation_knob_reaches_both_ends_of_scc(kind: str) -> None:
    one = 32
    r = make_source(kind, width=5, seed=7)
    inner = np.arange(1, one)
    x = generate_stream(r, inner[:, None], one)
    for correlation_raw, expected in ((one, 1.0), (-one, -1.0)):
        q = mix_numbers(r.sequence(one), r.sequence(one), r.sequence(one), correlation_raw, 5)
        w = PackedStreams.pack(q < inner[:, None])
        measured = scc(x, PackedStreams(w.words[None], one))
        # an overlap that cannot vary gives 0: none is here, as every stream has both a one and a zero
        assert measured.shape == (one - 1, one - 1)
        assert set(measured.ravel().tolist()) == {expected}


# -- counts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 7, 40])
def test_table_counts_both_ones(length: int) -> None:
    r = make_source("lfsr", width=4, seed=3).sequence(length)
    q = make_source("sobol", width=4, seed=5, dimension=1).sequence(length)
    table = product_count_table(r, q, 4)
    assert table.shape == (17, 17)
    assert table.dtype == np.int64
    for kx in range(17):
        for kw in range(17):
            assert table[kx, kw] == sum(a < kx and b < kw for a, b in zip(r.tolist(), q.tolist(), strict=True))


def test_table_gives_both_gates() -> None:
    length, one = 50, 16
    r, s = make_source("halton", width=4, seed=1), make_source("lfsr", width=4, seed=9)
    k = np.arange(one + 1)
    x, w = generate_stream(r, k[:, None], length), generate_stream(s, k[None, :], length)
    table = product_count_table(r.sequence(length), s.sequence(length), 4)
    assert (x & w).popcount().tolist() == table.tolist()
    xnor = length - table[:, one:] - table[one:, :] + 2 * table
    assert x.xnor(w).popcount().tolist() == xnor.tolist()


def test_table_refuses() -> None:
    with pytest.raises(ShapeError, match="one length, got 1 and 2"):
        product_count_table([1], [1, 2], 3)
    with pytest.raises(RangeError, match=r"activation_numbers in 0 \.\. 7"):
        product_count_table([8], [1], 3)
    with pytest.raises(ShapeError, match="weight_numbers"):
        product_count_table([1], [], 3)
    with pytest.raises(RangeError, match=r"precision_bits in 3 \.\. 12, got 13"):
        product_count_table([1], [1], 13)
