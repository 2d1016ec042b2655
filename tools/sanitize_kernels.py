"""Run the tests of the native kernels with the address and the undefined-behaviour sanitizer in the extension.

    python tools/sanitize_kernels.py [pytest arguments]

Builds the module anew into ``build/sanitized``, with every warning an error; the one in the source tree stays.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "build" / "sanitized"
TESTS = (
    "tests/agreement/test_table_kernels.py",
    "tests/agreement/test_mixture_kernels.py",
    "tests/agreement/test_overlap_kernels.py",
    "tests/agreement/test_packed_kernels.py",
    "tests/agreement/test_sparse_products.py",
    "tests/agreement/test_spiking_kernels.py",
    "tests/agreement/test_spiking_layers.py",
    "tests/unit/test_kernels.py",
    "tests/unit/test_nn_slope.py",
)
# Tests whose children load the module of the source tree, which the preloaded sanitizer does not concern.
DESELECTED = "not forked and not variable"
_TIMEOUT = 1800


def _run_tests(arguments: list[str]) -> int:
    """Inside the preloaded process: put the sanitized module in the place of the other and run pytest."""
    import pytest

    (path,) = OUTPUT.glob("_kernels.*.so")
    specification = importlib.util.spec_from_file_location("bitprop._kernels", path)
    if specification is None or specification.loader is None:
        return 1
    module = importlib.util.module_from_spec(specification)
    sys.modules["bitprop._kernels"] = module
    specification.loader.exec_module(module)
    return int(pytest.main(["-q", "-p", "no:cacheprovider", "-k", DESELECTED, *(arguments or TESTS)]))


def main() -> int:
    """Carry the command line out."""
    if os.environ.get("BITPROP_SANITIZED") == "yes":
        return _run_tests(sys.argv[1:])
    build = [sys.executable, str(ROOT / "tools" / "build_kernels.py"), "--werror"]
    build += ["--sanitize", "address,undefined", "--output", str(OUTPUT)]
    if subprocess.run(build, timeout=_TIMEOUT, check=False).returncode:
        return 1
    compiler = os.environ.get("CXX", "c++")
    found = [
        subprocess.run(
            [compiler, f"-print-file-name={name}"], capture_output=True, text=True, timeout=60, check=True
        ).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    environment = {
        **os.environ,
        "BITPROP_SANITIZED": "yes",
        "LD_PRELOAD": " ".join(found),
        # Python itself keeps memory until it ends
        "ASAN_OPTIONS": "detect_leaks=0:halt_on_error=1",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    }
    command = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:]]
    return subprocess.run(command, cwd=ROOT, env=environment, timeout=_TIMEOUT, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
