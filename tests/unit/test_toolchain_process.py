"""External programs: found or missed with advice, stopped in time, heard when they fail; results read with care."""

from __future__ import annotations

import errno
import os
import pwd
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bitprop.errors import RangeError, ShapeError, SimulationError, ToolNotFoundError, ToolTimeoutError
from bitprop.graph.interpret import run
from bitprop.graph.random import random_document, random_inputs
from bitprop.hdl import emit
from bitprop.toolchain import SIMULATORS, UNKNOWN, Tool, run_tool, scratch_folder, simulator_of
from bitprop.toolchain.cache import CACHE_VARIABLE, ResultCache
from bitprop.toolchain.simulator import parse_results
from bitprop.toolchain.verilator import VerilatorSimulator


def test_a_missing_program_names_variable_and_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    absent = Tool("bitprop_absent", "BITPROP_ABSENT", "absent-deb")
    monkeypatch.delenv("BITPROP_ABSENT", raising=False)
    with pytest.raises(ToolNotFoundError, match=r"apt install absent-deb\) or set BITPROP_ABSENT"):
        absent.locate()
    assert not absent.is_available()
    monkeypatch.setenv("BITPROP_ABSENT", str(tmp_path / "nowhere"))
    with pytest.raises(ToolNotFoundError, match=r"nowhere.*BITPROP_ABSENT"):
        absent.locate()


def test_a_variable_points_to_another_copy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "my tool"
    program.write_text("#!/bin/sh\necho mine\n", encoding="ascii")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("BITPROP_ABSENT", str(program))
    assert Tool("bitprop_absent", "BITPROP_ABSENT", "absent-deb").locate() == program


@pytest.mark.parametrize("name", sorted(SIMULATORS))
def test_every_simulator_says_what_is_missing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    for variable in ("BITPROP_IVERILOG", "BITPROP_VVP", "BITPROP_VERILATOR", "BITPROP_VERILATOR_ROOT", "BITPROP_YOSYS"):
        monkeypatch.delenv(variable, raising=False)
    simulator = simulator_of(name)
    assert not simulator.is_available()
    with pytest.raises(ToolNotFoundError, match="BITPROP_"):
        simulator.version()


def test_unknown_simulator_lists_the_known_ones() -> None:
    with pytest.raises(RangeError, match="icarus, verilator"):
        simulator_of("modelsim")


def test_the_run_time_library_of_verilator_is_built_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, require_tool: Callable[[str], str]
) -> None:
    require_tool("verilator")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    document, simulator, results = random_document(4), VerilatorSimulator(), []
    emit(document, tmp_path)
    # a library that does not link is there at first
    ResultCache.default().put(simulator.runtime_key(), {"verilated.o": b"no object"})
    for built in (True, False):
        with simulator.compile(tmp_path, document.name) as design:
            assert (design.folder / "obj_dir" / "verilated.o").is_file() == built
            results.append(design.run(random_inputs(document, 20)).layers)
    assert all(np.array_equal(one, other) for one, other in zip(*results, strict=True))
    (entry,) = (tmp_path / "cache").iterdir()
    entry.write_bytes(entry.read_bytes()[:-1])
    simulator.prepare(document.name, tmp_path, 10.0)
    assert not list(tmp_path.glob("*.o"))


