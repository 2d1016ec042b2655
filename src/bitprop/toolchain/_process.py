"""External programs: where they are, and how they are run (argument lists, a time limit, the whole group stopped)."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitprop.errors import BitpropError, SimulationError, ToolNotFoundError, ToolTimeoutError

__all__ = ["CHECK_INSTALLATION", "Tool", "reported_version", "run_tool", "scratch_folder", "wheel_version"]

CHECK_INSTALLATION = "check the installation (bitprop info says what was found)"
"""What to do about a program that does not even say its version."""

_MESSAGE_LINES = 25
_KILL_ROUNDS = 200
_MORE_TIME = "allow more time (a command's --timeout) or give it less to do"


@dataclass(frozen=True, slots=True)
class Tool:
    """An external program.

    Attributes:
        name: what it is called on ``PATH``.
        variable: environment variable that points to another copy.
        package: the Debian package that has it; empty if none has.
        wheel: the Python package that installs it beside this Python; empty if none does.
    """

    name: str
    variable: str
    package: str
    wheel: str = ""

    def locate(self) -> Path:
        """The program's path: the environment variable if it is set, else the first on ``PATH``, else the wheel's.

        Raises:
            ToolNotFoundError: none of them gives a program; the message names the variable and the package.
        """
        chosen = os.environ.get(self.variable)
        if chosen:
            found = shutil.which(chosen)
            if found is None:
                raise ToolNotFoundError(
                    f"expected a program at {chosen!r}, which {self.variable} names, found none that can be run; "
                    f"correct or unset {self.variable}"
                )
            return Path(found).absolute()
        found = shutil.which(self.name)
        if found is None and self.wheel:
            # a virtual environment need not be activated for its programs to be found
            found = shutil.which(self.name, path=os.fspath(Path(sys.executable).parent))
        if found is None:
            ways = [f"Debian: apt install {self.package}"] * bool(self.package)
            ways += [f"pip install {self.wheel}"] * bool(self.wheel)
            raise ToolNotFoundError(
                f"expected the program {self.name!r} on PATH, found none; install it ({', or '.join(ways)}) or set "
                f"{self.variable} to its path"
            )
        return Path(found).absolute()

    def is_available(self) -> bool:
        """Whether :meth:`locate` succeeds."""
        try:
            self.locate()
        except ToolNotFoundError:
            return False
        return True


@functools.cache
def wheel_version(wheel: str) -> str | None:
    """The version of an installed Python package, or ``None``."""
    try:
        return importlib.metadata.version(wheel)
    except importlib.metadata.PackageNotFoundError:
        return None


def run_tool(
    arguments: Sequence[str | os.PathLike[str]],
    *,
    cwd: Path,
    timeout: float,
    environment: Mapping[str, str] | None = None,
    allowed_statuses: Collection[int] = (0,),
    failure: Callable[[str], Exception] = SimulationError,
    merge: bool = False,
    when_late: str = _MORE_TIME,
) -> str:
    """Run a program and return what it wrote to standard output.

    It gets its own process group; when the time is over, or anything interrupts the wait, the whole group is killed.

    Args:
        arguments: program and arguments; no shell reads them.
        cwd: folder to run in, and for its temporary files.
        timeout: seconds.
        environment: variables to add.
        allowed_statuses: exit statuses that mean an answer, not a failure.
        failure: makes the error of a program that fails.
        merge: return standard error too, in the order of writing.
        when_late: what to do about a program that did not finish in time.

    Raises:
        ToolTimeoutError: it did not finish in time.
        SimulationError: it could not be started or ended with a status other than 0 (unless ``failure`` makes
            another); the message says what to do and has the end of what it printed.
    """
    command = [os.fspath(argument) for argument in arguments]
    shown = " ".join(
        [Path(command[0]).name] + [part if len(part) < 80 else f"{part[:77]}..." for part in command[1:12]]
    )
    with _interrupts_held() as release:
        try:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                # what a program that is stopped leaves behind goes with its folder
                env={**os.environ, "TMPDIR": os.path.abspath(cwd), **(environment or {})},  # noqa: PTH100
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if merge else subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            raise failure(f"cannot start {shown}: {error.strerror}; {CHECK_INSTALLATION}") from error
        with process:
            try:
                release()
                output, errors = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                _kill_group(process)
                raise ToolTimeoutError(
                    f"expected {shown} to finish in {timeout:g} s, it was stopped; {when_late}"
                ) from None
            except BaseException:
                _kill_group(process)
                raise
    if process.returncode not in allowed_statuses:
        said = (errors or "").strip() or output.strip()
        tail = "\n".join((said or "(no message)").splitlines()[-_MESSAGE_LINES:])
        advice = _advice(process.returncode, said)
        raise failure(f"{shown} ended with status {process.returncode}; {advice}:\n{tail}")
    return output


def _advice(status: int, said: str) -> str:
    """What to do about a program that ended with this status and message."""
    if status == -signal.SIGKILL:
        return "something stopped it (SIGKILL), often because memory ran out: free some, or make the design smaller"
    if status < 0:
        return f"something stopped it ({signal.Signals(-status).name}): run it again, or use another version of it"
    return "correct what it complains about, or use another version of it" if said else CHECK_INSTALLATION


@contextlib.contextmanager
def _interrupts_held() -> Iterator[Callable[[], None]]:
    """Hold SIGINT and SIGTERM back until what this gives is called, or the context ends.

    A program that runs already, but is not known yet, could not be stopped.
    """
    came: list[int] = []
    handlers: dict[int, Any] = {}

    def release() -> None:
        for number in list(handlers):
            signal.signal(number, handlers[number])
            del handlers[number]
        while came:
            signal.raise_signal(came.pop())

    # signals are handled in the main thread, and only functions of ours, or Python's own, raise anything
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if callable(signal.getsignal(number)):
                handlers[number] = signal.signal(number, lambda seen, _frame: came.append(seen))
    try:
        yield release
    finally:
        release()


def _kill_group(process: subprocess.Popen[str]) -> None:
    # the child called setsid, so its group has its own id; a child that is gone already is no error
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    # SymbiYosys gives its children groups of their own; they are still of the session, and would go on writing
    for _ in range(_KILL_ROUNDS):
        left = _members_of_session(process.pid)
        if not left:
            break
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    process.communicate()


def _members_of_session(session: int) -> list[int]:
    """Its processes that still run, where ``/proc`` says so."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            # after the name, which may have any characters: state, parent, group, session
            state, _, _, of_session = entry.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[:4]
        except (OSError, ValueError):  # it ended meanwhile
            continue
        if int(of_session) == session and state not in "ZX":
            found.append(int(entry.parent.name))
    return found


