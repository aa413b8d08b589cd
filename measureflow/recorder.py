"""What the time loop keeps: one row at each saved time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np

from measureflow.rows import Row
from measureflow.schemes import Players, States, StepInfo
from measureflow.schemes.info import joined
from measureflow.status import one_line


@final
@dataclass(frozen=True, eq=False)
class Tally:
    """What the steps did since the last row, so that thinned rows lose no residual, iteration or distance."""

    steps: int
    rows: int
    last: float
    wanted: int
    speeds: np.ndarray
    distance: np.ndarray
    residual: np.ndarray
    iterations: np.ndarray
    methods: tuple[str, ...]

    @staticmethod
    def zero(players: int) -> Tally:
        """Return the tally before the first step."""
        none = np.zeros(players)
        return Tally(0, 0, -np.inf, 0, none, none, none, np.zeros(players, dtype=np.int64), ("",) * players)

    def plus(self, tau: float, infos: tuple[StepInfo, ...]) -> Tally:
        """Return the tally after one more step."""
        distance = np.array([info.distance for info in infos])
        residual = np.maximum(self.residual, [info.residual for info in infos])
        iterations = self.iterations + np.array([info.iterations for info in infos], dtype=np.int64)
        total = self.distance + distance
        methods = tuple(joined(text, info.method) for text, info in zip(self.methods, infos, strict=True))
        return Tally(self.steps + 1, self.rows, self.last, self.wanted, distance / tau, total, residual, iterations, methods)

    def cleared(self, t: float) -> Tally:
        """Return the tally after a row at t."""
        none, zero = np.zeros(len(self.speeds)), np.zeros(len(self.speeds), dtype=np.int64)
        return Tally(self.steps, self.rows + 1, t, self.wanted, self.speeds, none, none, zero, ("",) * len(self.speeds))


@final
class Recorder:
    """Makes rows: every k-th step (`keep` is an int), or given times (`keep` is an array), interpolated along geodesics."""

    def __init__(self, players: Players, keep: int | np.ndarray) -> None:
        self.players = players
        self.stride = keep if isinstance(keep, int) else None
        self.wanted = np.zeros(0) if isinstance(keep, int) else keep

    def start(self, t: float, states: States) -> tuple[list[Row], Tally]:
        """Return the initial row, if it is wanted."""
        tally = Tally.zero(len(self.players))
        if self.stride is not None:
            return self._rows(tally, [(t, states)])
        if self.wanted[0] != t:
            return [], tally
        return self._rows(replace(tally, wanted=1), [(t, states)])

    def step(
        self, tally: Tally, t0: float, t1: float, old: States, new: States, infos: tuple[StepInfo, ...]
    ) -> tuple[list[Row], Tally]:
        """Return the rows that fall into a step, and the tally after it."""
        tally = tally.plus(t1 - t0, infos)
        if self.stride is not None:
            return self._rows(tally, [(t1, new)]) if tally.steps % self.stride == 0 else ([], tally)
        due = int(np.searchsorted(self.wanted, t1, side="right"))
        if due == tally.wanted:
            return [], tally
        places = [(float(t), self.between(t0, t1, old, new, float(t))) for t in self.wanted[tally.wanted : due]]
        return self._rows(replace(tally, wanted=due), places)

    def stop(
        self, tally: Tally, t0: float, t1: float, old: States, new: States, infos: tuple[StepInfo, ...], t: float
    ) -> tuple[list[Row], Tally, States]:
        """Return the rows of a step that ends at time t within it, one there too, and the states there."""
        tally = tally.plus(t1 - t0, infos)
        due = int(np.searchsorted(self.wanted, t, side="left"))
        places = [(float(s), self.between(t0, t1, old, new, float(s))) for s in self.wanted[tally.wanted : due]]
        end = self.between(t0, t1, old, new, t)
        return *self._rows(replace(tally, wanted=due), [*places, (t, end)]), end

    def end(self, tally: Tally, t: float, states: States) -> tuple[list[Row], Tally]:
        """Return the row at the last time, if strides have not kept it."""
        return self._rows(tally, [(t, states)]) if self.stride is not None and tally.last < t else ([], tally)

    def between(self, t0: float, t1: float, old: States, new: States, t: float) -> States:
        """Return the states at t on the geodesics of the step from t0 to t1, labels kept."""
        if t >= t1:
            return new
        if t <= t0:
            return old
        share = (t - t0) / (t1 - t0)
        return tuple(m.between(a, b, share) for m, a, b in zip(self.players.metrics, old, new, strict=True))

    def _rows(self, tally: Tally, places: list[tuple[float, States]]) -> tuple[list[Row], Tally]:
        rows = []
        for t, states in places:
            values = {name: getattr(tally, name) for name in ("speeds", "distance", "residual", "iterations")}
            values["energies"], values["slopes"] = self.players.energies_and_slopes(states)
            rows.append(Row(t, states, values, tuple(map(one_line, tally.methods))))
            tally = tally.cleared(t)
        return rows, tally
