"""Let Verilator, Yosys and slang read emitted random networks; no warning of any is allowed.

python tools/lint_rtl.py --networks 200
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bitprop.artifacts import evidence, write_json
from bitprop.errors import BitpropError
from bitprop.verification.rtl_lint import lint_networks, random_networks

__all__ = ["main"]


def main() -> int:
    """Carry the command line out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--networks", type=int, default=200, help="random networks, each in two forms (default: 200)")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--json", type=Path, help="file for the result")
    parser.add_argument("--workers", type=int, default=2, help="how many at once")
    arguments = parser.parse_args()
    try:
        report = lint_networks(random_networks(arguments.networks, arguments.first), workers=arguments.workers)
    except BitpropError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    print(report.to_text())
    if arguments.json is not None:
        write_json(arguments.json, {**evidence(), **report.to_dict()})
    return int(not report.passed)


if __name__ == "__main__":
    raise SystemExit(main())
