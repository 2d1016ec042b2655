"""Examples and pages do what they show: programs run, printed output is compared, generated parts are up to date.

A ``text`` block that follows a Python block of a page is that block's output.  A ``text`` block after the name of an
example (``examples/NAME.py``) is the output of that program.
"""

from __future__ import annotations

import importlib
import re
import runpy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_readme import PAGES, WARNINGS, Block, fenced_blocks, outputs_of, program_of, shows_output

from bitprop.training.config import BudgetConfig, RunConfig
from bitprop.verification.peers import PeerAudit
from helpers.warm_python import WarmPython

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SEPARATOR = "-- end of block --"
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?%?")


def run(python: WarmPython, script: Path, folder: Path, warn: Sequence[str] = ()) -> str:
    done = python.run(script, folder=folder, warn=warn)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def words(text: str) -> list[str]:
    """Lines without the white space that aligns them."""
    return [" ".join(line.split()) for line in text.strip().splitlines()]


# -- examples ----------------------------------------------------------------------------------------------------


def shown_output(name: str) -> str:
    """The output that a page shows for an example: the first ``text`` block after its name."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        place = text.find(f"examples/{name}")
        if place >= 0:
            return next(block.code for block in fenced_blocks(text[place:]) if block.language == "text")
    pytest.fail(f"no page shows examples/{name}")


def test_there_are_examples() -> None:
    assert [path.name for path in EXAMPLES] == ["check_an_estimator.py", "csv_to_verilog.py", "joint_layer.py"]


@pytest.mark.parametrize("name", ["check_an_estimator.py", "joint_layer.py"])
def test_examples_print_what_their_page_shows(name: str, tmp_path: Path, python: WarmPython) -> None:
    """Words and integers to the letter, fractions to a tenth: they come out of training or sampling."""
    printed, shown = words(run(python, ROOT / "examples" / name, tmp_path)), words(shown_output(name))
    assert [_NUMBER.sub("#", line) for line in printed] == [_NUMBER.sub("#", line) for line in shown]
    ours, theirs = (_NUMBER.findall("\n".join(lines)) for lines in (printed, shown))
    for one, other in zip(ours, theirs, strict=True):
        if "." in other:
            assert float(one.rstrip("%")) == pytest.approx(float(other.rstrip("%")), rel=0.1, abs=0.02)
        else:
            assert one == other


def test_a_table_becomes_verilog(tmp_path: Path, python: WarmPython, require_tool: Callable[[str], str]) -> None:
    """The design that training chooses may differ from machine to machine; that it is right everywhere may not."""
    require_tool("iverilog")
    printed = words(run(python, ROOT / "examples" / "csv_to_verilog.py", tmp_path))
    shown = words(shown_output("csv_to_verilog.py"))
    assert [line.split()[0] for line in printed] == [line.split()[0] for line in shown]
    accuracy = re.fullmatch(r"bit-true accuracy (\d\.\d+) in \d+ cycles", printed[2])
    assert accuracy is not None
    assert float(accuracy[1]) > 0.8
    assert printed[4].startswith("parity pass: ")
    assert printed[5] == shown[5] == "audit pass: 9 checks"
    assert (tmp_path / "iris_like" / "handoff" / "rtl" / "iris_like.v").is_file()


# -- pages -------------------------------------------------------------------------------------------------------


def pages_with_output() -> list[Any]:
    cases = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if shows_output(text):
            cases.append(pytest.param(list(outputs_of(text)), id=page.name))
    return cases


@pytest.mark.parametrize("pairs", pages_with_output())
def test_pages_show_what_their_python_prints(
    pairs: list[tuple[Block, Block | None]], tmp_path: Path, python: WarmPython, require_tool: Callable[[str], str]
) -> None:
    if any("icarus" in block.code for block, _ in pairs):
        require_tool("iverilog")
    # the separator is printed where the fence was, so that every line keeps its number in the page
    blocks = [replace(block, code=f"{block.code}\nprint({SEPARATOR!r})") for block, _ in pairs]
    page = tmp_path / "page.py"
    page.write_text(program_of(blocks), encoding="utf-8")
    printed = run(python, page, tmp_path, WARNINGS).split(f"{SEPARATOR}\n")
    for (block, after), output in zip(pairs, printed[:-1], strict=True):
        if after is not None:
            assert words(output) == words(after.code), f"block at line {block.line}"


def test_outputs_are_paired() -> None:
    text = "```python\nprint(1)\n```\n\n```text\n1\n```\n\n```python\nx = 1\n```\n\nWords.\n\n```text\n2\n```\n"
    (first, one), (_, none) = outputs_of(text)
    assert (first.code, one.code if one else None, none) == ("print(1)", "1", None)


# -- generated parts ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def refresh(peer_audit: Callable[[str], PeerAudit]) -> Iterator[dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tools"))
        patch.setattr(importlib.import_module("gradient_tables"), "audit_peer", peer_audit)
        yield runpy.run_path(str(ROOT / "tools" / "refresh_docs.py"))


def test_every_generated_table_is_on_one_page(refresh: dict[str, Any]) -> None:
    names = [name for page in PAGES for name in refresh["parts_of"](page.read_text(encoding="utf-8"))]
    assert sorted(names) == sorted(refresh["TABLES"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_generated_tables_are_up_to_date(refresh: dict[str, Any], page: Path) -> None:
    for name, part in refresh["parts_of"](page.read_text(encoding="utf-8")).items():
        if name == "planted-bugs":
            continue  # minutes: a sample of its rows is below, and that each bug is caught is tested elsewhere
        assert refresh["same"](name, part, refresh["TABLES"][name]()), (
            f"{name} in {page.name} is stale; run python tools/refresh_docs.py"
        )


# that every check passes the right network, the row above these, is what the mutants' tests say
@pytest.mark.parametrize("bug", ["scale_1.001", "truncated"])
def test_rows_of_the_table_of_planted_bugs_are_up_to_date(refresh: dict[str, Any], bug: str) -> None:
    parts: dict[str, str] = {}
    for page in PAGES:
        parts |= refresh["parts_of"](page.read_text(encoding="utf-8"))
    row = " | ".join(refresh["planted_row"](bug))
    assert f"| {row} |\n" in parts["planted-bugs"]


def test_generated_pictures_are_up_to_date(refresh: dict[str, Any]) -> None:
    folder = ROOT / "docs" / "pictures"
    assert {path.name for path in folder.iterdir()} == set(refresh["PICTURES"])
    for name, draw in refresh["PICTURES"].items():
        assert (folder / name).read_text(encoding="utf-8") == draw(), f"{name} is stale; run tools/refresh_docs.py"


def test_a_stale_part_is_noticed(refresh: dict[str, Any]) -> None:
    same = refresh["same"]
    assert same("estimator-profile", "| `arm` | 8.64 |", "| `arm` | 8.65 |")
    assert not same("estimator-profile", "| `arm` | 8.64 |", "| `arm` | 9.64 |")
    assert not same("estimator-profile", "| `arm` | 8.64 |", "| `disarm` | 8.64 |")
    assert not same("config", "| `seed` | 0 |", "| `seed` | 1 |")


def test_the_reference_documents_every_configuration_key(refresh: dict[str, Any]) -> None:
    """Read from the page itself: each key in its section's table, with the model's default, and no other key."""
    page = (ROOT / "docs" / "joint-training.md").read_text(encoding="utf-8")
    section, documented = "", {}
    for line in refresh["parts_of"](page)["config"].splitlines():
        if heading := re.fullmatch(r"\*\*(?:`\[(\w+)\]`|top level)\*\*", line):
            section = heading[1] or ""
        elif row := re.match(r"\| `(\w+)` \| `(.*?)` \| (.*?) \| (.+) \|", line):
            documented[f"{section}.{row[1]}" if section else row[1]] = row.groups()[1:]
    keys = refresh["config_keys"]()
    assert list(documented) == list(keys)
    # the section is optional: what holds for one that is there
    written = {**RunConfig().model_dump(), "budget": BudgetConfig().model_dump()}
    for key, (default, accepts, meaning) in documented.items():
        value: Any = written
        for part in key.split("."):
            value = value[part]
        text = list(value) if isinstance(value, tuple) else "no limit" if value is None else value
        assert default.strip('"') == str(text).replace("'", '"')
        assert accepts
        assert meaning
