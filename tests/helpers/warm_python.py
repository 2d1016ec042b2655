"""Python programs in processes of their own that need not import torch: forks of one that has, and does nothing else.

A program of torch spends most of its time importing it, and its compiler, which its optimisers need.  Everything else,
this package too, each program imports itself.
"""

from __future__ import annotations

import json
import os
import runpy
import select
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

__all__ = ["WarmPython"]

IMPORTED = ("torch", "torch._dynamo")


def serve() -> None:
    """Read requests, one a line; fork for each, answer with the process and then with its exit code."""
    for name in IMPORTED:
        __import__(name)
    requests, answers = (os.fdopen(os.dup(number), mode, buffering=1) for number, mode in ((0, "r"), (1, "w")))
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    for line in iter(requests.readline, ""):
        process = os.fork()
        if not process:
            requests.close()
            answers.close()
            become(json.loads(line))
            return  # from here the program ends as every program does
        answers.write(f"{process}\n")
        answers.write(f"{os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])}\n")


def become(request: dict[str, Any]) -> None:
    """Run a program in this process, as ``python`` would."""
    for number, file in ((1, request["output"]), (2, request["errors"])):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    for option in request["warnings"]:
        warnings._setoption(option)  # type: ignore[attr-defined]
    sys.argv = request["arguments"]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    runpy.run_path(sys.argv[0], run_name="__main__")


class WarmPython:
    """The process that forks; it starts with the first program, and is stopped when the context ends."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> WarmPython:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._server is not None:
            os.killpg(self._server.pid, signal.SIGKILL)
            self._server.communicate()
            self._server = None

    def run(
        self,
        script: Path,
        *arguments: str | Path,
        folder: Path,
        warn: Sequence[str] = (),
        meanwhile: Callable[[int], None] | None = None,
        timeout: float = 600.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program, and wait for its end.

        Args:
            script: its file.
            arguments: its own arguments.
            folder: where to run it.
            warn: what ``python -W`` takes.
            meanwhile: called with the number of the process while it runs.
            timeout: seconds, after that.
        """
        if self._server is None:
            self._server = subprocess.Popen(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,  # so that what has not been read can be waited for
                start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        assert self._server.stdin is not None
        answers = self._server.stdout
        assert answers is not None
        with TemporaryDirectory() as written:
            output, errors = Path(written, "output"), Path(written, "errors")
            request = {
                "arguments": [os.fspath(argument) for argument in (script, *arguments)],
                "folder": os.fspath(folder),
                "warnings": list(warn),
                "environment": {**os.environ, "OMP_NUM_THREADS": "1"},
                "output": os.fspath(output),
                "errors": os.fspath(errors),
            }
            try:
                self._server.stdin.write(json.dumps(request).encode() + b"\n")
                process = int(answers.readline())
                if meanwhile is not None:
                    meanwhile(process)
                if not select.select([answers], [], [], timeout)[0]:
                    raise TimeoutError(f"expected {script} to end in {timeout:g} s, it runs")
                code = int(answers.readline())
            except BaseException:
                self._stop()
                raise
            texts = [path.read_text(encoding="utf-8") for path in (output, errors)]
        return subprocess.CompletedProcess(request["arguments"], code, *texts)


if __name__ == "__main__":
    serve()
