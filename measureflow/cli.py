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
    run = commands.add_parser(
        "run",
        help="run what a TOML file describes: a flow, or a counter-example",
        description="Solve a problem of measureflow.problems as a TOML file says (tables [problem] and [solve]), or compute a "
        "counter-example again. Exit status 1 if the flow stops early, or the claim is violated.",
    )
    run.add_argument("config", type=Path, metavar="CONFIG.toml", help="the file")
    run.add_argument(
        "--functions", type=Path, metavar="FILE.py", help="Python file with functions that a counter-example names; it is run"
    )
    run.set_defaults(run_command=_run)
    verify = commands.add_parser(
        "verify",
        help="theorems, each with an experiment that could refute it",
        description="Run the experiments of theorems and their negative controls; print what was measured against what the "
        "theorem predicts. Exit status 1 unless all hold. Counter-examples are written as files for `measureflow run`.",
    )
    verify.add_argument("names", nargs="*", metavar="NAME", help="names or labels, as one-step or T1 (default: all)")
    verify.add_argument("--list", action="store_true", help="only list the theorems")
    verify.add_argument("--full", action="store_true", help="more cases and finer steps: up to half an hour for all")
    verify.add_argument("--jobs", type=int, metavar="N", help="processes (default: the number of cores)")
    verify.add_argument("--html", type=Path, metavar="OUT", help="write a page with every statement, figure and number")
    verify.add_argument("--figures", type=Path, metavar="DIR", help="write the figure of each theorem to DIR/NAME.png")
    verify.add_argument(
        "--counterexamples",
        type=Path,
        default=Path("counterexamples"),
        metavar="DIR",
        help="folder for counter-examples, made only if there are any (default: counterexamples)",
    )
    verify.set_defaults(run_command=_verify)
    modes = commands.add_parser(
        "modes",
        help="mode coverage: flows of particles and of networks, beside the published table",
        description="Run methods on targets made of modes over several seeds; print modes, high quality, reverse KL and cost, "
        "beside the published rows. Exit status 0 whatever was reached.",
    )
    modes.add_argument(
        "--problem", action="append", metavar="NAME", help="target, may be repeated; 'all' (default: ring and grid)"
    )
    modes.add_argument("--method", action="append", metavar="NAME", help="method, may be repeated; 'all' (default: neurons)")
    modes.add_argument("--seeds", type=int, default=5, metavar="N", help="runs of each, with seeds 0 to N - 1 (default: 5)")
    modes.add_argument("--jobs", type=int, metavar="N", help="processes (default: the number of cores)")
    modes.add_argument("--list", action="store_true", help="only list targets and methods")
    modes.set_defaults(run_command=_modes)
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


def _run(options: argparse.Namespace) -> int:
    from measureflow.configuration import run

    done, text = run(options.config, options.functions, progress=sys.stderr.isatty())
    print(text)
    return 0 if done else 1


def _verify(options: argparse.Namespace) -> int:
    from measureflow.theorems import laboratory

    if options.list:
        print(laboratory.contents(options.names))
        return 0
    level = "full" if options.full else "quick"
    found = laboratory.verify_all(options.names, level, options.jobs)
    verdicts = laboratory.collected(found, len(set(options.names)) or None, progress=sys.stderr.isatty())
    print(laboratory.table(verdicts))
    for verdict in verdicts:
        if not verdict.holds:
            print(f"\n{laboratory.trouble(verdict)}")
    for file in laboratory.write_counterexamples(verdicts, options.counterexamples):
        print(f"wrote {file}: run it with `measureflow run {file}`")
    if options.figures is not None:
        laboratory.write_figures(verdicts, options.figures)
    if options.html is not None:
        from measureflow.theorems.page import write_page

        print(f"wrote {write_page(verdicts, options.html)}")
    print(laboratory.summary(verdicts))
    return 0 if all(verdict.holds for verdict in verdicts) else 1


def _modes(options: argparse.Namespace) -> int:
    from measureflow.modes import table

    if options.list:
        print(table.contents())
        return 0
    targets, methods = _chosen(options.problem, ["ring", "grid"]), _chosen(options.method, ["neurons"])
    found = table.measure_all(targets, methods, options.seeds, options.jobs)
    count = len(table.tasks_of(targets, methods, options.seeds))
    print(table.table(table.collected(found, count, progress=sys.stderr.isatty())))
    return 0


def _chosen(names: list[str] | None, default: list[str]) -> list[str]:
    """Return names that were given; none stand for a default, and "all" for the empty list, which is all."""
    return default if names is None else [] if "all" in names else names


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
