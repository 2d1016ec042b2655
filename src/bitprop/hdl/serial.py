"""A network on a serial line: frames of samples and answers as bytes, and the top module of a board that speaks them.

The modules ``bitprop_uart_*`` and ``bitprop_serial_*`` of the library define the frames; :class:`SerialFormat` is their
other end, for a host.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from bitprop._checks import check_integer
from bitprop.errors import NotExportableError, RangeError, ShapeError, SimulationError
from bitprop.formats import IntArray
from bitprop.graph.spec import Document
from bitprop.graph.timing import latency_cycles
from bitprop.hdl._text import LIBRARY, render
from bitprop.hdl.emitter import loadable_layers, ports_of

__all__ = [
    "SERIAL_LIBRARY",
    "Answer",
    "BoardPort",
    "Report",
    "SerialFormat",
    "board_bench",
    "board_top",
    "serial_library",
]

SERIAL_LIBRARY = (
    "bitprop_uart_receiver.v",
    "bitprop_uart_transmitter.v",
    "bitprop_crc.v",
    "bitprop_serial_sample.v",
    "bitprop_serial_answer.v",
    "bitprop_serial_port.v",
    "bitprop_board_reset.v",
)
"""The modules between a network and a serial line, submodules first."""

SILENCE = 20
"""A frame is given up after 2**20 clock cycles without a byte: 87 ms at 12 MHz, 42 ms at 25 MHz."""

_BENCH_SILENCE = 12
_MIN_CLOCKS = 8
# the top's wires by the network's ports
_OUTSIDE = {
    "in_valid": "sample_valid",
    "in_ready": "sample_ready",
    "in_values": "sample_values",
    "out_valid": "decision_valid",
    "out_ready": "decision_ready",
    "out_class": "decision_class",
    "out_logits": "decision_logits",
}
_MAX_BAUD_ERROR = 0.02
_CRC_START = 0xFFFF
_REASONS = {
    "F": "a stop bit was low",
    "C": "the CRC was wrong",
    "O": "the sample before had not been taken",
    "T": "the frame was not finished in time",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A decision that came over the line.

    Attributes:
        decision: the class.
        logits: the logit integers.
    """

    decision: int
    logits: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """A frame that the board did not accept.

    Attributes:
        reason: ``F``, ``C``, ``O`` or ``T``.
    """

    reason: str

    def describe(self) -> str:
        """What was wrong, in words."""
        return f"the board did not accept a frame: {_REASONS.get(self.reason, f'reason {self.reason!r}')}"


def _with_crc(content: bytes) -> bytes:
    return content + binascii.crc_hqx(content, _CRC_START).to_bytes(2, "big")


@dataclass(frozen=True, slots=True)
class SerialFormat:
    """Frames of a network's samples and answers.

    A sample is ``"S"``, its value integers, and a CRC (CCITT, from ``0xffff``, the high byte first) of those; an answer
    is ``"A"``, the class, the logits, and a CRC; a report ``"E"``, one letter, and a CRC.  Integers are little-endian
    two's complement in as few bytes as hold them.

    Attributes:
        features: value integers of a sample.
        value_bytes: bytes of each.
        class_bytes: bytes of the class.
        classes: logits of an answer.
        logit_bytes: bytes of each.

    Example:
        >>> form = SerialFormat(features=2, value_bytes=1, class_bytes=1, classes=2, logit_bytes=1)
        >>> form.sample([3, -1]).hex()
        '5303ff56ac'
        >>> list(form.answers(b"A\\x01\\x05\\xfe" + bytes.fromhex("0a88")))
        [Answer(decision=1, logits=(5, -2))]
    """

    features: int
    value_bytes: int
    class_bytes: int
    classes: int
    logit_bytes: int

    @classmethod
    def of(cls, document: Document) -> SerialFormat:
        """The format of a network.

        Raises:
            NotExportableError: a source has no hardware.
        """
        ports = ports_of(document)
        return cls(
            features=ports.features,
            value_bytes=_bytes_of(document.precision_bits + 2),
            class_bytes=_bytes_of(ports.class_width),
            classes=ports.classes,
            logit_bytes=_bytes_of(ports.logit_width),
        )

    @property
    def answer_bytes(self) -> int:
        """Bytes of a whole answer."""
        return 1 + self.class_bytes + self.classes * self.logit_bytes + 2

    def sample(self, values_raw: npt.ArrayLike) -> bytes:
        """The frame of one sample.

        Args:
            values_raw: value integers, ``[features]``.

        Raises:
            ShapeError: not so many integers.
            RangeError: one does not fit its bytes.
        """
        values: IntArray = np.asarray(values_raw)
        if values.shape != (self.features,) or values.dtype.kind not in "iu":
            raise ShapeError(f"expected {self.features} integers, got {values.dtype} of shape {list(values.shape)}")
        try:
            content = b"".join(value.to_bytes(self.value_bytes, "little", signed=True) for value in values.tolist())
        except OverflowError as error:
            raise RangeError(
                f"expected value integers of {8 * self.value_bytes} bits, got {values.tolist()}"
            ) from error
        return b"S" + _with_crc(content)

    def answers(self, received: bytes) -> Iterator[Answer | Report]:
        """Answers and reports in what came over the line, in order.

        Raises:
            SimulationError: the bytes are no whole frames, or a CRC is wrong.
        """
        sizes = {ord("A"): self.answer_bytes, ord("E"): 4}
        place = 0
        while place < len(received):
            size = sizes.get(received[place])
            frame = received[place : place + size] if size else b""
            if size is None or len(frame) < size or _with_crc(frame[1:-2]) != frame[1:]:
                raise SimulationError(
                    f"expected whole answers from the board, got {received[place : place + 16].hex(' ')} at byte "
                    f"{place}; is the other end the board of this network, at this baud rate?"
                )
            place += size
            if frame[:1] == b"E":
                yield Report(chr(frame[1]))
                continue
            first = 1 + self.class_bytes
            logits = (frame[first + k * self.logit_bytes :][: self.logit_bytes] for k in range(self.classes))
            yield Answer(
                int.from_bytes(frame[1:first], "little"),
                tuple(int.from_bytes(logit, "little", signed=True) for logit in logits),
            )


