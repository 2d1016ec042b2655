"""The native mixture of designs against the plain one: the same output, gradients up to rounding, at every level."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from bitprop import kernels
from bitprop.formats import ENCODINGS
from bitprop.nn import SCLinear
from bitprop.nn.bit_true import scale_constants
from bitprop.nn.design import Chosen
from bitprop.nn.mixture import Mixture, Numbers, _prepared

LEVELS = kernels.levels()[1:]
BOUNDS = {torch.float32: 1e-6, torch.float64: 1e-12}

pytestmark = pytest.mark.skipif(not LEVELS, reason=kernels.why_not() or "none")


def _layer(seed: int, dtype: torch.dtype, inputs: int, outputs: int, **options: Any) -> SCLinear:
    generator = torch.Generator().manual_seed(seed)
    layer = SCLinear(inputs, outputs, init=generator, **options).to(dtype)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=dtype)
    layer.dither = 0.3
    return layer


def _run(layer: SCLinear, x: Tensor, upstream: Tensor, level: str) -> list[Tensor]:
    """The output, then the gradients of x and of all parameters."""
    leaf = x.detach().clone().requires_grad_()
    layer.zero_grad()
    with kernels.use_level(level):
        out = layer(leaf)
        (out * upstream).sum().backward()
    assert leaf.grad is not None
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in layer.parameters()]
    return [out.detach(), leaf.grad, *gradients]


def _agree(got: list[Tensor], expected: list[Tensor], dtype: torch.dtype) -> bool:
    """Equal outputs, and gradients as near as rounding lets them be.

    The plain path adds up a scalar's gradient in single precision over all outputs, so it is itself no nearer there.
    """
    if not torch.equal(got[0], expected[0]):
        return False
    for a, b in zip(got[1:], expected[1:], strict=True):
        bound = BOUNDS[dtype] * (1 if b.dim() == 2 else 20)
        size = float(b.abs().max()) if b.numel() else 0.0
        if b.numel() and float((a - b).abs().max()) > bound * max(size, 1.0 if b.dim() < 2 else 0.0):
            return False
    return True


@st.composite
def _cases(draw: st.DrawFn) -> dict[str, Any]:
    low = draw(st.sampled_from([-0.5, -0.25, 0.0, 0.25]))
    return {
        "seed": draw(st.integers(0, 1 << 20)),
        "dtype": draw(st.sampled_from([torch.float32, torch.float64])),
        "temperature": draw(st.sampled_from([1.0, 0.3, 0.02])),
        "samples": draw(st.sampled_from([0, 1, 2, 5, 66])),
        "inputs": draw(st.sampled_from([1, 2, 15, 17, 33])),
        "outputs": draw(st.sampled_from([1, 3, 65])),
        "dither": draw(st.sampled_from([0.0, 0.3])),
        "options": {
            "activation": draw(st.sampled_from(["clamp01", "hardtanh", "logits"])),
            "lengths": tuple(sorted(draw(st.sets(st.sampled_from([1, 2, 7, 16, 32, 33, 64, 300]), min_size=1)))),
            "encodings": tuple(draw(st.permutations(sorted(ENCODINGS)))[: draw(st.integers(1, 3))]),
            "correlation_range": (low, low + draw(st.sampled_from([0.0, 0.25]))),
            "generator": draw(st.sampled_from(["sobol", "lfsr", "halton", "counter", "bernoulli"])),
            "layout": draw(st.sampled_from(["independent", "aligned"])),
            "slope": draw(st.sampled_from(["local", "relaxed"])),
            "precision_bits": draw(st.sampled_from([4, 8, 11])),
        },
    }


@settings(deadline=None, max_examples=40)
@given(_cases())
def test_any_layer(case: dict[str, Any]) -> None:
    options = dict(case["options"])
    if options["generator"] == "bernoulli":
        options["layout"] = "independent"
    dtype = case["dtype"]
    layer = _layer(case["seed"], dtype, case["inputs"], case["outputs"], **options)
    # the logits' gradients are a difference over the temperature: single precision rounds what a low one magnifies
    layer.design.temperature = max(case["temperature"], 0.0 if dtype == torch.float64 else 0.3)
    layer.dither = case["dither"]
    generator = torch.Generator().manual_seed(case["seed"])
    # beyond the range too, and on its ends
    x = torch.rand(case["samples"], case["inputs"], generator=generator, dtype=dtype) * 2.4 - 1.2
    x[torch.rand(x.shape, generator=generator) < 0.2] = 0.0
    x[torch.rand(x.shape, generator=generator) < 0.1] = 1.0
    upstream = torch.randn(case["samples"], case["outputs"], generator=generator, dtype=dtype)
    expected = _run(layer, x, upstream, "reference")
    found = [_run(layer, x, upstream, level) for level in LEVELS]
    assert all(_agree(got, expected, dtype) for got in found)
    # one order of every sum: all levels give the same bits
    assert all(torch.equal(a, b) for got in found[1:] for a, b in zip(found[0], got, strict=True))


@pytest.mark.parametrize("activation", ["clamp01", "logits"])
@pytest.mark.parametrize(
    ("log_gain", "bias"), [(-30.0, 1.0), (0.0, math.inf), (0.0, -math.inf), (-2.0, -1e12), (-27.2, 1e12), (3.0, 1e300)]
)
def test_preloads_are_bounded_alike(activation: str, log_gain: float, bias: float) -> None:
    layer = SCLinear(4, 3, init=torch.Generator().manual_seed(0), lengths=(15, 300), activation=activation).double()
    with torch.no_grad():
        layer.log_gain.fill_(log_gain)
        layer.bias.fill_(bias)
    x = torch.rand(5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected, *found = (
        _run(layer, x, torch.ones(5, 3, dtype=torch.float64), name)[0] for name in ("reference", *LEVELS)
    )
    assert all(torch.equal(got.nan_to_num(nan=-7.0), expected.nan_to_num(nan=-7.0)) for got in found)


@pytest.mark.parametrize("slope", ["relaxed", "local"])
@pytest.mark.parametrize("side", ["x", "weight"])
def test_what_is_not_a_number_shows_alike(side: str, slope: str) -> None:
    layer = SCLinear(4, 3, init=torch.Generator().manual_seed(0), lengths=(16,), slope=slope)
    x = torch.rand(2, 4, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        (x if side == "x" else layer.weight)[1, 1] = math.nan
    expected, *found = (_run(layer, x, torch.ones(2, 3), name)[0] for name in ("reference", *LEVELS))
    assert bool(expected.isnan().any()) == (slope == "relaxed")
    assert all(torch.equal(got.nan_to_num(nan=-7.0), expected.nan_to_num(nan=-7.0)) for got in found)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _mixed_layer(dtype: torch.dtype, lengths: tuple[int, ...] = (4, 8, 64)) -> tuple[SCLinear, Tensor, Tensor]:
    layer = _layer(
        1, dtype, 40, 70, lengths=lengths, encodings=("bipolar", "sign_magnitude"), correlation_range=(-0.2, 0.3)
    )
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(70, 80, generator=generator, dtype=dtype)[:, ::2]
    return layer, x, torch.randn(70, 70, generator=generator, dtype=dtype)


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("lengths", [(4, 8), (4, 8, 64)])
def test_threads_and_strides_do_not_matter(dtype: torch.dtype, lengths: tuple[int, ...]) -> None:
    layer, x, upstream = _mixed_layer(dtype, lengths)
    with _threads(1):
        expected = _run(layer, x.contiguous(), upstream, LEVELS[-1])
    for threads in (2, 3):
        with _threads(threads):
            got = _run(layer, x, upstream.t().contiguous().t(), LEVELS[-1])
        assert _agree(got, expected, dtype)
        # slopes of long streams are PyTorch's products, whose sums may go another way with other threads
        if max(lengths) < 64:
            assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


@pytest.mark.parametrize("dtype", BOUNDS)
def test_large_batches_are_taken_in_parts(dtype: torch.dtype) -> None:
    layer = _layer(3, dtype, 9, 5, lengths=(4, 8, 64), encodings=("bipolar", "unipolar"), correlation_range=(0.0, 0.3))
    generator = torch.Generator().manual_seed(4)
    x = torch.rand(1030, 9, generator=generator, dtype=dtype) * 2.4 - 1.2
    upstream = torch.randn(1030, 5, generator=generator, dtype=dtype)
    expected = _run(layer, x, upstream, "reference")
    found = [_run(layer, x, upstream, level) for level in LEVELS]
    assert all(_agree(got, expected, dtype) for got in found)
    assert all(torch.equal(a, b) for got in found[1:] for a, b in zip(found[0], got, strict=True))
    # without the last sample something is missing
    short = _run(layer, x[:-1], upstream[:-1], LEVELS[-1])
    assert not _agree([expected[0], expected[1], *short[2:]], expected, dtype)


@pytest.mark.parametrize(
    ("inputs", "length", "sign", "each"), [(7, 4681, 1, 2), (8, 4096, 1, 4), (8, 4096, -1, 2), (3, 10923, -1, 4)]
)
@pytest.mark.parametrize("level", LEVELS)
def test_sums_are_kept_in_16_bits_where_they_fit(level: str, inputs: int, length: int, sign: int, each: int) -> None:
    """The largest and the smallest number of 16 bits, and those next beyond, in the second part of a batch."""
    layer = _layer(5, torch.float64, inputs, 2, lengths=(length,), activation="logits")
    with torch.no_grad():
        layer.weight.fill_(float(sign))
    x = torch.full((513, inputs), 0.25, dtype=torch.float64)
    x[-1] = 1.0
    upstream = torch.zeros(513, 2, dtype=torch.float64)
    upstream[-1] = 1.0
    expected, got = (_run(layer, x, upstream, name) for name in ("reference", level))
    assert _agree(got, expected, torch.float64)
    with kernels.use_level(level):
        step = layer(x).grad_fn.rest[2]
    assert step.bytes == 512 * 2 * 2 + 1 * 2 * each
    # a sum that lost its upper bits moves the gain's gradient by 2**16 of the sums' units
    at = 2 + [name for name, _ in layer.named_parameters()].index("log_gain")
    lost = 2 * float(layer.gain.detach()) * 65536 / length
    assert not _agree([*got[:at], got[at] - sign * lost, *got[at + 1 :]], expected, torch.float64)


def test_a_length_goes_on_where_the_one_before_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where sequences begin alike; the tables of the rest are taken where they are cheaper."""
    options: dict[str, Any] = {"lengths": (8, 16, 32, 64), "correlation_range": (-0.2, 0.3), "generator": "halton"}
    layer = _layer(6, torch.float64, 40, 7, encodings=("bipolar", "sign_magnitude"), **options)
    generator = torch.Generator().manual_seed(7)
    x = torch.rand(9, 40, generator=generator, dtype=torch.float64) * 2 - 1
    upstream = torch.randn(9, 7, generator=generator, dtype=torch.float64)
    given: list[list[int]] = []

    def spied(*arguments: Any) -> Any:
        found = _prepared(*arguments)
        given.append(found.goes_on)
        return found

    monkeypatch.setattr("bitprop.nn.mixture._prepared", spied)
    for dither, goes_on in ((0.3, [0, 0, 0, 0]), (0.0, [0, 0, 1, 1])):
        layer.dither = dither
        expected = _run(layer, x, upstream, "reference")
        given.clear()
        found = [_run(layer, x, upstream, level) for level in LEVELS]
        assert given == [goes_on] * len(LEVELS)
        assert all(_agree(got, expected, torch.float64) for got in found)
    # sequences that begin otherwise, taken for ones that begin alike
    layer.dither = 0.3
    expected = _run(layer, x, upstream, "reference")
    with monkeypatch.context() as patch:
        patch.setattr("bitprop.nn.mixture._begins", lambda *_: True)
        _prepared.cache_clear()
        wrong = _run(layer, x, upstream, LEVELS[-1])
        assert given[-1] == [0, 0, 1, 1]
    _prepared.cache_clear()
    assert not torch.equal(wrong[0], expected[0])


