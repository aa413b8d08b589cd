"""What the time loop keeps: one row at each saved time."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from measureflow.errors import MeasureflowError
from measureflow.schemes import Players, Scheme, StepInfo
from measureflow.solution import Solution
from measureflow.states import State

States = tuple[State, ...]
FAILURES = (MeasureflowError, ValueError, ArithmeticError, np.linalg.LinAlgError)
"""What may go wrong in a step, as opposed to an error in the user's code, which passes unchanged."""


@final
class Recorder:
    """Collects rows during `solve` and makes the `Solution` of them.

    Between rows it accumulates what the steps did, so that thinned rows lose no residual, iteration or distance.
    """

    def __init__(self, players: Players, scheme: Scheme, single: bool, keep: int | np.ndarray) -> None:
        self.players = players
        self.scheme = scheme
        self.single = single
        self.stride = keep if isinstance(keep, int) else None
        self.wanted = [] if isinstance(keep, int) else list(keep)
        self.times: list[float] = []
        self.states: list[States] = []
        self.rows: dict[str, list[np.ndarray]] = {
            name: [] for name in ("energies", "speeds", "distance", "residual", "iterations")
        }
        self.events: list[tuple[int, float]] = []
        self.status = "done"
        self.steps = 0
        self.last: tuple[float, States, np.ndarray] | None = None
        self._reset()

    def _reset(self) -> None:
        count = len(self.players)
        self.distance, self.residual, self.iterations = np.zeros(count), np.zeros(count), np.zeros(count)

    def shown(self, states: States) -> Any:
        """Return the states as the user sees them: a tuple for games, the state alone for a single flow."""
        return states[0] if self.single else states

    def between(self, t0: float, t1: float, old: States, new: States, t: float) -> States:
        """Return the states at t on the geodesics of the step from t0 to t1."""
        if t >= t1:
            return new
        if t <= t0:
            return old
        return between(self.players, old, new, (t - t0) / (t1 - t0))

    def start(self, t0: float, states: States) -> None:
        """Keep the initial row."""
        if self.stride is not None or (self.wanted and self.wanted[0] == t0):
            self._row(t0, states, np.zeros(len(self.players)))
            if self.wanted:
                self.wanted.pop(0)

    def step(self, k: int, t0: float, t1: float, old: States, new: States, infos: tuple[StepInfo, ...]) -> None:
        """Account for one step, and keep the rows that fall into it."""
        speeds = self._account(t0, t1, infos)
        self.last = (t1, new, speeds)
        if self.stride is not None:
            if (k + 1) % self.stride == 0:
                self._row(t1, new, speeds)
            return
        while self.wanted and self.wanted[0] <= t1:
            t = self.wanted.pop(0)
            self._row(t, self.between(t0, t1, old, new, t), speeds)

    def stop(self, t0: float, t1: float, old: States, new: States, infos: tuple[StepInfo, ...], t: float) -> None:
        """End the flow at an event at time t within a step."""
        speeds = self._account(t0, t1, infos)
        while self.wanted and self.wanted[0] < t:
            due = self.wanted.pop(0)
            self._row(due, self.between(t0, t1, old, new, due), speeds)
        self.last = (t, self.between(t0, t1, old, new, t), speeds)
        self.status = "event"

    def event(self, index: int, t: float) -> None:
        """Note a zero of an event."""
        self.events.append((index, t))

    def finish(self, seconds: float, failed: bool = False) -> Solution:
        """Return the solution made of the rows so far; if the flow `failed`, without a last row that cannot be evaluated."""
        due = self.stride is not None or self.status == "event"
        if due and self.last is not None and (not self.times or self.times[-1] < self.last[0]):
            try:
                self._row(*self.last)
            except FAILURES:
                if not failed:
                    raise
        rows = {name: np.array(values).reshape(len(self.times), len(self.players)) for name, values in self.rows.items()}
        if len(self.times) > 1 and not rows["speeds"][0].any():
            rows["speeds"][0] = rows["speeds"][1]
        if self.single:
            rows = {name: values[:, 0] for name, values in rows.items()}
        info: dict[str, Any] = {name: rows.pop(name) for name in ("distance", "residual", "iterations")}
        info["iterations"] = info["iterations"].astype(np.int64)
        info.update(events=list(self.events), status=self.status, steps=self.steps, cpu_seconds=seconds, scheme=repr(self.scheme))
        states = [self.shown(row) for row in self.states]
        return Solution(
            np.array(self.times), states, rows["energies"], rows["speeds"], info, self.players, self.scheme, self.single
        )

    def _account(self, t0: float, t1: float, infos: tuple[StepInfo, ...]) -> np.ndarray:
        self.steps += 1
        distance = np.array([info.distance for info in infos])
        self.distance += distance
        self.residual = np.maximum(self.residual, [info.residual for info in infos])
        self.iterations += [info.iterations for info in infos]
        return np.asarray(distance / (t1 - t0))

    def _row(self, t: float, states: States, speeds: np.ndarray) -> None:
        energies = self.players.energies(states)
        self.times.append(float(t))
        self.states.append(states)
        for name, values in (
            ("energies", energies),
            ("speeds", speeds),
            ("distance", self.distance),
            ("residual", self.residual),
            ("iterations", self.iterations),
        ):
            self.rows[name].append(np.array(values))
        self._reset()


def between(players: Players, old: States, new: States, s: float) -> States:
    """Return every player's state at parameter s of its geodesic from `old` to `new`, labels kept."""
    return tuple(m.between(a, b, s) for m, a, b in zip(players.metrics, old, new, strict=True))
