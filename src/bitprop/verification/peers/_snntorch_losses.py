"""Statements about snnTorch's loss functions: of spike times, whose gradients are written by hand, and of counts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch

from bitprop.verification.peers._probes import Probe, worst_pair

__all__ = ["loss_probes"]


def first_times(snntorch: Any) -> tuple[float, float]:
    """First spike times of three neurons: steps 1 and 3, and the last step for a silent one."""
    spikes = torch.zeros(5, 1, 3)
    spikes[1, 0, 0] = spikes[3, 0, 0] = spikes[3, 0, 1] = 1.0
    times, _ = snntorch.functional.loss.SpikeTime(target_is_time=True)(spikes, torch.zeros(1, 3))
    return worst_pair(torch.tensor([[1.0, 3.0, 4.0]]), times)


def time_gradient(snntorch: Any, silent: bool) -> tuple[float, float]:
    """Gradient of a first spike time where a gradient is: -1 at the spike (step 1), 0 everywhere without one."""
    spikes = torch.zeros(5, 1, 1)
    spikes[1, 0, 0] = 0.0 if silent else 1.0
    spikes.requires_grad_()
    times, _ = snntorch.functional.loss.SpikeTime(target_is_time=True)(spikes, torch.zeros(1, 1))
    (gradient,) = torch.autograd.grad(times.sum(), spikes)
    expected = torch.zeros_like(spikes)
    expected[1] = 0.0 if silent else -1.0
    return worst_pair(expected, gradient)


def later_times(snntorch: Any, neurons: int) -> tuple[float, float]:
    """Second spike times: neuron 0 spikes in steps 1 and 3, neuron 1 (where there is one) in steps 3 and 4."""
    spikes = torch.zeros(6, 1, neurons)
    spikes[1, 0, 0] = spikes[3, 0, 0] = 1.0
    if neurons == 2:
        spikes[3, 0, 1] = spikes[4, 0, 1] = 1.0
    spike_time = snntorch.functional.loss.SpikeTime(target_is_time=True, multi_spike=True)
    times, _ = spike_time(spikes, torch.zeros(2, 1, neurons))
    return 3.0, float(times[1, 0, 0])


def given_targets(snntorch: Any) -> tuple[float, float]:
    """A target of -1, the last step, after mse_temporal_loss(target_is_time=True) has read it."""
    targets = torch.tensor([[-1.0]])
    snntorch.functional.mse_temporal_loss(target_is_time=True)(torch.ones(5, 1, 1), targets)
    return -1.0, float(targets[0, 0])


def counted_loss(snntorch: Any) -> tuple[float, float]:
    """mse_count_loss of no spikes in ten steps: squared error of the counts 0 and 0, targets 10 and 0, its mean 50."""
    loss = snntorch.functional.mse_count_loss(incorrect_rate=0)
    return 50.0, float(loss(torch.zeros(10, 1, 2), torch.tensor([0])))


def timed_loss(snntorch: Any) -> tuple[float, float]:
    """mse_temporal_loss of a spike in step 5 of ten that is due in step 0: 25."""
    spikes = torch.zeros(10, 1, 1)
    spikes[5] = 1.0
    return 25.0, float(snntorch.functional.mse_temporal_loss(target_is_time=True)(spikes, torch.zeros(1, 1)))


def accumulated_loss(snntorch: Any) -> tuple[float, float]:
    """ce_rate_loss of two silent neurons, ln 2 in each step, accumulated over ten steps."""
    return 10.0 * math.log(2.0), float(snntorch.functional.ce_rate_loss()(torch.zeros(10, 1, 2), torch.tensor([0])))


def membrane_target(snntorch: Any, varying: bool) -> tuple[float, float]:
    """Loss of potentials that are the given target potentials: 0; NaN where it raises."""
    targets = torch.rand(4, 2, 3, generator=torch.Generator().manual_seed(1))
    potentials = targets if varying else targets[:1].repeat(4, 1, 1)
    loss = snntorch.functional.mse_membrane_loss(time_var_targets=varying)
    try:
        return 0.0, float(loss(potentials, targets if varying else targets[0]))
    except RuntimeError:
        return 0.0, math.nan


def incorrect_count(snntorch: Any) -> tuple[float, float]:
    """mse_count_loss of two neurons that fire in every step, where correct_rate and incorrect_rate default to 1: 0."""
    return 0.0, float(snntorch.functional.mse_count_loss()(torch.ones(10, 1, 2), torch.tensor([0])))


_USERS = "functional.mse_temporal_loss"


def loss_probes() -> Iterator[Probe]:
    """Spike times, their gradients, what becomes of the targets, and how losses are scaled."""
    yield Probe(
        "snntorch.SpikeTime.first",
        _USERS,
        "forward",
        "'Convert spk_rec of 1/0s [TxBxN] --> first spike time [BxN]'",
        "the times differ",
        first_times,
        (),
        (worst_pair,),
    )
    for silent in (False, True):
        for user in (_USERS, "functional.ce_temporal_loss"):
            yield Probe(
                "snntorch.SpikeTime.silent",
                user,
                "gradient",
                "'Linearize df/dS=-1 if spike, 0 if no spike'",
                "a neuron that never spikes gets the gradient -1 in the last step, where there is no spike",
                time_gradient,
                (silent,),
                (worst_pair,),
            )
    for neurons in (1, 2):
        yield Probe(
            "snntorch.SpikeTime.multi_spike",
            _USERS,
            "forward",
            "multi_spike=True: 'Convert spk_rec of 1/0s [TxBxN] --> first F spike times [FxBxN]'",
            "after each spike its whole time step is set to zero, for every neuron and sample: their spikes in that "
            "step are lost, and their later times are wrong",
            later_times,
            (neurons,),
        )
    yield Probe(
        "snntorch.mse_temporal_loss.targets",
        _USERS,
        "state",
        "target_is_time=True: the targets are 'spike time(s) for output neuron(s)'; nothing says that they are changed",
        "negative times are replaced by steps in the tensor that was given",
        given_targets,
    )
    for varying in (False, True):
        yield Probe(
            "snntorch.mse_membrane_loss.target",
            "functional.mse_membrane_loss",
            "documentation",
            "'pass the output membrane of shape [num_steps x batch_size x num_outputs] and the target tensor of "
            "membrane potential'",
            "the target is one of class labels in one dimension: a tensor of potentials raises RuntimeError",
            membrane_target,
            (varying,),
        )
    for user, says, measure in (
        (
            "functional.mse_count_loss",
            "spike counts and targets 'are then applied to a Mean Square Error Loss'",
            counted_loss,
        ),
        (
            _USERS,
            "'first spike time ... is measured against the desired spike time with the Mean Square Error'",
            timed_loss,
        ),
    ):
        yield Probe(
            "snntorch.losses.scale",
            user,
            "documentation",
            says,
            "the error of the counts is divided by the number of steps, that of the times by its square",
            measure,
            (),
            (),
            1e-5,
        )
    yield Probe(
        "snntorch.ce_rate_loss.accumulated",
        "functional.ce_rate_loss",
        "documentation",
        "'The losses are accumulated over time steps to give the final loss'",
        "their mean over time steps is returned",
        accumulated_loss,
        (),
        (),
        1e-5,
    )
    yield Probe(
        "snntorch.mse_count_loss.incorrect_rate",
        "functional.mse_count_loss",
        "documentation",
        "incorrect_rate: 'defaults to 1'",
        "the default is 0",
        incorrect_count,
    )
