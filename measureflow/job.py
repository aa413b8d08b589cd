"""What is to be solved, checked, and the same as data for a run directory."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow._version import __version__
from measureflow.errors import UnsupportedError
from measureflow.events import Event
from measureflow.recipes import METRICS, decode, encode, has_python, require_plain
from measureflow.rows import Layout
from measureflow.schemes import Players, Scheme, States
from measureflow.stepping import AdaptiveSteps, FixedSteps


@final
@dataclass(frozen=True, eq=False)
class Job:
    """The arguments of `solve`, checked."""

    players: Players
    scheme: Scheme
    single: bool
    initial: States
    steps: FixedSteps | AdaptiveSteps
    keep: int | np.ndarray
    events: tuple[Event, ...]
    batches: Callable[[int], Any] | None

    def shown(self, states: States) -> Any:
        """Return the states as the user sees them: a tuple for games, the state alone for a single flow."""
        return states[0] if self.single else states


def describe(
    job: Job, problem: Any, start: dict[str, Any], numbers: dict[str, Any], arrays: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Return a job as plain data and, in `arrays`, its arrays; `start` holds the numbers by which a problem is recognised."""
    steps, players = job.steps, job.players
    tau, rtol, atol = ("auto", steps.rtol, steps.atol) if isinstance(steps, AdaptiveSteps) else (steps.tau, None, None)
    parts = {
        "problem": problem,
        "initial": job.initial,
        "t_span": (steps.t0, steps.t1),
        "rtol": rtol,
        "atol": atol,
        "tau": tau,
        "scheme": job.scheme,
        "metrics": players.metrics,
        "speeds": players.speeds,
        "batch": numbers["batch"],
        "seed": numbers["seed"],
        "save_at": job.keep,
        "events": [[event.terminal, event.direction] for event in job.events],
    }
    recipes = {name: encode(value, arrays) for name, value in parts.items()}
    return {
        **recipes,
        "single": job.single,
        "layout": Layout.of(job.initial).data(),
        "start": {name: encode(list(values), {}) for name, values in start.items()},
        "scheme_text": repr(job.scheme),
        "versions": _versions(),
        "platform": f"{platform.system()} {platform.machine()}",
    }


@cache
def _versions() -> dict[str, str]:
    libraries = {name: version(name) for name in ("numpy", "scipy", "numba", "POT")}
    return {"measureflow": __version__, "python": platform.python_version(), **libraries}


def arguments(about: Mapping[str, Any], arrays: Mapping[str, np.ndarray], problem: Any, events: Any) -> dict[str, Any]:
    """Return the arguments of `solve` from what a run directory says; `problem` and `events` stand for what files do not keep.

    Raises
    ------
    ValueError
        If the run needs a problem or events that are not given.
    UnsupportedError
        If something else in it is the user's own.
    """
    if problem is None and has_python(about["problem"]):
        raise ValueError("problem must be given to resume this run: it holds functions of the user's, which files do not keep")
    if len(about["events"]) and not events:
        raise ValueError(f"events must be given to resume this run, which watches {len(about['events'])}")
    names = ("initial", "t_span", "tau", "rtol", "atol", "scheme", "metrics", "speeds", "batch", "seed", "save_at")
    for name in names:
        if has_python(about[name]):
            raise UnsupportedError(f"{name} of this run is the user's own, which files do not keep: call solve with store again")
    found = {name: decode(about[name], arrays) for name in names}
    found["metric"] = found.pop("metrics")
    for name in ("rtol", "atol"):
        if found[name] is None:
            found.pop(name)
    if about["single"]:
        found["initial"], found["metric"], found["speeds"] = found["initial"][0], found["metric"][0], found["speeds"][0]
    found["problem"] = decode(about["problem"], arrays) if problem is None else problem
    return {**found, "events": events}


def metrics_and_speeds(about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> tuple[tuple[Any, ...], tuple[float, ...]]:
    """Return metric and speed of every player; a metric of the user's own is None."""
    require_plain(about["metrics"], METRICS)
    own = [None if has_python(recipe) else decode(recipe, arrays) for recipe in about["metrics"]]
    speeds = check.entries("speeds", decode(about["speeds"], arrays), len(own), "one number a player")
    return tuple(own), tuple(check.scalar("speeds", eta, above=0.0) for eta in speeds)
