"""The reference task: reproducible, checked at the door, lowered to the integers that it measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from bitprop.errors import RangeError
from bitprop.graph.interpret import run
from bitprop.handoff.reference_task import TaskArguments, rounded, train_reference_task
from bitprop.training.stochastic_backprop import stochastic_backprop_joint_objective


@pytest.mark.parametrize(
    "fields",
    [
        {"bitstream_length": 0},
        {"bitstream_length": 12},
        {"bitstream_length": 1 << 17},
        {"bitstream_length": True},
        {"steps": 0},
        {"steps": 1.5},
        {"learning_rate": 0.0},
        {"learning_rate": float("inf")},
        {"learning_rate": "0.4"},
    ],
)
def test_arguments_out_of_range(fields: dict[str, Any]) -> None:
    with pytest.raises(RangeError):
        TaskArguments(**fields)


def test_the_document_computes_what_was_measured() -> None:
    trained = train_reference_task(TaskArguments(64, 6, 0.4))
    layer = trained.document.layers[0]
    outputs = run(trained.document, trained.inputs_raw).logits / layer.length
    error = float(np.mean((outputs - trained.task.held_out_targets.numpy()) ** 2))
    assert trained.fields["trained"]["held_out_exported_task_loss"] == pytest.approx(error, rel=1e-8)
    # and the objective's own bit-true forward agrees, but for the bias, which hardware rounds to whole counts
    base = replace(trained.task.base_config, estimator="straight_through")
    report = stochastic_backprop_joint_objective(
        trained.task.held_out_inputs,
        trained.task.held_out_targets,
        **trained.parameters,
        base_config=base,
        design_space=trained.task.design_space,
    )
    assert report.selected_task_loss == pytest.approx(error, abs=np.sqrt(error) / layer.length + 1e-3)
    assert layer.encoding == trained.report.selected_encoding
    assert layer.length == trained.report.selected_bitstream_length


def test_training_uses_no_global_state() -> None:
    arguments = TaskArguments(32, 2, 0.4)
    torch.manual_seed(1)
    threads = torch.get_num_threads()
    state = torch.get_rng_state()
    first = train_reference_task(arguments).fields
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    torch.manual_seed(2)
    assert train_reference_task(arguments).fields == first


def test_a_rate_that_diverges_says_so() -> None:
    with pytest.raises(RangeError, match="lower it"):
        train_reference_task(TaskArguments(32, 32, 10.0))


def test_rounding_reaches_every_float_and_nothing_else() -> None:
    assert rounded({"a": [0.1 + 0.2, 1, True, None, "x"], "b": {"c": 1 / 3}}) == {
        "a": [0.3, 1, True, None, "x"],
        "b": {"c": 0.333333333},
    }
