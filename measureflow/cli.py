"""The command `measureflow`.

Exit status: 0 done and true, 1 a check failed, 2 bad input (one line on standard error), 130 interrupted by Ctrl-C.
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
        return int(options.run_command(options))
    except (ValueError, TypeError, OSError, ImportError, MeasureflowError) as error:
        print(f"measureflow: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print(f"measureflow: {error or 'interrupted'}", file=sys.stderr)
        return 130


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
    demo.set_defaults(run_command=_demo)
    show = commands.add_parser(
        "show",
        help="what is in a run directory, on one screen",
        description="Print status, times, energies, certificates and size of a run directory or a saved solution.",
    )
    show.add_argument("run", type=Path, metavar="RUN", help="folder that solve(..., store=RUN) wrote, or file of Solution.save")
    show.set_defaults(run_command=_show)
    resume = commands.add_parser(
        "resume",
        help="go on with a run from its last checkpoint",
        description="Go on with a run whose problem its files describe; one that holds functions of the user's goes on by "
        "calling solve again with the same store.",
    )
    resume.add_argument("run", type=Path, metavar="RUN", help="folder that solve(..., store=RUN) wrote")
    resume.set_defaults(run_command=_resume)
    export = commands.add_parser("export", help="write a run as a netCDF file (needs the extra xarray)")
    export.add_argument("run", type=Path, metavar="RUN", help="folder that solve(..., store=RUN) wrote, or file of Solution.save")
    export.add_argument("out", type=Path, metavar="OUT.nc", help="file to write")
    export.set_defaults(run_command=_export)
    return parser


def _demo(options: argparse.Namespace) -> int:
    from measureflow import demo

    outcome = demo.run(options.out, progress=sys.stderr.isatty())
    return 0 if all(outcome.goals.values()) else 1


def _show(options: argparse.Namespace) -> int:
    from measureflow.summary import summary

    print(summary(options.run))
    return 0


def _resume(options: argparse.Namespace) -> int:
    from measureflow.solve import resume

    print(resume(options.run, progress=sys.stderr.isatty()))
    return 0


def _export(options: argparse.Namespace) -> int:
    from measureflow.labelled import write_netcdf
    from measureflow.solution import load

    print(write_netcdf(load(options.run), options.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
