"""What every command shares: two consoles, JSON output, notes, and errors that never show a traceback."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, ParamSpec, TextIO

import typer
from rich.console import Console

from bitprop import kernels
from bitprop.errors import BitpropError, BitpropWarning

__all__ = [
    "EXIT_ERROR",
    "EXIT_FAILED",
    "EXIT_INTERRUPTED",
    "TRACEBACK_VARIABLE",
    "console",
    "guarded",
    "guarded_with",
    "note",
    "note_missing_kernels",
    "notes",
    "prepare_streams",
    "print_json",
]

EXIT_FAILED = 1
"""A check was carried out and did not pass."""
EXIT_ERROR = 3
"""The command could not be carried out; 2 is a wrong option, as in most programs."""
EXIT_INTERRUPTED = 130
TRACEBACK_VARIABLE = "BITPROP_TRACEBACK"
"""Environment variable: anything in it shows where an unexpected error came from."""


class _Console(Console):
    """Leaves a reader that went away to :func:`guarded`; Rich would end the program with the code of a failed check."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


# names of files, data sets and tools are printed as they are: no markup, no emoji codes
console = _Console(highlight=False, markup=False, emoji=False)
notes = _Console(stderr=True, highlight=False, markup=False, emoji=False)

P = ParamSpec("P")


def guarded_with(after_interrupt: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Turn errors into one line on standard error and an exit code, and bitprop's warnings into lines there.

    Args:
        after_interrupt: what to do when the command was interrupted; empty for nothing.
    """

    def decorate(command: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(command)
        def run(*args: P.args, **kwargs: P.kwargs) -> None:
            previous = signal.signal(signal.SIGTERM, _terminated)
            try:
                with _warnings_as_notes():
                    command(*args, **kwargs)
            except (typer.Exit, typer.BadParameter):  # a wrong option is for the option parser to say
                raise
            except KeyboardInterrupt:
                notes.print("interrupted", style="bold yellow", end="; " if after_interrupt else "\n")
                if after_interrupt:
                    notes.print(after_interrupt, soft_wrap=True)
                raise typer.Exit(EXIT_INTERRUPTED) from None
            except BrokenPipeError:
                _discard_output()  # the reader is gone; nothing can be said to it
                raise typer.Exit(EXIT_ERROR) from None
            except Exception as error:
                if os.environ.get(TRACEBACK_VARIABLE) and not isinstance(error, BitpropError):
                    raise
                notes.print("error:", style="bold red", end=" ")
                notes.print(_reason(error), soft_wrap=True)
                _discard_output()
                raise typer.Exit(EXIT_ERROR) from None
            finally:
                signal.signal(signal.SIGTERM, previous or signal.SIG_DFL)

        return run

    return decorate


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """:func:`guarded_with` for a command that starts from the beginning after an interrupt."""
    return guarded_with("")(command)


def note(text: str) -> None:
    """One line on standard error about what the result does not say, with ``--json`` too."""
    notes.print("note:", style="bold yellow", end=" ")
    notes.print(text, soft_wrap=True)


def note_missing_kernels() -> None:
    """A note where the plain reference computes although nobody asked for it."""
    why = kernels.why_not()
    if why and os.environ.get(kernels.VARIABLE) != "reference":
        note(f"the native kernels are not in use, the slow reference computes instead: {why}")


@contextlib.contextmanager
def _warnings_as_notes() -> Iterator[None]:
    """Show bitprop's own warnings as notes, each once, and leave others as they are."""
    with warnings.catch_warnings():
        # Python's own filter would say a thing once for each place in the code
        warnings.simplefilter("always", BitpropWarning)
        others, said = warnings.showwarning, set[str]()

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if not issubclass(category, BitpropWarning):
                others(message, category, filename, lineno, file, line)
            elif str(message) not in said:
                said.add(str(message))
                note(str(message))

        warnings.showwarning = show
        yield


def _reason(error: Exception) -> str:
    """One paragraph for a person."""
    if isinstance(error, BitpropError):
        return str(error)
    if isinstance(error, OSError):
        place = f" {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes) else ""
        return f"cannot read or write{place}: {error.strerror or error}; check the path and the space left"
    if isinstance(error, MemoryError):
        return "expected enough memory for this network and these data, ran out of it; make them smaller"
    return (
        f"unexpected {type(error).__name__}: {error}; this is a defect, please report it "
        f"({TRACEBACK_VARIABLE}=1 shows where it is)"
    )


def _discard_output() -> None:
    """What cannot be written any more is dropped, so that the interpreter does not try once again at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _terminated(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def prepare_streams() -> None:
    """Show a character that the terminal's encoding lacks as its code; a file name can hold any.

    Of the processes of one job (``torchrun``) the first alone writes results.
    """
    if os.environ.get("RANK", "0") != "0":
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - open until the process ends
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object on standard output, nothing else."""
    typer.echo(json.dumps(value, indent=2, sort_keys=True, allow_nan=False))
