"""Audits of released spiking frameworks against their own documentation, each finding with a script that shows it."""

from __future__ import annotations

from collections.abc import Callable

from bitprop._registry import Registry
from bitprop.verification.peers._run import KINDS, Finding, PeerAudit
from bitprop.verification.peers.norse import audit_norse
from bitprop.verification.peers.sinabs import audit_sinabs
from bitprop.verification.peers.snntorch import audit_snntorch
from bitprop.verification.peers.spikingjelly import audit_spikingjelly

__all__ = ["KINDS", "PEERS", "Finding", "PeerAudit", "audit_peer"]

PEERS: Registry[Callable[[], PeerAudit]] = Registry("framework")
"""The frameworks that can be audited, by distribution name."""
PEERS.add("snntorch", audit_snntorch)
PEERS.add("spikingjelly", audit_spikingjelly)
PEERS.add("norse", audit_norse)
PEERS.add("sinabs", audit_sinabs)


def audit_peer(name: str) -> PeerAudit:
    """Compare an installed framework's surrogates and neurons with its own documentation.

    Every statement that is tested is a probe: what the documentation says and what the release computes, two numbers.
    A finding is a probe whose numbers differ; the probe's source is the finding's reproducer.

    Args:
        name: a key of :data:`PEERS`; upper or lower case.

    Raises:
        RegistryError: an unknown framework.
        ToolNotFoundError: it is not installed.
    """
    return PEERS[name.lower()]()
