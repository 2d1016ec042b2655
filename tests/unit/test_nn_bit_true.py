"""The torch mode against the reference interpreter and the plain formulas: equal integers, nothing less."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bitprop.errors import NotExportableError
from bitprop.formats import ENCODINGS, encode_value
from bitprop.graph.interpret import run
from bitprop.lower import lower
from bitprop.nn import SCNetwork
from bitprop.nn.bit_true import encode, mix_numbers, requantise, scale_constants, stream_sum
from bitprop.nn.sources import layer_sources

GENERATORS = ("sobol", "halton", "counter", "lfsr")


@pytest.mark.parametrize("encoding", tuple(ENCODINGS))
@pytest.mark.parametrize("bits", [3, 4, 8])
def test_encode_equals_formats(encoding: str, bits: int) -> None:
    values = torch.arange(-(1 << bits) - 5, (1 << bits) + 6)
    threshold, negative = encode(values, encoding, bits)
    expected = encode_value(values.numpy(), encoding, bits)
    assert np.array_equal(threshold.numpy(), expected[0])
    assert np.array_equal(negative.numpy(), expected[1])


def plain_sum(k_x: int, n_x: int, k_w: int, n_w: int, r: list[int], q: list[int], encoding: str) -> int:
    total = 0
    for a, b in zip(r, q, strict=True):
        x, w = a < k_x, b < k_w
        if encoding == "bipolar":
            total += 1 if x == w else -1
        elif x and w:
            total += -1 if n_x != n_w else 1
    return total


@given(
    st.sampled_from(tuple(ENCODINGS)),
    st.integers(1, 40),
    st.integers(0, 2**32 - 1),
)
def test_stream_sum_is_the_sum_over_cycles(encoding: str, length: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    one = 16
    x = torch.randint(-one, one + 1, (2, 3), generator=generator)
    w = torch.randint(-one, one + 1, (4, 3), generator=generator)
    r, q = (torch.randint(0, one, (length,), generator=generator) for _ in range(2))
    k_x, k_w = encode(x, encoding, 4), encode(w, encoding, 4)
    got = stream_sum(k_x, k_w, r, q, encoding)
    for b in range(2):
        for o in range(4):
            expected = sum(
                plain_sum(
                    int(k_x[0][b, i]),
                    int(k_x[1][b, i]),
                    int(k_w[0][o, i]),
                    int(k_w[1][o, i]),
                    r.tolist(),
                    q.tolist(),
                    encoding,
                )
                for i in range(3)
            )
            assert int(got[b, o]) == expected


@pytest.mark.parametrize("raw", [-256, -100, 0, 100, 256])
def test_mixing_shares_the_number_where_the_selector_is_below_the_threshold(raw: int) -> None:
    sources = layer_sources("sobol", 64, 8)
    r, s, t = (torch.from_numpy(x.sequence(64)) for x in (sources.activation, sources.weight, sources.correlation))
    q = mix_numbers(r, s, t, raw, 8)
    for cycle in range(64):
        if t[cycle] < abs(raw):
            assert q[cycle] == (r[cycle] if raw > 0 else 255 - r[cycle])
        else:
            assert q[cycle] == s[cycle]


@given(st.integers(-(2**40), 2**40), st.integers(1, 2**16 - 1), st.integers(1, 40))
def test_requantise_rounds_half_up(total: int, multiplier: int, shift: int) -> None:
    if abs(total) * multiplier >= 2**62:
        total //= 2**17
    got = int(requantise(torch.tensor([total]), multiplier, shift, -256, 256))
    exact = (total * multiplier * 2 + (1 << shift)) // (2 << shift)
    assert got == max(-256, min(256, exact))


@given(st.floats(1e-6, 1e4), st.integers(1, 4096), st.integers(3, 16), st.integers(2, 16))
def test_scale_constants_are_the_nearest_of_their_width(gain: float, length: int, bits: int, scale_bits: int) -> None:
    multiplier, shift = scale_constants(gain, length, bits, scale_bits)
    ratio = gain * 2**bits / length
    assert 1 <= multiplier < 1 << scale_bits
    assert 1 <= shift <= 40
    if 2 ** (scale_bits - 42) < ratio < 2 ** (scale_bits - 2):  # inside the representable range
        assert abs(multiplier / 2**shift - ratio) <= ratio * 2.0 ** (1 - scale_bits)


@pytest.mark.parametrize("generator", GENERATORS)
@pytest.mark.parametrize("encoding", tuple(ENCODINGS))
@pytest.mark.parametrize(("activation", "signed"), [("clamp01", False), ("hardtanh", True)])
@pytest.mark.parametrize(("length", "correlation", "bits"), [(7, 0.0, 8), (32, 0.4, 8), (1, -0.7, 5)])
def test_network_equals_the_lowered_program(
    generator: str, encoding: str, activation: str, signed: bool, length: int, correlation: float, bits: int, seed: int
) -> None:
    network = SCNetwork(
        (9, 6, 5, 4),
        signed_input=signed,
        activation=activation,
        lengths=(length,),
        encodings=(encoding,),
        correlation_range=(correlation, correlation),
        generator=generator,
        precision_bits=bits,
        seed=seed,
    )
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in network.sc_layers():
            layer.bias.uniform_(-0.5, 0.5, generator=draw)
            layer.weight.uniform_(-1, 1, generator=draw)
    x = torch.rand(50, 9, generator=draw) * (2 if signed else 1) - (1 if signed else 0)
    raw = network.input_integers(x)
    ours = network.forward_raw(raw)
    reference = run(lower(network), raw.numpy())
    for mine, theirs in zip(ours, reference.layers, strict=True):
        assert np.array_equal(mine.numpy(), theirs)
    assert np.array_equal(network.predict(x).numpy(), reference.decision)


@pytest.mark.parametrize("encoding", tuple(ENCODINGS))
def test_real_forward_is_the_integers_times_their_unit(encoding: str, seed: int) -> None:
    network = SCNetwork((9, 6, 4), lengths=(8,), encodings=(encoding,), seed=seed)
    x = torch.rand(20, 9, generator=torch.Generator().manual_seed(seed))
    hidden, logits = network.forward_raw(network.input_integers(x))
    first, last = network.sc_layers()
    assert torch.equal(first(x), hidden.float() / 256)
    assert torch.allclose(network(x), logits * last.gain.detach() / 8, rtol=0, atol=1e-5)


def test_a_design_with_ideal_random_bits_is_not_lowered() -> None:
    network = SCNetwork((4, 3, 2), generator="bernoulli")
    with pytest.raises(NotExportableError, match="sobol"):
        lower(network)
