"""The table kernels against the plain products of stream bits: equal integers at every level; planted errors found."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bitprop import kernels
from bitprop.formats import ENCODINGS
from bitprop.nn import bit_true, native
from bitprop.nn.sources import layer_sources

KINDS = ("sobol", "lfsr", "halton", "counter", "bernoulli")
# around every change of scheme: 16, 32, 64, 128, 256, several pieces, repeated points
LENGTHS = (1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 512, 700)
LEVELS = kernels.levels()[1:]

pytestmark = pytest.mark.skipif(not LEVELS, reason=kernels.why_not() or "none")


def _random(shape: tuple[int, int], bits: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    one = 1 << bits
    k = torch.randint(0, one + 1, shape, generator=generator)
    # ends of the range come up in training far more often than by chance
    k[torch.rand(shape, generator=generator) < 0.1] = 0
    k[torch.rand(shape, generator=generator) < 0.1] = one
    return k, torch.randint(0, 2, shape, generator=generator)


def _numbers(kind: str, length: int, bits: int) -> tuple[Tensor, Tensor]:
    sources = layer_sources(kind, length, bits, 0, "independent")
    return torch.from_numpy(sources.activation.sequence(length)), torch.from_numpy(sources.weight.sequence(length))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_length_and_encoding(level: str, kind: str) -> None:
    generator = torch.Generator().manual_seed(1)
    # lanes by sample and by output, blocks that are full and not, an odd number of rows
    shapes = itertools.cycle([(1, 3, 5), (5, 40, 33), (67, 3, 50), (64, 17, 16)])
    for (bits, length), encoding in zip(
        itertools.product((3, 8, 10), LENGTHS), itertools.cycle(ENCODINGS), strict=False
    ):
        samples, outputs, inputs = next(shapes)
        x, w = _random((samples, inputs), bits, generator), _random((outputs, inputs), bits, generator)
        r, q = _numbers(kind, length, bits)
        with kernels.use_level(level):
            got = native.stream_sum(x, w, r, q, encoding)
        assert torch.equal(got, bit_true.stream_sum(x, w, r, q, encoding)), (bits, length, encoding)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("encoding", tuple(ENCODINGS))
def test_every_pair_of_thresholds(level: str, encoding: str) -> None:
    thresholds = torch.arange(17)[:, None]
    sides = [(thresholds, torch.zeros_like(thresholds)), (thresholds, torch.ones_like(thresholds))]
    for length, x, w in itertools.product((5, 16, 40), sides, sides):
        r, q = _numbers("lfsr", length, 4)
        with kernels.use_level(level):
            got = native.stream_sum(x, w, r, q, encoding)
        assert torch.equal(got, bit_true.stream_sum(x, w, r, q, encoding))


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_any_sequences(data: st.DataObject) -> None:
    bits, length = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 70))
    sequence = st.lists(st.integers(0, (1 << bits) - 1), min_size=length, max_size=length)
    r, q = torch.tensor(data.draw(sequence)), torch.tensor(data.draw(sequence))
    samples, outputs, inputs = (data.draw(st.integers(1, top)) for top in (70, 5, 40))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 1 << 20)))
    x, w = _random((samples, inputs), bits, generator), _random((outputs, inputs), bits, generator)
    encoding = data.draw(st.sampled_from(tuple(ENCODINGS)))
    expected = bit_true.stream_sum(x, w, r, q, encoding)
    for level in LEVELS:
        with kernels.use_level(level):
            assert torch.equal(native.stream_sum(x, w, r, q, encoding), expected)


def test_the_longest_stream_and_the_most_inputs() -> None:
    generator = torch.Generator().manual_seed(2)
    r, q = _numbers("lfsr", 65536, 16)
    x, w = _random((2, 3), 16, generator), _random((2, 3), 16, generator)
    assert torch.equal(
        native.stream_sum(x, w, r, q, "sign_magnitude"), bit_true.stream_sum(x, w, r, q, "sign_magnitude")
    )
    # every count at its largest: sums of 8, 16 and 32 bits must not overflow
    for length in (16, 32, 128, 256):
        full = torch.full((1, 65536), 256), torch.zeros(1, 65536, dtype=torch.int64)
        negative, empty = (full[0], torch.ones_like(full[1])), (full[1], full[1])
        r, q = _numbers("sobol", length, 8)
        for level in LEVELS:
            with kernels.use_level(level):
                assert native.stream_sum(full, full, r, q, "unipolar").tolist() == [[65536 * length]]
                # what subtracts sums what is left of the largest count: all of it where the count is 0
                for x, total in ((full, -65536 * length), (empty, 0)):
                    assert native.stream_sum(x, negative, r, q, "sign_magnitude").tolist() == [[total]]


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_do_not_matter(threads: int) -> None:
    generator = torch.Generator().manual_seed(3)
    x, w = _random((130, 200), 8, generator), _random((70, 200), 8, generator)
    r, q = _numbers("sobol", 64, 8)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        got = native.stream_sum(x, w, r, q, "sign_magnitude")
    finally:
        torch.set_num_threads(before)
    assert torch.equal(got, bit_true.stream_sum(x, w, r, q, "sign_magnitude"))


def test_empty_and_own_numbers() -> None:
    k, n = torch.tensor([[3, 5]]), torch.tensor([[0, 1]])
    r = torch.arange(8)
    assert native.stream_sum((k[:0], n[:0]), (k, n), r, r, "unipolar").shape == (0, 1)
    own = torch.stack([r, r.flip(0)], 1)
    assert torch.equal(
        native.stream_sum((k, n), (k, n), own, own, "sign_magnitude"),
        bit_true.stream_sum((k, n), (k, n), own, own, "sign_magnitude"),
    )


def _extension() -> Any:
    return kernels.extension()


def _ints(values: list[Any], dtype: Any) -> Any:
    return np.array(values, dtype)


@pytest.mark.parametrize(
    ("activation", "weight", "bits"),
    [([0, 8], [0, 1], 3), ([0, -1], [0, 1], 3), ([0], [0, 1], 3), ([], [], 3), ([0], [0], 17), ([0], [0], 0)],
)
def test_the_extension_refuses_numbers_out_of_range(activation: list[int], weight: list[int], bits: int) -> None:
    with pytest.raises(ValueError, match=r"numbers|precision_bits"):
        _extension().CountTable(_ints(activation, np.int64), _ints(weight, np.int64), bits)


def test_the_extension_refuses_thresholds_and_shapes() -> None:
    native_module = _extension()
    table = native_module.CountTable(_ints([0, 1], np.int64), _ints([1, 0], np.int64), 3)
    for value in (9, -9, 2**31 - 1, -(2**31)):
        with pytest.raises(ValueError, match="thresholds"):
            native_module.PackedWeights(table, _ints([[value]], np.int32))
    weights = native_module.PackedWeights(table, _ints([[1, -2]], np.int32))
    out = np.zeros((1, 1), np.int64)
    with pytest.raises(ValueError, match="thresholds"):
        native_module.dense(weights, _ints([[9, 0]], np.int32), False, out, 1)
    with pytest.raises(ValueError, match="as many inputs"):
        native_module.dense(weights, _ints([[1]], np.int32), False, out, 1)
    with pytest.raises(ValueError, match="out"):
        native_module.dense(weights, _ints([[1, 1]], np.int32), False, np.zeros((2, 1), np.int64), 1)
    with pytest.raises(ValueError, match="XNOR"):
        native_module.dense(weights, _ints([[1, 1]], np.int32), True, out, 1)


def test_planted_errors_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of other numbers, a cycle lost, signs dropped: the comparison above must see each."""
    generator = torch.Generator().manual_seed(4)
    x, w = _random((9, 30), 8, generator), _random((4, 30), 8, generator)
    r, q = _numbers("lfsr", 64, 8)
    expected = bit_true.stream_sum(x, w, r, q, "sign_magnitude")
    right, signed = native.count_table, native._signed
    mutants = [
        ("count_table", lambda a, b, bits: right(b, a, bits)),
        ("count_table", lambda a, b, bits: right(a[1:], b[1:], bits)),
        ("count_table", lambda a, b, bits: right(a, a, bits)),
        ("_signed", lambda k, n, e, largest: signed(k, torch.zeros_like(n), e, largest)),
        ("_signed", lambda k, n, e, largest: signed(k, n, e, largest // 2)),
        ("_signed", lambda k, n, e, largest: signed((k - 1).clamp_min(0), n, e, largest)),
    ]
    for name, mutant in mutants:
        with monkeypatch.context() as patch:
            patch.setattr(native, name, mutant)
            assert not torch.equal(native.stream_sum(x, w, r, q, "sign_magnitude"), expected)
    assert torch.equal(native.stream_sum(x, w, r, q, "sign_magnitude"), expected)


@pytest.mark.parametrize("level", ["reference", *LEVELS])
@pytest.mark.parametrize("encoding", tuple(ENCODINGS))
def test_several_lengths_in_one_pass(level: str, encoding: str) -> None:
    generator = torch.Generator().manual_seed(6)
    x, w = _random((9, 21), 8, generator), _random((5, 21), 8, generator)
    pairs = [_numbers("sobol", length, 8) for length in (8, 16, 64)]
    pairs.append(_numbers("lfsr", 32, 5))  # another precision: its thresholds saturate
    pairs.append((torch.arange(6).repeat_interleave(21).view(6, 21), torch.ones(6, 21, dtype=torch.int64)))
    for chosen in (pairs[:4], pairs, []):
        with kernels.use_level(level):
            got = native.stream_sums(x, w, chosen, encoding)
        expected = [bit_true.stream_sum(x, w, r, q, encoding) for r, q in chosen]
        assert len(got) == len(expected)
        assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))
    r, q = pairs[0]
    torch.library.opcheck(torch.ops.bitprop.stream_sums.default, (*x, *w, [r, pairs[1][0]], [q, pairs[1][1]], encoding))
