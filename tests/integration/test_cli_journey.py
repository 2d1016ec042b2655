"""The whole way as a user goes it: own data, a folder with an awkward name, interruptions that come when they come."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from bitprop.cli import app
from bitprop.training.loop import METRICS
from helpers.warm_python import WarmPython

COMPARED = ("model.safetensors", "metrics.jsonl", "config.toml", "summary.json")
SETTINGS = """
[network]
hidden = [6]
lengths = [2, 4, 8]
activation = "{activation}"
[training]
warmup_epochs = {epochs}
joint_epochs = {epochs}
finish_epochs = {epochs}
batch_size = {batch}
learning_rate = 0.03
"""


def samples(count: int = 160) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Four clusters in five dimensions around zero."""
    generator = np.random.Generator(np.random.Philox(5))
    y = np.arange(count) % 4
    centres = np.array([[1, -1, 1, 0, 1], [-1, 1, 0, 1, 1], [0, 1, -1, -1, -1], [-1, -1, 0, 1, -1]])
    return centres[y] + generator.normal(0, 0.15, (count, 5)), y


def settings(path: Path, data: str, *, activation: str = "clamp01", epochs: int = 8, batch: int = 16) -> Path:
    text = f'name = "mine"\n[data]\nsource = "{data}"\n'
    path.write_text(text + SETTINGS.format(activation=activation, epochs=epochs, batch=batch), encoding="utf-8")
    return path


def run(*arguments: str) -> dict[str, Any]:
    """A command that succeeds, and its JSON."""
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


@pytest.mark.parametrize("kind", ["csv", "signed npz", "split npz"])
def test_own_data_to_verilog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, require_tool: Callable[[str], str], kind: str
) -> None:
    require_tool("iverilog")
    place = tmp_path / "my dätä's (1)"
    (place / "sets").mkdir(parents=True)
    x, y = samples()
    if kind == "csv":
        rows = "".join(f"{','.join(f'{v:.4f}' for v in row)},{label}\n" for row, label in zip(x + 2, y, strict=True))
        data = "sets/my table.csv"
        (place / data).write_text("a,b,c,d,e,label\n" + rows, encoding="utf-8")
    else:
        data = "sets/mätrix.npz"
        arrays = (
            {"x": x, "y": y}
            if kind == "signed npz"
            else {"train_x": x[:120], "train_y": y[:120], "test_x": x[120:], "test_y": y[120:]}
        )
        np.savez(place / data, **arrays)
    signed = kind != "csv"
    settings(place / "my settings.toml", data, activation="hardtanh" if signed else "clamp01", epochs=4)
    # from elsewhere: the data file is found beside the configuration, not beside the user
    monkeypatch.chdir(tmp_path)
    folder = str(place / "rün 1")
    trained = run("train", str(place / "my settings.toml"), "-o", folder)
    assert trained["run"] == folder
    assert trained["samples"] == (40 if kind == "split npz" else 32)
    assert trained["accuracy"] > 0.6
    evaluated = run("evaluate", folder)
    assert evaluated == {key: trained[key] for key in evaluated}
    # the whole of another file is held out, unless it says itself which part is
    other = run("evaluate", folder, "--data", str(place / data))
    assert other["samples"] == (40 if kind == "split npz" else 160)
    assert (other == evaluated) == (kind == "split npz")
    manifest = run("export", folder, "-o", str(place / "händoff"), "--samples", "12")
    document = json.loads((place / "händoff" / "scnir_document.json").read_text(encoding="utf-8"))
    assert manifest["samples"] == 12
    assert (document["inputs"]["low"] < 0) == signed
    assert (document["layers"][0]["output"]["low"] < 0) == signed
    for path in (place / "händoff").rglob("*"):
        if path.is_file():
            assert str(tmp_path).encode() not in path.read_bytes(), path
    result = run("simulate", str(place / "händoff"), "-s", "icarus")
    assert result["status"] == "pass"
    assert result["expected_latency_cycles"] == evaluated["cycles_per_inference"]
    assert run("audit", str(place / "händoff"))["status"] == "pass"
    # the run's own configuration drives the same run, from anywhere
    run("train", str(Path(folder) / "config.toml"), "-o", str(place / "again"))
    for name in COMPARED:
        assert (place / "again" / name).read_bytes() == (Path(folder) / name).read_bytes(), name
    run("export", str(place / "again"), "-o", str(place / "händoff 2"), "--samples", "12")
    assert (place / "händoff" / "handoff_manifest.json").read_bytes() == (
        place / "händoff 2" / "handoff_manifest.json"
    ).read_bytes()


def test_both_simulators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, require_tool: Callable[[str], str]) -> None:
    require_tool("iverilog")
    require_tool("verilator")
    monkeypatch.chdir(tmp_path)
    x, y = samples(60)
    np.savez("d.npz", x=x, y=y)
    settings(Path("c.toml"), "d.npz", epochs=1)
    run("train", "c.toml", "-o", "run")
    run("export", "run", "-o", "handoff", "--samples", "6")
    result = run("simulate", "handoff")
    assert [entry["simulator"] for entry in result["simulators"]] == ["icarus", "verilator"]
    assert [entry["samples"] for entry in result["simulators"]] == [6, 6]


