"""Audit of SpikingJelly against its own documentation: every surrogate, every neuron, step by step and at once.

The registered float32 operators with their hand-written backward and the float64 reference are both run, on the CPU;
CUDA and Triton kernels are not.  What is documented, and therefore not a finding: OTTT and SLTT cut the gradient
through time, CLIF, OTTT and SLTT use a plain step in evaluation, PSN's ``bias`` is the negative of the threshold B.
"""

from __future__ import annotations

from collections.abc import Iterator

from bitprop.verification.peers._probes import Probe
from bitprop.verification.peers._run import PeerAudit, run_audit
from bitprop.verification.peers._spikingjelly_neurons import neuron_probes
from bitprop.verification.peers._spikingjelly_probes import single_probes
from bitprop.verification.peers._spikingjelly_surrogates import surrogate_probes
from bitprop.verification.peers._spikingjelly_tools import tool_probes

__all__ = ["audit_spikingjelly"]


def _probes() -> Iterator[Probe]:
    yield from surrogate_probes()
    yield from neuron_probes()
    yield from single_probes()
    yield from tool_probes()


def audit_spikingjelly() -> PeerAudit:
    """Compare the installed SpikingJelly with its docstrings.

    Raises:
        ToolNotFoundError: it is not installed.
    """
    modules = ("encoding", "functional", "layer", "neuron", "rnn", "surrogate")
    return run_audit("spikingjelly", "spikingjelly.activation_based", modules, "sj", _probes)
