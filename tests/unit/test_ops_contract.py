"""What every operation declares is what its two files say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import bitprop.ops
from bitprop.errors import NotExportableError, RangeError, RegistryError
from bitprop.ops import OPS, SOURCES, OpSpec, Parameter, Port, make_source, verilog_path
from bitprop.ops._spec import check_length, check_numbers

HARDWARE = tuple(key for key in OPS if OPS[key].module is not None)
FOLDER = Path(bitprop.ops.__file__).parent


def labels(text: str, comment: str) -> tuple[str, ...]:
    return tuple(re.findall(rf"{comment} (\[S\d+\] [a-z]+)", text))


def bits_text(vector: str | None) -> str:
    """``[WIDTH+1:0]`` as a number of bits, ``WIDTH+2``, without spaces."""
    if vector is None:
        return "1"
    high = vector.replace(" ", "").removeprefix("[").removesuffix(":0]")
    if high.endswith("-1"):
        inner = high.removesuffix("-1")
        return inner[1:-1] if inner.startswith("(") and inner.endswith(")") else inner
    if high.isdigit():
        return str(int(high) + 1)
    name, plus, number = high.partition("+")
    return f"{name}+{int(number) + 1 if plus else 1}"


def header(key: str) -> str:
    text = verilog_path(key).read_text(encoding="utf-8")
    return text[text.index(f"module {OPS[key].module} #(") : text.index(");\n")]


@pytest.mark.parametrize("key", HARDWARE)
def test_steps_are_labelled_in_both_files_in_order(key: str) -> None:
    steps = OPS[key].steps
    assert steps
    assert [step.split()[0] for step in steps] == [f"[S{i}]" for i in range(1, len(steps) + 1)]
    assert labels((FOLDER / f"{key}.py").read_text(encoding="utf-8"), "#") == steps
    assert labels((FOLDER / f"{key}.v").read_text(encoding="utf-8"), "//") == steps


@pytest.mark.parametrize("key", HARDWARE)
def test_ports_are_those_of_the_module(key: str) -> None:
    pattern = r"(input|output)\s+(?:wire|reg)\s+(signed )?\s*(\[[^\]]+\])?\s*(\w+)"
    found = [
        (name, direction, bits_text(vector or None), bool(signed))
        for direction, signed, vector, name in re.findall(pattern, header(key))
    ]
    declared = [(p.name, p.direction, p.width.replace(" ", ""), p.signed) for p in OPS[key].ports]
    assert found == declared


@pytest.mark.parametrize("key", HARDWARE)
def test_parameters_are_those_of_the_module(key: str) -> None:
    pattern = r"parameter (signed )?(\[[^\]]+\] )?(\w+) ="
    found = [
        (name, bits_text(vector.strip()) if vector else "", bool(signed))
        for signed, vector, name in re.findall(pattern, header(key))
    ]
    declared = [(p.name, p.width.replace(" ", ""), p.signed) for p in OPS[key].parameters]
    assert found == declared


@pytest.mark.parametrize("key", HARDWARE)
def test_latency_is_one_exactly_when_there_is_a_clock(key: str) -> None:
    spec = OPS[key]
    clocked = any(port.name == "clock" for port in spec.ports)
    assert spec.latency == int(clocked)
    assert ("always @(posedge clock)" in verilog_path(key).read_text(encoding="utf-8")) == clocked


@pytest.mark.parametrize("kind", tuple(SOURCES))
def test_sources_share_one_interface(kind: str) -> None:
    source, spec = SOURCES[kind], OPS[kind]
    assert source.kind == kind
    assert source.exportable == spec.exportable == (spec.module is not None)
    names = ["clock", "restart", "enable", "number"] if source.exportable else []
    assert [port.name for port in spec.ports] == names


@pytest.mark.parametrize("kind", [kind for kind in SOURCES if SOURCES[kind].exportable])
def test_source_gives_every_parameter_of_its_module(kind: str) -> None:
    given = make_source(kind, width=6, seed=5).verilog_parameters()
    assert list(given) == [parameter.name for parameter in OPS[kind].parameters]
    values = {name: int(text.partition("'h")[2], 16) if "'h" in text else int(text) for name, text in given.items()}
    assert OPS[kind].literals(values) == given


def test_verilog_of_software_only_operation_is_refused() -> None:
    with pytest.raises(NotExportableError, match=r"bernoulli.*software only"):
        verilog_path("bernoulli")
    with pytest.raises(RegistryError, match=r"use one of: .*lfsr"):
        verilog_path("multiplier")


def test_port_width_expressions() -> None:
    assert Port("a", "input", "WIDTH + 2").bits({"WIDTH": 8}) == 10
    assert Port("a", "input", "INPUTS * WIDTH").bits({"WIDTH": 8, "INPUTS": 3}) == 24
    assert Port("a", "input", "2 * WIDTH - 1").bits({"WIDTH": 8}) == 15
    index = Port("a", "output", "INPUTS > 1 ? $clog2(INPUTS) : 1")
    assert [index.bits({"INPUTS": inputs}) for inputs in (1, 2, 3, 4, 5)] == [1, 1, 2, 2, 3]
    with pytest.raises(RangeError, match=r"HEIGHT"):
        Port("a", "input", "HEIGHT").bits({"WIDTH": 8})
    with pytest.raises(RangeError, match=r"WIDTH / 2"):
        Port("a", "input", "WIDTH / 2").bits({"WIDTH": 8})


def test_parameter_literals() -> None:
    assert Parameter("INPUTS", 1, 9).literal(7, {}) == "7"
    assert Parameter("SEED", 0, 255, "WIDTH").literal(20, {"WIDTH": 5}) == "5'h14"
    low = Parameter("LOW", -512, 511, "WIDTH + 2", signed=True)
    assert [low.literal(value, {"WIDTH": 3}) for value in (-16, -1, 15)] == ["5'h10", "5'h1f", "5'hf"]
    for value in (-17, 16):
        with pytest.raises(RangeError, match=rf"LOW in -16 .. 15, got {value}"):
            low.literal(value, {"WIDTH": 3})
    with pytest.raises(RangeError, match=r"SEED in 0 .. 31, got 32"):
        Parameter("SEED", 0, 255, "WIDTH").literal(32, {"WIDTH": 5})


def test_literals_want_every_parameter_once() -> None:
    spec: OpSpec = OPS["count"]
    assert spec.literals({"WIDTH": 4, "INPUTS": 3, "ENCODING": 2}) == {"INPUTS": "3", "ENCODING": "2", "WIDTH": "4"}
    for parameters in ({"WIDTH": 4}, {"WIDTH": 4, "INPUTS": 3, "ENCODING": 2, "SPEED": 1}):
        with pytest.raises(RangeError, match=r"expected count parameters \['INPUTS', 'ENCODING', 'WIDTH'\]"):
            spec.literals(parameters)
    with pytest.raises(RangeError, match=r"ENCODING in 0 .. 2, got 3"):
        spec.literals({"WIDTH": 4, "INPUTS": 3, "ENCODING": 3})


def test_make_source_names_what_is_wrong() -> None:
    with pytest.raises(RegistryError, match=r"expected a known number source, got 'mersenne'; use one of: "):
        make_source("mersenne", width=8, seed=1)
    with pytest.raises(RangeError, match=r"got \['stride'\]; remove them"):
        make_source("lfsr", width=8, seed=1, stride=2)
    with pytest.raises(RangeError, match=r"one is missing: .*seed"):
        make_source("lfsr", width=8)


def test_check_length() -> None:
    assert check_length(1) == 1
    assert check_length(1 << 24) == 1 << 24
    for length in (0, -1, (1 << 24) + 1, 2.0, "8", True, None):
        with pytest.raises(RangeError, match=r"length"):
            check_length(length)


def test_check_numbers() -> None:
    assert check_numbers("numbers", [0, 7], 3).tolist() == [0, 7]
    for wrong in ([-1], [8]):
        with pytest.raises(RangeError, match=r"numbers in 0 .. 7"):
            check_numbers("numbers", wrong, 3)
    for shape in ([], [[1]], [0.5], 3):
        with pytest.raises(ValueError, match=r"numbers to be integers of shape \[T\]"):
            check_numbers("numbers", shape, 3)
