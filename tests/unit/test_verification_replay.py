"""The tangent replay on modules written in many ways: right ones pass, wrong ones are found and located."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bitprop.errors import DataError, RangeError, ShapeError
from bitprop.nn import SpikingConvNetwork, SpikingNetwork
from bitprop.surrogate import FastSigmoid, make_surrogate
from bitprop.verification.claim import Claim
from bitprop.verification.replay import OpaqueSpikesError, RunError, check_tangent_replay, replay_session
from bitprop.verification.replay._carrier import COMPLEX, DUAL

bound_early = FastSigmoid.apply


class Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x > 0).float()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad / (1 + 25 * x.abs()) ** 2


def named_spike(x: Tensor) -> Tensor:
    """A spike that no hook sees: a plain function with a straight-through construct."""
    soft = torch.atan(math.pi * x) / math.pi
    return (x >= 0).to(x.dtype) + soft - soft.detach()


class Net(nn.Module):
    """A leaky integrate-and-fire layer in a loop, with what a test wants between its lines."""

    def __init__(
        self,
        spike: Callable[[Tensor], Tensor] = bound_early,
        *,
        between: Callable[[Tensor], Tensor] = lambda u: u,
        head: Callable[[Tensor], Tensor] = lambda o: o,
        attach: bool = True,
    ) -> None:
        super().__init__()
        state = torch.get_rng_state()
        torch.manual_seed(5)
        self.enter, self.leave = nn.Linear(6, 10), nn.Linear(10, 3)
        torch.set_rng_state(state)
        self.spike, self.between, self.head, self.attach = spike, between, head, attach

    def forward(self, x: Tensor) -> Tensor:
        u: Tensor = torch.zeros(x.shape[1], 10)
        total: Any = 0
        for x_t in x:
            u = self.between(0.9 * u + self.enter(x_t))
            s = self.spike(u - 0.5)
            u = u - 0.5 * (s if self.attach else s.detach())
            total = total + self.leave(s)
        return self.head(total)


def data(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return (torch.rand(7, 5, 6, generator=generator) * 2).to(dtype), torch.randint(0, 3, (5,), generator=generator)


def check(model: nn.Module, **options: Any) -> Any:
    x, y = data()
    options.setdefault("claim", Claim(surrogate="fast_sigmoid", scale=25.0, reset="attached"))
    return check_tangent_replay(model, x, y, functional.cross_entropy, **options)


def test_a_right_network_passes_and_is_left_as_it_was() -> None:
    model = Net()
    weight = model.enter.weight
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    weight.grad = torch.ones_like(weight)
    state = torch.get_rng_state()
    result = check(model)
    assert result.status == "PASS", result.to_text()
    assert result.statistic < 1e-12
    assert result.coverage["neurons"] == 1.0
    assert result.coverage["parameters"] > 0.9
    assert result.dtype == "float64"
    assert model.enter.weight is weight
    assert weight.dtype == torch.float32
    assert torch.equal(weight.grad, torch.ones_like(weight))
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert torch.equal(state, torch.get_rng_state())
    assert torch.get_default_dtype() == torch.float32


def test_native_precision_has_its_own_tolerance() -> None:
    result = check(Net(Step.apply), dtype="native")
    assert result.status == "PASS", result.to_text()
    assert result.tolerance == 1e-4
    assert 1e-9 < result.statistic < 1e-4
    wrong = make_surrogate("fast_sigmoid", 25.1)
    assert check(Net(wrong), dtype="native").status == "FAIL"


@pytest.mark.parametrize("scale", [1e-8, 1e-4, 1.0, 1e6])
def test_the_statistic_does_not_know_the_size_of_the_loss(scale: float) -> None:
    x, y = data()
    claim = Claim(surrogate="fast_sigmoid", scale=25.0)
    for spike, status in ((bound_early, "PASS"), (make_surrogate("fast_sigmoid", 25.025), "FAIL")):
        result = check_tangent_replay(
            Net(spike), x, y, lambda o, t: scale * functional.cross_entropy(o, t), claim=claim
        )
        assert result.status == status, result.to_text()


def test_a_spike_that_returns_float32_is_verified_in_float64() -> None:
    assert check(Net(Step.apply)).status == "PASS"


@pytest.mark.parametrize(
    "head",
    [
        lambda o: functional.softmax(o, -1),
        lambda o: functional.layer_norm(o, (3,)),
        lambda o: functional.relu(o) + functional.leaky_relu(o),
        lambda o: functional.gelu(o) * functional.softplus(o),
        lambda o: o / o.norm(dim=1, keepdim=True),
        lambda o: (0.1 * o).clamp(-1, 1).abs() * (1 + o.var(1, keepdim=True)),
        lambda o: functional.normalize(o) + o.std(0),
        lambda o: torch.maximum(o, -o) * o.max(1, keepdim=True).values,
        lambda o: torch.where(o > 0, o, 0.1 * o).sort(1).values,
        lambda o: torch.einsum("bi,bj->bi", o, o),
        lambda o: functional.batch_norm(o, None, None, training=True),
        lambda o: torch.stack([o[:, 0] * 2, o[:, 1].exp(), o[:, 2].sin()], 1),
    ],
)
def test_smooth_and_piecewise_operations_around_spikes(head: Callable[[Tensor], Tensor]) -> None:
    model = Net(head=head)
    result = check(model, per_tensor=True)
    assert result.status in ("PASS", "VACUOUS"), result.to_text()
    assert result.statistic < 1e-10
    wrong = check(Net(make_surrogate("fast_sigmoid", 27.0), head=head))
    assert wrong.status == "FAIL"


def test_both_carriers_agree() -> None:
    x, y = data()
    claim = Claim(surrogate="fast_sigmoid", scale=25.0)
    for model in (Net(), SpikingConvNetwork((1, 4, 4), (3,), 3, steps=4).double()):
        inputs = x if isinstance(model, Net) else torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(1)) * 3
        loss = (
            functional.cross_entropy if isinstance(model, Net) else lambda o, t: functional.cross_entropy(o.logits, t)
        )
        with replay_session(model, inputs, y, loss, claim=claim, dtype="float64") as session:
            direction = {name: torch.ones_like(g) for name, g in session.gradients.items()}
            values = [session.replay(direction, carrier=carrier) for carrier in (COMPLEX, DUAL)]
            computed = sum(float(g.sum()) for g in session.gradients.values())
        assert values[0].tangent == pytest.approx(values[1].tangent, rel=1e-12)
        assert values[0].tangent == pytest.approx(computed, rel=1e-12)
        assert values[0].loss == pytest.approx(session.loss, rel=1e-12)
        assert [v.misaligned for v in values] == [0, 0]


def test_in_place_buffers_and_batch_norm_state() -> None:
    class Writes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Net()
            self.norm = nn.BatchNorm1d(3)

        def forward(self, x: Tensor) -> Tensor:
            out = torch.empty(len(x), x.shape[1], 3)
            for t in range(len(x)):
                out[t] = self.net(x[: t + 1])
            return self.norm(out.sum(0))  # type: ignore[no-any-return]

    model = Writes()
    kept = model.norm.running_mean
    assert check(model).status == "VACUOUS"  # nothing moves when a bias in front of a normalisation does
    claim = Claim(surrogate="fast_sigmoid", reset="attached", unused=("net.leave.bias",))
    result = check(model, claim=claim)
    assert result.status == "PASS", result.to_text()
    assert model.norm.running_mean is kept
    assert bool((kept == 0).all())


def test_dropout_and_noise_use_the_same_draws() -> None:
    model = Net(head=lambda o: functional.dropout(o, 0.3, training=True) + torch.rand_like(o))
    assert check(model).status == "PASS"


def test_scale_is_located_with_ratio_line_and_step() -> None:
    result = check(Net(make_surrogate("fast_sigmoid", 27.5)))
    assert result.status == "FAIL"
    assert "FastSigmoidSurrogate" in result.detail
    assert result.where.tensor in ("enter.weight", "enter.bias")
    assert result.where.index is not None
    assert "test_verification_replay.py" in str(result.where.line)
    assert result.where.step is not None
    assert result.where.ratio not in (None, 1.0)


def test_detached_reset_is_located_at_its_line() -> None:
    result = check(Net(attach=False))
    assert result.status == "FAIL"
    assert "detaches a spike" in result.detail
    assert check(Net(attach=False), claim=Claim(surrogate="fast_sigmoid", reset="detached")).status == "PASS"
    assert check(Net(attach=False), claim=Claim(surrogate="fast_sigmoid")).status == "PASS"


def test_a_cut_can_be_claimed() -> None:
    model = Net(between=lambda u: u.detach() * 0.5 + u * 0.5)
    failed = check(model)
    assert failed.status == "FAIL"
    assert "backpropagation through time is cut" in failed.detail
    line = str(failed.where.line).rpartition("/")[2]
    claim = Claim(surrogate="fast_sigmoid", reset="attached", cuts=(line,))
    assert check(model, claim=claim).status == "PASS"


@pytest.mark.parametrize("where", [0, 7, 33, 59])
def test_one_dead_weight_is_found_exactly(where: int) -> None:
    model = Net()

    def hook(grad: Tensor) -> Tensor:
        mask = torch.ones_like(grad)
        mask.view(-1)[where] = 0
        return grad * mask

    model.enter.weight.register_hook(hook)
    result = check(model)
    assert result.status == "FAIL"
    assert result.where.tensor == "enter.weight"
    assert result.where.index == (where // 6, where % 6)
    assert result.where.computed == 0.0
    assert result.where.ratio == 0.0


def test_a_held_diagonal_is_no_error() -> None:
    class Recurrent(nn.Module):
        def __init__(self, *, start: float) -> None:
            super().__init__()
            self.enter = nn.Linear(6, 10)
            self.again = nn.Parameter(0.3 * torch.randn(10, 10, generator=torch.Generator().manual_seed(1)))
            with torch.no_grad():
                self.again.fill_diagonal_(start)
            self.again.register_hook(lambda g: g * (1 - torch.eye(10, dtype=g.dtype)))

        def forward(self, x: Tensor) -> Tensor:
            u, s = torch.zeros(x.shape[1], 10), torch.zeros(x.shape[1], 10)
            total: Any = 0
            for x_t in x:
                u = 0.9 * u + self.enter(x_t) + s @ self.again
                s = bound_early(u - 0.5)
                u, total = u - 0.5 * s, total + u + s
            return total  # type: ignore[no-any-return]

    right = check(Recurrent(start=0.0))
    assert right.status == "PASS", right.to_text()
    assert "diagonal of again is held at zero" in right.detail
    assert check(Recurrent(start=0.2)).status == "FAIL"


def test_straight_through_needs_its_name_for_a_claimed_slope() -> None:
    name = f"{__name__}:named_spike"
    claim = Claim(surrogate="atan", scale=2.0, reset="attached")
    model = Net(lambda x: named_spike(x))
    assert check(model, claim=Claim()).status == "PASS"
    unnamed = check(model, claim=claim)
    assert unnamed.status == "VACUOUS"
    assert "name the function" in unnamed.detail
    assert check(model, claim=claim.with_changes(spike=(name,))).status == "PASS"
    wrong = check(model, claim=Claim(surrogate="atan", scale=2.002, spike=(name,)))
    assert wrong.status == "FAIL"
    assert "named_spike" in wrong.detail


def test_silence_and_untouched_parameters_are_vacuous() -> None:
    x, y = data()
    quiet = Net(make_surrogate("rectangular", 1.0))
    with torch.no_grad():
        quiet.enter.weight.zero_()
        quiet.enter.bias.fill_(-100.0)
    result = check_tangent_replay(quiet, x, y, functional.cross_entropy)
    assert result.status == "VACUOUS"
    spare = Net()
    spare.spare = nn.Linear(2, 2)
    assert check(spare).status == "VACUOUS"
    claim = Claim(surrogate="fast_sigmoid", reset="attached", unused=("spare.*",))
    assert check(spare, claim=claim).status == "PASS"
    assert check_tangent_replay(nn.ReLU(), x, None, torch.sum).status == "VACUOUS"


class Whole(torch.autograd.Function):
    """Many steps, and their spikes, inside one function."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x.cumsum(0) > 1).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad.flip(0).cumsum(0).flip(0)


