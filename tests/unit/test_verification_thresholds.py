"""Spike functions of a potential and a learnable threshold, and other ways of claiming or running wrongly."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bitprop.errors import ConfigError, DataError
from bitprop.surrogate import make_surrogate
from bitprop.testing import assert_gradients
from bitprop.verification.claim import Claim, SiteClaim
from bitprop.verification.replay import RunError
from bitprop.verification.suite import BackpropagationVerificationSuite, verify

X = 2 * torch.rand(10, 6, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(6) % 3


class Crossing(torch.autograd.Function):
    """A spike at ``u >= threshold``; ``factor`` is the slope by the threshold in units of the right one."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, threshold: Tensor, factor: float | None) -> Tensor:
        ctx.save_for_backward(u, threshold)
        ctx.factor = factor
        return (u >= threshold).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        u, threshold = ctx.saved_tensors
        q = grads[0] / (1 + (torch.pi * (u - threshold)) ** 2)
        if ctx.factor is None:
            return q, None, None
        return q, (-ctx.factor * q).sum_to_size(threshold.shape), None


class Net(nn.Module):
    def __init__(self, shape: tuple[int, ...], factor: float | None, *, expanded: bool = False) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.enter, self.leave = nn.Linear(4, 8), nn.Linear(8, 3)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        self.threshold = nn.Parameter(torch.full(shape, 0.8))
        self.factor, self.expanded = factor, expanded

    def forward(self, x: Tensor) -> Any:
        u, total = torch.zeros(x.shape[1], 8, dtype=x.dtype), 0.0
        for x_t in x:
            u = 0.9 * u + self.enter(x_t)
            threshold = self.threshold.expand(u.shape) if self.expanded else self.threshold
            s = Crossing.apply(u, threshold, self.factor)  # type: ignore[no-untyped-call]
            u = u - s * self.threshold
            total = total + self.leave(s)
        return total


CASES = [((), False), ((1,), False), ((8,), False), ((8,), True), ((), True)]


@pytest.mark.parametrize(("shape", "expanded"), CASES)
@pytest.mark.parametrize("suite", ["quick", "full"])
def test_a_right_threshold_passes(shape: tuple[int, ...], expanded: bool, suite: Any) -> None:
    report = verify(Net(shape, 1.0, expanded=expanded), X, Y, nn.functional.cross_entropy, suite=suite)
    assert report.status == "PASS", report.to_text()


@pytest.mark.parametrize("factor", [-1.0, 0.0, 0.5, 1.001, None])
@pytest.mark.parametrize(("shape", "expanded"), CASES)
def test_a_wrong_slope_by_the_threshold_fails(shape: tuple[int, ...], expanded: bool, factor: float | None) -> None:
    report = verify(Net(shape, factor, expanded=expanded), X, Y, nn.functional.cross_entropy)
    assert report["tangent_replay"].status == "FAIL"
    assert "threshold" in report["tangent_replay"].detail


# --- precision ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_verified_in_float64_and_not_blamed_for_its_rounding(dtype: torch.dtype) -> None:
    report = verify(Net((8,), 1.0).to(dtype), X.to(dtype), Y, nn.functional.cross_entropy, suite="full")
    assert report.status == "PASS", report.to_text()
    assert report["tangent_replay_native"].status == "SKIPPED"


class Mixed(Net):
    """A matrix that is neither a parameter nor a buffer."""

    def __init__(self) -> None:
        super().__init__((8,), 1.0)
        self.matrix = 1.5 * torch.eye(3)

    def forward(self, x: Tensor) -> Any:
        return super().forward(x) @ self.matrix


def test_a_tensor_that_is_a_plain_attribute_is_held_in_float64_too() -> None:
    model = Mixed()
    before = model.matrix
    assert verify(model, X, Y, nn.functional.cross_entropy).status == "PASS"
    assert model.matrix.dtype == torch.float32
    assert torch.equal(model.matrix, before)


# --- two layers in one module ---------------------------------------------------------------------------------------

SPIKE = make_surrogate("atan", 2.0)


