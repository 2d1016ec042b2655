"""The commands: what goes to which stream, exit codes, and one line instead of a traceback whatever comes."""

from __future__ import annotations

import gc
import io
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

import bitprop.environment
from bitprop import __version__
from bitprop.artifacts import read_json, sha256_file, write_json
from bitprop.cli import app
from bitprop.cli._console import TRACEBACK_VARIABLE
from bitprop.errors import SimulationError
from bitprop.runs import export_run, train_run
from bitprop.training.config import load_config
from bitprop.training.loop import CHECKPOINT

COMMANDS = ("audit", "demo", "evaluate", "export", "info", "simulate", "train", "verify")
CONFIG = """\
name = "blobs"
[data]
source = "blobs.csv"
[network]
hidden = [5]
lengths = [2, 4]
[training]
warmup_epochs = 1
joint_epochs = 1
finish_epochs = 1
batch_size = 16
"""


# NumPy leaves it to the garbage collector to close a damaged archive; such a test collects before it ends
leaves_an_open_file = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def blobs_csv(samples: int = 60) -> str:
    """Four clusters in four dimensions, the label last."""
    generator = np.random.Generator(np.random.Philox(3))
    y = np.arange(samples) % 4
    x = np.clip(0.15 + 0.7 * np.eye(4)[y] + generator.normal(0, 0.1, (samples, 4)), 0, 1)
    return "".join(",".join(f"{value:.4f}" for value in row) + f",{label}\n" for row, label in zip(x, y, strict=True))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, a configuration, a finished run and its handoff; tests copy it."""
    root = tmp_path_factory.mktemp("made")
    (root / "blobs.csv").write_text(blobs_csv(), encoding="utf-8")
    (root / "c.toml").write_text(CONFIG, encoding="utf-8")
    train_run(load_config(root / "c.toml"), root / "run")
    export_run(root / "run", root / "handoff", samples=4)
    return root


@pytest.fixture
def work(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, and the working folder; the run's configuration still names the original data."""
    root = tmp_path / "work"
    shutil.copytree(made, root)
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def threads() -> Iterator[int]:
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


def run(*arguments: str) -> Any:
    """One command in this process; nothing but an exit code may come out of it."""
    result = CliRunner().invoke(app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert "Traceback" not in result.output
    return result


def refused(*arguments: str) -> str:
    """The message of a command that cannot be carried out: exit code 3, nothing on standard output, one error."""
    result = run(*arguments)
    assert result.exit_code == 3, result.output
    assert result.stdout == ""
    assert result.stderr.count("error:") == 1
    assert "unexpected" not in result.stderr
    return str(result.stderr)


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


# --- what cannot be carried out -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nowhere.toml"], "nowhere.toml"),
        (["train", "mnist"], "mnist"),
        (["train", "."], "TOML"),
        (["train", "c.toml/x"], "TOML"),
        (["train", "a" * 5000], "too long"),
        (["train", "run/model.safetensors"], "TOML"),
        (["train", "c.toml", "-o", "run"], "holds files"),
        (["train", "c.toml", "-o", "c.toml"], "file"),
        (["train", "c.toml", "-o", "c.toml/x"], "cannot write"),
        (["train", "c.toml", "-o", "c.toml/x", "--resume"], "none"),
        (["train", "c.toml", "-o", "/proc/x"], "cannot write"),
        (["train", "c.toml", "-o", "/proc/x", "--resume"], "none"),
        (["train", "c.toml", "-o", "a" * 5000], "too long"),
        (["train", "c.toml", "-o", "new", "--resume"], "none"),
        (["train", "c.toml", "-o", "run", "--resume", "--seed", "7"], "seed was 0 and is 7"),
        (["train", "c.toml", "-o", "run", "--resume", "--length-cost", "9"], "training.length_cost was 0.05"),
        (["train", "c.toml", "-o", "new", "--seed", "-1"], "seed"),
        (["train", "c.toml", "-o", "new", "--seed", "99999999999999999999"], "seed"),
        (["train", "c.toml", "-o", "new", "--length-cost", "nan"], "length_cost"),
        (["train", "c.toml", "-o", "new", "--length-cost", "-1"], "length_cost"),
        (["train", "c.toml", "-o", "new", "--data", "."], "digits"),
        (["train", "c.toml", "-o", "new", "--data", "nowhere.csv"], "nowhere.csv"),
        (["train", "c.toml", "-o", "new", "--data", "run.csv/x.csv"], "none"),
        (["train", "c.toml", "-o", "new", "--data", f"{'a' * 5000}.csv"], "too long"),
        (["train", "c.toml", "-o", "new", "--data", "\udcff.csv"], "none"),
        (["evaluate", "nowhere"], "none"),
        (["evaluate", "c.toml"], "none"),
        (["evaluate", "a" * 5000], "too long"),
        (["evaluate", "run", "--data", "digits"], "64"),
        (["evaluate", "run", "--data", "nowhere.npz"], "none"),
        (["export", "nowhere", "-o", "x"], "none"),
        (["export", "run", "-o", "run"], "other files"),
        (["export", "run", "-o", "."], "other files"),
        (["export", "run", "-o", "c.toml"], "file"),
        (["export", "run", "-o", "c.toml/x"], "cannot write"),
        (["export", "run", "-o", "/proc/x"], "cannot write"),
        (["simulate", "nowhere"], "folder"),
        (["simulate", "c.toml"], "file"),
        (["simulate", "run"], "scnir_document.json"),
        (["simulate", "handoff", "-s", "modelsim"], "icarus, verilator"),
    ],
)
def test_a_command_that_cannot_be_carried_out_is_3(work: Path, arguments: list[str], message: str) -> None:
    before = sorted(path.as_posix() for path in work.rglob("*"))
    assert message in refused(*arguments)
    assert sorted(path.as_posix() for path in work.rglob("*")) == before


def npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def plain_zip() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("x.npy", b"not an array")
        archive.writestr("y.npy", b"")
    return stream.getvalue()


@leaves_an_open_file
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("d.csv", b""),
        ("d.csv", b"\n\n"),
        ("d.csv", b"a,b,label\n"),
        ("d.csv", b"1\n2\n"),
        ("d.csv", b"1,2,0\n1,2\n"),
        ("d.csv", b"1,2,0\n1,x,1\n"),
        ("d.csv", b"1,nan,0\n1,2,1\n" * 9),
        ("d.csv", b"1,1e999,0\n1,2,1\n" * 9),
        ("d.csv", b"1,2,0\n"),
        ("d.csv", b"1,2,0\n1,3,0\n" * 9),
        ("d.csv", b"0,0,0\n0,0,1\n" * 9),
        ("d.csv", b"1,2,0.5\n1,3,1\n" * 9),
        ("d.csv", b"1,2,-1\n1,3,1\n" * 9),
        ("d.csv", b"1,2,1e300\n1,3,1\n" * 9),
        ("d.csv", bytes(range(256)) * 4),
        ("d.csv", b"1,2,0\x00\n"),
        ("d.csv", b"\xff\xfe1\x00"),
        ("d.npz", b""),
        ("d.npz", b"PK\x03\x04 but no more"),
        ("d.npz", b"\x93NUMPY\x01\x00"),
        ("d.npz", npz(a=np.zeros(3))),
        ("d.npz", npz(x=np.zeros((4, 2)), y=np.zeros(5, dtype=int))),
        ("d.npz", npz(x=np.array(["a", "b"]), y=np.zeros(2, dtype=int))),
        ("d.npz", npz(x=np.full((9, 2), 1j), y=np.zeros(9, dtype=int))),
        ("d.npz", npz(x=np.array([{}, []], dtype=object), y=np.zeros(2, dtype=int))),
        ("d.npz", npz(x=np.ones((9, 2)), y=np.arange(9))[:-40]),
    ],
)
def test_hostile_data_is_3(work: Path, name: str, content: bytes) -> None:
    (work / name).write_bytes(content)
    refused("train", "c.toml", "-o", "new", "--data", name)
    assert not (work / "new").exists()
    refused("evaluate", "run", "--data", name)
    gc.collect()


@leaves_an_open_file
def test_an_archive_of_other_things_is_3(work: Path) -> None:
    (work / "d.npz").write_bytes(plain_zip())
    result = run("train", "c.toml", "-o", "new", "--data", "d.npz")
    assert (result.exit_code, result.stdout) == (3, "")
    gc.collect()