def reported_version(path: Path, text: str, failure: type[BitpropError] = SimulationError) -> str:
    """The first line of what a program said of its version.

    Raises:
        BitpropError: it said nothing; of the class ``failure``.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise failure(f"expected a version from {path}, got nothing; {CHECK_INSTALLATION}")
    return lines[0]


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A temporary folder whose path has no white space (``make`` and Verilator cannot bear any); removed at the end.

    Raises:
        SimulationError: no such folder can be made, or the disk is full.
    """
    for parent in (tempfile.gettempdir(), "/tmp", "/var/tmp"):  # noqa: S108 - mkdtemp makes a private folder in it
        if any(character.isspace() for character in parent) or not os.access(parent, os.W_OK):
            continue
        try:
            with tempfile.TemporaryDirectory(prefix="bitprop_", dir=parent) as folder:
                yield Path(folder)
        except OSError as error:
            if isinstance(error, BitpropError | BrokenPipeError):
                raise
            raise SimulationError(
                f"cannot read or write {error.filename or parent}: {error.strerror or error}; free some space, or set "
                "TMPDIR to another folder"
            ) from error
        return
    raise SimulationError(
        f"expected a temporary folder without spaces in its path, got {tempfile.gettempdir()!r}; set TMPDIR to one"
    )
