"""Statements about Norse's refractory, adaptive and coupled neurons, its adjoint steps, and some further examples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch

from bitprop.verification.peers._probes import Probe, worst_pair

__all__ = ["variant_probes"]


def held_back(nt: Any, name: str) -> tuple[float, float]:
    """Spikes of a neuron far above its threshold, three steps before its refractory period ends: none."""
    lif, refrac, adex = nt.functional.lif, nt.functional.lif_refrac, nt.functional.lif_adex
    zero, one = torch.zeros(1, 1), torch.ones(1, 1)
    state: Any = refrac.LIFRefracState(lif.LIFState(zero, 50.0 * one, zero), 3.0 * one)
    forward: Any = refrac.LIFRefracFeedForwardState(lif.LIFFeedForwardState(50.0 * one, zero), 3.0 * one)
    if name == "lif_refrac_step":
        z, _ = refrac.lif_refrac_step(zero, state, zero, zero)
    elif name == "lif_refrac_feed_forward_step":
        z, _ = refrac.lif_refrac_feed_forward_step(zero, forward)
    elif name == "lif_adex_refrac_feed_forward_step":
        module, inner = nt.functional.lif_adex_refrac, adex.LIFAdExFeedForwardState(2.0 * one, zero, zero)
        z, _ = module.lif_adex_refrac_feed_forward_step(zero, module.LIFAdExRefracFeedForwardState(inner, 3.0 * one))
    elif name == "lif_mc_refrac_step":
        z, _ = nt.functional.lif_mc_refrac.lif_mc_refrac_step(zero, state, zero, zero, zero)
    else:
        z, _ = nt.functional.lif_mc_refrac.lif_mc_refrac_feed_forward_step(zero, forward, zero)
    return 0.0, float(z)


def refractory_time(nt: Any, name: str) -> tuple[float, float]:
    """Silent steps of a neuron that fires at once otherwise, with half the time step: twice as many."""
    lengths = []
    for dt in (0.001, 0.0005):
        cell, state, spikes = getattr(nt, name)(dt=dt), None, []
        for _ in range(30):
            z, state = cell(torch.full((1, 1), 1000.0), state)
            spikes.append(float(z.detach()))
        times = [t for t, z in enumerate(spikes) if z]
        lengths.append(float(times[1] - times[0] - 1))
    return 2.0 * lengths[0], lengths[1]


def suppressed_adaptation(nt: Any, name: str) -> tuple[float, float]:
    """Adaptation after a step in the refractory period, in which the neuron does not spike, from 0: it stays."""
    adex, refrac, zero = nt.functional.lif_adex, nt.functional.lif_adex_refrac, torch.zeros(1, 1)
    p = refrac.LIFAdExRefracParameters(adex.LIFAdExParameters(adaptation_current=torch.zeros(())))
    if name == "lif_adex_refrac_step":
        inner = adex.LIFAdExState(zero, zero, zero, zero)
        _, after = refrac.lif_adex_refrac_step(
            zero + 50.0, refrac.LIFAdExRefracState(inner, zero + 3.0), zero + 1.0, zero, p
        )
    else:
        inner = adex.LIFAdExFeedForwardState(zero, zero, zero)
        state = refrac.LIFAdExRefracFeedForwardState(inner, zero + 3.0)
        _, after = refrac.lif_adex_refrac_feed_forward_step(zero + 50.0, state, p)
    return 0.0, float(after.lif_adex.a)


def adaptation_constant(nt: Any) -> tuple[float, float]:
    """Adaptation one step of 1 ms after 1, with tau_syn_inv = 100 as 'inverse adaptation time constant'."""
    adex, zero = nt.functional.lif_adex, torch.zeros(1, 1)
    p = adex.LIFAdExParameters(adaptation_current=torch.zeros(()), tau_syn_inv=torch.as_tensor(100.0))
    _, after = adex.lif_adex_feed_forward_step(zero, adex.LIFAdExFeedForwardState(zero, zero, zero + 1.0), p)
    return 0.9, float(after.a)


def conductance(nt: Any) -> tuple[float, float]:
    """Excitatory conductance of CobaLIFCell one step after an input of 1 with weight 1: relu(w) z_in, decayed."""
    with torch.random.fork_rng(devices=[]):
        cell = nt.CobaLIFCell(1, 1)
    with torch.no_grad():
        cell.input_weights.fill_(1.0)
    _, state = cell(torch.ones(1, 1))
    return 1.0 - 0.001 / 5.0, float(state.g_e.detach())


def adjoint_import(nt: Any, name: str) -> tuple[float, float]:
    """Whether a module of adjoint steps can be imported: 1."""
    try:
        module = __import__(f"{nt.__name__}.functional.adjoint.{name}", fromlist=["adjoint"])
    except AttributeError:
        return 1.0, 0.0
    return 1.0, float(any(key.endswith("_adjoint_step") for key in vars(module)))


def refractory_adjoint(nt: Any) -> tuple[float, float]:
    """Gradient of the last potential with respect to the first of three inputs, no spike: of the Euler steps."""
    lif, refrac = nt.functional.lif, nt.functional.lif_refrac
    adjoint, found = nt.functional.adjoint.lif_refrac_adjoint, []
    for step in (refrac.lif_refrac_feed_forward_step, adjoint.lif_refrac_feed_forward_adjoint_step):
        x = torch.full((3, 1, 1), 0.1, dtype=torch.float64, requires_grad=True)
        zero = torch.zeros(1, 1, dtype=torch.float64)
        state = refrac.LIFRefracFeedForwardState(lif.LIFFeedForwardState(zero, zero), zero)
        for x_t in x:
            _, state = step(x_t, state)
        state.lif.v.sum().backward()
        found.append(float(x.grad[0]))  # type: ignore[index]
    return found[0], found[1]


def adjoint_sparse(nt: Any, sparse: bool) -> tuple[float, float]:
    """Whether backward of an adjoint step with dense or sparse spikes runs: 1; NaN where it raises."""
    lif, adjoint, zero = nt.functional.lif, nt.functional.adjoint.lif_adjoint, torch.zeros(1, 2)
    x, z = (torch.ones(1, 2).to_sparse(), zero.to_sparse()) if sparse else (torch.ones(1, 2), zero)
    step = adjoint.lif_adjoint_step_sparse if sparse else adjoint.lif_adjoint_step
    weights = torch.eye(2, requires_grad=True)
    _, after = step(x, lif.LIFState(z, zero, zero), weights, torch.zeros(2, 2))
    try:
        after.v.sum().backward()
    except RuntimeError:
        return 1.0, math.nan
    return 1.0, float(weights.grad is not None)


def adjoint_forward(nt: Any, name: str) -> tuple[float, float]:
    """Spikes and state of six steps with the adjoint, and without it, where they differ most."""
    x = 20.0 * torch.rand(6, 2, 3, generator=torch.Generator().manual_seed(1))
    lif, refrac, lsnn = nt.functional.lif, nt.functional.lif_refrac, nt.functional.lsnn
    adjoint, zero, results = nt.functional.adjoint, torch.zeros(2, 3), []
    steps, state = {
        "lif": (
            (lif.lif_feed_forward_step, adjoint.lif_adjoint.lif_feed_forward_adjoint_step),
            lif.LIFFeedForwardState(zero, zero),
        ),
        "lif_refrac": (
            (refrac.lif_refrac_feed_forward_step, adjoint.lif_refrac_adjoint.lif_refrac_feed_forward_adjoint_step),
            refrac.LIFRefracFeedForwardState(lif.LIFFeedForwardState(zero, zero), zero),
        ),
        "lsnn": (
            (lsnn.lsnn_feed_forward_step, adjoint.lsnn_adjoint.lsnn_feed_forward_adjoint_step),
            lsnn.LSNNFeedForwardState(zero, zero, zero + 1.0),
        ),
    }[name]
    for step in steps:
        outputs, s = [], state
        p = {"lif": lif.LIFParameters, "lif_refrac": refrac.LIFRefracParameters, "lsnn": lsnn.LSNNParameters}[name]()
        for x_t in x:
            z, s = step(x_t, s, p)
            outputs += [z, s.lif.v if name == "lif_refrac" else s.v]
        results.append(torch.stack(outputs))
    return worst_pair(results[0], results[1])


def integrated(nt: Any, what: str) -> tuple[float, float]:
    """lif_feed_forward_integral, and lif_feed_forward_step in a loop: spikes, or gradients, where they differ most."""
    lif, results = nt.functional.lif, []
    for whole in (False, True):
        x = 20.0 * torch.rand(6, 2, 3, generator=torch.Generator().manual_seed(1))
        x.requires_grad_()
        p = lif.LIFParameters(method="triangle", alpha=0.5)
        state, outputs = lif.LIFFeedForwardState(torch.zeros(2, 3), torch.zeros(2, 3)), []
        if whole:
            found, state = lif.lif_feed_forward_integral(x, state, p)
        else:
            for x_t in x:
                z, state = lif.lif_feed_forward_step(x_t, state, p)
                outputs.append(z)
            found = torch.stack(outputs)
        if what == "gradient":
            (found,) = torch.autograd.grad(found.sum() + state.v.sum(), x)
        results.append(found)
    return worst_pair(results[0], results[1])


def sampled_example(nt: Any) -> tuple[float, float]:
    """Whether the docstring's SampledSpatialReceptiveField2d can be made: 1."""
    scales, angles, ratios = torch.tensor([1.0, 2.0]), torch.tensor([0.0, 1.0]), torch.tensor([0.5, 1.0])
    try:
        nt.SampledSpatialReceptiveField2d(1, 9, scales, angles, ratios, torch.tensor([[0, 0]]))
    except ValueError:
        return 1.0, 0.0
    return 1.0, 1.0


