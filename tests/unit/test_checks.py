"""Argument checks: what passes, what is refused, and that the message says what came."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bitprop._checks import check_choice, check_identifier, check_integer, check_real
from bitprop.errors import RangeError


@pytest.mark.parametrize("value", [0, 5, 10, np.int8(7), np.uint64(3)])
def test_integers_pass_as_plain_int(value: Any) -> None:
    checked = check_integer("x", value, 0, 10)
    assert type(checked) is int
    assert checked == value


@pytest.mark.parametrize("value", [-1, 11, 1.0, "3", None, True, np.float64(1), np.bool_(True), [1]])
def test_other_integers_are_refused(value: Any) -> None:
    with pytest.raises(RangeError, match=r"expected count .*0 \.\. 10, got "):
        check_integer("count", value, 0, 10)


@pytest.mark.parametrize("value", [0, 0.5, 1.0, np.float64(0.25)])
def test_reals_pass_as_plain_float(value: Any) -> None:
    checked = check_real("x", value, 0.0, 1.0)
    assert type(checked) is float
    assert checked == value


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf"), "0.5", None, True, 1j])
def test_other_reals_are_refused(value: Any) -> None:
    with pytest.raises(RangeError, match=r"expected rate .*0 \.\. 1, got "):
        check_real("rate", value, 0.0, 1.0)


def test_choice() -> None:
    assert check_choice("gate", "and", ("and", "xnor")) == "and"
    for value in ("or", 1, None, ["and"]):
        with pytest.raises(RangeError, match="expected gate to be one of and, xnor; got "):
            check_choice("gate", value, ("and", "xnor"))


@pytest.mark.parametrize("value", ["a", "layer_1", "x" * 63])
def test_identifiers_pass(value: str) -> None:
    assert check_identifier("name", value) == value


@pytest.mark.parametrize(
    "value", ["", "A", "1a", "_a", "a-b", "a b", "a\n", "é", "x" * 64, "module", "wire", "logic", "../a", 5, None]
)
def test_other_identifiers_are_refused(value: Any) -> None:
    with pytest.raises(RangeError, match="expected name to be a lower-case identifier"):
        check_identifier("name", value)