# --- interruptions --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Settings of a run of some seconds, and that run, which nothing interrupted."""
    place = tmp_path_factory.mktemp("long")
    x, y = samples()
    np.savez(place / "d.npz", x=x, y=y)
    settings(place / "c.toml", "d.npz", epochs=7, batch=10)
    run("train", str(place / "c.toml"), "-o", str(place / "whole"))
    return place


def lines(path: Path) -> int:
    return path.read_text(encoding="utf-8").count("\n") if path.is_file() else 0


# A machine that is busy elsewhere may look at the log late: from an epoch on, the run takes its time over every step.
SLOWED = """
import sys, time
from bitprop.cli import main
from bitprop.training import loop
after, run_epoch = int(sys.argv.pop(1)), loop._Trainer.run_epoch
def slowed(self, module, optimizer, on_batch):
    wait = 0.1 if self.state.epoch >= after else 0.0
    return run_epoch(self, module, optimizer, lambda: (on_batch(), time.sleep(wait))[0])
loop._Trainer.run_epoch = slowed
main()
"""


def interrupted(
    python: WarmPython, config: Path, folder: Path, number: signal.Signals, after: int
) -> subprocess.CompletedProcess[str]:
    """Train in another process, and send it a signal once so many epochs are on disk."""

    def interrupt(process: int) -> None:
        until = time.monotonic() + 100
        with contextlib.suppress(ProcessLookupError):  # it ended by itself
            while lines(folder / METRICS) < after and time.monotonic() < until:
                os.kill(process, 0)
                time.sleep(0.005)
            os.kill(process, number)

    script = folder.parent / "slowed.py"
    script.write_text(SLOWED, encoding="utf-8")
    arguments = [script, str(after), "train", config, "-o", folder, "--threads", "1"]
    if folder.exists():
        arguments.append("--resume")
    return python.run(*arguments, folder=folder.parent, meanwhile=interrupt, timeout=200)


@pytest.mark.parametrize(
    "signals",
    [
        [(signal.SIGINT, 3)],
        [(signal.SIGTERM, 9)],
        [(signal.SIGKILL, 5), (signal.SIGKILL, 16)],
    ],
    ids=["int", "term", "kill"],
)
def test_interrupted_and_resumed_gives_the_same_bytes(
    long: Path, tmp_path: Path, python: WarmPython, signals: list[tuple[signal.Signals, int]]
) -> None:
    folder = tmp_path / "run"
    for number, after in signals:
        done = interrupted(python, long / "c.toml", folder, number, after)
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        if number is signal.SIGKILL:
            assert done.returncode == -signal.SIGKILL
        else:
            assert done.returncode == 130, done.stderr
            assert "interrupted; the last whole epoch is kept" in done.stderr
        assert after <= lines(folder / METRICS) < 21
        assert not (folder / "model.safetensors").exists()
    run("train", str(long / "c.toml"), "-o", str(folder), "--resume")
    for name in COMPARED:
        assert (folder / name).read_bytes() == (long / "whole" / name).read_bytes(), name


def test_resume_of_a_finished_run_says_the_same(long: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(long / "whole", folder)
    again = run("train", str(long / "c.toml"), "-o", str(folder), "--resume")
    summary = json.loads((long / "whole" / "summary.json").read_text(encoding="utf-8"))
    assert again["epochs"] == summary["epochs"] == 21
    assert {key: again[key] for key in summary["evaluation"]} == summary["evaluation"]
    for name in COMPARED:
        assert (folder / name).read_bytes() == (long / "whole" / name).read_bytes(), name


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_simulation_takes_its_tools_along(
    tmp_path: Path, require_tool: Callable[[str], str], number: signal.Signals
) -> None:
    good = require_tool("iverilog")
    x, y = samples(40)
    np.savez(tmp_path / "d.npz", x=x, y=y)
    settings(tmp_path / "c.toml", "d.npz", epochs=1)
    run("train", str(tmp_path / "c.toml"), "-o", str(tmp_path / "run"))
    run("export", str(tmp_path / "run"), "-o", str(tmp_path / "handoff"), "--samples", "2")
    slow = tmp_path / "slow"
    note = tmp_path / "pid"
    slow.write_text(
        f'#!/bin/sh\ncase "$1" in -V) exec {good} -V;; esac\necho $$ > {note}.part; mv {note}.part {note}; sleep 60\n',
        encoding="utf-8",
    )
    slow.chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-m", "bitprop", "simulate", str(tmp_path / "handoff"), "-s", "icarus", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "BITPROP_IVERILOG": str(slow)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    with process:
        until = time.monotonic() + 60
        while process.poll() is None and not note.exists() and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (130, "", "interrupted\n")
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text(encoding="ascii")), 0)
