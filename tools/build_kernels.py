"""Build the native kernels into the source tree: ``src/bitprop/_kernels.*.so``, which git ignores.

    python tools/build_kernels.py                        build where something changed
    python tools/build_kernels.py --werror               warnings of our own sources are errors
    python tools/build_kernels.py --sanitize address,undefined --output build/sanitized

Exits with 1, and says why, where there is no compiler or the build fails; bitprop then computes with its plain
reference.  A module of other sources is removed then.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "bitprop"
TIMEOUT = 1200
_LAST_LINES = 40


def program(name: str) -> str | None:
    """A build program: the one installed beside this Python, or else on ``PATH``."""
    beside = Path(sysconfig.get_path("scripts")) / name
    return str(beside) if beside.is_file() else shutil.which(name)


def missing() -> list[str]:
    """What a build needs and this machine lacks."""
    lacks = [name for name in ("cmake", "ninja") if program(name) is None]
    if shutil.which(os.environ.get("CXX", "c++")) is None:
        lacks.append("a C++17 compiler (g++ or clang++)")
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        lacks.append(f"Python.h (package python{sys.version_info[0]}.{sys.version_info[1]}-dev)")
    return lacks


def build(folder: Path, output: Path, options: list[str]) -> str:
    """Configure, compile and put the module into ``output``.

    Returns:
        what went wrong, or nothing.
    """
    if lacks := missing():
        return "missing: " + ", ".join(lacks)
    cmake, ninja = str(program("cmake")), str(program("ninja"))
    configure = [cmake, "-S", str(ROOT), "-B", str(folder), "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
    configure += [f"-DPython_EXECUTABLE={sys.executable}", *options]
    cache = folder / "CMakeCache.txt"
    if cache.is_file() and f"CMAKE_HOME_DIRECTORY:INTERNAL={ROOT}\n" not in cache.read_text(encoding="utf-8"):
        shutil.rmtree(folder)  # the project was moved; CMake would refuse
    for command in (configure, [cmake, "--build", str(folder)]):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        if done.returncode:
            lines = (done.stdout + done.stderr).splitlines()[-_LAST_LINES:]
            return "\n".join([f"{' '.join(command)} failed:", *lines])
    output.mkdir(parents=True, exist_ok=True)
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    name = f"_kernels{suffix}"
    if output.resolve() != folder.resolve():
        # written beside and renamed: a process that has the old one mapped keeps it whole
        partial = output / f"{name}.partial"
        shutil.copy2(folder / name, partial)
        os.replace(partial, output / name)
    return ""


def main() -> int:
    """Carry the command line out."""
    parser = argparse.ArgumentParser(description="Build the native kernels; see the top of this file.")
    parser.add_argument("--werror", action="store_true", help="treat warnings as errors")
    parser.add_argument("--sanitize", default="", help="sanitizers, such as address,undefined")
    parser.add_argument("--output", type=Path, default=PACKAGE, help="folder for the module")
    arguments = parser.parse_args()
    options = [f"-DBITPROP_WERROR={'ON' if arguments.werror else 'OFF'}", f"-DBITPROP_SANITIZE={arguments.sanitize}"]
    folder = ROOT / "build" / ("kernels-sanitized" if arguments.sanitize else "kernels")
    wrong = build(folder, arguments.output, options)
    if wrong:
        for stale in arguments.output.glob("_kernels.*.so"):
            stale.unlink()
        print(f"build_kernels: no native kernels: {wrong}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