def tuple_example(nt: Any) -> tuple[float, float]:
    """Whether the docstring's class on NamedTuple and StateTuple can be made: 1."""
    pytree = nt.utils.pytree
    try:

        class SomeState(pytree.NamedTuple, pytree.StateTuple):  # type: ignore[misc, name-defined]
            x: Any = 0.0

    except TypeError:
        return 1.0, 0.0
    return 1.0, float(hasattr(SomeState(), "x"))


def _probe(
    key: str,
    subject: str,
    kind: str,
    says: str,
    found: str,
    measure: Callable[..., tuple[float, float]],
    *arguments: Any,
    tolerance: float = 1e-5,
) -> Probe:
    return Probe(f"norse.{key}", subject, kind, says, found, measure, arguments, (worst_pair,), tolerance)


def variant_probes() -> Iterator[Probe]:
    """Refractory neurons, adaptation, conductances, adjoint steps, then integrals and examples."""
    yield from _refractory()
    yield from _adaptation()
    yield from _adjoint()
    for what in ("forward", "gradient"):
        yield _probe(
            f"lif_feed_forward_integral.{what}", "functional.lif.lif_feed_forward_integral", what,
            "'multiple euler-integration steps of a LIF neuron-model'", "it differs", integrated, what,
        )  # fmt: skip
    says = "the docstring's example"
    yield _probe(
        "examples", "SampledSpatialReceptiveField2d", "documentation", says,
        "derivatives are a tensor there, and a number or a list in the code: ValueError", sampled_example,
    )  # fmt: skip
    yield _probe(
        "examples", "utils.pytree.StateTuple", "documentation", says,
        "a class on NamedTuple and StateTuple raises TypeError", tuple_example,
    )  # fmt: skip


