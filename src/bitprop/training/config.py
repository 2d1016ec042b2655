"""The configuration of a training run: one TOML file, checked field by field, saved with the run."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar, cast

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from bitprop._checks import check_identifier, shortened
from bitprop.artifacts import write_text
from bitprop.errors import ConfigError
from bitprop.formats import DEFAULT_PRECISION_BITS, MAX_PRECISION_BITS, MIN_PRECISION_BITS
from bitprop.nn.design import check_candidates
from bitprop.nn.sources import MAX_LENGTH
from bitprop.ops import SOURCES

__all__ = ["BudgetConfig", "DataConfig", "NetworkConfig", "RunConfig", "TrainingConfig", "load_config", "parse_config"]

_Item = TypeVar("_Item", int, str)
_Lists: TypeAlias = tuple[tuple[_Item, ...], ...]
_Correlation = Annotated[float, Field(ge=-1, le=1)]
_Layout = Annotated[str, Field(pattern="^(independent|aligned)$")]
_Length = Annotated[int, Field(ge=1, le=MAX_LENGTH)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_flags(cls, value: object) -> object:
        if _has_flag(value):  # pydantic would read it as 0 or 1
            raise ValueError("expected a number or a text, not true or false")
        return value


def _has_flag(value: object) -> bool:
    return any(map(_has_flag, value)) if isinstance(value, list | tuple) else isinstance(value, bool)


class DataConfig(_Section):
    """Section ``[data]``.

    Attributes:
        source: ``digits``, ``fashion_mnist``, or the path of a ``.npz`` or ``.csv`` file (relative to the
            configuration file).
        folder: where Fashion-MNIST's idx files are, if not in the usual place; empty for none.
        test_share: share held out of a file without a split of its own.
        validation_share: share of the training samples kept aside to choose the best epoch; 0 for none.
    """

    source: str = "digits"
    folder: str = ""
    test_share: float = Field(default=0.2, gt=0, lt=1)
    validation_share: float = Field(default=0.1, ge=0, lt=1)


class NetworkConfig(_Section):
    """Section ``[network]``: the shape, and the design space of its layers.

    Attributes:
        hidden: widths of the hidden layers.
        activation: ``clamp01`` or ``hardtanh``.
        lengths: candidate stream lengths, one list for all layers or one list per layer.
        encodings: candidate encodings, one list for all layers or one list per layer.
        min_correlation: smallest correlation, one number for all layers or one per layer.
        max_correlation: largest correlation, likewise; equal to the smallest to fix it.
        generator: ``sobol``, ``lfsr``, ``halton``, ``counter`` or ``bernoulli``.
        layout: of the number sources, ``independent`` or ``aligned``, one for all layers or one per layer.
        precision_bits: n.
        scale_bits: bits of each hidden layer's scale.
        slope: ``local`` or ``relaxed``: the stand-in for the slope of a bit-true stream.
    """

    hidden: Annotated[tuple[Annotated[int, Field(ge=1, le=65536)], ...], Field(max_length=63)] = (32,)
    activation: str = Field(default="clamp01", pattern="^(clamp01|hardtanh)$")
    lengths: tuple[_Length, ...] | tuple[tuple[_Length, ...], ...] = (4, 8, 16, 32, 64)
    encodings: tuple[str, ...] | tuple[tuple[str, ...], ...] = ("sign_magnitude", "bipolar")
    min_correlation: _Correlation | tuple[_Correlation, ...] = -0.25
    max_correlation: _Correlation | tuple[_Correlation, ...] = 0.25
    generator: str = "sobol"
    layout: _Layout | tuple[_Layout, ...] = "independent"
    precision_bits: int = Field(default=DEFAULT_PRECISION_BITS, ge=MIN_PRECISION_BITS, le=MAX_PRECISION_BITS)
    scale_bits: int = Field(default=8, ge=2, le=16)
    slope: str = Field(default="local", pattern="^(local|relaxed)$")

    @field_validator("generator")
    @classmethod
    def _known_generator(cls, value: str) -> str:
        if value not in SOURCES:
            raise ValueError(f"expected a generator among {', '.join(SOURCES)}")
        return value

    @model_validator(mode="after")
    def _usable_space(self) -> NetworkConfig:
        if not isinstance(self.layout, str) and len(self.layout) != len(self.hidden) + 1:
            raise ConfigError(f"expected layout for {len(self.hidden) + 1} layers, got {len(self.layout)}")
        for lengths, encodings, correlations in zip(
            self.lengths_per_layer(), self.encodings_per_layer(), self.correlations_per_layer(), strict=True
        ):
            check_candidates(lengths, encodings, correlations)
        return self

    def correlations_per_layer(self) -> tuple[tuple[float, float], ...]:
        """Smallest and largest correlation of every layer, input first."""
        depth = len(self.hidden) + 1
        bounds = []
        for name in ("min_correlation", "max_correlation"):
            given = getattr(self, name)
            column = given if isinstance(given, tuple) else (given,) * depth
            if len(column) != depth:
                raise ConfigError(f"expected {name} for {depth} layers, got {len(column)}; give one each")
            bounds.append(column)
        return tuple(zip(*bounds, strict=True))

    def lengths_per_layer(self) -> tuple[tuple[int, ...], ...]:
        """Candidate lengths of every layer, input first."""
        return _lists_per_layer("lengths", self.lengths, len(self.hidden) + 1)

    def encodings_per_layer(self) -> tuple[tuple[str, ...], ...]:
        """Candidate encodings of every layer, input first."""
        return _lists_per_layer("encodings", self.encodings, len(self.hidden) + 1)

    @property
    def is_fixed(self) -> bool:
        """Whether every layer has one length and one encoding."""
        return all(len(candidates) == 1 for candidates in (*self.lengths_per_layer(), *self.encodings_per_layer()))


def _lists_per_layer(name: str, given: tuple[_Item, ...] | tuple[tuple[_Item, ...], ...], depth: int) -> _Lists[_Item]:
    """One tuple for every layer, from one for all or one each."""
    if given and isinstance(given[0], tuple):
        if len(given) != depth:
            raise ConfigError(f"expected {name} for {depth} layers, got {len(given)}; give one list each")
        return given
    return (cast("tuple[_Item, ...]", given),) * depth


class TrainingConfig(_Section):
    """Section ``[training]``: three phases and their costs.

    Attributes:
        warmup_epochs: relaxed mode; the weights alone.
        joint_epochs: bit-true mode, a mixture over designs that is annealed towards a choice.
        finish_epochs: bit-true mode, the choice committed.
        batch_size: samples per step.
        learning_rate: of weights, biases and gains, at its peak.
        design_learning_rate: of the design logits.
        weight_decay: decoupled, on the weights.
        label_smoothing: of the cross-entropy.
        length_cost: times the mean length over products, relative to the longest candidate.
        correlation_cost: times the sum of squared correlations.
        resource_cost: times the expected LUT4 x cycles of all layers, every product in parallel, relative to the
            costliest candidates.
        resource_model: where the LUT4 come from: ``synthesis``, the model fitted to placed and routed designs, or
            ``gates``, counted.
        dither_epochs: first bit-true epochs in which every batch moves the activations' numbers by a random part of a
            step, so that no level is learned by heart.
        temperature_start: of the choice, at the beginning of the joint phase.
        temperature_end: at its end.
        patience: epochs of the last phase without a better validation loss before stopping; 0 never stops.  Needs a
            validation share.
        average_decay: decay of the exponential moving average of the weights that is kept; 0 keeps the last ones.
    """

    warmup_epochs: int = Field(default=20, ge=0, le=10_000)
    joint_epochs: int = Field(default=20, ge=0, le=10_000)
    finish_epochs: int = Field(default=40, ge=0, le=10_000)
    batch_size: int = Field(default=64, ge=1, le=1 << 20)
    learning_rate: float = Field(default=5e-3, gt=0, le=10)
    design_learning_rate: float = Field(default=3e-2, ge=0, le=10)
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    length_cost: float = Field(default=0.05, ge=0, le=1e6)
    correlation_cost: float = Field(default=0.0, ge=0, le=1e6)
    resource_cost: float = Field(default=0.0, ge=0, le=1e6)
    resource_model: str = Field(default="synthesis", pattern="^(synthesis|gates)$")
    dither_epochs: int = Field(default=0, ge=0, le=10_000)
    temperature_start: float = Field(default=1.0, gt=0, le=100)
    temperature_end: float = Field(default=0.25, gt=0, le=100)
    patience: int = Field(default=0, ge=0, le=10_000)
    average_decay: float = Field(default=0.0, ge=0, lt=1)

    @property
    def epochs(self) -> int:
        """All phases together."""
        return self.warmup_epochs + self.joint_epochs + self.finish_epochs

    @model_validator(mode="after")
    def _some_epochs(self) -> TrainingConfig:
        if self.epochs == 0:
            raise ValueError("expected at least one epoch in warmup_epochs, joint_epochs or finish_epochs")
        return self


class BudgetConfig(_Section):
    """Section ``[budget]``: what the trained design may take; limits that are not given do not bind.

    Attributes:
        lut: four-input tables.
        bram: block RAMs.
        dsp: multipliers.
        latency_us: microseconds from a sample's acceptance to its decision.
        clock_mhz: the clock that the latency counts in, and that the design must be able to run at.
        architecture: ``folded``: every layer folded, the folds chosen to fit; ``parallel``: every product at once.
    """

    lut: int | None = Field(default=None, ge=1, le=10_000_000)
    bram: int | None = Field(default=None, ge=0, le=100_000)
    dsp: int | None = Field(default=None, ge=0, le=100_000)
    latency_us: float | None = Field(default=None, gt=0, le=1e9)
    clock_mhz: float = Field(default=50.0, gt=0, le=1000)
    architecture: str = Field(default="folded", pattern="^(folded|parallel)$")

    def describe(self) -> str:
        """The limits in words."""
        units = (("lut", "LUT"), ("bram", "block RAM"), ("dsp", "multipliers"), ("latency_us", "us"))
        parts = [f"{getattr(self, name):,} {unit}" for name, unit in units if getattr(self, name) is not None]
        return f"{', '.join(parts) or 'any size'} at {self.clock_mhz:g} MHz"


class RunConfig(_Section):
    """A whole run.

    Attributes:
        name: name of the network, a lower-case identifier: it becomes the Verilog top module.
        seed: the one seed of splits, weights and order.
        data: section ``[data]``.
        network: section ``[network]``.
        training: section ``[training]``.
        budget: section ``[budget]``, if there is one.

    Example:
        >>> RunConfig(name="tiny", training={"joint_epochs": 3}).training.joint_epochs
        3
    """

    name: str = "network"
    seed: int = Field(default=0, ge=0, lt=1 << 63)
    data: DataConfig = DataConfig()
    network: NetworkConfig = NetworkConfig()
    training: TrainingConfig = TrainingConfig()
    budget: BudgetConfig | None = None

    @model_validator(mode="after")
    def _patience_can_be_measured(self) -> RunConfig:
        if self.training.patience and not self.data.validation_share:
            raise ValueError("expected data.validation_share above 0 for training.patience, which watches it; got 0")
        return self

    @model_validator(mode="after")
    def _budget_can_be_met(self) -> RunConfig:
        if self.budget is not None and not self.training.joint_epochs and not self.network.is_fixed:
            raise ValueError(
                "expected training.joint_epochs above 0 for a budget, which chooses the design, or one length and one "
                "encoding for each layer; got 0"
            )
        return self

    @field_validator("name")
    @classmethod
    def _safe_name(cls, value: str) -> str:
        if value.startswith("bitprop"):
            raise ValueError(
                "expected a name that does not start with bitprop, the prefix of the library's own modules"
            )
        return check_identifier("name", value)

    def to_toml(self) -> str:
        """The configuration as TOML text; every field that has a value is written, so the file says what ran."""
        return tomli_w.dumps(self.model_dump(mode="python", exclude_none=True))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write :meth:`to_toml` atomically."""
        return write_text(path, self.to_toml())


