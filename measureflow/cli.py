"""The command `measureflow`.

Exit status: 0 done and true, 1 a check failed, 2 bad input (one line on standard error).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from measureflow._version import __version__
from measureflow.errors import MeasureflowError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (ValueError, TypeError, OSError, ImportError, MeasureflowError) as error:
        print(f"measureflow: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="measureflow", description="Flows on probability measures, single and dual.")
    parser.add_argument("--version", action="version", version=f"measureflow {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    demo = commands.add_parser(
        "demo",
        help="a generator law and a critic law against real handwritten digits",
        description="Solve the dual flow of 500 particles and 300 neurons against scikit-learn's handwritten digits at three "
        "step sizes; print a table and write pictures and a page. Exit status 1 if a claim of the table does not hold.",
    )
    demo.add_argument("--out", type=Path, default=Path("demo"), metavar="DIR", help="folder for the results (default: demo)")
    demo.set_defaults(run=_demo)
    return parser


def _demo(options: argparse.Namespace) -> int:
    from measureflow import demo

    outcome = demo.run(options.out, progress=sys.stderr.isatty())
    return 0 if all(outcome.goals.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
