"""Which number sources a layer gets: one for activations, one for weights, one to mix them."""

from __future__ import annotations

from dataclasses import dataclass

from bitprop._checks import check_choice, check_integer
from bitprop.errors import RangeError
from bitprop.ops import SOURCES, AbstractSource, make_source
from bitprop.training.sc_estimators import DifferentiableSCConfig

__all__ = ["LAYOUTS", "MAX_LENGTH", "LayerSources", "config_sources", "layer_sources"]

MAX_LENGTH = 1 << 16
LAYOUTS = ("independent", "aligned")


@dataclass(frozen=True, slots=True)
class LayerSources:
    """The three number sources of a layer."""

    activation: AbstractSource
    weight: AbstractSource
    correlation: AbstractSource


def layer_sources(
    generator: str, length: int, precision_bits: int, seed: int = 0, layout: str = "independent"
) -> LayerSources:
    """Sources for streams of ``length`` cycles.

    ``seed`` 0 takes the plain layout: Sobol dimensions 1, 0, 2, each shifted by half of the grid step that ``length``
    points leave (so that the levels sit in the middle of their intervals and a small value is not rounded up to one);
    a counter whose stride spreads ``length`` points over the range; Halton base 2 and 3; two LFSR states a third of the
    range apart.  The third source must know nothing of the other two: where a kind has no third sequence of its own it
    is of another kind (:func:`_stranger`).  Any other seed scrambles or shifts the same layout.

    ``layout`` says how the activations' numbers relate to the weights':

    ``independent``
        different dimensions, bases, strides or starts: AND streams multiply, ``p_x p_w``;
    ``aligned``
        one order for both, so that ones overlap as far as they can and AND takes the smaller, ``min(p_x, p_w)`` (full
        positive correlation without a third source).  It has L + 1 levels where a product of short streams has holes.
        Each keeps its own offset: weights half a step, activations at most 1/32 of the range, so that a faint value is
        still seen (most of a picture's pixels are dark).

    Raises:
        RangeError: unknown generator or layout, or length or seed out of range.
    """
    check_choice("layout", layout, LAYOUTS)
    n = precision_bits
    one = 1 << n
    check_integer("length", length, 1, MAX_LENGTH)
    check_integer("seed", seed, 0, one - 1)
    half_step = one // (2 * _power_of_two_at_least(length))
    if layout == "aligned":
        return _aligned(generator, length, n, seed)

    def source(role: int) -> AbstractSource:
        if generator == "sobol":
            return make_source("sobol", width=n, seed=(half_step ^ seed) % one, dimension=(1, 0, 2)[role])
        if generator == "counter":
            return _counter(role, length, n, seed)
        if role == 2:
            return _stranger(generator, n, seed)
        if generator == "halton":
            return make_source("halton", width=n, seed=seed % one, base=(2, 3)[role])
        if generator == "lfsr":
            return make_source("lfsr", width=n, seed=1 + (seed + role * (one // 3)) % (one - 1))
        return make_source(generator, width=n, seed=(seed + role) % one)

    if generator not in SOURCES:
        raise RangeError(f"expected a generator among {', '.join(SOURCES)}, got {generator!r}")
    return LayerSources(source(0), source(1), source(2))


def _counter(role: int, length: int, n: int, seed: int) -> AbstractSource:
    """A ramp of activations against the same levels in another order: the two axes of a rank-1 lattice.

    The other order's stride is an odd multiple of the ramp's, so it visits ``length`` distinct levels; the multiple
    nearest to the golden ratio's share of ``length`` (for the third source the silver ratio's) spreads any prefix well.
    """
    one = 1 << n
    step = max(one // length, 1)
    start = (step // 2 + seed) % one
    turn = _nearest_odd(length * (0.0, 0.6180339887498949, 0.4142135623730951)[role])
    # one cycle only: the stride is never taken
    stride = step * turn % one if length > 1 else 1
    return make_source("counter", width=n, seed=start, stride=stride)


def _nearest_odd(value: float) -> int:
    return max(1, 2 * round((value - 1) / 2) + 1)


def _stranger(generator: str, n: int, seed: int) -> AbstractSource:
    """A third source for Halton, LFSR or ideal bits, independent of the other two.

    LFSRs of one polynomial are shifts of each other and Halton has bases 2 and 3 only, so a third of the same kind
    would repeat one of the two.  An LFSR (period ``2**n - 1``) beside Halton base 2 (period ``2**n``), and Sobol
    (period ``2**n``) beside LFSRs, meet every pair of numbers equally often over the product of their periods.
    """
    one = 1 << n
    if generator == "halton":
        return make_source("lfsr", width=n, seed=1 + seed % (one - 1))
    if generator == "lfsr":
        return make_source("sobol", width=n, seed=seed % one, dimension=2)
    return make_source(generator, width=n, seed=(seed + 2) % one)


def _aligned(generator: str, length: int, n: int, seed: int) -> LayerSources:
    """Both sources in one order, weights half a step up, activations as low as 1/32 of the range."""
    one = 1 << n
    plain = layer_sources(generator, length, n, seed)
    faint = one // 32
    if generator == "sobol":
        half_step = one // (2 * _power_of_two_at_least(length))
        # one weight level only: the middle would keep too few weights
        high = min(half_step, one // 4)
        low = min(half_step, faint)
        return LayerSources(
            make_source("sobol", width=n, seed=(low ^ seed) % one, dimension=1),
            make_source("sobol", width=n, seed=(high ^ seed) % one, dimension=1),
            plain.correlation,
        )
    if generator == "counter":
        step = max(one // length, 1)
        start = (min(step // 2, faint) + seed) % one
        stride = step if length > 1 else 1
        high = (min(step // 2, one // 4) + seed) % one
        return LayerSources(
            make_source("counter", width=n, seed=start, stride=stride),
            make_source("counter", width=n, seed=high, stride=stride),
            plain.correlation,
        )
    return LayerSources(plain.activation, plain.activation, plain.correlation)


def _power_of_two_at_least(value: int) -> int:
    return 1 << (value - 1).bit_length()


def config_sources(config: DifferentiableSCConfig, length: int | None = None) -> LayerSources:
    """The sources that a configuration's own seeds, polynomial and precision name.

    Sobol takes dimensions 0, 1 and 2, Halton bases 2 and 3, a counter its three strides.  The third source's seed is
    derived from the two given ones; beside Halton and LFSRs it is of another kind (:func:`_stranger`).

    Args:
        config: the configuration.
        length: cycles, for a counter's stride; the configuration's own if ``None``.
    """
    n, kind = config.precision_bits, config.generator
    one = 1 << n
    first, second = config.input_seed, config.weight_seed
    if kind == "sobol":
        seeds = (first, second, first ^ second)
        return LayerSources(*(make_source(kind, width=n, seed=seed, dimension=role) for role, seed in enumerate(seeds)))
    if kind == "counter":
        cycles = config.bitstream_length if length is None else length
        third = (first + second) % one
        return LayerSources(*(_counter(role, cycles, n, seed) for role, seed in enumerate((first, second, third))))
    if kind == "halton":
        own = [make_source(kind, width=n, seed=seed, base=base) for seed, base in ((first, 2), (second, 3))]
        return LayerSources(own[0], own[1], _stranger(kind, n, first + second))
    if kind == "lfsr":
        polynomial = config.polynomial_raw
        own = [make_source(kind, width=n, seed=seed, polynomial=polynomial) for seed in (first, second)]
        return LayerSources(own[0], own[1], _stranger(kind, n, first ^ second))
    third = next(seed for seed in range(3) if seed not in (first, second))
    return LayerSources(*(make_source(kind, width=n, seed=seed) for seed in (first, second, third)))
