"""DifferentiableSCConfig: accepted values, refused values, round trips."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from bitprop.errors import ConfigError, RangeError
from bitprop.ops import SOURCES
from bitprop.ops.lfsr import LFSR_POLYNOMIALS
from bitprop.training.sc_estimators import ESTIMATORS, DifferentiableSCConfig

GOOD: dict[str, Any] = {
    "bitstream_length": 128,
    "encoding": "bipolar",
    "generator": "sobol",
    "estimator": "pathwise_relaxation",
    "input_seed": 3,
    "weight_seed": 11,
    "correlation": 0.0,
}
LFSR = {**GOOD, "generator": "lfsr"}


def test_seed_documents_constructor_call() -> None:
    config = DifferentiableSCConfig(
        bitstream_length=128,
        encoding="bipolar",
        generator="sobol",
        estimator="pathwise_relaxation",
        input_seed=3,
        weight_seed=11,
        correlation=0.0,
    )
    assert config.precision_bits == 8
    assert config.lfsr_polynomial is None
    assert config.exportable


@pytest.mark.parametrize("generator", ["bernoulli", "sobol", "halton", "lfsr", "counter"])
@pytest.mark.parametrize("encoding", ["unipolar", "bipolar", "sign_magnitude"])
def test_every_generator_and_encoding(generator: str, encoding: str) -> None:
    config = DifferentiableSCConfig(**{**GOOD, "generator": generator, "encoding": encoding})
    assert generator in SOURCES
    assert config.exportable == (generator != "bernoulli")
    assert DifferentiableSCConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("estimator", ESTIMATORS.names())
def test_every_estimator(estimator: str) -> None:
    assert DifferentiableSCConfig(**{**GOOD, "estimator": estimator}).estimator == estimator


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bitstream_length": 0}, "bitstream_length"),
        ({"bitstream_length": -4}, "bitstream_length"),
        ({"bitstream_length": (1 << 24) + 1}, "bitstream_length"),
        ({"bitstream_length": True}, "bitstream_length"),
        ({"bitstream_length": 128.0}, "bitstream_length"),
        ({"bitstream_length": "128"}, "bitstream_length"),
        ({"bitstream_length": None}, "bitstream_length"),
        ({"encoding": "ternary"}, "encoding"),
        ({"encoding": None}, "encoding"),
        ({"encoding": ["bipolar"]}, "encoding"),
        ({"generator": "mersenne"}, "generator"),
        ({"generator": 3}, "generator"),
        ({"estimator": "relax"}, "estimator"),
        ({"estimator": ""}, "estimator"),
        ({"input_seed": -1}, "input_seed"),
        ({"input_seed": 256}, "input_seed"),
        ({"weight_seed": 256}, "weight_seed"),
        ({"weight_seed": 1.0}, "weight_seed"),
        ({"weight_seed": False}, "weight_seed"),
        ({"correlation": 1.0000001}, "correlation"),
        ({"correlation": -2}, "correlation"),
        ({"correlation": float("nan")}, "correlation"),
        ({"correlation": float("inf")}, "correlation"),
        ({"correlation": True}, "correlation"),
        ({"correlation": "0"}, "correlation"),
        ({"precision_bits": 2}, "precision_bits"),
        ({"precision_bits": 17}, "precision_bits"),
        ({"precision_bits": 8.0}, "precision_bits"),
        ({"lfsr_polynomial": 0x11D}, "only with generator='lfsr'"),
        ({"lfsr_polynomial": ""}, "only with generator='lfsr'"),
        ({"generator": "lfsr", "input_seed": 0}, "input_seed"),
        ({"generator": "lfsr", "weight_seed": 0}, "weight_seed"),
        ({"generator": "lfsr", "weight_seed": 3}, "differ"),
        ({"generator": "counter", "weight_seed": 3}, "differ"),
        ({"generator": "bernoulli", "weight_seed": 3}, "differ"),
        ({"generator": "bernoulli", "weight_seed": 2**63}, "weight_seed"),
        ({"generator": "lfsr", "lfsr_polynomial": 0x11B}, "maximal"),
        ({"generator": "lfsr", "lfsr_polynomial": "x^8+x^4+x^3+x+1"}, "maximal"),
        ({"generator": "lfsr", "lfsr_polynomial": "x^7+x^6+1"}, "degree 8"),
        ({"generator": "lfsr", "lfsr_polynomial": 0x25}, "degree 8"),
        ({"generator": "lfsr", "lfsr_polynomial": "x8+1"}, "polynomial"),
        ({"generator": "lfsr", "lfsr_polynomial": ""}, "polynomial"),
        ({"generator": "lfsr", "lfsr_polynomial": 0}, "lfsr_polynomial"),
        ({"generator": "lfsr", "lfsr_polynomial": -5}, "lfsr_polynomial"),
        ({"generator": "lfsr", "lfsr_polynomial": True}, "lfsr_polynomial"),
        ({"generator": "lfsr", "lfsr_polynomial": 285.0}, "lfsr_polynomial"),
        ({"generator": "lfsr", "lfsr_polynomial": 1 << 40}, "lfsr_polynomial"),
    ],
)
def test_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RangeError, match=message):
        DifferentiableSCConfig(**{**GOOD, **change})


@pytest.mark.parametrize("generator", ["sobol", "halton"])
def test_equal_seeds_are_fine_where_the_sequences_differ(generator: str) -> None:
    assert DifferentiableSCConfig(**{**GOOD, "generator": generator, "weight_seed": 3}).weight_seed == 3


def test_polynomial_forms_are_one_configuration() -> None:
    text = DifferentiableSCConfig(**LFSR, lfsr_polynomial=" x^8 + x^4 + x^3 + x^2 + 1")
    number = DifferentiableSCConfig(**LFSR, lfsr_polynomial=0x11D)
    assert text == number
    assert text.polynomial_raw == 0x11D
    assert DifferentiableSCConfig(**LFSR).polynomial_raw == LFSR_POLYNOMIALS[8]
    assert DifferentiableSCConfig(**GOOD).polynomial_raw is None


@pytest.mark.parametrize("width", range(3, 17))
def test_every_table_polynomial(width: int) -> None:
    config = DifferentiableSCConfig(
        **{**LFSR, "input_seed": 1, "weight_seed": 2, "precision_bits": width},
        lfsr_polynomial=LFSR_POLYNOMIALS[width],
    )
    assert config.polynomial_raw == LFSR_POLYNOMIALS[width]


def test_numpy_integers_are_normalised() -> None:
    config = DifferentiableSCConfig(**{**GOOD, "bitstream_length": np.int64(64), "input_seed": np.int32(3)})
    assert type(config.bitstream_length) is int
    assert type(config.input_seed) is int
    assert json.loads(json.dumps(config.to_dict()))["bitstream_length"] == 64


def test_integer_correlation_becomes_float_and_no_negative_zero() -> None:
    assert type(DifferentiableSCConfig(**{**GOOD, "correlation": 1}).correlation) is float
    assert str(DifferentiableSCConfig(**{**GOOD, "correlation": -0.0}).correlation) == "0.0"


def test_frozen_hashable_and_replaceable() -> None:
    config = DifferentiableSCConfig(**GOOD)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.correlation = 0.5  # type: ignore[misc]
    assert hash(config) == hash(DifferentiableSCConfig(**GOOD))
    assert dataclasses.replace(config, bitstream_length=64).bitstream_length == 64
    with pytest.raises(RangeError, match="bitstream_length"):
        dataclasses.replace(config, bitstream_length=0)


@pytest.mark.parametrize(
    ("document", "error", "message"),
    [
        ({**GOOD, "length": 3}, ConfigError, "length"),
        ({**GOOD, 3: 3}, ConfigError, "3"),
        ({"encoding": "bipolar"}, ConfigError, "bitstream_length"),
        ([("bitstream_length", 3)], ConfigError, "mapping"),
        (None, ConfigError, "mapping"),
        ({"bitstream_length": 0}, RangeError, "bitstream_length"),
    ],
)
def test_from_dict_refuses(document: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        DifferentiableSCConfig.from_dict(document)


def test_from_dict_takes_defaults() -> None:
    assert DifferentiableSCConfig.from_dict({"bitstream_length": 32}) == DifferentiableSCConfig(32)
