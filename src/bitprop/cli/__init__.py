"""The command line: ``bitprop`` and ``python -m bitprop``."""

from __future__ import annotations

from bitprop.cli.app import app, main

__all__ = ["app", "main"]
