"""The table of the benchmark: methods over seeds, beside the published rows; and the jobs that fill it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import final

import numpy as np

from measureflow import _validate as check
from measureflow._threads import one_blas_thread
from measureflow.modes.catalogue import TARGETS
from measureflow.modes.methods import METHODS, PLANE
from measureflow.modes.published import Published, published
from measureflow.pools import in_processes, with_bar
from measureflow.report import columns

Task = tuple[str, str, int]
HEADER = (
    "method",
    "modes",
    "visited",
    "fair modes",
    "high quality %",
    "reverse KL",
    "covered at CPU s",
    "stable",
    "CPU s",
    "fields",
    "runs",
    "source",
)
HERE = "here"
NOTE = (
    "modes: nearest to a high-quality sample; visited: to any sample; fair: hold 20 % of their share. Mean +- standard error "
    "over seeds. CPU s: processor seconds of one run after compilation, and until all modes were fair at 95 % of high quality; "
    "stable: runs that stayed so to four times that time; fields: evaluations of the velocity field (the Gauss-Newton passes "
    "by which a network follows are in its CPU s alone). Rows with a source are published ones of a different architecture, "
    "networks trained on minibatches. Particles here end at given training samples, so compare what happens to the modes, not "
    "generators; networks here are measured at fresh latent points."
)


@final
@dataclass(frozen=True)
class Outcome:
    """The numbers of one run, as they come back from another process.

    Attributes
    ----------
    target, method, seed
        What was run.
    modes, high_quality, reverse_kl, fair_modes, visited : float
        Of `Coverage` at the end.
    covers, stable : bool
        Of `Run`.
    cpu_seconds : float
    cpu_to_first : float or None
    evaluations : int
    status : str
        Why the flow ended.
    """

    target: str
    method: str
    seed: int
    modes: int
    high_quality: float
    reverse_kl: float
    fair_modes: int
    visited: int
    covers: bool
    stable: bool
    cpu_seconds: float
    cpu_to_first: float | None
    evaluations: int
    status: str


def measure(target: str, method: str, seed: int) -> Outcome:
    """Run a method on a target, both by name.

    Examples
    --------
    >>> measure("ring", "sliced", 0).modes
    8
    """
    chosen = METHODS[check.choice("method", method, tuple(METHODS))]
    law = TARGETS[check.choice("target", target, tuple(TARGETS))]()
    with one_blas_thread():
        run = chosen(law, seed)
    end = run.final
    return Outcome(
        target,
        method,
        seed,
        end.modes,
        end.high_quality,
        end.reverse_kl,
        end.fair_modes,
        end.visited,
        run.covers,
        run.stable,
        run.cpu_seconds,
        run.cpu_to_first,
        run.evaluations,
        str(run.solution.status),
    )


def measure_all(
    targets: Sequence[str] = ("ring", "grid"), methods: Sequence[str] = ("neurons",), seeds: int = 5, jobs: int | None = None
) -> Iterator[Outcome]:
    """Yield the outcomes of all methods on all targets with seeds 0, 1, ..., as they come, several at a time.

    Parameters
    ----------
    targets, methods : sequence of str
        Names in `TARGETS` and `METHODS`; an empty one stands for all.
    seeds : int
    jobs : int, optional
        Processes of one thread; default: the number of cores.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, before any work starts.

    Examples
    --------
    >>> [outcome.modes for outcome in measure_all(["ring"], ["transport"], seeds=1, jobs=1)]
    [8]
    """
    tasks = tasks_of(targets, methods, seeds)
    return in_processes(measure, tasks, jobs, partial(_prepare, sorted({name for _, name, _ in tasks})))


def tasks_of(targets: Sequence[str], methods: Sequence[str], seeds: int) -> list[Task]:
    """Return (target, method, seed) of every run."""
    where = [check.choice("problem", name, tuple(TARGETS)) for name in dict.fromkeys(targets)] or list(TARGETS)
    how = [check.choice("method", name, tuple(METHODS)) for name in dict.fromkeys(methods)] or list(METHODS)
    return [(t, m, s) for t in where for m in how for s in range(check.integer("seeds", seeds, least=1))]


def _prepare(names: Iterable[str]) -> None:
    for name in names:
        METHODS[name].prepare()


def collected(found: Iterable[Outcome], count: int, *, progress: bool = False) -> list[Outcome]:
    """Return outcomes in the order of targets, methods and seeds, once all have come; with a progress bar if wanted."""
    where, how = list(TARGETS), list(METHODS)
    shown = with_bar(found, count, "run", progress=progress)
    return sorted(shown, key=lambda o: (where.index(o.target), how.index(o.method), o.seed))


def mean_and_error(values: Sequence[float], digits: int = 1) -> str:
    """Return "mean +- standard error" over seeds, or the value of a single one.

    Examples
    --------
    >>> mean_and_error([7.0, 8.0, 9.0]), mean_and_error([8.0, 8.0]), mean_and_error([0.25], 2)
    ('8.0 +- 0.6', '8', '0.25')
    """
    x = np.asarray(values, np.float64)
    if np.ptp(x) == 0.0:
        return f"{x[0]:.{digits}f}" if x[0] != round(float(x[0])) else f"{x[0]:.0f}"
    return f"{x.mean():.{digits}f} +- {x.std(ddof=1) / np.sqrt(len(x)):.{digits}f}"


def rows(outcomes: Sequence[Outcome], target: str) -> list[tuple[str, ...]]:
    """Return the rows of a table for one target: what was measured, then what was published."""
    here = [o for o in outcomes if o.target == target]
    measured = [_measured([o for o in here if o.method == name]) for name in dict.fromkeys(o.method for o in here)]
    return measured + [_printed(row) for row in published(target)]


def _measured(group: list[Outcome]) -> tuple[str, ...]:
    times = [o.cpu_to_first for o in group if o.cpu_to_first is not None]
    ever = (
        mean_and_error(times, 2) + ("" if len(times) == len(group) else f" ({len(times)} of {len(group)})") if times else "never"
    )
    return (
        group[0].method,
        mean_and_error([o.modes for o in group]),
        mean_and_error([o.visited for o in group]),
        mean_and_error([o.fair_modes for o in group]),
        mean_and_error([100.0 * o.high_quality for o in group]),
        mean_and_error([o.reverse_kl for o in group], 3),
        ever,
        f"{sum(o.stable for o in group)} of {len(group)}",
        mean_and_error([o.cpu_seconds for o in group], 2),
        mean_and_error([o.evaluations for o in group], 0),
        str(len(group)),
        HERE,
    )


def _printed(row: Published) -> tuple[str, ...]:
    modes, good, kl = ("" if value is None else f"{value:g}" for value in (row.modes, row.high_quality, row.reverse_kl))
    counted = ("", modes) if row.high_quality is None else (modes, "")
    return (row.method, *counted, "", good, kl, "", "", "", "", str(row.runs), row.source)


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the tables of all targets as lines of text, with the note that says what stands in them."""
    from textwrap import fill

    parts = []
    for name in dict.fromkeys(o.target for o in outcomes):
        law = TARGETS[name]()
        best = f"{len(law)} modes in {law.dim} dimensions, a perfect sampler has {100.0 * _perfect(law):.1f} % of high quality"
        parts.append(f"{name}: {best}\n{columns(HEADER, rows(outcomes, name))}\n")
    return "\n".join([*parts, fill(NOTE, 120)])


def contents() -> str:
    """Return the names of targets and methods as lines of text, and what methods covered."""
    rows = [(entry.name, entry.title, _covered(entry.covers)) for entry in METHODS.values()]
    methods = columns(("method", "what it is", "covered at 95 % of high quality, 3 runs of 3"), rows)
    return f"targets: {', '.join(TARGETS)}\n\n{methods}"


def _covered(names: Sequence[str]) -> str:
    return "all in the plane" if set(names) == set(PLANE) else ", ".join(names) or "none"


def _perfect(law: object) -> float:
    return float(getattr(law, "perfect", 1.0))
