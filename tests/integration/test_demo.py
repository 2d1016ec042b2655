"""The demo with a tiny network: what it leaves behind, whose files it touches, and that it says what it does."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import bitprop.demo
from bitprop.artifacts import write_json
from bitprop.cli import app
from bitprop.demo import run_demo
from bitprop.errors import ArtifactError, SimulationError, ToolNotFoundError
from bitprop.handoff.audit import audit_folder
from bitprop.runs import MODEL, export_to, load_run, override
from bitprop.toolchain import SIMULATORS
from bitprop.training.config import RunConfig, parse_config
from bitprop.training.loop import CHECKPOINT, METRICS
from bitprop.training.outcome import EpochMetrics


class StopError(Exception):
    pass


def stop_after(epoch: int) -> Callable[[EpochMetrics], None]:
    def callback(metrics: EpochMetrics) -> None:
        if metrics.epoch == epoch:
            raise StopError

    return callback


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    generator = np.random.Generator(np.random.Philox(5))
    y = np.arange(90) % 3
    path = tmp_path_factory.mktemp("data") / "blobs.npz"
    np.savez(path, x=np.clip(0.1 + 0.8 * np.eye(3)[y] + generator.normal(0, 0.1, (90, 3)), 0, 1), y=y)
    return parse_config(
        {
            "name": "tiny",
            "data": {"source": str(path)},
            "network": {"hidden": [4], "lengths": [2, 4]},
            "training": {
                "warmup_epochs": 2,
                "joint_epochs": 2,
                "finish_epochs": 2,
                "batch_size": 16,
                "learning_rate": 0.03,
            },
        }
    )


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, require_tool: Callable[[str], str]) -> None:
    """Icarus alone, and few lengths to compare with."""
    require_tool("iverilog")
    monkeypatch.setattr(bitprop.demo, "SIMULATORS", {"icarus": SIMULATORS["icarus"]})
    monkeypatch.setattr(bitprop.demo, "_RETRAINED_LENGTHS", (2,))
    monkeypatch.setattr(bitprop.demo, "_CONVERSION_LENGTHS", (1, 8))


def quiet(folder: Path, config: RunConfig, **callbacks: Any) -> dict[str, Any]:
    return run_demo(folder, config=config, say=lambda _: None, **callbacks)


@pytest.fixture(scope="module")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("finished") / "demo"


@pytest.fixture
def finished(finished_once: Path, config: RunConfig, tmp_path: Path) -> Path:
    """A copy of a finished demo."""
    if not finished_once.exists():
        quiet(finished_once, config)
    return Path(shutil.copytree(finished_once, tmp_path / "demo"))


def test_what_it_leaves_behind(tmp_path: Path, config: RunConfig) -> None:
    said: list[str] = []
    steps: list[tuple[str, int, int | None]] = []
    epochs: list[EpochMetrics] = []
    folder = tmp_path / "my dëmo"
    result = run_demo(
        folder,
        config=config,
        say=said.append,
        on_epoch=epochs.append,
        on_step=lambda what, done, total: steps.append((what, done, total)),
    )
    assert {path.name for path in folder.iterdir()} == {"run", "handoff", "demo.json", "report.html"}
    written = json.loads((folder / "demo.json").read_text(encoding="utf-8"))
    assert result == {**written, "page": str(folder / "report.html")}
    assert written["schema"] == "bitprop.demo"
    assert written["status"] == "finished"
    assert written["hardware_measurement_claimed"] is False
    assert written["name"] == "tiny"
    assert written["dataset"] == "blobs"
    assert written["samples"] == 18
    assert set(written["accuracy"]) == {"float", "bit_true", "relaxed"}
    assert all(0 <= value <= 1 for value in written["accuracy"].values())
    assert [layer["out_features"] for layer in written["layers"]] == [4, 3]
    assert written["cycles_per_inference"] == written["parity"]["expected_latency_cycles"]
    assert written["parity"]["status"] == "pass"
    assert written["parity"]["mismatches"] == []
    (simulator,) = written["parity"]["simulators"]
    assert (simulator["simulator"], simulator["samples"]) == ("icarus", 18)
    assert [point["mean_length"] for point in written["lengths"]] == [written["mean_length"], 2.0, 1.0, 8.0]
    # no path of this machine in anything that is meant to be handed on
    for path in [folder / "demo.json", folder / "report.html", *(folder / "handoff").rglob("*")]:
        if path.is_file():
            assert str(tmp_path).encode() not in path.read_bytes(), path
    # it says what it does: five parts, every epoch of every training, and the slow steps that have no epochs
    assert [text[:3] for text in said] == ["1/5", "2/5", "3/5", "4/5", "5/5"]
    assert "18 samples in icarus" in said[3]
    assert [metrics.epoch for metrics in epochs] == [1, 2, 3, 4, 5, 6]
    for what in ("with its design", "in float", "at length 2"):
        assert [done for name, done, total in steps if name == what and total == 6] == [0, 1, 2, 3, 4, 5, 6], what
    assert ("simulating", 0, None) in steps


def test_page_and_handoff_stand_alone(finished: Path) -> None:
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert page.lower().startswith("<!doctype html>")
    assert "tiny" in page
    for fetched in ('src="http', 'href="http', "<script src", "<link", "@import", "url(http"):
        assert fetched not in page, fetched
    audit = audit_folder(finished / "handoff")
    assert audit.passed, audit.to_text()
    assert load_run(finished / "run").config.name == "tiny"


@pytest.mark.parametrize(
    "make",
    [
        lambda root: (root / "thesis.tex").write_text("mine", encoding="utf-8"),
        lambda root: (root / "report.html").write_text("mine", encoding="utf-8"),
        lambda root: (root / "demo.json").write_text('{"schema": "mine"}', encoding="utf-8"),
        lambda root: (root / "demo.json").write_text("not JSON", encoding="utf-8"),
        lambda root: ((root / "run").mkdir(), (root / "run" / "main.c").write_text("mine", encoding="utf-8")),
        lambda root: ((root / "handoff").mkdir(), (root / "handoff" / "top.v").write_text("mine", encoding="utf-8")),
        lambda root: (root / "run").write_text("mine", encoding="utf-8"),
        lambda root: (root / "run").symlink_to(root.parent),
    ],
    ids=["other file", "own page", "own json", "no json", "own run", "own handoff", "file", "link"],
)
def test_other_peoples_files_are_left_alone(tmp_path: Path, config: RunConfig, make: Callable[[Path], object]) -> None:
    root = tmp_path / "mine"
    root.mkdir()
    make(root)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    with pytest.raises(ArtifactError):
        quiet(root, config)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_a_finished_training_in_a_folder_of_that_name_is_left_alone(finished: Path, config: RunConfig) -> None:
    """``bitprop train -o place/run``, then ``bitprop demo -o place``."""
    for name in ("handoff", "report.html", "demo.json"):
        path = finished / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    model = (finished / "run" / MODEL).read_bytes()
    with pytest.raises(ArtifactError, match=r"demo\.json"):
        quiet(finished, config)
    assert (finished / "run" / MODEL).read_bytes() == model


def test_files_added_to_a_demo_are_left_alone(finished: Path, config: RunConfig) -> None:
    (finished / "run" / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"run/notes\.txt"):
        quiet(finished, config)
    assert (finished / "report.html").is_file()


@pytest.mark.parametrize("where", ["file", "below a file", "proc"])
def test_places_that_cannot_be(tmp_path: Path, config: RunConfig, where: str) -> None:
    file = tmp_path / "file"
    file.write_text("mine", encoding="utf-8")
    place = {"file": file, "below a file": file / "demo", "proc": Path("/proc/bitprop")}[where]
    with pytest.raises(ArtifactError):
        quiet(place, config)
    assert file.read_text(encoding="utf-8") == "mine"


def test_a_finished_demo_is_replaced(finished: Path, config: RunConfig) -> None:
    before = (finished / "demo.json").read_bytes()
    epochs: list[EpochMetrics] = []
    quiet(finished, config, on_epoch=epochs.append)
    assert len(epochs) == 6
    assert (finished / "demo.json").read_bytes() == before
    other = quiet(finished, override(config, seed=4))
    assert other["status"] == "finished"
    assert load_run(finished / "run").config.seed == 4


@pytest.mark.parametrize("epoch", [1, 4, 6])
def test_an_unfinished_demo_is_resumed(finished: Path, tmp_path: Path, config: RunConfig, epoch: int) -> None:
    folder = tmp_path / "again"
    with pytest.raises(StopError):
        quiet(folder, config, on_epoch=stop_after(epoch))
    assert json.loads((folder / "demo.json").read_text(encoding="utf-8"))["status"] == "unfinished"
    assert not (folder / "report.html").exists()
    epochs: list[EpochMetrics] = []
    quiet(folder, config, on_epoch=epochs.append)
    assert [metrics.epoch for metrics in epochs] == list(range(epoch + 1, 7))
    for name in ("demo.json", f"run/{MODEL}", f"run/{METRICS}", "handoff/handoff_manifest.json"):
        assert (folder / name).read_bytes() == (finished / name).read_bytes(), name


def test_stopped_after_the_training_it_does_not_train_again(
    finished: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = finished.parent / "again"

    def stop(*_: object, **__: object) -> None:
        raise StopError

    with monkeypatch.context() as patch:
        patch.setattr(bitprop.demo, "check_parity", stop)
        with pytest.raises(StopError):
            quiet(folder, config)
    epochs: list[EpochMetrics] = []
    quiet(folder, config, on_epoch=epochs.append)
    assert epochs == []
    assert (folder / "demo.json").read_bytes() == (finished / "demo.json").read_bytes()


@pytest.mark.parametrize("why", ["damaged", "other configuration"])
def test_a_training_that_cannot_be_resumed_starts_again(
    finished: Path, tmp_path: Path, config: RunConfig, why: str
) -> None:
    folder, said = tmp_path / "again", list[str]()
    first = override(config, seed=9) if why == "other configuration" else config
    with pytest.raises(StopError):
        quiet(folder, first, on_epoch=stop_after(2))
    if why == "damaged":
        (folder / "run" / CHECKPOINT).write_bytes(b"")
    run_demo(folder, config=config, say=said.append)
    assert any("starts again" in text for text in said)
    assert (folder / "demo.json").read_bytes() == (finished / "demo.json").read_bytes()


def test_without_a_simulator_nothing_is_started(
    tmp_path: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\nexit 5\n", encoding="ascii")
    silent.chmod(0o755)
    for variable, error in ((str(silent), SimulationError), ("/nonexistent", ToolNotFoundError)):
        monkeypatch.setenv("BITPROP_IVERILOG", variable)
        with pytest.raises(error):
            quiet(tmp_path / "demo", config)
        assert not (tmp_path / "demo").exists()


def test_a_failed_parity_is_written_and_is_1(
    tmp_path: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong circuit must not look like a success, and its evidence must not name this machine."""

    def sabotage(run: Any, data: Any, output: Path, *, samples: int) -> Any:
        manifest = export_to(run, data, output, samples=samples)
        weights = output / "rtl" / "tiny_layer0_weights.v"
        text = weights.read_text(encoding="ascii")
        assert "negative_0 = 3'h" in text
        head, _, tail = text.partition("negative_0 = 3'h")
        weights.write_text(f"{head}negative_0 = 3'h{int(tail[0], 8) ^ 7}{tail[1:]}", encoding="ascii")
        return manifest

    monkeypatch.setattr(bitprop.demo, "export_to", sabotage)
    monkeypatch.setattr(bitprop.demo, "load_config", lambda _: config)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    result = CliRunner().invoke(app, ["demo", "-o", str(tmp_path / "demo"), "--json"])
    assert result.exit_code == 1, result.output
    assert json.loads(result.stdout)["parity"]["status"] == "fail"
    written = (tmp_path / "demo" / "demo.json").read_text(encoding="utf-8")
    assert json.loads(written)["parity"]["mismatches"]
    assert str(tmp_path) not in written
    assert "command" not in written


def test_the_command(tmp_path: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bitprop.demo, "load_config", lambda _: config)
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(app, ["demo", "-o", "a b", "--threads", "1"])
    assert shown.exit_code == 0, shown.output
    assert "page: a b/report.html\n" in shown.stdout
    assert "parity pass" in shown.stdout
    for part in ("1/5", "2/5", "3/5", "4/5", "5/5"):
        assert part in shown.stderr
    told = CliRunner().invoke(app, ["demo", "-o", "a b", "--json"])
    assert told.exit_code == 0
    assert told.stderr == ""
    assert json.loads(told.stdout)["page"] == "a b/report.html"
    write_json(Path("a b") / "demo.json", {"schema": "mine"})
    refused = CliRunner().invoke(app, ["demo", "-o", "a b", "--json"])
    assert refused.exit_code == 3
    assert refused.stdout == ""
    assert "demo.json" in refused.stderr
