"""The presets: every file is one, each parses, and each can be trained from an empty folder's point of view."""

from __future__ import annotations

from pathlib import Path

import pytest

import bitprop.presets
from bitprop.data import DATASETS
from bitprop.errors import ConfigError
from bitprop.presets import PRESETS, preset_path
from bitprop.training.config import load_config


def test_every_file_is_a_preset_and_every_preset_a_file() -> None:
    files = {path.stem for path in Path(bitprop.presets.__file__).parent.glob("*.toml")}
    assert set(PRESETS) == files
    assert list(PRESETS) == sorted(PRESETS)
    assert "digits" in PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_whole_configuration(name: str, tmp_path: Path) -> None:
    config = load_config(preset_path(name))
    assert config.data.source in DATASETS
    assert config.data.folder == ""
    assert config.training.joint_epochs > 0
    assert any(len(lengths) > 1 for lengths in config.network.lengths_per_layer())
    assert load_config(config.save(tmp_path / "copy.toml")) == config
    assert preset_path(name).read_text(encoding="utf-8").startswith("#")


@pytest.mark.parametrize("name", ["", "Digits", "digits.toml", "../presets/digits", "mnist"])
def test_an_unknown_preset_lists_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigError, match=r"digits.*got.*toml"):
        preset_path(name)
