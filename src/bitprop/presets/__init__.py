"""Configurations that come with the package: ``digits`` and ``fashion_mnist``, as TOML files beside this one."""

from __future__ import annotations

from pathlib import Path

from bitprop.errors import ConfigError

__all__ = ["PRESETS", "preset_path"]

PRESETS = ("digits", "fashion_mnist")


def preset_path(name: str) -> Path:
    """The TOML file of a preset.

    Raises:
        ConfigError: unknown name; the message lists the known ones.
    """
    if name not in PRESETS:
        raise ConfigError(f"expected a preset among {', '.join(PRESETS)}, got {name!r}; or give a .toml file")
    return Path(__file__).with_name(f"{name}.toml")
