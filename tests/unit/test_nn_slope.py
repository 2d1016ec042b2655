"""The local slope is what one step of a threshold really changes; in between it is interpolated."""

from __future__ import annotations

import pytest
import torch

from bitprop import kernels
from bitprop.nn import SCLinear
from bitprop.nn.bit_true import encode, stream_sum
from bitprop.nn.slope import LOCAL_LIMIT, Streams, local_slope
from bitprop.nn.sources import layer_sources

BITS, LENGTH = 6, 8
ENCODINGS = ("sign_magnitude", "bipolar", "unipolar")


def value_at(number: int, encoding: str) -> float:
    """The value whose probability is the middle between thresholds ``number`` and ``number + 1``."""
    probability = (number + 0.5) / (1 << BITS)
    return 2 * probability - 1 if encoding == "bipolar" else probability


def setting(
    encoding: str, correlated: bool, seed: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    sources = layer_sources("sobol", LENGTH, BITS)
    r = torch.from_numpy(sources.activation.sequence(LENGTH))
    q = r if correlated else torch.from_numpy(sources.weight.sequence(LENGTH))
    generator = torch.Generator().manual_seed(seed)
    low = 0.05 if encoding == "unipolar" else -0.95
    x = torch.rand(3, 4, generator=generator, dtype=torch.float64) * (0.95 - low) + low
    w = torch.rand(2, 4, generator=generator, dtype=torch.float64) * (0.95 - low) + low
    return x, w, r, q


def integers(value: torch.Tensor, encoding: str) -> tuple[torch.Tensor, torch.Tensor]:
    return encode((value * (1 << BITS)).round().long(), encoding, BITS)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("correlated", [False, True])
@pytest.mark.parametrize("which", ["x", "w"])
def test_at_a_level_it_is_the_difference_of_two_counts(encoding: str, correlated: bool, which: str, seed: int) -> None:
    x, w, r, q = setting(encoding, correlated, seed)
    numbers = r if which == "x" else q
    target = x if which == "x" else w
    scale = 2 if encoding == "bipolar" else 1  # two thresholds a unit of value
    for number in numbers.tolist():
        target[0, 1] = value_at(number, encoding)
        k_x, k_w = integers(x, encoding), integers(w, encoding)
        sums = []
        for threshold in (number, number + 1):
            (k_x if which == "x" else k_w)[0][0, 1] = threshold
            sums.append(stream_sum(k_x, k_w, r, q, encoding))
        x_leaf, w_leaf = x.clone().requires_grad_(), w.clone().requires_grad_()
        hard = sums[1].double() / LENGTH
        local_slope(x_leaf, w_leaf, hard, Streams(k_x, k_w, r, q, encoding, BITS)).sum().backward()
        leaf = x_leaf if which == "x" else w_leaf
        assert leaf.grad is not None
        step = (sums[1] - sums[0]).sum()
        assert float(leaf.grad[0, 1]) * scale == pytest.approx(float(step))


def test_between_levels_it_is_interpolated_and_beyond_it_is_constant() -> None:
    r = torch.tensor([0, 40, 20, 60])
    q = torch.tensor([10, 50, 30, 70])  # levels in the order of cycles 0, 2, 1, 3
    k_x = (torch.tensor([[30]]), torch.tensor([[0]]))  # on in cycles 0 and 2
    expected = {0.02: 1.0, (10.5 + 5) / 128: 1.0, 40.5 / 128: 0.5, 45.5 / 128: 0.25, 60.5 / 128: 0.0, 0.99: 0.0}
    for value, slope in expected.items():
        w = torch.tensor([[value]], dtype=torch.float64, requires_grad=True)
        k_w = encode((w.detach() * 128).round().long(), "unipolar", 7)
        hard = torch.zeros(1, 1, dtype=torch.float64)
        x = torch.tensor([[30 / 128]], dtype=torch.float64)
        local_slope(x, w, hard, Streams(k_x, k_w, r, q, "unipolar", 7)).sum().backward()
        assert w.grad is not None
        assert float(w.grad) == pytest.approx(slope)


def test_a_saturated_weight_has_no_slope_where_its_encoding_has_no_value() -> None:
    layer = SCLinear(3, 1, activation="logits", lengths=(8,), encodings=("unipolar",)).double()
    layer.weight.data = torch.tensor([[-0.5, 0.5, 0.25]], dtype=torch.float64)
    layer(torch.full((1, 3), 0.6, dtype=torch.float64)).sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad[0, 0] == 0
    assert layer.weight.grad[0, 1] != 0


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(("length", "same"), [(LOCAL_LIMIT, False), (LOCAL_LIMIT + 1, True)])
def test_long_streams_take_the_relaxed_slope(encoding: str, length: int, same: bool, seed: int) -> None:
    gradients = []
    for slope in ("local", "relaxed"):
        layer = SCLinear(20, 6, activation="logits", lengths=(length,), encodings=(encoding,), slope=slope).double()
        x = torch.rand(9, 20, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        layer(x).sum().backward()
        assert layer.weight.grad is not None
        gradients.append(layer.weight.grad)
    assert torch.equal(*gradients) is same


def _gradients(dtype: torch.dtype, encoding: str, length: int, kind: str, seed: int) -> list[torch.Tensor]:
    sources = layer_sources(kind, length, BITS)
    r, q = (torch.from_numpy(source.sequence(length)) for source in (sources.activation, sources.weight))
    generator = torch.Generator().manual_seed(seed)
    # beyond the encodings' ranges too, at both ends, and on levels; more columns than a kernel takes at once
    x, w = (torch.rand(rows, 19, generator=generator, dtype=dtype) * 2.4 - 1.2 for rows in (270, 7))
    x[0, :3], w[0, :3] = torch.tensor([-1.0, 0.0, 1.0], dtype=dtype), (q[0].to(dtype) + 0.5) / (1 << BITS)
    upstream = torch.randn(270, 7, generator=generator, dtype=dtype)
    x.requires_grad_()
    w.requires_grad_()
    streams = Streams(integers(x.detach(), encoding), integers(w.detach(), encoding), r, q, encoding, BITS)
    (local_slope(x, w, torch.zeros_like(upstream), streams) * upstream).sum().backward()
    assert x.grad is not None
    assert w.grad is not None
    return [x.grad, w.grad]


@pytest.mark.skipif(not kernels.levels()[1:], reason=kernels.why_not() or "none")
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_kernels_give_the_slopes_of_the_streams(dtype: torch.dtype, bound: float, encoding: str, seed: int) -> None:
    for kind, length in (("sobol", 1), ("sobol", 8), ("lfsr", 32), ("bernoulli", 32)):  # the last repeats numbers
        with kernels.use_level("reference"):
            expected = _gradients(dtype, encoding, length, kind, seed)
        found = {}
        for level in kernels.levels()[1:]:
            with kernels.use_level(level):
                found[level] = _gradients(dtype, encoding, length, kind, seed)
            for got, wanted in zip(found[level], expected, strict=True):
                assert float((got - wanted).abs().max()) <= bound * float(wanted.abs().max())
                # a value moved by one level has another slope: the comparison above sees it
                assert length == 1 or float((got.roll(1, 0) - wanted).abs().max()) > 0.01 * float(wanted.abs().max())
        for gradients in found.values():
            assert all(torch.equal(a, b) for a, b in zip(gradients, found["portable"], strict=True))


@pytest.mark.skipif(not kernels.levels()[1:], reason=kernels.why_not() or "none")
def test_the_kernel_refuses_what_it_could_not_index() -> None:
    def call(threshold: int = 3, number: int = 2, code: int = 0, inputs: int = 1) -> None:
        k = torch.tensor([[threshold]], dtype=torch.int32)
        numbers, out = torch.tensor([number]), torch.zeros(1, inputs)
        real = torch.zeros(1, 1)
        kernels.extension().local_slope(real, k, real, numbers, numbers, 3, code, out, 1)

    call()
    call(threshold=-8, code=1)
    wrongs: list[dict[str, int]] = [{"threshold": 9}, {"threshold": -1}, {"threshold": -9, "code": 1}]
    for wrong in (*wrongs, {"number": 8}, {"code": 3}, {"inputs": 2}):
        with pytest.raises(ValueError, match=":"):
            call(**wrong)
