"""The shared fixtures do what they say: a failing test shows its seed, a missing tool skips or fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent

PROBE = """
def test_seed(seed):
    assert seed == -1

def test_missing_tool(require_tool):
    require_tool("no-such-program-bitprop")

def test_present_tool(require_tool):
    assert require_tool("env").endswith("env")
"""


def run_probe(folder: Path, **variables: str) -> str:
    (folder / "test_probe.py").write_text(PROBE, encoding="utf-8")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("BITPROP_")}
    environment |= {"PYTHONPATH": os.pathsep.join([str(TESTS), environment.get("PYTHONPATH", "")]), **variables}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # what is installed beside takes seconds to load
    command = [sys.executable, "-m", "pytest", "-q", "-p", "conftest", "-p", "no:cacheprovider", "-c", os.devnull]
    done = subprocess.run(
        [*command, "--rootdir", str(folder), "test_probe.py"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


def test_failing_test_shows_its_seed_and_missing_tool_skips(tmp_path: Path) -> None:
    output = run_probe(tmp_path, BITPROP_TEST_SEED="4711")
    assert "rerun with BITPROP_TEST_SEED=4711" in output
    assert "assert 4711 == -1" in output
    assert "1 failed, 1 passed, 1 skipped" in output


def test_missing_tool_fails_where_tools_are_required(tmp_path: Path) -> None:
    output = run_probe(tmp_path, BITPROP_REQUIRE_TOOLS="1")
    assert "no-such-program-bitprop is not installed, and BITPROP_REQUIRE_TOOLS=1 asks for it" in output
    assert "2 failed, 1 passed" in output
