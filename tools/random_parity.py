"""Random networks from document to parity: emitted, simulated, stalled, every integer compared.

python tools/random_parity.py --networks 500 --log build/random_parity.jsonl
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bitprop.artifacts import evidence, write_json
from bitprop.errors import BitpropError
from bitprop.toolchain import SIMULATORS
from bitprop.verification.random_parity import composition, run_random_parity

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Carry the command line out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--networks", type=int, default=500, help="how many (default: 500)")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once (default: 2)")
    parser.add_argument("--lint", action="store_true", help="let Verilator, Yosys and slang read each of them too")
    parser.add_argument("--json", type=Path, help="file for the result and what the networks were made of")
    parser.add_argument("--log", type=Path, help="file of what is done; the same command goes on after an interruption")
    chosen = parser.parse_args(arguments)
    numbers = range(chosen.first, chosen.first + chosen.networks)
    try:
        result = run_random_parity(
            numbers, jobs=chosen.jobs, lint=chosen.lint, log=chosen.log, say=lambda text: print(text, file=sys.stderr)
        )
    except BitpropError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    print(result.to_text())
    if chosen.json is not None:
        tools = [SIMULATORS[name].version() for name in ("icarus", "verilator")]
        summary = {
            "passed": result.passed,
            "integers": result.integers,
            "failures": {str(number): text for number, text in result.failures.items()},
            "tools": tools,
        }
        write_json(chosen.json, {**evidence(), **composition(numbers), **summary})
    return int(not result.passed)


if __name__ == "__main__":
    raise SystemExit(main())
