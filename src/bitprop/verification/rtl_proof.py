"""A proof of the Verilog library: a harness with its parameters, and the text of the modules under proof."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import bitprop.hdl
import bitprop.ops
from bitprop.errors import RegistryError
from bitprop.hdl._memory import memory_text
from bitprop.ops import OPS, verilog_path
from bitprop.verification.rtl_network_proof import NetworkProof

__all__ = ["ROM_BANKS", "RtlProof", "module_text", "rule_text"]

ROM_BANKS = "bitprop_rom_banks"
"""A memory as it is generated, with eleven words in banks of four, so that a proof may look at it."""

_OPERATIONS = Path(bitprop.ops.__file__).parent
_LIBRARY = Path(bitprop.hdl.__file__).parent / "library"


@dataclass(frozen=True, slots=True)
class RtlProof:
    """One harness with its parameters.

    Attributes:
        name: stem of the harness file.
        module: the module under proof: stem of an operation, or of a library module.
        statement: what is proved, in a few words.
        cases: the parameters of each instance, as Verilog literals; all are proved in one run.
        mode: ``bmc`` or ``prove``; see :class:`bitprop.toolchain.symbiyosys.ProofTask`.
        depth: cycles of the bound, or of the induction.
        refutation_depth: cycles within which a planted fault must show.
        taps: wires of the harness to connect to registers inside the module.
        scope: what the proof covers, for the table.
        covers: further modules whose planted faults it must notice.
        network: two forms of one network to compare, instead of a harness.
    """

    name: str
    module: str
    statement: str
    cases: tuple[Mapping[str, str], ...]
    mode: str = "bmc"
    depth: int = 1
    refutation_depth: int = 1
    taps: Mapping[str, str] = field(default_factory=dict)
    scope: str = "all inputs"
    covers: tuple[str, ...] = ()
    network: NetworkProof | None = None

    def harness(self) -> str:
        """The text of the harness."""
        folder = _LIBRARY if self.module.startswith("bitprop_") else _OPERATIONS
        return (folder / "formal" / f"{self.name}.sv").read_text(encoding="utf-8")

    def top(self) -> str:
        """A module ``top`` with one instance of the harness per case."""
        lines = [
            f"    prove_{self.name} #({', '.join(f'.{key}({value})' for key, value in case.items())}) "
            f"case_{index} (.clock(clock));"
            for index, case in enumerate(self.cases)
        ]
        return "\n".join(["module top (input wire clock);", *lines, "endmodule", ""])


def module_text(stem: str) -> str:
    """The Verilog of an operation or of a library module.

    Raises:
        RegistryError: there is no such module.
    """
    if stem == ROM_BANKS:
        words = [(5 * i * i + 3) % 64 for i in range(11)]
        return memory_text(
            {"network": "a proof", "origin": "a proof", "index": 0}, stem, "words", [], words, 6, bank_bits=2
        )
    if stem in OPS:
        return verilog_path(stem).read_text(encoding="utf-8")
    path = _LIBRARY / f"{stem}.v"
    if not path.is_file():
        raise RegistryError(f"expected an operation or a library module, got {stem!r}")
    return path.read_text(encoding="utf-8")


def rule_text(name: str) -> str:
    """A rule that several harnesses share: ``rule_<name>``."""
    return (_OPERATIONS / "formal" / "rules" / f"{name}.sv").read_text(encoding="utf-8")
