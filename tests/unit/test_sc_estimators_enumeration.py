"""The oracle: closed forms equal enumeration, two derivations of the gradient agree, limits are clear."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from bitprop.errors import RangeError, ShapeError
from bitprop.training.sc_estimators import (
    MAX_BITS,
    StreamProductLoss,
    bit_patterns,
    exact_expectation,
    exact_gradient,
    pattern_probabilities,
)

TOLERANCE = 1e-12


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Small tensors: threads cost more than they give."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def scalar(value: float, grad: bool = False) -> Tensor:
    return torch.tensor(value, dtype=torch.float64, requires_grad=grad)


PROBLEMS = [
    *[("unipolar", x, w, y) for x, w, y in [(0.6, 0.7, 0.3), (0.05, 0.9, -0.5), (0.5, 0.5, 0.25), (0.99, 0.01, 1.0)]],
    *[("bipolar", x, w, y) for x, w, y in [(0.6, 0.7, 0.3), (-0.6, 0.7, 0.3), (0.0, 0.4, 0.0), (-0.9, -0.95, -1.0)]],
    *[("sign_magnitude", x, w, y) for x, w, y in [(0.6, 0.7, 0.3), (-0.6, 0.7, 0.3), (-0.2, -0.9, -0.4)]],
]


@pytest.mark.parametrize("length", [1, 2, 3, 6])
@pytest.mark.parametrize(("encoding", "x", "w", "y"), PROBLEMS)
def test_closed_forms_equal_enumeration(encoding: str, x: float, w: float, y: float, length: int) -> None:
    loss = StreamProductLoss(length, encoding, y, negative=encoding == "sign_magnitude" and x * w < 0)
    first, second = scalar(x, grad=True), scalar(w, grad=True)
    closed = loss.expected(first, second)
    enumerated = exact_expectation(loss, loss.logits(first, second))
    assert abs(closed.item() - enumerated.item()) <= TOLERANCE
    slope = torch.autograd.grad(closed, [first, second])
    through = torch.autograd.grad(enumerated, [first, second])
    summed = loss.stream_gradient(exact_gradient(loss, loss.logits(first, second)), first, second)
    scale = max(1.0, *(abs(float(s)) for s in slope))
    for index in range(2):
        assert abs(float(slope[index]) - float(through[index])) <= TOLERANCE * scale
        # the logit of a probability of 0.01 costs a factor 100 in rounding
        assert abs(float(slope[index]) - float(summed[index])) <= 10 * TOLERANCE * scale


def test_the_written_formulas() -> None:
    p1, p2, y, length = 0.6, 0.7, 0.3, 6
    loss = StreamProductLoss(length, "unipolar", y)
    formula = (p1 * p2 - y) ** 2 + p1 * p2 * (1 - p1 * p2) / length
    assert abs(float(loss.expected(scalar(p1), scalar(p2))) - formula) <= TOLERANCE
    x1, x2 = 0.2, -0.5
    formula = (x1 * x2 - y) ** 2 + (1 - x1**2 * x2**2) / length
    loss = StreamProductLoss(length, "bipolar", y)
    assert abs(float(loss.expected(scalar(x1), scalar(x2))) - formula) <= TOLERANCE


def test_relaxation_drops_the_variance_term() -> None:
    """A fifth of the gradient at L = 6 on this problem; the absolute error is exactly the 1/L term's slope."""
    x, w, y = 0.2, 0.8, 0.5
    for length in (1, 3, 6, 8):  # 8: sixteen bits, the limit
        loss = StreamProductLoss(length, "unipolar", y)
        first, second = scalar(x, grad=True), scalar(w)
        (exact,) = torch.autograd.grad(exact_expectation(loss, loss.logits(first, second)), first)
        (relaxed,) = torch.autograd.grad(loss.relaxed(first, second), first)
        assert abs(float(exact - relaxed) - (w - 2 * x * w * w) / length) <= TOLERANCE
        if length == 6:
            assert abs(float(relaxed - exact) / float(exact) - 0.2) < 1e-3


