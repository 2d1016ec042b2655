"""The cost model: quantities of a shape, sums over layers, a fit that finds what made its data."""

from __future__ import annotations

import numpy as np
import pytest

from bitprop.cost import RESOURCES, CostModel, LayerShape, area_quantities, cost_model, fit, period_quantities
from bitprop.errors import RangeError
from bitprop.graph.architecture import folded
from bitprop.graph.fold import with_architecture
from bitprop.graph.random import random_document
from bitprop.graph.shape import shapes_of


def some_shapes(count: int) -> list[list[LayerShape]]:
    generator = np.random.default_rng(3)
    designs = []
    for index in range(count):
        inputs, outputs = (int(value) for value in generator.integers(4, 60, size=2))
        encoding = ("unipolar", "bipolar", "sign_magnitude")[index % 3]
        length = int(generator.integers(1, 80))
        fold = {} if index % 2 else {"inputs_per_cycle": 4, "neurons_per_cycle": 2, "cycles_per_step": min(length, 8)}
        designs.append([LayerShape(inputs, outputs, length, encoding, hidden=index % 5 == 0, **fold)])
    return designs


def test_a_fit_finds_the_coefficients_that_made_its_data() -> None:
    designs = some_shapes(120)
    truth = {"parallel.products.bipolar": 2.0, "parallel.products.unipolar": 1.5, "parallel.layers": 100.0}
    truth |= {"parallel.products.sign_magnitude": 3.0, "folded.layers": 300.0, "folded.logit_bits": 2.0}
    lut = [
        sum(truth.get(key, 0.0) * value for shape in d for key, value in area_quantities(shape).items())
        for d in designs
    ]
    cells = [{"lut": value, "ff": 10.0, "bram": 0.0, "dsp": 0.0} for value in lut]
    model = fit(designs, cells, [100.0] * len(designs), {})
    for shapes, value in zip(designs, lut, strict=True):
        found = model.network(shapes)
        assert found["lut"] == pytest.approx(value, rel=0.3)
        assert found["fmax_mhz"] == pytest.approx(100.0, rel=0.2)
    again = CostModel(**{**model.to_dict(), "period_ns": model.period_ns})
    assert again.network(designs[0]) == model.network(designs[0])


def test_the_shipped_model_is_positive_and_grows_with_the_network() -> None:
    model = cost_model()
    assert set(model.area) == set(RESOURCES)
    assert model.facts["hardware_measurement_claimed"] is False
    small, large = LayerShape(16, 8, 8, "unipolar"), LayerShape(64, 32, 8, "unipolar")
    assert 0 < model.layer(small)["lut"] < model.layer(large)["lut"]
    assert model.network([small, large])["lut"] == pytest.approx(model.layer(small)["lut"] + model.layer(large)["lut"])
    assert 1 < model.period([small]) < 1000
    assert set(period_quantities(small)) != set(area_quantities(small))


def test_shapes_of_a_document() -> None:
    document = random_document(7)
    shapes = shapes_of(document)
    assert [(shape.inputs, shape.outputs) for shape in shapes] == [
        (layer.in_features, layer.out_features) for layer in document.layers
    ]
    assert [shape.inputs_per_cycle for shape in shapes] == [0, 0, 0]
    name = document.layers[0].name
    fold = folded(2, 1, length=document.layers[0].length)
    assert shapes_of(with_architecture(document, {name: fold}))[0].inputs_per_cycle == 2


def test_a_shape_out_of_range_is_refused() -> None:
    with pytest.raises(RangeError, match="inputs"):
        LayerShape(0, 1, 1, "unipolar")
    with pytest.raises(RangeError, match="encoding"):
        LayerShape(1, 1, 1, "ternary")
