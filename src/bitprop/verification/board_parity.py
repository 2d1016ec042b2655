"""A network on a board, through its serial lines: bits go in and out of the pins, integers are compared.

What it shows: a host that speaks :class:`~bitprop.hdl.serial.SerialFormat` gets every logit and decision of the
reference interpreter from the board's top module, with its clock and baud rate, in Icarus Verilog.  What it cannot
show: that the pins of the constraint file are those of the board on the desk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy.typing as npt

from bitprop._checks import check_integer
from bitprop.artifacts import write_text
from bitprop.errors import ParityError, SimulationError
from bitprop.graph.interpret import check_inputs, run
from bitprop.graph.spec import Document
from bitprop.hdl import emit
from bitprop.hdl.serial import Answer, BoardPort, Report, SerialFormat, board_bench, board_top, serial_library
from bitprop.toolchain import run_tool, scratch_folder
from bitprop.toolchain.iverilog import IVERILOG, VVP
from bitprop.toolchain.shell import SHELL

__all__ = ["BoardParity", "check_board", "drive_board", "frames"]

SEND, SEND_BROKEN, PAUSE, GLITCH, AWAIT, PRESS = range(6)
"""What a line of the bench's stimulus asks for; see the header of the emitted ``bitprop_shell_tb.v``."""

Action = tuple[int, int]

_AGAIN = "await no more bytes than the samples sent have answers, or use another version of Icarus Verilog"


@dataclass(frozen=True, slots=True)
class BoardParity:
    """What came back over the serial line.

    Attributes:
        network: its name.
        samples: samples sent.
        integers: integers compared.
    """

    network: str
    samples: int
    integers: int


def frames(content: bytes, *, broken: Sequence[int] = ()) -> Iterator[Action]:
    """The bench's actions that send bytes.

    Args:
        content: the bytes.
        broken: places of those whose stop bit is low.

    Example:
        >>> list(frames(b"S\\x03", broken=[1]))
        [(0, 83), (1, 3)]
    """
    for place, byte in enumerate(content):
        yield (SEND_BROKEN if place in broken else SEND), byte


def drive_board(
    document: Document,
    board: BoardPort,
    actions: Sequence[Action],
    *,
    skew: int = 0,
    changes: Sequence[tuple[str, str, str]] = (),
    timeout: float = 600.0,
) -> tuple[Answer | Report, ...]:
    """Do things to a board's pins in simulation and read what comes back.

    Args:
        document: the network.
        board: clock, baud rate and pins.
        actions: what and how much, in order.
        skew: the host's bits are so many thousandths longer than they should be, ``-100 .. 100``.
        changes: planted faults: file, old text, new text.
        timeout: seconds for building, and for running.

    Raises:
        RangeError: an argument out of range.
        NotExportableError: a source has no hardware.
        ToolNotFoundError: Icarus Verilog is not installed.
        ToolTimeoutError: it did not finish in time.
        SimulationError: bytes that were waited for did not come, or are no answers.
    """
    check_integer("skew", skew, -100, 100)
    with scratch_folder() as folder:
        design = emit(document, folder)
        extra = {**serial_library(), f"{SHELL}.v": board_top(document, board, SHELL)}
        bench = f"{SHELL}_tb.v"
        for file, text in {**extra, bench: board_bench(document, board, SHELL)}.items():
            write_text(folder / file, text)
        for file, old, new in changes:
            text = (folder / file).read_text(encoding="utf-8")
            if old not in text:
                raise SimulationError(f"expected {old!r} in {file}, found none; correct the planted fault")
            write_text(folder / file, text.replace(old, new))
        write_text(folder / "stimulus.txt", "".join(f"{what} {amount}\n" for what, amount in actions))
        build: list[str] = ["-g2012", "-Wall", "-Wno-timescale", "-s", f"{SHELL}_tb", "-o", "board.vvp"]
        run_tool([IVERILOG.locate(), *build, *design.design_files, *extra, bench], cwd=folder, timeout=timeout)
        names = ["+stimulus=stimulus.txt", "+received=received.txt", f"+skew={skew}"]
        printed = run_tool([VVP.locate(), "-n", "board.vvp", *names], cwd=folder, timeout=timeout)
        try:
            lines = (folder / "received.txt").read_text(encoding="ascii").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SimulationError(
                f"expected what the board sent, got none ({error}); {_AGAIN}: {printed[-500:]}"
            ) from error
    if not lines or lines[-1] != "done":
        raise SimulationError(f"expected the board to answer, got: {lines[-1] if lines else printed[-500:]}; {_AGAIN}")
    if not all(line.isdigit() for line in lines[:-1]):
        raise SimulationError(f"expected bytes with a high stop bit from the board, got others; {_AGAIN}")
    return tuple(SerialFormat.of(document).answers(bytes(int(line) for line in lines[:-1])))


def check_board(
    document: Document,
    board: BoardPort,
    inputs_raw: npt.ArrayLike,
    *,
    ahead: int = 2,
    skew: int = 0,
    changes: Sequence[tuple[str, str, str]] = (),
    timeout: float = 600.0,
) -> BoardParity:
    """Send samples to a board in simulation and compare every logit and decision with the reference interpreter.

    Args:
        document: the network.
        board: clock, baud rate and pins.
        inputs_raw: value integers, ``[samples, features]``.
        ahead: samples that the host sends before it waits for the answer to the first of them.
        skew: see :func:`drive_board`.
        changes: see :func:`drive_board`.
        timeout: see :func:`drive_board`.

    Raises:
        ParityError: an answer differs, or there are more or fewer of them than samples; the message names the first.
        BitpropError: what :func:`drive_board` raises.
    """
    inputs = check_inputs(document, inputs_raw)
    form = SerialFormat.of(document)
    check_integer("ahead", ahead, 1, 1 << 20)
    actions: list[Action] = []
    for sample, values in enumerate(inputs, start=1):
        actions += frames(form.sample(values))
        actions.append((AWAIT, max(0, sample - ahead + 1) * form.answer_bytes))
    actions.append((AWAIT, len(inputs) * form.answer_bytes))
    found = drive_board(document, board, actions, skew=skew, changes=changes, timeout=timeout)
    expected = run(document, inputs)
    for sample, (logits, decision) in enumerate(zip(expected.logits.tolist(), expected.decision.tolist(), strict=True)):
        should, did = Answer(decision, tuple(logits)), found[sample] if sample < len(found) else None
        if did != should:
            raise ParityError(
                f"expected {should} for sample {sample} of {document.name} over the serial line, got {did}"
            )
    if len(found) != len(inputs):
        raise ParityError(
            f"expected {len(inputs)} answers, got {len(found)}: the first too many is {found[len(inputs)]}"
        )
    return BoardParity(document.name, len(inputs), int(expected.logits.size + expected.decision.size))
