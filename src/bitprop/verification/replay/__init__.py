"""Tangent replay of anybody's spiking module."""

from __future__ import annotations

from bitprop.verification.replay._check import TOLERANCES, check_tangent_replay, replay_result, replay_session
from bitprop.verification.replay._run import OpaqueSpikesError, Session
from bitprop.verification.replay._world import Problem, RunError, Snapshot, check_data, random_state, with_gradients

__all__ = [
    "TOLERANCES",
    "OpaqueSpikesError",
    "Problem",
    "RunError",
    "Session",
    "Snapshot",
    "check_data",
    "check_tangent_replay",
    "random_state",
    "replay_result",
    "replay_session",
    "with_gradients",
]
