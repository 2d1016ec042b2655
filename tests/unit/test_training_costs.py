"""Resource costs: the fitted model's figures, expectations over the mixture, exact gradients, no cost for less work."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bitprop.cost import LayerShape, cost_model
from bitprop.errors import RangeError
from bitprop.nn import SCNetwork
from bitprop.training.config import TrainingConfig
from bitprop.training.costs import DesignCosts
from bitprop.training.resource import RESOURCE_MODELS, area_time_table, dense_area_time
from bitprop.training.stochastic_backprop import SCTrainingObjectiveConfig

ENCODINGS = ("unipolar", "bipolar", "sign_magnitude")
LENGTHS = (3, 8, 16, 64)


def network() -> SCNetwork:
    made = SCNetwork((12, 6, 4), lengths=LENGTHS, encodings=ENCODINGS, correlation_range=(-0.5, 0.5)).double()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for layer in made.sc_layers():
            for parameter in layer.design.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return made


@pytest.mark.parametrize("model", RESOURCE_MODELS)
def test_the_cost_is_the_expectation_over_every_design(model: str) -> None:
    made = network()
    costs = DesignCosts(made, TrainingConfig(length_cost=0.0, resource_cost=2.5, resource_model=model))
    expected = largest = 0.0
    for index, layer in enumerate(made.sc_layers()):
        uses = []
        for encoding, length in itertools.product(ENCODINGS, LENGTHS):
            if model == "gates":
                use = dense_area_time(layer.in_features, layer.out_features, encoding, length, correlated=True)
            else:
                shape = LayerShape(
                    layer.in_features, layer.out_features, length, encoding, correlated=True, hidden=index == 0
                )
                use = cost_model().layer(shape)["lut"] * (length + 2)
            design = layer.design
            share = design.encoding_probabilities()[ENCODINGS.index(encoding)]
            share = share * design.length_probabilities()[LENGTHS.index(length)]
            expected += use * float(share.detach())
            uses.append(use)
        largest += max(uses)
    assert float(costs(made).detach()) == pytest.approx(2.5 * expected / largest, rel=1e-6)


def test_the_gradient_is_that_of_finite_differences() -> None:
    made = network()
    costs = DesignCosts(made, TrainingConfig(length_cost=0.3, correlation_cost=0.2, resource_cost=0.7))
    costs(made).backward()
    step, seen = 1e-5, 0
    for layer in made.sc_layers():
        for parameter in layer.design.parameters():
            gradient = parameter.grad
            assert gradient is not None
            for place in range(parameter.numel()):
                ends = []
                for sign in (1, -1):
                    with torch.no_grad():
                        parameter.view(-1)[place] += sign * step
                        ends.append(float(costs(made)))
                        parameter.view(-1)[place] -= sign * step
                assert float(gradient.view(-1)[place]) == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-7)
                seen += abs(float(gradient.view(-1)[place])) > 1e-4
    # some of every layer's logits are pulled on: a cost that ignored them would have passed too
    assert seen > 8


def test_without_a_price_nothing_is_added_and_a_committed_design_costs_what_it_takes() -> None:
    made = network()
    assert float(DesignCosts(made, TrainingConfig(length_cost=0.0))(made).detach()) == 0
    costs = DesignCosts(made, TrainingConfig(length_cost=0.0, resource_cost=1.0))
    made.commit()
    uses, largest = 0.0, 0.0
    for index, layer in enumerate(made.sc_layers()):
        choice = layer.design.choice()
        table = area_time_table(
            layer.in_features, layer.out_features, ENCODINGS, LENGTHS, correlated=True, hidden=index == 0
        )
        uses += table[ENCODINGS.index(choice.encoding)][LENGTHS.index(choice.length)]
        largest += max(map(max, table))
    assert float(costs(made).detach()) == pytest.approx(uses / largest, rel=1e-6)


@given(
    inputs=st.integers(1, 300),
    outputs=st.integers(1, 300),
    length=st.integers(1, 255),
    encoding=st.sampled_from(ENCODINGS),
    correlated=st.booleans(),
    hidden=st.booleans(),
)
def test_more_work_never_costs_less(
    inputs: int, outputs: int, length: int, encoding: str, correlated: bool, hidden: bool
) -> None:
    def use(i: int, o: int, cycles: int, mixed: bool) -> float:
        return area_time_table(i, o, [encoding], [cycles], correlated=mixed, hidden=hidden)[0][0]

    base = use(inputs, outputs, length, correlated)
    assert base > 0
    assert use(inputs + 1, outputs, length, correlated) >= base
    assert use(inputs, outputs + 1, length, correlated) >= base
    # a cycle more is that much more time, of the same area at least
    assert use(inputs, outputs, length + 1, correlated) >= base * (length + 3) / (length + 2) * (1 - 1e-12)


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(RangeError, match="resource model"):
        SCTrainingObjectiveConfig(resource_model="guess")
    with pytest.raises(RangeError, match="resource model"):
        area_time_table(4, 4, ["bipolar"], [4], model="guess")
