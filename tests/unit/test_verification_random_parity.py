"""Random networks from document to parity: a sample of them, resumed, and seen to fail on a planted fault."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bitprop.errors import ArtifactError
from bitprop.formats import ENCODINGS
from bitprop.hdl import emit
from bitprop.verification import random_parity
from bitprop.verification.random_parity import check_network, composition, random_network, run_random_parity


def test_networks_are_varied() -> None:
    layers = [layer for number in range(40) for layer in random_network(number).layers]
    assert {layer.encoding for layer in layers} == set(ENCODINGS)
    assert {layer.fold is None for layer in layers} == {True, False}
    assert any(layer.correlation_raw for layer in layers if layer.fold is not None)
    folds = [layer.fold for layer in layers if layer.fold is not None]
    assert {fold.pipeline for fold in folds} == {0, 1, 2, 3}
    assert any(layer.in_features % layer.fold.inputs_per_cycle for layer in layers if layer.fold is not None)
    assert any(layer.length % layer.fold.cycles_per_step for layer in layers if layer.fold is not None)


def test_the_composition_counts_every_layer() -> None:
    layers = [layer for number in (3, 8, 11) for layer in random_network(number).layers]
    found = composition([3, 8, 11])
    assert (found["networks"], found["layers"]) == (3, len(layers))
    for name in ("architectures", "encodings"):
        assert sum(found[name].values()) == len(layers)
    assert sum(found["sources"].values()) == 2 * len(layers)
    assert found["lengths"] == [min(layer.length for layer in layers), max(layer.length for layer in layers)]
    assert composition([])["layers"] == 0


def test_a_sample_passes_and_is_not_done_twice(tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    require_tool("iverilog")
    log = tmp_path / "log.jsonl"
    said: list[str] = []
    first = run_random_parity(range(5, 9), jobs=1, log=log, say=said.append)
    assert first.passed, first.to_text()
    assert first.networks == len(said) == 4
    assert first.integers > 500
    with log.open("a", encoding="utf-8") as file:
        file.write('{"number": 9, "fail')  # interrupted while writing
    assert run_random_parity(range(5, 9), jobs=1, log=log, say=said.append) == first
    assert len(said) == 4


def test_long_pauses_between_the_beats_of_a_sample_are_no_hang(require_tool: Callable[[str], str]) -> None:
    require_tool("iverilog")
    # 20 beats into its last layer, whose pauses add up to more than the patience
    record = check_network(153)
    assert record["failure"] == ""
    assert record["integers"] > 500


def test_a_fault_is_a_failure_with_its_number(
    tmp_path: Path, require_tool: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    require_tool("iverilog")
    last = {number: random_network(number).layers[-1] for number in range(1, 40)}
    number = next(number for number, layer in last.items() if layer.fold is not None and layer.out_features > 3)

    def faulty(document: object, folder: str) -> object:
        design = emit(document, folder)  # type: ignore[arg-type]
        path = Path(folder) / "bitprop_fold_decision.v"
        text = path.read_text(encoding="utf-8")
        assert "out_logits <= logits" in text
        path.write_text(text.replace("in_value > best", "in_value < best"), encoding="utf-8")
        return design

    monkeypatch.setattr(random_parity, "emit", faulty)
    record = check_network(number)
    assert "the decision: expected" in record["failure"], record
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps(record) + "\n", encoding="utf-8")
    assert random_parity._read_log(log) == {}  # what failed is done again


def test_a_log_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="log"):
        run_random_parity([], log=tmp_path)
