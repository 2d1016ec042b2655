"""Commands run in this process, and a small data set for them."""

from __future__ import annotations

from typing import Any

import numpy as np
from typer.testing import CliRunner

from bitprop.cli import app

__all__ = ["CONFIG", "blobs_csv", "refused", "run"]

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


def blobs_csv(samples: int = 60) -> str:
    """Four clusters in four dimensions, the label last."""
    generator = np.random.Generator(np.random.Philox(3))
    y = np.arange(samples) % 4
    x = np.clip(0.15 + 0.7 * np.eye(4)[y] + generator.normal(0, 0.1, (samples, 4)), 0, 1)
    return "".join(",".join(f"{value:.4f}" for value in row) + f",{label}\n" for row, label in zip(x, y, strict=True))


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
