"""The joint objective: its gradients against finite differences, its value against enumeration, its doors."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from bitprop.errors import RangeError, ShapeError
from bitprop.training.resource import dense_area, dense_area_time
from bitprop.training.sc_estimators import DifferentiableSCConfig, StreamProductLoss, exact_expectation
from bitprop.training.stochastic_backprop import (
    SCBackpropDesignSpace,
    SCJointObjectiveReport,
    SCTrainingObjectiveConfig,
    stochastic_backprop_joint_objective,
)

VARIABLES = ("weight", "bias", "length_logits", "encoding_logits", "correlation_logit")
SPACE = SCBackpropDesignSpace((64, 128, 256), ("bipolar", "unipolar", "sign_magnitude"), -0.25, 0.25)


def double(value: Any) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def variables() -> dict[str, Tensor]:
    return {
        "weight": double([[0.25, -0.35], [0.6, 0.1]]),
        "bias": double([0.05, -0.1]),
        "length_logits": double([0.6, -0.2, 0.1]),
        "encoding_logits": double([0.8, -0.3, 0.2]),
        "correlation_logit": double(0.2),
    }


def objective(
    estimator: str = "pathwise_relaxation",
    costs: SCTrainingObjectiveConfig | None = None,
    space: SCBackpropDesignSpace = SPACE,
    **given: Any,
) -> SCJointObjectiveReport:
    arguments = {**variables(), **given}
    return stochastic_backprop_joint_objective(
        arguments.pop("inputs", double([[0.2, -0.4], [0.8, 0.1], [0.5, 0.9]])),
        arguments.pop("targets", double([[0.3, 0.2], [0.6, 0.1], [-0.4, 0.5]])),
        **arguments,
        base_config=DifferentiableSCConfig(
            bitstream_length=128,
            encoding="bipolar",
            generator="sobol",
            estimator=estimator,
            input_seed=3,
            weight_seed=11,
        ),
        design_space=space,
        objective_config=costs,
    )


@pytest.mark.parametrize("name", VARIABLES)
def test_task_gradients_equal_finite_differences_and_none_is_zero(name: str) -> None:
    value = variables()[name].requires_grad_()
    assert torch.autograd.gradcheck(
        lambda v: objective(**{name: v}).breakdown.task_loss, (value,), atol=1e-10, rtol=1e-6
    )
    (gradient,) = torch.autograd.grad(objective(**{name: value}).breakdown.task_loss, value)
    assert bool((gradient != 0).all())


@pytest.mark.parametrize("name", VARIABLES)
def test_total_gradients_equal_finite_differences(name: str) -> None:
    costs = SCTrainingObjectiveConfig(1.5, 0.4, 0.3, 0.7)
    value = variables()[name].requires_grad_()
    assert torch.autograd.gradcheck(lambda v: objective(costs=costs, **{name: v}).breakdown.total, (value,))


def test_straight_through_gradients_of_the_choice_equal_finite_differences() -> None:
    for name in ("length_logits", "encoding_logits"):
        value = variables()[name].requires_grad_()
        assert torch.autograd.gradcheck(
            lambda v, name=name: objective("straight_through", **{name: v}).breakdown.task_loss, (value,)
        )
        (gradient,) = torch.autograd.grad(objective("straight_through", **{name: value}).breakdown.task_loss, value)
        assert bool((gradient != 0).all())


@pytest.mark.parametrize("encoding", ["unipolar", "bipolar"])
@pytest.mark.parametrize("length", [1, 2, 4])
def test_one_product_equals_enumeration_over_every_bit_pattern(encoding: str, length: int) -> None:
    x, w, y = 0.7, 0.3, 0.4
    space = SCBackpropDesignSpace((length,), (encoding,), 0.0, 0.0)
    report = objective(
        space=space,
        inputs=double([[x]]),
        targets=double([[y]]),
        weight=double([[w]]),
        bias=None,
        length_logits=double([0.0]),
        encoding_logits=double([0.0]),
    )
    loss = StreamProductLoss(length=length, encoding=encoding, target=y)
    exact = exact_expectation(loss, loss.logits(double(x), double(w)))
    assert float(report.breakdown.task_loss) == pytest.approx(float(exact), abs=1e-12)


@pytest.mark.parametrize("estimator", ["score_function", "leave_one_out", "arm", "disarm", "rebar"])
def test_sampled_estimators_aim_at_the_same_gradient(estimator: str) -> None:
    """z-test of each weight's mean over independent repeats; family false-alarm rate 1e-4 over 20 comparisons."""
    names = ("weight",)
    exact = variables()["weight"].requires_grad_()
    objective(
        space=SCBackpropDesignSpace((4,), ("sign_magnitude",), 0.1, 0.1), weight=exact, **single()
    ).breakdown.task_loss.backward()
    rows = []
    for repeat in range(60):
        value = variables()["weight"].requires_grad_()
        objective(
            estimator,
            costs=SCTrainingObjectiveConfig(estimator_samples=64),
            space=SCBackpropDesignSpace((4,), ("sign_magnitude",), 0.1, 0.1),
            weight=value,
            generator=torch.Generator().manual_seed(repeat),
            **single(),
        ).breakdown.task_loss.backward()
        rows.append(value.grad)
    drawn = torch.stack(rows)
    z = (drawn.mean(0) - exact.grad) / (drawn.std(0) / len(rows) ** 0.5)
    assert float(z.abs().max()) < 5.0, names


def single() -> dict[str, Tensor]:
    return {"length_logits": double([0.0]), "encoding_logits": double([0.0])}