def test_what_needs_no_gradient_gets_none() -> None:
    layer, x, upstream = _mixed_layer(torch.float64)
    expected = _run(layer, x, upstream, LEVELS[-1])
    layer.weight.requires_grad_(False)
    layer.zero_grad()
    (layer(x) * upstream).sum().backward()
    assert layer.weight.grad is None
    assert layer.bias.grad is not None
    names = [name for name, _ in layer.named_parameters()]
    assert torch.equal(layer.bias.grad, expected[2 + names.index("bias")])
    with torch.no_grad():
        assert torch.equal(layer(x), expected[0])


def test_signs_that_are_still_to_be_turned_are_turned() -> None:
    """The imaginary part of a conjugate is such a tensor: other memory, and a flag."""
    layer, x, upstream = _mixed_layer(torch.float32)
    expected = _run(layer, x, upstream, LEVELS[-1])
    flagged, given = (torch._neg_view(-side.contiguous()) for side in (x, upstream))
    assert flagged.is_neg()
    assert flagged.is_contiguous()
    assert torch.equal(flagged, x)
    layer.zero_grad()
    leaf = flagged.clone().requires_grad_()
    out = layer(flagged)
    assert torch.equal(out.detach(), expected[0])
    layer(leaf).backward(given)
    assert leaf.grad is not None
    assert torch.equal(leaf.grad, expected[1])


