"""Generated parts on gradient checks: which check refuses which planted bug, and what the frameworks' audits find."""

from __future__ import annotations

import importlib.metadata
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any
from unittest import mock

import torch

from bitprop.testing import ARCHITECTURES, PLANTED_BUGS, build_planted
from bitprop.testing.planted import PlantedCase
from bitprop.verification.peers import KINDS, PEERS, PeerAudit, audit_peer
from bitprop.verification.suite import verify

__all__ = ["markdown", "peer_findings", "planted_bugs", "planted_row"]

CHECKS = ("determinism", "surrogate_audit", "tangent_replay", "detach_audit")
LOSS_SCALES = (1.0, 1e-4)


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


# -- planted bugs ----------------------------------------------------------------------------------------------------


def _gradcheck(case: PlantedCase) -> bool:
    """Whether ``torch.autograd.gradcheck`` with its own tolerances accepts the gradient of every parameter."""
    names = [name for name, _ in case.model.named_parameters()]
    values = [p.detach().clone().requires_grad_(True) for _, p in case.model.named_parameters()]

    def loss(*parameters: torch.Tensor) -> Any:
        outputs = torch.func.functional_call(case.model, dict(zip(names, parameters, strict=True)), (case.inputs,))
        return case.loss_fn(outputs, case.targets)

    # where it refuses it computes whole Jacobians for its message, which takes ten times as long, and nobody reads here
    with mock.patch.object(sys.modules["torch.autograd.gradcheck"], "_run_slow_mode_and_get_error", return_value=""):
        return torch.autograd.gradcheck(loss, values, fast_mode=True, raise_exception=False)


def planted_row(bug: str | None) -> list[str]:
    """The cells of one bug, or of the right network."""
    refused: Counter[str] = Counter()
    runs = 0
    for architecture in ARCHITECTURES:
        for reset in ("soft", "hard"):
            for scale in LOSS_SCALES:
                case = build_planted(bug, architecture=architecture, reset=reset, loss_scale=scale)
                report = verify(case.model, case.inputs, case.targets, case.loss_fn, claim=case.claim)
                refused.update({item.name for item in report.results if item.status == "FAIL"})
                refused["quick"] += report.status == "FAIL"
                runs += 1
    cells = [f"{refused[name]}" if refused[name] else "·" for name in CHECKS]
    torch_says = []
    for scale in LOSS_SCALES:
        case = build_planted(bug, loss_scale=scale)
        torch_says.append("accepts" if _gradcheck(case) else "refuses")
    return [
        f"`{bug}`" if bug else "*none: the right network*",
        *cells,
        f"**{refused['quick']} of {runs}**",
        *torch_says,
    ]


def planted_bugs() -> str:
    """How many of twelve networks each check refuses, by bug."""
    columns = ["bug", *(f"`{name}`" for name in CHECKS), "quick suite refuses", "gradcheck", "gradcheck, loss × 1e-4"]
    legend = markdown(["bug", "what is wrong"], [[f"`{bug}`", wrong] for bug, wrong in PLANTED_BUGS.items()])
    return markdown(columns, [planted_row(bug) for bug in (None, *PLANTED_BUGS)]) + "\n\n" + legend


# -- audits of frameworks --------------------------------------------------------------------------------------------


def _number(value: float) -> str:
    return "raises" if value != value else f"{value:.4g}"  # NaN stands for an exception


def _framework(audit: PeerAudit) -> str:
    rows = [
        [
            f"`{finding.key.partition('.')[2]}`",
            finding.kind,
            ", ".join(f"`{subject}`" for subject in finding.subjects),
            finding.says,
            finding.found,
            _number(finding.documented),
            _number(finding.computed),
        ]
        for finding in audit.findings
    ]
    table = markdown(["finding", "kind", "in", "documented", "found", "documented number", "computed number"], rows)
    head = f"{len(audit.findings)} findings from {audit.probes} statements."
    return f"## {audit.framework} {audit.version}\n\n{head}\n\n{table}"


def peer_findings() -> str:
    """What the audit of every framework finds in the installed release."""
    audits = [audit_peer(name) for name in PEERS]
    kinds = markdown(["kind", "meaning"], [[name, meaning] for name, meaning in KINDS.items()])
    rows = []
    for audit in audits:
        found = Counter(finding.kind for finding in audit.findings)
        rows.append([f"{audit.framework} {audit.version}", str(audit.probes), *(str(found[kind]) for kind in KINDS)])
    summary = markdown(["release", "statements", *KINDS], rows)
    torch_version = importlib.metadata.version("torch").partition("+")[0]
    head = f"With torch {torch_version}, on the CPU."
    return "\n\n".join([head, summary, kinds, *(_framework(audit) for audit in audits)])
