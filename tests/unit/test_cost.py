"""The cost model: quantities of a shape, sums over layers, a fit that finds what made its data."""

from __future__ import annotations

import numpy as np
import pytest

from bitprop import layer_quantities
from bitprop.cost import RESOURCES, CostModel, LayerShape, cost_model, fit
from bitprop.errors import RangeError
from bitprop.graph.architecture import folded
from bitprop.graph.fold import fold_plan, with_architecture
from bitprop.graph.random import random_architecture, random_document
from bitprop.graph.shape import shapes_of
from bitprop.layer_quantities import area_quantities, period_quantities


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
    truth = {"parallel.products.bipolar": 2.0, "parallel.products.unipolar": 1.5, "parallel.handshake": 3.0}
    truth |= {"parallel.products.sign_magnitude": 3.0, "folded.handshake": 8.0, "folded.compare": 0.5}
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


def test_what_designs_cannot_tell_is_what_the_structure_says() -> None:
    """Without a design that has a quantity twice as large as another, both coefficients stay near one."""
    designs = [[LayerShape(8, 4, 8, "bipolar", hidden=True)]] * 5
    expected = {name: sum(area_quantities(designs[0][0], name).values()) for name in RESOURCES}
    model = fit(designs, [expected] * 5, [100.0] * 5, {})
    for name in RESOURCES:
        for key in area_quantities(designs[0][0], name):
            assert model.area[name][key] == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(
    ("changes", "larger"),
    [
        ({"neurons_per_cycle": 4}, ("lut", "ff")),
        ({"inputs_per_cycle": 8}, ("lut", "ff")),
        ({"encoding": "sign_magnitude"}, ("lut",)),
        ({"hidden": True}, ("dsp",)),
        ({"inputs": 4000, "outputs": 64}, ("bram",)),
        ({"pipeline": 0}, ()),
    ],
)
def test_each_part_of_a_fold_is_counted(changes: dict[str, object], larger: tuple[str, ...]) -> None:
    fields = {"inputs": 64, "outputs": 8, "length": 7, "encoding": "unipolar", "inputs_per_cycle": 4}
    fields |= {"neurons_per_cycle": 2, "cycles_per_step": 7}
    before, after = LayerShape(**fields), LayerShape(**{**fields, **changes})  # type: ignore[arg-type]
    for name in RESOURCES:
        sizes = [sum(area_quantities(shape, name).values()) for shape in (before, after)]
        if name in larger:
            assert sizes[0] < sizes[1], name
    if "pipeline" in changes:
        assert area_quantities(before, "ff")["folded.tree"] > 0
        assert "folded.tree" not in area_quantities(after, "ff")


def test_widths_are_those_of_the_plan() -> None:
    """Memories and codes are counted from sizes alone: of real folds they must have the plan's widths."""
    seen = 0
    for number in range(60):
        document = random_architecture(random_document(number, max_length=40), number)
        for layer, shape in zip(document.layers, shapes_of(document), strict=True):
            # numbers that repeat within a stream have fewer ranks than cycles
            if layer.fold is None or len(np.unique(layer.numbers.activation)) < layer.length:
                continue
            if len(np.unique(layer.numbers.weight)) < layer.length:
                continue
            plan, counted = fold_plan(layer), layer_quantities._fold(shape)
            for name in ("words", "groups", "steps", "leaves", "x_code_bits", "w_code_bits"):
                assert getattr(plan, name) == getattr(counted, name.replace("_code", "")), (number, name)
            assert plan.leaves * plan.leaf == counted.slots
            seen += 1
    assert seen > 20


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


def test_an_unknown_resource_is_refused() -> None:
    with pytest.raises(RangeError, match="resource"):
        area_quantities(LayerShape(1, 1, 1, "unipolar"), "pins")
