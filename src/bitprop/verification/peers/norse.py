"""Audit of Norse against its own documentation: threshold functions, neurons, adjoint steps, synapses, modules.

What is documented, and therefore not a finding: a current jumps before the potential moves in a LIF step and after it
in an LSNN step, where the order of the equations is left open; a neuron in its refractory period keeps its potential.
"""

from __future__ import annotations

from collections.abc import Iterator

from bitprop.verification.peers import _norse_probes
from bitprop.verification.peers._norse_arguments import argument_probes
from bitprop.verification.peers._norse_inputs import input_probes
from bitprop.verification.peers._norse_layer_probes import layer_probes
from bitprop.verification.peers._norse_nir import nir_probes
from bitprop.verification.peers._norse_plasticity import plasticity_probes
from bitprop.verification.peers._norse_variants import variant_probes
from bitprop.verification.peers._probes import Probe
from bitprop.verification.peers._run import PeerAudit, run_audit

__all__ = ["audit_norse", "norse_probes"]

_MODULES = (
    "functional.adjoint.lif_adjoint",
    "functional.adjoint.lif_refrac_adjoint",
    "functional.adjoint.lsnn_adjoint",
    "functional.spikes_to_times_decoder",
    "functional.stdp",
    "functional.stdp_sensor",
    "functional.threshold",
    "module.exp_filter",
)


def norse_probes() -> Iterator[Probe]:
    """Every statement about threshold functions, neurons, synapses, modules and NIR."""
    yield from _norse_probes.norse_probes()
    yield from variant_probes()
    yield from input_probes()
    yield from plasticity_probes()
    yield from layer_probes()
    yield from argument_probes()
    yield from nir_probes()


def audit_norse() -> PeerAudit:
    """Compare the installed Norse with its docstrings.

    Raises:
        ToolNotFoundError: it is not installed.
    """
    return run_audit("norse", "norse.torch", _MODULES, "nt", norse_probes)
