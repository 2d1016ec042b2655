"""Layers and networks that compute in bits."""

from __future__ import annotations

from bitprop.nn.design import DesignChoice, DesignVariables
from bitprop.nn.linear import SCLinear
from bitprop.nn.network import SCNetwork

__all__ = ["DesignChoice", "DesignVariables", "SCLinear", "SCNetwork"]
