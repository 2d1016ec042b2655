"""The documented Python snippet, word for word but for the package name, and every field its report promises."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from bitprop.nn.sources import config_sources
from bitprop.training.sc_estimators import DifferentiableSCConfig
from bitprop.training.stochastic_backprop import SCJointObjectiveReport

SNIPPET = """
import torch

from bitprop.training.sc_estimators import DifferentiableSCConfig
from bitprop.training.stochastic_backprop import (
    SCBackpropDesignSpace,
    SCTrainingObjectiveConfig,
    stochastic_backprop_joint_objective,
)

inputs = torch.tensor([[0.2, -0.4], [0.8, 0.1]], dtype=torch.float32)
targets = torch.tensor([[0.3], [0.6]], dtype=torch.float32)
weight = torch.tensor([[0.25, -0.35]], dtype=torch.float32, requires_grad=True)
bias = torch.tensor([0.05], dtype=torch.float32, requires_grad=True)
length_logits = torch.tensor([0.6, -0.2, 0.1], dtype=torch.float32, requires_grad=True)
encoding_logits = torch.tensor([0.8, -0.3], dtype=torch.float32, requires_grad=True)
correlation_logit = torch.tensor(0.2, dtype=torch.float32, requires_grad=True)

report = stochastic_backprop_joint_objective(
    inputs,
    targets,
    weight=weight,
    bias=bias,
    length_logits=length_logits,
    encoding_logits=encoding_logits,
    correlation_logit=correlation_logit,
    base_config=DifferentiableSCConfig(
        bitstream_length=128,
        encoding="bipolar",
        generator="sobol",
        estimator="pathwise_relaxation",
        input_seed=3,
        weight_seed=11,
        correlation=0.0,
    ),
    design_space=SCBackpropDesignSpace(
        bitstream_lengths=(64, 128, 256),
        encodings=("bipolar", "unipolar"),
        min_correlation=-0.25,
        max_correlation=0.25,
    ),
    objective_config=SCTrainingObjectiveConfig(
        length_cost_weight=1.5,
        correlation_cost_weight=0.4,
        encoding_cost_weight=0.3,
    ),
)

report.breakdown.total.backward()
"""


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    space: dict[str, Any] = {}
    exec(compile(SNIPPET, "snippet", "exec"), space)  # noqa: S102 - the documented text itself
    return space


@pytest.fixture(scope="module")
def report(names: dict[str, Any]) -> SCJointObjectiveReport:
    found = names["report"]
    assert isinstance(found, SCJointObjectiveReport)
    return found


@pytest.mark.parametrize("variable", ["weight", "bias", "length_logits", "encoding_logits", "correlation_logit"])
def test_the_gradient_reaches(names: dict[str, Any], variable: str) -> None:
    gradient = names[variable].grad
    assert gradient is not None
    assert bool(torch.isfinite(gradient).all())
    assert bool((gradient != 0).any())


def test_the_report_has_the_relaxed_prediction(report: SCJointObjectiveReport) -> None:
    assert report.prediction.shape == (2, 1)
    assert bool(torch.isfinite(report.prediction).all())


def test_the_report_has_the_objective_breakdown(report: SCJointObjectiveReport) -> None:
    terms = report.breakdown.to_dict()
    assert set(terms) == {
        "task_loss",
        "length_cost",
        "correlation_cost",
        "encoding_cost",
        "resource_cost",
        "total",
    }
    assert all(math.isfinite(value) and value >= 0 for value in terms.values())
    assert terms["total"] == pytest.approx(sum(value for name, value in terms.items() if name != "total"), rel=1e-6)


def test_the_report_has_an_exportable_config(report: SCJointObjectiveReport) -> None:
    config = report.selected_config
    assert isinstance(config, DifferentiableSCConfig)
    assert config.exportable
    assert config_sources(config).activation.exportable
    assert (config.bitstream_length, config.encoding, config.generator) == (64, "bipolar", "sobol")
    assert config.correlation == report.selected_correlation


def test_the_report_has_probabilities(report: SCJointObjectiveReport) -> None:
    expected = torch.softmax(torch.tensor([0.6, -0.2, 0.1]), 0)
    torch.testing.assert_close(report.length_probabilities.detach(), expected)
    torch.testing.assert_close(report.encoding_probabilities.detach(), torch.softmax(torch.tensor([0.8, -0.3]), 0))
    cycles = torch.tensor([64.0, 128.0, 256.0])
    assert float(report.expected_bitstream_length.detach()) == pytest.approx(float((expected * cycles).sum()), rel=1e-6)


def test_the_report_has_the_selections(report: SCJointObjectiveReport) -> None:
    assert report.selected_bitstream_length == 64
    assert report.selected_encoding == "bipolar"
    assert report.selected_correlation == round(0.25 * math.tanh(0.2) * 256) / 256
