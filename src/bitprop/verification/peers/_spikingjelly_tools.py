"""Statements of SpikingJelly's documentation about its encoders, losses and layers, and how they are measured."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch

from bitprop.verification.peers._probes import Probe

__all__ = ["tool_probes"]


def periodic_spikes(sj: Any) -> tuple[float, float]:
    """First output of PeriodicEncoder(spike): spike[0], a one."""
    encoder = sj.encoding.PeriodicEncoder(torch.tensor([[1.0], [0.0], [1.0]]))
    try:
        return 1.0, float(encoder())
    except TypeError:
        return 1.0, math.nan


def periodic_period(sj: Any) -> tuple[float, float]:
    """T of a PeriodicEncoder of three steps that was given a sequence of five."""
    encoder = sj.encoding.PeriodicEncoder(torch.zeros(3, 1))
    encoder(torch.zeros(5, 1))
    return 5.0, float(encoder.T)


def latency_of_one(sj: Any, function: str, documented: float) -> tuple[float, float]:
    """Step in which LatencyEncoder(5) fires for an input of 1."""
    encoder = sj.encoding.LatencyEncoder(5, enc_function=function)
    steps = [float(encoder(torch.ones(1))) for _ in range(5)]
    return documented, float(steps.index(1.0))


def voted(sj: Any, shape: tuple[int, ...]) -> tuple[float, float]:
    """Entries of the averages over pairs in the last dimension of an input of ones; NaN where it raises."""
    x = torch.ones(shape)
    try:
        return x.numel() / 2, float(sj.layer.VotingLayer(voting_size=2)(x).sum())
    except RuntimeError:
        return x.numel() / 2, math.nan


def similarity_loss(sj: Any, loss: str) -> tuple[float, float]:
    """Whether the loss of six samples of binary spikes with a linear kernel is a number: 1."""
    spikes = torch.eye(6).cumsum(0).unsqueeze(-1)
    try:
        value = sj.functional.spike_similar_loss(spikes, torch.eye(6), "linear", loss)
    except RuntimeError:
        return 1.0, 0.0
    return 1.0, float(value.isfinite())


def dropped_connections(sj: Any, current: float) -> tuple[float, float]:
    """Whether DropConnectLinear without a bias has a finite output in evaluation: 1."""
    layer = sj.layer.DropConnectLinear(3, 2, bias=False, samples_num=4).eval()
    # on by default; torch.compile turns it off for the whole process
    distribution: Any = torch.distributions.Distribution
    before = distribution._validate_args
    distribution.set_default_validate_args(True)
    try:
        return 1.0, float(layer(torch.full((1, 3), current)).isfinite().all())
    except ValueError:
        return 1.0, 0.0
    finally:
        distribution.set_default_validate_args(before)


def tool_probes() -> Iterator[Probe]:
    """Statements about encoders, losses and layers."""
    for key, kind, says, found, measure in (
        (
            "spike",
            "forward",
            "'outputs spike[t % T] at t-th calling, where T = spike.shape[0]'; spike: 'the input spike'",
            "the constructor keeps no more than the length of spike; a call with no argument raises TypeError",
            periodic_spikes,
        ),
        (
            "period",
            "state",
            "single_step_encode: 'the encoding period T is set to spike.shape[0]'",
            "T stays that of the constructor, while another period is played",
            periodic_period,
        ),
    ):
        yield Probe(f"spikingjelly.PeriodicEncoder.{key}", "encoding.PeriodicEncoder", kind, says, found, measure)
    for function, documented in (("linear", 0.0), ("log", 4.0)):
        yield Probe(
            "spikingjelly.LatencyEncoder.latency",
            "encoding.LatencyEncoder",
            "documentation",
            "linear: t_f(x) = (T - 1) (1 - x); log: t_f(x) = (T - 1) - ln(alpha x + 1), alpha such that t_f(1) = T - 1",
            "alpha is such that t_f(1) = 0, as 'a larger x will cause a earlier firing time' needs it; by the formula "
            "alpha is 0 and every input fires in the last step",
            latency_of_one,
            (function, documented),
        )
    for shape in ((3, 4), (4,), (2, 3, 4)):
        yield Probe(
            "spikingjelly.VotingLayer.dimensions",
            "layer.VotingLayer",
            "forward",
            "'average pooling with kernel_size = voting_size ... on the last dimension of the input with shape = [..., "
            "C * voting_size]'",
            "two dimensions are taken: any other number of them raises RuntimeError",
            voted,
            (shape,),
        )
    for loss in ("mse", "l1", "bce"):
        yield Probe(
            "spikingjelly.spike_similar_loss.range",
            "functional.spike_similar_loss",
            "forward",
            "'the value of sim_p[i][j] ranges from 0 to 1'; loss_type='bce': 'the Binary Cross Entropy'",
            "the quotient of the linear kernel is rounded to above 1 for equal spikes, as on the diagonal, and is not "
            "clamped: binary_cross_entropy raises RuntimeError",
            similarity_loss,
            (loss,),
        )
    for current in (1.0, 0.0):
        yield Probe(
            "spikingjelly.DropConnectLinear.silence",
            "layer.DropConnectLinear",
            "forward",
            "'when inference with DropConnect, every elements of the output tensor are sampled from a Gaussian'",
            "without a bias, an input without a spike has a variance of 0, which Normal refuses: ValueError",
            dropped_connections,
            (current,),
        )
