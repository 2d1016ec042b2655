"""The examples of the README and of the documentation run as they are printed.

Python blocks of one file are one program, top to bottom, each in the namespace of those before it. TOML blocks
parse. Shell lines are not run: that the make targets and the command's own options exist is checked.

A block that cannot be tested says so on the line before its fence::

    <!-- not tested: needs a trained network -->
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from helpers.command_line import run
from helpers.warm_python import WarmPython

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MARKER = re.compile(r"<!-- not tested: \S.* -->")
# A warning in an example's own code is an error; what libraries warn of while imported is not its doing.
WARNINGS = ("error:::__main__",)
_FENCE = re.compile(r"(?P<indent> *)(?P<ticks>`{3,}|~{3,}) *(?P<info>[^`]*)")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: its language, the line its code starts on, and the code."""

    language: str
    line: int
    code: str
    tested: bool


def fenced_blocks(text: str) -> list[Block]:
    """Every fenced block of a Markdown text, in order. An unclosed fence is an error, not the rest of the page."""
    lines = text.splitlines()
    blocks = []
    index = 0
    while index < len(lines):
        opening = _FENCE.fullmatch(lines[index])
        index += 1
        if opening is None:
            continue
        start = index
        closing = re.compile(rf" *{opening['ticks'][0]}{{{len(opening['ticks'])},}} *")
        while index < len(lines) and not closing.fullmatch(lines[index]):
            index += 1
        if index == len(lines):
            raise ValueError(f"line {start}: the fence is not closed")
        code = "\n".join(line.removeprefix(opening["indent"]) for line in lines[start:index])
        before = lines[start - 2].strip() if start >= 2 else ""
        language = (opening["info"].split() or [""])[0].lower()
        blocks.append(Block(language, start + 1, code, MARKER.fullmatch(before) is None))
        index += 1
    return blocks


def program_of(blocks: list[Block]) -> str:
    """The blocks as one program in which every line keeps its number in the page."""
    lines: list[str] = []
    for block in blocks:
        lines += [""] * (block.line - 1 - len(lines)) + block.code.split("\n")
    return "\n".join(lines) + "\n"


def outputs_of(text: str) -> Iterator[tuple[Block, Block | None]]:
    """Python blocks of a page, each with the ``text`` block that follows it after nothing but an empty line."""
    blocks = fenced_blocks(text)
    for block, after in zip(blocks, [*blocks[1:], None], strict=False):
        if block.language == "python" and block.tested:
            gap = 0 if after is None else after.line - (block.line + block.code.count("\n") + 1)
            yield block, after if after is not None and after.language == "text" and gap == 3 else None


def shows_output(text: str) -> bool:
    """Whether a page shows what its Python prints: then ``test_examples`` runs it and compares."""
    return any(after is not None for _, after in outputs_of(text))


def pages_with(*languages: str) -> list[Any]:
    """Test parameters: every page that has blocks to test in these languages, with the blocks."""
    cases = []
    for page in PAGES:
        blocks = fenced_blocks(page.read_text(encoding="utf-8"))
        tested = [block for block in blocks if block.language in languages and block.tested]
        if tested:
            cases.append(pytest.param(page, tested, id=page.name))
    return cases


def commands_of(block: Block) -> list[list[str]]:
    """The commands of a shell block as words: continuation lines joined, comments and prompts dropped."""
    text = re.sub(r"\\\n\s*", " ", block.code)
    commands = []
    for line in text.splitlines():
        if block.language == "console" and not line.startswith("$ "):
            continue
        command = re.sub(r"(^|\s)#.*", "", line.removeprefix("$ ")).split()
        while command and re.fullmatch(r"[A-Z_]+=.*", command[0]):
            command = command[1:]
        if command:
            commands.append(command)
    return commands


def test_the_pages_are_found() -> None:
    assert (ROOT / "README.md").is_file()
    assert ROOT / "docs" / "index.md" in PAGES


SILENT = [case for case in pages_with("python") if not shows_output(case.values[0].read_text(encoding="utf-8"))]


