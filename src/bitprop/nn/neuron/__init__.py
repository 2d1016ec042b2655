"""Spiking neurons: state in, state out, one step or many."""

from __future__ import annotations

from bitprop.nn.neuron import _known as _known
from bitprop.nn.neuron._neuron import RESETS, AbstractNeuron, AbstractSpikingNeuron, Constant
from bitprop.nn.neuron.adaptive_lif import AdaptiveLIF, AdaptiveLIFState
from bitprop.nn.neuron.leaky_integrator import LeakyIntegrator, LeakyIntegratorState
from bitprop.nn.neuron.lif import LIF, LIFState
from bitprop.nn.neuron.recurrent import RecurrentAdaptiveLIF, RecurrentLIF, RecurrentSynaptic
from bitprop.nn.neuron.synaptic import Synaptic, SynapticState

__all__ = [
    "LIF",
    "RESETS",
    "AbstractNeuron",
    "AbstractSpikingNeuron",
    "AdaptiveLIF",
    "AdaptiveLIFState",
    "Constant",
    "LIFState",
    "LeakyIntegrator",
    "LeakyIntegratorState",
    "RecurrentAdaptiveLIF",
    "RecurrentLIF",
    "RecurrentSynaptic",
    "Synaptic",
    "SynapticState",
]
