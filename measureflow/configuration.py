"""Runs that a TOML file describes: a flow of a problem by its label, or a counter-example."""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from measureflow import _validate as check
from measureflow import problems
from measureflow.theorems import asked, runner
from measureflow.theorems.check import Ruling
from measureflow.theorems.counterexample import read
from measureflow.theorems.verdict import table

KINDS = ("flow", "theorem", "claim")
SOLVE = {"tau", "t", "scheme", "store", "save_at", "rtol", "atol", "batch", "seed"}


def run(path: str | Path, functions: str | Path | None = None, *, progress: bool = False) -> tuple[bool, str]:
    r"""Run what a TOML file describes.

    Parameters
    ----------
    path : str or Path
        A file with the tables ``[problem]``, with a `label` of `measureflow.problems` and parameters of that problem, and
        ``[solve]``, with `tau`, and if wanted `t` (last time), `scheme` (a name), `store` (a folder), `save_at`, `rtol`, `atol`,
        `batch`, `seed`; or a counter-example that a verdict has written.
    functions : str or Path, optional
        A Python file with the functions that a counter-example names and files do not keep. It is run.
    progress : bool
        Show a progress bar of a flow.

    Returns
    -------
    bool, str
        Whether it is true: a flow came to its end, or the claim of a counter-example is not violated; and what came out.

    Raises
    ------
    TypeError, ValueError
        If the file is not as described.
    MeasureflowError
        If a flow cannot be computed, or a counter-example needs functions that are not given.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "run.toml")
    ...     _ = file.write_text('[problem]\nlabel = "S1"\nalpha = 2.0\n[solve]\ntau = 0.1\n')
    ...     done, text = run(file)
    >>> done, text.splitlines()[0]
    (True, 'S1: Ornstein-Uhlenbeck on the line, alpha = 2')
    """
    content = read(path)
    kind = check.choice("kind", content.pop("kind", "flow"), KINDS)
    if kind == "flow":
        return _flow(content, progress)
    known = {} if functions is None else runpy.run_path(str(check.path("functions", functions, ".py")))
    checks = runner.repeat(content) if kind == "theorem" else asked.repeat(content, known)
    violated = any(entry.ruling is Ruling.violated for entry in checks)
    told = "the claim is violated" if violated else "the claim is not violated here"
    return not violated, f"{table(checks)}\n{told}"


def _flow(content: Mapping[str, Any], progress: bool) -> tuple[bool, str]:
    """Solve a problem by its label, and compare it with the exact flow if one is known."""
    for name in content:
        check.choice("a table of the file", name, ("problem", "solve"))
    parameters = dict(check.instance("problem", content.get("problem"), dict, "a table with a label of measureflow.problems"))
    options = dict(check.instance("solve", content.get("solve"), dict, "a table with tau"))
    for name in options:
        check.choice("an entry of solve", name, tuple(sorted(SOLVE)))
    problem = problems.get(parameters.pop("label", None), **parameters)
    if "tau" not in options:
        raise ValueError("solve must have an entry tau, the step")
    sol = problem.solve(options.pop("tau"), options.pop("scheme", "jko"), progress=progress, throw=False, **options)
    lines = [f"{problem.label}: {problem.title}", str(sol)]
    if problem.exact is not None and len(sol):
        lines.append(f"  error    {problem.error(sol):.6g} from the exact flow at t = {sol.t[-1]:g}")
    for name, values in _drifts(problem, sol).items():
        lines.append(f"  {name}   drifts by {values:.3g}")
    return sol.success, "\n".join(lines)


def _drifts(problem: problems.Problem, sol: Any) -> dict[str, float]:
    """Return by how much each invariant of a problem changed."""
    return {name: float(np.ptp([value(state) for state in sol.states])) for name, value in problem.invariants.items()}
