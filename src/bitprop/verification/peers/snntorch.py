"""Audit of snnTorch against its own documentation: surrogates, resets, recurrences, defaults, learnable parameters.

What is documented, and therefore not a finding: the triangular surrogate has a negative slope above the threshold,
Heaviside's is the spike itself, the sparse fast sigmoid passes gradients above B only, and LeakyParallel clips its
potential at zero, all as their descriptions say.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator

from bitprop.verification.peers._probes import Probe
from bitprop.verification.peers._run import PeerAudit, run_audit
from bitprop.verification.peers._snntorch_layers import layer_probes
from bitprop.verification.peers._snntorch_losses import loss_probes
from bitprop.verification.peers._snntorch_probes import neuron_probes
from bitprop.verification.peers._snntorch_surrogates import surrogate_probes
from bitprop.verification.peers._snntorch_training import training_probes

__all__ = ["audit_snntorch", "snntorch_probes"]


def snntorch_probes() -> Iterator[Probe]:
    """Every statement about surrogates, neurons, losses, truncated backpropagation and encoders."""
    yield from surrogate_probes()
    yield from neuron_probes()
    yield from layer_probes()
    yield from loss_probes()
    yield from training_probes()


def audit_snntorch() -> PeerAudit:
    """Compare the installed snnTorch with its docstrings.

    Raises:
        ToolNotFoundError: it is not installed.
    """

    def alone() -> Iterator[Probe]:
        """The probes, while the framework's list of neurons, through which states are reset, has none of the user's."""
        registry = importlib.import_module("snntorch").SpikingNeuron
        instances, registry.instances = registry.instances, []
        try:
            yield from snntorch_probes()
        finally:
            registry.instances = instances

    return run_audit(
        "snntorch", "snntorch", ("backprop", "functional", "spikegen", "surrogate", "utils"), "snntorch", alone
    )
