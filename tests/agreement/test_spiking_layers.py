"""A dense layer and its neurons in one native call: when it is made, and that it changes nothing but the time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bitprop import kernels
from bitprop.nn import SpikingConvNetwork, SpikingNetwork
from bitprop.nn.neuron import LIF, _eager, _layer
from bitprop.surrogate import SURROGATES
from bitprop.verification.kernel_parity import check_native_kernels

pytestmark = pytest.mark.skipif(kernels.extension() is None, reason=f"no native kernels: {kernels.why_not()}")

STEPS, BATCH, WIDTHS = 7, 5, (12, 33, 16, 4)


def build(**options: Any) -> SpikingNetwork:
    return SpikingNetwork(WIDTHS, seed=1, **options)


def current(*shape: int, seed: int = 0) -> Tensor:
    return 3.0 * torch.rand(shape, generator=torch.Generator().manual_seed(seed))


X = current(STEPS, BATCH, WIDTHS[0])


def outcome(net: Any, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs, and gradients of a loss that takes part of each, by input and parameters."""
    leaf = x.clone().requires_grad_()
    out = net(leaf)
    generator = torch.Generator().manual_seed(2)
    values = [out.logits, out.trace, *out.spikes]
    loss = sum((torch.randn(y.shape, generator=generator) * y).sum() for y in values)
    return values, list(torch.autograd.grad(loss, [leaf, *net.parameters()]))


