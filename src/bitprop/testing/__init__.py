"""Gradient checks for test suites: one assertion for your own model, and planted bugs for your own checks."""

from __future__ import annotations

from bitprop.testing.assertion import assert_gradients
from bitprop.testing.planted import ARCHITECTURES, PLANTED_BUGS, PlantedCase, build_planted
from bitprop.testing.random_network import random_correct_network

__all__ = [
    "ARCHITECTURES",
    "PLANTED_BUGS",
    "PlantedCase",
    "assert_gradients",
    "build_planted",
    "random_correct_network",
]
