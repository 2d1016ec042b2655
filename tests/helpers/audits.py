"""Audits of frameworks, made once for all processes of a test run."""

from __future__ import annotations

import fcntl
import pickle
from pathlib import Path

from bitprop.verification.peers import PeerAudit, audit_peer

__all__ = ["shared_audit"]


def shared_audit(name: str, folder: Path) -> PeerAudit:
    """The audit of an untouched framework: that of whichever process came first.

    Args:
        name: of the framework.
        folder: one that all processes of the run have in common.
    """
    kept = folder / f"audit-{name}.pickle"
    with (folder / f"audit-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            kept.write_bytes(pickle.dumps(audit_peer(name)))
        audit: PeerAudit = pickle.loads(kept.read_bytes())  # noqa: S301 - written above, in a folder of this run
    return audit
