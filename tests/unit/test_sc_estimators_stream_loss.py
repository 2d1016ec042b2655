"""StreamProductLoss: decoding, chain rule, validation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from bitprop.errors import RangeError, ShapeError
from bitprop.training.sc_estimators import StreamProductLoss


def scalar(value: float, grad: bool = False) -> Tensor:
    return torch.tensor(value, dtype=torch.float64, requires_grad=grad)


@pytest.mark.parametrize(("encoding", "negative"), [("unipolar", False), ("bipolar", False), ("sign_magnitude", True)])
def test_decoding_equals_integer_gates(encoding: str, negative: bool) -> None:
    loss = StreamProductLoss(7, encoding, 0.2, negative)
    generator = torch.Generator().manual_seed(0)
    bits = torch.randint(0, 2, (50, 14), generator=generator)
    for row in bits.tolist():
        pairs = list(zip(row[:7], row[7:], strict=True))
        if encoding == "bipolar":
            decoded = 2 * sum(1 - (a ^ b) for a, b in pairs) / 7 - 1
        else:
            decoded = (-1 if negative else 1) * sum(a & b for a, b in pairs) / 7
        pattern = torch.tensor(row, dtype=torch.float64)
        assert abs(float(loss.product(pattern)) - decoded) < 1e-14
        assert abs(float(loss(pattern)) - (decoded - 0.2) ** 2) < 1e-14
    assert loss(bits.double().view(5, 10, 14)).shape == (5, 10)


@pytest.mark.parametrize(
    ("encoding", "x", "w"), [("unipolar", 0.3, 0.8), ("bipolar", -0.3, 0.8), ("sign_magnitude", -0.3, -0.8)]
)
def test_chain_rule_from_bits_to_values(encoding: str, x: float, w: float) -> None:
    loss = StreamProductLoss(4, encoding, 0.1)
    first, second = scalar(x, grad=True), scalar(w, grad=True)
    cotangent = torch.randn(8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = torch.autograd.grad(loss.logits(first, second) @ cotangent, [first, second])
    got = loss.stream_gradient(cotangent.expand(3, -1), first, second)
    assert got.shape == (3, 2)
    assert torch.allclose(got, torch.stack(expected).expand(3, -1), rtol=1e-13)


def test_relaxed_bits_give_the_product_of_the_means() -> None:
    for encoding, x, w in (("unipolar", 0.3, 0.8), ("bipolar", -0.3, 0.8)):
        loss = StreamProductLoss(5, encoding, 0.0)
        p = torch.sigmoid(loss.logits(scalar(x), scalar(w)))
        assert abs(float(loss.product(p)) - x * w) < 1e-15
        assert abs(float(loss(p)) - float(loss.relaxed(scalar(x), scalar(w)))) < 1e-15


@pytest.mark.parametrize("encoding", ["unipolar", "sign_magnitude"])
def test_the_closed_form_keeps_its_slope_at_zero(encoding: str) -> None:
    """d/dx at 0 is -2 y w + w / L: the variance term counts although the product vanishes."""
    first = scalar(0.0, grad=True)
    (slope,) = torch.autograd.grad(StreamProductLoss(4, encoding, 0.3).expected(first, scalar(0.5)), first)
    assert abs(float(slope) - (-2 * 0.3 * 0.5 + 0.5 / 4)) < 1e-15


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"length": 0}, "length"),
        ({"length": True}, "length"),
        ({"length": 2.0}, "length"),
        ({"encoding": "ternary"}, "encoding"),
        ({"target": float("nan")}, "target"),
        ({"target": 3.0}, "target"),
        ({"negative": 1}, "negative"),
        ({"negative": True}, "sign"),
        ({"negative": True, "encoding": "bipolar"}, "sign"),
    ],
)
def test_bad_fields(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RangeError, match=message):
        StreamProductLoss(**{"length": 4, "encoding": "unipolar", "target": 0.3, **fields})


def test_bad_values() -> None:
    loss = StreamProductLoss(4, "unipolar", 0.3)
    for call in (loss.expected, loss.relaxed, loss.logits):
        with pytest.raises(RangeError, match="second"):
            call(scalar(0.5), scalar(1.5))
        with pytest.raises(RangeError, match="first"):
            call(scalar(-0.5), scalar(0.5))
        with pytest.raises(RangeError, match="first"):
            call(scalar(float("nan")), scalar(0.5))
        with pytest.raises(ShapeError, match="scalar"):
            call(torch.zeros(2), scalar(0.5))
        with pytest.raises(ShapeError, match="scalar"):
            call(0.5, scalar(0.5))  # type: ignore[arg-type]
    for certain in (0.0, 1.0):
        with pytest.raises(RangeError, match="strictly between"):
            loss.logits(scalar(certain), scalar(0.5))
    signed = StreamProductLoss(4, "sign_magnitude", 0.3)
    with pytest.raises(RangeError, match="signs"):
        signed.expected(scalar(-0.5), scalar(0.5))
    with pytest.raises(RangeError, match="signs"):
        StreamProductLoss(4, "sign_magnitude", 0.3, negative=True).logits(scalar(0.5), scalar(0.5))


def test_bad_patterns() -> None:
    loss = StreamProductLoss(4, "unipolar", 0.3)
    for bits in (torch.zeros(7), torch.zeros(3, 9), torch.tensor(1.0)):
        with pytest.raises(ShapeError, match="8 bits"):
            loss(bits)
        with pytest.raises(ShapeError, match="8 bits"):
            loss.stream_gradient(bits, scalar(0.5), scalar(0.5))


def test_to_dict_rebuilds() -> None:
    loss = StreamProductLoss(4, "sign_magnitude", 1, negative=True)
    assert StreamProductLoss(**loss.to_dict()) == loss
    assert type(loss.target) is float
    assert loss.bits == 8
