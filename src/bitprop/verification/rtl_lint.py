"""Lint of emitted networks: no front end may complain about any of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from bitprop._checks import check_integer
from bitprop.graph.random import random_architecture, random_document
from bitprop.graph.spec import Document
from bitprop.handoff.synthesis import emitted
from bitprop.toolchain.lint import lint_design, linter_versions

__all__ = ["LintReport", "lint_networks", "random_networks"]


@dataclass(frozen=True, slots=True)
class LintReport:
    """What the front ends said.

    Attributes:
        networks: how many were read.
        complaints: per network that a front end objects to, its words by front end.
        tools: versions by front end.
    """

    networks: int
    complaints: dict[str, dict[str, str]]
    tools: dict[str, str]

    @property
    def passed(self) -> bool:
        """Whether nothing was said about any network."""
        return not self.complaints

    def to_dict(self) -> dict[str, Any]:
        """Plain fields."""
        return {
            "passed": self.passed,
            "networks": self.networks,
            "complaints": self.complaints,
            "tools": self.tools,
        }

    def to_text(self) -> str:
        """One line, or every complaint."""
        lines = [f"{self.networks} networks, {len(self.complaints)} with complaints ({'; '.join(self.tools.values())})"]
        for network, said in self.complaints.items():
            lines += [f"{network}, {tool}:\n{text}" for tool, text in said.items()]
        return "\n".join(lines)


def random_networks(count: int, first: int = 0) -> list[Document]:
    """Random documents, every encoding, source, correlation and width in turn, each parallel and with random folds.

    Args:
        count: how many numbers; twice as many documents.
        first: the first number.

    Raises:
        RangeError: a negative number.
    """
    check_integer("count", count, 0, 1_000_000)
    parallel = [random_document(number) for number in range(first, first + count)]
    folded = [random_architecture(document, number) for number, document in enumerate(parallel, start=first)]
    return [*parallel, *folded]


def _label(document: Document) -> str:
    kinds = ("parallel" if layer.fold is None else layer.fold.kind for layer in document.layers)
    return f"{document.name} ({', '.join(kinds)})"


def lint_networks(
    documents: Iterable[Document], *, workers: int = 2, say: Callable[[str], None] = lambda _: None
) -> LintReport:
    """Emit networks and let every front end read them.

    Args:
        documents: the networks.
        workers: how many are read at once.
        say: gets a line for every network.

    Raises:
        ToolNotFoundError: a front end is not installed.
        ToolTimeoutError: one did not finish in time.
        SimulationError: one broke.
        NotExportableError: a network has no hardware.
    """
    check_integer("workers", workers, 1, 64)
    tools = linter_versions()
    chosen = list(documents)

    def lint(document: Document) -> dict[str, str]:
        said = {tool: text for tool, text in lint_design(emitted(document), document.name).items() if text}
        say(f"{_label(document)}: {', '.join(said) + ' complains' if said else 'clean'}")
        return said

    with ThreadPoolExecutor(max_workers=workers) as pool:
        results = list(pool.map(lint, chosen))
    complaints = {_label(document): said for document, said in zip(chosen, results, strict=True) if said}
    return LintReport(len(chosen), complaints, tools)