class Two(nn.Module):
    """Two layers of neurons in one loop; either may have its reset detached."""

    def __init__(self, first: bool, second: bool) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(2)
        self.enter, self.between = nn.Linear(4, 8), nn.Linear(8, 3)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Any:
        u, v = torch.zeros(x.shape[1], 8, dtype=x.dtype), torch.zeros(x.shape[1], 3, dtype=x.dtype)
        total = torch.zeros_like(v)
        for x_t in x:
            u = 0.9 * u + self.enter(x_t)
            s = SPIKE(u - 1.0)
            u = u - (s.detach() if self.first else s)
            v = 0.9 * v + self.between(s)
            z = SPIKE(v - 1.0)
            v = v - (z.detach() if self.second else z)
            total = total + z
        return total


@pytest.mark.parametrize("claimed", ["attached", "detached"])
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("second", [False, True])
def test_every_layer_has_the_claimed_reset(claimed: Any, first: bool, second: bool) -> None:
    claim = Claim(surrogate="atan", scale=2.0, reset=claimed)
    report = verify(Two(first, second), X, Y, nn.functional.cross_entropy, claim=claim)
    assert report.status == ("PASS" if first == second == (claimed == "detached") else "FAIL"), report.to_text()


# --- operations without a forward mode, and none of spikes ----------------------------------------------------------


class Attention(nn.Module):
    """Attention over time before the neurons."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(2)
        self.enter, self.leave = nn.Linear(4, 8), nn.Linear(8, 3)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)

    def forward(self, x: Tensor) -> Any:
        heads = self.enter(x).reshape(*x.shape[:2], 2, 4).transpose(0, 2)
        mixed = nn.functional.scaled_dot_product_attention(heads, heads, heads).transpose(0, 2).reshape(*x.shape[:2], 8)
        u, total = torch.zeros(x.shape[1], 8, dtype=x.dtype), 0.0
        for x_t in mixed:
            u = 0.9 * u + x_t
            s = SPIKE(u - 0.5)
            u, total = u - s, total + self.leave(s)
        return total


def test_attention_is_replayed() -> None:
    claim = Claim(surrogate="atan", scale=2.0, reset="attached")
    assert verify(Attention(), X, Y, nn.functional.cross_entropy, claim=claim).status == "PASS"


class Doubled(torch.autograd.Function):
    """Twice its input, and a little more backwards."""

    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        return 2.0 * x

    @staticmethod
    def backward(_ctx: Any, *grads: Tensor) -> Tensor:
        return 2.001 * grads[0]


def test_a_wrong_custom_function_behind_which_no_spike_comes() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Any:
            return Doubled.apply(self.layer(x))  # type: ignore[no-untyped-call]

    report = verify(Last(), X[0], Y, nn.functional.cross_entropy)
    assert report["tangent_replay"].status == "FAIL"
    assert report["tangent_replay"].where.tensor in ("layer.weight", "layer.bias")


# --- claims and runs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "claim",
    [Claim(sites=(SiteClaim("nothere*", surrogate="atan"),)), Claim(unused=("nothere",))],
    ids=["site", "unused"],
)
def test_a_claim_that_fits_nothing_is_refused(claim: Claim) -> None:
    with pytest.raises(ConfigError, match="to fit something"):
        verify(Net((8,), 1.0), X, Y, nn.functional.cross_entropy, claim=claim)


def test_an_exit_inside_the_model_is_an_error() -> None:
    class Leaves(Net):
        def forward(self, x: Tensor) -> Any:
            raise SystemExit(0)

    with pytest.raises(RunError, match="SystemExit"):
        verify(Leaves((8,), 1.0), X, Y, nn.functional.cross_entropy)


def test_a_keyword_that_no_claim_has() -> None:
    with pytest.raises(ConfigError, match="resett"):
        assert_gradients(Net((8,), 1.0), X, Y, nn.functional.cross_entropy, resett="attached")


def trained(batches: list[Any], rate: float) -> Any:
    model = Net((8,), 1.0)
    suite = BackpropagationVerificationSuite(suite="quick", epochs=2)
    return suite.run_full_verification(
        model, batches, nn.functional.cross_entropy, torch.optim.SGD(model.parameters(), lr=rate)
    )


def test_a_training_that_diverges_is_no_pass() -> None:
    report = trained([(X, Y)], 1e30)
    assert report["convergence"].verdict == "diverged"
    assert report.status == "FAIL"


def test_batches_that_are_not_numbers_or_not_batches() -> None:
    with pytest.raises(DataError, match="finite inputs"):
        trained([(X, Y), (X * float("nan"), Y)], 0.1)
    with pytest.raises(ValueError, match="batches"):
        trained([(X,)], 0.1)