def _refractory() -> Iterator[Probe]:
    for module, name in (
        ("lif_refrac", "lif_refrac_step"),
        ("lif_refrac", "lif_refrac_feed_forward_step"),
        ("lif_adex_refrac", "lif_adex_refrac_feed_forward_step"),
        ("lif_mc_refrac", "lif_mc_refrac_step"),
        ("lif_mc_refrac", "lif_mc_refrac_feed_forward_step"),
    ):
        yield _probe(
            "refractory.spikes", f"functional.{module}.{name}", "forward",
            "LIFRefracState: 'State of a LIF neuron with absolute refractory period', rho: 'refractory state (count "
            "towards zero)'",
            "the potential's leak is held in the refractory period, its spikes are not: where the coupling lifts it "
            "above the threshold it fires, and rho starts again", held_back, name,
        )  # fmt: skip
    for name in ("LIFRefracCell", "LIFAdExRefracCell"):
        yield _probe(
            "refractory.dt", name, "documentation",
            "rho' = -1 / tau_refrac H(rho); dt: the time step",
            "rho falls by 1 in a step, whatever dt is: there is no tau_refrac", refractory_time, name,
        )  # fmt: skip
    for name in ("lif_adex_refrac_step", "lif_adex_refrac_feed_forward_step"):
        yield _probe(
            "LIFAdExRefrac.adaptation", f"functional.lif_adex_refrac.{name}", "forward",
            "adaptation_spike: 'spike triggered adaptation parameter', a = a + a_spike z",
            "spikes that the refractory period suppresses raise the adaptation as well", suppressed_adaptation, name,
        )  # fmt: skip


