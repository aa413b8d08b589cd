"""One run of a method on a target, and what it reached: when every mode was covered, for how long, and at what cost."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np

from measureflow.modes.averages import Average, average
from measureflow.modes.definitions import Coverage
from measureflow.modes.targets import Target
from measureflow.solution import Solution
from measureflow.states import Law

QUALITY = 0.95
"""High-quality part from which on a law covers its target."""
STABLE = 4.0
"""A run is stable if the law still covers its target at this many times the time at which it first did."""


@dataclass(frozen=True, eq=False, repr=False)
class AbstractRun(ABC):
    """What a flow did on a target.

    Attributes
    ----------
    method, target : str, Target
    seed : int
        Of the data, of the start and of what the method draws.
    solution : Solution
        The flow itself: of a game, its first player is the generator.
    evaluations : int
        Evaluations of the generator's velocity field, one for all particles (of a network: all points that it pushes).
    """

    method: str
    target: Target
    seed: int
    solution: Solution
    evaluations: int

    @property
    @abstractmethod
    def coverages(self) -> Sequence[Coverage]:
        """The coverage of the target at every row."""

    @property
    def t(self) -> np.ndarray:
        """Times of the rows."""
        return self.solution.t

    @property
    def final(self) -> Coverage:
        """The coverage at the end."""
        return self.coverages[-1]

    @cached_property
    def good(self) -> np.ndarray:
        """At which rows every mode holds 20 % of its weight, with 95 % of high quality, (rows,) of bool."""
        held = [seen.complete and seen.high_quality >= min(QUALITY, 0.961 * seen.perfect) for seen in self.coverages]
        return np.array(held)

    @property
    def covers(self) -> bool:
        """Whether the last row is good."""
        return bool(self.good[-1])

    @property
    def first(self) -> float | None:
        """The time of the first good row; None: there is none."""
        return float(self.t[np.argmax(self.good)]) if self.good.any() else None

    @property
    def stable(self) -> bool:
        """Whether all modes were fair, at 95 % of high quality on average, from the first good row on, to four times its time."""
        if self.first is None or self.t[-1] < self.t[0] + STABLE * (self.first - self.t[0]) * (1.0 - 1e-9):
            return False
        rows = [seen for time, seen in zip(self.t, self.coverages, strict=True) if time >= self.first]
        return all(seen.complete for seen in rows) and average(rows).high_quality >= QUALITY

    @property
    def average(self) -> Average:
        """Averages over the second half of the rows."""
        half = len(self.t) // 2
        return average(self.coverages[half:], self.t[half:]) if len(self.t) > 3 else average(self.coverages)

    @property
    def cpu_seconds(self) -> float:
        """Processor time of the whole run."""
        return float(self.solution.info["cpu_seconds"])

    @property
    def cpu_to_first(self) -> float | None:
        """Processor time up to the first good row: its part of the steps."""
        if self.first is None:
            return None
        return self.cpu_seconds * float((self.first - self.t[0]) / (self.t[-1] - self.t[0]))

    def __repr__(self) -> str:
        kind = type(self).__name__
        return f"{kind}({self.method!r}, {self.target!r}, seed={self.seed}, {self.final!r}, {self.cpu_seconds:.2f} CPU s)"


@final
@dataclass(frozen=True, eq=False, repr=False)
class Run(AbstractRun):
    """What a flow of particles did on a target.

    Attributes
    ----------
    method, target, seed, solution, evaluations
        See `AbstractRun`.
    origin, unit : ndarray, shape (d,), or None; float
        Points x of the target are (x - origin)/unit in the solution; None: they are the same.

    Examples
    --------
    >>> from measureflow.modes import methods, targets
    >>> run = methods.METHODS["sliced"](targets.ring(), 0)
    >>> run.final.modes, run.covers
    (8, True)
    """

    origin: np.ndarray | None = None
    unit: float = 1.0

    @cached_property
    def laws(self) -> list[Law]:
        """The generator at every row, in the coordinates of the target."""
        found = [state[0] if isinstance(state, tuple) else state for state in self.solution.states]
        if self.origin is None:
            return found
        return [law.replace(self.origin + self.unit * law.points) for law in found]

    @cached_property
    def coverages(self) -> list[Coverage]:
        """The coverage of the target at every row."""
        return [self.target.cover(law) for law in self.laws]
