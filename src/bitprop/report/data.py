"""What a report shows: frozen, checked records (:mod:`bitprop.report.build` makes them from artefacts).

Every record checks its shapes and that its numbers are finite; text may be anything, the page escapes it.
Whatever may be missing (a parity run, a history, a sweep) is ``None`` or empty and becomes a note on the page.
"""

from __future__ import annotations

import math
from collections.abc import Sized
from dataclasses import dataclass

from bitprop import __version__
from bitprop._checks import check_choice, check_integer, check_real
from bitprop.errors import RangeError, ShapeError
from bitprop.formats import ENCODINGS
from bitprop.report.neuron import NeuronStreams

__all__ = [
    "Confusion",
    "LayerHistory",
    "LayerRow",
    "LengthPoint",
    "Mistake",
    "Parity",
    "ParityRow",
    "Picture",
    "ReportData",
    "TrainingHistory",
]

_MAX = 1 << 62
_MAX_TEXT = 2000
_MAX_PIXELS = 1 << 16
MAX_CLASSES = 1000
PARITY_STATUS = ("pass", "fail", "skipped")


def _text(name: str, value: object, *, empty: bool = False) -> str:
    if not isinstance(value, str) or len(value) > _MAX_TEXT or not (empty or value.strip()):
        wanted = "text" if empty else "text that is not empty"
        raise RangeError(f"expected {name} to be {wanted} of at most {_MAX_TEXT} characters, got {value!r:.60}")
    return value


def _share(name: str, value: float) -> float:
    return check_real(name, float(value), 0.0, 1.0)


