"""What every command shares: two consoles, JSON output, and errors that never show a traceback."""

from __future__ import annotations

import functools
import json
import signal
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, NoReturn, ParamSpec

import typer
from rich.console import Console

from bitprop.errors import BitpropError

__all__ = ["EXIT_ERROR", "EXIT_FAILED", "EXIT_INTERRUPTED", "console", "guarded", "notes", "print_json"]

EXIT_FAILED = 1
"""A check was carried out and did not pass."""
EXIT_ERROR = 3
"""The command could not be carried out; 2 is a wrong option, as in most programs."""
EXIT_INTERRUPTED = 130

console = Console(highlight=False)
notes = Console(stderr=True, highlight=False)

P = ParamSpec("P")


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """Turn expected errors into one line on standard error and an exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        previous = signal.signal(signal.SIGTERM, _terminated)
        try:
            command(*args, **kwargs)
        except BitpropError as error:
            notes.print("error:", style="bold red", end=" ")
            notes.print(str(error), markup=False, soft_wrap=True)
            raise typer.Exit(EXIT_ERROR) from None
        except KeyboardInterrupt:
            notes.print("interrupted", style="bold yellow")
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except BrokenPipeError:
            sys.stderr.close()  # the reader is gone; nothing can be said to it
            raise typer.Exit(EXIT_ERROR) from None
        finally:
            signal.signal(signal.SIGTERM, previous)

    return run


def _terminated(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object on standard output, nothing else."""
    typer.echo(json.dumps(value, indent=2, sort_keys=True, allow_nan=False))
