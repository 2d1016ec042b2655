"""Products with inputs that are mostly zero: every bit of the library's product, gradients to rounding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bitprop import kernels
from bitprop.nn import SpikingNetwork
from bitprop.nn.neuron import _sparse
from bitprop.verification.kernel_parity import check_native_kernels

pytestmark = pytest.mark.skipif(kernels.extension() is None, reason=f"no native kernels: {kernels.why_not()}")
fused = pytest.mark.skipif(len(kernels.levels()) < 3, reason="no fused multiply-adds on this machine")


@pytest.fixture(autouse=True)
def _small_ones_too(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(_sparse, "_LEAST_PRODUCTS", 1)
    monkeypatch.setattr(_sparse, "_LEAST_WIDTH", 1)
    _sparse.forget()
    yield
    _sparse.forget()


def numbers(*shape: int, share: float = 0.15, seed: int = 0) -> Tensor:
    """That share of them, evenly spread, is not zero."""
    generator = torch.Generator().manual_seed(seed)
    values = 4.0 * torch.rand(shape, generator=generator) - 2.0
    return values * (torch.rand(shape, generator=generator) < share)


def product(x: Tensor, layer: nn.Linear) -> tuple[Tensor, Any]:
    out = torch.full((len(x), layer.out_features), torch.nan)
    with torch.no_grad():
        rows = _sparse.linear(x, layer.weight, layer.bias, out)
    return out, rows


def layer_of(inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, bias=bias)
    with torch.no_grad():
        for n, parameter in enumerate(layer.parameters()):
            parameter.copy_(numbers(*parameter.shape, share=1.0, seed=7 + n))
    return layer


@pytest.mark.parametrize(
    ("rows", "inputs", "outputs"),
    [(320, 784, 256), (97, 784, 1024), (500, 100, 256), (48, 17, 3), (1, 33, 64), (300, 512, 300), (7, 1000, 128)],
)
@pytest.mark.parametrize("bias", [True, False])
def test_every_bit_of_the_library(rows: int, inputs: int, outputs: int, bias: bool) -> None:
    """Whether lists are used or not."""
    x, layer = numbers(rows, inputs), layer_of(inputs, outputs, bias=bias)
    for _ in range(2):
        out, _rows = product(x, layer)
        assert torch.equal(out, layer(x))


@fused
def test_lists_are_used_where_the_order_is_known() -> None:
    """In the shapes that training has, with the library that is pinned."""
    for shape in ((3200, 784), (640, 784)):
        x, layer = numbers(*shape), layer_of(784, 256)
        out, rows = product(x, layer)
        assert rows is not None
        assert rows.complete
        assert rows.count == int((x != 0.0).sum())
        assert torch.equal(out, layer(x))


def _listed(x: Tensor, segment: int = 384) -> Any:
    found = _sparse.lists(x, segment)
    assert found is not None
    return found


@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(320, 784, 256), (97, 50, 300), (5, 17, 3), (48, 65, 128)])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_gradients_and_threads(rows: int, inputs: int, outputs: int, threads: int) -> None:
    x, g = numbers(rows, inputs), numbers(rows, outputs, share=1.0, seed=3)
    expected = g.double().t() @ x.double()
    one = _sparse.weight_gradient(_listed(x), g, x)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        found = _sparse.weight_gradient(_listed(x), g, x)
        assert torch.equal(found, one)
        layer = layer_of(inputs, outputs)
        out, again = torch.empty(rows, outputs), torch.empty(rows, outputs)
        with torch.no_grad():
            assert _sparse._try(_listed(x), layer.weight, layer.bias, out)
            torch.set_num_threads(1)
            assert _sparse._try(_listed(x), layer.weight, layer.bias, again)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(out, again)
    assert float((found - expected).norm() / expected.norm()) < 2e-7
    assert float((found - expected).abs().max()) < 1e-6 * max(1.0, float(expected.abs().max()))


def test_every_level_gives_the_same_bits() -> None:
    x, g, layer, found = numbers(130, 77), numbers(130, 140, share=1.0), layer_of(77, 140), []
    for level in kernels.levels()[1:]:
        with kernels.use_level(level), torch.no_grad():
            rows, out = _listed(x, 40), torch.empty(130, 140)
            assert _sparse._try(rows, layer.weight, layer.bias, out)
            found.append((out, _sparse.weight_gradient(rows, g, x)))
    for out, gradient in found[1:]:
        assert torch.equal(out, found[0][0])
        assert torch.equal(gradient, found[0][1])


@pytest.mark.parametrize("bad", [torch.inf, -torch.inf, torch.nan])
def test_numbers_that_are_not_finite(bad: float) -> None:
    """Zero times infinity is NaN, where the library computes it."""
    x, layer, g = numbers(320, 784), layer_of(784, 256), numbers(320, 256, share=1.0)
    product(x, layer)
    g[100, 17] = bad
    torch.testing.assert_close(
        _sparse.weight_gradient(_listed(x), g, x), g.t() @ x, rtol=1e-5, atol=1e-5, equal_nan=True
    )
    x[5, 9] = bad
    assert torch.equal(product(x, layer)[0].isnan(), layer(x).isnan())
    layer.weight.data[200, 700] = bad
    assert bool(torch.equal(product(x, layer)[0].isnan(), layer(x).isnan()))
    assert product(x, layer)[1] is None


@fused
def test_where_the_library_is_called() -> None:
    layer = layer_of(784, 256)

    def used(x: Tensor, layer: nn.Linear = layer) -> bool:
        out, rows = product(x, layer)
        assert torch.equal(out, layer(x))
        return rows is not None

    x = numbers(320, 784)
    assert used(x)
    assert not used(numbers(320, 784, share=1.0))
    assert not used(torch.cat([x[:-1], torch.ones(1, 784)]).repeat_interleave(48, 0))  # one chunk is full
    assert used(numbers(320, 784, share=0.25))
    assert not used(numbers(320, 784, share=0.4))
    assert not used(numbers(784, 320).t())
    assert not used(torch.cat([numbers(1), x.flatten()])[1:].view(320, 784))
    with kernels.use_level("portable"):
        assert not used(x)


def test_a_library_with_another_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong orders, and a kernel that is wrong, are found out; the result is the library's."""
    x, layer = numbers(320, 784), layer_of(784, 256)
    monkeypatch.setattr(_sparse, "ORDERS", (100, 391))
    out, rows = product(x, layer)
    assert rows is None
    assert torch.equal(out, layer(x))
    monkeypatch.undo()
    _sparse.forget()
    real = kernels.extension()

    class Wrong:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def sparse_multiply(self, rows: Any, weight: Any, bias: Any, out: Any, threads: int) -> bool:
            held = torch.utils.dlpack.from_dlpack(out)
            done = real.sparse_multiply(rows, weight, bias, torch.utils.dlpack.to_dlpack(held), threads)
            held[-1, -1] = torch.nextafter(held[-1, -1], torch.tensor(9.0))
            return bool(done)

    monkeypatch.setattr(kernels, "extension", Wrong)
    monkeypatch.setattr(_sparse, "_LEAST_PRODUCTS", 1)
    out, rows = product(x, layer)
    assert rows is None
    assert torch.equal(out, layer(x))


