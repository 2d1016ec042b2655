"""A budget as a constraint: infeasible ones are refused with the nearest design, gradients point to smaller designs."""

from __future__ import annotations

import pytest
import torch

from bitprop.budget import BudgetConstraint, plan, planned_document
from bitprop.errors import ConfigError, InfeasibleError
from bitprop.graph.timing import latency_cycles
from bitprop.lower import lower
from bitprop.nn import SCNetwork
from bitprop.training.config import BudgetConfig, parse_config

LENGTHS = (2, 16, 64)


def network() -> SCNetwork:
    return SCNetwork((12, 6, 3), lengths=LENGTHS, encodings=("sign_magnitude",))


def budget(**limits: float) -> BudgetConfig:
    return BudgetConfig.model_validate({"clock_mhz": 40.0, **limits})


def test_everything_fits_a_large_budget_and_nothing_a_tiny_one() -> None:
    constraint = BudgetConstraint(network(), budget(lut=100_000, latency_us=1000))
    assert len(constraint.feasible) == len(LENGTHS) ** 2
    assert float(constraint.expected_violation(network()).detach()) == 0
    with pytest.raises(InfeasibleError, match=r"within 20 LUT, 0\.1 us at 40 MHz.*nearest.*L = 2.*raise the budget"):
        BudgetConstraint(network(), budget(lut=20, latency_us=0.1))


def test_the_penalty_pushes_towards_designs_that_fit_and_the_choice_fits() -> None:
    model = network()
    times = sorted(point.use["latency_us"] for point in BudgetConstraint(model, budget(lut=900)).feasible)
    limits = budget(lut=900, latency_us=times[len(times) // 3])
    constraint = BudgetConstraint(model, limits)
    assert 0 < len(constraint.feasible) < len(LENGTHS) ** 2
    logits = [layer.design.length_logits for layer in model.sc_layers()]
    with torch.no_grad():
        for values in logits:
            values.copy_(torch.tensor([0.0, 0.0, 3.0]))  # the longest, which does not fit
    before = float(constraint.expected_violation(model).detach())
    optimizer = torch.optim.SGD(logits, lr=0.5)
    for _ in range(60):
        for _ in range(5):
            optimizer.zero_grad()
            constraint.penalty(model).backward()
            optimizer.step()
        constraint.update(model)
    assert float(constraint.expected_violation(model).detach()) < 0.3 * before
    state = constraint.state()
    fresh = BudgetConstraint(model, limits)
    fresh.load_state(state)
    assert float(fresh.penalty(model).detach()) == float(constraint.penalty(model).detach())
    with torch.no_grad():
        for values in logits:
            values.copy_(torch.tensor([0.0, 0.0, 9.0]))
    constraint.settle(model)
    model.commit()
    point = plan(model, limits)
    assert point.violation == 0
    assert (point.lengths, point.encodings) in [(p.lengths, p.encodings) for p in constraint.feasible]


def test_predicted_cycles_are_those_of_the_document() -> None:
    model = network()
    limits = budget(lut=2000, latency_us=50)
    for point in BudgetConstraint(model, limits).feasible:
        for layer, length in zip(model.sc_layers(), point.lengths, strict=True):
            with torch.no_grad():
                layer.design.length_logits.copy_(torch.tensor([float(length == other) for other in LENGTHS]))
        document = planned_document(lower(model, name="planned"), model, limits)
        assert latency_cycles(document) == point.use["cycles"] == plan(model, limits).use["cycles"]


def test_a_parallel_budget_and_bad_ones() -> None:
    slow = BudgetConfig(lut=50_000, latency_us=100, clock_mhz=5, architecture="parallel")
    constraint = BudgetConstraint(network(), slow)
    assert {point.folds for point in constraint.feasible} == {(None, None)}
    first = constraint.feasible[0]
    assert first.use["cycles"] == sum(length + 2 for length in first.lengths) + 1
    with pytest.raises(ConfigError, match="combinations"):
        BudgetConstraint(SCNetwork((4, 4, 4, 4), lengths=tuple(range(1, 30))), slow)
    with pytest.raises(ConfigError, match="joint_epochs"):
        parse_config({"budget": {"lut": 5}, "training": {"joint_epochs": 0}})
    with pytest.raises(ConfigError, match="latency_us"):
        parse_config({"budget": {"latency_us": -1}})