def test_a_data_file_whose_name_is_no_text(work: Path) -> None:
    """TOML holds Unicode only, so such a name cannot be recorded with the run."""
    name = os.fsdecode(b"d\xff.csv")
    (work / name).write_text(blobs_csv(), encoding="utf-8")
    assert "rename" in refused("train", "c.toml", "-o", "new", "--data", name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", None),
        ("name = ", "TOML"),
        ("\x00", "TOML"),
        ("[" * 3000, "TOML"),
        ("surprise = 1", "surprise"),
        ("seed = 1e400", "seed"),
        ("[network]\nhidden = []", None),
        ("[network]\nhidden = 3", "hidden"),
        ("[network]\nlengths = [[2], [4, 8], [16]]", "2 layers"),
        ("[network]\nlengths = [4, 4]", "increasing"),
        ("[data]\nsource = 7", "source"),
        ('[data]\nsource = "http://localhost/x.csv"', "found none"),
        ("[training]\nbatch_size = 0", "batch_size"),
    ],
)
def test_hostile_configurations_are_3(work: Path, text: str, message: str | None) -> None:
    small = "" if "[training]" in text else "\n[training]\nwarmup_epochs = 0\njoint_epochs = 0\nfinish_epochs = 1\n"
    (work / "d.toml").write_text(text + small, encoding="utf-8")
    if message is None:  # not hostile at all: every field has a default
        assert run("train", "d.toml", "--data", "blobs.csv", "-o", "new").exit_code == 0
    else:
        assert message in refused("train", "d.toml", "-o", "new")
        assert not (work / "new").exists()


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(
            {
                "empty": b"",
                "cut": content[: len(content) // 2],
                "changed": content[:-9] + b"x" + content[-8:],
                "binary": bytes(range(256)),
                "list": b"[]",
                "object": b"{}",
            }[how]
        )


@pytest.mark.parametrize("how", ["missing", "folder", "empty", "cut", "changed", "binary", "list", "object"])
@pytest.mark.parametrize("name", ["config.toml", "model.safetensors", "summary.json"])
def test_damaged_runs_are_3(work: Path, name: str, how: str) -> None:
    damage(work / "run" / name, how)
    if (name, how) == ("summary.json", "changed"):  # not a field that anything depends on may have been hit
        assert run("evaluate", "run").exit_code in (0, 3)
        return
    refused("evaluate", "run")
    refused("export", "run", "-o", "other")
    assert not (work / "other").exists()


def mutated(content: bytes, generator: np.random.Generator) -> bytes:
    """A byte replaced, lost, repeated, or something unlikely put in."""
    place, kind = int(generator.integers(len(content))), int(generator.integers(4))
    head, tail = content[:place], content[place:]
    odd = (b"9" * 30, b"-", b"null", b"\x00", b"1e999", b"[[[[", b'"')[int(generator.integers(7))]
    return (
        head + bytes([int(generator.integers(256))]) + tail[1:],
        head + tail[3:],
        head + tail[:4] + tail,
        head + odd + tail,
    )[kind]


@pytest.mark.parametrize("name", ["config.toml", "model.safetensors", "blobs.csv"])
def test_random_damage_with_hashes_made_to_fit(work: Path, name: str, seed: int) -> None:
    generator = np.random.Generator(np.random.Philox(seed))
    file = work / name if name == "blobs.csv" else work / "run" / name
    content = file.read_bytes()
    for _ in range(40):
        if name == "model.safetensors":  # in the header, which says what the network is
            size = int.from_bytes(content[:8], "little")
            header = mutated(content[8 : 8 + size], generator)
            file.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + size :])
        else:
            file.write_bytes(mutated(content, generator))
        summary = read_json(work / "run" / "summary.json")
        summary["sha256"] = {part: sha256_file(work / "run" / part) for part in ("config.toml", "model.safetensors")}
        write_json(work / "run" / "summary.json", summary)
        result = run("evaluate", "run", "--data", "blobs.csv", "--json")
        assert result.exit_code in (0, 3), file.read_bytes()
        assert (result.stdout == "") == (result.exit_code == 3)
        assert "this is a defect" not in result.stderr, (result.stderr, file.read_bytes())


@pytest.mark.parametrize("how", ["folder", "empty", "cut", "binary", "list"])
def test_damaged_checkpoints_are_3(work: Path, how: str) -> None:
    model = (work / "run" / "model.safetensors").read_bytes()
    damage(work / "run" / CHECKPOINT, how)
    if how == "folder":  # no checkpoint: the run starts again, and cannot put its own there
        assert run("train", "c.toml", "-o", "run", "--resume").exit_code == 3
        return
    refused("train", "c.toml", "-o", "run", "--resume")
    assert (work / "run" / "model.safetensors").read_bytes() == model


@pytest.mark.parametrize("content", [[1, 2], {"version": 1}, "text", None, torch.zeros(3)])
def test_checkpoints_of_something_else_are_3(work: Path, content: object) -> None:
    torch.save(content, work / "run" / CHECKPOINT)
    result = run("train", "c.toml", "-o", "run", "--resume")
    assert result.exit_code == 3
    assert result.stderr.count("error:") == 1


@pytest.mark.parametrize("how", ["missing", "folder", "empty", "cut", "changed", "binary", "list", "object"])
@pytest.mark.parametrize("name", ["scnir_document.json", "vectors/inputs.txt", "rtl/files.f"])
def test_damaged_handoffs(work: Path, name: str, how: str, require_tool: Callable[[str], str]) -> None:
    require_tool("iverilog")
    damage(work / "handoff" / name, how)
    simulated = run("simulate", "handoff", "-s", "icarus", "--json")
    if (name, how) == ("vectors/inputs.txt", "cut"):  # fewer samples, as good as any; the audit misses them
        assert simulated.exit_code in (0, 3)
    else:
        assert simulated.exit_code == 3, simulated.output
        assert simulated.stdout == ""
    audited = run("audit", "handoff", "--json")
    assert audited.exit_code == 1
    assert json.loads(audited.stdout)["status"] == "fail"


def test_an_audit_of_nothing_fails(work: Path) -> None:
    for place in ("nowhere", "c.toml", "run", "a" * 5000):
        result = run("audit", place, "--json")
        assert result.exit_code == 1
        assert json.loads(result.stdout)["status"] == "fail"


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
    assert [tool["found"] for tool in told] == [False, False]
    assert all("BITPROP_" in tool["how_to_get"] for tool in told)
    assert "not found" in run("info").stdout
    audited = run("audit", "handoff", "--json")
    assert audited.exit_code == 1  # nothing is wrong with the folder, yet nothing was simulated
    assert json.loads(audited.stdout)["status"] in ("incomplete", "fail")
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
    assert len(told) == 2
    if "urandom" not in body:
        assert not any(tool["found"] for tool in told)
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