def test_length_cost_grows_with_length_and_costs_have_their_names() -> None:
    costs = SCTrainingObjectiveConfig(1.5, 0.4, 0.3, 0.7)
    values = []
    for favourite in range(3):
        logits = torch.full((3,), -20.0, dtype=torch.float64)
        logits[favourite] = 20.0
        values.append(objective(costs=costs, length_logits=logits).breakdown.to_dict())
    lengths = [entry["length_cost"] for entry in values]
    assert all(a < b for a, b in pairwise(lengths))
    assert lengths == pytest.approx([1.5 * length / 256 for length in (64, 128, 256)])
    assert [entry["resource_cost"] for entry in values] == sorted(entry["resource_cost"] for entry in values)
    for entry in values:
        parts = sum(v for k, v in entry.items() if k != "total")
        assert entry["total"] == pytest.approx(parts, abs=1e-12)
        assert entry["correlation_cost"] == pytest.approx(0.4 * (0.25 * float(torch.tanh(double(0.2)))) ** 2)
    free = objective().breakdown.to_dict()
    assert free["total"] == free["task_loss"]


def test_the_report_says_what_is_selected_and_what_rounding_costs() -> None:
    report = objective()
    assert report.selected_bitstream_length == 64 == report.selected_config.bitstream_length
    assert report.selected_encoding == "bipolar" == report.selected_config.encoding
    assert report.selected_correlation == report.selected_config.correlation
    assert report.selected_correlation * 256 == round(float(report.correlation) * 256)
    assert float(report.length_probabilities.sum()) == pytest.approx(1)
    assert float(report.encoding_probabilities.sum()) == pytest.approx(1)
    assert 64 < float(report.expected_bitstream_length) < 256
    assert report.prediction.shape == (3, 2)
    assert report.rounding_cost == pytest.approx(report.selected_task_loss - float(report.breakdown.task_loss))


@pytest.mark.parametrize("favourite", [0, 1, 2])
def test_unrepresentable_inputs_saturate_whatever_is_selected(favourite: int) -> None:
    """-0.4 under unipolar is seen as 0 by that branch, also when it is the selected one, and is reported."""
    logits = torch.zeros(3, dtype=torch.float64)
    logits[favourite] = 3.0
    report = objective(encoding_logits=logits)
    assert bool(torch.isfinite(report.breakdown.total))
    assert report.saturated_share == pytest.approx({"bipolar": 0.0, "unipolar": 2 / 10, "sign_magnitude": 0.0})
    only = SCBackpropDesignSpace((64,), ("unipolar",), 0.0, 0.0)
    inputs, weight = double([[0.2, -0.4]]), double([[0.5, 0.5]])
    seen = objective(space=only, inputs=inputs, weight=weight, bias=None, targets=double([[0.0]]), **single())
    assert seen.prediction.item() == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"inputs": double([0.1, 0.2])}, ShapeError, "inputs"),
        ({"targets": double([[0.1]])}, ShapeError, "targets"),
        ({"bias": double([0.1])}, ShapeError, "bias"),
        ({"length_logits": double([0.1])}, ShapeError, "length_logits"),
        ({"encoding_logits": double([0.1])}, ShapeError, "encoding_logits"),
        ({"correlation_logit": double([0.1])}, ShapeError, "correlation_logit"),
        ({"weight": double([[float("nan"), 0.1], [0.1, 0.1]])}, RangeError, "weight"),
        ({"inputs": double([[float("inf"), 0.1]] * 3)}, RangeError, "inputs"),
        ({"length_logits": double([0.1, float("nan"), 0.2])}, RangeError, "length_logits"),
        ({"weight": torch.zeros(2, 2, dtype=torch.int64)}, ShapeError, "floating"),
        ({"inputs": "text"}, ShapeError, "inputs"),
    ],
)
def test_bad_tensors(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        objective(**changes)


def test_a_layer_too_large_for_sampling_is_refused() -> None:
    inputs, weight = torch.zeros(64, 64), torch.zeros(64, 64)
    with pytest.raises(RangeError, match="pathwise_relaxation"):
        objective("score_function", inputs=inputs, weight=weight, targets=torch.zeros(64, 64), bias=None)


@pytest.mark.parametrize(
    "changes",
    [
        {"bitstream_lengths": ()},
        {"bitstream_lengths": (8, 4)},
        {"bitstream_lengths": (True,)},
        {"encodings": ("gray",)},
        {"min_correlation": -1.5},
        {"min_correlation": 0.5, "max_correlation": 0.1},
    ],
)
def test_bad_design_spaces(changes: dict[str, Any]) -> None:
    with pytest.raises(RangeError):
        SCBackpropDesignSpace(**changes)


@pytest.mark.parametrize("name", ["length_cost_weight", "correlation_cost_weight", "resource_cost_weight"])
@pytest.mark.parametrize("value", [-1.0, float("nan"), "1", None])
def test_bad_cost_weights(name: str, value: Any) -> None:
    with pytest.raises(RangeError, match=name):
        SCTrainingObjectiveConfig(**{name: value})


def test_area_model_is_linear_in_products_and_monotone() -> None:
    small, large = (dense_area(64, out, "unipolar", 64) for out in (32, 64))
    assert small < large < 2 * small + 1
    lengths = [dense_area_time(64, 32, "bipolar", length) for length in (4, 8, 64)]
    assert lengths == sorted(lengths)
    assert dense_area(8, 8, "unipolar", 8, correlated=True) > dense_area(8, 8, "unipolar", 8)