def test_what_is_not_a_number_is_seen() -> None:
    layer, x, _ = _mixed_layer(torch.float32)
    with torch.no_grad():
        layer.bias[1] = float("nan")
    for level in ("reference", *LEVELS):
        with kernels.use_level(level):
            assert layer(x).isnan().any(0).nonzero().tolist() == [[1]]


def test_planted_errors_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sequences, signs, limits, slopes of other designs: the comparison must see each."""
    layer, x, upstream = _mixed_layer(torch.float64)
    layer.design.temperature = 0.5
    expected = _run(layer, x, upstream, "reference")

    def chosen(given: Chosen, temperature: float, **changed: list[float]) -> Chosen:
        probabilities = changed.get("probabilities", given.probabilities)
        return Chosen(torch.tensor(probabilities, dtype=torch.float64), temperature, 0.0)

    mutants = [
        lambda m: m._replace(numbers=tuple(Numbers(each.s, each.r, each.t) for each in m.numbers)),
        lambda m: m._replace(correlation_raw=m.correlation_raw + 40),
        lambda m: m._replace(encodings=m.encodings[::-1]),
        lambda m: m._replace(limits=(m.limits[0], m.limits[1] - 1)),
        lambda m: m._replace(scale_bits=2),
        lambda m: m._replace(shares=(chosen(m.shares[0], 1.0), m.shares[1])),
        lambda m: m._replace(shares=(m.shares[0], chosen(m.shares[1], 1.0))),
        lambda m: m._replace(
            shares=(chosen(m.shares[0], 0.5, probabilities=m.shares[0].probabilities[::-1]), m.shares[1])
        ),
        lambda m: m._replace(local=(False, *m.local[1:])),
        lambda m: m._replace(local=tuple(True for _ in m.local)),
        lambda m: m._replace(soft=lambda x, encoding: m.soft(x, m.encodings[0])),
    ]
    for number, mutant in enumerate(mutants):
        with monkeypatch.context() as patch:
            patch.setattr("bitprop.nn.linear.Mixture", lambda mutant=mutant, **fields: mutant(Mixture(**fields)))
            assert not _agree(_run(layer, x, upstream, LEVELS[-1]), expected, torch.float64), number
    for slope in (lambda m: (1,), lambda m: (-1,)):
        with monkeypatch.context() as patch:
            patch.setattr(Mixture, "signs", slope)
            sign = slope(None)[0] * float(layer.design.correlation().detach())
            wrong = not _agree(_run(layer, x, upstream, LEVELS[-1]), expected, torch.float64)
            assert wrong == (sign < 0)
    assert _agree(_run(layer, x, upstream, LEVELS[-1]), expected, torch.float64)


def test_the_extension_refuses_what_does_not_fit() -> None:
    native = kernels.extension()
    numbers = np.array([0, 1], np.int64)

    def call(**changed: Any) -> None:
        fields: dict[str, Any] = {
            "codes": [1],
            "lengths": [2],
            "scale_bits": 8,
            "limits": [0, 8],
            "bits": 3,
            "tables": 1,
            "goes_on": [0],
            "signs": [],
            "local": [1],
            "numbers": np.concatenate([numbers, numbers]),
            "shares": [1.0],
            "sizes": (1, 2, 1),
            "back": (1, 2, 1),
            "twice": True,
        } | changed
        tables = [native.CountTable(numbers, numbers, 3)] * fields["tables"]
        of_design, of_length = ("codes", "lengths", "scale_bits", "limits", "bits"), ("goes_on", "signs", "local")
        rest = *(fields[name] for name in of_length), fields["numbers"]
        designs = native.Designs(*(fields[name] for name in of_design), tables, *rest)
        sizes = fields["sizes"]
        x, w, bias, out = np.zeros((1, 2)), np.zeros((1, 2)), np.zeros(1), np.zeros((1, 1))
        given = tuple(side.ctypes.data for side in (x, w, bias))
        step = native.mixture(designs, fields["shares"], 1.0, 1.0, True, sizes, *given, out.ctypes.data, 1)
        found = tuple(np.zeros_like(side).ctypes.data for side in (x, w, bias, out))
        native.mixture_back(designs, step, fields["twice"], fields["back"], out.ctypes.data, *given, *found, 1)

    call()
    wrongs: list[dict[str, Any]] = [
        {"codes": [3]},
        {"shares": [1.0, 2.0]},
        {"lengths": [3]},
        {"lengths": [2**31]},
        {"scale_bits": 1},
        {"scale_bits": 17},
        {"limits": [0]},
        {"bits": 4},
        {"sizes": (1, 2)},
        {"sizes": (1, 0, 1)},
        {"sizes": (1, 65537, 1)},
        {"back": (600, 2, 1)},
        {"back": (1, 2, 2)},
        {"twice": False},
        {"tables": 2},
        {"goes_on": []},
        {"goes_on": [1]},
        {"signs": [1]},
        {"numbers": numbers},
        {"numbers": np.array([0, 1, 0, 8])},
        {"local": []},
    ]
    for wrong in wrongs:
        with pytest.raises(ValueError, match=r":|scales"):
            call(**wrong)


@given(
    st.floats(0.0, 1e300) | st.floats(1e-6, 1e6),
    st.integers(1, 1 << 16),
    st.integers(1, 16),
    st.integers(2, 16),
)
@settings(deadline=None, max_examples=300)
@example(gain=5e-324, length=1, bits=8, scale_bits=8)
@example(gain=255.5 / 256, length=1, bits=8, scale_bits=8)
def test_scales_are_the_references(gain: float, length: int, bits: int, scale_bits: int) -> None:
    expected = scale_constants(gain, length, bits, scale_bits)
    assert kernels.extension().scale_constants(gain, length, bits, scale_bits) == expected
    # a little more than a unit of the multiplier more is seen
    multiplier, shift = expected
    if 1 < multiplier < (1 << scale_bits) - 1 and shift < 40:
        more = gain + 1.25 * 2.0**-shift * length / (1 << bits)
        assert kernels.extension().scale_constants(more, length, bits, scale_bits) != expected
