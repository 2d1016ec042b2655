"""Native spiking kernels against the loop over single steps: equal spikes and states, gradients to rounding."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bitprop import kernels
from bitprop.nn import SpikingConvNetwork, SpikingNetwork
from bitprop.nn.neuron import (
    LIF,
    AbstractNeuron,
    AdaptiveLIF,
    LeakyIntegrator,
    RecurrentAdaptiveLIF,
    RecurrentLIF,
    RecurrentSynaptic,
    Synaptic,
    _fused,
)
from bitprop.surrogate import SURROGATES
from bitprop.verification.kernel_parity import check_native_kernels

pytestmark = pytest.mark.skipif(kernels.extension() is None, reason=f"no native kernels: {kernels.why_not()}")

PLAIN = (LIF, Synaptic, AdaptiveLIF)
RECURRENT = (RecurrentLIF, RecurrentSynaptic, RecurrentAdaptiveLIF)
DTYPES = (torch.float32, torch.float64)
TOLERANCES = {torch.float32: 1e-6, torch.float64: 1e-12}
STEPS, BATCH, FEATURES = 6, 3, 5


def build(cls: type[AbstractNeuron[Any]], dtype: torch.dtype, **options: Any) -> AbstractNeuron[Any]:
    if options.get("reset") == "hard":
        options["v_reset"] = 0.1
    count = (FEATURES,) if cls in RECURRENT else ()
    return cls(*count, **options).to(dtype)


def outcome(
    neuron: AbstractNeuron[Any], x: Tensor, state: Any, steps: int | None, *, fast: bool
) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs and state after the last step, and gradients by input, state and parameters."""
    leaves = [x.detach().clone().requires_grad_()]
    if state is not None:
        state = type(state)(*(part.detach().clone().requires_grad_() for part in state))
        leaves += list(state)
    out, after = (neuron if fast else neuron.by_steps)(leaves[0], state, steps=steps)
    generator = torch.Generator().manual_seed(5)
    values = [out, *after]
    loss = sum((torch.randn(y.shape, generator=generator, dtype=torch.float64).to(y) * y).sum() for y in values)
    leaves += list(neuron.parameters())
    found = torch.autograd.grad(loss, leaves, allow_unused=True)
    return values, [torch.zeros_like(leaf) if g is None else g for leaf, g in zip(leaves, found, strict=True)]


def agree(neuron: AbstractNeuron[Any], x: Tensor, state: Any = None, steps: int | None = None) -> float:
    """Largest relative difference of gradients; values have to be equal."""
    values, gradients = outcome(neuron, x, state, steps, fast=False)
    fast_values, fast_gradients = outcome(neuron, x, state, steps, fast=True)
    for expected, got in zip(values, fast_values, strict=True):
        assert torch.equal(expected, got)
    whole = float(torch.stack([g.double().norm() for g in gradients]).norm())
    worst = 0.0
    for expected, got in zip(gradients, fast_gradients, strict=True):
        assert got.dtype == expected.dtype
        assert got.shape == expected.shape
        # a single number may be the difference of large ones: compared with the whole gradient
        size = float(expected.double().norm()) if expected.numel() > 1 else whole
        worst = max(worst, float((got.double() - expected.double()).norm()) / (size or whole or 1.0))
    return worst


def current(dtype: torch.dtype, *shape: int, seed: int = 0) -> Tensor:
    return 1.3 * torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def random_state(neuron: AbstractNeuron[Any], one: Tensor) -> Any:
    state = neuron.initial_state(one)
    return type(state)(*(torch.rand_like(part) for part in state))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cls", [*PLAIN, *RECURRENT])
