"""From Verilog to area and clock: synthesis once, placement for several seeds, one result.

What comes out is an estimate by named tools and versions.  Nothing is measured on a chip.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bitprop.artifacts import EVIDENCE_SYNTHESIS, evidence
from bitprop.errors import RangeError, SynthesisError, ToolTimeoutError, UnroutableError
from bitprop.toolchain.cache import ResultCache
from bitprop.toolchain.device import Device, device_of
from bitprop.toolchain.nextpnr import NEXTPNR, Placement, place_and_route
from bitprop.toolchain.shell import SHELL, wrap
from bitprop.toolchain.yosys import YOSYS, Say, Synthesis, cells_of, synthesise, too_small

__all__ = ["RESULT_SCHEMA", "Implementation", "Surroundings", "implement"]

RESULT_SCHEMA = "bitprop.synthesis"

Step = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is around a design on a real board, instead of the shell of shift registers.

    Attributes:
        shell: Verilog of the module :data:`~bitprop.toolchain.shell.SHELL` and of what it needs; the design is its
            instance :data:`~bitprop.toolchain.shell.DESIGN`.
        constraints: the board's pins.
    """

    shell: str
    constraints: str


@dataclass(frozen=True, slots=True)
class Implementation:
    """A design on a part.

    Attributes:
        synthesis: the mapped design.
        placements: one for each seed that could be placed and routed.
        failures: why the others could not be placed and routed, or not in time.
    """

    synthesis: Synthesis
    placements: tuple[Placement, ...]
    failures: dict[int, str]

    @property
    def fmax_mhz(self) -> tuple[float, float, float]:
        """Lowest, median and highest frequency over the seeds."""
        values = [placement.fmax_mhz for placement in self.placements]
        return min(values), statistics.median(values), max(values)

    @property
    def typical(self) -> Placement:
        """The placement of median frequency, the lower one of two."""
        ordered = sorted(self.placements, key=lambda placement: (placement.fmax_mhz, placement.seed))
        return ordered[(len(ordered) - 1) // 2]

    @property
    def utilisation(self) -> dict[str, float]:
        """Share of the part's ``lut``, ``ff``, ``bram`` and ``dsp`` that the design itself takes."""
        cells, capacity = self.synthesis.cells, self.synthesis.device.capacity
        names = ("lut", "ff", "bram", "dsp")
        return {
            name: round(getattr(cells, name) / getattr(capacity, name), 4) for name in names if getattr(capacity, name)
        }

    @property
    def seconds(self) -> float:
        """What the steps took when they were computed."""
        return self.synthesis.seconds + sum(placement.seconds for placement in self.placements)

    def to_dict(self) -> dict[str, Any]:
        """Plain fields that the same inputs give again; times are left out."""
        low, median, high = self.fmax_mhz
        return {
            "schema": RESULT_SCHEMA,
            "schema_version": "1.0",
            **evidence(EVIDENCE_SYNTHESIS),
            "top": self.synthesis.top,
            "device": self.synthesis.device.name,
            "tools": {"synthesis": self.synthesis.tool, "place_and_route": self.placements[0].tool},
            "cells": self.synthesis.cells.to_dict(),
            "primitives": self.synthesis.primitives,
            "by_module": {name: cells.to_dict() for name, cells in self.synthesis.by_module.items()},
            "utilisation": self.utilisation,
            "fmax_mhz": {"min": round(low, 3), "median": round(median, 3), "max": round(high, 3)},
            "placements": [placement.to_dict() for placement in self.placements],
            "failed_seeds": {str(seed): reason for seed, reason in self.failures.items()},
        }


def implement(
    files: Mapping[str, bytes],
    top: str,
    device: str | Device,
    *,
    seeds: Sequence[int] = (1, 2, 3),
    frequency_mhz: float = 100.0,
    surroundings: Surroundings | None = None,
    timeout: float = 3600.0,
    cache: ResultCache | None = None,
    say: Say | None = None,
    on_step: Step | None = None,
) -> Implementation:
    """Synthesise, then place and route once per seed; what the cache has is not computed again.

    Args:
        files: content by name, in reading order (:func:`~bitprop.toolchain.yosys.read_design`).
        top: top module; its clock is called ``clock``.
        device: a part or its name.
        seeds: of the placements, at least one.
        frequency_mhz: what to aim at.
        surroundings: a board's; placements then keep the part's configuration.
        timeout: seconds for each step.
        cache: where results are kept; ``None`` computes everything anew.
        say: told what happens.
        on_step: told how many steps are done, of how many.

    Raises:
        RangeError: an argument out of range.
        ToolNotFoundError: a program is not installed.
        ToolTimeoutError: synthesis, or every seed, did not finish in time.
        SynthesisError: the design does not fit, cannot be routed with any seed, or a program failed or was killed.
        ArtifactError: the cache cannot be written.
    """
    chosen = list(dict.fromkeys(seeds))
    if not chosen:
        raise RangeError("expected at least one placement seed, got none; give one")
    tell = on_step or (lambda _what, _done, _total: None)
    total = len(chosen) + 1
    part = device if isinstance(device, Device) else device_of(device)
    for tool in (YOSYS, NEXTPNR[part.family]):
        tool.locate()  # before hours of the other one's work
    tell("synthesis", 0, total)
    synthesis = synthesise(files, top, part, timeout=timeout, cache=cache, say=say)
    synthesis.check_fits()
    shell = None if surroundings is None else surroundings.shell
    wrapped = wrap(synthesis, shell, timeout=timeout, cache=cache, say=say)
    if surroundings is not None:
        needed = cells_of(wrapped, SHELL, synthesis.device.family)
        if short := synthesis.device.lacks(needed):
            raise SynthesisError(too_small(f"{top} with what is around it", synthesis.device, needed, ", ".join(short)))
    placements: list[Placement] = []
    failures: dict[int, str] = {}
    first: UnroutableError | ToolTimeoutError | None = None
    for done, seed in enumerate(chosen, start=1):
        tell("place and route", done, total)
        try:
            placements.append(
                place_and_route(
                    synthesis,
                    wrapped,
                    seed=seed,
                    frequency_mhz=frequency_mhz,
                    constraints="" if surroundings is None else surroundings.constraints,
                    configure=surroundings is not None,
                    timeout=timeout,
                    cache=cache,
                    say=say,
                )
            )
        except (UnroutableError, ToolTimeoutError) as error:
            failures[seed] = str(error)
            first = first or error
    if not placements and first is not None:
        raise first
    tell("place and route", total, total)
    return Implementation(synthesis, tuple(placements), failures)
