"""Operations without a forward derivative, parametrized weights, and programs that the replay cannot follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bitprop.errors import DataError, ShapeError
from bitprop.surrogate import make_surrogate
from bitprop.verification.claim import Claim
from bitprop.verification.replay import RunError, check_tangent_replay
from bitprop.verification.replay._carrier import COMPLEX, DUAL, AbstractCarrier, CarrierError
from bitprop.verification.suite import verify

SPIKE = make_surrogate("atan", 2.0)
CLAIM = Claim(surrogate="atan", scale=2.0)


class Net(nn.Module):
    """A layer of neurons; a test says what the layer and the outputs go through."""

    def __init__(self, *, spike: Any = SPIKE, outputs: Callable[[nn.Module, Tensor], Tensor] = lambda _, y: y) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.enter, self.leave = nn.Linear(3, 4), nn.Linear(4, 2)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        self._spike, self._outputs = spike, outputs

    def forward(self, x: Tensor) -> Tensor:
        u, total = torch.zeros(x.shape[1], 4, dtype=x.dtype), torch.zeros(x.shape[1], 4, dtype=x.dtype)
        for x_t in x:
            u = 0.9 * u + self.enter(x_t)
            s = self._spike(u - 0.5)
            u, total = u - 0.5 * s, total + s
        return self._outputs(self, self.leave(total))


def data(samples: int = 6) -> tuple[Tensor, Tensor]:
    return torch.rand(5, samples, 3, generator=torch.Generator().manual_seed(1)) * 2, torch.ones(samples, 2)


class Halved(torch.autograd.Function):
    """The right spikes with half of the claimed slope."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        with torch.enable_grad():
            x = ctx.saved_tensors[0].detach().requires_grad_()
            slope: Tensor = torch.autograd.grad(SPIKE(x).sum(), x)[0]
        return 0.5 * grad * slope


def normalised(net: Net) -> Net:
    """Its first weight with spectral normalisation, whose power iteration works in buffers during training."""
    net.enter = nn.utils.parametrizations.spectral_norm(net.enter)
    return net.train()


def distances(net: nn.Module, y: Tensor) -> Tensor:
    weight: Tensor = net.leave.weight  # type: ignore[assignment, union-attr]
    return torch.cdist(y, weight.T[:2])  # PyTorch has neither complex numbers nor a forward derivative for it


@pytest.mark.parametrize(("spike", "status"), [(SPIKE, "PASS"), (Halved.apply, "FAIL")], ids=["right", "halved"])
@pytest.mark.parametrize(
    "make",
    [lambda spike: normalised(Net(spike=spike)), lambda spike: Net(spike=spike, outputs=distances)],
    ids=["spectral norm", "cdist"],
)
def test_right_passes_and_wrong_fails(make: Callable[[Any], Net], spike: Any, status: str) -> None:
    report = verify(make(spike), *data(), nn.functional.mse_loss, claim=CLAIM)
    statuses = {result.name: result.status for result in report.results}
    assert statuses["tangent_replay"] == status
    assert statuses["detach_audit"] == "PASS"


def test_a_block_without_gradients_of_the_users_own_still_stops_them() -> None:
    class Own(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            with torch.no_grad():
                size = weight.norm() / 3.0
            return weight / size

    net = Net()
    nn.utils.parametrize.register_parametrization(net.enter, "weight", Own())
    report = verify(net, *data(), nn.functional.mse_loss, claim=CLAIM)
    assert {r.name: r.status for r in report.results}["tangent_replay"] == "FAIL"


@pytest.mark.parametrize("carrier", [COMPLEX, DUAL], ids=["complex", "dual"])
def test_an_operation_without_a_forward_derivative_row_by_row(carrier: AbstractCarrier) -> None:
    generator = torch.Generator().manual_seed(0)
    a, b, da, db = (
        torch.randn(shape, generator=generator, dtype=torch.float64) for shape in [(3, 2), (4, 2), (3, 2), (4, 2)]
    )
    with carrier.level():
        found = carrier.call(torch.cdist, (carrier.join(a, da), carrier.join(b, db)), {})
        value, tangent = carrier.primal(found), carrier.tangent(found)
    assert tangent is not None
    difference, moved = a[:, None] - b[None], da[:, None] - db[None]
    expected = difference.norm(dim=-1)
    torch.testing.assert_close(value, expected, rtol=1e-14, atol=0.0)
    torch.testing.assert_close(tangent, (difference * moved).sum(-1) / expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("carrier", [COMPLEX, DUAL], ids=["complex", "dual"])
def test_too_many_rows_are_refused(carrier: AbstractCarrier) -> None:
    a = torch.zeros(200, 1, dtype=torch.float64)
    with carrier.level(), pytest.raises(CarrierError, match="40000 numbers is beyond the 16384"):
        carrier.call(torch.cdist, (carrier.join(a, a + 1), a), {})


def test_too_many_rows_end_as_an_error_of_the_run() -> None:
    with pytest.raises(RunError, match="cannot go through the model: PyTorch has no forward derivative of cdist"):
        check_tangent_replay(
            Net(outputs=lambda _, y: torch.cdist(y, y)), data(200)[0], None, lambda y: y.square().mean(), claim=CLAIM
        )


def test_an_operation_that_writes_into_a_given_tensor_keeps_its_tangent() -> None:
    def outputs(_: nn.Module, y: Tensor) -> Tensor:
        if y.requires_grad:  # PyTorch refuses gradients there; what is written is the same
            return y * y
        return torch.mul(y, y, out=torch.empty(0, dtype=y.dtype))

    result = check_tangent_replay(Net(outputs=outputs), *data(), nn.functional.mse_loss, claim=CLAIM)
    assert result.status == "PASS"


def reentrant(_: nn.Module, y: Tensor) -> Tensor:
    result: Tensor = checkpoint(torch.tanh, y, use_reentrant=True)
    return result


def test_reentrant_checkpointing_is_refused_and_the_other_is_followed() -> None:
    with pytest.raises(RunError, match=r"test_verification_operations.py:\d+.*use_reentrant=False"):
        check_tangent_replay(Net(outputs=reentrant), *data(), nn.functional.mse_loss, claim=CLAIM)
    net = Net(outputs=lambda _, y: checkpoint(torch.tanh, y, use_reentrant=False))
    assert check_tangent_replay(net, *data(), nn.functional.mse_loss, claim=CLAIM).status == "PASS"


def test_a_gradient_penalty_is_refused_with_a_word() -> None:
    net = Net()

    def penalised(y: Tensor, target: Tensor) -> Tensor:
        loss = nn.functional.mse_loss(y, target)
        return loss + torch.autograd.grad(loss, net.leave.weight, create_graph=True)[0].square().sum()

    with pytest.raises(RunError, match="gradient penalty, which would have to be differentiated twice"):
        check_tangent_replay(net, *data(), penalised, claim=CLAIM)


def test_a_model_without_values_and_a_batch_without_samples_are_refused() -> None:
    with torch.device("meta"):
        model = nn.Linear(3, 2)
    with pytest.raises(ShapeError, match="on the meta device"):
        verify(model, *data(), nn.functional.mse_loss)
    with pytest.raises(DataError, match=r"at least one number, got \[5, 0, 3\]"):
        verify(Net(), *data(0), nn.functional.mse_loss)
