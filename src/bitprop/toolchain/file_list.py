"""The file list of an emitted network, ``files.f``: names of files beside it, in reading order."""

from __future__ import annotations

import re
from pathlib import Path

from bitprop._checks import shortened
from bitprop.errors import BitpropError

__all__ = ["FILE_LIST", "listed_files"]

FILE_LIST = "files.f"
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.]{0,199}")


def listed_files(folder: Path, failure: type[BitpropError]) -> list[str]:
    """The names in ``files.f``; whoever wrote it, a program that gets them reads nothing outside the folder.

    Raises:
        BitpropError: no such list, a name that is a path, an option or no name, or a file that is missing; of the
            class ``failure``.
    """
    try:
        listed = (folder / FILE_LIST).read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise failure(f"expected a file list {FILE_LIST} beside the design, got none ({error}); emit again") from error
    odd = [entry for entry in listed if _PLAIN.fullmatch(entry) is None]
    if odd:
        raise failure(f"expected plain file names in {FILE_LIST}, got {shortened(odd[0])}; emit the network again")
    missing = [entry for entry in listed if not (folder / entry).is_file()]
    if missing:
        raise failure(
            f"expected every file of {FILE_LIST} beside it, missing {shortened(missing)}; emit the network again"
        )
    return listed
