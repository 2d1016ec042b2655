"""What every estimator shares: declarations, shapes, dtypes, determinism, errors; and each formula against autograd."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import bitprop.training.sc_estimators as package
from bitprop.errors import RangeError, RegistryError, ShapeError
from bitprop.training.sc_estimators import ESTIMATORS, AbstractEstimator, make_estimator

NAMES = ESTIMATORS.names()
RELAXED = [name for name in NAMES if ESTIMATORS[name].needs_relaxed_loss]
HARD = [name for name in NAMES if not ESTIMATORS[name].needs_relaxed_loss]
LOGITS = torch.tensor([0.3, -0.5, 0.8, -1.2], dtype=torch.float64)
WEIGHT = torch.tensor([0.8, -0.6, 0.5, 0.4], dtype=torch.float64)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Small tensors: threads cost more than they give."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def smooth(z: Tensor) -> Tensor:
    return torch.exp((z * WEIGHT.to(z.dtype)).sum(dim=-1))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_seed_three_and_the_fields_five_are_registered() -> None:
    assert set(NAMES) >= {
        "pathwise_relaxation",
        "straight_through",
        "score_function",
        "leave_one_out",
        "arm",
        "disarm",
        "rebar",
        "gumbel",
    }


def test_one_file_an_estimator_and_every_file_imported() -> None:
    folder = Path(package.__file__).parent
    stems = {info.name for info in pkgutil.iter_modules([str(folder)])}
    for name in NAMES:
        assert name in stems
        assert importlib.import_module(f"{package.__name__}.{name}").__name__.endswith(name)
        assert ESTIMATORS[name].__module__ == f"{package.__name__}.{name}"


@pytest.mark.parametrize("name", NAMES)
def test_declarations(name: str) -> None:
    estimator = make_estimator(name)
    assert isinstance(estimator, AbstractEstimator)
    assert estimator.name == name
    assert estimator.evaluations >= 1
    assert estimator.unbiased <= estimator.unbiased_if_multilinear
    for text in (estimator.target, estimator.variance_law, estimator.reference):
        assert isinstance(text, str)
        assert text
    declared = estimator.to_dict()
    assert declared["name"] == name
    assert set(declared) >= {"target", "unbiased", "needs_relaxed_loss", "evaluations", "reference", "parameters"}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shape_dtype_and_finiteness(name: str, dtype: torch.dtype) -> None:
    logits = torch.tensor([0.3, -40.0, 40.0, 700.0 if dtype == torch.float64 else 80.0, -90.0], dtype=dtype)
    rows = make_estimator(name).estimate(lambda z: z.square().sum(dim=-1), logits, samples=64, generator=seeded())
    assert rows.shape == (64, 5)
    assert rows.dtype == dtype
    assert not rows.requires_grad
    assert bool(torch.isfinite(rows).all())


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_numbers_and_the_global_generator_untouched(name: str) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = make_estimator(name).estimate(smooth, LOGITS, samples=16, generator=seeded(1))
    again = make_estimator(name).estimate(smooth, LOGITS, samples=16, generator=seeded(1))
    other = make_estimator(name).estimate(smooth, LOGITS, samples=16, generator=seeded(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (name == "pathwise_relaxation")


@pytest.mark.parametrize("name", NAMES)
def test_logits_and_loss_parameters_are_left_alone(name: str) -> None:
    logits = LOGITS.clone().requires_grad_(True)
    scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    rows = make_estimator(name).estimate(lambda z: scale * smooth(z), logits, samples=8, generator=seeded())
    plain = make_estimator(name).estimate(lambda z: 2.0 * smooth(z), LOGITS, samples=8, generator=seeded())
    assert torch.equal(rows, plain)
    assert logits.grad is None
    assert scale.grad is None
    assert torch.equal(logits.detach(), LOGITS)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("logits", "error"),
    [
        (torch.zeros(0), ShapeError),
        (torch.zeros(2, 2), ShapeError),
        (torch.tensor(0.0), ShapeError),
        (torch.zeros(3, dtype=torch.int64), ShapeError),
        ([0.0, 1.0], ShapeError),
        (torch.tensor([0.0, float("nan")]), RangeError),
        (torch.tensor([0.0, float("inf")]), RangeError),
    ],
)
def test_bad_logits(name: str, logits: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="expected"):
        make_estimator(name).estimate(smooth, logits, samples=2, generator=seeded())


@pytest.mark.parametrize("samples", [0, -1, 2.0, True, (1 << 24) + 1])
def test_bad_samples(samples: Any) -> None:
    with pytest.raises(RangeError, match="samples"):
        make_estimator("arm").estimate(smooth, LOGITS, samples=samples, generator=seeded())


def test_generator_is_required() -> None:
    with pytest.raises(RangeError, match="generator"):
        make_estimator("arm").estimate(smooth, LOGITS, samples=2, generator=None)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "loss",
    [
        lambda z: z.sum(),
        lambda z: z,
        lambda z: z.sum(dim=-1, keepdim=True),
        lambda z: (z > 0.5).sum(dim=-1),
        lambda z: 1.0,
    ],
)
def test_losses_of_the_wrong_shape(name: str, loss: Any) -> None:
    with pytest.raises(ShapeError, match="the loss"):
        make_estimator(name).estimate(loss, LOGITS, samples=7, generator=seeded())


@pytest.mark.parametrize("name", RELAXED)
def test_a_hard_loss_is_refused_where_a_slope_is_needed(name: str) -> None:
    with pytest.raises(RangeError, match="differentiable"):
        make_estimator(name).estimate(lambda z: (z > 0.5).double().sum(-1), LOGITS, samples=2, generator=seeded())


@pytest.mark.parametrize("name", HARD)
def test_hard_estimators_see_bits_only(name: str) -> None:
    def hard(z: Tensor) -> Tensor:
        assert bool(((z == 0.0) | (z == 1.0)).all())
        return (z > 0.5).double().sum(dim=-1)

    make_estimator(name).estimate(hard, LOGITS, samples=50, generator=seeded())


@pytest.mark.parametrize("name", RELAXED)
def test_relaxed_estimators_stay_within_the_cube(name: str) -> None:
    def bounded(z: Tensor) -> Tensor:
        assert bool(((z >= 0.0) & (z <= 1.0)).all())
        return smooth(z)

    make_estimator(name).estimate(bounded, LOGITS, samples=50, generator=seeded())


@pytest.mark.parametrize("name", RELAXED)
def test_a_loss_that_ignores_its_bits_has_zero_slope(name: str) -> None:
    constant = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    rows = make_estimator(name).estimate(lambda z: constant.expand(z.shape[:-1]), LOGITS, samples=4, generator=seeded())
    assert float(rows.abs().max()) <= (3.0 if name == "rebar" else 0.0)
    if name == "rebar":  # the control variate equals the loss: nothing is left
        assert torch.equal(rows, torch.zeros_like(rows))


def test_make_estimator_refuses() -> None:
    with pytest.raises(RegistryError, match="pathwise_relaxation"):
        make_estimator("relax")
    with pytest.raises(RangeError, match="temperature"):
        make_estimator("arm", temperature=1.0)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("gumbel", {"temperature": 0.0}),
        ("gumbel", {"temperature": -1.0}),
        ("gumbel", {"temperature": float("nan")}),
        ("rebar", {"temperature": 0.0}),
        ("rebar", {"scale": float("inf")}),
        ("rebar", {"scale": True}),
        ("leave_one_out", {"group": 1}),
        ("leave_one_out", {"group": 2.0}),
        ("leave_one_out", {"group": 2000}),
    ],
)
def test_parameters_are_checked(name: str, parameters: dict[str, Any]) -> None:
    with pytest.raises(RangeError, match=next(iter(parameters))):
        make_estimator(name, **parameters)


# -- formulas, each against an independent derivation on the same random numbers


def test_pathwise_is_autograd_of_the_relaxed_loss() -> None:
    logits = LOGITS.clone().requires_grad_(True)
    (expected,) = torch.autograd.grad(smooth(torch.sigmoid(logits)), logits)
    rows = make_estimator("pathwise_relaxation").estimate(smooth, LOGITS, samples=5, generator=seeded())
    assert torch.allclose(rows, expected.expand(5, -1), rtol=1e-14, atol=0.0)


def test_straight_through_is_autograd_with_an_identity_for_the_step() -> None:
    logits = LOGITS.clone().expand(9, -1).clone().requires_grad_(True)
    u = torch.rand(9, 4, generator=seeded(), dtype=torch.float64)
    p = torch.sigmoid(logits)
    bits = p + ((u < p).double() - p).detach()
    (expected,) = torch.autograd.grad(smooth(bits).sum(), logits)
    rows = make_estimator("straight_through").estimate(smooth, LOGITS, samples=9, generator=seeded())
    assert torch.allclose(rows, expected, rtol=1e-13, atol=0.0)


def test_gumbel_is_autograd_of_the_concrete_sample() -> None:
    logits = LOGITS.clone().expand(9, -1).clone().requires_grad_(True)
    u = torch.rand(9, 4, generator=seeded(), dtype=torch.float64)
    (expected,) = torch.autograd.grad(smooth(torch.sigmoid((logits + u.log() - (-u).log1p()) / 0.3)).sum(), logits)
    rows = make_estimator("gumbel", temperature=0.3).estimate(smooth, LOGITS, samples=9, generator=seeded())
    assert torch.allclose(rows, expected, rtol=1e-11, atol=1e-300)


@pytest.mark.parametrize(("temperature", "scale"), [(0.5, 1.0), (0.2, 0.7), (2.0, -1.5)])
def test_rebar_is_the_papers_three_terms(temperature: float, scale: float) -> None:
    """Equation 7 of the paper by autograd, the conditional draw made explicitly from its uniform v."""
    logits = LOGITS.clone().expand(200, -1).clone().requires_grad_(True)
    u = torch.rand(200, 4, generator=seeded(), dtype=torch.float64)
    p = torch.sigmoid(logits)
    bits = (u > 1 - p).double().detach()
    v = torch.where(bits > 0, (u - (1 - p)) / p, u / (1 - p)).detach()
    zeta = logits + torch.logit(u)
    conditional = logits + torch.logit(torch.where(bits > 0, v * p + (1 - p), v * (1 - p)))
    soft = smooth(torch.sigmoid(zeta / temperature))
    soft_conditional = smooth(torch.sigmoid(conditional / temperature))
    log_probability = (bits * p.log() + (1 - bits) * (1 - p).log()).sum(dim=-1)
    surrogate = (smooth(bits) - scale * soft_conditional).detach() * log_probability
    (expected,) = torch.autograd.grad((surrogate + scale * soft - scale * soft_conditional).sum(), logits)
    estimator = make_estimator("rebar", temperature=temperature, scale=scale)
    rows = estimator.estimate(smooth, LOGITS, samples=200, generator=seeded())
    assert torch.allclose(rows, expected, rtol=1e-9, atol=1e-12)


def test_leave_one_out_is_the_written_sum() -> None:
    group = 5
    u = torch.rand(3 * group, 4, generator=seeded(), dtype=torch.float64)
    p = torch.sigmoid(LOGITS)
    bits = (u < p).double().view(3, group, 4)
    values = smooth(bits)
    expected = torch.zeros(3, 4, dtype=torch.float64)
    for row in range(3):
        for k in range(group):
            others = [float(values[row, j]) for j in range(group) if j != k]
            expected[row] += (values[row, k] - sum(others) / len(others)) * (bits[row, k] - p) / group
    rows = make_estimator("leave_one_out", group=group).estimate(smooth, LOGITS, samples=3, generator=seeded())
    assert torch.allclose(rows, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("logit", [-2.0, -0.3, 0.0, 0.4, 3.0])
def test_arm_and_disarm_of_one_bit_by_hand(logit: float) -> None:
    """One bit: the integral over u has three pieces, and DisARM is the mean of ARM given the two bits."""
    p = torch.sigmoid(torch.tensor([logit], dtype=torch.float64))
    exact = float(p * (1 - p)) * 3.0  # f = 3 z
    u = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    above, below = (u > 1 - p).double(), (u < p).double()
    arm = 3.0 * (above - below) * (u - 0.5)
    disarm = 0.5 * 3.0 * (above - below) * (above - below) * torch.sigmoid(torch.tensor(abs(logit)).double())
    assert abs(float(arm.mean()) - exact) < 2e-5
    assert abs(float(disarm.mean()) - exact) < 2e-5
    for name, grid in (("arm", arm), ("disarm", disarm)):
        rows = make_estimator(name).estimate(
            lambda z: 3.0 * z[..., 0], torch.tensor([logit], dtype=torch.float64), samples=20_000, generator=seeded()
        )
        assert abs(float(rows.var()) - float(grid.var())) < 0.05 * float(grid.var()) + 1e-6