@pytest.mark.parametrize(("page", "blocks"), SILENT)
def test_python_blocks_run(page: Path, blocks: list[Block], tmp_path: Path, python: WarmPython) -> None:
    script = tmp_path / f"{page.stem}.py"
    script.write_text(program_of(blocks), encoding="utf-8")
    work = tmp_path / "work"
    work.mkdir()
    result = python.run(script, folder=work, warn=WARNINGS)
    assert result.returncode == 0, f"{page.name}, lines as in the page:\n{result.stdout}\n{result.stderr}"


@pytest.mark.parametrize(
    ("program", "code", "words"),
    [
        ("print(__name__)", 0, ""),
        ("import warnings\nwarnings.warn('old')", 1, "UserWarning: old"),
        ("torch.zeros(1)", 1, "NameError"),
        ("raise SystemExit(3)", 3, ""),
    ],
)
def test_a_program_that_warns_or_fails_is_noticed(
    program: str, code: int, words: str, tmp_path: Path, python: WarmPython
) -> None:
    script = tmp_path / "page.py"
    script.write_text(program, encoding="utf-8")
    result = python.run(script, folder=tmp_path, warn=WARNINGS)
    assert result.returncode == code
    assert words in result.stderr
    assert result.stdout == ("" if code else "__main__\n")


@pytest.mark.parametrize(("page", "blocks"), pages_with("toml"))
def test_toml_blocks_parse(page: Path, blocks: list[Block]) -> None:
    for block in blocks:
        try:
            tomllib.loads(block.code)
        except tomllib.TOMLDecodeError as error:
            pytest.fail(f"{page.name}, block at line {block.line}: {error}")


@pytest.mark.parametrize(("page", "blocks"), pages_with("sh", "bash", "shell", "console"))
def test_shell_blocks_name_what_exists(page: Path, blocks: list[Block]) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    wrong = []
    for block in blocks:
        for command in commands_of(block):
            if command[0] == "make":
                words = [word for word in command[1:] if "=" not in word and not word.startswith("-")]
                wrong += [f"make {word}" for word in words if word not in targets and "-C" not in command]
            elif command[0] == "bitprop" or command[1:3] == ["-m", "bitprop"]:
                arguments = command[1:] if command[0] == "bitprop" else command[3:]
                wrong += unknown_options(arguments)
    assert not wrong, f"{page.name} shows what does not exist: {wrong}"


def unknown_options(arguments: list[str]) -> list[str]:
    """Subcommand and options that the command's own help does not know."""
    names = arguments[:1] if arguments and not arguments[0].startswith("-") else []
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in (("COLUMNS", "200"), ("NO_COLOR", "1"), ("TERM", "dumb")):
            patch.setenv(variable, value)
        result = run(*names, "--help")
    shown = " ".join(["bitprop", *names])
    if result.exit_code != 0:
        return [shown]
    options = {word.split("=")[0] for word in arguments if word.startswith("--")}
    return [f"{shown} {option}" for option in sorted(options) if not re.search(rf"{option}\b", result.stdout)]


def test_blocks_keep_their_lines_and_the_marker_opts_out() -> None:
    text = (
        "# T\n\n```python\nx = 1\n```\n\n<!-- not tested: no data -->\n```python\n1 / 0\n```\n\n```python\ny = x\n```\n"
    )
    first, second, third = fenced_blocks(text)
    assert [first.line, second.line, third.line] == [4, 9, 13]
    assert [first.tested, second.tested, third.tested] == [True, False, True]
    assert program_of([first, third]) == "\n" * 3 + "x = 1\n" + "\n" * 8 + "y = x\n"


def test_a_fence_inside_a_longer_fence_is_text() -> None:
    (block,) = fenced_blocks("````md\n```python\nx\n```\n````\n")
    assert (block.language, block.code) == ("md", "```python\nx\n```")


def test_an_unclosed_fence_is_refused() -> None:
    with pytest.raises(ValueError, match="line 1: the fence is not closed"):
        fenced_blocks("```python\nx = 1\n")


def test_shell_commands_are_read() -> None:
    block = Block("sh", 1, "A=1 make test  # all\n$ bitprop demo \\\n    --seed 1\n# only words\n", True)
    assert commands_of(block) == [["make", "test"], ["bitprop", "demo", "--seed", "1"]]
