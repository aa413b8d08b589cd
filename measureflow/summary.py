"""What `measureflow show` prints: a run on one screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from measureflow.files import read_text
from measureflow.recipes import in_words
from measureflow.rundir import RunFolder
from measureflow.solution import Solution, load
from measureflow.stored import StoredRows


def summary(path: Path) -> str:
    """Return status, times, energies, certificates and size of a run directory, or of a file of `Solution.save`, in words.

    Raises
    ------
    ValueError, OSError
        As `measureflow.load`.
    """
    sol = load(path)
    lines = [f"{path}: {sol.status}", f"  {sol.message}"]
    parts = [*_problem(path), *_flow(sol), *_size(path, sol)]
    return "\n".join([*lines, *(f"  {name:<11}{text}" for name, text in parts)])


def _problem(path: Path) -> list[tuple[str, str]]:
    """Return what is solved; a saved file does not say."""
    if not path.is_dir():
        return []
    about = read_text(RunFolder(path).run)  # checked by `load`
    seed = "" if about["batch"] is None else f", batch {about['batch']} with seed {about['seed']}"
    tau = in_words(about["tau"])
    if about["tau"] == "auto":
        tau = f"auto with rtol {in_words(about['rtol'])}, atol {in_words(about['atol'])}"
    written = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    return [("problem", in_words(about["problem"])), ("step", f"tau {tau}{seed}"), ("written by", written)]


def _flow(sol: Solution) -> list[tuple[str, str]]:
    outcome = sol.outcome
    parts = [
        ("states", " and ".join(repr(x) for x in sol.row(-1)) if len(sol) else "none"),
        ("scheme", outcome.scheme),
        ("steps", f"{outcome.steps} taken, {outcome.rejected} rejected; {outcome.cpu_seconds:.3g} s CPU in the last call"),
    ]
    if not len(sol):
        return parts
    parts.append(("t", f"{sol.t[0]:.6g} to {sol.t[-1]:.6g} in {len(sol)} rows; the flow stands at {outcome.t:.6g}"))
    for name, table in (("energy", sol.energies), ("speed", sol.speeds), ("slope", sol.slopes)):
        pairs = zip(np.atleast_1d(table[0]), np.atleast_1d(table[-1]), strict=True)
        parts.append((name, ", ".join(f"{first + 0.0:.6g} -> {last + 0.0:.6g}" for first, last in pairs)))
    worst, iterations = np.max(sol.info["residual"]), int(np.sum(sol.info["iterations"]))
    parts.append(("residual", f"{worst:.3g} at most over all inner problems, {iterations} inner iterations"))
    events = ", ".join(f"{k} at t = {t:.6g}" for k, t in outcome.events[:5])
    more = f" and {len(outcome.events) - 5} more" if len(outcome.events) > 5 else ""
    return [*parts, ("events", events + more)] if events else parts


def _size(path: Path, sol: Solution) -> list[tuple[str, str]]:
    rows: Any = sol.rows
    size = RunFolder(path).size() if path.is_dir() else path.stat().st_size
    where = f" in {rows.segments} segments" if isinstance(rows, StoredRows) else ""
    return [("size", f"{size / 2**20:.3g} MiB{where}")]
