"""Emitted Verilog as text and as files: deterministic, shared streams, clean under linters, equal to its snapshot."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bitprop.errors import RangeError
from bitprop.graph.random import make_document, random_architecture, random_document
from bitprop.graph.spec import Document, load_document
from bitprop.hdl import emit, generate, generate_alone, library

GOLDEN = Path(__file__).parents[1] / "golden" / "verilog"


@pytest.fixture
def golden() -> Document:
    return load_document(GOLDEN / "golden.json")


def test_generated_text_equals_the_golden_files(golden: Document) -> None:
    files = {**generate(golden), **generate_alone(golden, 1)}
    assert {path.name for path in GOLDEN.glob("*.v")} == set(files)
    for name, text in files.items():
        assert (GOLDEN / name).read_text(encoding="utf-8") == text, (
            f"{name} changed; if that is meant: PYTHONPATH=src python tests/golden/refresh_verilog.py"
        )


def test_the_folder_holds_design_library_and_testbench_with_the_same_bytes_each_time(
    golden: Document, tmp_path: Path
) -> None:
    first = emit(golden, tmp_path / "a folder")
    second = emit(golden, tmp_path / "b")
    names = {path.name for path in first.folder.iterdir()}
    assert names == {*first.design_files, *first.simulation_files, "files.f"}
    assert (first.folder / "files.f").read_text(encoding="ascii").split() == list(first.design_files)
    for name in names:
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()
    # a file is called as the module in it, and holds no other
    for name in first.design_files:
        modules = re.findall(r"^module (\w+)", (first.folder / name).read_text(encoding="utf-8"), re.MULTILINE)
        assert modules == [Path(name).stem]


def test_library_holds_only_the_sources_that_the_network_uses(golden: Document) -> None:
    assert {"bitprop_lfsr.v", "bitprop_sobol.v", "bitprop_halton.v", "bitprop_counter.v"} <= set(library(golden))
    plain = random_document(10)  # one layer: lfsr and counter
    assert {layer.activation_source.kind for layer in plain.layers} == {"lfsr"}
    assert "bitprop_sobol.v" not in library(plain)


def test_one_comparator_for_each_distinct_threshold() -> None:
    layer = {
        "length": 3,
        "encoding": "unipolar",
        "activation_source": {"kind": "lfsr", "width": 3, "seed": 1},
        "weight_source": {"kind": "lfsr", "width": 3, "seed": 2},
        "weights_raw": [[1, 5, 5], [8, 1, 0], [5, 5, 5]],
        "bias_raw": [0, -4, 2],
        "output": {"kind": "logits"},
    }
    text = generate(make_document("few", 3, (0, 8), [layer]))["few_dense_0_weights.v"]
    assert text.count("bitprop_compare") == 4
    assert "stream_0, stream_1, stream_8" in text


def test_most_negative_bias_has_a_literal_that_fits() -> None:
    layer = {
        "length": 1,
        "encoding": "unipolar",
        "activation_source": {"kind": "lfsr", "width": 3, "seed": 1},
        "weight_source": {"kind": "lfsr", "width": 3, "seed": 2},
        "weights_raw": [[0]],
        "bias_raw": [-8],
        "output": {"kind": "logits"},
    }
    document = make_document("low", 3, (0, 8), [layer])
    assert document.layers[0].accumulator_bits == 4
    assert ".bias(4'sh8)" in generate(document)["low_dense_0.v"]


def test_there_is_no_such_layer_alone(golden: Document) -> None:
    with pytest.raises(RangeError, match="layer"):
        generate_alone(golden, 2)


def tool(arguments: list[str], folder: Path) -> str:
    result = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr + result.stdout
    return result.stdout + result.stderr


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("index", [None, 1, 3, 8, 19])
def test_verilator_and_icarus_have_nothing_to_say(
    index: int | None, fold: bool, golden: Document, tmp_path: Path, require_tool: Callable[[str], str]
) -> None:
    document = golden if index is None else random_document(index)
    if fold:
        document = random_architecture(document)
    design = emit(document, tmp_path)
    verilator = [require_tool("verilator"), "--lint-only", "-Wall", "--top-module", document.name, *design.design_files]
    assert tool(verilator, tmp_path) == ""
    testbench = [*design.design_files, f"{document.name}_tb.v", f"{document.name}_tb_clock.v"]
    icarus = [require_tool("iverilog"), "-g2012", "-Wall", "-o", "x.vvp", "-s", f"{document.name}_tb_clock", *testbench]
    assert tool(icarus, tmp_path) == ""


def test_no_lint_waivers_in_the_library(golden: Document) -> None:
    folded = random_architecture(random_document(7), seed=3)
    for name, text in {**library(golden), **generate(golden), **library(folded), **generate(folded)}.items():
        assert "lint_off" not in text, name


def test_yosys_reads_and_elaborates_it(golden: Document, tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    design = emit(golden, tmp_path)
    script = f"read_verilog -sv {' '.join(design.design_files)}; hierarchy -check -top golden; proc; opt; check -assert"
    tool([require_tool("yosys"), "-q", "-p", script], tmp_path)


def test_package_data_is_complete() -> None:
    folder = Path(generate.__code__.co_filename).parent
    assert sorted(path.name for path in (folder / "templates").iterdir()) == [
        "board.v.j2",
        "board_bench.v.j2",
        "clock.v.j2",
        "cocotb_run.py.j2",
        "cocotb_test.py.j2",
        "folded_layer.v.j2",
        "layer.v.j2",
        "mac_layer.v.j2",
        "rom.v.j2",
        "stream_top.v.j2",
        "testbench.v.j2",
        "top.v.j2",
        "weights.v.j2",
    ]
    assert (folder / "library" / "verilator_main.cpp").is_file()
