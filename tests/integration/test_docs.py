"""The documentation, which `make docs` builds without a warning: a fault in it does not go unnoticed."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sphinx")

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "docs" / "conf.py"


def build(source: Path, output: Path) -> subprocess.CompletedProcess[str]:
    """Run Sphinx as `make docs` does, without writing pages."""
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "dummy", str(source), str(output)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture(scope="module")
def conf() -> dict[str, Any]:
    return runpy.run_path(str(CONF))


def test_the_same_settings_reject_a_broken_page(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (tmp_path / "src" / "bitprop").mkdir(parents=True)
    (docs / "conf.py").write_text(CONF.read_text(encoding="utf-8"), encoding="utf-8")
    (docs / "index.md").write_text("# T\n\n```{toctree}\napi/index\nabsent\n```\n", encoding="utf-8")
    result = build(docs, tmp_path / "out")
    assert result.returncode != 0
    assert "absent" in result.stderr


def test_every_public_module_has_a_page(conf: dict[str, Any], tmp_path: Path) -> None:
    package = tmp_path / "src" / "bitprop"
    (package / "ops").mkdir(parents=True)
    for name in ("__init__.py", "seeds.py", "_checks.py", "__main__.py", "ops/__init__.py", "ops/lfsr.py"):
        (package / name).touch()
    folder = tmp_path / "api"
    modules = conf["write_api_pages"](tmp_path / "src", folder)
    assert modules == ["bitprop", "bitprop.ops", "bitprop.ops.lfsr", "bitprop.seeds"]
    assert {page.stem for page in folder.glob("*.rst")} == {*modules, "index"}
    (package / "seeds.py").unlink()
    conf["write_api_pages"](tmp_path / "src", folder)
    assert not (folder / "bitprop.seeds.rst").exists(), "the page of a removed module stays"


def test_the_contract_is_in_the_table_of_contents() -> None:
    assert "\ncontract\n" in (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
