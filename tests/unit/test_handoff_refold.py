"""Architectures by choice: a target in cycles, options, a TOML file; exported again without a changed integer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bitprop.errors import ConfigError, DocumentError, RangeError
from bitprop.graph.architecture import Folded, Parallel
from bitprop.graph.choose import choose_folds, parse_fold
from bitprop.graph.random import random_document, random_inputs
from bitprop.graph.spec import load_document
from bitprop.graph.timing import interval_cycles, latency_cycles
from bitprop.handoff.export import DOCUMENT_FILE, EXPECTED_FILE, export_network
from bitprop.handoff.refold import Choice, export_again, load_choice
from helpers.command_line import refused
from helpers.command_line import run as command

DOCUMENT = random_document(7)
NAMES = [layer.name for layer in DOCUMENT.layers]


@pytest.mark.parametrize("cycles", [1500, 400, 150, 100])
def test_chosen_folds_meet_their_target_and_shorter_targets_cost_more_products(cycles: int) -> None:
    document = choose_folds(DOCUMENT, cycles)
    assert max(latency_cycles(document), interval_cycles(document)) <= cycles
    slower = choose_folds(DOCUMENT, 2 * cycles)

    def lanes(chosen: list[Folded | None]) -> int:
        return sum(fold.inputs_per_cycle * fold.neurons_per_cycle * fold.cycles_per_step for fold in chosen if fold)

    assert lanes([layer.fold for layer in document.layers]) > lanes([layer.fold for layer in slower.layers])


def test_a_target_that_no_fold_meets_says_what_is_possible() -> None:
    with pytest.raises(RangeError, match=r"at least (\d+) cycles") as caught:
        choose_folds(DOCUMENT, 3)
    possible = int(str(caught.value).split("at least ")[1].split()[0])
    assert latency_cycles(choose_folds(DOCUMENT, possible)) <= possible
    with pytest.raises(RangeError, match="at least"):
        choose_folds(DOCUMENT, possible - 1)


@pytest.mark.parametrize(
    "text", ["", "a", "a:", "a:serial", "a:inputs", "a:inputs=x", "a:inputs=1,inputs=2", "a:beat=0"]
)
def test_texts_that_are_no_layer_are_refused(text: str) -> None:
    with pytest.raises(RangeError):
        parse_fold(text)


def test_options_and_file_make_the_same_choice(tmp_path: Path) -> None:
    file = tmp_path / "folds.toml"
    file.write_text(
        f'[layers.{NAMES[0]}]\ninputs_per_cycle = 3\npipeline = 0\n[layers.{NAMES[1]}]\nkind = "parallel"\n',
        encoding="utf-8",
    )
    given = load_choice(None, {}, [f"{NAMES[0]}:inputs=3,pipeline=0", f"{NAMES[1]}:parallel"], None, None)
    assert given == load_choice(None, {}, [], None, file)
    folded = given.apply(DOCUMENT)
    assert [layer.architecture for layer in folded.layers[1:]] == [Parallel()] * (len(NAMES) - 1)
    fold = folded.layers[0].fold
    assert fold is not None
    assert (fold.inputs_per_cycle, fold.neurons_per_cycle, fold.pipeline) == (3, 1, 0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x = 1",
        "[layers]\na = 1",
        "[layers.a]\nkind = 'odd'",
        "[layers.a]\nsize = 1",
        "[layers.a]\npipeline = -1",
        "[",
    ],
)
def test_files_that_are_no_choice_are_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "folds.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError):
        load_choice(None, {}, [], None, file)
    with pytest.raises(ConfigError):
        load_choice(None, {}, [], None, tmp_path / "none.toml")


def test_wishes_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(RangeError, match="parallel or folded"):
        load_choice("systolic", {}, [], None, None)
    for choice in (
        Choice("parallel", cycles=100),
        Choice(fold={"pipeline": 1}, cycles=100),
        Choice("parallel", {"pipeline": 1}),
    ):
        with pytest.raises(RangeError):
            choice.apply(DOCUMENT)
    with pytest.raises(DocumentError, match="expected layers among"):
        load_choice(None, {}, ["nobody:parallel"], None, None).apply(DOCUMENT)


def test_a_handoff_exported_again_keeps_vectors_labels_and_integers(tmp_path: Path) -> None:
    inputs = random_inputs(DOCUMENT, 6)
    labels = [0] * 6
    export_network(DOCUMENT, tmp_path / "a", inputs_raw=inputs, labels=labels, extra={"note": 1})
    manifest = export_again(tmp_path / "a", tmp_path / "b", Choice("folded", {"inputs_per_cycle": 2}), samples=4)
    assert manifest.fields["extra"] == {"note": 1}
    old, new = (json.loads((tmp_path / name / EXPECTED_FILE).read_text(encoding="utf-8")) for name in "ab")
    assert new["labels"] == labels[:4]
    for before, after in zip(old["layers"], new["layers"], strict=True):
        assert after["accumulators"] == before["accumulators"][:4]
        assert after["outputs"] == before["outputs"][:4]
    assert all(layer.fold is not None for layer in load_document(tmp_path / "b" / DOCUMENT_FILE).layers)
    with pytest.raises(RangeError, match="another folder"):
        export_again(tmp_path / "a", tmp_path / "a", Choice("folded"))


def test_the_command_exports_a_document_and_a_folder_again(tmp_path: Path) -> None:
    source, a, b, c, d = (str(tmp_path / name) for name in ("net.json", "a", "b", "c", "d"))
    DOCUMENT.save(source)
    assert command("export", source, "-o", a, "--samples", "3", "--target-cycles", "200").exit_code == 0
    assert latency_cycles(load_document(tmp_path / "a" / DOCUMENT_FILE)) <= 200
    assert command("export", a, "-o", b, "--architecture", "parallel").exit_code == 0
    assert [layer.fold for layer in load_document(tmp_path / "b" / DOCUMENT_FILE).layers] == [None] * len(NAMES)
    # cut to the layer's size
    assert command("export", a, "-o", c, "--layer", f"{NAMES[0]}:inputs=9999").exit_code == 0
    assert "expected layers among" in refused("export", a, "-o", d, "--layer", "x:inputs=2")
    assert not Path(d).exists()
