"""The wheel holds every file of the package: Verilog, kernels and templates too."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from bitprop import kernels

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "bitprop"


def package_files() -> set[str]:
    """Every file below src/bitprop, as the wheel would name it."""
    files = (path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in {".pyc", ".so"})
    return {path.relative_to(PACKAGE.parent).as_posix() for path in files}


@pytest.fixture(scope="module")
def wheel_and_sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[set[str], set[str]]:
    if importlib.util.find_spec("scikit_build_core") is None:
        pytest.skip("the build backend, scikit-build-core, is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--no-build-isolation", "--no-deps", "--no-index", "--disable-pip-version-check", "--quiet"]
    before = package_files()
    # what the kernels compute is tested elsewhere: here they may be slow, and need not be optimised
    settings = ["--config-settings", "cmake.build-type=Release"]
    command = [sys.executable, "-m", "pip", "wheel", *options, *settings, "--wheel-dir", str(folder), str(ROOT)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stderr
    (wheel,) = folder.glob("bitprop-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        # a file that came or went meanwhile (somebody works in the tree) is not the wheel's fault
        return set(archive.namelist()), before & package_files()


def test_every_file_of_the_package_is_in_the_wheel(wheel_and_sources: tuple[set[str], set[str]]) -> None:
    contents, sources = wheel_and_sources
    assert sources - contents == set()


@pytest.mark.parametrize("name", ["bitprop/py.typed", "bitprop/ops/lfsr.py", "bitprop/ops/lfsr.v"])
def test_the_wheel_holds(name: str, wheel_and_sources: tuple[set[str], set[str]]) -> None:
    assert name in wheel_and_sources[0]


def test_the_native_kernels_are_in_the_wheel(wheel_and_sources: tuple[set[str], set[str]]) -> None:
    if kernels.why_not():
        pytest.skip(kernels.why_not())
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    assert {name for name in wheel_and_sources[0] if name.endswith(".so")} == {f"bitprop/_kernels{suffix}"}


def test_without_a_compiler_the_wheel_is_built_all_the_same(tmp_path: Path) -> None:
    if importlib.util.find_spec("scikit_build_core") is None:
        pytest.skip("the build backend, scikit-build-core, is not installed")
    options = ["--no-build-isolation", "--no-deps", "--no-index", "--disable-pip-version-check", "--quiet"]
    settings = ["--config-settings", f"build-dir={tmp_path / 'build'}"]
    command = [sys.executable, "-m", "pip", "wheel", *options, *settings, "--wheel-dir", str(tmp_path), str(ROOT)]
    environment = {**os.environ, "CXX": "/nonexistent/c++"}
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=environment)
    assert result.returncode == 0, result.stderr
    (wheel,) = tmp_path.glob("bitprop-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert not any(name.endswith(".so") for name in names)
    assert "bitprop/kernels/__init__.py" in names


def test_the_wheel_holds_nothing_else(wheel_and_sources: tuple[set[str], set[str]]) -> None:
    contents, _ = wheel_and_sources
    strays = {name for name in contents if not name.startswith(("bitprop/", "bitprop-"))}
    assert strays == set()
    assert not any("__pycache__" in name for name in contents)


def test_the_licence_is_in_the_wheel(wheel_and_sources: tuple[set[str], set[str]]) -> None:
    assert any(name.endswith("LICENSE") for name in wheel_and_sources[0])
