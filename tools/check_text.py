"""Check the text files of the repository: trailing whitespace, final newline, line ends, conflict markers.

    python tools/check_text.py               every file that git tracks or would add
    python tools/check_text.py FILE ...      these files
    python tools/check_text.py --fix ...     repair all but conflict markers

Exits with 1 when a file was at fault, repaired or not. Files with a NUL byte are not text and are passed over.
"""

from __future__ import annotations

import argparse
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Licence texts are kept byte for byte.
EXEMPT = frozenset({"LICENSE"})
_CONFLICT = re.compile(rb"^(<{7}|>{7})( |$)", re.MULTILINE)


def repaired(content: bytes) -> bytes:
    r"""The same text with LF line ends, no trailing whitespace and one final newline.

    Example:
        >>> repaired(b"a \r\nb\n\n")
        b'a\nb\n'
    """
    lines = [line.rstrip() for line in re.split(rb"\r\n|\r|\n", content)]
    text = b"\n".join(lines).rstrip(b"\n")
    return text + b"\n" if text else b""


def faults(content: bytes) -> list[str]:
    r"""What is wrong with a text file; empty when nothing is.

    Example:
        >>> faults(b"a \nb")
        ['line 1: trailing whitespace', 'no newline at the end']
        >>> faults(b"a\n")
        []
    """
    if b"\0" in content or not content:
        return []
    found: list[str] = []
    if b"\r" in content:
        found.append("carriage returns")
    found.extend(
        f"line {number}: trailing whitespace"
        for number, line in enumerate(content.split(b"\n"), 1)
        if line.rstrip(b"\r") != line.rstrip()
    )
    if not content.endswith(b"\n"):
        found.append("no newline at the end")
    elif repaired(content) != content and not found:
        found.append("blank lines at the end")
    for match in _CONFLICT.finditer(content):
        number = content.count(b"\n", 0, match.start()) + 1
        found.append(f"line {number}: conflict marker")
    return found


def repository_files() -> list[Path]:
    """Files that git tracks or would add; none outside a git work tree, where nothing says what is ours."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listing = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    except (OSError, subprocess.CalledProcessError):
        print("check_text: not a git work tree (or no git): nothing checked")
        return []
    return [ROOT / name.decode() for name in sorted(set(listing.split(b"\0"))) if name]


def main() -> int:
    """Carry the command line out."""
    parser = argparse.ArgumentParser(description="Check text files; see the top of this file.")
    parser.add_argument("--fix", action="store_true", help="repair what can be repaired")
    parser.add_argument("files", nargs="*", type=Path)
    arguments = parser.parse_args()
    status = 0
    for path in arguments.files or repository_files():
        if path.name in EXEMPT or path.is_symlink() or not path.is_file():
            continue
        content = path.read_bytes()
        found = faults(content)
        for fault in found:
            status = 1
            print(f"{path}: {fault}")
        if found and arguments.fix:
            path.write_bytes(repaired(content))
    return status


if __name__ == "__main__":
    raise SystemExit(main())