@contextmanager
def apart() -> Iterator[None]:
    """Layers and neurons called one by one, by the kernels still."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bitprop.nn.spiking.dense", lambda *_: None)
        yield


def is_joined(net: Any, x: Tensor = X) -> bool:
    """Whether the trace comes of the one call."""
    return type(net(x.clone().requires_grad_()).trace.grad_fn).__name__ == "SpikingLayerBackward"


def agree(net: Any, x: Tensor) -> None:
    values, gradients = outcome(net, x)
    with apart():
        assert not is_joined(net, x)
        expected, expected_gradients = outcome(net, x)
    assert all(torch.equal(a, b) for a, b in zip(values, expected, strict=True))
    for found, wanted in zip(gradients, expected_gradients, strict=True):
        assert float((found - wanted).norm()) <= 2e-6 * float(wanted.norm())


@pytest.mark.parametrize("neuron", ["lif", "synaptic", "adaptive_lif"])
def test_every_reset_delay_and_attachment(neuron: str) -> None:
    for reset, attached, delay in itertools.product(("soft", "none"), (True, False), (0, 1)):
        net = build(neuron=neuron, reset=reset, reset_attached=attached, reset_delay=delay)
        assert is_joined(net)
        agree(net, X)
        assert check_native_kernels(net, X, tolerance=2e-6).status == "PASS"


@pytest.mark.parametrize("surrogate", sorted(SURROGATES))
def test_every_surrogate(surrogate: str) -> None:
    agree(build(surrogate=surrogate), X)


def test_threads_and_long_rows_change_nothing() -> None:
    net = SpikingNetwork((6, 1500, 4), seed=0)
    x = current(60, 50, 6)  # 4.5 million numbers: rows of both lengths
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            layer, neuron = net.layers[0], net.neurons[0]
            with torch.no_grad():
                out = _layer.dense(layer, neuron, x)
                assert out is not None
                assert torch.equal(out, neuron(layer(x.flatten(0, 1)).unflatten(0, x.shape[:2]))[0])
            found.append(out)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)


def test_spikes_written_past_the_caches() -> None:
    """Large results take another way to memory: the same as of parts of the batch, that are small."""
    layer, neuron, x = nn.Linear(3, 1_101, bias=False), LIF(), current(31, 31, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.arange(3_303.0).remainder(7.0).view(1_101, 3) / 8.0)
        x = x.mul(4.0).round()  # sums are exact, however many rows a product has
        for level in kernels.levels()[1:]:
            with kernels.use_level(level):
                out = _layer.dense(layer, neuron, x)
                parts = [_layer.dense(layer, neuron, part.contiguous()) for part in x.split(16, dim=1)]
            assert out is not None
            assert torch.equal(out, torch.cat(parts, dim=1))


def test_every_level_gives_the_same_bits() -> None:
    found = []
    for level in kernels.levels()[1:]:
        with kernels.use_level(level):
            values, gradients = outcome(build(surrogate="atan"), X)
            found.append([*values, *gradients])
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_the_graph_may_be_used_twice() -> None:
    """The gradients take the place of the slopes only in a backward pass that is the last."""
    net = build()
    loss = net(X).logits.square().sum()
    first = torch.autograd.grad(loss, list(net.parameters()), retain_graph=True)
    second = torch.autograd.grad(loss, list(net.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_gradients_by_spikes() -> None:
    """Spikes are a part of the graph, as of a network of single modules."""
    net = build()
    out = net(X)
    out.spikes[0].retain_grad()
    out.logits.square().sum().backward()
    with apart():
        other = net(X)
        other.spikes[0].retain_grad()
        other.logits.square().sum().backward()
    torch.testing.assert_close(out.spikes[0].grad, other.spikes[0].grad, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("frozen", [("layers.0.weight",), ("layers.0.weight", "layers.0.bias"), ("layers.1.bias",)])
def test_frozen_parameters(frozen: tuple[str, ...]) -> None:
    net, whole = build(), build()
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name not in frozen)
    for each in (net, whole):
        each(X).logits.square().sum().backward()
    for (name, a), b in zip(net.named_parameters(), whole.parameters(), strict=True):
        assert (a.grad is None) == (name in frozen)
        assert a.grad is None or b.grad is None or torch.equal(a.grad, b.grad)


def test_layers_without_a_bias_and_views() -> None:
    net = build()
    net.layers[1].bias = None
    agree(net, X)
    assert is_joined(net)
    strided = current(BATCH, STEPS, WIDTHS[0]).transpose(0, 1)
    agree(net, strided)


def test_second_derivatives() -> None:
    net = SpikingNetwork((4, 6, 3), surrogate="sigmoid", seed=1)
    x, found = current(5, 2, 4), []
    for context in (nullcontext(), apart()):
        with context:
            leaf = x.clone().requires_grad_()
            first = torch.autograd.grad(net(leaf).logits.square().sum(), [leaf, *net.parameters()], create_graph=True)
            second = torch.autograd.grad(sum(g.square().sum() for g in first), [leaf, *net.parameters()])
            found.append((first, second))
    for expected, got in zip(*(itertools.chain(*pair) for pair in reversed(found)), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_batched_gradients_and_transforms() -> None:
    net = build(surrogate="atan")
    parameters = dict(net.named_parameters())

    def loss(given: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(net, given, X).logits.square().sum()

    found = torch.func.grad(loss)(parameters)
    expected = torch.autograd.grad(loss(parameters), list(parameters.values()))
    for got, wanted in zip(found.values(), expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6)
    out = net(X).logits
    cotangents = current(3, *out.shape, seed=1)
    (several,) = torch.autograd.grad(out, net.layers[0].weight, cotangents, is_grads_batched=True, retain_graph=True)
    each = [torch.autograd.grad(out, net.layers[0].weight, c, retain_graph=True)[0] for c in cotangents]
    torch.testing.assert_close(several, torch.stack(each), rtol=1e-5, atol=1e-6)


def test_modes_in_the_backward_pass_see_operations() -> None:
    seen: list[str] = []

    class Watching(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(str(function))
            return function(*args, **(kwargs or {}))

    net = build()
    out = net(X).logits.square().sum()
    with Watching():
        found = torch.autograd.grad(out, list(net.parameters()))
    assert any("mul" in name for name in seen)
    expected = torch.autograd.grad(net(X).logits.square().sum(), list(net.parameters()))
    for got, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


# --- where the modules are called one by one --------------------------------------------------------------------------


class _Scaled(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return 2.0 * super().forward(x)


class _Watching(torch.overrides.TorchFunctionMode):
    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return function(*args, **(kwargs or {}))


def _hooked(net: SpikingNetwork) -> None:
    net.layers[-1].register_forward_hook(lambda _m, _i, out: 2.0 * out)


def _pre_hooked(net: SpikingNetwork) -> None:
    net.integrator.register_forward_pre_hook(lambda _m, given: (2.0 * given[0],))


def _backward_hooked(net: SpikingNetwork) -> None:
    net.layers[-1].register_full_backward_hook(lambda _m, given, _g: tuple(2.0 * g for g in given))


def _replaced(net: SpikingNetwork) -> None:
    net.layers[-1] = _Scaled(WIDTHS[-2], WIDTHS[-1])


def _patched(net: SpikingNetwork) -> None:
    net.layers[-1].forward = lambda x: 2.0 * nn.Linear.forward(net.layers[-1], x)  # type: ignore[arg-type]


def _parametrized(net: SpikingNetwork) -> None:
    torch.nn.utils.parametrizations.weight_norm(net.layers[-1])


def _learned(net: SpikingNetwork) -> None:
    net.integrator = type(net.integrator)(0.8, learn_beta=True)


@pytest.mark.parametrize(
    "change", [_hooked, _pre_hooked, _backward_hooked, _replaced, _patched, _parametrized, _learned]
)
def test_changed_modules_are_called(change: Callable[[SpikingNetwork], None]) -> None:
    net = build()
    assert is_joined(net)
    change(net)
    assert not is_joined(net)
    agree(net, X)


@pytest.mark.parametrize(
    "context",
    [
        _Watching(),
        torch.autocast("cpu", torch.bfloat16),
        torch.autograd.forward_ad.dual_level(),
        kernels.use_level("reference"),
    ],
    ids=["function mode", "autocast", "forward mode", "reference"],
)
def test_contexts(context: AbstractContextManager[Any]) -> None:
    with context:
        assert not is_joined(build())


def test_other_types_of_numbers_and_neurons() -> None:
    assert not is_joined(build().double(), X.double())
    for options in ({"reset": "hard"}, {"learn_threshold": True}, {"neuron": "recurrent_lif"}):
        net = build(**options)
        out = net(X.clone().requires_grad_())
        assert type(out.spikes[0].grad_fn).__name__ != "SpikingLayerBackward"
        assert check_native_kernels(net, X, tolerance=5e-6).status == "PASS"


def test_a_global_hook_and_patched_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    try:
        assert not is_joined(build())
    finally:
        handle.remove()
    real = nn.functional.linear
    monkeypatch.setattr(nn.functional, "linear", lambda x, w, b=None: 2.0 * real(x, w, b))
    assert not is_joined(build())
    monkeypatch.undo()
    monkeypatch.setattr(LIF, "carried", lambda _self, v, _s: 0.5 * v)
    net = build()
    assert type(net(X).spikes[0].grad_fn).__name__ != "SpikingLayerBackward"


def test_convolutional_readout() -> None:
    net = SpikingConvNetwork((1, 8, 8), (4, 4), 3, steps=6, seed=0)
    assert is_joined(net, current(5, 1, 8, 8))


def test_compiled() -> None:
    """A compiler sees single modules, and takes the network whole."""
    torch._dynamo.reset()
    net = build()
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    values, gradients = outcome(compiled, X)
    expected, expected_gradients = outcome(net, X)
    assert all(torch.equal(a, b) for a, b in zip(values, expected, strict=True))
    for found, wanted in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    torch._dynamo.reset()


@pytest.mark.parametrize("wrong", ["slope", "sum", "reset"])
def test_mutants(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer with another slope, a bias that misses a step, or another reset is refused."""
    real = kernels.extension()

    class Wrong:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def spiking_fire(self, current: Any, out: Any, steps: int, codes: Any, *rest: Any) -> None:
            if wrong == "slope":
                codes = (*codes[:7], 1.01 * codes[7])
            if wrong == "reset":
                codes = (codes[0], 2, *codes[2:])
            real.spiking_fire(current, out, steps, codes, *rest)

        def spiking_pull(self, *arguments: Any) -> None:
            *given, sums, threads = arguments
            held = None if sums is None else torch.utils.dlpack.from_dlpack(sums)
            real.spiking_pull(*given, None if held is None else torch.utils.dlpack.to_dlpack(held), threads)
            if wrong == "sum" and held is not None:
                held.mul_(0.999)

    net = build()
    assert check_native_kernels(net, X, tolerance=2e-6).status == "PASS"
    monkeypatch.setattr(_eager.kernels, "extension", lambda: Wrong() if kernels.level() != "reference" else None)
    assert check_native_kernels(net, X, tolerance=2e-6).status == "FAIL"