@pytest.mark.parametrize("bits", [1, 2, 7, 14])
def test_two_derivations_of_the_gradient(bits: int) -> None:
    generator = torch.Generator().manual_seed(bits)
    logits = 2.0 * torch.randn(bits, generator=generator, dtype=torch.float64)
    weight = torch.randn(bits, generator=generator, dtype=torch.float64)

    def loss(z: Tensor) -> Tensor:
        return torch.tanh(z @ weight) + (z @ weight) ** 2

    free = logits.clone().requires_grad_(True)
    (automatic,) = torch.autograd.grad(exact_expectation(loss, free), free)
    assert torch.allclose(exact_gradient(loss, logits), automatic, rtol=1e-12, atol=1e-13)
    step = 1e-5
    for index in range(bits):
        shift = torch.zeros_like(logits)
        shift[index] = step
        difference = (exact_expectation(loss, logits + shift) - exact_expectation(loss, logits - shift)) / (2 * step)
        assert abs(float(difference) - float(automatic[index])) < 1e-9


def test_plain_python_sum() -> None:
    logits = [0.3, -1.1, 2.0]
    p = [1 / (1 + math.exp(-logit)) for logit in logits]
    total = 0.0
    for z in itertools.product((0, 1), repeat=3):
        probability = math.prod(p[i] if z[i] else 1 - p[i] for i in range(3))
        total += probability * (z[0] + 2 * z[1] * z[2] - 0.5) ** 2
    value = exact_expectation(
        lambda z: (z[..., 0] + 2 * z[..., 1] * z[..., 2] - 0.5) ** 2, torch.tensor(logits, dtype=torch.float64)
    )
    assert abs(float(value) - total) <= TOLERANCE


def test_patterns_and_probabilities() -> None:
    patterns = bit_patterns(5)
    assert patterns.shape == (32, 5)
    assert [int(sum(int(b) << i for i, b in enumerate(row))) for row in patterns.tolist()] == list(range(32))
    logits = torch.tensor([30.0, -30.0, 0.0, 5.0, -700.0], dtype=torch.float64)
    probabilities = pattern_probabilities(logits)
    assert abs(float(probabilities.sum()) - 1.0) <= 1e-14
    # relative accuracy even far from one half
    rare = math.exp(-30.0) / (1 + math.exp(-30.0))
    assert math.isclose(float(pattern_probabilities(logits[1:2])[1]), rare, rel_tol=1e-14)


def test_sixteen_bits_in_chunks_and_no_more() -> None:
    largest = 0

    def loss(z: Tensor) -> Tensor:
        nonlocal largest
        largest = max(largest, z.shape[0])
        return z.sum(dim=-1)

    logits = torch.linspace(-1, 1, MAX_BITS, dtype=torch.float64)
    assert abs(float(exact_expectation(loss, logits)) - float(torch.sigmoid(logits).sum())) <= TOLERANCE
    assert largest <= 1 << 13
    for call in (exact_expectation, exact_gradient):
        with pytest.raises(RangeError, match="at most 16 bits"):
            call(loss, torch.zeros(MAX_BITS + 1))
    with pytest.raises(RangeError, match="at most 16 bits"):
        bit_patterns(40)
    with pytest.raises(RangeError, match="at most 16 bits"):
        pattern_probabilities(torch.zeros(40))
    with pytest.raises(RangeError, match="bits"):
        bit_patterns(0)


def test_float32_logits_give_a_float64_oracle() -> None:
    gradient = exact_gradient(lambda z: z.sum(dim=-1), torch.zeros(3))
    assert gradient.dtype == torch.float64
    assert torch.equal(gradient, torch.full((3,), 0.25, dtype=torch.float64))


def test_differentiable_in_the_loss_itself() -> None:
    scale = scalar(3.0, grad=True)
    value = exact_expectation(lambda z: scale * z.prod(dim=-1), torch.zeros(2, dtype=torch.float64))
    (slope,) = torch.autograd.grad(value, scale)
    assert float(slope) == 0.25


def test_bad_arguments() -> None:
    for call in (exact_expectation, exact_gradient):
        with pytest.raises(ShapeError, match="vector"):
            call(lambda z: z.sum(dim=-1), torch.zeros(2, 2))
        with pytest.raises(ShapeError, match="the loss"):
            call(lambda z: z, torch.zeros(2))
        with pytest.raises(RangeError, match="finite"):
            call(lambda z: z.sum(dim=-1), torch.tensor([float("nan")]))
