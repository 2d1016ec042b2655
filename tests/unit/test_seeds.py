"""Seeds derived from one: fixed, distinct, in range."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitprop.errors import RangeError
from bitprop.seeds import derive_seed


@given(st.integers(0, 2**63 - 1), st.lists(st.one_of(st.integers(), st.text(max_size=5)), max_size=4))
def test_seed_is_a_fixed_63_bit_number(seed: int, names: list[str | int]) -> None:
    value = derive_seed(seed, *names)
    assert 0 <= value < 2**63
    assert derive_seed(seed, *names) == value


def test_seeds_keep_their_values_between_versions() -> None:
    assert derive_seed(0, "weights", 1) == 2889630811871793490
    assert derive_seed(1) == 3874038210105081456


def test_names_and_seeds_are_told_apart() -> None:
    streams = [(0,), (1,), (0, "a"), (0, "b"), (0, "a", "b"), (0, 1), (0, "1"), (0, "a", 1), (0, 1, "a")]
    assert len({derive_seed(*stream) for stream in streams}) == len(streams)


@pytest.mark.parametrize("seed", [-1, 2**63, 0.5, "0", None, True])
def test_bad_seed_is_refused(seed: Any) -> None:
    with pytest.raises(RangeError, match="seed"):
        derive_seed(seed)
