"""Data sets that are computed, not stored: Yin-Yang and random manifolds.

Nothing is downloaded; equal seeds give equal samples.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from bitprop._checks import check_integer, check_real
from bitprop.seeds import derive_seed

__all__ = ["randman", "yin_yang"]

FloatArray = npt.NDArray[np.float32]
LabelArray = npt.NDArray[np.int64]

_BIG, _SMALL = 0.5, 0.1
_MOST = 1 << 24


def _class_of(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> LabelArray:
    """0 yin, 1 yang, 2 a dot; -1 outside the disc."""
    right = np.hypot(x - 1.5 * _BIG, y - _BIG)
    left = np.hypot(x - 0.5 * _BIG, y - _BIG)
    in_left_half = (right <= _SMALL) | ((left > _SMALL) & (left <= 0.5 * _BIG)) | ((y > _BIG) & (right > 0.5 * _BIG))
    label = np.where(in_left_half, 0, 1)
    label = np.where((right < _SMALL) | (left < _SMALL), 2, label)
    return np.where(np.hypot(x - _BIG, y - _BIG) > _BIG, -1, label).astype(np.int64)


def yin_yang(samples: int, seed: int = 0) -> tuple[FloatArray, LabelArray]:
    """Points of a Yin-Yang symbol, in three classes of equal size: yin, yang and dots.

    Features are ``(x, y, 1 - x, 1 - y)`` in [0, 1], drawn uniformly within each class from a disc of radius 0.5 with
    dots of radius 0.1.

    Args:
        samples: N, 1 .. 2**24; classes alternate, so that they differ by at most one sample.
        seed: 0 .. 2**63 - 1.

    Returns:
        Features float32 ``[N, 4]`` and labels int64 ``[N]``.

    Raises:
        RangeError: an argument out of range.

    Reference: Kriener, Goeltz and Petrovici, *The Yin-Yang dataset*, NICE 2022.

    Example:
        >>> x, y = yin_yang(6, seed=0)
        >>> x.shape, sorted(y.tolist())
        ((6, 4), [0, 0, 1, 1, 2, 2])
    """
    count = check_integer("samples", samples, 1, _MOST)
    generator = np.random.default_rng(derive_seed(seed, "yin_yang"))
    wanted = np.arange(count, dtype=np.int64) % 3
    points = np.empty((count, 2))
    left = {label: np.flatnonzero(wanted == label) for label in range(3)}
    while any(len(places) for places in left.values()):
        draw = generator.random((4 * count + 64, 2))
        labels = _class_of(draw[:, 0], draw[:, 1])
        for label, places in left.items():
            found = draw[labels == label][: len(places)]
            points[places[: len(found)]] = found
            left[label] = places[len(found) :]
    order = generator.permutation(count)
    features = np.concatenate([points, 1.0 - points], axis=1)[order].astype(np.float32)
    return features, wanted[order]


def randman(
    samples: int,
    seed: int = 0,
    *,
    classes: int = 10,
    units: int = 20,
    steps: int = 100,
    dimensions: int = 1,
    smoothness: float = 2.0,
    cutoff: int = 1000,
) -> tuple[FloatArray, LabelArray]:
    """Spike latencies on smooth random manifolds, one for each class.

    Unit i of class c fires once, at time ``f_ci(u)``, with u uniform in ``[0, 1]^D`` and
    ``f(u) = prod_d sum_k a_dk k^-alpha sin(2 pi (k u_d b_dk + p_dk))``, scaled to [0, 1] over the samples.

    Args:
        samples: for each class, 1 .. 2**20.
        seed: of manifolds and samples.
        classes: 2 .. 1000.
        units: input units, 1 .. 100,000.
        steps: T; the latency is held to 0 .. T - 1.
        dimensions: D, 1 .. 8.
        smoothness: alpha, 0 .. 10; larger is smoother.
        cutoff: terms of the series at most, 1 .. 100,000; fewer where they fall below 1e-3 of the first.

    Returns:
        Latencies as shares of T, float32 ``[classes * samples, units]`` in [0, 1], and labels.

    Raises:
        RangeError: an argument out of range.

    Reference: Zenke and Vogels, Neural Computation 33(4), 2021.

    Example:
        >>> x, y = randman(5, seed=1, classes=2, units=3)
        >>> x.shape, sorted(set(y.tolist()))
        ((10, 3), [0, 1])
    """
    per_class = check_integer("samples", samples, 1, 1 << 20)
    many, width = check_integer("classes", classes, 2, 1000), check_integer("units", units, 1, 100_000)
    length = check_integer("steps", steps, 2, 1 << 20)
    depth = check_integer("dimensions", dimensions, 1, 8)
    alpha = check_real("smoothness", smoothness, 0.0, 10.0)
    terms = check_integer("cutoff", cutoff, 1, 100_000)
    if alpha > 0.0:
        terms = min(terms, math.ceil(1000.0 ** (1.0 / alpha)))
    generator = np.random.default_rng(derive_seed(seed, "randman"))
    frequency = np.arange(1, terms + 1, dtype=np.float64)
    blocks = []
    for _ in range(many):
        a, b, p = generator.random((3, width, depth, terms))
        u = generator.random((per_class, depth))
        values = np.ones((per_class, width))
        for d in range(depth):
            angle = frequency * u[:, d, None, None] * b[:, d] + p[:, d]
            values *= (a[:, d] * frequency**-alpha * np.sin(2.0 * np.pi * angle)).sum(axis=-1)
        low, high = values.min(axis=0), values.max(axis=0)
        blocks.append((values - low) / np.where(high > low, high - low, 1.0))
    latency = np.minimum(np.floor(np.concatenate(blocks) * length), length - 1) / (length - 1)
    labels = np.repeat(np.arange(many, dtype=np.int64), per_class)
    order = generator.permutation(len(labels))
    return latency[order].astype(np.float32), labels[order]
