"""Quantised networks: what the document refuses, what training rounds, and that lowering gives the same integers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bitprop.baseline.document import load_mac_document, parse_mac_document, run_mac
from bitprop.baseline.lower import activations_of, lower_quantised
from bitprop.baseline.quantised import QuantisedNetwork, quantise_steps, train_quantised
from bitprop.errors import ArtifactError, DocumentError, RangeError, ShapeError


def fields() -> dict[str, Any]:
    return {
        "name": "tiny",
        "bits": 3,
        "layers": [
            {
                "name": "hidden",
                "weights_raw": [[1, -3, 2, 0], [3, 3, 3, 3]],
                "bias_raw": [4, -60],
                "multiplier": 40000,
                "shift": 16,
                "inputs_per_cycle": 2,
                "neurons_per_cycle": 1,
            },
            {
                "name": "classes",
                "weights_raw": [[1, 1], [-2, 2], [1, 1]],
                "bias_raw": [0, 0, 0],
                "multiplier": 0,
                "shift": 0,
                "inputs_per_cycle": 1,
                "neurons_per_cycle": 3,
            },
        ],
    }


def test_the_reference_by_hand() -> None:
    result = run_mac(parse_mac_document(fields()), [[7, 0, 1, 5], [7, 7, 7, 7]])
    assert result.accumulators[0].tolist() == [[13, -21], [4, 24]]
    # 13 * 40000 / 65536 = 7.9: the top; 4 -> 2.4; 24 -> 14.6: clamped
    assert result.layers[0].tolist() == [[7, 0], [2, 7]]
    assert result.logits.tolist() == [[7, -14, 7], [9, 10, 9]]
    assert result.decision.tolist() == [0, 1]


def test_the_accumulator_holds_every_sum() -> None:
    layer = parse_mac_document(fields()).layers[0]
    assert layer.accumulator_bits(3) == 7  # -60 .. 24 and -17 .. 25
    assert parse_mac_document(fields()).folded(((4, 2), (2, 1))).layers[0].inputs_per_cycle == 4


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("bits",), 9, "bits"),
        (("name",), "Tiny", "identifier"),
        (("layers", 0, "name"), "tb", "rename"),
        (("layers", 1, "name"), "hidden", "rename"),
        (("layers", 0, "weights_raw"), [[1, -4, 2, 0], [0, 0, 0, 0]], "-3 .. 3"),
        (("layers", 1, "weights_raw"), [[1, 1, 1]], "what comes before"),
        (("layers", 0, "bias_raw"), [1], "expected 2 integers"),
        (("layers", 0, "bias_raw"), [1, 1.5], "bias_raw"),
        (("layers", 0, "shift"), 0, "last layer"),
        (("layers", 1, "multiplier"), 5, "last layer"),
        (("layers", 0, "inputs_per_cycle"), 3, "divide"),
        (("layers", 1, "neurons_per_cycle"), 2, "divide"),
        (("layers", 0, "bias_raw"), [1 << 50, 0], "48 bits"),
        (("layers",), [], "layers"),
        (("layers",), 7, "document"),
    ],
)
def test_a_wrong_document_is_refused(path: tuple[Any, ...], value: Any, words: str) -> None:
    wrong: Any = fields()
    place = wrong
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(DocumentError, match=words):
        parse_mac_document(wrong)


def test_wrong_inputs_and_folds_are_refused() -> None:
    document = parse_mac_document(fields())
    with pytest.raises(ShapeError, match=r"\[samples, 4\]"):
        run_mac(document, [[1, 2]])
    with pytest.raises(RangeError, match=r"0 \.\. 7"):
        run_mac(document, [[8, 0, 0, 0]])
    with pytest.raises(DocumentError, match="2 folds"):
        document.folded(((1, 1),))
    with pytest.raises(RangeError, match=r"0 \.\. 1"):
        activations_of([[1.5]], 4)


def test_a_document_is_read_as_it_was_written(tmp_path: Path) -> None:
    document = parse_mac_document(fields())
    assert load_mac_document(document.save(tmp_path / "tiny.json")) == document
    (tmp_path / "tiny.json").write_text("[]", encoding="ascii")
    with pytest.raises(ArtifactError, match="JSON object"):
        load_mac_document(tmp_path / "tiny.json")


def test_rounding_passes_gradients_inside_the_range_only() -> None:
    value = torch.tensor([-5.0, -0.3, 0.7, 5.0], requires_grad=True)
    step = torch.tensor(0.5, requires_grad=True)
    out = quantise_steps(value, step, -2, 2)
    assert out.tolist() == [-1.0, -0.5, 0.5, 1.0]
    out.sum().backward()
    assert value.grad is not None
    assert step.grad is not None
    assert value.grad.tolist() == [0.0, 1.0, 1.0, 0.0]
    # clamped: the bound, -2 + 2; inside: level less value / step, (-1 + 0.6) + (1 - 1.4); scaled by 1 / sqrt(4 * 2)
    assert float(step.grad) == pytest.approx((-0.4 - 0.4) / 8**0.5)


def blobs(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.rand(3, 8, generator=generator)
    targets = torch.randint(3, (400,), generator=generator)
    noise = 0.1 * torch.randn(400, 8, generator=generator)
    return torch.clamp(centres[targets] + noise, 0, 1), targets


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_lowering_gives_the_integers_of_training(bits: int) -> None:
    inputs, targets = blobs()
    before = torch.get_rng_state()
    network = QuantisedNetwork([8, 12, 3], bits, seed=1)
    history = train_quantised(
        network, inputs, targets, float_epochs=4, quantised_epochs=8, batch_size=20, learning_rate=1e-2
    )
    assert torch.equal(before, torch.get_rng_state())
    assert history[-1] < history[0]
    document = lower_quantised(network, "blobs")
    result = run_mac(document, activations_of(inputs.numpy(), bits))
    assert float((result.decision == targets.numpy()).mean()) > (0.8 if bits == 2 else 0.9)
    # the hidden integers are training's, with the bias in whole products, but where the 16-bit scale meets a half
    with torch.no_grad():
        first = network.layers[0]
        bias = torch.tensor(document.layers[0].bias_raw) * first.weight_step / network.levels
        value = torch.round(inputs * network.levels) / network.levels
        value = torch.relu(torch.nn.functional.linear(value, first.quantised_weight(), bias))
        levels = torch.round(torch.clamp(value / first.output_step, 0, network.levels)).long().numpy()
    difference = np.abs(levels - result.layers[0])
    assert difference.max() <= 1
    assert (difference == 0).mean() > 0.99


def test_training_is_deterministic_and_a_float_network_is_not_lowered() -> None:
    inputs, targets = blobs()
    weights = []
    for _ in range(2):
        network = QuantisedNetwork([8, 4, 3], 3, seed=5)
        train_quantised(network, inputs, targets, float_epochs=1, quantised_epochs=2)
        weights.append(lower_quantised(network, "same"))
    assert weights[0] == weights[1]
    with pytest.raises(DocumentError, match="quantised_epochs"):
        lower_quantised(QuantisedNetwork([8, 4, 3], 3, seed=5), "float")
    with pytest.raises(RangeError, match="bits"):
        QuantisedNetwork([8, 4, 3], 9, seed=0)
    with pytest.raises(ShapeError, match="sizes"):
        QuantisedNetwork([8], 4, seed=0)
