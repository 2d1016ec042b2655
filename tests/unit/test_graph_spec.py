"""The SC-NIR document: what is accepted, what is refused and how the refusal reads, files and schema."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from bitprop.artifacts import EVIDENCE_LOCAL_PARITY
from bitprop.errors import DocumentError, NotExportableError
from bitprop.formats import ENCODINGS
from bitprop.graph.architecture import Folded, Parallel, fold_problem
from bitprop.graph.fold import with_architecture
from bitprop.graph.random import make_document, random_architecture, random_document
from bitprop.graph.spec import Document, document_header, json_schema, load_document, parse_document
from bitprop.ops import SOURCES

SCHEMA_FILE = Path(__file__).parents[2] / "docs" / "schemas" / "scnir-1.1.schema.json"
GOLDEN = Path(__file__).parents[1] / "golden" / "verilog" / "golden.json"


def two_layers() -> Document:
    rows = np.arange(-6, 6).reshape(3, 4)
    return make_document(
        "net",
        4,
        (0, 16),
        [
            {
                "length": 15,
                "encoding": "sign_magnitude",
                "activation_source": {"kind": "lfsr", "width": 4, "seed": 1},
                "weight_source": {"kind": "sobol", "width": 4, "seed": 0, "dimension": 2},
                "correlation_raw": -5,
                "correlation_source": {"kind": "counter", "width": 4, "seed": 0, "stride": 3},
                "weights_raw": rows,
                "bias_raw": [0, -3, 3],
                "output": {"kind": "requantise", "multiplier": 16, "shift": 4, "low": 0, "high": 16},
            },
            {
                "length": 8,
                "encoding": "bipolar",
                "activation_source": {"kind": "halton", "width": 4, "seed": 0, "base": 3},
                "weight_source": {"kind": "lfsr", "width": 4, "seed": 5},
                "weights_raw": rows[:2, :3],
                "bias_raw": [1, 1],
                "output": {"kind": "logits"},
            },
        ],
        {"accuracy": 0.5, "note": "none"},
    )


def set_at(*path: int | str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(fields: Any) -> None:
        for part in path[:-1]:
            fields = fields[part]
        fields[path[-1]] = value

    return change


def remove(*path: int | str) -> Callable[[dict[str, Any]], None]:
    def change(fields: Any) -> None:
        for part in path[:-1]:
            fields = fields[part]
        del fields[path[-1]]

    return change


def fold(inputs: int, neurons: int, cycles: int, values: int = 1) -> dict[str, Any]:
    return {
        "kind": "folded",
        "inputs_per_cycle": inputs,
        "neurons_per_cycle": neurons,
        "cycles_per_step": cycles,
        "values_per_beat": values,
    }


def fold_both(fields: dict[str, Any]) -> None:
    for layer in fields["layers"]:
        layer["architecture"] = fold(2, 1, 1, 2)


L0, L1 = ("layers", 0), ("layers", 1)

REFUSED = [
    ("layers[0].weight_thresholds[2][3]", set_at(*L0, "weight_thresholds", 2, 3, value=17)),
    ("layers[0].weight_thresholds[2][3]", set_at(*L0, "weight_thresholds", 2, 3, value=-1)),
    ("layers[0].weight_thresholds[2][3]", set_at(*L0, "weight_thresholds", 2, 3, value="3")),
    ("layers[0].weight_thresholds[2][3]", set_at(*L0, "weight_thresholds", 2, 3, value=3.0)),
    ("layers[0].weight_thresholds[2][3]", set_at(*L0, "weight_thresholds", 2, 3, value=True)),
    ("layers[0].weight_thresholds[2][3]", set_at(*L0, "weight_thresholds", 2, 3, value=10**30)),
    ("layers[0].weight_thresholds[1]", remove(*L0, "weight_thresholds", 1, 0)),
    ("layers[0].weight_thresholds", remove(*L0, "weight_thresholds", 1)),
    ("layers[0].weight_negative[1][1]", set_at(*L0, "weight_negative", 1, 1, value=2)),
    ("layers[0].weight_negative", remove(*L0, "weight_negative")),
    ("layers[1].weight_negative", set_at(*L1, "weight_negative", value=[[0] * 3] * 2)),
    ("layers[0].bias_raw", remove(*L0, "bias_raw", 0)),
    ("layers[0].bias_raw[0]", set_at(*L0, "bias_raw", 0, value=None)),
    ("layers[0].length", set_at(*L0, "length", value=0)),
    ("layers[0].length", set_at(*L0, "length", value=2**16 + 1)),
    ("layers[0].encoding", set_at(*L0, "encoding", value="analogue")),
    ("layers[0].kind", set_at(*L0, "kind", value="conv2d")),
    ("layers[0].name", set_at(*L0, "name", value="Wire")),
    ("layers[0].name", set_at(*L0, "name", value="wire")),
    ("layers[0].name", set_at(*L0, "name", value="tb_alone_0")),
    ("layers[1].name", set_at(*L1, "name", value="dense_0_weights")),
    ("layers[1].name", set_at(*L1, "name", value="dense_0")),
    ("layers[1].in_features", set_at(*L1, "in_features", value=4)),
    ("layers[0].in_features", set_at("inputs", "features", value=5)),
    ("layers[0].accumulator_bits", set_at(*L0, "accumulator_bits", value=3)),
    ("layers[0].correlation_raw", set_at(*L0, "correlation_raw", value=17)),
    ("layers[0].correlation_source", remove(*L0, "correlation_source")),
    ("layers[0].correlation_source", set_at(*L0, "correlation_raw", value=0)),
    ("layers[0].activation_source.width", set_at(*L0, "activation_source", "width", value=5)),
    ("layers[0].activation_source.kind", set_at(*L0, "activation_source", "kind", value="dice")),
    ("layers[0].activation_source: ", set_at(*L0, "activation_source", "seed", value=0)),
    ("layers[0].activation_source: ", set_at(*L0, "activation_source", "colour", value=1)),
    ("layers[0].activation_source.polynomial", set_at(*L0, "activation_source", "polynomial", value="x^4+x+1")),
    ("layers[0].weight_source.seed", remove(*L0, "weight_source", "seed")),
    ("layers[0].output.shift", set_at(*L0, "output", "shift", value=0)),
    ("layers[0].output.low", set_at(*L0, "output", "low", value=-17)),
    ("layers[0].output.low", set_at(*L0, "output", "low", value=16)),
    ("layers[0].output.kind", set_at(*L0, "output", value={"kind": "logits"})),
    ("layers[1].output.kind", lambda fields: set_at(*L1, "output", value=fields["layers"][0]["output"])(fields)),
    ("layers[1].output", remove(*L1, "output")),
    ("layers", set_at("layers", value=[])),
    ("inputs.high", set_at("inputs", "high", value=17)),
    ("inputs.low", set_at("inputs", "low", value=16)),
    ("precision_bits", set_at("precision_bits", value=2)),
    ("architecture", set_at("architecture", value="parallel")),
    ("architecture", set_at("schema_version", value="1.0")),
    ("layers[0].architecture", remove(*L0, "architecture")),
    ("layers[0].architecture", set_at(*L0, "architecture", value={"kind": "systolic"})),
    ("layers[0].architecture.inputs_per_cycle", set_at(*L0, "architecture", value=fold(5, 1, 1))),
    ("layers[0].architecture.inputs_per_cycle", set_at(*L0, "architecture", value=fold(0, 1, 1))),
    ("layers[0].architecture.neurons_per_cycle", set_at(*L0, "architecture", value=fold(1, 4, 1))),
    ("layers[0].architecture.cycles_per_step", set_at(*L0, "architecture", value=fold(1, 1, 16))),
    ("layers[0].architecture.values_per_beat", set_at(*L0, "architecture", value=fold(3, 1, 1, 2))),
    ("layers[0].architecture.colour", set_at(*L0, "architecture", value={**fold(1, 1, 1), "colour": 1})),
    ("layers[1].architecture.values_per_beat", lambda fields: fold_both(fields)),
    ("schema_version", set_at("schema_version", value="2.0")),
    ("schema", remove("schema")),
    ("name", set_at("name", value="bitprop_neuron")),
    ("name", set_at("name", value="../net")),
    ("decision.ties", set_at("decision", "ties", value="highest")),
    ("hardware_measurement_claimed", set_at("hardware_measurement_claimed", value=True)),
    ("hardware_measurement_claimed", set_at("hardware_measurement_claimed", value=0)),
    ("evidence_boundary", set_at("evidence_boundary", value="measured")),
    ("training.accuracy", set_at("training", "accuracy", value=[1])),
    ("surprise", set_at("surprise", value=1)),
    ("layers[0].surprise", set_at(*L0, "surprise", value=1)),
]


@pytest.mark.parametrize(
    ("path", "change"), REFUSED, ids=[f"{i}-{path.strip(': ')}" for i, (path, _) in enumerate(REFUSED)]
)
def test_refusal_starts_with_the_path_of_the_field(path: str, change: Callable[[dict[str, Any]], None]) -> None:
    fields = copy.deepcopy(two_layers().to_dict())
    change(fields)
    with pytest.raises(DocumentError) as caught:
        parse_document(fields)
    assert str(caught.value).startswith(path if path.endswith(" ") else f"{path}: "), str(caught.value)


def test_software_only_source_is_refused_by_name() -> None:
    fields = two_layers().to_dict()
    fields["layers"][1]["weight_source"] = {"kind": "bernoulli", "width": 4, "seed": 1}
    with pytest.raises(NotExportableError, match=r"^layers\[1\]\.weight_source\.kind: .*bernoulli"):
        parse_document(fields)


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, np.zeros(3)])
def test_values_that_are_no_json_are_refused(value: object) -> None:
    with pytest.raises(DocumentError, match="JSON"):
        parse_document({**two_layers().to_dict(), "training": {"value": value}})


def test_accumulator_one_bit_too_narrow_is_refused_and_the_exact_width_accepted() -> None:
    document = two_layers()
    fields = document.to_dict()
    for index, layer in enumerate(document.layers):
        needed = layer.bounds(document.precision_bits).bits
        fields["layers"][index]["accumulator_bits"] = needed
        parse_document(fields)
        fields["layers"][index]["accumulator_bits"] = needed - 1
        with pytest.raises(DocumentError, match=rf"layers\[{index}\]\.accumulator_bits: expected at least {needed}"):
            parse_document(fields)
        fields["layers"][index]["accumulator_bits"] = needed + 5
        parse_document(fields)


def test_file_round_trip_has_the_same_bytes_and_says_what_it_is(tmp_path: Path) -> None:
    document = two_layers()
    first = document.save(tmp_path / "a.json").read_bytes()
    loaded = load_document(tmp_path / "a.json")
    assert loaded == document
    assert loaded.save(tmp_path / "b.json").read_bytes() == first
    fields = json.loads(first)
    assert fields["schema"] == "bitprop.scnir"
    assert fields["evidence_boundary"] == EVIDENCE_LOCAL_PARITY
    assert fields["hardware_measurement_claimed"] is False
    assert "correlation_source" not in fields["layers"][1]
    assert document_header().items() <= fields.items()


def test_a_saved_source_says_its_polynomial() -> None:
    source = two_layers().to_dict()["layers"][0]["activation_source"]
    assert source == {"kind": "lfsr", "width": 4, "seed": 1, "polynomial": 0b11001}


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"schema": "bitprop.scnir"}', '{"a":' * 100_000])
def test_unusable_file_names_the_file(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "net.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(DocumentError, match=r"net\.json"):
        load_document(path)


def test_a_large_layer_and_a_large_wrong_one_are_judged_at_once() -> None:
    document = make_document(
        "big",
        8,
        (0, 256),
        [
            {
                "length": 64,
                "encoding": "bipolar",
                "activation_source": {"kind": "lfsr", "width": 8, "seed": 1},
                "weight_source": {"kind": "lfsr", "width": 8, "seed": 99},
                "weights_raw": np.random.default_rng(0).integers(-256, 257, (128, 784)),
                "bias_raw": [0] * 128,
                "output": {"kind": "logits"},
            }
        ],
    )
    fields = document.to_dict()
    start = time.process_time()
    parse_document(fields)
    fields["layers"][0]["weight_thresholds"] = [["x"] * 784] * 128
    with pytest.raises(DocumentError, match=r"layers\[0\]\.weight_thresholds\[0\]\[0\]"):
        parse_document(fields)
    assert time.process_time() - start < 5.0


def test_a_document_of_version_1_0_is_read_as_parallel_and_keeps_its_bytes() -> None:
    text = GOLDEN.read_text(encoding="utf-8")
    document = parse_document(json.loads(text))
    assert document.schema_version == "1.0"
    assert document.to_json() == text
    assert [layer.fold for layer in document.layers] == [None, None]
    new = with_architecture(document, {})
    assert new.schema_version == "1.1"
    assert [layer.architecture for layer in new.layers] == [Parallel(), Parallel()]
    with pytest.raises(DocumentError, match="expected layers among hidden, classes, got 'other'"):
        with_architecture(document, {"other": Parallel()})


def test_too_many_products_a_cycle_are_refused() -> None:
    fold = Folded(inputs_per_cycle=784, neurons_per_cycle=128, cycles_per_step=1, values_per_beat=784)
    assert "bits of products a cycle" in fold_problem(fold, 784, 128, 1, behind_folded=False)


def test_published_schema_is_current() -> None:
    assert json.loads(SCHEMA_FILE.read_text(encoding="utf-8")) == json_schema(), (
        "refresh it: PYTHONPATH=src python tests/golden/refresh_verilog.py"
    )


def test_documents_follow_the_published_schema_and_broken_ones_do_not() -> None:
    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for document in [two_layers(), *(random_architecture(random_document(index)) for index in range(20))]:
        validator.validate(document.to_dict())
    fields = two_layers().to_dict()
    fields["layers"][0]["weight_thresholds"][0][0] = -1
    assert not validator.is_valid(fields)
    assert not validator.is_valid({**two_layers().to_dict(), "hardware_measurement_claimed": True})


def test_random_documents_cover_every_encoding_source_and_sign_of_correlation() -> None:
    layers = [layer for index in range(60) for layer in random_document(index).layers]
    assert {layer.encoding for layer in layers} == set(ENCODINGS)
    kinds = {layer.activation_source.kind for layer in layers} & {layer.weight_source.kind for layer in layers}
    assert kinds == {kind for kind in SOURCES if SOURCES[kind].exportable}
    assert {np.sign(layer.correlation_raw) for layer in layers} == {-1, 0, 1}
    assert random_document(3) != random_document(4)