def _adaptation() -> Iterator[Probe]:
    subject = "functional.lif_adex.LIFAdExParameters"
    yield _probe(
        "LIFAdExParameters.tau_ada_inv", subject, "documentation",
        "tau_syn_inv: 'inverse adaptation time constant', and again 'inverse synaptic time constant'",
        "the former is tau_ada_inv", adaptation_constant,
    )  # fmt: skip
    yield _probe(
        "CobaLIFCell.input", "CobaLIFCell", "forward", "g_e = g_e + relu(w_input) z_in",
        "the conductances that the input adds are overwritten by those of the recurrent spikes: the input has no "
        "effect and gets no gradient", conductance,
    )  # fmt: skip


def _adjoint() -> Iterator[Probe]:
    says = "'single euler forward and adjoint backward step'"
    place = "functional.adjoint."
    for name in ("lif_adjoint", "lif_refrac_adjoint", "lsnn_adjoint", "coba_lif_adjoint"):
        yield _probe(
            "adjoint.import", place + name, "forward",
            "'Implements the adjoint equations for conductance based leaky integrate and fire neuron'"
            if name == "coba_lif_adjoint" else says,
            "the module derives from torch.nn.Function, which torch does not have: its import raises AttributeError",
            adjoint_import, name,
        )  # fmt: skip
    yield _probe(
        "adjoint.potential", place + "lif_refrac_feed_forward_adjoint_step", "gradient",
        says + "; of Euler steps without a spike, which are linear, the adjoint is the transpose",
        "the current's adjoint takes dt / tau_syn of the potential's, where the step has dt / tau_mem",
        refractory_adjoint,
    )  # fmt: skip
    for sparse, name in ((False, "lif_adjoint_step"), (True, "lif_adjoint_step_sparse")):
        yield _probe(
            "adjoint.sparse", place + name, "gradient", says,
            "backward compares sparse tensors with !=, which torch does not have for them: NotImplementedError",
            adjoint_sparse, sparse,
        )  # fmt: skip
    for name in ("lif", "lif_refrac", "lsnn"):
        yield _probe(
            f"{name}_feed_forward_adjoint_step.forward", f"{place}{name}_feed_forward_adjoint_step", "forward",
            says, "the forward pass is another one", adjoint_forward, name,
        )  # fmt: skip
