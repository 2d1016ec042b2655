"""Statements about snnTorch's loss functions of spike times, whose gradients are written by hand."""

from __future__ import annotations

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


_USERS = "functional.mse_temporal_loss"


def loss_probes() -> Iterator[Probe]:
    """Spike times, their gradients, and what becomes of the targets."""
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
