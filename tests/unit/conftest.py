"""A finished run for the tests of the commands."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from helpers.command_line import CONFIG, blobs_csv


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, a configuration, a finished run and its handoff; tests copy it."""
    root = tmp_path_factory.mktemp("made")
    (root / "blobs.csv").write_text(blobs_csv(), encoding="utf-8")
    (root / "c.toml").write_text(CONFIG, encoding="utf-8")
    from bitprop.runs import export_run, train_run
    from bitprop.training.config import load_config

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