def _bytes_of(bits: int) -> int:
    return -(-bits // 8)


@dataclass(frozen=True, slots=True)
class BoardPort:
    """What the top module needs to know of a board.

    Attributes:
        clock_hz: its clock.
        baud: of both serial lines.
        button: level of the reset button while it is pressed; ``None``: there is none.
        lamps_low: a lamp is lit by 0.
        hold: there is a pin that must be 1.
    """

    clock_hz: int
    baud: int
    button: Literal["high", "low"] | None
    lamps_low: bool
    hold: bool

    @property
    def clocks(self) -> int:
        """Clock cycles of a bit."""
        return round(self.clock_hz / self.baud)

    def check(self) -> None:
        """Refuse a baud rate that the clock does not give.

        Raises:
            RangeError: so few cycles that a bit cannot be read safely, or more than 2% off.
        """
        check_integer("baud", self.baud, 300, self.clock_hz // _MIN_CLOCKS)
        if abs(self.clock_hz / self.clocks / self.baud - 1) > _MAX_BAUD_ERROR:
            raise RangeError(
                f"expected a baud rate that a clock of {self.clock_hz} Hz meets within {_MAX_BAUD_ERROR:.0%}, got "
                f"{self.baud}; choose another"
            )


def serial_library() -> dict[str, str]:
    """The text of :data:`SERIAL_LIBRARY` by file name."""
    return {file: (LIBRARY / file).read_text(encoding="utf-8") for file in SERIAL_LIBRARY}


def board_top(document: Document, board: BoardPort, top: str) -> str:
    """The top module of a network on a board; it needs :func:`serial_library` and the network.

    Raises:
        NotExportableError: a source has no hardware.
        RangeError: the board's clock does not give its baud rate.
    """
    return render("board.v.j2", _context(document, board, top))


def board_bench(document: Document, board: BoardPort, top: str) -> str:
    """A testbench that drives the serial lines of :func:`board_top` as a host would.

    Raises:
        NotExportableError: a source has no hardware.
        RangeError: the board's clock does not give its baud rate.
    """
    return render("board_bench.v.j2", _context(document, board, top))


def _context(document: Document, board: BoardPort, top: str) -> dict[str, object]:
    board.check()
    if loads := loadable_layers(document):
        raise NotExportableError(
            f"expected weights in a ROM on a board, {', '.join(loads)} of {document.name} loads them; export it with "
            "--weights rom"
        )
    ports, form = ports_of(document), SerialFormat.of(document)
    # until an answer is there: the sample's and the answer's bytes, the network, and a frame that is given up
    bits = 10 * (form.features * form.value_bytes + 2 * form.answer_bytes)
    patience = bits + (2 * latency_cycles(document) + (2 << _BENCH_SILENCE)) // board.clocks + 100
    return {
        "top": top,
        "network": document.name,
        "origin": "an SC-NIR document",
        "clock_hz": board.clock_hz,
        "baud": board.baud,
        "clocks": board.clocks,
        "button": board.button,
        "lamps_low": board.lamps_low,
        "hold": board.hold,
        "silence": SILENCE,
        "bench_silence": _BENCH_SILENCE,
        "patience": patience,
        "width": document.precision_bits + 2,
        "value_bytes": form.value_bytes,
        "class_bytes": form.class_bytes,
        "logit_bytes": form.logit_bytes,
        "features": ports.features,
        "lanes": ports.lanes,
        "classes": ports.classes,
        "class_width": ports.class_width,
        "logit_width": ports.logit_width,
        "connections": [(inside, _OUTSIDE[name]) for name, inside in ports.names.items()],
    }