def test_every_reset_delay_and_attachment(cls: type[AbstractNeuron[Any]], dtype: torch.dtype) -> None:
    for reset, attached, delay in itertools.product(("soft", "hard", "none"), (True, False), (0, 1)):
        neuron = build(cls, dtype, reset=reset, reset_attached=attached, reset_delay=delay)
        assert _fused.plan(neuron) is not None
        assert agree(neuron, current(dtype, STEPS, BATCH, FEATURES)) <= TOLERANCES[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("surrogate", sorted(SURROGATES))
def test_every_surrogate(surrogate: str, dtype: torch.dtype) -> None:
    for cls in (*PLAIN, RecurrentLIF):
        neuron = build(cls, dtype, surrogate=surrogate)
        assert agree(neuron, current(dtype, STEPS, BATCH, FEATURES)) <= TOLERANCES[dtype]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_sampled_grid(data: st.DataObject) -> None:
    draw = data.draw
    dtype = draw(st.sampled_from(DTYPES))
    cls = draw(st.sampled_from((*PLAIN, *RECURRENT, LeakyIntegrator)))
    vector = draw(st.booleans())
    number = (lambda a, b: torch.linspace(a, b, FEATURES)) if vector else (lambda a, _b: a)
    options: dict[str, Any] = {"beta": number(0.6, 0.95), "learn_beta": draw(st.booleans())}
    if cls is not LeakyIntegrator:
        options |= {
            "surrogate": draw(st.sampled_from(sorted(SURROGATES))),
            "scale": draw(st.sampled_from((None, 0.7, 9.0))),
            "reset": draw(st.sampled_from(("soft", "hard", "none"))),
            "reset_attached": draw(st.booleans()),
            "reset_delay": draw(st.integers(0, 1)),
            "threshold": number(0.5, 1.2),
            "learn_threshold": draw(st.booleans()),
        }
    if cls in (Synaptic, RecurrentSynaptic):
        options["learn_alpha"] = draw(st.booleans())
    if cls in (AdaptiveLIF, RecurrentAdaptiveLIF):
        options["learn_rho"] = draw(st.booleans())
    neuron = build(cls, dtype, **options)
    steps = draw(st.sampled_from((None, 1, STEPS)))
    batch = draw(st.sampled_from((1, BATCH, 70)))
    one = (batch, FEATURES) if cls in RECURRENT or draw(st.booleans()) else (2, batch, FEATURES)
    x = current(dtype, *one) if steps else current(dtype, STEPS, *one)
    state = random_state(neuron, x if steps else x[0]) if draw(st.booleans()) else None
    assert _fused.run(neuron, x, state, steps) is not None
    assert agree(neuron, x, state, steps) <= TOLERANCES[dtype]


def test_blocks_and_threads_change_nothing() -> None:
    neuron, x = LIF(learn_beta=True, beta=torch.linspace(0.5, 0.9, 300)), current(torch.float32, 40, 101, 300)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            values, gradients = outcome(neuron, x, None, None, fast=True)
            found.append([*values, *gradients])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))
    assert agree(neuron, x) <= 3e-6  # 0.5 million terms of each sum, float32 in the reference


def test_every_level_gives_the_same_bits() -> None:
    x = current(torch.float32, STEPS, 8, 50)
    neuron = Synaptic(surrogate="erf", learn_alpha=True)
    found = []
    for level in kernels.levels()[1:]:
        with kernels.use_level(level):
            values, gradients = outcome(neuron, x, None, None, fast=True)
            found.append([*values, *gradients])
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cls", [LIF, LeakyIntegrator])
def test_results_written_past_the_caches(cls: type[AbstractNeuron[Any]], dtype: torch.dtype) -> None:
    """Large results take another way to memory: the same as in parts that are small, wherever rows begin and end."""
    neuron = cls().to(dtype)
    x = current(dtype, 61, 1, 17_501)  # 1.07 million numbers, rows of no whole vectors
    for level in kernels.levels()[1:]:
        with kernels.use_level(level), torch.no_grad():
            out, state = neuron(x)
            for part in (slice(0, 8_000), slice(8_000, None)):
                expected, expected_state = neuron(x[..., part].contiguous())
                assert torch.equal(out[..., part], expected)
                assert all(torch.equal(a[..., part], b) for a, b in zip(state, expected_state, strict=True))


def test_not_a_number_is_not_silence() -> None:
    x = current(torch.float32, 4, 2, 3)
    x[1, 0, 1] = float("nan")
    out, state = LIF()(x)
    expected, expected_state = LIF().by_steps(x)
    assert torch.equal(out.isnan(), expected.isnan())
    assert bool(out[1:, 0, 1].isnan().all())
    assert torch.equal(state.v.nan_to_num(7.0), expected_state.v.nan_to_num(7.0))


def test_strided_inputs() -> None:
    x = current(torch.float32, BATCH, STEPS, FEATURES).transpose(0, 1)
    assert agree(LIF(), x) <= 1e-6


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("neuron", ["lif", "synaptic", "adaptive_lif", "recurrent_lif"])
def test_networks(neuron: str, constant: bool) -> None:
    net = SpikingNetwork((12, 20, 16, 4), neuron=neuron, steps=8 if constant else None, seed=1)
    x = 3 * current(torch.float32, *(() if constant else (8,)), 6, 12)
    result = check_native_kernels(net, x, tolerance=1e-6)
    assert result.status == "PASS", result.to_text()


