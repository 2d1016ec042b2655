"""Configurations that come with the package: every TOML file beside this one."""

from __future__ import annotations

from pathlib import Path

from bitprop.errors import ConfigError

__all__ = ["PRESETS", "preset_path"]

PRESETS = tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.toml")))
"""Their names."""


def preset_path(name: str) -> Path:
    """The TOML file of a preset.

    Raises:
        ConfigError: unknown name; the message lists the known ones.
    """
    if name not in PRESETS:
        raise ConfigError(f"expected a preset among {', '.join(PRESETS)}, got {name!r}; or give a .toml file")
    return Path(__file__).with_name(f"{name}.toml")