def check_same_length(what: str, **columns: Sized) -> None:
    """Raise ``ShapeError`` unless all columns have one length."""
    sizes = {name: len(column) for name, column in columns.items()}
    if len(set(sizes.values())) > 1:
        raise ShapeError(f"expected {what} of equal length, got {sizes}; give one entry each")


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One layer of the exported design.

    Attributes:
        name: its name.
        inputs: I.
        outputs: O.
        length: stream length L in cycles.
        encoding: encoding name.
        correlation: SCC between activation and weight streams, [-1, 1].
        activation_source: kind of number source of the activations.
        weight_source: kind of number source of the weights.
        accumulator_bits: two's complement bits.
        cycles: from acceptance to the layer's answer, ``L + 2``.

    Raises:
        RangeError: a field out of range.
    """

    name: str
    inputs: int
    outputs: int
    length: int
    encoding: str
    correlation: float
    activation_source: str
    weight_source: str
    accumulator_bits: int
    cycles: int

    def __post_init__(self) -> None:
        for field in ("name", "activation_source", "weight_source"):
            _text(field, getattr(self, field))
        for field in ("inputs", "outputs", "length", "accumulator_bits", "cycles"):
            check_integer(field, getattr(self, field), 1, _MAX)
        check_choice("encoding", self.encoding, tuple(ENCODINGS))
        check_real("correlation", self.correlation, -1.0, 1.0)

    @property
    def products(self) -> int:
        """Multiplications each cycle, ``I * O``."""
        return self.inputs * self.outputs


@dataclass(frozen=True, slots=True)
class LengthPoint:
    """One network of a sweep over stream lengths.

    Attributes:
        series: which family of networks it belongs to.
        mean_length: mean stream length over products, cycles, at least 1.
        accuracy: bit-true accuracy, [0, 1].
        label: written beside the point if not empty.
        exported: it is the network that this page is about.

    Raises:
        RangeError: a field out of range.
    """

    series: str
    mean_length: float
    accuracy: float
    label: str = ""
    exported: bool = False

    def __post_init__(self) -> None:
        _text("series", self.series)
        _text("label", self.label, empty=True)
        check_real("mean_length", self.mean_length, 1.0, 1e9)
        _share("accuracy", self.accuracy)


@dataclass(frozen=True, slots=True)
class LayerHistory:
    """How one layer's design moved, one entry per epoch.

    Attributes:
        name: the layer.
        lengths: candidate lengths, ``[K]``, increasing.
        encodings: candidate encodings, ``[E]``.
        length_probabilities: ``[epochs][K]``, each row a distribution.
        encoding_probabilities: ``[epochs][E]``, each row a distribution.
        correlation: ``[epochs]``, [-1, 1].
        expected_length: ``[epochs]``, cycles.

    Raises:
        ShapeError: columns of different length.
        RangeError: not probabilities, or out of range.
    """

    name: str
    lengths: tuple[int, ...]
    encodings: tuple[str, ...]
    length_probabilities: tuple[tuple[float, ...], ...]
    encoding_probabilities: tuple[tuple[float, ...], ...]
    correlation: tuple[float, ...]
    expected_length: tuple[float, ...]

    def __post_init__(self) -> None:
        _text("name", self.name)
        if not self.lengths or not self.encodings:
            raise ShapeError(f"expected candidate lengths and encodings of {self.name!r}, got none")
        for length in self.lengths:
            check_integer("a candidate length", length, 1, _MAX)
        for encoding in self.encodings:
            _text("a candidate encoding", encoding)
        check_same_length(
            f"the design history of {self.name!r}",
            length_probabilities=self.length_probabilities,
            encoding_probabilities=self.encoding_probabilities,
            correlation=self.correlation,
            expected_length=self.expected_length,
        )
        for rows, width in (
            (self.length_probabilities, len(self.lengths)),
            (self.encoding_probabilities, len(self.encodings)),
        ):
            for row in rows:
                if len(row) != width:
                    raise ShapeError(f"expected {width} probabilities in {self.name!r}, got {len(row)}")
                if abs(sum(_share("a probability", value) for value in row) - 1.0) > 1e-3:
                    raise RangeError(f"expected probabilities that sum to 1 in {self.name!r}, got {sum(row)!r}")
        for value in self.correlation:
            check_real("correlation", value, -1.0, 1.0)
        for value in self.expected_length:
            check_real("expected_length", value, 0.0, 1e9)


@dataclass(frozen=True, slots=True)
class TrainingHistory:
    """A training run, one entry per epoch.

    Attributes:
        epochs: numbers, increasing.
        phases: ``warmup``, ``joint`` or ``finish`` (any text is shown).
        loss: mean training loss, costs included.
        train_accuracy: [0, 1].
        validation_accuracy: in the epoch's mode, [0, 1]; ``None`` where there is none.
        mean_length: expected stream length, cycles.
        layers: design histories.
        joint_accuracy: of the mixture at the end of the joint phase, or ``None``.
        committed_accuracy: the same weights with the choice made, or ``None``.

    Raises:
        ShapeError: columns of different length.
        RangeError: out of range.
    """

    epochs: tuple[int, ...]
    phases: tuple[str, ...]
    loss: tuple[float, ...]
    train_accuracy: tuple[float, ...]
    validation_accuracy: tuple[float | None, ...]
    mean_length: tuple[float, ...]
    layers: tuple[LayerHistory, ...] = ()
    joint_accuracy: float | None = None
    committed_accuracy: float | None = None

    def __post_init__(self) -> None:
        columns = {name: getattr(self, name) for name in self.__slots__[:6]}
        check_same_length("the training history", **columns)
        for layer in self.layers:
            check_same_length("the training history", epochs=self.epochs, **{f"layer {layer.name}": layer.correlation})
        for before, after in zip(self.epochs, self.epochs[1:], strict=False):
            if after <= before:
                raise RangeError(f"expected increasing epochs, got {before} then {after}; sort them")
        for index, epoch in enumerate(self.epochs):
            check_integer("an epoch", epoch, 0, _MAX)
            _text("a phase", self.phases[index])
            check_real("loss", self.loss[index], -1e300, 1e300)
            check_real("mean_length", self.mean_length[index], 0.0, 1e9)
            _share("train_accuracy", self.train_accuracy[index])
            validation = self.validation_accuracy[index]
            if validation is not None:
                _share("validation_accuracy", validation)
        for value in (self.joint_accuracy, self.committed_accuracy):
            if value is not None:
                _share("an accuracy", value)


@dataclass(frozen=True, slots=True)
class ParityRow:
    """What one simulator answered.

    Attributes:
        simulator: its name.
        version: its version line.
        status: ``pass``, ``fail`` or ``skipped``.
        samples: samples compared, single-layer ones included.
        integers: integers compared.
        mismatches: integers that differ.
        latency_cycles: measured cycles of the first sample, or ``None``.
        more_possible: the comparison stopped at the first mismatch, so there may be more.
        detail: where the first mismatch is, or why it was skipped.

    Raises:
        RangeError: a field out of range, or a status that contradicts the counts.
    """

    simulator: str
    version: str
    status: str
    samples: int
    integers: int
    mismatches: int
    latency_cycles: int | None = None
    more_possible: bool = False
    detail: str = ""

    def __post_init__(self) -> None:
        _text("simulator", self.simulator)
        _text("version", self.version, empty=True)
        _text("detail", self.detail, empty=True)
        check_choice("status", self.status, PARITY_STATUS)
        for field in ("samples", "integers", "mismatches"):
            check_integer(field, getattr(self, field), 0, _MAX)
        if self.latency_cycles is not None:
            check_integer("latency_cycles", self.latency_cycles, 0, _MAX)
        if self.status == "pass" and (self.mismatches or not self.integers):
            raise RangeError(
                f"expected a pass to have compared integers without mismatch, got {self.integers} compared and "
                f"{self.mismatches} mismatches; correct the status of {self.simulator!r}"
            )


@dataclass(frozen=True, slots=True)
class Parity:
    """A parity run: one row per simulator, and the latency that the design should have."""

    rows: tuple[ParityRow, ...]
    expected_latency_cycles: int

    def __post_init__(self) -> None:
        check_integer("expected_latency_cycles", self.expected_latency_cycles, 1, _MAX)

    @property
    def status(self) -> str:
        """``fail`` if any simulator failed, ``pass`` if one passed, else ``skipped``."""
        found = {row.status for row in self.rows}
        return next((status for status in ("fail", "pass") if status in found), "skipped")


@dataclass(frozen=True, slots=True)
class Confusion:
    """Who was taken for whom on the held-out samples.

    Attributes:
        counts: ``[classes][classes]``; row is the label, column the decision.
        names: class names, or empty for ``0, 1, …``.

    Raises:
        ShapeError: not square, or names for another number of classes.
        RangeError: a negative count, or no class.
    """

    counts: tuple[tuple[int, ...], ...]
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_integer("classes", len(self.counts), 1, MAX_CLASSES)
        for row in self.counts:
            if len(row) != len(self.counts):
                raise ShapeError(f"expected {len(self.counts)} columns, one per class, got {len(row)}")
            for count in row:
                check_integer("a count", count, 0, _MAX)
        if self.names:
            check_same_length("class names", classes=self.counts, names=self.names)
            for name in self.names:
                _text("a class name", name, empty=True)

    def name(self, index: int) -> str:
        """What class ``index`` is called."""
        return self.names[index] if self.names else str(index)


@dataclass(frozen=True, slots=True)
class Picture:
    """A small grey picture: ``rows * columns`` values in row order, scaled from ``low`` (paper) to ``high`` (ink).

    Raises:
        ShapeError: not ``rows * columns`` values.
        RangeError: not finite, no range, or more than 65536 pixels.
    """

    rows: int
    columns: int
    values: tuple[float, ...]
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        check_integer("rows", self.rows, 1, _MAX_PIXELS)
        check_integer("columns", self.columns, 1, _MAX_PIXELS)
        check_integer("pixels", self.rows * self.columns, 1, _MAX_PIXELS)
        if len(self.values) != self.rows * self.columns:
            raise ShapeError(f"expected {self.rows} x {self.columns} values, got {len(self.values)}")
        if not all(math.isfinite(value) for value in (*self.values, self.low, self.high)) or self.low >= self.high:
            raise RangeError("expected finite pixel values and low below high; clean the picture")


@dataclass(frozen=True, slots=True)
class Mistake:
    """One held-out sample that the network got wrong: its picture, its label, the decision."""

    picture: Picture
    label: str
    decision: str

    def __post_init__(self) -> None:
        _text("label", self.label, empty=True)
        _text("decision", self.decision, empty=True)


@dataclass(frozen=True, slots=True)
class ReportData:
    """Everything on the page.

    Attributes:
        title: heading.
        network: name of the network.
        dataset: name of the data set.
        seed: the run's seed.
        test_samples: held-out samples that the accuracies are shares of.
        bit_true_accuracy: of the exported integers, [0, 1].
        layers: the exported design, input first, at least one.
        float_accuracy: of the reference without streams, or ``None``.
        float_label: what that reference is.
        facts: further ``(name, value)`` facts for the subtitle.
        lengths: accuracy against length; may be empty.
        history: the training run, or ``None``.
        neurons: streams of single neurons; may be empty.
        picture: the sample that those neurons see, or ``None``.
        picture_label: its label, or empty.
        parity: the parity run, or ``None``.
        confusion: of the held-out samples, or ``None``.
        mistakes: some samples that are wrong; may be empty.
        version: of bitprop.

    Raises:
        RangeError: a field out of range.
        ShapeError: no layer, or layers that do not fit each other.
    """

    title: str
    network: str
    dataset: str
    seed: int
    test_samples: int
    bit_true_accuracy: float
    layers: tuple[LayerRow, ...]
    float_accuracy: float | None = None
    float_label: str = "float reference"
    facts: tuple[tuple[str, str], ...] = ()
    lengths: tuple[LengthPoint, ...] = ()
    history: TrainingHistory | None = None
    neurons: tuple[NeuronStreams, ...] = ()
    picture: Picture | None = None
    picture_label: str = ""
    parity: Parity | None = None
    confusion: Confusion | None = None
    mistakes: tuple[Mistake, ...] = ()
    version: str = __version__

    def __post_init__(self) -> None:
        for field in ("title", "network", "dataset", "float_label", "version"):
            _text(field, getattr(self, field))
        _text("picture_label", self.picture_label, empty=True)
        for name, value in self.facts:
            _text("a fact's name", name)
            _text(f"fact {name!r}", value, empty=True)
        check_integer("seed", self.seed, 0, (1 << 63) - 1)
        check_integer("test_samples", self.test_samples, 1, _MAX)
        _share("bit_true_accuracy", self.bit_true_accuracy)
        if self.float_accuracy is not None:
            _share("float_accuracy", self.float_accuracy)
        if not self.layers:
            raise ShapeError("expected at least one layer, got none; build them with layers_from_document")
        for before, after in zip(self.layers, self.layers[1:], strict=False):
            if before.outputs != after.inputs:
                raise ShapeError(
                    f"expected layer {after.name!r} to have {before.outputs} inputs, what comes before it gives, got "
                    f"{after.inputs}"
                )

    @property
    def shape(self) -> tuple[int, ...]:
        """Widths, input first."""
        return (self.layers[0].inputs, *(layer.outputs for layer in self.layers))

    @property
    def mean_length(self) -> float:
        """Mean stream length over products, cycles."""
        return sum(row.products * row.length for row in self.layers) / sum(row.products for row in self.layers)

    @property
    def latency_cycles(self) -> int:
        """From acceptance of a sample to its decision: the layers' cycles and one."""
        return sum(row.cycles for row in self.layers) + 1

    @property
    def interval_cycles(self) -> int:
        """Between decisions when samples follow back to back: the slowest layer's cycles."""
        return max(row.cycles for row in self.layers)
