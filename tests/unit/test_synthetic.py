"""Generated data: geometry, balance, determinism."""

from __future__ import annotations

import numpy as np
import pytest

from bitprop.errors import RangeError
from bitprop.synthetic import randman, yin_yang


def test_yin_yang_geometry_and_balance() -> None:
    x, y = yin_yang(3000, seed=3)
    assert x.shape == (3000, 4)
    assert x.dtype == np.float32
    assert np.bincount(y).tolist() == [1000, 1000, 1000]
    assert np.allclose(x[:, :2] + x[:, 2:], 1.0)
    centre = np.hypot(x[:, 0] - 0.5, x[:, 1] - 0.5)
    assert centre.max() <= 0.5 + 1e-6
    dots = np.minimum(np.hypot(x[:, 0] - 0.25, x[:, 1] - 0.5), np.hypot(x[:, 0] - 0.75, x[:, 1] - 0.5))
    assert dots[y == 2].max() <= 0.1 + 1e-6
    assert dots[y != 2].min() >= 0.1 - 1e-6
    # yin and yang are images of one another under a turn by 180 degrees about the centre
    yin = x[y == 0]
    upper = yin[:, 1] > 0.75
    assert upper.mean() > 0.2
    assert (x[y == 1][:, 1] > 0.9).mean() < 0.02


def test_yin_yang_is_deterministic_and_seeds_differ() -> None:
    a, b, c = yin_yang(50, 1), yin_yang(50, 1), yin_yang(50, 2)
    assert (a[0] == b[0]).all()
    assert (a[1] == b[1]).all()
    assert (a[0] != c[0]).any()


def test_randman() -> None:
    x, y = randman(40, seed=0, classes=3, units=5, steps=20)
    assert x.shape == (120, 5)
    assert np.bincount(y).tolist() == [40, 40, 40]
    assert x.min() >= 0
    assert x.max() <= 1
    assert np.allclose(x * 19, np.round(x * 19), atol=1e-5)
    again, _ = randman(40, seed=0, classes=3, units=5, steps=20)
    assert (x == again).all()
    # a smooth one-dimensional manifold: units of one class depend on one number
    smooth, labels = randman(400, seed=0, classes=2, units=6, smoothness=4.0, steps=1000)
    values = np.linalg.svd(smooth[labels == 0] - smooth[labels == 0].mean(0), compute_uv=False)
    assert values[3] < 0.2 * values[0]


@pytest.mark.parametrize("arguments", [{"samples": 0}, {"samples": 5, "seed": -1}])
def test_bad_arguments(arguments: dict[str, int]) -> None:
    with pytest.raises(RangeError):
        yin_yang(**arguments)
    with pytest.raises(RangeError):
        randman(**{**arguments, "samples": 3, "classes": 1})
