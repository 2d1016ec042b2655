"""The native kernels' levels: which are there, forcing one, falling back, threads; every level gives equal integers."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bitprop import kernels
from bitprop.errors import RangeError


@pytest.fixture
def native() -> Any:
    if kernels.why_not():
        pytest.skip(kernels.why_not())
    return kernels.extension() or pytest.skip("BITPROP_KERNELS=reference")


def _python(code: str, level: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, kernels.VARIABLE: level}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False, env=environment
    )


def test_levels_are_in_order() -> None:
    found = kernels.levels()
    assert found[0] == "reference"
    assert list(found) == [name for name in kernels.LEVELS if name in found]


def test_the_variable_forces_each_level(native: Any) -> None:
    for name in kernels.levels():
        done = _python("from bitprop import kernels; print(kernels.level(), kernels.describe())", name)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split()[0] == name
        assert ("native" in done.stdout) == (name != "reference")


def test_a_level_that_does_not_exist_is_refused() -> None:
    done = _python("from bitprop import kernels; kernels.level()", "sse")
    assert done.returncode == 1
    assert "expected BITPROP_KERNELS among reference" in done.stderr
    with pytest.raises(RangeError, match="expected a level among reference"), kernels.use_level("mmx"):
        pass


def test_use_level_puts_the_level_back(native: Any) -> None:
    before = kernels.level()
    with kernels.use_level("reference"):
        assert kernels.extension() is None
        assert kernels.describe().startswith("reference")
    assert kernels.level() == before
    with pytest.raises(KeyError), kernels.use_level("portable"):
        raise KeyError
    assert kernels.level() == before


def test_every_level_agrees_with_the_portable_one(native: Any) -> None:
    for family in native.families():
        assert [name for name in native.supported_levels() if not native.agrees(family, name)] == []


def test_a_level_that_disagrees_is_not_used(native: Any) -> None:
    best = kernels.levels()[-1]
    if best == "portable":
        pytest.skip("only the portable level is there")
    for family in native.families():
        native.plant_failure(family, best)
        try:
            with kernels.use_level(best):
                assert native.families()[family] == kernels.levels()[-2]
                assert f"{family}: {kernels.levels()[-2]}" in kernels.describe()
        finally:
            native.plant_failure(family, "")
        with kernels.use_level(best):
            assert native.families()[family] == best


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_task_runs_once(native: Any, threads: int) -> None:
    for tasks in (0, 1, 2, 7, 200):
        assert native.exercise_pool(threads, tasks) == [1] * tasks


def test_the_pool_serves_several_threads_at_once(native: Any) -> None:
    wrong: list[int] = []

    def work() -> None:
        wrong.extend(i for i in range(50) if native.exercise_pool(2, 20) != [1] * 20)

    callers = [threading.Thread(target=work) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=60)
    assert not any(caller.is_alive() for caller in callers)
    assert wrong == []


@pytest.mark.parametrize("before", ["", "import torch\n"])
def test_the_pool_works_in_a_forked_child(before: str, native: Any) -> None:
    code = before + (
        "import os\n"
        "from bitprop import kernels\n"
        "native = kernels.extension()\n"
        "assert native.exercise_pool(2, 9) == [1] * 9\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(0 if native.exercise_pool(2, 9) == [1] * 9 else 3)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "assert native.exercise_pool(2, 9) == [1] * 9\n"
    )
    done = _python(code, kernels.levels()[-1])
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="no list of threads on this system")
def test_threads_of_openmp_do_the_work_where_they_are(native: Any) -> None:
    """Its threads wait without sleeping; others would share cores with them."""
    code = (
        "import os, torch\n"
        "from bitprop import kernels\n"
        "torch.set_num_threads(2)\n"
        "torch.ones(1 << 20).exp()\n"
        "gnu = any('libgomp.so.1' in line for line in open('/proc/self/maps'))\n"
        "before = len(os.listdir('/proc/self/task'))\n"
        "assert kernels.extension().exercise_pool(2, 1000) == [1] * 1000\n"
        "assert not gnu or len(os.listdir('/proc/self/task')) == before\n"
    )
    done = _python(code, kernels.levels()[-1])
    assert done.returncode == 0, done.stderr


def test_an_extension_of_other_sources_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels.importlib, "import_module", lambda name: SimpleNamespace(SOURCES="other"))
    module, why = kernels._load()
    assert module is None
    assert "other sources" in why


def test_an_extension_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ImportError("undefined symbol: whatever", name="bitprop._kernels", path="x.so")

    monkeypatch.setattr(kernels.importlib, "import_module", fail)
    assert kernels._load() == (
        None,
        "they cannot be loaded (undefined symbol: whatever); `make kernels` builds them anew",
    )


def test_no_extension_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ModuleNotFoundError("No module named 'bitprop._kernels'", name="bitprop._kernels")

    monkeypatch.setattr(kernels.importlib, "import_module", fail)
    module, why = kernels._load()
    assert module is None
    assert why.startswith("none were built")


def test_the_digest_is_that_of_the_build_file(native: Any, tmp_path: Path) -> None:
    assert kernels._digest(kernels._SOURCES) == native.SOURCES
    (tmp_path / "a.h").write_text("1")
    first = kernels._digest(tmp_path)
    (tmp_path / "a.h").write_text("2")
    assert kernels._digest(tmp_path) != first
