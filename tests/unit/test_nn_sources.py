"""The layouts of a layer's number sources: levels, order, and what AND then computes."""

from __future__ import annotations

import numpy as np
import pytest

from bitprop.errors import RangeError
from bitprop.nn.sources import LAYOUTS, config_sources, layer_sources
from bitprop.ops.correlate import mix_numbers
from bitprop.streams import product_count_table
from bitprop.training.sc_estimators import DifferentiableSCConfig

EXPORTABLE = ("sobol", "halton", "counter", "lfsr")


@pytest.mark.parametrize("generator", EXPORTABLE)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bits", [3, 8, 12])
def test_every_length_and_seed_gives_valid_sources(generator: str, layout: str, bits: int) -> None:
    for length in (1, 2, 3, 7, 8, 100, 1 << bits):
        for seed in (0, 1, (1 << bits) - 1):
            sources = layer_sources(generator, length, bits, seed, layout)
            for source in (sources.activation, sources.weight, sources.correlation):
                numbers = source.sequence(length)
                assert numbers.min() >= 0
                assert numbers.max() < 1 << bits


@pytest.mark.parametrize("length", [2, 3, 4, 7, 8, 15, 16, 31, 64, 100, 256])
def test_counters_visit_as_many_levels_as_there_are_cycles(length: int) -> None:
    sources = layer_sources("counter", length, 8)
    for source in (sources.activation, sources.weight, sources.correlation):
        assert len(set(source.sequence(length).tolist())) == length


@pytest.mark.parametrize("generator", ["sobol", "counter"])
@pytest.mark.parametrize("length", [2, 4, 8, 16, 32])
def test_levels_lie_half_a_step_up(generator: str, length: int) -> None:
    sources = layer_sources(generator, length, 8)
    expected = [256 // length * step + 128 // length for step in range(length)]
    assert sorted(sources.activation.sequence(length).tolist()) == expected


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(np.argsort(np.argsort(a)), np.argsort(np.argsort(b)))[0, 1])


@pytest.mark.parametrize("generator", ["sobol", "counter"])
@pytest.mark.parametrize("length", [8, 16, 32])
def test_aligned_streams_take_the_minimum_and_independent_ones_multiply(generator: str, length: int) -> None:
    grid = np.arange(257) / 256
    forms = {"independent": np.outer(grid, grid), "aligned": np.minimum.outer(grid, grid)}
    for layout, form in forms.items():
        sources = layer_sources(generator, length, 8, layout=layout)
        r, s = sources.activation.sequence(length), sources.weight.sequence(length)
        error = {name: np.abs(product_count_table(r, s, 8) / length - target).mean() for name, target in forms.items()}
        assert error[layout] == min(error.values())
        assert np.abs(product_count_table(r, s, 8) / length - form).mean() < 2.0 / length
        if layout == "aligned":
            assert rank_correlation(r, s) == pytest.approx(1.0)


def test_aligned_activations_see_a_faint_value() -> None:
    for length in (1, 3, 8):
        assert layer_sources("sobol", length, 8, layout="aligned").activation.sequence(length).min() == 8


CORRELATIONS = (0.0, 0.25, -0.25, 0.75, -0.75)


@pytest.mark.parametrize("generator", [*EXPORTABLE, "bernoulli"])
@pytest.mark.parametrize("bits", [7, 8, 12, 13])
def test_the_third_source_knows_nothing_of_the_other_two(generator: str, bits: int) -> None:
    """Mixing leaves a weight's share of ones alone (1/4) and gives its AND with an activation of 1/2 its closed form,
    for layers and configurations.

    Over many periods; 0.03 is five standard deviations of 2**15 independent cycles and more than any lattice leaves.
    """
    one = 1 << bits
    # a counter's ramps are laid out for one period, which more cycles only repeat
    length = one if generator == "counter" else 1 << 15
    config = DifferentiableSCConfig(length, "unipolar", generator, "straight_through", 3, 11, precision_bits=bits)
    for sources in (layer_sources(generator, length, bits), config_sources(config)):
        r, s, t = (source.sequence(length) for source in (sources.activation, sources.weight, sources.correlation))
        for correlation in CORRELATIONS:
            weight = mix_numbers(r, s, t, round(correlation * one), bits) < one // 4
            joint = (1 - abs(correlation)) / 8 + abs(correlation) * (0.25 if correlation > 0 else 0.0)
            assert weight.mean() == pytest.approx(0.25, abs=0.03), correlation
            assert (weight & (r < one // 2)).mean() == pytest.approx(joint, abs=0.03), correlation


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mersenne", 8, 8), "sobol"),
        (("sobol", 0, 8), "length"),
        (("sobol", 8, 8, 256), "seed"),
        (("sobol", 8, 8, 0, "crossed"), "aligned"),
    ],
)
def test_bad_arguments(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(RangeError, match=message):
        layer_sources(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("generator", [*EXPORTABLE, "bernoulli"])
def test_a_configurations_sources_have_its_seeds_and_differ(generator: str) -> None:
    config = DifferentiableSCConfig(64, "bipolar", generator, "straight_through", 3, 11)
    sources = config_sources(config)
    sequences = [source.sequence(64) for source in (sources.activation, sources.weight, sources.correlation)]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert not np.array_equal(sequences[first], sequences[second])
    if generator in ("sobol", "lfsr"):
        assert (sources.activation.seed, sources.weight.seed) == (3, 11)


def test_a_configurations_polynomial_is_used() -> None:
    config = DifferentiableSCConfig(8, "bipolar", "lfsr", "straight_through", 3, 11, lfsr_polynomial=0x11D)
    assert config_sources(config).activation.to_dict()["polynomial"] == 0x11D
