"""The test behind the unbiasedness check: statistic, degenerate directions, statuses, arguments."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

from bitprop.errors import RangeError, ShapeError
from bitprop.training.sc_estimators import exact_gradient, make_estimator
from bitprop.verification.estimators import check_unbiased, hotelling, profile_estimators, unbiasedness


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Small tensors: threads cost more than they give."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def normal(n: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def smooth(z: Tensor) -> Tensor:
    return torch.exp(z @ torch.tensor([0.8, -0.6, 0.5], dtype=z.dtype))


LOGITS = torch.tensor([0.3, -0.5, 0.8], dtype=torch.float64)


def test_one_coordinate_is_students_t() -> None:
    rows = normal(40, 1) + 0.3
    result = hotelling(rows, torch.zeros(1))
    reference = stats.ttest_1samp(rows[:, 0].numpy(), 0.0)
    assert math.isclose(result.t_squared, reference.statistic**2, rel_tol=1e-12)
    assert math.isclose(result.p_value, reference.pvalue, rel_tol=1e-9)


def test_the_statistic_is_the_textbooks_and_ignores_linear_maps() -> None:
    rows = normal(100, 3) @ normal(3, 3, 1) + 0.1
    mu = torch.tensor([0.1, 0.0, 0.2], dtype=torch.float64)
    result = hotelling(rows, mu)
    off = rows.mean(dim=0) - mu
    textbook = 100 * float(off @ torch.linalg.solve(torch.cov(rows.T), off))
    assert math.isclose(result.t_squared, textbook, rel_tol=1e-10)
    mapped = normal(3, 3, 2)
    assert math.isclose(hotelling(rows @ mapped, mu @ mapped).t_squared, textbook, rel_tol=1e-8)
    assert math.isclose(hotelling(rows * 1e-9, mu * 1e-9).t_squared, textbook, rel_tol=1e-8)


def test_dependent_and_constant_coordinates_leave_the_statistic() -> None:
    base = normal(200, 2)
    rows = torch.cat([base, base.sum(dim=1, keepdim=True), torch.full((200, 1), 0.25, dtype=torch.float64)], dim=1)
    honest = torch.tensor([0.0, 0.0, 0.0, 0.25], dtype=torch.float64)
    result = hotelling(rows, honest)
    assert result.rank == 2
    assert not result.fixed_off
    assert math.isclose(result.t_squared, hotelling(base, torch.zeros(2)).t_squared, rel_tol=1e-9)
    for index, shift in ((3, 1e-6), (2, 0.01)):
        wrong = honest.clone()
        wrong[index] += shift
        broken = hotelling(rows, wrong)
        assert broken.fixed_off
        assert broken.p_value == 0.0


def test_nothing_varies() -> None:
    rows = torch.full((100, 2), 0.1, dtype=torch.float64)
    right = hotelling(rows, torch.full((2,), 0.1, dtype=torch.float64))
    assert (right.rank, right.p_value, right.fixed_off, right.detectable_bias) == (0, 1.0, False, None)
    assert hotelling(rows, torch.full((2,), 0.1 + 1e-6, dtype=torch.float64)).p_value == 0.0


def test_detectable_sizes_are_what_the_test_finds() -> None:
    """A bias of the stated size, in the stated direction, is rejected about 95% of the time."""
    truth = torch.tensor([1.0, 2.0], dtype=torch.float64)
    spread = torch.tensor([3.0, 0.5], dtype=torch.float64)
    stated = hotelling(normal(2000, 2) * spread + truth, truth)
    assert stated.detectable_bias is not None
    assert stated.detectable_scale is not None
    hits_bias = hits_scale = 0
    for seed in range(200):
        rows = normal(2000, 2, seed + 10) * spread + truth
        shifted = rows + torch.tensor([stated.detectable_bias, 0.0], dtype=torch.float64)
        hits_bias += hotelling(shifted, truth).p_value <= 1e-3
        # the mean is the scaled gradient, the noise stays
        hits_scale += hotelling(rows + stated.detectable_scale * truth, truth).p_value <= 1e-3
    low = int(stats.binom.ppf(1e-4, 200, 0.93))
    assert low <= hits_bias <= 200
    assert low <= hits_scale <= 200
    assert min(hits_bias, hits_scale) < 200  # and not far smaller than needed


@pytest.mark.parametrize(
    ("rows", "exact", "error"),
    [
        (torch.zeros(10), torch.zeros(10), ShapeError),
        (torch.zeros(10, 2), torch.zeros(3), ShapeError),
        (torch.zeros(3, 2), torch.zeros(2), ShapeError),
        (torch.zeros(10, 0), torch.zeros(0), ShapeError),
        (torch.full((10, 1), float("nan")), torch.zeros(1), RangeError),
        (torch.zeros(10, 1), torch.tensor([float("inf")]), RangeError),
    ],
)
def test_bad_matrices(rows: Tensor, exact: Tensor, error: type[Exception]) -> None:
    with pytest.raises(error, match="expected"):
        hotelling(rows, exact)


def run(draw: Any, exact: Tensor, **changes: Any) -> Any:
    return unbiasedness(draw, exact, **{"samples": 500, "seed": 0, "name": "test", **changes})


def test_a_zero_gradient_is_vacuous_never_a_pass() -> None:
    zero = torch.zeros(2, dtype=torch.float64)
    silent = run(lambda n, g: torch.zeros(n, 2, dtype=torch.float64), zero)
    noisy = run(lambda n, g: torch.randn(n, 2, generator=g, dtype=torch.float64), zero)
    assert silent.status == noisy.status == "VACUOUS"
    assert silent.relative_bias is None
    off = run(lambda n, g: torch.randn(n, 2, generator=g, dtype=torch.float64) + 1.0, zero)
    assert off.status == "FAIL"


def test_noise_that_hides_everything_is_vacuous() -> None:
    exact = torch.tensor([0.01], dtype=torch.float64)
    result = run(lambda n, g: torch.randn(n, 1, generator=g, dtype=torch.float64) + exact, exact)
    assert result.status == "VACUOUS"
    assert "draw more" in result.detail


def test_estimates_that_are_not_finite_fail() -> None:
    def draw(n: int, g: torch.Generator) -> Tensor:
        rows = torch.randn(n, 3, generator=g, dtype=torch.float64)
        rows[5, 1] = float("inf")
        return rows

    result = run(draw, torch.ones(3, dtype=torch.float64))
    assert (result.status, result.worst_index) == ("FAIL", 1)
    assert "not finite" in result.detail


def test_one_unlucky_draw_is_retested_on_fresh_numbers() -> None:
    calls: list[int] = []
    exact = torch.ones(1, dtype=torch.float64)

    def draw(n: int, g: torch.Generator) -> Tensor:
        calls.append(g.initial_seed())
        shift = 5.0 if len(calls) == 1 else 0.0
        return torch.randn(n, 1, generator=g, dtype=torch.float64) + exact + shift

    result = run(draw, exact)
    assert result.status == "PASS"
    assert len(set(calls)) == 2
    assert result.first_p_value is not None
    assert result.first_p_value <= 1e-3 < result.p_value
    assert "retest" in result.detail
    assert result.evaluations == 1000


def test_result_fields_and_determinism() -> None:
    first = check_unbiased(make_estimator("disarm"), smooth, LOGITS, samples=5000, seed=4)
    again = check_unbiased(make_estimator("disarm"), smooth, LOGITS, samples=5000, seed=4)
    assert first == again
    assert first.status == "PASS"
    assert first.false_alarm_probability == pytest.approx(1e-6)
    assert first.evaluations == 10_000
    assert first.dtype == "float64"
    assert first.exact == tuple(exact_gradient(smooth, LOGITS).tolist())
    assert first.smallest_detectable_scale_error is not None
    assert first.smallest_detectable_bias is not None
    # the gradient's own direction is never noisier than the noisiest
    assert first.smallest_detectable_scale_error <= first.smallest_detectable_bias * (1 + 1e-9)
    json.dumps(first.to_dict(), allow_nan=False)


def test_a_rare_bit_is_vacuous() -> None:
    logits = torch.tensor([0.3, -9.0, 0.8], dtype=torch.float64)
    result = check_unbiased(make_estimator("score_function"), smooth, logits, samples=5000)
    assert result.status == "VACUOUS"
    assert "bit 1" in result.detail


def test_float32_estimates() -> None:
    result = check_unbiased(make_estimator("disarm"), smooth, LOGITS.float(), samples=20_000)
    assert (result.status, result.dtype) == ("PASS", "float32")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": 20}, "samples"),
        ({"samples": 1e4}, "samples"),
        ({"seed": -1}, "seed"),
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": 0.9}, "alpha"),
        ({"against": "truth"}, "against"),
    ],
)
def test_bad_arguments(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RangeError, match=message):
        check_unbiased(make_estimator("arm"), smooth, LOGITS, **changes)


def test_draw_of_the_wrong_shape() -> None:
    with pytest.raises(ShapeError, match="500 x 2"):
        run(lambda n, g: torch.zeros(n, 3), torch.ones(2))
    with pytest.raises(ShapeError, match="vector"):
        run(lambda n, g: torch.zeros(n, 3), torch.ones(2, 2))


def test_profiles() -> None:
    profiles = {p.name: p for p in profile_estimators(smooth, LOGITS, samples=4000)}
    assert profiles["pathwise_relaxation"].total_variance == 0.0
    assert profiles["gumbel"].target_bias is not None
    assert profiles["arm"].target_bias is not None
    assert profiles["arm"].target_bias < 1e-12
    assert profiles["disarm"].variance_times_evaluations == 2 * profiles["disarm"].total_variance
    json.dumps([p.to_dict() for p in profiles.values()], allow_nan=False)
    with pytest.raises(RangeError, match="non-zero gradient"):
        profile_estimators(lambda z: 0.0 * z.sum(dim=-1) + 1.0, LOGITS)


@pytest.mark.parametrize("name", ["arm", "disarm", "leave_one_out", "score_function", "rebar"])
@pytest.mark.parametrize("shift", [0.0, 1e-16])
def test_a_gradient_that_is_zero_by_symmetry_is_vacuous(name: str, shift: float) -> None:
    """Rounding in the oracle is neither a bias nor a gradient."""

    def symmetric(z: Tensor) -> Tensor:
        return (z[..., 0] - 0.5) ** 2 + 0.1 * (z[..., 1] - 0.3 - shift) ** 2 - 0.04 * z[..., 1]

    logits = torch.tensor([0.1, 0.2], dtype=torch.float64)
    assert check_unbiased(make_estimator(name), symmetric, logits, samples=5000).status == "VACUOUS"


def test_a_silent_estimator_of_a_rounding_gradient_is_vacuous() -> None:
    logits = torch.tensor([0.0, 0.0], dtype=torch.float64)
    result = run(
        lambda n, g: torch.zeros(n, 2, dtype=torch.float64), torch.full((2,), 1e-17, dtype=torch.float64), unit=1.0
    )
    assert (result.status, result.relative_bias) == ("VACUOUS", None)
    rows = make_estimator("pathwise_relaxation").estimate(
        lambda z: (z - 0.5).prod(dim=-1), logits, samples=3, generator=torch.Generator().manual_seed(0)
    )
    assert torch.equal(rows, torch.zeros(3, 2, dtype=torch.float64))