def test_settings_are_tried_apart() -> None:
    x, layer = numbers(320, 784), layer_of(784, 256)
    product(x, layer)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        out, _rows = product(x, layer)
        assert torch.equal(out, layer(x))
    finally:
        torch.set_float32_matmul_precision(before)


@fused
def test_a_batch_that_is_not_finite_teaches_nothing() -> None:
    x, layer = numbers(640, 784), layer_of(784, 256)
    bad = x.clone()
    bad[3, 5] = torch.nan
    assert product(bad, layer)[1] is None
    assert not _sparse._found
    assert product(x, layer)[1] is not None


@fused
def test_trials_come_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sparse, "_MOST_TRIED", 1)
    layer = layer_of(784, 256)
    for rows, used in ((640, True), (960, False), (640, True)):
        x = numbers(rows, 784)
        out, lists = product(x, layer)
        assert (lists is not None) == used
        assert torch.equal(out, layer(x))


def test_a_precision_of_one_backend() -> None:
    backend = torch.backends.mkldnn.matmul
    before = backend.fp32_precision
    x, layer = numbers(640, 784), layer_of(784, 256)
    try:
        backend.fp32_precision = "bf16"
        out, _ = product(x, layer)
        assert torch.equal(out, layer(x))
    finally:
        backend.fp32_precision = before


