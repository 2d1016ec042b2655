"""Comparison: operations counted exactly, unequal sizes refused, pairs and intervals."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from bitprop.errors import RangeError
from bitprop.nn import SpikingNetwork
from bitprop.training.spiking import SpikingTrainConfig
from bitprop.verification.claim import Claim
from bitprop.verification.comparison import ComparativeBenchmark, count_operations
from bitprop.verification.suite import BackpropagationVerificationSuite


def test_operations_of_dense_layers() -> None:
    spikes = count_operations(nn.Linear(3, 4), torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]]))
    assert (spikes.additions, spikes.multiplications, spikes.spikes) == (6.0, 0.0, 1.5)
    analogue = count_operations(nn.Linear(3, 4), torch.tensor([[0.5, 0.0, 1.0]]))
    assert (analogue.additions, analogue.multiplications) == (0.0, 8.0)
    assert analogue.energy_proxy_pj == pytest.approx(8 * 4.6)


def test_operations_of_convolutions_know_the_border() -> None:
    x = torch.zeros(1, 1, 4, 4)
    layer = nn.Conv2d(1, 2, 3, padding=1)
    x[0, 0, 1, 1] = 1.0  # reaches 9 places in 2 channels
    assert count_operations(layer, x).additions == 18.0
    x.zero_()
    x[0, 0, 0, 0] = 1.0  # a corner reaches 4
    assert count_operations(layer, x).additions == 8.0


def test_operations_of_a_spiking_network() -> None:
    net = SpikingNetwork((4, 6, 3), steps=5)
    x = 3 * torch.rand(8, 4, generator=torch.Generator().manual_seed(0))
    counted = count_operations(net, x)
    assert counted.multiplications == 4 * 6  # the constant input is multiplied once
    with torch.no_grad():
        spikes = float(net(x).spikes[0].sum()) / 8
    assert counted.additions == pytest.approx(spikes * 3)
    assert counted.spikes == pytest.approx(spikes)


def task() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.rand(200, 4, generator=torch.Generator().manual_seed(1))
    return x, (x[:, 0] > x[:, 1]).long()


def snn(seed: int) -> nn.Module:
    return SpikingNetwork((4, 16, 2), steps=6, surrogate="atan", seed=seed)


def ann(seed: int) -> nn.Module:
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    made = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
    torch.set_rng_state(state)
    return made


def loss(output: object, y: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(getattr(output, "logits", output), y)


def test_pairs_and_intervals() -> None:
    x, y = task()
    config = SpikingTrainConfig(epochs=4, batch=20, learning_rate=0.02)
    result = ComparativeBenchmark().benchmark_training(
        snn, ann, (x[:150], y[:150]), (x[150:], y[150:]), loss, config=config, seeds=(0, 1, 2)
    )
    spiking, conventional = result.rows
    assert spiking["parameters"] == conventional["parameters"]
    assert min(*spiking["accuracies"], *conventional["accuracies"]) > 0.7
    pairs = [a - b for a, b in zip(spiking["accuracies"], conventional["accuracies"], strict=True)]
    assert result.difference == pytest.approx(sum(pairs) / 3)
    assert result.difference_interval[0] <= result.difference <= result.difference_interval[1]
    assert conventional["multiplications"] > 0
    assert "proxy" in result.energy
    first, second, difference = result.to_text().splitlines()
    assert first.startswith(f"spiking: {spiking['parameters']:,} parameters, accuracy {spiking['accuracy']:.2%}")
    assert second.startswith("conventional: ")
    assert f"{100 * result.difference:+.2f} points" in difference
    again = ComparativeBenchmark().benchmark_training(
        snn, ann, (x[:150], y[:150]), (x[150:], y[150:]), loss, config=config, seeds=(0, 1, 2)
    )
    assert [row["accuracies"] for row in again.rows] == [row["accuracies"] for row in result.rows]


def test_unequal_sizes_and_single_seeds_are_refused() -> None:
    x, y = task()
    with pytest.raises(RangeError, match="numbers of parameters within 1%"):
        ComparativeBenchmark().benchmark_training(snn, lambda seed: nn.Linear(4, 2), (x, y), (x, y), loss, seeds=(0, 1))
    with pytest.raises(RangeError, match="two different seeds"):
        ComparativeBenchmark().benchmark_training(snn, ann, (x, y), (x, y), loss, seeds=(3, 3))


def test_full_verification() -> None:
    x, y = task()
    batches = [(x[:50], y[:50]), (x[50:100], y[50:100])]
    suite = BackpropagationVerificationSuite(claim=Claim(surrogate="atan", reset="attached"), epochs=3)
    net = snn(0)
    report = suite.run_full_verification(
        net, batches, loss, torch.optim.Adam(net.parameters(), lr=0.01),
        snn_factory=snn, ann_factory=ann, test=(x[100:], y[100:]),
    )  # fmt: skip
    assert report.status == "PASS", report.to_text()
    assert set(report["stability"]) == {"gradient", "weight"}
    assert report["convergence"].losses[0][0] > report["convergence"].losses[0][-1]
    assert len(report["comparison"].rows) == 2
    text = suite.generate_report(report)
    for word in ("tangent_replay", "convergence:", "spiking less conventional", "proxy"):
        assert word in text
    assert report.to_dict()["comparison"]["seeds"] == [0, 1, 2, 3, 4]
