"""Fixtures every test may use: a seed that is shown when a test fails, and external tools."""

from __future__ import annotations

import functools
import gc
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import configuration, settings

if TYPE_CHECKING:
    from bitprop.verification.peers import PeerAudit
    from helpers.warm_python import WarmPython

# Hypothesis keeps its examples out of the tree that pytest collects; its choices are the same in every run.
configuration.set_hypothesis_home_dir(Path(__file__).parents[1] / "build" / "hypothesis")
settings.register_profile("bitprop", deadline=None, derandomize=True)
settings.load_profile("bitprop")

_DEFAULT_SEED = 20240607


def pytest_collection_finish() -> None:
    """What is imported by now stays: the collector, which tests call too, need not look through it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The one seed of the run; ``BITPROP_TEST_SEED`` replaces it.  A failing test's report shows it."""
    value = int(os.environ.get("BITPROP_TEST_SEED", _DEFAULT_SEED))
    request.node.user_properties.append(("seed", value))
    return value


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for name, value in item.user_properties:
            if name == "seed":
                report.sections.append(("seed", f"rerun with BITPROP_TEST_SEED={value}"))


def find_tool(name: str) -> str:
    """The path of an external program: ``BITPROP_<NAME>``, on the PATH, or beside this Python.

    Without it the test skips, or fails when ``BITPROP_REQUIRE_TOOLS=1``.
    """
    path = shutil.which(os.environ.get(f"BITPROP_{name.upper()}") or name)
    path = path or shutil.which(name, path=os.fspath(Path(sys.executable).parent))
    if path is not None:
        return path
    message = f"{name} is not installed"
    if os.environ.get("BITPROP_REQUIRE_TOOLS") == "1":
        pytest.fail(f"{message}, and BITPROP_REQUIRE_TOOLS=1 asks for it")
    pytest.skip(message)


@pytest.fixture(scope="session")
def peer_audit(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], PeerAudit]:
    """``peer_audit("norse")`` is that framework's audit as it is installed; nobody may change it."""
    from helpers.audits import shared_audit

    folder = tmp_path_factory.getbasetemp()
    # each process of a run with several has a folder of its own inside the common one
    return functools.partial(shared_audit, folder=folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder)


@pytest.fixture(scope="session")
def python() -> Iterator[WarmPython]:
    """``python.run("page.py", folder=here)`` runs a program in a process of its own that need not import torch."""
    from helpers.warm_python import WarmPython

    with WarmPython() as server:
        yield server


@pytest.fixture(scope="session")
def require_tool() -> Callable[[str], str]:
    """``require_tool("iverilog")`` gives its path, or skips or fails the test."""
    return find_tool