def test_convolutional_network() -> None:
    net = SpikingConvNetwork((1, 8, 8), (4, 4), 3, steps=6, surrogate="atan", scale=2.0)
    result = check_native_kernels(net, 4 * current(torch.float32, 5, 1, 8, 8), tolerance=1e-6)
    assert result.status == "PASS", result.to_text()


# --- where the reference has to run ---------------------------------------------------------------------------------


class _Watching(torch.overrides.TorchFunctionMode):
    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return function(*args, **(kwargs or {}))


class _Dispatching(torch.utils._python_dispatch.TorchDispatchMode):
    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return function(*args, **(kwargs or {}))


def _how(neuron: AbstractNeuron[Any], x: Tensor) -> str:
    """What a call ends in: ``Spiking`` (the function of eager mode), an operator, or the loop's last operation."""
    out, _ = neuron(x.requires_grad_())
    return type(out.grad_fn).__name__.removesuffix("Backward")


def _is_fast(neuron: AbstractNeuron[Any], x: Tensor) -> bool:
    return "spiking" in _how(neuron, x).lower()


def test_kernels_are_used_and_passed_over() -> None:
    x = current(torch.float32, STEPS, BATCH, FEATURES)
    assert _how(LIF(), x) == "Spiking"
    assert "spiking_recurrent" in _how(RecurrentLIF(FEATURES), x)
    with kernels.use_level("reference"):
        assert not _is_fast(LIF(), x)
    for mode in (_Watching(), _Dispatching(), torch.autograd.forward_ad.dual_level()):
        with mode:
            assert not _is_fast(LIF(), x)
    assert not _is_fast(LIF(), x.detach().to(torch.bfloat16))
    patched = LIF()
    patched.fire = lambda u: LIF.fire(patched, u)  # type: ignore[method-assign]
    assert not _is_fast(patched, x)

    class Other(LIF):
        def after_spike(self, u: Tensor, s: Tensor) -> Tensor:
            return u - 0.5 * s

    assert not _is_fast(Other(), x)


def test_a_patched_class_is_another_neuron(monkeypatch: pytest.MonkeyPatch) -> None:
    x = current(torch.float32, STEPS, BATCH, FEATURES)
    monkeypatch.setattr(LIF, "carried", lambda _self, v, _s: 0.5 * v)
    assert not _is_fast(LIF(), x)
    assert not _is_fast(RecurrentLIF(FEATURES), x)


@pytest.mark.parametrize("cls", [LIF, AdaptiveLIF, LeakyIntegrator, RecurrentSynaptic])
def test_second_derivatives(cls: type[AbstractNeuron[Any]]) -> None:
    """Differentiated twice, the kernel's operator gives what the reference gives."""
    smooth = {} if cls is LeakyIntegrator else {"surrogate": "sigmoid", "learn_threshold": True}
    neuron = build(cls, torch.float64, learn_beta=True, **smooth)
    x = current(torch.float64, STEPS, BATCH, FEATURES).requires_grad_()
    found = []
    for run in (neuron.by_steps, neuron):
        out, _ = run(x)
        weights = torch.linspace(-1.0, 1.0, out.numel(), dtype=torch.float64).view_as(out)
        first = torch.autograd.grad((out * weights).sum(), [x, *neuron.parameters()], create_graph=True)
        loss = sum((g * g).sum() for g in first)
        found.append(torch.autograd.grad(loss, [x, *neuron.parameters()], allow_unused=True))
    for expected, got in zip(*found, strict=True):
        assert (expected is None) == (got is None)
        if expected is not None and got is not None:
            torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-12)


# torch's first forward-mode derivative compiles its decompositions, with a function that torch itself has deprecated
def test_transforms() -> None:
    neuron = LIF(surrogate="atan")
    x = current(torch.float64, STEPS, BATCH, FEATURES)

    def loss(run: Any) -> Any:
        return lambda z: run(z)[0].sum(0).square().sum()

    for transform in (torch.func.grad, torch.func.jacrev):
        torch.testing.assert_close(transform(loss(neuron))(x), transform(loss(neuron.by_steps))(x))
    each = torch.stack([neuron(x * k)[0] for k in (1.0, 2.0)])
    assert torch.equal(torch.func.vmap(lambda k: neuron(x * k)[0])(torch.tensor([1.0, 2.0])), each)
    _, tangent = torch.func.jvp(loss(neuron), (x,), (torch.ones_like(x),))
    (gradient,) = torch.autograd.grad(loss(neuron.by_steps)(x.requires_grad_()), x)
    torch.testing.assert_close(tangent, gradient.sum())