def test_spikes_inside_one_function_are_refused_not_blamed() -> None:
    x, _ = data()

    class Fused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter = nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return Whole.apply(self.enter(x)).sum(0)  # type: ignore[no-any-return]

    result = check_tangent_replay(Fused(), x, None, torch.sum)
    assert result.status == "SKIPPED"
    assert "kernel parity" in result.detail
    opened = replay_session(Fused(), x, None, torch.sum, claim=Claim(), dtype="float64")
    with opened as session, pytest.raises(OpaqueSpikesError):
        session.replay({})


def test_loss_without_targets_inputs_as_tuple_and_dictionary() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Net()

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return self.net(a + b)  # type: ignore[no-any-return]

    x, _ = data()
    for inputs in ((x, x), {"a": x, "b": x}):
        assert check_tangent_replay(Two(), inputs, None, lambda o: o.square().mean()).status == "PASS"


def test_networks_of_this_package() -> None:
    x, y = data()
    claim = Claim(surrogate="fast_sigmoid", reset="attached")
    for neuron in ("lif", "synaptic", "adaptive_lif", "recurrent_lif"):
        net = SpikingNetwork((6, 8, 3), neuron=neuron, beta=0.9)
        result = check_tangent_replay(net, 2 * x, y, lambda o, t: functional.cross_entropy(o.logits, t), claim=claim)
        assert result.status == "PASS", result.to_text()