def test_verilog_that_cannot_be_read_is_built_once(tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    require_tool("verilator")
    (tmp_path / "files.f").write_text("mine.v\n", encoding="ascii")
    for name in ("mine.v", "mine_tb.v"):
        (tmp_path / name).write_text("module ;\n", encoding="ascii")
    (tmp_path / "verilated.o").write_bytes(b"library")
    with pytest.raises(SimulationError, match="syntax error"):
        VerilatorSimulator().build("mine", tmp_path, 60.0)
    assert (tmp_path / "verilated.o").exists()


@pytest.mark.parametrize("chosen", ["", "file"])
def test_a_simulation_does_not_need_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, require_tool: Callable[[str], str], chosen: str
) -> None:
    """There is no home folder to look for it in; a file is in its folder's place."""
    require_tool("verilator")

    def nobody(number: int) -> None:
        raise KeyError(number)

    for variable in ("XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv(CACHE_VARIABLE, chosen and str(tmp_path / chosen))
    (tmp_path / "obj_dir").mkdir()
    (tmp_path / "obj_dir" / "verilated.o").write_bytes(b"library")
    simulator = simulator_of("verilator")
    simulator.prepare("mine", tmp_path, 10.0)
    simulator.keep(tmp_path)
    assert not list(tmp_path.glob("*.o"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_a_program_starts_stops_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    started = []

    class Slow(subprocess.Popen[str]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self.pid)
            signal.raise_signal(number)

    def terminated(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", Slow)
    before = signal.signal(number, terminated)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_tool(["sleep", "60"], cwd=tmp_path, timeout=60.0)
        assert signal.getsignal(number) is terminated
    finally:
        signal.signal(number, before)
    with pytest.raises(ProcessLookupError):
        os.kill(started[0], 0)


def test_output_of_a_failing_program_is_in_the_message(tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match=r"status 3; correct what it complains about.*:\nbroken; \$HOME"):
        run_tool(
            [sys.executable, "-c", "import sys; sys.exit(print('broken; $HOME', file=sys.stderr) or 3)"],
            cwd=tmp_path,
            timeout=60,
        )
    with pytest.raises(SimulationError, match=r"cannot start.*check the installation"):
        run_tool([tmp_path / "absent"], cwd=tmp_path, timeout=5)


@pytest.mark.parametrize(
    ("body", "advice"),
    [
        ("exit 7", r"status 7; check the installation \(bitprop info"),
        ("kill -9 $$", "memory ran out: free some, or make the design smaller"),
        ("kill -11 $$", r"stopped it \(SIGSEGV\): run it again, or use another version"),
        ("exec sleep 60", r"finish in 0.1 s, it was stopped; allow more time \(a command's --timeout\)"),
    ],
)
def test_a_program_that_fails_in_silence_comes_with_advice(tmp_path: Path, body: str, advice: str) -> None:
    with pytest.raises((SimulationError, ToolTimeoutError), match=advice):
        run_tool(["/bin/sh", "-c", body], cwd=tmp_path, timeout=0.1 if "sleep" in body else 60)


def test_a_program_that_does_not_say_its_version_is_no_matter_of_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "iverilog"
    program.write_text("#!/bin/sh\nexec sleep 60\n", encoding="ascii")
    program.chmod(0o755)
    monkeypatch.setenv("BITPROP_IVERILOG", str(program))
    monkeypatch.setattr("bitprop.toolchain.iverilog._VERSION_SECONDS", 0.1)
    with pytest.raises(ToolTimeoutError, match="stopped; check the installation"):
        simulator_of("icarus").version()


def test_arguments_reach_no_shell(tmp_path: Path) -> None:
    printed = run_tool(
        [sys.executable, "-c", "import sys; print(sys.argv[1])", "$(touch x); 'a b'"], cwd=tmp_path, timeout=60
    )
    assert printed == "$(touch x); 'a b'\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc")
def test_a_timeout_stops_children_with_groups_of_their_own(tmp_path: Path) -> None:
    child = (
        "import os, time; os.setpgrp(); open('pid', 'w').write(str(os.getpid())); os.rename('pid', 'child')\n"
        "time.sleep(60)"
    )
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    started = time.monotonic()
    with pytest.raises(ToolTimeoutError):
        run_tool([sys.executable, "-S", "-c", parent], cwd=tmp_path, timeout=3)
    assert time.monotonic() - started < 40  # the child holds the pipes for a minute
    if not (tmp_path / "child").exists():
        pytest.skip("the machine is too busy: the child did not start within three seconds")
    pid = int((tmp_path / "child").read_text(encoding="ascii"))
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except OSError:
        return
    assert state in "ZX"


def test_a_timeout_stops_the_children_too(tmp_path: Path) -> None:
    child = "import time, pathlib, os; pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with pytest.raises(ToolTimeoutError, match="2 s"):
        run_tool([sys.executable, "-c", parent], cwd=tmp_path, timeout=2)
    if not (tmp_path / "pid").exists():
        pytest.skip("the machine is too busy: the child did not start within two seconds")
    pid = int((tmp_path / "pid").read_text(encoding="ascii"))
    for _ in range(100):
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or state.read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] == "Z":
            return
        time.sleep(0.05)
    pytest.fail(f"process {pid} outlived its group")


def test_scratch_folder_has_no_space_even_if_tmpdir_has(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spaced = tmp_path / "with space"
    spaced.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(spaced))
    with scratch_folder() as folder:
        assert " " not in str(folder)
        assert os.access(folder, os.W_OK)
    assert not folder.exists()


GOOD = "accumulator 0 0 5\nlayer 0 0 5\ndecision 0 0 9 12\ndone 1 12\n"


def test_a_full_disk_says_what_to_do() -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(SimulationError, match="No space left on device; free some space, or set"), scratch_folder():
        raise full
    with pytest.raises(ToolNotFoundError, match="as it was"), scratch_folder():
        raise ToolNotFoundError("as it was")


def test_temporary_files_of_a_program_lie_in_its_folder(tmp_path: Path) -> None:
    assert run_tool(["/bin/sh", "-c", 'echo "$TMPDIR"'], cwd=tmp_path, timeout=60).strip() == str(tmp_path)


def test_results_are_read() -> None:
    result = parse_results(GOOD.replace("5", "x"), 1)
    assert result.layers[0].tolist() == [[UNKNOWN]]
    assert (result.decision.tolist(), result.latency_cycles.tolist(), result.cycles) == ([0], [9], 12)


@pytest.mark.parametrize(
    "text",
    [
        "",
        GOOD[:-1],
        GOOD.replace("done 1 12\n", ""),
        GOOD.replace("done 1 12", "error sample 0 ends before feature 3"),
        GOOD.replace("decision 0 0 9 12\n", ""),
        GOOD.replace("layer 0 0 5\n", ""),
        GOOD.replace("layer 0 0 5\n", "layer 0 0 5\n" * 2),
        GOOD.replace("layer 0 0 5", "layer 0 0 5z"),
        GOOD.replace("layer 0 0 5", "later 0 0 5"),
        GOOD.replace("layer 0", "layer 1"),
        GOOD.replace("accumulator 0 0 5\n", ""),
        GOOD.replace("done 1", "done 2"),
    ],
)
def test_truncated_or_strange_results_are_refused(text: str) -> None:
    with pytest.raises(SimulationError, match=r"expected.*emit the network again"):
        parse_results(text, 1)


def test_icarus_runs_a_design_from_a_path_with_spaces(tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    require_tool("iverilog")
    document = random_document(3)
    design = emit(document, tmp_path / "my designs; echo")
    inputs = random_inputs(document, 3)
    result = SIMULATORS["icarus"].simulate(design.folder, document.name, inputs)
    assert [layer.tolist() for layer in result.layers] == [layer.tolist() for layer in run(document, inputs).layers]
    assert "version" in SIMULATORS["icarus"].version()


def test_unusable_requests_are_refused(tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    require_tool("iverilog")
    icarus = SIMULATORS["icarus"]
    with pytest.raises(SimulationError, match="emit it there first"):
        icarus.simulate(tmp_path, "absent", [[0]])
    document = random_document(3)
    design = emit(document, tmp_path)
    with icarus.compile(tmp_path, document.name) as compiled:
        with pytest.raises(ShapeError, match="samples, features"):
            compiled.run([[0.5]])
        with pytest.raises(RangeError, match="trace_sample"):
            compiled.run(random_inputs(document, 2), trace_sample=2)
        with pytest.raises(SimulationError, match="sample 0 ends before feature 1"):
            compiled.run(np.zeros((1, 1), dtype=np.int64))
    (tmp_path / design.design_files[0]).unlink()
    with pytest.raises(SimulationError, match="emit the network again"):
        icarus.simulate(tmp_path, document.name, random_inputs(document, 1))


def test_a_compiler_error_is_in_the_message(tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    require_tool("iverilog")
    document = random_document(3)
    emit(document, tmp_path)
    (tmp_path / f"{document.name}.v").write_text("module broken (\n", encoding="ascii")
    with pytest.raises(SimulationError, match="syntax error"):
        SIMULATORS["icarus"].simulate(tmp_path, document.name, random_inputs(document, 1))