def parse_config(fields: dict[str, Any], where: str = "configuration") -> RunConfig:
    """Check plain fields.

    Raises:
        ConfigError: an unknown, missing or unusable field; the message names each.
    """
    try:
        return RunConfig.model_validate(fields)
    except ValidationError as error:
        problems = []
        for detail in error.errors(include_url=False):
            place = ".".join(str(part) for part in detail["loc"]) or where
            problems.append(f"{place}: {detail['msg']}, got {shortened(detail['input'])}")
        raise ConfigError(f"{where}: " + "; ".join(problems)) from error


def load_config(path: str | os.PathLike[str]) -> RunConfig:
    """Read a TOML configuration; a relative data file in it is taken relative to the configuration.

    Raises:
        ConfigError: missing, not TOML, or an unusable field.
    """
    target = Path(path)
    try:
        fields = tomllib.loads(target.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"expected a configuration file at {target}, found none; check the path") from None
    except OSError as error:
        raise ConfigError(
            f"expected a TOML file at {target}, cannot read it: {error.strerror}; check the path and your rights"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"expected TOML in {target}: {error}") from error
    config = parse_config(fields, str(target))
    source = Path(config.data.source)
    if source.suffix in {".npz", ".csv"} and not source.is_absolute():
        data = config.data.model_copy(update={"source": str((target.parent / source).resolve())})
        config = config.model_copy(update={"data": data})
    return config