def test_bad_data_losses_and_models_are_errors() -> None:
    x, y = data()
    broken = x.clone()
    broken[1, 2, 3] = float("nan")
    with pytest.raises(DataError, match=r"finite inputs, got nan at \[1, 2, 3\]"):
        check_tangent_replay(Net(), broken, y, functional.cross_entropy)
    with pytest.raises(ShapeError, match="one floating-point number"):
        check_tangent_replay(Net(), x, y, lambda o, t: o)
    with pytest.raises(ShapeError, match=r"torch\.nn\.Module"):
        check_tangent_replay(lambda v: v, x, y, functional.cross_entropy)  # type: ignore[arg-type]
    with pytest.raises(RunError, match="the forward pass raised RuntimeError"):
        check_tangent_replay(Net(), x[..., :3], y, functional.cross_entropy)
    with pytest.raises(RangeError, match="dtype"):
        check_tangent_replay(Net(), x, y, functional.cross_entropy, dtype="float16")  # type: ignore[arg-type]
    with pytest.raises(RangeError, match="seed"):
        check_tangent_replay(Net(), x, y, functional.cross_entropy, seed=-1)


def test_a_gradient_that_is_not_finite_fails() -> None:
    result = check(Net(head=lambda o: (o - o.detach()).sqrt()))
    assert result.status == "FAIL"
    assert "not finite" in result.detail


def test_same_seed_same_result_and_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, second = check(Net()), check(Net())
    assert first == second
    assert check(Net(), seed=1).data != first.data