@fused
def test_lists_are_freed_by_the_backward_pass() -> None:
    network = SpikingNetwork((784, 256, 10))
    loss = network((numbers(5, 128, 784) != 0.0).float())[0].sum()

    def held() -> int:
        nodes, count = [loss.grad_fn], 0
        for node in nodes:
            count += getattr(node, "rows", None) is not None
            nodes += [before for before, _ in node.next_functions if before is not None]
        return count

    assert held()
    loss.backward()
    assert not held()


def _gradients(network: SpikingNetwork, x: Tensor) -> list[Tensor]:
    network.zero_grad()
    network(x)[0].sum().backward()
    return [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]


@fused
def test_hooks_get_everything_that_is_saved() -> None:
    """Nothing is kept beside what they were given, and that stays as it was."""
    network, x = SpikingNetwork((784, 256, 10)), (numbers(5, 128, 784) != 0.0).float()
    expected = _gradients(network, x)
    packed: list[tuple[Tensor, Tensor]] = []

    def pack(tensor: Tensor) -> int:
        packed.append((tensor, tensor.clone()))
        return len(packed) - 1

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda n: packed[n][0]):
        found = _gradients(network, x)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert packed
    assert all(torch.equal(given, then) for given, then in packed)
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: t, lambda t: torch.zeros_like(t) if t.shape == x.shape else t
    ):
        found = _gradients(network, x)
    assert bool((expected[0] != 0.0).any())
    assert not bool((found[0] != 0.0).any())


@fused
def test_checkpoints_have_the_same_gradients() -> None:
    network, x = SpikingNetwork((784, 256, 10)), (numbers(5, 128, 784) != 0.0).float()
    expected = _gradients(network, x)
    network.zero_grad()
    checkpoint(network, x, use_reentrant=False)[0].sum().backward()
    for parameter, gradient in zip(network.parameters(), expected, strict=True):
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, gradient)


def test_what_the_kernels_refuse() -> None:
    native, x = kernels.extension(), numbers(4, 8)
    for shape, segment, most in (((4, 8), 0, 9), ((4, 8), 8, 0), ((4, 8), 8, 385), ((32,), 8, 9)):
        with pytest.raises(ValueError, match=r"\w"):
            native.SparseRows(x.view(shape), segment, most, 1)
    rows = native.SparseRows(x, 8, 100, 1)
    for weight, out in ((torch.zeros(3, 7), torch.zeros(4, 3)), (torch.zeros(3, 8), torch.zeros(4, 4))):
        with pytest.raises(ValueError, match=r"\w"):
            native.sparse_multiply(rows, weight, None, out, 1)
        with pytest.raises(ValueError, match=r"\w"):
            native.sparse_gradient(rows, torch.zeros(3, 5), out, 1)
    full = native.SparseRows(torch.ones(4, 8), 8, 31, 1)
    assert not full.complete
    with pytest.raises(ValueError, match="complete"):
        native.sparse_multiply(full, torch.zeros(3, 8), None, torch.zeros(4, 3), 1)


@pytest.mark.parametrize("neuron", ["lif", "adaptive_lif"])
def test_networks(neuron: str) -> None:
    """A training step of a network, beside its single modules and beside the reference."""
    net = SpikingNetwork((40, 64, 64, 5), neuron=neuron, surrogate="atan", seed=1)
    x = 2.0 * (numbers(9, 16, 40) != 0.0).float()
    used: list[bool] = []
    with pytest.MonkeyPatch.context() as patch:
        real = _sparse.linear
        patch.setattr(_sparse, "linear", lambda *given: used.append((rows := real(*given)) is not None) or rows)
        assert check_native_kernels(net, x, tolerance=2e-6).status == "PASS"
    assert used
    assert any(used) or len(kernels.levels()) < 3


def test_mutant_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gradient that misses an input is refused."""
    if len(kernels.levels()) < 3:
        pytest.skip("no fused multiply-adds on this machine")
    real = _sparse.weight_gradient

    def wrong(rows: Any, g: Tensor, x: Tensor) -> Tensor:
        found = real(rows, g, x)
        if rows is not None:
            found[:, 3] *= 1.001
        return found

    net = SpikingNetwork((40, 64, 5), seed=1)
    x = 2.0 * (numbers(9, 16, 40) != 0.0).float()
    assert check_native_kernels(net, x, tolerance=2e-6).status == "PASS"
    monkeypatch.setattr(_sparse, "weight_gradient", wrong)
    assert check_native_kernels(net, x, tolerance=2e-6).status == "FAIL"
