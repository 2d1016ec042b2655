"""Modules of released frameworks are verified unchanged: dense, convolutional, recurrent, step by step and at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

torch = pytest.importorskip("torch")
snntorch = pytest.importorskip("snntorch")
nt = pytest.importorskip("norse.torch")
sinabs = pytest.importorskip("sinabs")
sj = pytest.importorskip("spikingjelly.activation_based")

from sinabs import activation, layers  # noqa: E402
from spikingjelly.activation_based import functional as sj_functional  # noqa: E402
from spikingjelly.activation_based import layer as sj_layer  # noqa: E402
from spikingjelly.activation_based import neuron as sj_neuron  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from bitprop.verification.claim import Claim  # noqa: E402
from bitprop.verification.suite import verify  # noqa: E402

STEPS, BATCH, CLASSES = 6, 5, 4


@dataclass(frozen=True)
class Case:
    """A model of a framework, its input, and what is true of it."""

    model: nn.Module
    x: Tensor
    claim: Claim
    reset: Callable[[nn.Module], object] | None = None


class Loop(nn.Module):
    """A model called once for each time step, with its states handed on; the spikes of the last layer are summed."""

    def __init__(self, step: Callable[..., tuple[Tensor, Any]], **parts: nn.Module) -> None:
        super().__init__()
        self.step = step
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Tensor:
        state, total = None, torch.zeros(())
        for x_t in x:
            out, state = self.step(self, x_t, state)
            total = total + out
        return total


class Counted(nn.Module):
    """A model of all time steps; its spikes are summed over the axis of time."""

    def __init__(self, inner: nn.Module, axis: int = 0, place: int | None = None) -> None:
        super().__init__()
        self.inner, self.axis, self.place = inner, axis, place

    def forward(self, x: Tensor) -> Tensor:
        out = self.inner(x)
        return (out if self.place is None else out[self.place]).sum(self.axis)


def vectors(size: float) -> Tensor:
    return size * torch.rand(STEPS, BATCH, 8, generator=torch.Generator().manual_seed(1))


def images(size: float) -> Tensor:
    return size * torch.rand(STEPS, BATCH, 1, 6, 6, generator=torch.Generator().manual_seed(1))


# -- snnTorch: default atan(alpha=2), reset detached -------------------------------------------------------------

ATAN = Claim(surrogate="atan", scale=2.0, reset="detached")


def snntorch_dense() -> Case:
    def step(net: Any, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        first, second = state or (net.one.reset_mem(), net.two.reset_mem())
        spikes, first = net.one(net.enter(x), first)
        spikes, second = net.two(net.leave(spikes), second)
        return spikes, (first, second)

    parts = {"one": snntorch.Leaky(beta=0.9), "two": snntorch.Leaky(beta=0.8, reset_mechanism="zero")}
    return Case(Loop(step, enter=nn.Linear(8, 12), leave=nn.Linear(12, CLASSES), **parts), vectors(4.0), ATAN)


def snntorch_convolutional() -> Case:
    def step(net: Any, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        synaptic, mem, last = state or (*net.one.reset_mem(), net.two.reset_mem())
        spikes, synaptic, mem = net.one(functional.max_pool2d(net.conv(x), 2), synaptic, mem)
        spikes, last = net.two(net.leave(spikes.flatten(1)), last)
        return spikes, (synaptic, mem, last)

    parts = {"one": snntorch.Synaptic(alpha=0.7, beta=0.8), "two": snntorch.Leaky(beta=0.8)}
    return Case(
        Loop(step, conv=nn.Conv2d(1, 3, 3, padding=1), leave=nn.Linear(27, CLASSES), **parts), images(4.0), ATAN
    )


def snntorch_recurrent() -> Case:
    def step(net: Any, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        spikes, mem, last = state or (*net.one.reset_mem(), net.two.reset_mem())
        spikes, mem = net.one(net.enter(x), spikes, mem)
        out, last = net.two(net.leave(spikes), last)
        return out, (spikes, mem, last)

    parts = {"one": snntorch.RLeaky(beta=0.9, linear_features=12), "two": snntorch.Leaky(beta=0.8)}
    return Case(Loop(step, enter=nn.Linear(8, 12), leave=nn.Linear(12, CLASSES), **parts), vectors(4.0), ATAN)


# -- SpikingJelly: ATan(alpha=2), hard reset, attached unless detach_reset ---------------------------------------


def spikingjelly_dense() -> Case:
    net = nn.Sequential(
        sj_layer.Linear(8, 12), sj_neuron.LIFNode(surrogate_function=sj.surrogate.ATan()),
        sj_layer.Linear(12, CLASSES), sj_neuron.ParametricLIFNode(surrogate_function=sj.surrogate.ATan()),
    )  # fmt: skip
    sj_functional.set_step_mode(net, "m")
    return Case(Counted(net), vectors(12.0), ATAN.with_changes(reset="attached"), sj_functional.reset_net)


def spikingjelly_convolutional() -> Case:
    atan = sj.surrogate.ATan()
    net = nn.Sequential(
        sj_layer.Conv2d(1, 3, 3, padding=1), sj_neuron.IFNode(surrogate_function=atan, detach_reset=True),
        sj_layer.MaxPool2d(2), sj_layer.Flatten(),
        sj_layer.Linear(27, CLASSES), sj_neuron.LIFNode(surrogate_function=atan, detach_reset=True, v_reset=None),
    )  # fmt: skip
    sj_functional.set_step_mode(net, "m")
    return Case(Counted(net), images(12.0), ATAN, sj_functional.reset_net)


def spikingjelly_recurrent() -> Case:
    atan = sj.surrogate.ATan()
    neuron = sj_neuron.LIFNode(surrogate_function=atan, detach_reset=True)
    net = nn.Sequential(
        sj_layer.Linear(8, 12), sj_layer.LinearRecurrentContainer(neuron, in_features=12, out_features=12),
        sj_layer.Linear(12, CLASSES), sj_neuron.LIFNode(surrogate_function=atan, detach_reset=True),
    )  # fmt: skip

    def step(inner: Any, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        return inner.net(x), None

    return Case(Loop(step, net=net), vectors(12.0), ATAN, sj_functional.reset_net)


# -- Norse: SuperSpike, whose alpha is not used; the reset is detached with recurrence only ---------------------

SUPER = Claim(surrogate="super_spike", scale=1.0, reset="attached")


def norse_dense() -> Case:
    net = nt.SequentialState(nn.Linear(8, 12), nt.LIF(), nn.Linear(12, CLASSES), nt.LIF())
    return Case(Counted(net, place=0), vectors(30.0), SUPER)


def norse_convolutional() -> Case:
    net = nt.SequentialState(
        nt.Lift(nn.Conv2d(1, 3, 3, padding=1)), nt.LIF(), nt.Lift(nn.MaxPool2d(2)), nn.Flatten(2),
        nn.Linear(27, CLASSES), nt.LIF(),
    )  # fmt: skip
    return Case(Counted(net, place=0), images(30.0), SUPER)


def norse_recurrent() -> Case:
    net = nt.SequentialState(nt.LIFRecurrent(8, 12), nt.LIFRecurrent(12, CLASSES))
    return Case(Counted(net, place=0), vectors(20.0), SUPER.with_changes(reset="detached"))


# -- Sinabs: batch before time; an exponential of width 1/2, single spikes, reset by subtraction -----------------

EXPONENTIAL = Claim(reset="attached")


def sinabs_layer(kind: str, **arguments: Any) -> nn.Module:
    return getattr(layers, kind)(spike_fn=activation.SingleSpike, **arguments)  # type: ignore[no-any-return]


def sinabs_dense() -> Case:
    net = nn.Sequential(
        nn.Linear(8, 12),
        sinabs_layer("LIF", tau_mem=5.0, norm_input=False),
        nn.Linear(12, CLASSES),
        sinabs_layer("IAF"),
    )
    return Case(Counted(net, 1), vectors(3.0).transpose(0, 1), EXPONENTIAL, sinabs.reset_states)


def sinabs_convolutional() -> Case:
    net = nn.Sequential(
        nn.Flatten(0, 1), nn.Conv2d(1, 3, 3, padding=1), nn.Unflatten(0, (BATCH, STEPS)),
        sinabs_layer("IAF"), nn.Flatten(2), nn.Linear(108, CLASSES), sinabs_layer("IAF"),
    )  # fmt: skip
    return Case(Counted(net, 1), images(3.0).transpose(0, 1), EXPONENTIAL, sinabs.reset_states)


def sinabs_recurrent() -> Case:
    connect = nn.Linear(12, 12)
    net = nn.Sequential(
        nn.Linear(8, 12), sinabs_layer("LIFRecurrent", tau_mem=5.0, rec_connect=connect, norm_input=False),
        nn.Linear(12, CLASSES), sinabs_layer("IAF"),
    )  # fmt: skip
    return Case(Counted(net, 1), vectors(3.0).transpose(0, 1), EXPONENTIAL, reset_every_layer)


def reset_every_layer(model: nn.Module) -> None:
    """``sinabs.reset_states`` passes over a layer that has modules in it, as every recurrent one has."""
    for module in model.modules():
        if isinstance(module, layers.StatefulLayer):
            module.reset_states()


CASES = (
    *(snntorch_dense, snntorch_convolutional, snntorch_recurrent),
    *(spikingjelly_dense, spikingjelly_convolutional, spikingjelly_recurrent),
    *(norse_dense, norse_convolutional, norse_recurrent),
    *(sinabs_dense, sinabs_convolutional, sinabs_recurrent),
)


def run(make: Callable[[], Case], **change: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        case = make()
    y = torch.arange(BATCH) % CLASSES
    claim = case.claim.with_changes(**change)
    return verify(case.model, case.x, y, functional.cross_entropy, claim=claim, reset_state=case.reset)


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_what_is_true_of_it_passes(make: Callable[[], Case]) -> None:
    report = run(make)
    assert report.status == "PASS", report.to_text()
    replay = report["tangent_replay"]
    assert replay.statistic <= 1e-10
    assert replay.coverage["parameters"] > 0.3, report.to_text()


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_another_reset_fails(make: Callable[[], Case]) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        told = make().claim.reset
    report = run(make, reset="attached" if told == "detached" else "detached")
    assert report.status == "FAIL", report.to_text()


@pytest.mark.parametrize("make", CASES[:9], ids=lambda make: make.__name__)
def test_a_slope_a_thousandth_off_fails(make: Callable[[], Case]) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        scale = make().claim.scale
    assert scale is not None
    report = run(make, scale=1.001 * scale)
    assert report.status == "FAIL", report.to_text()
    assert report["tangent_replay"].status == "FAIL"


def test_a_documented_scale_that_is_not_used_is_found() -> None:
    """Norse documents alpha = 100 for its default surrogate."""
    report = run(norse_dense, scale=100.0)
    assert report.status == "FAIL"
    assert "SuperSpike" in report.to_text()


def test_state_that_is_kept_is_found() -> None:
    """SpikingJelly and Sinabs keep their states in the module: without a reset, two runs differ."""
    for make, reset in ((spikingjelly_dense, None), (sinabs_dense, None), (sinabs_recurrent, sinabs.reset_states)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            case = make()
        y = torch.arange(BATCH) % CLASSES
        report = verify(case.model, case.x, y, functional.cross_entropy, claim=case.claim, reset_state=reset)
        assert report.status == "FAIL", report.to_text()
        assert report["determinism"].status == "FAIL"
        assert "keeps state" in report["determinism"].detail
