"""Products of packed streams: native kernels against NumPy, and against the tables, at every level."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitprop import kernels
from bitprop.errors import RangeError, ShapeError
from bitprop.formats import ENCODINGS, IntArray
from bitprop.ops import make_source
from bitprop.streams import PackedStreams, generate_stream, stream_products

LEVELS = kernels.levels()[1:]
BITS = 6

needs_kernels = pytest.mark.skipif(not LEVELS, reason=kernels.why_not() or "none")


def _reference(x: IntArray, w: IntArray, encoding: str, signs: tuple[IntArray, IntArray]) -> IntArray:
    """From the bits ``[rows, I, T]``, one product after the other."""
    if encoding == "bipolar":
        x, w = 2 * x - 1, 2 * w - 1
    elif encoding == "sign_magnitude":
        x, w = (side * (1 - 2 * negative)[..., None] for side, negative in zip((x, w), signs, strict=True))
    return np.einsum("bit,oit->bo", x, w)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**31),
    st.sampled_from([1, 2, 15, 17, 33]),
    st.sampled_from([1, 3, 17]),
    st.sampled_from([1, 2, 9, 40]),
    st.sampled_from([1, 7, 63, 64, 65, 128, 300, 1000]),
    st.sampled_from(sorted(ENCODINGS)),
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)
def test_every_level_counts_the_bits(
    seed: int, samples: int, outputs: int, inputs: int, length: int, encoding: str, share: float
) -> None:
    draw = np.random.default_rng(seed)
    x, w = (
        (draw.random((rows, inputs, length)) < p).astype(np.int64) for rows, p in ((samples, share), (outputs, 0.6))
    )
    signs = tuple(draw.integers(0, 2, (rows, inputs)) for rows in (samples, outputs))
    expected = _reference(x, w, encoding, (signs[0], signs[1]))
    packed = PackedStreams.pack(x), PackedStreams.pack(w)
    for level in kernels.levels():
        with kernels.use_level(level):
            for threads in (1, 2):
                found = stream_products(*packed, encoding, *signs, threads=threads)
                assert found.dtype == np.int64
                assert np.array_equal(found, expected), (level, threads)


def _by_table(k_x: IntArray, k_w: IntArray, numbers: tuple[IntArray, IntArray], bipolar: bool) -> IntArray:
    native = kernels.extension()
    out = np.empty((len(k_x), len(k_w)), np.int64)
    packed = native.PackedWeights(native.CountTable(*numbers, BITS), k_w.astype(np.int32))
    native.dense(packed, k_x.astype(np.int32), bipolar, out, 1)
    return out


def _by_streams(k_x: IntArray, k_w: IntArray, sources: tuple[Any, Any], length: int, encoding: str) -> IntArray:
    x, w = (generate_stream(source, abs(k), length) for source, k in zip(sources, (k_x, k_w), strict=True))
    return stream_products(x, w, encoding, k_x < 0, k_w < 0)


@needs_kernels
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("encoding", sorted(ENCODINGS))
@pytest.mark.parametrize("length", [8, 32, 64, 100, 256])
def test_streams_and_tables_check_each_other(level: str, encoding: str, length: int) -> None:
    draw, least = np.random.default_rng(length), -(1 << BITS) if encoding == "sign_magnitude" else 0
    k_x, k_w = (draw.integers(least, (1 << BITS) + 1, (rows, 37)) for rows in (20, 70))
    sources = make_source("sobol", width=BITS, seed=3, dimension=1), make_source("lfsr", width=BITS, seed=5)
    numbers = sources[0].sequence(length), sources[1].sequence(length)
    with kernels.use_level(level):
        table = _by_table(k_x, k_w, numbers, encoding == "bipolar")
        assert np.array_equal(_by_streams(k_x, k_w, sources, length, encoding), table)
        # planted: one threshold, one sign, the sources exchanged, another encoding
        wrong = k_x.copy()
        wrong[7, 11] = 0 if abs(int(wrong[7, 11])) > 1 << BITS - 1 else 1 << BITS
        mutants = [_by_streams(wrong, k_w, sources, length, encoding)]
        mutants.append(_by_streams(k_x, k_w, sources[::-1], length, encoding))
        others = {"unipolar": "bipolar", "bipolar": "unipolar", "sign_magnitude": "unipolar"}
        mutants.append(_by_streams(k_x, k_w, sources, length, others[encoding]))
        assert all(not np.array_equal(mutant, table) for mutant in mutants)


@needs_kernels
def test_a_level_that_disagrees_is_passed_over() -> None:
    native = kernels.extension()
    try:
        native.plant_failure("packed", LEVELS[-1])
        assert native.families()["packed"] == (LEVELS[-2] if len(LEVELS) > 1 else LEVELS[-1])
    finally:
        native.plant_failure("packed", "")


def test_what_does_not_fit_is_refused() -> None:
    streams = PackedStreams.pack(np.ones((2, 3, 5), np.int64))
    longer, narrow = PackedStreams.pack(np.ones((2, 3, 6), np.int64)), PackedStreams.pack(np.ones((2, 5), np.int64))
    for other in (longer, narrow, streams.words):
        with pytest.raises(ShapeError):
            stream_products(streams, other, "unipolar")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="signs"):
        stream_products(streams, streams, "sign_magnitude", [0, 1])
    with pytest.raises(RangeError, match="signs"):
        stream_products(streams, streams, "sign_magnitude", np.full((2, 3), 2))
    with pytest.raises(RangeError, match="encoding"):
        stream_products(streams, streams, "ternary")
    with pytest.raises(RangeError, match="threads"):
        stream_products(streams, streams, "unipolar", threads=0)


@needs_kernels
def test_the_extension_refuses_what_does_not_fit() -> None:
    native, words, signs = kernels.extension(), np.zeros((1, 2, 1), np.uint64), np.zeros((1, 2), np.uint8)
    out = np.zeros((1, 1), np.int64)
    native.stream_products(words, words, signs, signs, 64, False, out, 1)
    wrongs: list[tuple[Any, ...]] = [
        (words, words[:, :1].copy(), None, None, 64, False, out, 1),
        (words, words, None, None, 65, False, out, 1),
        (words, words, signs, None, 64, False, out, 1),
        (words, words, signs, signs, 64, True, out, 1),
        (words, words, signs[:, :1].copy(), signs, 64, False, out, 1),
        (words, words, None, None, 64, False, np.zeros((2, 1), np.int64), 1),
    ]
    for wrong in wrongs:
        with pytest.raises(ValueError, match=":"):
            native.stream_products(*wrong)
