"""Train the stochastic-backprop reference task and write its evidence set: three JSON files and a handoff folder.

Progress goes to standard error, the files written to standard output.  Exit code 0: the handoff audit is valid;
1: it is not, or a file cannot be written; 2: wrong arguments.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bitprop.errors import BitpropError, ConfigError, RangeError
from bitprop.handoff.evidence import EvidencePaths, write_evidence
from bitprop.handoff.reference_task import TaskArguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="benchmark report (JSON)")
    parser.add_argument("--export-manifest", type=Path, required=True, metavar="FILE", help="SC-NIR export manifest")
    parser.add_argument(
        "--estimator-regression-manifest", type=Path, required=True, metavar="FILE", help="estimator regression"
    )
    parser.add_argument("--handoff-dir", type=Path, required=True, metavar="FOLDER", help="HDL handoff folder")
    parser.add_argument(
        "--bitstream-length", type=int, default=256, metavar="L", help="longest candidate length, a multiple of 8 (256)"
    )
    parser.add_argument("--steps", type=int, default=32, metavar="N", help="gradient steps (32)")
    parser.add_argument("--learning-rate", type=float, default=0.4, metavar="RATE", help="learning rate (0.4)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        task = TaskArguments(options.bitstream_length, options.steps, options.learning_rate)
        paths = EvidencePaths(
            options.output, options.export_manifest, options.estimator_regression_manifest, options.handoff_dir
        )
        written = write_evidence(task, paths, say=lambda line: print(line, file=sys.stderr, flush=True))
    except (ConfigError, RangeError) as error:
        parser.error(str(error))
    except BitpropError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    for path in written.paths:
        print(path)
    for check in written.checks:
        if check.status != "pass":
            print(f"{check.name}: {check.detail}", file=sys.stderr)
    print(f"handoff audit: {'valid' if written.valid else 'invalid'}", file=sys.stderr)
    return 0 if written.valid else 1


if __name__ == "__main__":
    sys.exit(main())