def test_batched_gradients() -> None:
    """Several cotangents at once: the backward pass runs under vmap."""
    neuron, x = LIF(surrogate="atan"), current(torch.float64, STEPS, BATCH, FEATURES).requires_grad_()
    cotangents = current(torch.float64, 3, STEPS, BATCH, FEATURES, seed=1)
    out, _ = neuron(x)
    (found,) = torch.autograd.grad(out, x, cotangents, is_grads_batched=True, retain_graph=True)
    each = [torch.autograd.grad(out, x, c, retain_graph=True)[0] for c in cotangents]
    torch.testing.assert_close(found, torch.stack(each), rtol=1e-12, atol=1e-13)


def test_only_the_last_state_is_used() -> None:
    x = current(torch.float64, STEPS, BATCH, FEATURES).requires_grad_()
    for cls in (Synaptic, RecurrentLIF):
        neuron = build(cls, torch.float64)
        found = [torch.autograd.grad(run(x)[1].v.sum(), x)[0] for run in (neuron, neuron.by_steps)]
        torch.testing.assert_close(*found, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("cls", [LIF, RecurrentAdaptiveLIF])
def test_compiled(cls: type[AbstractNeuron[Any]]) -> None:
    torch._dynamo.reset()
    neuron = build(cls, torch.float32, learn_beta=True)
    x = current(torch.float32, STEPS, BATCH, FEATURES).requires_grad_()

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.neuron = neuron

        def forward(self, z: Tensor) -> Tensor:
            out: Tensor = 2.0 * self.neuron(z)[0]
            return out

    layer = Layer()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    weights = current(torch.float32, STEPS, BATCH, FEATURES, seed=2)
    found = []
    for run in (layer, compiled):
        out = run(x)
        found.append([out, *torch.autograd.grad((out * weights).sum(), [x, *neuron.parameters()])])
    for expected, got in zip(*found, strict=True):
        assert torch.equal(expected, got)
    torch._dynamo.reset()


# --- wrong kernels are refused --------------------------------------------------------------------------------------

_FIELDS = {"reset": 1, "surrogate": 2, "delayed": 3, "attached": 4, "kappa": 5, "scale": 7}
_MUTANTS: dict[str, tuple[type[AbstractNeuron[Any]], dict[str, Any], str, Any]] = {
    "reset left out": (LIF, {}, "reset", 2),
    "hard for soft": (LIF, {}, "reset", 1),
    "another surrogate": (LIF, {}, "surrogate", 4),
    "delay left out": (LIF, {"reset_delay": 1}, "delayed", False),
    "delay added": (Synaptic, {}, "delayed", True),
    "reset detached": (LIF, {}, "attached", False),
    "reset attached": (LIF, {"reset_attached": False}, "attached", True),
    "adaptation off by one per cent": (AdaptiveLIF, {}, "kappa", 0.202),
    "scale off by a thousandth": (LIF, {}, "scale", 25.025),
    "recurrent reset detached": (RecurrentLIF, {}, "attached", False),
}


@pytest.mark.parametrize("mutant", sorted(_MUTANTS))
def test_mutants(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cls, options, field, value = _MUTANTS[mutant]
    neuron = build(cls, torch.float32, **options)
    x = current(torch.float32, 12, 8, FEATURES)
    assert check_native_kernels(neuron, x, tolerance=1e-6).status == "PASS"
    real = _fused.plan

    def wrong(given: Any) -> Any:
        found = real(given)
        assert found is not None
        codes = list(found.codes)
        codes[_FIELDS[field]] = value
        return _fused.Plan(found.family, tuple(codes), found.constants, found.weight)

    monkeypatch.setattr(_fused, "plan", wrong)
    assert check_native_kernels(neuron, x, tolerance=1e-6).status == "FAIL"


@pytest.mark.parametrize(("name", "factor"), [("leak", 1.001), ("leak", 0.5), ("threshold", 1.001), ("step", None)])
def test_mutants_of_values(name: str, factor: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong leak or threshold, and an input that is one step late."""
    real = _fused.run

    def wrong(neuron: Any, x: Tensor, state: Any, steps: int | None) -> Any:
        if factor is None:
            return real(neuron, torch.cat([x[:1] * 0, x[:-1]]), state, steps)
        other = LIF(**({"beta": 0.9 * factor} if name == "leak" else {"threshold": factor}))
        return real(other, x, state, steps)

    neuron, x = LIF(), current(torch.float32, 12, 8, 40)
    monkeypatch.setattr("bitprop.nn.neuron._neuron.run", lambda *a: wrong(*a) if kernels.extension() else None)
    assert check_native_kernels(neuron, x, tolerance=1e-6).status == "FAIL"
