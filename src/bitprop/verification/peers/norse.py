"""Audit of Norse against its own documentation: threshold functions, neurons step by step, adjoint steps, modules.

What is documented, and therefore not a finding: a current jumps before the potential moves in a LIF step and after it
in an LSNN step, where the order of the equations is left open; a neuron in its refractory period keeps its potential.
"""

from __future__ import annotations

from bitprop.verification.peers._norse_probes import norse_probes
from bitprop.verification.peers._run import PeerAudit, run_audit

__all__ = ["audit_norse"]

_MODULES = (
    "functional.adjoint.lif_adjoint",
    "functional.adjoint.lif_refrac_adjoint",
    "functional.adjoint.lsnn_adjoint",
    "functional.spikes_to_times_decoder",
    "functional.stdp_sensor",
    "functional.threshold",
)


def audit_norse() -> PeerAudit:
    """Compare the installed Norse with its docstrings.

    Raises:
        ToolNotFoundError: it is not installed.
    """
    return run_audit("norse", "norse.torch", _MODULES, "nt", norse_probes)
