"""Layers and networks that compute in bits, and networks of spiking neurons."""

from __future__ import annotations

from bitprop.nn.design import DesignChoice, DesignVariables
from bitprop.nn.linear import SCLinear
from bitprop.nn.network import SCNetwork
from bitprop.nn.neuron import (
    LIF,
    AdaptiveLIF,
    LeakyIntegrator,
    RecurrentAdaptiveLIF,
    RecurrentLIF,
    RecurrentSynaptic,
    Synaptic,
)
from bitprop.nn.spiking import SpikingConvNetwork, SpikingNetwork, SpikingOutput

__all__ = [
    "LIF",
    "AdaptiveLIF",
    "DesignChoice",
    "DesignVariables",
    "LeakyIntegrator",
    "RecurrentAdaptiveLIF",
    "RecurrentLIF",
    "RecurrentSynaptic",
    "SCLinear",
    "SCNetwork",
    "SpikingConvNetwork",
    "SpikingNetwork",
    "SpikingOutput",
    "Synaptic",
]
