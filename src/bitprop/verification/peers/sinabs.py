"""Audit of Sinabs against its own documentation: spike functions, surrogate slopes, resets, quantizers, layers, hooks.

What is documented, and therefore not a finding: ``SumPool2d`` is LPPool2d with p = 1, whose gradient is zero where the
window's sum is; a batch of another size draws its states at random.
"""

from __future__ import annotations

from bitprop.verification.peers._run import PeerAudit, run_audit
from bitprop.verification.peers._sinabs_probes import sinabs_probes

__all__ = ["audit_sinabs"]


_MODULES = ("activation", "from_torch", "hooks", "layers", "network", "synopcounter", "utils")


def audit_sinabs() -> PeerAudit:
    """Compare the installed Sinabs with its docstrings.

    Raises:
        ToolNotFoundError: it is not installed.
    """
    return run_audit("sinabs", "sinabs", _MODULES, "sinabs", sinabs_probes)
